/* Adding 1 to a counter n times: as a load, an addition and a store (each atomic, so that nothing is undefined, but
 * other threads can come in between), as one atomic operation, or under a mutex. */
#ifndef GILCMP_GIL_COUNTER_H
#define GILCMP_GIL_COUNTER_H

#include "lock.h"

static inline void gilcmp_increment_plain(int64_t *counter, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
#if defined(__GNUC__) || defined(__clang__)
        int64_t value = __atomic_load_n(counter, __ATOMIC_RELAXED);
        __atomic_store_n(counter, value + 1, __ATOMIC_RELAXED);
#else
        volatile int64_t *plain = counter;
        *plain = *plain + 1;
#endif
    }
}

static inline void gilcmp_increment_atomic(int64_t *counter, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
#if defined(__GNUC__) || defined(__clang__)
        __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
#else
        _InterlockedExchangeAdd64(counter, 1);
#endif
    }
}

static inline void gilcmp_increment_locked(int64_t *counter, int64_t n, PyThread_type_lock lock)
{
    for (int64_t i = 0; i < n; i++) {
        PyThread_acquire_lock(lock, WAIT_LOCK);
        gilcmp_increment_plain(counter, 1);
        PyThread_release_lock(lock);
    }
}

#endif
