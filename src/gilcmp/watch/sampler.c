/* See sampler.h. A watcher's thread owns what it writes until the watcher is over: see watcher.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* sched_getcpu, cpu_set_t */
#endif
#include "sampler.h"

#include <stdlib.h>
#include <string.h>

#ifdef __linux__
#include <sched.h>
#endif

/* ---- the sampler ------------------------------------------------------------------------------------------ */

/* Timers are late by some 30 us, so shorter pauses are spun: on the clock and not on the lock, whose cache line
 * stays with the threads that use it. */
#define SPUN 25000
#define OWN_CORE_LOST 1000000 /* nanoseconds: only another thread on its core keeps a spinning one away for that long */

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

/* Native ID of the calling thread; 0: unknown. */
static uint64_t own_number(void)
{
#ifdef PY_HAVE_THREAD_NATIVE_ID
    return PyThread_get_thread_native_id();
#else
    return 0;
#endif
}

/* Add to the segment that `now` is in; when the segments run out, make them twice as long. */
static void add_to_segment(gilcmp_sampler *sampler, int64_t now, int64_t held, int64_t all)
{
    gilcmp_counts *counts = &sampler->counts;
    int64_t segment;
    while ((segment = (now - sampler->began) / counts->segment_length) >= GILCMP_SEGMENTS) {
        for (int i = 0; i < GILCMP_SEGMENTS; i++) {
            const int both = 2 * i < GILCMP_SEGMENTS;
            counts->segment_held[i] = both ? counts->segment_held[2 * i] + counts->segment_held[2 * i + 1] : 0;
            counts->segment_all[i] = both ? counts->segment_all[2 * i] + counts->segment_all[2 * i + 1] : 0;
        }
        counts->segment_length *= 2;
    }
    counts->segment_held[segment] += held;
    counts->segment_all[segment] += all;
}

static void note_release(gilcmp_sampler *sampler, int64_t length)
{
    gilcmp_counts *counts = &sampler->counts;
    int64_t place = counts->n_releases++;
    if (place >= GILCMP_RELEASES) /* reservoir sampling: every release is as likely to be kept */
        place = (int64_t)(gilcmp_next_random(&sampler->watcher.random) % (uint64_t)(place + 1));
    if (place < GILCMP_RELEASES)
        counts->releases[place] = length;
}

/* A long release is hardly ever seen whole: what was seen of it counts, and what follows counts as another. */
static void note_seen_release(gilcmp_sampler *sampler)
{
    if (sampler->free_since && sampler->then > sampler->free_since)
        note_release(sampler, sampler->then - sampler->free_since);
    sampler->free_since = 0;
}

/* Half of the time between two samples belongs to each of them. */
static void add_times(gilcmp_sampler *sampler, gilcmp_state state, int64_t now)
{
    gilcmp_counts *counts = &sampler->counts;
    const int64_t passed = now - sampler->then, halves[2] = {passed / 2, passed - passed / 2};
    const gilcmp_state states[2] = {sampler->before, state};
    int64_t held = 0;
    for (int i = 0; i < 2; i++) {
        held += states[i] == GILCMP_SELF ? halves[i] : 0;
        counts->other += states[i] == GILCMP_OTHER ? halves[i] : 0;
        counts->free_ += states[i] == GILCMP_FREE ? halves[i] : 0;
    }
    counts->held += held;
    add_to_segment(sampler, now, held, passed);
}

/* Run delay of the watched thread since the last query. The system reports it once the thread runs again. */
static int64_t new_delay(gilcmp_sampler *sampler)
{
    int64_t cpu, delay;
    if (!gilcmp_read_clocks(&sampler->files, sampler->native, &cpu, &delay))
        return 0;
    const int64_t before = sampler->delay;
    sampler->delay = delay;
    return before < 0 ? 0 : delay - before;
}

/* Such a time says nothing about the call: take it off the state in which the thread was kept waiting. */
static void take_off(gilcmp_sampler *sampler, int64_t now, int64_t delay)
{
    gilcmp_counts *counts = &sampler->counts;
    const int held = sampler->before == GILCMP_SELF;
    *(held ? &counts->held : sampler->before == GILCMP_OTHER ? &counts->other : &counts->free_) -= delay;
    add_to_segment(sampler, now, held ? -delay : 0, -delay);
}

static void add_changes(gilcmp_sampler *sampler, gilcmp_state state, int64_t now)
{
    gilcmp_counts *counts = &sampler->counts;
    if (state == GILCMP_SELF && sampler->before != GILCMP_SELF) {
        sampler->held_since = now;
        if (sampler->free_since)
            note_release(sampler, now - sampler->free_since);
        sampler->free_since = 0;
    } else if (state != GILCMP_SELF && sampler->before == GILCMP_SELF) {
        counts->hand_overs++;
        sampler->free_since = now;
    }
    if (state == GILCMP_SELF && now - sampler->held_since > counts->longest_hold)
        counts->longest_hold = now - sampler->held_since;
}

