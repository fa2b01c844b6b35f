/* See _gil_lock.h. This is the one file that needs CPython's internal headers. */
#ifndef Py_BUILD_CORE_MODULE
#define Py_BUILD_CORE_MODULE 1
#endif
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* sched_getcpu, cpu_set_t */
#endif
#include "_gil_lock.h"

#include <stdlib.h>
#include <string.h>

#if PY_VERSION_HEX < 0x030C0000
#include <internal/pycore_interp.h>
#include <internal/pycore_runtime.h>
#elif PY_VERSION_HEX < 0x030D0000
#include <internal/pycore_interp.h>
#else
#include <internal/pycore_gil.h>
#include <internal/pycore_runtime.h>
#endif

#ifdef _WIN32
#include <windows.h>
#else
#include <time.h>
#endif
#ifdef __linux__
#include <sched.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <unistd.h>
#elif defined(__APPLE__)
#include <mach/mach.h>
#include <mach/mach_vm.h>
#endif

/* ---- the lock -------------------------------------------------------------------------------------------- */

#ifdef Py_GIL_DISABLED

/* Without a lock each thread is attached to the interpreter or not (pycore_pystate.h: 0 detached, 1 attached,
 * 2 suspended by a stop-the-world pause). */
static const char *locate(gilcmp_lock *lock, PyThreadState *self)
{
    lock->word = (const volatile int *)&self->state;
    lock->holder = NULL;
    return NULL;
}

#elif PY_VERSION_HEX < 0x030C0000

/* 3.11: one lock for all interpreters of the process (Python/ceval_gil.h). */
static const char *locate(gilcmp_lock *lock, PyThreadState *self)
{
    (void)self;
    lock->word = (const volatile int *)&_PyRuntime.ceval.gil.locked._value;
    lock->holder = (void *const volatile *)&_PyRuntime.ceval.gil.last_holder._value;
    return NULL;
}

#elif PY_VERSION_HEX < 0x030D0000

/* 3.12: the interpreter points to its lock, its own or the main interpreter's (PEP 684). */
static const char *locate(gilcmp_lock *lock, PyThreadState *self)
{
    struct _gil_runtime_state *gil = self->interp->ceval.gil;
    if (gil == NULL)
        return "the interpreter has no lock";
    lock->word = (const volatile int *)&gil->locked._value;
    lock->holder = (void *const volatile *)&gil->last_holder._value;
    return NULL;
}

#else

/* 3.13 and later: the running interpreter itself says where things are (_Py_DebugOffsets). Its offsets of
 * `locked` and `holder` count from the lock that is embedded in the interpreter's state; the lock that is really
 * used is the one that ceval.gil points to. */
static const char *locate(gilcmp_lock *lock, PyThreadState *self)
{
    const _Py_DebugOffsets *offsets = &_PyRuntime.debug_offsets;
    if (memcmp(offsets->cookie, _Py_Debug_Cookie, sizeof(offsets->cookie)) != 0)
        return "the interpreter's debug offsets do not begin with their cookie";
    if (offsets->version >> 16 != (uint64_t)PY_VERSION_HEX >> 16)
        return "gilcmp was built for another version of Python";
    const char *interpreter = (const char *)self->interp;
    const char *gil = *(const char *const *)(interpreter + offsets->interpreter_state.ceval_gil);
    uint64_t base = offsets->interpreter_state.gil_runtime_state;
    if (gil == NULL || offsets->interpreter_state.gil_runtime_state_locked < base)
        return "the interpreter's debug offsets make no sense";
    lock->word = (const volatile int *)(gil + (offsets->interpreter_state.gil_runtime_state_locked - base));
    lock->holder = (void *const volatile *)(gil + (offsets->interpreter_state.gil_runtime_state_holder - base));
    return NULL;
}

#endif

gilcmp_state gilcmp_read_lock(const gilcmp_lock *lock)
{
    /* Aligned words that others write atomically. The two are not
     * read at the same moment, which can misattribute only a sample that falls on a hand-over. */
    if (LOAD(*lock->word) != 1)
        return GILCMP_FREE;
    if (lock->holder == NULL || LOAD(*lock->holder) == lock->self)
        return GILCMP_SELF;
    return GILCMP_OTHER;
}

