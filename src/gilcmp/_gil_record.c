/* See _gil_record.h. Whose memory is read here may be gone at any moment: it is read safely, and believed only when it
 * fits what is known. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "_gil_record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef _WIN32
#include <signal.h>
#include <time.h>
#endif
#ifdef __linux__
#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#define MILLISECOND INT64_C(1000000)
#define WALK (5 * MILLISECOND)   /* between two walks along the list of threads: beginnings and ends are so exact */
#define CLOCKS (20 * MILLISECOND) /* between two readings of each thread's clocks */
/* Pace by itself: so that looking takes this share of one CPU, whatever a look costs here. */
#define SHARE 0.015
#define FASTEST (MILLISECOND / 5)
#define FIRST MILLISECOND
#define SLOWEST (10 * MILLISECOND)
#define LATE (MILLISECOND / 2)
#define NOBODY (-1)
#define UNTOLD 0 /* id of the thread that stands for those that are not told apart */

struct gilcmp_recorder {
    gilcmp_places places;
    int64_t pace; /* 0: by itself */
    gilcmp_record *record;
    int32_t live[GILCMP_THREADS]; /* indices of the threads that have not ended */
    int n_live, turn, walked_before; /* turn: whose state is looked at next */
    int32_t holder, left;         /* left: who has just let go of the lock */
    int32_t untold;
    volatile int stop, running, armed;
    int64_t now_pace, then, walked, read; /* then: of the latest look */
    int64_t stopped_at;
    unsigned long counted;
    PyThread_type_lock bell, ended; /* bell: held but when the recorder is to wake up at once */
    long number;                    /* the system's, of the native thread */
};

/* ---- spans ------------------------------------------------------------------------------------------------ */

static void put_span(gilcmp_record *record, int32_t index, gilcmp_doing doing, int64_t start, int64_t end)
{
    if (end <= start)
        return;
    if (index != NOBODY) {
        gilcmp_thread *thread = &record->threads[index];
        thread->spent[doing] += end - start;
        if (doing == GILCMP_HOLDS && end - start > thread->longest_hold)
            thread->longest_hold = end - start;
    }
    record->spans[record->n_spans++ % record->span_capacity] = (gilcmp_span){start, end, index, doing};
}

static void change(gilcmp_recorder *recorder, int32_t index, gilcmp_doing doing, int64_t when)
{
    gilcmp_thread *thread = &recorder->record->threads[index];
    if (thread->now == doing)
        return;
    if (when < thread->since)
        when = thread->since;
    put_span(recorder->record, index, thread->now, thread->since, when);
    thread->holds += doing == GILCMP_HOLDS;
    thread->now = doing;
    thread->since = when;
    thread->looked = 0;
}

/* ---- threads ---------------------------------------------------------------------------------------------- */

static int32_t add_thread(gilcmp_recorder *recorder, const PyThreadState *state, uint64_t id, int64_t began, int64_t now)
{
    gilcmp_record *record = recorder->record;
    if (record->n_threads >= GILCMP_THREADS - (id != UNTOLD)) /* the last place is kept for the rest */
        return NOBODY;
    int32_t index = (int32_t)record->n_threads++;
    gilcmp_thread *thread = &record->threads[index];
    thread->id = id;
    thread->state = state;
    thread->began = began;
    thread->since = now;
    thread->now = GILCMP_AWAY;
    thread->first_cpu = thread->first_delay = thread->cpu = thread->delay = -1;
    thread->files[0] = thread->files[1] = -1;
    if (id != UNTOLD)
        recorder->live[recorder->n_live++] = index;
    return index;
}

static int32_t untold_thread(gilcmp_recorder *recorder, int64_t now)
{
    if (recorder->untold == NOBODY)
        recorder->untold = add_thread(recorder, NULL, UNTOLD, 0, now);
    return recorder->untold;
}

