/* See watcher.h.
 *
 * A watcher is in one of three states: running, paused (for one or more forks), over. What leads from one to the next:
 *
 *     start     -> running, or paused while a fork is under way
 *     pause_all running -> paused; resume_all, called as often: paused -> running
 *     stop, close, end_all: -> over. It stays there.
 *
 * `guard` orders them. Its rules, which make a deadlock impossible:
 *   1. A thread that waits for the guard is detached (has released the GIL).
 *   2. A thread with the guard does not wait for the GIL, and runs no Python code.
 *   3. A thread with the guard may wait for the end of a pausable watcher's thread, which never asks for guard or GIL.
 * The wait for threads that are not pausable (the waiter asks for the GIL) is done detached and without the guard.
 *
 * A watcher's memory is freed by the destructor of the one Python object that owns it, so nobody can be using it then. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "watcher.h"
#include "parking.h"

#ifdef _WIN32
#include <windows.h>
#else
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>
#endif
#ifdef __linux__
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

enum { NONE, RUNNING, ENDING };

#define LATE 500000 /* nanoseconds after its time at which a sample is late */

static volatile int guard;
/* Guarded */
static gilcmp_watcher *first; /* all that are running or paused */
static int pauses;            /* how many forks are under way */
static int generation;        /* how often this process and its ancestors have forked */

static void enter(void)
{
    while (EXCHANGE(guard, 1)) {
        Py_BEGIN_ALLOW_THREADS
        gilcmp_pause(20000);
        Py_END_ALLOW_THREADS
    }
}

static void leave(void)
{
    STORE(guard, 0);
}

/* In the child, before anything else: its parent's native threads are not here, and may have had the guard. */
static void begin_anew(void)
{
    guard = pauses = 0;
    first = NULL;
    generation++;
    gilcmp_parking_after_fork();
}

void gilcmp_prepare_forks(void)
{
#ifndef _WIN32
    static volatile int prepared;
    if (!EXCHANGE(prepared, 1))
        pthread_atfork(NULL, NULL, begin_anew);
#else
    (void)begin_anew;
#endif
}

/* ---- the native thread --------------------------------------------------------------------------------------- */

static void run(void *argument)
{
    gilcmp_watcher *watcher = argument;
#ifdef __linux__
    prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0); /* timers are otherwise late by up to 50 us; this thread's only */
    watcher->number = syscall(SYS_gettid);
#endif
    watcher->watch(watcher);
    PyThread_release_lock(watcher->ended);
}

#ifdef _WIN32
typedef int signals;
#define set_signals(how, wanted, before) (void)(before)
#else
typedef sigset_t signals;
#ifdef __linux__
#define set_signals sigprocmask /* the calling thread's; pthread_sigmask would tie a wheel to glibc 2.32 */
#else
#define set_signals pthread_sigmask
#endif
#endif

static int start_thread(gilcmp_watcher *watcher)
{
    signals before;
#ifndef _WIN32
    signals all; /* all are for the program's threads; a new thread inherits its creator's mask */
    sigfillset(&all);
#endif
    set_signals(SIG_BLOCK, &all, &before);
    STORE(watcher->stop, 0);
    if (PyThread_start_new_thread(run, watcher) != PYTHREAD_INVALID_THREAD_ID)
        watcher->thread = RUNNING;
    set_signals(SIG_SETMASK, &before, NULL);
    return watcher->thread == RUNNING;
}

static void end_thread(gilcmp_watcher *watcher)
{
    watcher->stopped_at = gilcmp_now();
    STORE(watcher->stop, 1);
    PyThread_release_lock(watcher->bell);
    PyThread_acquire_lock(watcher->ended, WAIT_LOCK);
    PyThread_acquire_lock(watcher->bell, WAIT_LOCK); /* the thread has released it again */
#ifdef __linux__
    /* The thread is still exiting and still counted: os.fork would warn of it. */
    const int64_t latest = gilcmp_now() + INT64_C(1000000000);
    while (syscall(SYS_tgkill, getpid(), watcher->number, 0) == 0 && gilcmp_now() < latest)
        sched_yield();
#endif
}

void gilcmp_watcher_rest(gilcmp_watcher *watcher, int64_t nanoseconds)
{
    if (nanoseconds > 0
        && PyThread_acquire_lock_timed(watcher->bell, (nanoseconds + 999) / 1000, 0) == PY_LOCK_ACQUIRED)
        PyThread_release_lock(watcher->bell);
}

/* ---- from state to state -------------------------------------------------------------------------------------- */

int gilcmp_watcher_prepare(gilcmp_watcher *watcher, void (*watch)(gilcmp_watcher *), int pausable)
{
    watcher->watch = watch;
    watcher->pausable = pausable;
    watcher->random = (uint64_t)gilcmp_now() | 1;
    watcher->interpreter = PyInterpreterState_Get();
    watcher->over = 1; /* until it is started */
    watcher->bell = PyThread_allocate_lock();
    watcher->ended = PyThread_allocate_lock();
    if (watcher->bell == NULL || watcher->ended == NULL)
        return 0;
    PyThread_acquire_lock(watcher->bell, NOWAIT_LOCK);
    PyThread_acquire_lock(watcher->ended, NOWAIT_LOCK);
    return 1;
}

static void unlink_watcher(const gilcmp_watcher *watcher)
{
    for (gilcmp_watcher **place = &first; *place != NULL; place = &(*place)->next)
        if (*place == watcher) {
            *place = watcher->next;
            return;
        }
}