const char *gilcmp_find_lock(gilcmp_lock *lock)
{
    PyThreadState *self = PyThreadState_Get();
    lock->self = self;
    const char *reason = locate(lock, self);
    if (reason != NULL)
        return reason;
    if (gilcmp_read_lock(lock) != GILCMP_SELF)
        return "the lock does not look held by the thread that holds it";
    gilcmp_state released;
    Py_BEGIN_ALLOW_THREADS
    released = gilcmp_read_lock(lock);
    /* whoever takes the lock says so first, and who it is a moment later: until then it still looks like us */
    for (int tries = 0; released == GILCMP_SELF && tries < 1000; tries++) {
        gilcmp_pause(20000);
        released = gilcmp_read_lock(lock);
    }
    Py_END_ALLOW_THREADS
    if (released == GILCMP_SELF)
        return "the lock looks held by a thread that has released it";
    return NULL;
}

/* ---- the threads ------------------------------------------------------------------------------------------ */

#if PY_VERSION_HEX < 0x030D0000

static const char *locate_threads(gilcmp_places *places, PyThreadState *self)
{
    places->threads = &self->interp->threads.head;
#if PY_VERSION_HEX < 0x030C0000
    const struct _gil_runtime_state *gil = &_PyRuntime.ceval.gil;
#else
    const struct _gil_runtime_state *gil = self->interp->ceval.gil;
#endif
    places->gil = (const char *)gil;
    places->gil_end = places->gil + sizeof(*gil);
    places->hand_overs = &gil->switch_number;
    return NULL;
}

#else

static const char *locate_threads(gilcmp_places *places, PyThreadState *self)
{
    const _Py_DebugOffsets *offsets = &_PyRuntime.debug_offsets;
    const char *interpreter = (const char *)self->interp;
    places->threads = (PyThreadState *const *)(interpreter + offsets->interpreter_state.threads_head);
#ifndef Py_GIL_DISABLED
    /* the rest of the lock's layout is not published: taken from the headers where these agree with what is */
    places->gil = (const char *)places->lock.word - offsetof(struct _gil_runtime_state, locked);
    if ((const void *)places->lock.holder != places->gil + offsetof(struct _gil_runtime_state, last_holder))
        return "the lock's layout is not that of the headers gilcmp was built with";
    places->gil_end = places->gil + sizeof(struct _gil_runtime_state);
    places->hand_overs = &((const struct _gil_runtime_state *)places->gil)->switch_number;
#endif
    return NULL;
}

#endif

const char *gilcmp_find_places(gilcmp_places *places)
{
    PyThreadState *self = PyThreadState_Get();
    memset(places, 0, sizeof(*places));
    const char *reason = gilcmp_find_lock(&places->lock);
    if (reason == NULL)
        reason = locate_threads(places, self);
    if (reason != NULL)
        return reason;
    places->interpreter = self->interp;
    PyThreadState *head;
    PyThreadState copy;
    if (!gilcmp_safe_read(&head, (const void *)places->threads, sizeof(head))
        || !gilcmp_safe_read(&copy, head, sizeof(copy)))
        return "this system does not let a process read its own memory safely";
    for (PyThreadState *state = PyInterpreterState_ThreadHead(self->interp); state != NULL;
         state = PyThreadState_Next(state))
        if (state == head)
            return NULL;
    return "the list of the interpreter's threads is not where it should be";
}

int gilcmp_safe_read(void *to, const void *from, size_t size)
{
#if defined(__linux__)
    struct iovec here = {to, size}, there = {(void *)from, size};
    return process_vm_readv(getpid(), &here, 1, &there, 1, 0) == (ssize_t)size;
#elif defined(__APPLE__)
    mach_vm_size_t done = 0;
    return mach_vm_read_overwrite(mach_task_self(), (mach_vm_address_t)from, size, (mach_vm_address_t)to, &done)
        == KERN_SUCCESS && done == size;
#elif defined(_WIN32)
    SIZE_T done = 0;
    return ReadProcessMemory(GetCurrentProcess(), from, to, size, &done) && done == size;
#else
    (void)to, (void)from, (void)size;
    return 0;
#endif
}

/* ---- time ------------------------------------------------------------------------------------------------- */