static void end_thread(gilcmp_recorder *recorder, int place, int64_t when)
{
    int32_t index = recorder->live[place];
    gilcmp_thread *thread = &recorder->record->threads[index];
    if (when < thread->since)
        when = thread->since;
    put_span(recorder->record, index, thread->now, thread->since, when);
    thread->ended = when;
#ifdef __linux__
    for (int i = 0; i < 2; i++)
        if (thread->files[i] >= 0)
            close(thread->files[i]);
#endif
    if (recorder->holder == index)
        recorder->holder = NOBODY;
    if (recorder->left == index)
        recorder->left = NOBODY;
    recorder->live[place] = recorder->live[--recorder->n_live];
}

static int32_t find_thread(const gilcmp_recorder *recorder, const void *state, uint64_t id)
{
    for (int place = 0; place < recorder->n_live; place++) {
        const gilcmp_thread *thread = &recorder->record->threads[recorder->live[place]];
        if (thread->state == state && thread->id == id)
            return recorder->live[place];
    }
    return NOBODY;
}

/* Walk along the interpreter's list of threads, which others change meanwhile. */
static void walk(gilcmp_recorder *recorder, int64_t now)
{
    gilcmp_record *record = recorder->record;
    const int first = !recorder->walked_before; /* who is there now was there before */
    recorder->walked_before = 1;
    PyThreadState *state;
    PyThreadState copy;
    for (int place = 0; place < recorder->n_live; place++)
        record->threads[recorder->live[place]].missing++;
    if (!gilcmp_safe_read(&state, (const void *)recorder->places.threads, sizeof(state)))
        return;
    for (int steps = 0; state != NULL && steps < GILCMP_THREADS; steps++) {
        if (!gilcmp_safe_read(&copy, state, sizeof(copy)) || copy.interp != recorder->places.interpreter)
            break; /* it ended under our eyes: the next walk sees more */
        int32_t index = find_thread(recorder, state, copy.id);
        if (index == NOBODY)
            index = add_thread(recorder, state, copy.id, first ? 0 : now, now);
        if (index != NOBODY) {
            gilcmp_thread *thread = &record->threads[index];
            thread->missing = 0;
            thread->ident = (uint64_t)copy.thread_id; /* a new thread fills these in itself, a moment later */
#ifdef PY_HAVE_THREAD_NATIVE_ID
            thread->native = (uint64_t)copy.native_thread_id;
#endif
        }
        state = copy.next;
    }
    for (int place = recorder->n_live - 1; place >= 0; place--)
        if (record->threads[recorder->live[place]].missing >= 2) /* once may be a walk that went astray */
            end_thread(recorder, place, now - WALK / 2);
}

/* ---- what Linux tells ------------------------------------------------------------------------------------- */

#ifdef __linux__

enum { SYSCALL, SCHEDSTAT };

/* The recorder's files are its own: in the program's table of files they would take numbers, and a program that closes
 * all files would close them. */
static int own_files(void)
{
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
    return syscall(SYS_close_range, 0u, ~0u, 1u << 1 /* CLOSE_RANGE_UNSHARE */) == 0;
}

/* Ask for short slices of a core (Linux 6.12 and later; elsewhere it changes nothing): who asks for less is let in
 * sooner. Otherwise many looks would be late until the next tick of the scheduler's clock. */
static void ask_for_short_slices(void)
{
#ifdef SYS_sched_setattr
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } wanted = {0};
    if (syscall(SYS_sched_getattr, 0, &wanted, sizeof(wanted), 0) == 0 && wanted.policy == 0 /* SCHED_OTHER */) {
        wanted.runtime = MILLISECOND / 10; /* the shortest that Linux takes */
        syscall(SYS_sched_setattr, 0, &wanted, 0);
    }
#endif
}

static ssize_t read_file(gilcmp_thread *thread, int which, char *text, size_t size)
{
    if (thread->files[which] < 0) {
        char path[64];
        if (thread->native == 0)
            return -1;
        snprintf(path, sizeof(path), "/proc/self/task/%llu/%s", (unsigned long long)thread->native,
            which == SYSCALL ? "syscall" : "schedstat");
        thread->files[which] = open(path, O_RDONLY | O_CLOEXEC);
        if (thread->files[which] < 0)
            return -1;
    }
    ssize_t length = pread(thread->files[which], text, size - 1, 0);
    text[length > 0 ? length : 0] = 0;
    return length;
}

