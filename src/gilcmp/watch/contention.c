/* See contention.h. While its native thread runs, all of this belongs to it; afterwards, to the thread that ended it. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "contention.h"

#include <stdlib.h>
#include <string.h>

#define MILLISECOND INT64_C(1000000)
#define WALK (5 * MILLISECOND)    /* between two walks of the thread list */
#define CLOCKS (50 * MILLISECOND) /* between two readings of each thread's clocks */
#define NOBODY (-1)

/* ---- threads ------------------------------------------------------------------------------------------------ */

static void read_clocks(gilcmp_one *thread)
{
    int64_t cpu, delay;
    if (!gilcmp_read_clocks(&thread->files, thread->native, &cpu, &delay))
        return;
    const int64_t system = gilcmp_read_system_time(&thread->files, thread->native);
    if (thread->first_cpu < 0) {
        thread->first_cpu = cpu;
        thread->first_delay = delay;
        thread->first_system = system;
    }
    thread->cpu = cpu;
    thread->delay = delay;
    thread->system = system;
}

static void add_thread(gilcmp_contention *contention, const PyThreadState *state, const PyThreadState *copy)
{
    if (contention->n_threads == GILCMP_WATCHED)
        return;
    gilcmp_one *thread = &contention->threads[contention->n_threads++];
    memset(thread, 0, sizeof(*thread));
    thread->id = copy->id;
    thread->state = state;
    thread->now = NOBODY;
    thread->first_cpu = thread->cpu = thread->delay = thread->system = -1;
    thread->files = GILCMP_NO_FILES;
}

/* Keep the figures of a thread that is gone; where there is no room, the last place has those of all later ones. */
static void drop_thread(gilcmp_contention *contention, int index)
{
    gilcmp_one *thread = &contention->threads[index];
    gilcmp_close_files(&thread->files);
    if (contention->n_ended < GILCMP_WATCHED)
        contention->ended_threads[contention->n_ended++] = *thread;
    else {
        gilcmp_one *rest = &contention->ended_threads[GILCMP_WATCHED - 1];
        for (int doing = 0; doing < GILCMP_DOINGS; doing++)
            rest->spent[doing] += thread->spent[doing];
        rest->cpu = rest->first_cpu = -1;
        rest->ident = rest->native = 0;
    }
    *thread = contention->threads[--contention->n_threads];
}

static void show_thread(void *argument, const PyThreadState *state, const PyThreadState *copy)
{
    gilcmp_contention *contention = argument;
    int index = 0;
    while (index < contention->n_threads
           && (contention->threads[index].state != state || contention->threads[index].id != copy->id))
        index++;
    if (index == contention->n_threads)
        add_thread(contention, state, copy);
    if (index == contention->n_threads) /* no room */
        return;
    gilcmp_one *thread = &contention->threads[index];
    thread->missing = 0;
    if (copy->thread_id != 0 && thread->ident != (uint64_t)copy->thread_id) { /* it fills these in when it starts */
        thread->ident = (uint64_t)copy->thread_id;
#ifdef PY_HAVE_THREAD_NATIVE_ID
        thread->native = (uint64_t)copy->native_thread_id;
#endif
        gilcmp_find_stack(state, thread->native, &thread->stack, &thread->stack_top);
        read_clocks(thread);
    }
}

static void walk(gilcmp_contention *contention, int64_t now)
{
    contention->walked = now;
    for (int i = 0; i < contention->n_threads; i++)
        contention->threads[i].missing++;
    gilcmp_each_thread(&contention->interpreter, 4 * GILCMP_WATCHED, show_thread, contention);
    for (int i = contention->n_threads - 1; i >= 0; i--)
        if (contention->threads[i].missing >= 2) /* once may be a walk that went astray */
            drop_thread(contention, i);
}

/* The thread whose C stack an address lies on; NOBODY: none of those that are known. */
static int thread_at(const gilcmp_contention *contention, uintptr_t address)
{
    int found = NOBODY;
    uintptr_t nearest = 0;
    for (int i = 0; i < contention->n_threads; i++)
        if (gilcmp_lies_on(address, contention->threads[i].stack, contention->threads[i].stack_top, &nearest))
            found = i;
    return found;
}

/* ---- places --------------------------------------------------------------------------------------------------- */

static int same_site(gilcmp_site one, gilcmp_site other)
{
    return one.function == other.function && one.offset == other.offset;
}