int64_t gilcmp_now(void)
{
#ifdef _WIN32
    LARGE_INTEGER count, frequency;
    QueryPerformanceCounter(&count);
    QueryPerformanceFrequency(&frequency);
    return (int64_t)((double)count.QuadPart * 1e9 / (double)frequency.QuadPart);
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
#endif
}

void gilcmp_pause(int64_t nanoseconds)
{
#ifdef _WIN32
    Sleep((DWORD)((nanoseconds + 999999) / 1000000));
#else
    struct timespec wanted = {(time_t)(nanoseconds / 1000000000), (long)(nanoseconds % 1000000000)};
    nanosleep(&wanted, NULL);
#endif
}

/* Tell the CPU that this is a waiting loop: the other hardware thread of the core gets the execution units. */
static void relax(void)
{
#if defined(_MSC_VER)
    YieldProcessor();
#elif defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void gilcmp_spin_until(int64_t until)
{
    while (gilcmp_now() < until)
        relax();
}

int gilcmp_start_thread(void (*function)(void *), void *argument, PyThread_type_lock ended, volatile int *running,
    int keep_gil)
{
    PyThread_acquire_lock(ended, WAIT_LOCK);
    if (PyThread_start_new_thread(function, argument) == PYTHREAD_INVALID_THREAD_ID) {
        PyThread_release_lock(ended);
        return 0;
    }
    /* On a busy machine a new thread may wait long for its core: what it would miss, it must not be asked for. */
    if (keep_gil) { /* see gilcmp_waiter_start */
        while (!LOAD(*running))
            gilcmp_pause(20000);
        return 1;
    }
    Py_BEGIN_ALLOW_THREADS
    while (!LOAD(*running))
        gilcmp_pause(20000);
    Py_END_ALLOW_THREADS
    return 1;
}

void gilcmp_wait_for_end(PyThread_type_lock ended)
{
    Py_BEGIN_ALLOW_THREADS
    PyThread_acquire_lock(ended, WAIT_LOCK);
    Py_END_ALLOW_THREADS
    PyThread_release_lock(ended);
}

#ifdef __linux__
/* The kernel often puts a new thread beside the one that started it and leaves it there for tens of milliseconds,
 * with the other cores idle; both then run at half their speed. So the sampler leaves a CPU that it has to share. */
static void leave_cpu(const cpu_set_t *allowed, int cpu)
{
    cpu_set_t others = *allowed;
    if (cpu < 0 || cpu >= CPU_SETSIZE)
        return;
    CPU_CLR(cpu, &others);
    if (CPU_COUNT(&others))
        sched_setaffinity(0, sizeof(others), &others);
}
#endif

/* ---- the sampler ------------------------------------------------------------------------------------------ */

struct gilcmp_sampler {
    gilcmp_lock lock;
    int64_t pace;
    gilcmp_counts counts;
    volatile int stop, running, armed; /* armed: the watched thread is back from starting the sampler */
    int64_t stopped_at;
    int started_on; /* the CPU that the watched thread was on */
    PyThread_type_lock ended; /* held until the thread is through with this memory */
};

/* A timer is late by some 30 us: shorter pauses are spun through, on the clock and not on the lock, whose cache
 * line stays with those who use it. */
#define SPUN 25000
#define OWN_CORE_LOST 1000000 /* nanoseconds: nothing but another thread on its core keeps a spinning one away so long */

static void spin_easily_until(int64_t until)
{
    while (gilcmp_now() < until)
        for (int i = 0; i < 8; i++)
            relax();
}

/* A small generator (xorshift, Marsaglia 2003) for the jitter: a steady pace aliases with what it samples. */
uint64_t gilcmp_next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void sample(void *argument)
{
    gilcmp_sampler *sampler = argument;
    gilcmp_counts *counts = &sampler->counts;
    uint64_t random = (uint64_t)gilcmp_now() | 1;
    const int64_t pace = sampler->pace;
    /* Beyond this the sampler had no core, or its timer was late by far: what happened meanwhile is not known. */
    const int64_t gap = pace < SPUN ? 100000 : 20 * pace + 2000000;
#ifdef __linux__
    prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0); /* timers are otherwise late by up to 50 us, this thread's only */
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
        CPU_ZERO(&allowed); /* more CPUs than a cpu_set_t has room for: stay */
    if (pace < SPUN)
        leave_cpu(&allowed, sampler->started_on);
#endif
    int64_t began = gilcmp_now();
    int64_t then = began;
    gilcmp_state before = gilcmp_read_lock(&sampler->lock);
    int64_t held_since = then, free_since = 0;
    void *holder_before = sampler->lock.holder == NULL ? NULL : LOAD(*sampler->lock.holder);
    STORE(sampler->running, 1);
    while (!LOAD(sampler->stop)) {
        if (pace) {
            int64_t pause = pace / 2 + (int64_t)(gilcmp_next_random(&random) % (uint64_t)pace);
            if (pace < SPUN)
                spin_easily_until(then + pause);
            else
                gilcmp_pause(pause);
        }
        /* the time is taken after the look: a preemption between the two lengthens the gap and is dropped */
        gilcmp_state state = gilcmp_read_lock(&sampler->lock);
        void *holder = sampler->lock.holder == NULL ? NULL : LOAD(*sampler->lock.holder);
        int64_t now = gilcmp_now();
        int64_t passed = now - then;
        if (!LOAD(sampler->armed)) { /* what the watched thread does to start and stop us is not its work */
            began = then = held_since = now;
            before = state;
            continue;
        }
        if (LOAD(sampler->stop) && now > sampler->stopped_at)
            break;
        counts->samples++;
        counts->switches += holder != holder_before;
        holder_before = holder;
        if (passed > gap) {
            counts->dropped += passed;
            held_since = now;
            free_since = 0;
#ifdef __linux__
            if (pace < SPUN && passed > OWN_CORE_LOST)
                leave_cpu(&allowed, sched_getcpu());
#endif
        } else {
            /* half of the time between two looks belongs to each of them */
            int64_t halves[2] = {passed / 2, passed - passed / 2};
            gilcmp_state states[2] = {before, state};
            int64_t segment = (now - began) / counts->segment_length;
            if (segment >= GILCMP_SEGMENTS)
                segment = GILCMP_SEGMENTS - 1;
            for (int i = 0; i < 2; i++) {
                if (states[i] == GILCMP_SELF) {
                    counts->held += halves[i];
                    counts->segment_held[segment] += halves[i];
                } else if (states[i] == GILCMP_OTHER)
                    counts->other += halves[i];
                else
                    counts->free_ += halves[i];
                counts->segment_all[segment] += halves[i];
            }
            if (state == GILCMP_SELF && before != GILCMP_SELF) {
                held_since = now;
                if (free_since) {
                    int64_t place = counts->n_releases;
                    if (place >= GILCMP_RELEASES)
                        place = (int64_t)(gilcmp_next_random(&random) % (uint64_t)(place + 1));
                    if (place < GILCMP_RELEASES) /* reservoir sampling: every release is as likely to be kept */
                        counts->releases[place] = now - free_since;
                    counts->n_releases++;
                }
            } else if (state != GILCMP_SELF && before == GILCMP_SELF) {
                counts->hand_overs++;
                free_since = now;
            }
            if (state == GILCMP_SELF && now - held_since > counts->longest_hold)
                counts->longest_hold = now - held_since;
        }
        before = state;
        then = now;
    }
    PyThread_release_lock(sampler->ended);
}