/* Read the next number of a text, decimal or with 0x before it; return where it ends, NULL where there is none.
 * Compiled against a new glibc, sscanf and strtoull are new functions, and a wheel would not run with an older one. */
static const char *next_number(const char *text, uint64_t *number)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t base = 10;
    const char *digit, *start;
    if (text == NULL)
        return NULL;
    while (*text == ' ')
        text++;
    if (text[0] == '0' && text[1] == 'x') {
        base = 16;
        text += 2;
    }
    start = text;
    for (*number = 0; *text && (digit = strchr(digits, *text)) != NULL && (uint64_t)(digit - digits) < base; text++)
        *number = *number * base + (uint64_t)(digit - digits);
    return text == start ? NULL : text;
}

/* Look at what a thread is doing that does not hold the lock. */
static void look_at(gilcmp_recorder *recorder, int32_t index, int64_t now)
{
    gilcmp_record *record = recorder->record;
    gilcmp_thread *thread = &record->threads[index];
    char text[256];
    gilcmp_doing doing = GILCMP_BLOCKED;
    uint64_t call, address;
    if (!record->tells_states || thread->now == GILCMP_HOLDS || read_file(thread, SYSCALL, text, sizeof(text)) <= 0)
        return;
    if (text[0] == 'r') /* "running" */
        doing = GILCMP_RUNS;
    else if (next_number(next_number(text, &call), &address) != NULL && call == SYS_futex
        && (const char *)(uintptr_t)address >= recorder->places.gil
        && (const char *)(uintptr_t)address < recorder->places.gil_end)
        doing = GILCMP_WAITS;
    if (thread->now == GILCMP_AWAY)
        thread->now = doing; /* since it let go */
    else
        change(recorder, index, doing, thread->looked ? thread->looked + (now - thread->looked) / 2 : now);
    thread->looked = now;
}

static void read_clocks(gilcmp_recorder *recorder, int64_t now)
{
    gilcmp_record *record = recorder->record;
    for (int place = 0; place < recorder->n_live; place++) {
        gilcmp_thread *thread = &record->threads[recorder->live[place]];
        char text[96];
        uint64_t cpu, delay;
        if (read_file(thread, SCHEDSTAT, text, sizeof(text)) <= 0
            || next_number(next_number(text, &cpu), &delay) == NULL)
            continue;
        if (thread->first_cpu < 0) {
            /* who was not there at the beginning has done all of it since */
            thread->first_cpu = thread->began ? 0 : (int64_t)cpu;
            thread->first_delay = thread->began ? 0 : (int64_t)delay;
        }
        thread->cpu = (int64_t)cpu;
        thread->delay = (int64_t)delay;
        record->clocks[record->n_clocks++ % record->clock_capacity]
            = (gilcmp_clock){now, thread->cpu - thread->first_cpu, thread->delay - thread->first_delay,
                recorder->live[place]};
    }
}

#else

static void look_at(gilcmp_recorder *recorder, int32_t index, int64_t now)
{
    (void)recorder, (void)index, (void)now;
}

static void read_clocks(gilcmp_recorder *recorder, int64_t now)
{
    (void)recorder, (void)now;
}

#endif

/* ---- looking ---------------------------------------------------------------------------------------------- */

#ifdef Py_GIL_DISABLED

/* Look whether each thread is attached; returns whether any was. */
static int look(gilcmp_recorder *recorder, int64_t middle, int64_t now)
{
    static const gilcmp_doing meaning[] = {GILCMP_AWAY, GILCMP_HOLDS, GILCMP_WAITS};
    int any = 0;
    for (int place = 0; place < recorder->n_live; place++) {
        int32_t index = recorder->live[place];
        gilcmp_thread *thread = &recorder->record->threads[index];
        struct {
            int state;
            uint64_t id;
        } seen;
        if (!gilcmp_safe_read(&seen.state, &thread->state->state, sizeof(seen.state))
            || !gilcmp_safe_read(&seen.id, &thread->state->id, sizeof(seen.id)) || seen.id != thread->id
            || seen.state < 0 || seen.state > 2)
            continue; /* it has ended */
        any |= seen.state == 1;
        if (seen.state == 0 && thread->now != GILCMP_HOLDS && thread->now != GILCMP_WAITS)
            continue; /* detached before: look_at says what it does */
        if (seen.state == 0)
            recorder->left = index;
        change(recorder, index, meaning[seen.state], middle);
    }
    (void)now;
    return any;
}

