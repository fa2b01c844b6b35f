/* A native thread that watches the interpreter: how it is started, paused for a fork, and ended. */
#ifndef GILCMP_GIL_WATCHER_H
#define GILCMP_GIL_WATCHER_H

#include "lock.h"

typedef struct gilcmp_watcher gilcmp_watcher;

struct gilcmp_watcher {
    /* Set before it is started, and constant from then on */
    void (*watch)(gilcmp_watcher *); /* what the native thread does: until `stop`, and again after a pause */
    int pausable;                    /* whether its thread never asks for the GIL, so that a fork may wait for it */
    PyInterpreterState *interpreter;
    PyThread_type_lock bell;  /* what the thread sleeps on: held until it is to stop */
    PyThread_type_lock ended; /* held, until the thread lets go of it as the last thing it does */
    /* Written by one side and read by the other, by LOAD and STORE only */
    int stop;          /* the thread is to end */
    int started;       /* the thread has taken its first look */
    int over;          /* no thread runs any more, and none will */
    int64_t stopped_at; /* when the stop was asked for; ordered by `stop` */
    /* Its thread's own */
    int late;          /* samples in a row that came late */
    uint64_t random;   /* never 0 */
    /* Guarded: see watcher.c */
    int thread;        /* NONE, RUNNING or ENDING */
    int claimed;       /* somebody has called gilcmp_watcher_stop */
    int generation;    /* of the process: another one in a child of fork */
    gilcmp_watcher *next;
    long number;       /* the system's, of the native thread; ordered by `ended` */
};

typedef enum { GILCMP_STOPPED, GILCMP_ALREADY_STOPPED, GILCMP_IN_PARENT } gilcmp_stopped;

/* The caller of each of these is attached (holds the GIL), except where they say otherwise. */

/* Prepare a watcher whose memory is all zero; 0: no memory. */
int gilcmp_watcher_prepare(gilcmp_watcher *watcher, void (*watch)(gilcmp_watcher *), int pausable);
/* Start its thread, and wait (detached) for its first sample; 0: no thread could be started. */
int gilcmp_watcher_start(gilcmp_watcher *watcher);
/* End its thread. A second call is refused; in a child of fork there is no thread to end. The memory stays. */
gilcmp_stopped gilcmp_watcher_stop(gilcmp_watcher *watcher);
/* End its thread if it still runs, and give back what gilcmp_watcher_prepare took. Nobody else may use it any more. */
void gilcmp_watcher_close(gilcmp_watcher *watcher);
/* Sleep for that long, or until the thread is to stop. Called by its own thread, detached. */
void gilcmp_watcher_rest(gilcmp_watcher *watcher, int64_t nanoseconds);
/* Sleep until the next sample is due, `pace` after this one on average. A sample that is late falls on a scheduler tick,
 * with which the program may be in step, or on the moment when some thread let go of a core, often the watched one: up to
 * two in a row are left out, to sample at a random moment instead. */
void gilcmp_watcher_rest_until_sample(gilcmp_watcher *watcher, int64_t pace);
/* What looking may cost: a share of one CPU, and between which paces (nanoseconds) it is chosen. */
typedef struct {
    double share;
    int64_t fastest, slowest;
} gilcmp_budget;

/* The pace that keeps to a budget, from the calling thread's CPU time for its looks so far; `otherwise`: where that is not
 * told. */
int64_t gilcmp_affordable_pace(gilcmp_budget budget, int64_t cpu_before, int64_t looks, int64_t otherwise);
/* CPU time that the calling thread has used, in nanoseconds; -1: not told. */
int64_t gilcmp_own_cpu_time(void);

/* Pause all pausable watchers; they go on after as many calls of resume as of pause. In a child of fork neither pauses
 * nor watchers are left. `gilcmp_resume_soon` resumes at the main thread's next bytecode. */
void gilcmp_pause_all(void);
void gilcmp_resume_all(void);
void gilcmp_resume_soon(void);
/* End the threads of all watchers of the calling thread's interpreter: it is about to end itself. */
void gilcmp_end_all(void);
/* Once per process: make a child of fork start without watchers. */
void gilcmp_prepare_forks(void);

/* Let other threads have the CPU, if any wants it. */
void gilcmp_yield(void);
/* Nanoseconds of a clock that only goes forward. */
int64_t gilcmp_now(void);
void gilcmp_pause(int64_t nanoseconds);
/* Spin until the clock shows `until`; easily: with fewer looks at the clock. */
void gilcmp_spin_until(int64_t until);
void gilcmp_spin_easily_until(int64_t until);
/* A number from `pace`/2 to 1.5 `pace` (xorshift, Marsaglia 2003): a steady pace aliases with what it samples. */
int64_t gilcmp_jittered(uint64_t *random, int64_t pace);
uint64_t gilcmp_next_random(uint64_t *state);

#endif
