/* Reading the interpreter's lock without ever asking for it, from a native thread.
 *
 * Everything here is plain C without Python objects, so that none of it can take the GIL by accident. */
#ifndef GILCMP_GIL_LOCK_H
#define GILCMP_GIL_LOCK_H

#include <Python.h>
#include <stdint.h>

/* Where the lock of one interpreter is, or, on a build without a lock, the state of one thread. */
typedef struct {
    const volatile int *word;       /* locked (1) or not; free-threaded: attached (1) or not */
    void *const volatile *holder;   /* the thread state that has or last had it; NULL: free-threaded */
    void *self;                     /* the thread state that is watched */
} gilcmp_lock;

typedef enum { GILCMP_FREE = 0, GILCMP_SELF = 1, GILCMP_OTHER = 2 } gilcmp_state;

/* Find the lock of the calling thread's interpreter, to watch that thread. Returns NULL, or the reason why it
 * cannot be watched. The caller holds the GIL. */
const char *gilcmp_find_lock(gilcmp_lock *lock);

gilcmp_state gilcmp_read_lock(const gilcmp_lock *lock);

/* Where an interpreter keeps what a recorder reads besides the lock. */
typedef struct {
    gilcmp_lock lock;
    PyInterpreterState *interpreter;
    PyThreadState *const *threads;               /* the list of its thread states begins here */
    const char *gil, *gil_end;                   /* who waits at an address in between waits for the GIL */
    const volatile unsigned long *hand_overs;    /* the interpreter's own count of changes from thread to thread, or NULL */
} gilcmp_places;

/* Find them for the calling thread's interpreter. Returns NULL, or the reason why that cannot be. The caller holds the GIL. */
const char *gilcmp_find_places(gilcmp_places *places);
/* Read memory of this process that may be gone by now; 0 when it is. */
int gilcmp_safe_read(void *to, const void *from, size_t size);

/* Nanoseconds of a clock that only goes forward. */
int64_t gilcmp_now(void);
void gilcmp_pause(int64_t nanoseconds);
/* Spin until the clock shows `until`. */
void gilcmp_spin_until(int64_t until);

/* A native thread: `ended` is released when it is through with its memory, which it must do itself. 0: there is none to
 * be had. Returns when the thread has set `running`; with `keep_gil` the caller keeps the GIL meanwhile. */
int gilcmp_start_thread(void (*function)(void *), void *argument, PyThread_type_lock ended, volatile int *running,
    int keep_gil);
/* Let the caller go on while such a thread comes to its end. */
void gilcmp_wait_for_end(PyThread_type_lock ended);
uint64_t gilcmp_next_random(uint64_t *state);

/* Flags between two threads, without locks. MSVC gives volatile this meaning by itself. */
#if defined(__GNUC__) || defined(__clang__)
#define LOAD(flag) __atomic_load_n(&(flag), __ATOMIC_ACQUIRE)
#define STORE(flag, value) __atomic_store_n(&(flag), (value), __ATOMIC_RELEASE)
#else
#define LOAD(flag) (flag)
#define STORE(flag, value) ((flag) = (value))
#endif

#define GILCMP_SEGMENTS 64 /* the watched time is summed up in so many pieces, for an interval */
#define GILCMP_RELEASES 4096 /* lengths of so many releases are kept, evenly thinned out */

/* What a sampler saw; times in nanoseconds. */
typedef struct {
    int64_t samples;
    int64_t held, other, free_, dropped; /* dropped: gaps in which the sampler itself had no core */
    int64_t segment_held[GILCMP_SEGMENTS], segment_all[GILCMP_SEGMENTS];
    int64_t segment_length;
    int64_t longest_hold;
    int64_t switches;   /* changes from one holder to another, whoever they are */
    int64_t hand_overs; /* changes from held to not held */
    int64_t releases[GILCMP_RELEASES];
    int64_t n_releases; /* all there were */
} gilcmp_counts;

typedef struct gilcmp_sampler gilcmp_sampler;

/* Start a sampler. pace: nanoseconds between samples on average, 0: spin. longest: how long it is meant to run,
 * in nanoseconds. Returns NULL when there is no memory or no thread. The caller holds the GIL; on return the
 * first sample has been taken. */
gilcmp_sampler *gilcmp_sampler_start(const gilcmp_lock *lock, int64_t pace, int64_t longest);
/* Stop it, wait for its end, fill `counts`. Must not be called in a child of fork. */
void gilcmp_sampler_stop(gilcmp_sampler *sampler, gilcmp_counts *counts);

/* A native thread that asks for the GIL every now and then (`pause` nanoseconds on average, jittered), lets go of it
 * at once, and notes how long it waited. Start and stop like the sampler; read its waits between stop and free. */
typedef struct gilcmp_waiter gilcmp_waiter;
gilcmp_waiter *gilcmp_waiter_start(int64_t pause, int64_t capacity);
int64_t gilcmp_waiter_stop(gilcmp_waiter *waiter); /* returns how many waits it noted */
void gilcmp_waiter_wait(const gilcmp_waiter *waiter, int64_t number, int64_t *asked, int64_t *waited);
void gilcmp_waiter_free(gilcmp_waiter *waiter);

/* Add 1 to a counter n times: as a load, an addition and a store (each whole in itself, so that nothing is undefined,
 * but others can come in between), as one atomic operation, or under a mutex. */
void gilcmp_increment_plain(int64_t *counter, int64_t n);
void gilcmp_increment_atomic(int64_t *counter, int64_t n);
void gilcmp_increment_locked(int64_t *counter, int64_t n, PyThread_type_lock lock);

#endif