int gilcmp_watcher_start(gilcmp_watcher *watcher)
{
    enter();
    watcher->generation = generation;
    watcher->next = first;
    first = watcher;
    STORE(watcher->over, 0);
    int fine = (pauses && watcher->pausable) || start_thread(watcher);
    if (!fine) {
        unlink_watcher(watcher);
        STORE(watcher->over, 1);
    }
    leave();
    /* On a busy machine a new thread may wait long for a core: do not return before its first sample. */
    const int64_t latest = gilcmp_now() + INT64_C(10000000000);
    Py_BEGIN_ALLOW_THREADS
    while (!LOAD(watcher->started) && !LOAD(watcher->over) && gilcmp_now() < latest)
        gilcmp_pause(20000);
    Py_END_ALLOW_THREADS
    return fine;
}

/* Take a watcher out of the list, with the guard; return whether the caller must end its thread. */
static int take(gilcmp_watcher *watcher)
{
    unlink_watcher(watcher);
    if (watcher->thread == NONE) {
        watcher->stopped_at = gilcmp_now();
        STORE(watcher->over, 1);
    }
    if (watcher->thread != RUNNING)
        return 0;
    watcher->thread = ENDING;
    return 1;
}

static void finish(gilcmp_watcher *watcher)
{
    Py_BEGIN_ALLOW_THREADS
    end_thread(watcher);
    STORE(watcher->over, 1); /* from here on it may be freed */
    Py_END_ALLOW_THREADS
}

/* See to it that the watcher is over. Whoever comes second waits for the one who came first. */
static void end(gilcmp_watcher *watcher)
{
    if (LOAD(watcher->over))
        return;
    enter();
    const int here = watcher->generation == generation, mine = here && take(watcher);
    leave();
    if (mine)
        finish(watcher);
    Py_BEGIN_ALLOW_THREADS
    while (here && !LOAD(watcher->over))
        gilcmp_pause(20000);
    Py_END_ALLOW_THREADS
}

gilcmp_stopped gilcmp_watcher_stop(gilcmp_watcher *watcher)
{
    enter();
    const int claimed = watcher->claimed, elsewhere = watcher->generation != generation;
    watcher->claimed = 1;
    leave();
    if (claimed)
        return GILCMP_ALREADY_STOPPED;
    end(watcher);
    return elsewhere ? GILCMP_IN_PARENT : GILCMP_STOPPED;
}

void gilcmp_watcher_close(gilcmp_watcher *watcher)
{
    end(watcher);
    if (watcher->bell != NULL)
        PyThread_free_lock(watcher->bell);
    if (watcher->ended != NULL)
        PyThread_free_lock(watcher->ended);
}

void gilcmp_end_all(void)
{
    const PyInterpreterState *interpreter = PyInterpreterState_Get();
    gilcmp_watcher *watcher;
    do {
        enter();
        for (watcher = first; watcher != NULL && watcher->interpreter != interpreter; watcher = watcher->next)
            ;
        const int mine = watcher != NULL && take(watcher);
        leave();
        if (mine)
            finish(watcher);
    } while (watcher != NULL);
}

/* ---- forks: while os.fork counts the threads, none must be ours, or it warns of them --------------------------- */

void gilcmp_pause_all(void)
{
    enter();
    pauses++;
    for (gilcmp_watcher *watcher = first; watcher != NULL; watcher = watcher->next)
        if (watcher->pausable && watcher->thread == RUNNING) {
            end_thread(watcher);
            watcher->thread = NONE;
        }
    leave();
}

void gilcmp_resume_all(void)
{
    enter();
    if (pauses && --pauses == 0)
        for (gilcmp_watcher *watcher = first; watcher != NULL; watcher = watcher->next)
            if (watcher->thread == NONE)
                start_thread(watcher); /* if that fails, it sees nothing from now on */
    leave();
}

static int resume_pending(void *argument)
{
    (void)argument;
    gilcmp_resume_all();
    return 0;
}

void gilcmp_resume_soon(void)
{
    if (Py_AddPendingCall(resume_pending, NULL) != 0)
        gilcmp_resume_all();
}

/* ---- time ------------------------------------------------------------------------------------------------------ */

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

void gilcmp_yield(void)
{
#ifdef _WIN32
    SwitchToThread();
#else
    sched_yield();
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

void gilcmp_spin_easily_until(int64_t until)
{
    while (gilcmp_now() < until)
        for (int i = 0; i < 8; i++)
            relax();
}

uint64_t gilcmp_next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

int64_t gilcmp_jittered(uint64_t *random, int64_t pace)
{
    return pace / 2 + (int64_t)(gilcmp_next_random(random) % (uint64_t)pace);
}

void gilcmp_watcher_rest_until_sample(gilcmp_watcher *watcher, int64_t pace)
{
    do {
        const int64_t now = gilcmp_now(), wanted = now + gilcmp_jittered(&watcher->random, pace);
        gilcmp_watcher_rest(watcher, wanted - now);
        watcher->late = gilcmp_now() - wanted > LATE ? watcher->late + 1 : 0;
    } while (watcher->late && watcher->late < 3 && !LOAD(watcher->stop));
}

int64_t gilcmp_own_cpu_time(void)
{
#ifdef CLOCK_THREAD_CPUTIME_ID
    struct timespec time;
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0)
        return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
#endif
    return -1;
}

int64_t gilcmp_affordable_pace(gilcmp_budget budget, int64_t cpu_before, int64_t looks, int64_t otherwise)
{
    const int64_t cpu = gilcmp_own_cpu_time();
    if (looks <= 0 || cpu < 0)
        return otherwise;
    const int64_t pace = (int64_t)((double)(cpu - cpu_before) / (double)looks / budget.share);
    return pace < budget.fastest ? budget.fastest : pace < budget.slowest ? pace : budget.slowest;
}