/* The entry for waits for a lock at a place; NULL: no room. */
static gilcmp_place *find_place(gilcmp_contention *contention, uintptr_t lock, int doing, gilcmp_site inner, gilcmp_site outer)
{
    uint64_t hash = (uint64_t)lock ^ (uint64_t)(uint32_t)inner.function << 40 ^ (uint64_t)(uint32_t)inner.offset << 20
        ^ (uint64_t)(uint32_t)outer.function << 52 ^ (uint64_t)(uint32_t)outer.offset << 8 ^ (uint64_t)doing;
    uint32_t slot = (uint32_t)(hash * UINT64_C(0x9E3779B97F4A7C15) >> 40) % GILCMP_PLACES;
    for (int tries = 0; tries < 64; tries++, slot = (slot + 1) % GILCMP_PLACES) {
        gilcmp_place *place = &contention->places[slot];
        if (place->looks == 0) {
            place->lock = lock;
            place->doing = doing;
            place->inner = inner;
            place->outer = outer;
            place->owner = GILCMP_NO_SITE;
            return place;
        }
        if (place->lock == lock && place->doing == doing && same_site(place->inner, inner) && same_site(place->outer, outer))
            return place;
    }
    return NULL;
}

/* Find where the thread that has a lock is. */
static gilcmp_site find_owner(gilcmp_contention *contention, uintptr_t lock)
{
    gilcmp_site inner, outer;
    const uint64_t owner = gilcmp_recursive_owner(lock);
    for (int i = 0; i < contention->n_threads; i++) {
        uintptr_t section, locks[2];
        const PyThreadState *copy = &contention->copies[i];
        if (contention->threads[i].now == NOBODY)
            continue;
        if ((owner != 0 && contention->threads[i].ident == owner)
            || (owner == 0 && gilcmp_read_section(copy, &section, locks) == GILCMP_INSIDE
                && (locks[0] == lock || locks[1] == lock))) {
            gilcmp_read_sites(&contention->functions, copy, &inner, &outer);
            return outer.function >= 0 ? outer : inner;
        }
    }
    return GILCMP_NO_SITE;
}

/* Note that a thread waits for a lock. */
static void note(gilcmp_contention *contention, int index, uintptr_t lock, int doing, int64_t since, int64_t now, int64_t passed)
{
    gilcmp_site inner, outer;
    unsigned char bits = 1;
    gilcmp_read_sites(&contention->functions, &contention->copies[index], &inner, &outer);
    contention->no_frame += inner.function < 0;
    contention->no_lock += lock == 0;
    gilcmp_place *place = find_place(contention, lock, doing, inner, outer);
    if (place == NULL) {
        contention->lost++;
        return;
    }
    if (place->looks == 0 && lock != 0) /* new */
        gilcmp_identify(contention->interpreter.interpreter, lock, &place->what);
    if (lock != 0 && lock == (uintptr_t)contention->interpreter.gil)
        place->what.kind = GILCMP_THE_GIL;
    place->looks++;
    place->spent += passed;
    place->threads |= UINT64_C(1) << (index % 64);
    if (since == 0)
        place->untimed += doing == GILCMP_PARKED;
    else if (now - since > place->longest)
        place->longest = now - since;
    if (lock == 0 || doing == GILCMP_HALTED)
        return;
    if (doing == GILCMP_SPINS && gilcmp_safe_read(&bits, (const void *)lock, 1) && !(bits & 1))
        place->free_looks++;
    const gilcmp_site owner = find_owner(contention, lock);
    if (owner.function < 0)
        return;
    if (place->owner_votes == 0) /* the majority of all votes stays (Boyer and Moore) */
        place->owner = owner;
    place->owner_votes += same_site(place->owner, owner) ? 1 : -1;
}

/* ---- looking ---------------------------------------------------------------------------------------------------- */

#ifdef Py_GIL_DISABLED

/* What a thread that is detached does; the system tells it. Only one thread is looked at anew at each look, and those
 * that have just let go; the others are taken to go on as before. */
static int detached(gilcmp_contention *contention, int index)
{
    gilcmp_one *thread = &contention->threads[index];
    uintptr_t futex;
    if (!contention->tells_states)
        return GILCMP_UNTOLD;
    const int before = thread->now;
    if (index != contention->turn && (before == GILCMP_SLEEPS || before == GILCMP_OUTSIDE))
        return before;
    const gilcmp_run_state state = gilcmp_read_run_state(&thread->files, thread->native, &futex);
    return state == GILCMP_WAITING ? GILCMP_SLEEPS : state == GILCMP_RUNNING ? GILCMP_OUTSIDE : GILCMP_UNTOLD;
}