/* Tell whether a thread started after the sampler did. IDs are given in rising order, and never twice. */
static int is_younger(const gilcmp_sampler *sampler, const PyThreadState *thread)
{
    uint64_t id;
    return gilcmp_safe_read(&id, &thread->id, sizeof(id)) && id > sampler->newest;
}

/* Read who holds the lock, and whether what is to be watched was going on just before and just after. */
static gilcmp_state look(const gilcmp_sampler *sampler, const void **holder, int *inside)
{
    const int before = LOAD(sampler->inside);
    const gilcmp_state state = gilcmp_read_lock(&sampler->lock, holder);
    *inside = !sampler->marked || (before && LOAD(sampler->inside));
    return state == GILCMP_OTHER && sampler->newest && is_younger(sampler, *holder) ? GILCMP_SELF : state;
}

static void sample(gilcmp_watcher *watcher)
{
    gilcmp_sampler *sampler = (gilcmp_sampler *)watcher;
    gilcmp_counts *counts = &sampler->counts;
    const int64_t pace = sampler->pace;
    /* Beyond this the sampler had no core, or its timer was late by far: what happened meanwhile is not known. */
    const int64_t gap = pace < SPUN ? 100000 : 20 * pace + 2000000;
    const void *holder;
#ifdef __linux__
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
        CPU_ZERO(&allowed); /* more CPUs than a cpu_set_t has room for: stay */
    if (pace < SPUN)
        leave_cpu(&allowed, sampler->started_on);
#endif
    const int tells_delays = sampler->without_delays && sampler->native && gilcmp_own_files(-1);
    if (pace >= SPUN) /* one that sleeps shares the cores with what it watches, and with other programs */
        gilcmp_ask_for_short_slices();
    sampler->delay = -1;
    if (tells_delays)
        new_delay(sampler);
    int resumed = LOAD(watcher->started);
    if (!resumed) {
        sampler->before = gilcmp_read_lock(&sampler->lock, &sampler->holder_before);
        sampler->began = sampler->then = sampler->held_since = sampler->dropped_until = gilcmp_now();
        STORE(watcher->started, 1);
    }
    while (!LOAD(watcher->stop)) {
        if (pace >= SPUN)
            gilcmp_watcher_rest_until_sample(watcher, pace);
        else if (pace)
            gilcmp_spin_easily_until(gilcmp_now() + gilcmp_jittered(&watcher->random, pace));
        /* the clock is read after the lock: a preemption in between lengthens the gap and is dropped */
        int inside;
        const gilcmp_state state = look(sampler, &holder, &inside);
        const int64_t now = gilcmp_now(), passed = now - sampler->then;
        if (LOAD(watcher->stop) && now > watcher->stopped_at)
            break;
        if (!LOAD(sampler->armed)) { /* starting the sampler is not part of the watched work */
            sampler->began = sampler->held_since = sampler->dropped_until = now;
        } else {
            const int64_t delay = tells_delays ? new_delay(sampler) : 0;
            counts->samples += inside;
            counts->switches += inside && holder != sampler->holder_before;
            if (!inside) {
                sampler->held_since = sampler->dropped_until = now;
                sampler->free_since = 0;
            } else if (resumed || passed > gap) {
                counts->dropped += passed;
                sampler->dropped_until = now;
                sampler->held_since = now;
                note_seen_release(sampler);
                sampler->free_since = state == GILCMP_SELF ? 0 : now;
#ifdef __linux__
                if (pace < SPUN && passed > OWN_CORE_LOST)
                    leave_cpu(&allowed, sched_getcpu());
#endif
            } else {
                add_changes(sampler, state, now);
                if (sampler->marked) /* part of the time before this look may lie outside: each look stands for itself */
                    sampler->before = state;
                add_times(sampler, state, now);
                take_off(sampler, now, delay < now - sampler->dropped_until ? delay : now - sampler->dropped_until);
            }
        }
        resumed = 0;
        sampler->holder_before = holder;
        sampler->before = state;
        sampler->then = now;
    }
    note_seen_release(sampler); /* stopped, or paused for a fork, in the middle of one */
    if (tells_delays)
        gilcmp_close_files(&sampler->files);
}

/* ID of the newest thread of the calling thread's interpreter: the list of its threads begins with it. Without a GIL the
 * list changes meanwhile, and nothing is held by anybody. */
static uint64_t newest_thread(void)
{
#ifdef Py_GIL_DISABLED
    return 0;
#else
    return PyThreadState_GetID(PyInterpreterState_ThreadHead(PyInterpreterState_Get()));
#endif
}

