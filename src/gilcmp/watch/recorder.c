/* See recorder.h.
 *
 * While the recorder's native thread runs, all of this belongs to it; afterwards, to the thread that ended it. The
 * watcher orders the two (watcher.c). Memory of other threads may be freed at any moment: it is read safely (lock.c),
 * and trusted only where it matches what is known. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "recorder.h"

#include <stdlib.h>
#include <string.h>

#define MILLISECOND INT64_C(1000000)
#define WALK (5 * MILLISECOND)   /* between two walks of the thread list: the precision of starts and ends */
#define CLOCKS (20 * MILLISECOND) /* between two readings of each thread's clocks */
#define FIRST_PACE MILLISECOND    /* later: see gilcmp_affordable_pace */
#define LINES MILLISECOND        /* between two readings of a thread's line, at least */
#define NOBODY (-1)
#define UNTOLD 0 /* id of the entry for all threads that are not recorded separately */

static const gilcmp_budget budget = {0.015, MILLISECOND / 5, 10 * MILLISECOND}; /* where no pace is asked for */

/* ---- spans ------------------------------------------------------------------------------------------------ */

static void put_span(gilcmp_recorder *recorder, int32_t index, gilcmp_doing doing, int64_t start, int64_t end)
{
    int32_t line = -1;
    if (end <= start)
        return;
    if (index != NOBODY) {
        gilcmp_thread *thread = &recorder->threads[index];
        thread->spent[doing] += end - start;
        if (doing == GILCMP_HOLDS && end - start > thread->longest_hold)
            thread->longest_hold = end - start;
        if (doing == GILCMP_HOLDS)
            line = thread->line;
    }
    recorder->spans[recorder->n_spans++ % recorder->span_capacity] = (gilcmp_span){start, end, index, doing, line, 0};
}

/* Whatever a thread held since its line was read, it held there. */
static void leave_line(gilcmp_recorder *recorder, gilcmp_thread *thread)
{
    if (thread->line >= 0)
        recorder->lines->list[thread->line].held += thread->held_since;
    thread->held_since = 0;
    thread->line = -1;
}

static void change(gilcmp_recorder *recorder, int32_t index, gilcmp_doing doing, int64_t when)
{
    gilcmp_thread *thread = &recorder->threads[index];
    if (thread->now == doing)
        return;
    if (when < thread->since)
        when = thread->since;
    put_span(recorder, index, thread->now, thread->since, when);
    thread->holds += doing == GILCMP_HOLDS;
    thread->now = doing;
    thread->since = when;
    thread->looked = 0;
    leave_line(recorder, thread);
}

/* ---- threads ---------------------------------------------------------------------------------------------- */

static int32_t add_thread(gilcmp_recorder *recorder, const PyThreadState *state, uint64_t id, int64_t began, int64_t now)
{
    if (recorder->n_threads >= GILCMP_THREADS - (id != UNTOLD)) /* the last place is kept for the rest */
        return NOBODY;
    int32_t index = (int32_t)recorder->n_threads++;
    gilcmp_thread *thread = &recorder->threads[index];
    thread->id = id;
    thread->state = state;
    thread->began = began;
    thread->since = now;
    thread->now = GILCMP_AWAY;
    thread->line = -1;
    thread->first_cpu = thread->first_delay = thread->cpu = thread->delay = -1;
    thread->files = GILCMP_NO_FILES;
    if (id != UNTOLD)
        recorder->live[recorder->n_live++] = index;
    return index;
}

static void end_thread(gilcmp_recorder *recorder, int place, int64_t when)
{
    int32_t index = recorder->live[place];
    gilcmp_thread *thread = &recorder->threads[index];
    if (when < thread->since)
        when = thread->since;
    put_span(recorder, index, thread->now, thread->since, when);
    thread->ended = when;
    gilcmp_close_files(&thread->files);
    if (recorder->holder == index)
        recorder->holder = NOBODY;
    if (recorder->left == index)
        recorder->left = NOBODY;
    recorder->live[place] = recorder->live[--recorder->n_live];
}

static int32_t find_thread(const gilcmp_recorder *recorder, const void *state, uint64_t id)
{
    for (int place = 0; place < recorder->n_live; place++) {
        const gilcmp_thread *thread = &recorder->threads[recorder->live[place]];
        if (thread->state == state && thread->id == id)
            return recorder->live[place];
    }
    return NOBODY;
}