static void look_at(gilcmp_contention *contention, int index, const gilcmp_parked *parked, int64_t now, int64_t passed)
{
    gilcmp_one *thread = &contention->threads[index];
    const PyThreadState *copy = &contention->copies[index];
    uintptr_t lock = 0, section, locks[2];
    int64_t since = 0;
    if (parked != NULL) {
        lock = parked->address;
        since = parked->since;
        thread->now = lock == (uintptr_t)thread->state + offsetof(PyThreadState, state) ? GILCMP_HALTED : GILCMP_PARKED;
    } else if (copy->state != 1) /* 1: attached */
        thread->now = detached(contention, index);
    else if (gilcmp_read_section(copy, &section, locks) == GILCMP_ENTERING && section >= thread->stack
             && section < thread->stack_top) {
        lock = gilcmp_find_wanted(contention->interpreter.interpreter, section, thread->stack);
        /* without a lock it may be a section that has just been entered, or is about to be left */
        thread->now = lock != 0 ? GILCMP_SPINS : GILCMP_WORKS;
    } else {
        uintptr_t operands[GILCMP_OPERANDS], entry;
        const int n = gilcmp_read_operands(copy, operands, &entry);
        if (entry >= thread->stack && entry < thread->stack_top)
            lock = gilcmp_find_spun(contention->interpreter.interpreter, entry, thread->stack, operands, n);
        thread->now = lock != 0 ? GILCMP_SPINS : GILCMP_WORKS;
    }
    if (thread->now == GILCMP_SPINS || thread->now == GILCMP_PARKED || thread->now == GILCMP_HALTED)
        note(contention, index, lock, thread->now, since, now, passed);
}

#else

static void look_at(gilcmp_contention *contention, int index, const gilcmp_parked *parked, int64_t now, int64_t passed)
{
    gilcmp_one *thread = &contention->threads[index];
    uintptr_t lock = 0, futex = 0;
    int64_t since = 0;
    const void *holder;
    const int taken = gilcmp_read_lock(&contention->interpreter.lock, &holder) != GILCMP_FREE;
    if (parked != NULL) {
        lock = parked->address;
        since = parked->since;
        thread->now = GILCMP_PARKED;
    } else if (taken && holder == thread->state)
        thread->now = GILCMP_WORKS;
    else if (!contention->tells_states)
        thread->now = GILCMP_UNTOLD;
    else {
        const gilcmp_run_state state = gilcmp_read_run_state(&thread->files, thread->native, &futex);
        thread->now = state == GILCMP_WAITING ? GILCMP_SLEEPS : state == GILCMP_RUNNING ? GILCMP_OUTSIDE : GILCMP_UNTOLD;
        if (futex >= (uintptr_t)contention->interpreter.gil && futex < (uintptr_t)contention->interpreter.gil_end) {
            lock = (uintptr_t)contention->interpreter.gil;
            thread->now = GILCMP_PARKED;
        }
    }
    if (thread->now == GILCMP_PARKED)
        note(contention, index, lock, thread->now, since, now, passed);
}

#endif

LOOKS_WITHOUT_LOCK
static void look_at_world(gilcmp_contention *contention, int64_t now, int64_t passed)
{
    int stopped = -1;
    for (int i = 0; contention->tells_world && i < 2; i++)
        if (*contention->world.stopped[i])
            stopped = i;
    if (stopped < 0) {
        contention->pause_began = 0;
        return;
    }
    PyThreadState copy;
    const gilcmp_world_pause pause = gilcmp_read_pause(&contention->world, stopped, &copy);
    if (!gilcmp_same_pause(&pause, &contention->pause))
        contention->pause_began = 0;
    contention->pause = pause;
    if (contention->pause_began == 0) {
        contention->pause_began = now - passed / 2;
        contention->pauses++;
    }
    contention->stopped += passed;
    contention->collecting += *contention->world.collecting ? passed : 0;
    if (now - contention->pause_began > contention->longest_pause)
        contention->longest_pause = now - contention->pause_began;
    for (int index = 0; index < contention->n_threads; index++)
        if (contention->threads[index].state == pause.requester) {
            note(contention, index, 0, GILCMP_DOINGS, 0, now, passed);
            contention->no_lock--; /* there is none to be found */
        }
}

static int is_wanted(const gilcmp_contention *contention, const gilcmp_one *thread)
{
    if (thread->native == 0 || thread->ident == contention->ignored)
        return 0;
    for (int i = 0; i < contention->n_only; i++)
        if (contention->only[i] == thread->native)
            return 1;
    return contention->n_only == 0;
}