gilcmp_sampler *gilcmp_sampler_start(const gilcmp_lock *lock, int64_t pace, int64_t longest)
{
    gilcmp_sampler *sampler = calloc(1, sizeof(*sampler));
    if (sampler == NULL)
        return NULL;
    sampler->lock = *lock;
    sampler->pace = pace;
    sampler->counts.segment_length = longest / GILCMP_SEGMENTS + 1;
    sampler->ended = PyThread_allocate_lock();
#ifdef __linux__
    sampler->started_on = sched_getcpu();
#endif
    if (sampler->ended == NULL || !gilcmp_start_thread(sample, sampler, sampler->ended, &sampler->running, 0)) {
        if (sampler->ended != NULL)
            PyThread_free_lock(sampler->ended);
        free(sampler);
        return NULL;
    }
    STORE(sampler->armed, 1);
    return sampler;
}

void gilcmp_sampler_stop(gilcmp_sampler *sampler, gilcmp_counts *counts)
{
    sampler->stopped_at = gilcmp_now();
    STORE(sampler->stop, 1);
    gilcmp_wait_for_end(sampler->ended);
    *counts = sampler->counts;
    PyThread_free_lock(sampler->ended);
    free(sampler);
}

/* ---- the waiter ------------------------------------------------------------------------------------------- */