static void show_thread(void *argument, const PyThreadState *state, const PyThreadState *copy)
{
    gilcmp_recorder *recorder = argument;
    int32_t index = find_thread(recorder, state, copy->id);
    if (index == NOBODY)
        index = add_thread(recorder, state, copy->id, recorder->newcomers, recorder->walked);
    if (index == NOBODY)
        return;
    gilcmp_thread *thread = &recorder->threads[index];
    thread->missing = 0;
    thread->ident = (uint64_t)copy->thread_id; /* a new thread fills these in itself, a moment later */
#ifdef PY_HAVE_THREAD_NATIVE_ID
    thread->native = (uint64_t)copy->native_thread_id;
#endif
    if (thread->stack_top == 0 && recorder->parking.buckets != 0)
        gilcmp_find_stack(state, thread->native, &thread->stack, &thread->stack_top);
}

static void walk(gilcmp_recorder *recorder, int64_t now)
{
    recorder->newcomers = recorder->walked ? now : 0; /* those found by the first walk existed before */
    recorder->walked = now;
    for (int place = 0; place < recorder->n_live; place++)
        recorder->threads[recorder->live[place]].missing++;
    gilcmp_each_thread(&recorder->places, GILCMP_THREADS, show_thread, recorder);
    for (int place = recorder->n_live - 1; place >= 0; place--)
        if (recorder->threads[recorder->live[place]].missing >= 2) /* once may be a walk that went astray */
            end_thread(recorder, place, now - WALK / 2);
}

/* ---- what the system tells of a thread --------------------------------------------------------------------- */

/* Sample what a thread without the lock is doing. */
static void look_at(gilcmp_recorder *recorder, int32_t index, int64_t now)
{
    gilcmp_thread *thread = &recorder->threads[index];
    uintptr_t futex;
    if (!recorder->tells_states || thread->now == GILCMP_HOLDS || thread->now == GILCMP_ASLEEP)
        return;
#ifdef Py_GIL_DISABLED
    if (thread->now == GILCMP_WAITS)
        return;
#endif
    const gilcmp_run_state state = gilcmp_read_run_state(&thread->files, thread->native, &futex);
    if (state == GILCMP_UNKNOWN)
        return;
    const char *const address = (const char *)futex;
    gilcmp_doing doing = GILCMP_BLOCKED;
    if (state == GILCMP_RUNNING)
        doing = GILCMP_RUNS;
    else if (!recorder->tells_waits)
        doing = GILCMP_AWAY; /* for the GIL, or for something else */
    else if (address >= recorder->places.gil && address < recorder->places.gil_end)
        doing = GILCMP_WAITS;
    if (thread->now == GILCMP_AWAY && recorder->tells_waits)
        thread->now = doing; /* since it let go */
    else
        change(recorder, index, doing, thread->looked ? thread->looked + (now - thread->looked) / 2 : now);
    thread->looked = now;
}

static void read_clocks(gilcmp_recorder *recorder, int64_t now)
{
    for (int place = 0; recorder->tells_states && place < recorder->n_live; place++) {
        gilcmp_thread *thread = &recorder->threads[recorder->live[place]];
        int64_t cpu, delay;
        if (!gilcmp_read_clocks(&thread->files, thread->native, &cpu, &delay))
            continue;
        if (thread->first_cpu < 0) {
            /* a thread that started later has used all of it since then */
            thread->first_cpu = thread->began ? 0 : cpu;
            thread->first_delay = thread->began ? 0 : delay;
        }
        thread->cpu = cpu;
        thread->delay = delay;
        recorder->clocks[recorder->n_clocks++ % recorder->clock_capacity]
            = (gilcmp_clock){now, cpu - thread->first_cpu, delay - thread->first_delay, recorder->live[place]};
    }
}

/* ---- lines ------------------------------------------------------------------------------------------------- */

/* Note at which line a thread holds, that has held for so long since the look before. */
static void note_line(gilcmp_recorder *recorder, int32_t index, int64_t passed, int64_t now)
{
    gilcmp_thread *thread = &recorder->threads[index];
    if (recorder->lines->functions.library[0] == 0) /* nobody asks */
        return;
    thread->held_since += passed;
    if (thread->state == NULL || (thread->line >= 0 && now - thread->read_line < LINES))
        return;
    if (!gilcmp_safe_read(&recorder->copy, thread->state, sizeof(recorder->copy)) || recorder->copy.id != thread->id)
        return;
    const gilcmp_where where = gilcmp_read_where(recorder->lines, thread->state, &recorder->copy);
    const int32_t line = gilcmp_count_line(recorder->lines, index, where, thread->held_since, 0);
    if (where.inner >= 0 || thread->line < 0) /* a thread that ends is attached for a while without a line */
        thread->line = line;
    thread->read_line = now;
    thread->held_since = 0;
}