#else

/* Look who holds the lock; returns whether anybody did. */
static int look(gilcmp_recorder *recorder, int64_t middle, int64_t now)
{
    const gilcmp_lock *lock = &recorder->places.lock;
    gilcmp_record *record = recorder->record;
    const PyThreadState *state = LOAD(*lock->word) == 1 ? LOAD(*lock->holder) : NULL;
    int32_t index = NOBODY;
    uint64_t id;
    if (state != NULL) {
        if (!gilcmp_safe_read(&id, &state->id, sizeof(id)))
            state = NULL; /* let go, and ended, since */
        else if (recorder->holder != NOBODY && record->threads[recorder->holder].state == state
            && record->threads[recorder->holder].id == id)
            index = recorder->holder;
        else {
            index = find_thread(recorder, state, id);
            if (index == NOBODY) {
                walk(recorder, now);
                index = find_thread(recorder, state, id);
            }
            if (index == NOBODY) /* another interpreter's, or one too many */
                index = untold_thread(recorder, now);
        }
    }
    if (index != recorder->holder) {
        if (recorder->holder != NOBODY) {
            change(recorder, recorder->holder, GILCMP_AWAY, middle);
            recorder->left = recorder->holder;
        }
        if (index != NOBODY)
            change(recorder, index, GILCMP_HOLDS, middle);
        recorder->holder = index;
    }
    return index != NOBODY;
}

#endif

/* What happened since `then` is not known: the recorder had no core. */
static void forget(gilcmp_recorder *recorder, int64_t then, int64_t now)
{
    gilcmp_record *record = recorder->record;
    record->unseen += now - then;
    put_span(record, NOBODY, GILCMP_AWAY, then, now);
    for (int64_t index = 0; index < record->n_threads; index++) {
        gilcmp_thread *thread = &record->threads[index];
        if (thread->ended)
            continue;
        put_span(record, (int32_t)index, thread->now, thread->since, then);
        thread->now = GILCMP_AWAY;
        thread->since = now;
        thread->looked = 0;
    }
    recorder->holder = recorder->left = NOBODY;
}

/* CPU time that this thread has used, in nanoseconds; -1: not told. */
static int64_t own_time(void)
{
#ifdef CLOCK_THREAD_CPUTIME_ID
    struct timespec time;
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0)
        return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
#endif
    return -1;
}

static int64_t new_pace(int64_t spent, int64_t looks)
{
    if (looks <= 0 || spent < 0)
        return FIRST;
    int64_t pace = (int64_t)((double)spent / (double)looks / SHARE);
    return pace < FASTEST ? FASTEST : pace < SLOWEST ? pace : SLOWEST;
}

/* Sleep for so long, or until the bell rings. */
static void rest(gilcmp_recorder *recorder, int64_t nanoseconds)
{
    if (PyThread_acquire_lock_timed(recorder->bell, (nanoseconds + 999) / 1000, 0) == PY_LOCK_ACQUIRED)
        PyThread_release_lock(recorder->bell);
}

static void close_files(gilcmp_recorder *recorder)
{
#ifdef __linux__
    for (int place = 0; place < recorder->n_live; place++) {
        int *files = recorder->record->threads[recorder->live[place]].files;
        for (int i = 0; i < 2; i++) {
            if (files[i] >= 0)
                close(files[i]);
            files[i] = -1;
        }
    }
#else
    (void)recorder;
#endif
}

