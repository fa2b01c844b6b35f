/* See monitor.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "report.h"

#include <stdlib.h>
#include <string.h>

#ifndef _WIN32
#include <signal.h>
#endif
#ifdef __linux__
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#define MILLISECOND INT64_C(1000000)
#define WALK (200 * MILLISECOND)     /* between two walks of the thread list */
#define CLOCKS (200 * MILLISECOND)   /* between two readings of a thread's clocks */
#define LONG_FROM (20 * MILLISECOND) /* shorter holds and waits are not told one by one */
#define FIRST_PACE (10 * MILLISECOND)
#define FASTER_THAN_LIMIT 4          /* with a watchdog, at least so many looks in the time that it allows */
#define MOST_AT_ONCE 4               /* threads looked at at a look while somebody holds for long */
#define MOST_ATTACHED 16             /* threads looked at at a look, without a GIL */
#define TELLING (50 * MILLISECOND)   /* between two looks whether there is something to tell */
#define STOPPED (1000 * MILLISECOND) /* without a look for so long: it was the process that did not run */
#define NOBODY (-1)

static const gilcmp_budget budget = {0.004, MILLISECOND, 25 * MILLISECOND};
static const gilcmp_budget watchdogs = {0.004, MILLISECOND, 12 * MILLISECOND}; /* it is to be on time within 20 ms */

static const int64_t bounds[GILCMP_BUCKETS - 1] = {
    50 * MILLISECOND, 100 * MILLISECOND, 200 * MILLISECOND, 500 * MILLISECOND, 1000 * MILLISECOND, 2000 * MILLISECOND,
    5000 * MILLISECOND, 10000 * MILLISECOND, 30000 * MILLISECOND, 60000 * MILLISECOND,
};