/* ---- looking ---------------------------------------------------------------------------------------------- */

#ifdef Py_GIL_DISABLED

#define MOST_PARKED 256

/* The thread on whose C stack a sleeper's entry lies; NOBODY: none of those that are known. */
static int32_t find_sleeper(const gilcmp_recorder *recorder, uintptr_t entry)
{
    int32_t found = NOBODY;
    uintptr_t nearest = 0;
    for (int place = 0; place < recorder->n_live; place++) {
        const int32_t index = recorder->live[place];
        if (gilcmp_lies_on(entry, recorder->threads[index].stack, recorder->threads[index].stack_top, &nearest))
            found = index;
    }
    return found;
}

/* What a thread sleeps for in the interpreter's table: AWAY: for nothing that counts. */
static gilcmp_doing asleep(gilcmp_recorder *recorder, int32_t index, const gilcmp_parked *parked, const int32_t *sleepers, int n)
{
    gilcmp_thread *thread = &recorder->threads[index];
    for (int i = 0; i < n; i++) {
        if (sleepers[i] != index)
            continue;
        if (parked[i].address == (uintptr_t)thread->state + offsetof(PyThreadState, state))
            return GILCMP_WAITS;
        if (parked[i].since == 0)
            return GILCMP_AWAY;
        if (thread->sleeps_since != parked[i].since) { /* a worker of a pool with nothing to do sleeps for no lock */
            thread->sleeps_since = parked[i].since;
            thread->is_idle = recorder->lines->functions.library[0] != 0
                && gilcmp_is_idle(recorder->lines, thread->state, thread->id, &recorder->copy);
        }
        return thread->is_idle ? GILCMP_AWAY : GILCMP_ASLEEP;
    }
    return GILCMP_AWAY;
}

/* Look whether each thread is attached, or asleep for a lock, or with the whole world; returns whether any was attached. */
static int look(gilcmp_recorder *recorder, int64_t middle, int64_t now)
{
    gilcmp_parked parked[MOST_PARKED];
    int32_t sleepers[MOST_PARKED];
    const int n = gilcmp_read_parked(&recorder->parking, parked, MOST_PARKED, now);
    int any = 0;
    for (int i = 0; i < n; i++)
        sleepers[i] = find_sleeper(recorder, parked[i].entry);
    for (int place = 0; place < recorder->n_live; place++) {
        const int32_t index = recorder->live[place];
        const gilcmp_thread *thread = &recorder->threads[index];
        const int attached = gilcmp_read_attached(thread->state, thread->id);
        if (attached < 0 || attached > 2)
            continue; /* it has ended */
        any |= attached == 1;
        /* a lock that is not worth a release is waited for while attached */
        const gilcmp_doing sleeps = asleep(recorder, index, parked, sleepers, n);
        const int was_known = thread->now == GILCMP_HOLDS || thread->now == GILCMP_WAITS || thread->now == GILCMP_ASLEEP;
        if (sleeps != GILCMP_AWAY)
            change(recorder, index, sleeps, middle);
        else if (attached == 1) {
            change(recorder, index, GILCMP_HOLDS, middle);
            note_line(recorder, index, now - recorder->then, now);
        }
        else if (was_known) { /* otherwise it was detached before: look_at says what it does */
            recorder->left = index;
            change(recorder, index, GILCMP_AWAY, middle);
        }
    }
    return any;
}

#else