static void look_once(gilcmp_contention *contention, int64_t now)
{
    const int64_t passed = now - contention->then;
    contention->then = now;
    if (!LOAD(contention->counting))
        return;
    if (passed > 5 * contention->pace + 2 * MILLISECOND) { /* the watcher itself had no core */
        contention->unseen += passed;
        contention->pause_began = 0;
        return;
    }
    int whose[GILCMP_WATCHED];
    const int n = gilcmp_read_parked(&contention->parking, contention->parked, GILCMP_WATCHED, now);
    for (int i = 0; i < n; i++)
        whose[i] = thread_at(contention, contention->parked[i].entry);
    for (int index = 0; index < contention->n_threads; index++) {
        gilcmp_one *thread = &contention->threads[index];
        PyThreadState *copy = &contention->copies[index];
        if (!gilcmp_safe_read(copy, thread->state, sizeof(*copy)) || copy->id != thread->id)
            thread->now = NOBODY; /* it has ended */
        else if (thread->now == NOBODY)
            thread->now = GILCMP_DOINGS; /* new */
    }
    contention->turn = contention->n_threads ? (contention->turn + 1) % contention->n_threads : 0;
    for (int index = 0; index < contention->n_threads; index++) {
        gilcmp_one *thread = &contention->threads[index];
        const gilcmp_parked *parked = NULL;
        if (thread->now == NOBODY || !is_wanted(contention, thread))
            continue;
        for (int i = 0; i < n; i++)
            if (whose[i] == index)
                parked = &contention->parked[i];
        look_at(contention, index, parked, now, passed);
        thread->spent[thread->now] += passed;
    }
    look_at_world(contention, now, passed);
    contention->watched += passed;
    contention->looks++;
}

static void read_all_clocks(gilcmp_contention *contention, int64_t now)
{
    contention->read = now;
    for (int i = 0; i < contention->n_threads; i++)
        read_clocks(&contention->threads[i]);
}

static void watch(gilcmp_watcher *watcher)
{
    gilcmp_contention *contention = (gilcmp_contention *)watcher;
    contention->tells_states = gilcmp_own_files(-1);
    gilcmp_ask_for_short_slices();
    for (int i = 0; i < contention->n_threads; i++)
        contention->threads[i].files = GILCMP_NO_FILES; /* of the thread before a pause */
    const int64_t spent = gilcmp_own_cpu_time() - contention->cpu;
    int64_t now = gilcmp_now();
    contention->then = now;
    walk(contention, now);
    read_all_clocks(contention, now);
    STORE(watcher->started, 1);
    while (!LOAD(watcher->stop)) {
        gilcmp_watcher_rest_until_sample(watcher, contention->pace);
        now = gilcmp_now();
        look_once(contention, now);
        if (now - contention->walked > WALK + contention->n_threads * 25000)
            walk(contention, now);
        if (now - contention->read > CLOCKS + contention->n_threads * 100000)
            read_all_clocks(contention, now);
    }
    read_all_clocks(contention, now);
    contention->ended = now;
    contention->cpu = gilcmp_own_cpu_time() - spent;
    for (int i = 0; i < contention->n_threads; i++)
        gilcmp_close_files(&contention->threads[i].files);
}

/* ---- start and end ------------------------------------------------------------------------------------------------ */

gilcmp_contention *gilcmp_contention_start(const gilcmp_places *places, int64_t pace, const char *library, uint64_t ignored)
{
    gilcmp_contention *contention = calloc(1, sizeof(*contention));
    if (contention == NULL)
        return NULL;
    contention->interpreter = *places;
    contention->pace = pace;
    contention->ignored = ignored;
    contention->counting = 1;
    contention->tells_locks = gilcmp_find_parking(&contention->parking) == NULL;
    contention->tells_world = gilcmp_find_world(&contention->world, places->interpreter) == NULL;
    strncpy(contention->functions.library, library, sizeof(contention->functions.library) - 1);
    contention->threads = calloc(GILCMP_WATCHED, sizeof(gilcmp_one));
    contention->ended_threads = calloc(GILCMP_WATCHED, sizeof(gilcmp_one));
    contention->copies = calloc(GILCMP_WATCHED, sizeof(PyThreadState));
    contention->places = calloc(GILCMP_PLACES, sizeof(gilcmp_place));
    contention->began = gilcmp_now();
    if (gilcmp_watcher_prepare(&contention->watcher, watch, 1) && contention->threads != NULL
        && contention->ended_threads != NULL && contention->copies != NULL && contention->places != NULL
        && gilcmp_watcher_start(&contention->watcher))
        return contention;
    gilcmp_contention_free(contention);
    return NULL;
}

void gilcmp_contention_only(gilcmp_contention *contention, const uint64_t *numbers, int n)
{
    contention->n_only = n < GILCMP_ONLY ? n : GILCMP_ONLY;
    memcpy(contention->only, numbers, (size_t)contention->n_only * sizeof(numbers[0]));
}

void gilcmp_contention_count(gilcmp_contention *contention, int counting)
{
    STORE(contention->counting, counting);
}

void gilcmp_contention_free(gilcmp_contention *contention)
{
    gilcmp_watcher_close(&contention->watcher);
    gilcmp_free_functions(&contention->functions);
    free(contention->threads);
    free(contention->ended_threads);
    free(contention->copies);
    free(contention->places);
    free(contention);
}