static void look_once(gilcmp_recorder *recorder, int64_t now, int *held, int32_t *last_holder)
{
    gilcmp_record *record = recorder->record;
    int64_t passed = now - recorder->then, middle = recorder->then + passed / 2;
    if (passed > 5 * recorder->now_pace + 2 * MILLISECOND) {
        forget(recorder, recorder->then, now);
        *held = look(recorder, now, now);
    } else {
        int held_before = *held;
        *held = look(recorder, middle, now);
        record->watched += passed;
        record->free_ += held_before ? 0 : passed / 2;
        record->free_ += *held ? 0 : passed - passed / 2;
    }
    recorder->then = now;
    record->looks++;
    if (recorder->holder != NOBODY) {
        record->hand_overs_seen += *last_holder != NOBODY && *last_holder != recorder->holder;
        *last_holder = recorder->holder;
    }
    /* one thread's state a look: of the one that has just let go, or of each in turn */
    if (recorder->left != NOBODY) {
        look_at(recorder, recorder->left, now);
        recorder->left = NOBODY;
    } else if (recorder->n_live) {
        recorder->turn = (recorder->turn + 1) % recorder->n_live;
        if (recorder->live[recorder->turn] == recorder->holder) /* of whom it is known */
            recorder->turn = (recorder->turn + 1) % recorder->n_live;
        look_at(recorder, recorder->live[recorder->turn], now);
    }
}

/* Signals are for the program's threads. */
static void block_signals(void)
{
#ifndef _WIN32
    sigset_t all;
    sigfillset(&all);
#ifdef __linux__
    sigprocmask(SIG_BLOCK, &all, NULL); /* the calling thread's; pthread_sigmask would tie a wheel to glibc 2.32 */
#else
    pthread_sigmask(SIG_BLOCK, &all, NULL);
#endif
#endif
}

static void record_all(void *argument)
{
    gilcmp_recorder *recorder = argument;
    gilcmp_record *record = recorder->record;
    uint64_t random = (uint64_t)gilcmp_now() | 1;
    block_signals();
#ifdef __linux__
    prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0); /* timers are otherwise late by up to 50 us, this thread's only */
    recorder->number = syscall(SYS_gettid);
    record->tells_states = own_files();
    ask_for_short_slices();
#endif
    int64_t now = gilcmp_now();
    const volatile unsigned long *count = recorder->places.hand_overs;
    int32_t last_holder = NOBODY;
    if (record->looks) /* it was paused */
        forget(recorder, recorder->then, now);
    else
        record->began = now;
    recorder->then = now;
    walk(recorder, now);
    int late = 0, held = look(recorder, now, now);
    STORE(recorder->running, 1);
    while (!LOAD(recorder->armed)) /* the caller is not back yet: nothing of this is the program's doing */
        rest(recorder, MILLISECOND / 10);
    if (record->looks == 0) {
        record->began = recorder->then = now = gilcmp_now();
        for (int64_t index = 0; index < record->n_threads; index++)
            record->threads[index].since = now;
        record->n_spans = 0;
        recorder->counted = count == NULL ? 0 : *count;
    }
    read_clocks(recorder, now);
    int64_t spent = own_time(), looks = record->looks;
    while (!LOAD(recorder->stop)) {
        int64_t pace = recorder->now_pace;
        int64_t wanted = gilcmp_now() + pace / 2 + (int64_t)(gilcmp_next_random(&random) % (uint64_t)pace);
        rest(recorder, wanted - gilcmp_now());
        now = gilcmp_now();
        /* a look that comes late comes when the scheduler's clock ticks, and what the program does may be in step with
         * that: look at a moment that is left to chance, if there is one */
        late = now - wanted > LATE ? late + 1 : 0;
        if (late && late < 3 && !LOAD(recorder->stop))
            continue;
        look_once(recorder, now, &held, &last_holder);
        if (now - recorder->walked > WALK + recorder->n_live * 25000) {
            walk(recorder, now);
            recorder->walked = now;
        }
        if (now - recorder->read > CLOCKS + recorder->n_live * 50000) {
            read_clocks(recorder, now);
            recorder->read = now;
            if (!recorder->pace) {
                recorder->now_pace = new_pace(spent < 0 ? -1 : own_time() - spent, record->looks - looks);
            }
        }
    }
    read_clocks(recorder, now);
    close_files(recorder);
    PyThread_release_lock(recorder->ended);
}

/* ---- start and stop --------------------------------------------------------------------------------------- */

