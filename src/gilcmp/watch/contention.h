/* Watching what threads wait for: which lock of which object, at which line of Python; and pauses of the whole world. */
#ifndef GILCMP_GIL_CONTENTION_H
#define GILCMP_GIL_CONTENTION_H

#include "parking.h"
#include "threads.h"
#include "watcher.h"

/* What a thread does at a look. */
typedef enum {
    GILCMP_WORKS,   /* attached (with a GIL: holds it), and not on its way to a lock as far as that can be seen */
    GILCMP_SPINS,   /* attached, and tries to get a lock */
    GILCMP_PARKED,  /* asleep until it gets a lock (with a GIL: or the GIL) */
    GILCMP_HALTED, /* asleep until a pause of the whole world is over */
    GILCMP_SLEEPS,  /* detached, asleep for something else: input, output, time, an event */
    GILCMP_OUTSIDE, /* detached, on a CPU or ready to be: native code, or just woken */
    GILCMP_UNTOLD,  /* detached; the system does not say what it does */
    GILCMP_DOINGS
} gilcmp_contended;

/* What was seen of waits for one lock at one place in the program. */
typedef struct {
    uintptr_t lock;
    int32_t doing; /* GILCMP_SPINS, GILCMP_PARKED or GILCMP_HALTED; GILCMP_DOINGS: it stopped the world */
    int32_t owner_votes;
    gilcmp_site inner, outer, owner; /* owner: where who had the lock was, at most of the looks */
    int64_t spent, looks, longest;   /* nanoseconds, but for the looks */
    int64_t free_looks;              /* at which the lock was free */
    int64_t untimed;                 /* at which nothing tells that it waits for a mutex: an event, perhaps */
    uint64_t threads;                /* a bit for each, by index modulo 64 */
    gilcmp_identity what;
} gilcmp_place;

#define GILCMP_PLACES 4096
#define GILCMP_ONLY 256
#define GILCMP_WATCHED 1024 /* threads that are watched at once; any further ones are not seen */

typedef struct {
    uint64_t id, ident, native;
    const PyThreadState *state;
    uintptr_t stack, stack_top;
    int64_t spent[GILCMP_DOINGS];
    int64_t first_cpu, first_delay, first_system, cpu, delay, system; /* nanoseconds; -1: not told */
    /* the watcher's own */
    int32_t now, missing;
    gilcmp_files files;
} gilcmp_one;

typedef struct {
    gilcmp_watcher watcher;
    int64_t began, ended, watched, unseen, looks;
    int64_t stopped, pauses, longest_pause, collecting; /* of the world */
    int64_t no_frame, no_lock;                         /* looks at waits whose line, or whose lock, was not found */
    int64_t lost;                                      /* looks at waits for which there was no room */
    int64_t cpu;                                       /* nanoseconds that looking took */
    int tells_states, tells_locks, tells_world;
    gilcmp_one *threads;
    int n_threads, n_ended;
    gilcmp_one *ended_threads; /* the figures of threads that are gone; later ones are added to the last */
    gilcmp_place *places;
    gilcmp_functions functions;
    /* the watcher's own */
    gilcmp_places interpreter;
    gilcmp_parking parking;
    gilcmp_world world;
    gilcmp_world_pause pause; /* the latest */
    gilcmp_parked parked[GILCMP_WATCHED];
    PyThreadState *copies;
    int64_t pace, then, walked, read, pause_began;
    uint64_t ignored;
    uint64_t only[GILCMP_ONLY]; /* the system's numbers of the threads that are looked at; none: all */
    int n_only;
    int counting, turn;
} gilcmp_contention;

/* pace: nanoseconds between looks on average; `library`: the standard library's folder; `ignored`: the identity of a thread
 * that is not looked at, or 0. NULL: no memory, or no thread. */
gilcmp_contention *gilcmp_contention_start(const gilcmp_places *places, int64_t pace, const char *library, uint64_t ignored);
/* Look at these threads only, by the system's numbers. To be called before anything is counted. */
void gilcmp_contention_only(gilcmp_contention *contention, const uint64_t *numbers, int n);
/* Count from now on, or no longer. */
void gilcmp_contention_count(gilcmp_contention *contention, int counting);
void gilcmp_contention_free(gilcmp_contention *contention);

#endif