static void observe(gilcmp_histogram *histogram, int64_t length)
{
    int bucket = 0;
    while (bucket < GILCMP_BUCKETS - 1 && length > bounds[bucket])
        bucket++;
    histogram->buckets[bucket]++;
    histogram->n++;
    histogram->total += length;
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

static void call_back(void *argument)
{
    gilcmp_monitor *monitor = argument;
#ifdef __linux__
    sigset_t none; /* the watchers' threads get no signals; this one, and what it starts, is the program's */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
#endif
    const PyGILState_STATE state = PyGILState_Ensure();
    monitor->how.call(monitor->how.argument); /* which may free it */
    PyGILState_Release(state);
}

/* Start a thread to call back whenever there is something to tell, and the one before has come back. */
static void wait_to_tell(gilcmp_watcher *watcher)
{
    gilcmp_monitor *monitor = ((gilcmp_caller *)watcher)->monitor;
    STORE(watcher->started, 1);
    while (!LOAD(watcher->stop)) {
        gilcmp_watcher_rest(watcher, TELLING);
        if (!LOAD(monitor->to_tell) || EXCHANGE(monitor->busy, 1))
            continue;
        if (monitor->calling == 0 && PyThread_start_new_thread(call_back, monitor) != PYTHREAD_INVALID_THREAD_ID) {
            STORE(monitor->to_tell, 0);
            monitor->calling = 1;
        }
        STORE(monitor->busy, 0);
    }
}

/* Keep a long hold or wait that is over. */
static void keep(gilcmp_monitor *monitor, const gilcmp_event *event)
{
    monitor->events[monitor->n_events++ % GILCMP_EVENTS] = *event;
    observe(event->kind == GILCMP_LONG_HOLD ? &monitor->holds : &monitor->waits, event->ended - event->began);
    if (event->reported != 1)
        return;
    gilcmp_write_end(monitor, event);
    STORE(monitor->to_tell, 1);
}

/* Report what has just become too long; what comes too soon after another report is only counted. */
static int report(gilcmp_monitor *monitor, const gilcmp_event *event, int64_t now)
{
    if (monitor->reported && now - monitor->reported < monitor->how.every) {
        monitor->suppressed++;
        return 2;
    }
    monitor->reported = now;
    monitor->reports++;
    gilcmp_write_report(monitor, event, now);
    return 1;
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

static void read_clocks(const gilcmp_monitor *monitor, gilcmp_monitored *thread, int64_t now)
{
    int64_t cpu, delay;
    if (!monitor->tells_states || (now - thread->read < CLOCKS && thread->read != 0))
        return;
    thread->read = now;
    if (!gilcmp_read_clocks(&thread->files, thread->native, &cpu, &delay))
        return;
    if (thread->last_cpu >= 0) {
        thread->sums.cpu += cpu - thread->last_cpu;
        thread->sums.delay += delay - thread->last_delay;
        thread->sums.told = 1;
    }
    thread->last_cpu = cpu;
    thread->last_delay = delay;
}

static int find_thread(const gilcmp_monitor *monitor, const void *state, uint64_t id)
{
    for (int i = 0; i < monitor->n_threads; i++)
        if (monitor->threads[i].state == state && monitor->threads[i].id == id)
            return i;
    return NOBODY;
}

static void fill_in(gilcmp_monitored *thread, const PyThreadState *copy)
{
    if (copy->thread_id == 0 || thread->ident == (uint64_t)copy->thread_id) /* it fills these in when it starts */
        return;
    thread->ident = (uint64_t)copy->thread_id;
#ifdef PY_HAVE_THREAD_NATIVE_ID
    thread->native = (uint64_t)copy->native_thread_id;
#endif
#ifdef Py_GIL_DISABLED
    gilcmp_find_stack(thread->state, thread->native, &thread->stack, &thread->stack_top);
#endif
}

static int add_thread(gilcmp_monitor *monitor, const PyThreadState *state, const PyThreadState *copy)
{
    if (monitor->n_threads == GILCMP_MONITORED)
        return NOBODY;
    gilcmp_monitored *thread = &monitor->threads[monitor->n_threads];
    memset(thread, 0, sizeof(*thread));
    thread->id = copy->id;
    thread->state = state;
    thread->last_cpu = -1;
    /* one that began since then has used all that it has */
    if (monitor->walked != 0 && copy->id > monitor->latest_id)
        thread->last_cpu = thread->last_delay = 0;
    if (copy->id > monitor->latest_id)
        monitor->latest_id = copy->id;
    thread->files = GILCMP_NO_FILES;
    monitor->n_started++;
    fill_in(thread, copy);
    return monitor->n_threads++;
}

static void add_sums(gilcmp_sums *to, const gilcmp_sums *sums)
{
    to->held += sums->held;
    to->waited += sums->waited;
    to->asleep += sums->asleep;
    to->cpu += sums->cpu;
    to->delay += sums->delay;
    to->told |= sums->told;
}

static void end_wait(gilcmp_monitor *monitor, gilcmp_monitored *thread, int64_t now)
{
    const int64_t unseen = (now - thread->seen_waiting) / 2;
    const int64_t ended = thread->seen_waiting + (unseen < monitor->current_pace ? unseen : monitor->current_pace);
    /* seen more than once: threads are looked at in turn, and what was between two looks is not known */
    if (thread->waits_since != 0 && thread->seen_waiting > thread->waits_since && ended - thread->waits_since >= LONG_FROM) {
        const gilcmp_event event = {
            .began = thread->waits_since, .ended = ended, .ident = thread->ident, .native = thread->native,
            .where = GILCMP_NOWHERE, .kind = GILCMP_LONG_WAIT, .reported = thread->reported,
        };
        keep(monitor, &event);
    }
    thread->waits_since = 0;
    thread->reported = 0;
}

static void drop_thread(gilcmp_monitor *monitor, int index, int64_t now)
{
    gilcmp_monitored *thread = &monitor->threads[index];
    end_wait(monitor, thread, now);
    gilcmp_close_files(&thread->files);
    add_sums(&monitor->ended, &thread->sums);
    *thread = monitor->threads[--monitor->n_threads];
}

static void show_thread(void *argument, const PyThreadState *state, const PyThreadState *copy)
{
    gilcmp_monitor *monitor = argument;
    int index = find_thread(monitor, state, copy->id);
    if (index == NOBODY)
        index = add_thread(monitor, state, copy);
    if (index == NOBODY)
        return;
    monitor->threads[index].missing = 0;
    fill_in(&monitor->threads[index], copy);
}

static void walk(gilcmp_monitor *monitor, int64_t now)
{
    for (int i = 0; i < monitor->n_threads; i++)
        monitor->threads[i].missing++;
    gilcmp_each_thread(&monitor->places, 2 * GILCMP_MONITORED, show_thread, monitor);
    monitor->walked = now;
    for (int i = monitor->n_threads - 1; i >= 0; i--)
        if (monitor->threads[i].missing >= 2) /* once may be a walk that went astray */
            drop_thread(monitor, i, now);
}

/* Half of the time since the look before, but no more than of a usual one. */
static int64_t half_way(const gilcmp_monitor *monitor, int64_t now)
{
    const int64_t half = (now - monitor->then) / 2;
    return half < monitor->current_pace ? half : monitor->current_pace;
}

/* ---- holds, and pauses of the world ------------------------------------------------------------------------------- */

static void end_hold(gilcmp_monitor *monitor, int64_t now)
{
    if (monitor->holds_since != 0) {
        monitor->now.ended = monitor->then + half_way(monitor, now);
        const int64_t length = monitor->now.ended - monitor->now.began;
        if (length > monitor->longest_pause)
            monitor->longest_pause = length; /* without a GIL; otherwise nobody reads it */
        if (monitor->then > monitor->holds_since && length >= LONG_FROM)
            keep(monitor, &monitor->now); /* it was seen more than once */
    }
    monitor->holds_since = monitor->waiter_seen = 0;
}

/* What begins is the thread's whose state was copied; NULL: of one that is not known. */
static void begin_hold(gilcmp_monitor *monitor, const PyThreadState *copy, int64_t now)
{
    memset(&monitor->now, 0, sizeof(monitor->now));
    monitor->holds_since = now;
    monitor->delay_before = -1;
    monitor->now.began = now - half_way(monitor, now);
    monitor->now.where = GILCMP_NOWHERE;
    if (copy == NULL)
        return;
    monitor->now.ident = (uint64_t)copy->thread_id;
#ifdef PY_HAVE_THREAD_NATIVE_ID
    monitor->now.native = (uint64_t)copy->native_thread_id;
#endif
}

/* Report the present hold if it has become too long. */
static void check_hold(gilcmp_monitor *monitor, int64_t now)
{
    if (monitor->how.hold == 0 || monitor->holds_since == 0 || monitor->now.reported
        || now - monitor->holds_since < monitor->how.hold)
        return;
    monitor->now.reported = report(monitor, &monitor->now, now);
}

/* ---- waits ------------------------------------------------------------------------------------------------------- */

static void report_wait(gilcmp_monitor *monitor, gilcmp_monitored *thread, int64_t since, int64_t now)
{
    if (monitor->how.wait == 0 || thread->reported || now - since < monitor->how.wait)
        return;
    const gilcmp_event event = {
        .began = since, .ident = thread->ident, .native = thread->native, .where = GILCMP_NOWHERE,
        .kind = GILCMP_LONG_WAIT,
    };
    thread->reported = report(monitor, &event, now);
}

#ifndef Py_GIL_DISABLED

/* Note that a thread waits for the GIL. Whether it has waited since it was last seen to is told by what it has done: it
 * is still at the same place, and has used no more CPU time than waking up each switch interval takes. Without a hand-over
 * it cannot have had the lock anyway. */
static void note_wait(gilcmp_monitor *monitor, gilcmp_monitored *thread, int64_t now)
{
    int64_t cpu = -1, delay;
    PyThreadState copy;
    if (!gilcmp_safe_read(&copy, thread->state, sizeof(copy)) || copy.id != thread->id)
        return;
    const gilcmp_position position = gilcmp_read_position(&copy);
    if (monitor->tells_states)
        gilcmp_read_clocks(&thread->files, thread->native, &cpu, &delay);
    /* looked at in turn: what was long ago says nothing */
    const int64_t recent = 3 * (monitor->n_threads + 1) * monitor->current_pace;
    if (thread->waits_since != 0 && thread->wait_turn != monitor->turn
        && (now - thread->seen_waiting > recent || !gilcmp_same_position(&position, &thread->wait_position) || cpu < 0
            || cpu - thread->wait_cpu > (now - thread->seen_waiting) / 200 + MILLISECOND / 10))
        end_wait(monitor, thread, now);
    if (thread->waits_since == 0)
        thread->waits_since = now;
    thread->seen_waiting = now;
    thread->wait_turn = monitor->turn;
    thread->wait_position = position;
    thread->wait_cpu = cpu;
    report_wait(monitor, thread, thread->waits_since, now);
}

/* Look at some of the threads that do not hold, in turn, while one does: does it wait? Each stands for all of them. */
static void look_at_waiters(gilcmp_monitor *monitor, int holder, int64_t passed, int64_t now)
{
    const int others = monitor->n_threads - (holder != NOBODY);
    const int most = monitor->holds_since != 0 && now - monitor->holds_since > LONG_FROM ? MOST_AT_ONCE : 1;
    const int n = others < most ? others : most;
    for (int looked = 0; looked < n;) {
        uintptr_t futex = 0;
        monitor->next = (monitor->next + 1) % monitor->n_threads;
        gilcmp_monitored *thread = &monitor->threads[monitor->next];
        if (monitor->next == holder)
            continue;
        looked++;
        const gilcmp_run_state state
            = monitor->tells_states ? gilcmp_read_run_state(&thread->files, thread->native, &futex) : GILCMP_UNKNOWN;
        /* it wakes each switch interval, and waits on: without a hand-over it cannot have had the lock */
        const int waits = (thread->waits_since != 0 && thread->wait_turn == monitor->turn)
            || (state == GILCMP_WAITING && (const char *)futex >= monitor->places.gil
                && (const char *)futex < monitor->places.gil_end);
        if (waits) {
            const int64_t waited = passed * others / n;
            thread->sums.waited += waited;
            monitor->waited += waited;
            gilcmp_count_line(&monitor->lines, 0, monitor->now.where, 0, waited);
            monitor->waiter_seen = now;
            note_wait(monitor, thread, now);
        } else if (thread->waits_since != 0 && state != GILCMP_UNKNOWN)
            end_wait(monitor, thread, now);
        read_clocks(monitor, thread, now);
    }
}

static unsigned long turn_of(const gilcmp_monitor *monitor)
{
    return *monitor->places.hand_overs;
}

/* See who holds the lock, and whether it is a hold that goes on: the same thread, without a hand-over since, and either in
 * one and the same native call, or while others wait. A thread that runs bytecode alone would let go if anybody asked.
 * Returns which thread it is; NOBODY: none, or none that is known. */
static int look_at_holder(gilcmp_monitor *monitor, int64_t now)
{
    const void *holder;
    const int is_free = gilcmp_read_lock(&monitor->places.lock, &holder) == GILCMP_FREE;
    const unsigned long turn = turn_of(monitor);
    const PyThreadState *const state = is_free ? NULL : holder;
    const int known = state != NULL && gilcmp_safe_read(&monitor->copy, state, sizeof(monitor->copy))
        && monitor->copy.interp == monitor->places.interpreter;
    const gilcmp_position position = known ? gilcmp_read_position(&monitor->copy) : (gilcmp_position){0, 0, 0};
    const int moved = !gilcmp_same_position(&position, &monitor->position);
    if (state == NULL || state != monitor->holder || turn != monitor->turn || (moved && monitor->waiter_seen == 0))
        end_hold(monitor, now);
    monitor->hand_overs += (int64_t)(turn - monitor->turn);
    monitor->turn = turn;
    monitor->holder = state;
    monitor->position = position;
    if (state == NULL)
        return NOBODY;
    int index = NOBODY;
    if (known) {
        index = find_thread(monitor, state, monitor->copy.id);
        if (index == NOBODY)
            index = add_thread(monitor, state, &monitor->copy);
    }
    const int begins = monitor->holds_since == 0;
    const gilcmp_where where = known ? gilcmp_read_where(&monitor->lines, state, &monitor->copy) : GILCMP_NOWHERE;
    if (begins)
        begin_hold(monitor, known ? &monitor->copy : NULL, now);
    if (begins || where.inner >= 0) /* of a long hold, the latest line that was read */
        monitor->now.where = where;
    return index;
}

/* Note for how much of a long hold its thread has had no CPU. */
static void note_delay(gilcmp_monitor *monitor, gilcmp_monitored *thread, int64_t now)
{
    int64_t cpu, delay;
    if (monitor->holds_since == 0 || now - monitor->holds_since < LONG_FROM || !monitor->tells_states
        || !gilcmp_read_clocks(&thread->files, thread->native, &cpu, &delay))
        return;
    if (monitor->delay_before < 0)
        monitor->delay_before = delay;
    monitor->now.no_core = delay - monitor->delay_before;
}

static void look(gilcmp_monitor *monitor, int64_t passed, int64_t now)
{
    const int index = look_at_holder(monitor, now);
    if (monitor->holder == NULL) { /* nobody holds, so nobody waits */
        for (int i = 0; i < monitor->n_threads; i++)
            if (monitor->threads[i].waits_since != 0)
                end_wait(monitor, &monitor->threads[i], now);
        return;
    }
    if (index != NOBODY) {
        monitor->threads[index].sums.held += passed;
        if (monitor->threads[index].waits_since != 0)
            end_wait(monitor, &monitor->threads[index], now);
        note_delay(monitor, &monitor->threads[index], now);
    } else
        monitor->ended.held += passed;
    monitor->held += passed;
    gilcmp_count_line(&monitor->lines, 0, monitor->now.where, passed, 0);
    look_at_waiters(monitor, index, passed, now);
    int32_t waiting = 0;
    for (int i = 0; i < monitor->n_threads; i++)
        waiting += monitor->threads[i].waits_since != 0 && monitor->threads[i].seen_waiting >= monitor->now.began;
    if (waiting > monitor->now.waiting)
        monitor->now.waiting = waiting;
    check_hold(monitor, now);
}

/* At the very moment at which a hold becomes too long. */
static void look_for_watchdog(gilcmp_monitor *monitor, int64_t now)
{
    const void *holder;
    if (gilcmp_read_lock(&monitor->places.lock, &holder) != GILCMP_FREE && holder == monitor->holder
        && turn_of(monitor) == monitor->turn) {
        gilcmp_position position = {0, 0, 0};
        if (gilcmp_safe_read(&monitor->copy, holder, sizeof(monitor->copy)))
            position = gilcmp_read_position(&monitor->copy);
        if (monitor->waiter_seen != 0 || gilcmp_same_position(&position, &monitor->position))
            check_hold(monitor, now);
    }
}

#else /* without a GIL: to hold is to be attached; what all others wait for is a pause of the whole world */

/* See whether the world is stopped, and whether it is a pause that goes on. */
LOOKS_WITHOUT_LOCK
static void look_at_world(gilcmp_monitor *monitor, int64_t passed, int64_t now)
{
    int by = NOBODY;
    for (int i = 0; monitor->tells_world && i < 2; i++)
        if (*monitor->world.stopped[i] || *monitor->world.requested[i])
            by = i;
    if (by == NOBODY) {
        end_hold(monitor, now);
        return;
    }
    monitor->stopped += passed;
    const gilcmp_world_pause pause = gilcmp_read_pause(&monitor->world, by, &monitor->copy);
    if (pause.requester != NULL) { /* else it has been asked for, and who asks comes a moment later */
        if (!gilcmp_same_pause(&pause, &monitor->pause))
            end_hold(monitor, now);
        monitor->pause = pause;
        if (monitor->holds_since == 0) {
            begin_hold(monitor, &monitor->copy, now);
            monitor->now.where = gilcmp_read_where(&monitor->lines, pause.requester, &monitor->copy);
            monitor->pauses++;
        }
    }
    check_hold(monitor, now);
}

/* The thread on whose C stack a sleeper's entry lies; NULL: none of those that are known. */
static gilcmp_monitored *find_sleeper(gilcmp_monitor *monitor, uintptr_t entry)
{
    gilcmp_monitored *found = NULL;
    uintptr_t nearest = 0;
    for (int index = 0; index < monitor->n_threads; index++)
        if (gilcmp_lies_on(entry, monitor->threads[index].stack, monitor->threads[index].stack_top, &nearest))
            found = &monitor->threads[index];
    return found;
}

static void look_at_sleepers(gilcmp_monitor *monitor, int64_t passed, int64_t now)
{
    const int n = gilcmp_read_parked(&monitor->parking, monitor->parked, GILCMP_MONITORED, now);
    for (int i = 0; i < n; i++) {
        const int64_t since = monitor->parked[i].since;
        gilcmp_monitored *thread = find_sleeper(monitor, monitor->parked[i].entry);
        if (thread == NULL)
            continue;
        if (monitor->parked[i].address == (uintptr_t)thread->state + offsetof(PyThreadState, state)) {
            thread->sums.waited += passed;
            monitor->waited += passed;
            continue;
        }
        if (since == 0)
            continue;
        if (thread->sleeps_since != since) {
            thread->sleeps_since = since;
            thread->is_idle = gilcmp_is_idle(&monitor->lines, thread->state, thread->id, &monitor->copy);
        }
        if (thread->is_idle)
            continue;
        thread->sums.asleep += passed;
        monitor->asleep += passed;
        if (thread->waits_since != since)
            end_wait(monitor, thread, now);
        thread->waits_since = since;
        thread->seen_waiting = now;
        report_wait(monitor, thread, since, now);
    }
    for (int index = 0; index < monitor->n_threads; index++) {
        gilcmp_monitored *thread = &monitor->threads[index];
        if (thread->waits_since != 0 && thread->seen_waiting != now)
            end_wait(monitor, thread, now);
    }
}

/* Look at some of the threads, in turn; each stands for all of them. */
static void look_at_some(gilcmp_monitor *monitor, int64_t passed, int64_t now)
{
    const int n = monitor->n_threads < MOST_ATTACHED ? monitor->n_threads : MOST_ATTACHED;
    for (int looked = 0; looked < n; looked++) {
        monitor->next = (monitor->next + 1) % monitor->n_threads;
        gilcmp_monitored *thread = &monitor->threads[monitor->next];
        const int64_t all = passed * monitor->n_threads / n;
        if (looked == 0)
            read_clocks(monitor, thread, now);
        if (gilcmp_read_attached(thread->state, thread->id) != 1 || !gilcmp_safe_read(&monitor->copy, thread->state, sizeof(monitor->copy))
            || monitor->copy.id != thread->id)
            continue;
        thread->sums.held += all;
        monitor->held += all;
        gilcmp_count_line(&monitor->lines, 0, gilcmp_read_where(&monitor->lines, thread->state, &monitor->copy), all, 0);
    }
}

static void look(gilcmp_monitor *monitor, int64_t passed, int64_t now)
{
    look_at_world(monitor, passed, now);
    look_at_sleepers(monitor, passed, now);
    look_at_some(monitor, passed, now);
}

static void look_for_watchdog(gilcmp_monitor *monitor, int64_t now)
{
    look_at_world(monitor, 0, now);
}

#endif

/* ---- the watcher's thread ---------------------------------------------------------------------------------------- */

/* Take a time in which the whole process was stopped, by a signal or by the machine, for no part of holds and waits. */
static void leave_out(gilcmp_monitor *monitor, int64_t passed)
{
    if (monitor->holds_since != 0) {
        monitor->holds_since += passed;
        monitor->now.began += passed;
    }
    for (int i = 0; i < monitor->n_threads; i++)
        if (monitor->threads[i].waits_since != 0) {
            monitor->threads[i].waits_since += passed;
            monitor->threads[i].seen_waiting += passed;
        }
    monitor->then += passed;
}

static void make_room(gilcmp_monitor *monitor)
{
    gilcmp_where *kept[1 + GILCMP_EVENTS] = {&monitor->now.where};
    const int n_events = monitor->n_events < GILCMP_EVENTS ? (int)monitor->n_events : GILCMP_EVENTS;
    for (int i = 0; i < n_events; i++)
        kept[1 + i] = &monitor->events[i].where;
    gilcmp_make_room(&monitor->lines, kept, 1 + n_events);
}

static void look_once(gilcmp_monitor *monitor, int64_t now)
{
    const int64_t passed = now - monitor->then;
    if (passed > 5 * monitor->current_pace + 20 * MILLISECOND) { /* it had no core, or the process was stopped */
        monitor->unseen += passed;
        if (passed > STOPPED)
            leave_out(monitor, passed);
        look(monitor, 0, now);
    } else {
        monitor->watched += passed;
        look(monitor, passed, now);
    }
    monitor->then = now;
    monitor->looks++;
    if (monitor->reading == 0 && gilcmp_lines_are_full(&monitor->lines))
        make_room(monitor);
}

/* Sleep until the next look, or until the present hold becomes too long; return whether it is for that only. */
static int rest(gilcmp_monitor *monitor)
{
    gilcmp_watcher *const watcher = &monitor->watcher;
    const int64_t now = gilcmp_now();
    const int64_t due = monitor->holds_since + monitor->how.hold;
    if (monitor->how.hold != 0 && monitor->holds_since != 0 && !monitor->now.reported && due > now
        && due < now + monitor->current_pace + monitor->current_pace / 2) {
        gilcmp_watcher_rest(watcher, due - now);
        return 1;
    }
    gilcmp_watcher_rest(watcher, gilcmp_jittered(&watcher->random, monitor->current_pace));
    return 0;
}

static void choose_pace(gilcmp_monitor *monitor, int64_t spent, int64_t looks)
{
    const int64_t limits[] = {monitor->how.hold, monitor->how.wait};
    int64_t pace = monitor->how.pace;
    if (pace == 0)
        pace = gilcmp_affordable_pace(limits[0] || limits[1] ? watchdogs : budget, spent, monitor->looks - looks, FIRST_PACE);
    for (int i = 0; i < 2; i++)
        if (limits[i] != 0 && pace > limits[i] / FASTER_THAN_LIMIT)
            pace = limits[i] / FASTER_THAN_LIMIT;
    monitor->current_pace = pace < MILLISECOND / 10 ? MILLISECOND / 10 : pace;
}

/* The file must be the one that was given: a program that closes all its files may have opened another one since. */
static int file_to_keep(gilcmp_monitor *monitor)
{
#ifdef __linux__
    struct stat found;
    if (monitor->how.file < 0)
        return -1;
    if (syscall(SYS_fstat, monitor->how.file, &found) != 0) /* fstat itself would tie a wheel to glibc 2.33 */
        return monitor->how.file = -1;
    if (!LOAD(monitor->watcher.started)) {
        monitor->file_device = (uint64_t)found.st_dev;
        monitor->file_number = (uint64_t)found.st_ino;
    } else if (monitor->file_device != (uint64_t)found.st_dev || monitor->file_number != (uint64_t)found.st_ino)
        monitor->how.file = -1;
#endif
    return monitor->how.file;
}

static void watch(gilcmp_watcher *watcher)
{
    gilcmp_monitor *monitor = (gilcmp_monitor *)watcher;
    monitor->tells_states = gilcmp_own_files(file_to_keep(monitor));
    gilcmp_ask_for_short_slices();
#if !defined(Py_GIL_DISABLED) && defined(__GLIBC__)
    monitor->tells_waits = monitor->tells_states;
#endif /* with musl a thread waits for a condition on its own stack: nothing shows that it is the GIL's */
    for (int i = 0; i < monitor->n_threads; i++)
        monitor->threads[i].files = GILCMP_NO_FILES; /* of the thread before a pause */
    int64_t now = gilcmp_now();
    if (LOAD(watcher->started)) { /* after a fork, for which somebody needed the lock: no hold, and no wait, goes on */
        monitor->unseen += now - monitor->then;
        monitor->holds_since = monitor->waiter_seen = 0;
        for (int i = 0; i < monitor->n_threads; i++)
            monitor->threads[i].waits_since = monitor->threads[i].reported = 0;
    }
    monitor->then = now;
    walk(monitor, now);
    const int64_t cpu = gilcmp_own_cpu_time(), looks = monitor->looks, own = monitor->own_cpu;
    choose_pace(monitor, cpu, looks);
    STORE(watcher->started, 1);
    while (!LOAD(watcher->stop)) {
        const int only_watchdog = rest(monitor);
        if (EXCHANGE(monitor->busy, 1)) {
            gilcmp_pause(MILLISECOND / 10); /* somebody reads */
            continue;
        }
        now = gilcmp_now();
        if (only_watchdog)
            look_for_watchdog(monitor, now);
        if (!only_watchdog || now - monitor->then > monitor->current_pace)
            look_once(monitor, now);
        if (now - monitor->walked > WALK + monitor->n_threads * 2 * MILLISECOND) {
            walk(monitor, now);
            choose_pace(monitor, cpu, looks);
            monitor->own_cpu = own + gilcmp_own_cpu_time() - cpu;
        }
        STORE(monitor->busy, 0);
    }
    monitor->own_cpu = own + gilcmp_own_cpu_time() - cpu;
    for (int i = 0; i < monitor->n_threads; i++)
        gilcmp_close_files(&monitor->threads[i].files);
}

/* ---- start and end ------------------------------------------------------------------------------------------------ */

gilcmp_monitor *gilcmp_monitor_start(const gilcmp_places *places, const gilcmp_monitoring *how)
{
    gilcmp_monitor *monitor = calloc(1, sizeof(*monitor));
    if (monitor == NULL)
        return NULL;
    monitor->places = *places;
    monitor->how = *how;
    monitor->now.where = GILCMP_NOWHERE;
    monitor->lines.rest.where = GILCMP_NOWHERE;
    strncpy(monitor->lines.functions.library, how->library, sizeof(monitor->lines.functions.library) - 1);
    monitor->how.library = monitor->lines.functions.library;
#ifdef Py_GIL_DISABLED
    monitor->tells_locks = gilcmp_find_parking(&monitor->parking) == NULL;
    monitor->tells_world = gilcmp_find_world(&monitor->world, places->interpreter) == NULL;
#else
    monitor->turn = *places->hand_overs;
#endif
    monitor->began = monitor->then = gilcmp_now();
    monitor->caller.monitor = monitor;
    if (gilcmp_watcher_prepare(&monitor->watcher, watch, 1) && gilcmp_watcher_prepare(&monitor->caller.watcher, wait_to_tell, 1)
        && gilcmp_watcher_start(&monitor->watcher)
        && (how->call == NULL || gilcmp_watcher_start(&monitor->caller.watcher)))
        return monitor;
    gilcmp_monitor_free(monitor);
    return NULL;
}

gilcmp_stopped gilcmp_monitor_stop(gilcmp_monitor *monitor)
{
    gilcmp_watcher_stop(&monitor->caller.watcher);
    return gilcmp_watcher_stop(&monitor->watcher);
}

void gilcmp_monitor_abandon(gilcmp_monitor *monitor)
{
    STORE(monitor->busy, 0);
    monitor->calling = monitor->reading = 0;
}

void gilcmp_monitor_enter(gilcmp_monitor *monitor)
{
    while (EXCHANGE(monitor->busy, 1)) {
        Py_BEGIN_ALLOW_THREADS
        gilcmp_pause(20000);
        Py_END_ALLOW_THREADS
    }
}

void gilcmp_monitor_leave(gilcmp_monitor *monitor)
{
    STORE(monitor->busy, 0);
}

gilcmp_monitor *gilcmp_monitor_copy(gilcmp_monitor *monitor)
{
    gilcmp_monitor *copy = malloc(sizeof(*copy));
    if (copy == NULL)
        return NULL;
    gilcmp_monitor_enter(monitor);
    memcpy(copy, monitor, sizeof(*copy));
    monitor->reading++;
    gilcmp_monitor_leave(monitor);
    return copy;
}

void gilcmp_monitor_give_back(gilcmp_monitor *monitor, gilcmp_monitor *copy)
{
    gilcmp_monitor_enter(monitor);
    monitor->reading--;
    gilcmp_monitor_leave(monitor);
    free(copy);
}

void gilcmp_monitor_free(gilcmp_monitor *monitor)
{
    gilcmp_watcher_close(&monitor->caller.watcher);
    gilcmp_watcher_close(&monitor->watcher);
    gilcmp_free_functions(&monitor->lines.functions);
    free(monitor);
}