struct gilcmp_waiter {
    PyInterpreterState *interpreter;
    int64_t pause;
    int64_t *asked, *waited;
    int64_t n, capacity;
    volatile int stop, running;
    PyThread_type_lock ended;
};

static void wait_again_and_again(void *argument)
{
    gilcmp_waiter *waiter = argument;
    uint64_t random = (uint64_t)gilcmp_now() | 1;
#ifdef __linux__
    prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0);
#endif
    /* a thread state belongs to the thread that makes it */
    PyThreadState *self = PyThreadState_New(waiter->interpreter);
    STORE(waiter->running, 1);
    while (self != NULL && !LOAD(waiter->stop)) {
        gilcmp_pause(waiter->pause / 2 + (int64_t)(gilcmp_next_random(&random) % (uint64_t)waiter->pause));
        int64_t asked = gilcmp_now();
        PyEval_AcquireThread(self);
        int64_t got = gilcmp_now();
        PyEval_ReleaseThread(self);
        if (waiter->n < waiter->capacity) {
            waiter->asked[waiter->n] = asked;
            waiter->waited[waiter->n] = got - asked;
            waiter->n++;
        }
    }
    if (self != NULL) {
        PyEval_AcquireThread(self);
        PyThreadState_Clear(self);
        PyThreadState_DeleteCurrent();
    }
    PyThread_release_lock(waiter->ended);
}

/* CPython before 3.13 does not survive a fork while another thread makes a thread state: the child waits forever for the
 * lock of their list. A thread that forks holds the GIL, so the one who starts the waiter keeps it until the state is made.
 * Where there may be no GIL this would only hold up a pause of all threads. */
#if PY_VERSION_HEX < 0x030D0000
#define MAKES_STATE 1
#else
#define MAKES_STATE 0
#endif

gilcmp_waiter *gilcmp_waiter_start(int64_t pause, int64_t capacity)
{
    gilcmp_waiter *waiter = calloc(1, sizeof(*waiter));
    if (waiter == NULL)
        return NULL;
    waiter->interpreter = PyInterpreterState_Get();
    waiter->pause = pause;
    waiter->capacity = capacity;
    waiter->asked = calloc((size_t)capacity, sizeof(int64_t));
    waiter->waited = calloc((size_t)capacity, sizeof(int64_t));
    waiter->ended = PyThread_allocate_lock();
    if (waiter->asked == NULL || waiter->waited == NULL || waiter->ended == NULL
        || !gilcmp_start_thread(wait_again_and_again, waiter, waiter->ended, &waiter->running, MAKES_STATE)) {
        gilcmp_waiter_free(waiter);
        return NULL;
    }
    return waiter;
}

int64_t gilcmp_waiter_stop(gilcmp_waiter *waiter)
{
    STORE(waiter->stop, 1);
    gilcmp_wait_for_end(waiter->ended);
    return waiter->n;
}

void gilcmp_waiter_wait(const gilcmp_waiter *waiter, int64_t number, int64_t *asked, int64_t *waited)
{
    *asked = waiter->asked[number];
    *waited = waiter->waited[number];
}

void gilcmp_waiter_free(gilcmp_waiter *waiter)
{
    if (waiter->ended != NULL)
        PyThread_free_lock(waiter->ended);
    free(waiter->asked);
    free(waiter->waited);
    free(waiter);
}

/* ---- counting in two threads ------------------------------------------------------------------------------- */

void gilcmp_increment_plain(int64_t *counter, int64_t n)
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

void gilcmp_increment_atomic(int64_t *counter, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
#if defined(__GNUC__) || defined(__clang__)
        __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
#else
        InterlockedExchangeAdd64((volatile LONG64 *)counter, 1);
#endif
    }
}

void gilcmp_increment_locked(int64_t *counter, int64_t n, PyThread_type_lock lock)
{
    for (int64_t i = 0; i < n; i++) {
        PyThread_acquire_lock(lock, WAIT_LOCK);
        gilcmp_increment_plain(counter, 1);
        PyThread_release_lock(lock);
    }
}