gilcmp_sampler *gilcmp_sampler_start(const gilcmp_lock *lock, gilcmp_sampling how)
{
    gilcmp_sampler *sampler = calloc(1, sizeof(*sampler));
    if (sampler == NULL)
        return NULL;
    sampler->lock = *lock;
    sampler->pace = how.pace;
    sampler->without_delays = how.without_delays;
    sampler->newest = how.with_younger ? newest_thread() : 0;
    sampler->marked = how.marked;
    sampler->files = GILCMP_NO_FILES;
    sampler->native = own_number();
    sampler->counts.segment_length = how.longest / GILCMP_SEGMENTS + 1;
#ifdef __linux__
    sampler->started_on = sched_getcpu();
#endif
    if (!gilcmp_watcher_prepare(&sampler->watcher, sample, 1) || !gilcmp_watcher_start(&sampler->watcher)) {
        gilcmp_sampler_free(sampler);
        return NULL;
    }
    STORE(sampler->armed, 1);
    return sampler;
}

void gilcmp_sampler_mark(gilcmp_sampler *sampler, int inside)
{
    STORE(sampler->inside, inside);
}

void gilcmp_sampler_free(gilcmp_sampler *sampler)
{
    gilcmp_watcher_close(&sampler->watcher);
    free(sampler);
}

/* ---- the waiter ------------------------------------------------------------------------------------------- */

/* Before 3.13 the thread state is made with the GIL held: making it allocates, and tracemalloc asks for the GIL at each
 * allocation; and CPython does not survive a fork while another thread makes one. From 3.13 on the thread that uses it
 * must make it (its heaps belong to that thread), and may do so without the GIL. */
static PyThreadState *make_state(const gilcmp_waiter *waiter)
{
    return PyThreadState_New(waiter->watcher.interpreter);
}

static void wait_again_and_again(gilcmp_watcher *watcher)
{
    gilcmp_waiter *waiter = (gilcmp_waiter *)watcher;
#if PY_VERSION_HEX < 0x030D0000
    waiter->state->thread_id = PyThread_get_thread_ident();
#ifdef PY_HAVE_THREAD_NATIVE_ID
    waiter->state->native_thread_id = PyThread_get_thread_native_id();
#endif
#else
    waiter->state = make_state(waiter);
#endif
    /* its own time without a core is due to the machine, not to the lock */
    gilcmp_files files = GILCMP_NO_FILES;
    int64_t cpu, before = 0, after = 0;
    const uint64_t own = own_number();
    const int tells_delays = own && gilcmp_own_files(-1);
    STORE(watcher->started, 1);
    while (waiter->state != NULL && !LOAD(watcher->stop)) {
        gilcmp_watcher_rest(watcher, gilcmp_jittered(&watcher->random, waiter->pause));
        if (LOAD(watcher->stop))
            break;
        if (tells_delays)
            gilcmp_read_clocks(&files, own, &cpu, &before);
        const int64_t asked = gilcmp_now();
        PyEval_AcquireThread(waiter->state);
        const int64_t got = gilcmp_now();
        gilcmp_wait wait = {asked, got, 0, gilcmp_cpu_time(waiter->caller)};
        PyEval_ReleaseThread(waiter->state);
        if (tells_delays && gilcmp_read_clocks(&files, own, &cpu, &after) && after > before)
            wait.delay = after - before;
        if (waiter->n < waiter->capacity)
            waiter->waits[waiter->n++] = wait;
    }
    if (tells_delays)
        gilcmp_close_files(&files);
    if (waiter->state != NULL) {
        PyEval_AcquireThread(waiter->state);
        PyThreadState_Clear(waiter->state);
        PyThreadState_DeleteCurrent();
    }
}

gilcmp_waiter *gilcmp_waiter_start(int64_t pause, int64_t capacity)
{
    gilcmp_waiter *waiter = calloc(1, sizeof(*waiter));
    if (waiter == NULL)
        return NULL;
    waiter->pause = pause;
    waiter->caller = own_number();
    waiter->capacity = capacity;
    waiter->waits = calloc((size_t)capacity, sizeof(gilcmp_wait));
    int fine = gilcmp_watcher_prepare(&waiter->watcher, wait_again_and_again, 0) && waiter->waits != NULL;
#if PY_VERSION_HEX < 0x030D0000
    fine = fine && (waiter->state = make_state(waiter)) != NULL;
#endif
    if (fine && gilcmp_watcher_start(&waiter->watcher))
        return waiter;
#if PY_VERSION_HEX < 0x030D0000
    if (waiter->state != NULL) {
        PyThreadState_Clear(waiter->state);
        PyThreadState_Delete(waiter->state);
    }
#endif
    gilcmp_waiter_free(waiter);
    return NULL;
}

void gilcmp_waiter_free(gilcmp_waiter *waiter)
{
    gilcmp_watcher_close(&waiter->watcher);
    free(waiter->waits);
    free(waiter);
}