void gilcmp_record_free(gilcmp_record *record)
{
    if (record == NULL)
        return;
    free(record->threads);
    free(record->spans);
    free(record->clocks);
    free(record);
}

static void recorder_free(gilcmp_recorder *recorder)
{
    if (recorder->ended != NULL)
        PyThread_free_lock(recorder->ended);
    if (recorder->bell != NULL) {
        PyThread_release_lock(recorder->bell);
        PyThread_free_lock(recorder->bell);
    }
    free(recorder);
}

static int start(gilcmp_recorder *recorder)
{
    recorder->stop = recorder->running = recorder->armed = 0;
    if (!gilcmp_start_thread(record_all, recorder, recorder->ended, &recorder->running, 0))
        return 0;
    STORE(recorder->armed, 1);
    return 1;
}

gilcmp_recorder *gilcmp_recorder_start(const gilcmp_places *places, int64_t pace, int64_t capacity)
{
    gilcmp_recorder *recorder = calloc(1, sizeof(*recorder));
    gilcmp_record *record = calloc(1, sizeof(*record));
    if (recorder != NULL && record != NULL) {
        recorder->places = *places;
        recorder->pace = pace;
        recorder->record = record;
        recorder->holder = recorder->left = recorder->untold = NOBODY;
        recorder->now_pace = pace ? pace : FIRST;
        recorder->ended = PyThread_allocate_lock();
        recorder->bell = PyThread_allocate_lock();
        record->span_capacity = capacity;
        record->clock_capacity = capacity / 8 + 1;
        record->threads = calloc(GILCMP_THREADS, sizeof(gilcmp_thread));
        record->spans = calloc((size_t)record->span_capacity, sizeof(gilcmp_span));
        record->clocks = calloc((size_t)record->clock_capacity, sizeof(gilcmp_clock));
        if (recorder->bell != NULL)
            PyThread_acquire_lock(recorder->bell, NOWAIT_LOCK);
        if (recorder->ended != NULL && recorder->bell != NULL && record->threads != NULL && record->spans != NULL
            && record->clocks != NULL && start(recorder))
            return recorder;
    }
    gilcmp_record_free(record);
    if (recorder != NULL)
        recorder_free(recorder);
    return NULL;
}

/* A thread that has let go of `ended` is still on its way out, and counted: os.fork warns of it. */
static void wait_until_gone(const gilcmp_recorder *recorder)
{
#ifdef __linux__
    const int64_t latest = gilcmp_now() + 1000 * MILLISECOND;
    Py_BEGIN_ALLOW_THREADS
    while (syscall(SYS_tgkill, getpid(), recorder->number, 0) == 0 && gilcmp_now() < latest)
        sched_yield();
    Py_END_ALLOW_THREADS
#else
    (void)recorder;
#endif
}

void gilcmp_recorder_pause(gilcmp_recorder *recorder)
{
    if (!recorder->running)
        return;
    recorder->stopped_at = gilcmp_now();
    STORE(recorder->stop, 1);
    PyThread_release_lock(recorder->bell);
    gilcmp_wait_for_end(recorder->ended);
    wait_until_gone(recorder);
    PyThread_acquire_lock(recorder->bell, WAIT_LOCK);
    recorder->running = 0;
}

int gilcmp_recorder_resume(gilcmp_recorder *recorder)
{
    return recorder->running || start(recorder);
}

gilcmp_record *gilcmp_recorder_stop(gilcmp_recorder *recorder)
{
    gilcmp_record *record = recorder->record;
    gilcmp_recorder_pause(recorder);
    record->ended = recorder->stopped_at > recorder->then ? recorder->stopped_at : recorder->then;
    record->hand_overs = recorder->places.hand_overs == NULL ? -1 : (int64_t)(*recorder->places.hand_overs - recorder->counted);
    for (int64_t index = 0; index < record->n_threads; index++) {
        gilcmp_thread *thread = &record->threads[index];
        if (!thread->ended)
            put_span(record, (int32_t)index, thread->now, thread->since, recorder->then);
    }
    recorder_free(recorder);
    return record;
}
