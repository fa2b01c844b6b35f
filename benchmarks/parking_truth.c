/* Ground truth for benchmarks/contention.py: a library to be preloaded, which times every sleep and every yield of a thread,
 * sleeps by the address of the lock that is slept for.
 *
 *     cc -O2 -shared -fPIC -o parking_truth.so parking_truth.c -ldl
 *
 * CPython's parking lot sleeps in sem_wait; the semaphore lies 16 bytes into its entry (Python/parking_lot.c: park_arg, addr,
 * sema), so that the address of the lock stands just before it. */
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <sched.h>
#include <semaphore.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define THREADS 512
#define ADDRESSES 64

typedef struct {
    int64_t number, parked, yielded, yields, sleeps;
    struct {
        uint64_t address;
        int64_t spent;
    } slept[ADDRESSES]; /* later ones share the last */
} record;

static record records[THREADS];
static int n_records;
static __thread record *mine;
static int (*real_wait)(sem_t *);
static int (*real_clockwait)(sem_t *, clockid_t, const struct timespec *);
static int (*real_timedwait)(sem_t *, const struct timespec *);
static int (*real_yield)(void);

__attribute__((constructor)) static void find(void)
{
    real_wait = (int (*)(sem_t *))dlsym(RTLD_NEXT, "sem_wait");
    real_clockwait = (int (*)(sem_t *, clockid_t, const struct timespec *))dlsym(RTLD_NEXT, "sem_clockwait");
    real_timedwait = (int (*)(sem_t *, const struct timespec *))dlsym(RTLD_NEXT, "sem_timedwait");
    real_yield = (int (*)(void))dlsym(RTLD_NEXT, "sched_yield");
}

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static record *own(void)
{
    if (mine == NULL) {
        int index = __atomic_fetch_add(&n_records, 1, __ATOMIC_RELAXED);
        mine = &records[index < THREADS ? index : THREADS - 1];
        mine->number = syscall(SYS_gettid);
    }
    return mine;
}

static void slept(sem_t *semaphore, uint64_t address, int64_t began)
{
    record *record = own();
    const int64_t spent = now() - began;
    int i = 0;
    (void)semaphore;
    record->parked += spent;
    record->sleeps++;
    while (i < ADDRESSES - 1 && record->slept[i].address != address && record->slept[i].address != 0)
        i++;
    record->slept[i].address = address;
    record->slept[i].spent += spent;
}

int sem_wait(sem_t *semaphore)
{
    uint64_t address;
    memcpy(&address, (const char *)semaphore - 8, sizeof(address));
    const int64_t began = now();
    const int result = real_wait(semaphore);
    slept(semaphore, address, began);
    return result;
}

int sem_clockwait(sem_t *semaphore, clockid_t clock, const struct timespec *until)
{
    uint64_t address;
    memcpy(&address, (const char *)semaphore - 8, sizeof(address));
    const int64_t began = now();
    const int result = real_clockwait(semaphore, clock, until);
    slept(semaphore, address, began);
    return result;
}

int sem_timedwait(sem_t *semaphore, const struct timespec *until)
{
    uint64_t address;
    memcpy(&address, (const char *)semaphore - 8, sizeof(address));
    const int64_t began = now();
    const int result = real_timedwait(semaphore, until);
    slept(semaphore, address, began);
    return result;
}

int sched_yield(void)
{
    const int64_t began = now();
    const int result = real_yield();
    record *record = own();
    record->yielded += now() - began;
    record->yields++;
    return result;
}

/* Copy what a thread did until now, and set it to nothing; 0: it did nothing of the kind. */
int truth_take(int64_t number, int64_t *parked, int64_t *yielded, uint64_t *address, int64_t *most)
{
    *parked = *yielded = *most = 0;
    *address = 0;
    for (int i = 0; i < n_records && i < THREADS; i++) {
        record *record = &records[i];
        if (record->number != number)
            continue;
        *parked = record->parked;
        *yielded = record->yielded;
        for (int j = 0; j < ADDRESSES; j++)
            if (record->slept[j].spent > *most) {
                *most = record->slept[j].spent;
                *address = record->slept[j].address;
            }
        memset(record->slept, 0, sizeof(record->slept));
        record->parked = record->yielded = record->yields = record->sleeps = 0;
        return 1;
    }
    return 0;
}