/* Sample which thread holds the lock; return whether any did. */
static int look(gilcmp_recorder *recorder, int64_t middle, int64_t now)
{
    const void *holder;
    const PyThreadState *state = gilcmp_read_lock(&recorder->places.lock, &holder) == GILCMP_FREE ? NULL : holder;
    int32_t index = NOBODY;
    uint64_t id;
    if (state != NULL) {
        if (!gilcmp_safe_read(&id, &state->id, sizeof(id)))
            state = NULL; /* let go, and ended, since */
        else if (recorder->holder != NOBODY && recorder->threads[recorder->holder].state == state
            && recorder->threads[recorder->holder].id == id)
            index = recorder->holder;
        else {
            index = find_thread(recorder, state, id);
            if (index == NOBODY) {
                walk(recorder, now);
                index = find_thread(recorder, state, id);
            }
            if (index == NOBODY) { /* another interpreter's, or one too many */
                if (recorder->untold == NOBODY)
                    recorder->untold = add_thread(recorder, NULL, UNTOLD, 0, now);
                index = recorder->untold;
            }
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
    if (index != NOBODY)
        note_line(recorder, index, now - recorder->then, now);
    return index != NOBODY;
}

#endif

/* What happened since `then` is not known: the recorder had no core. */
static void forget(gilcmp_recorder *recorder, int64_t then, int64_t now)
{
    recorder->unseen += now - then;
    put_span(recorder, NOBODY, GILCMP_AWAY, then, now);
    for (int64_t index = 0; index < recorder->n_threads; index++) {
        gilcmp_thread *thread = &recorder->threads[index];
        if (thread->ended)
            continue;
        put_span(recorder, (int32_t)index, thread->now, thread->since, then);
        thread->now = GILCMP_AWAY;
        thread->since = now;
        thread->looked = 0;
        leave_line(recorder, thread);
    }
    recorder->then = now; /* that time is nobody's */
    recorder->holder = recorder->left = NOBODY;
}

static void look_once(gilcmp_recorder *recorder, int64_t now)
{
    const int64_t passed = now - recorder->then, middle = recorder->then + passed / 2;
    if (passed > 5 * recorder->current_pace + 2 * MILLISECOND) {
        forget(recorder, recorder->then, now);
        recorder->held = look(recorder, now, now);
    } else {
        const int held_before = recorder->held;
        recorder->held = look(recorder, middle, now);
        recorder->watched += passed;
        recorder->free_ += held_before ? 0 : passed / 2;
        recorder->free_ += recorder->held ? 0 : passed - passed / 2;
    }
    recorder->then = now;
    recorder->looks++;
    if (recorder->holder != NOBODY) {
        recorder->hand_overs_seen += recorder->last_holder != NOBODY && recorder->last_holder != recorder->holder;
        recorder->last_holder = recorder->holder;
    }
    /* one thread's state per sample: that of the one that just released the lock, or each in turn */
    if (recorder->left != NOBODY) {
        look_at(recorder, recorder->left, now);
        recorder->left = NOBODY;
    } else if (recorder->n_live) {
        recorder->turn = (recorder->turn + 1) % recorder->n_live;
        if (recorder->live[recorder->turn] == recorder->holder) /* its state is known */
            recorder->turn = (recorder->turn + 1) % recorder->n_live;
        look_at(recorder, recorder->live[recorder->turn], now);
    }
}

/* Begin to look: the first time, or after a pause. */
static void begin(gilcmp_recorder *recorder)
{
    recorder->tells_states = gilcmp_own_files(-1);
    gilcmp_ask_for_short_slices();
#if defined(__GLIBC__) || !defined(__linux__) || defined(Py_GIL_DISABLED)
    recorder->tells_waits = recorder->tells_states;
#endif /* with musl a thread waits for a condition on its own stack: nothing shows that it is the GIL's */
    int64_t now = gilcmp_now();
    const int resumed = LOAD(recorder->watcher.started);
    if (resumed)
        forget(recorder, recorder->then, now);
    recorder->then = now;
    walk(recorder, now);
    recorder->held = look(recorder, now, now);
    STORE(recorder->watcher.started, 1);
    /* wait until the caller is back: until then nothing is the program's doing */
    while (!LOAD(recorder->armed) && !LOAD(recorder->watcher.stop))
        gilcmp_watcher_rest(&recorder->watcher, MILLISECOND / 10);
    if (!LOAD(recorder->armed)) /* stopped for a fork before that, and started again after it */
        return;
    if (recorder->looks == 0) {
        /* on a busy machine that was a while ago: the gap is then too long for a sample, and counts as unseen */
        recorder->began = recorder->then = now = recorder->armed_at;
        for (int64_t index = 0; index < recorder->n_threads; index++)
            recorder->threads[index].since = now;
        recorder->n_spans = recorder->n_clocks = 0;
        recorder->unseen = 0;
    }
    read_clocks(recorder, now);
}

static void watch(gilcmp_watcher *watcher)
{
    gilcmp_recorder *recorder = (gilcmp_recorder *)watcher;
    begin(recorder);
    const int64_t spent = gilcmp_own_cpu_time(), looks = recorder->looks;
    int64_t now = gilcmp_now();
    while (!LOAD(watcher->stop)) {
        gilcmp_watcher_rest_until_sample(watcher, recorder->current_pace);
        now = gilcmp_now();
        look_once(recorder, now);
        if (now - recorder->walked > WALK + recorder->n_live * 25000)
            walk(recorder, now);
        if (now - recorder->read > CLOCKS + recorder->n_live * 50000) {
            read_clocks(recorder, now);
            recorder->read = now;
            if (!recorder->pace)
                recorder->current_pace = gilcmp_affordable_pace(budget, spent, recorder->looks - looks, FIRST_PACE);
        }
    }
    read_clocks(recorder, now);
    for (int place = 0; place < recorder->n_live; place++)
        gilcmp_close_files(&recorder->threads[recorder->live[place]].files);
}

/* ---- start and finish ------------------------------------------------------------------------------------- */

gilcmp_recorder *gilcmp_recorder_start(const gilcmp_places *places, int64_t pace, int64_t capacity, const char *library)
{
    gilcmp_recorder *recorder = calloc(1, sizeof(*recorder));
    if (recorder == NULL)
        return NULL;
    recorder->places = *places;
#ifdef Py_GIL_DISABLED
    gilcmp_find_parking(&recorder->parking); /* without it sleeps are not told apart */
#endif
    recorder->pace = pace;
    recorder->holder = recorder->last_holder = recorder->left = recorder->untold = NOBODY;
    recorder->current_pace = pace ? pace : FIRST_PACE;
    recorder->span_capacity = capacity;
    recorder->clock_capacity = capacity / 8 + 1;
    recorder->threads = calloc(GILCMP_THREADS, sizeof(gilcmp_thread));
    recorder->spans = calloc((size_t)recorder->span_capacity, sizeof(gilcmp_span));
    recorder->clocks = calloc((size_t)recorder->clock_capacity, sizeof(gilcmp_clock));
    recorder->lines = calloc(1, sizeof(gilcmp_lines));
    if (recorder->lines != NULL)
        strncpy(recorder->lines->functions.library, library, sizeof(recorder->lines->functions.library) - 1);
    if (gilcmp_watcher_prepare(&recorder->watcher, watch, 1) && recorder->threads != NULL && recorder->spans != NULL
        && recorder->clocks != NULL && recorder->lines != NULL && gilcmp_watcher_start(&recorder->watcher)) {
        recorder->armed_at = gilcmp_now();
        recorder->counted = recorder->places.hand_overs == NULL ? 0 : *recorder->places.hand_overs;
        STORE(recorder->armed, 1);
        return recorder;
    }
    gilcmp_recorder_free(recorder);
    return NULL;
}

int64_t gilcmp_recorder_hand_overs(const gilcmp_recorder *recorder)
{
    const volatile unsigned long *hand_overs = recorder->places.hand_overs;
    return hand_overs == NULL ? -1 : (int64_t)(*hand_overs - recorder->counted);
}

void gilcmp_recorder_finish(gilcmp_recorder *recorder)
{
    const int64_t stopped_at = recorder->watcher.stopped_at;
    if (recorder->began == 0) /* stopped before it could begin */
        recorder->began = recorder->then = recorder->armed_at;
    recorder->ended = stopped_at > recorder->then ? stopped_at : recorder->then;
    for (int64_t index = 0; index < recorder->n_threads; index++) {
        gilcmp_thread *thread = &recorder->threads[index];
        if (!thread->ended) {
            put_span(recorder, (int32_t)index, thread->now, thread->since, recorder->then);
            thread->since = recorder->then;
        }
    }
    if (recorder->ended - recorder->then > 5 * recorder->current_pace + 2 * MILLISECOND) /* it was paused to the end */
        recorder->unseen += recorder->ended - recorder->then;
}

void gilcmp_recorder_free(gilcmp_recorder *recorder)
{
    gilcmp_watcher_close(&recorder->watcher);
    free(recorder->threads);
    free(recorder->spans);
    free(recorder->clocks);
    if (recorder->lines != NULL)
        gilcmp_free_functions(&recorder->lines->functions);
    free(recorder->lines);
    free(recorder);
}
