/* Two watchers of one call: the sampler looks whether the calling thread holds the GIL; the waiter asks for the GIL and
 * times how long that takes. */
#ifndef GILCMP_GIL_SAMPLER_H
#define GILCMP_GIL_SAMPLER_H

#include "threads.h"
#include "watcher.h"

#define GILCMP_SEGMENTS 64 /* the watched time is split into at most this many segments, for a confidence interval */
#define GILCMP_RELEASES 4096 /* at most this many lengths of releases are kept, chosen at random */

/* What a sampler saw; times in nanoseconds. */
typedef struct {
    int64_t samples;
    int64_t held, other, free_, dropped; /* dropped: gaps in which the sampler itself had no core */
    int64_t segment_held[GILCMP_SEGMENTS], segment_all[GILCMP_SEGMENTS];
    int64_t segment_length;
    int64_t longest_hold;
    int64_t switches;   /* changes from one holder to another, whoever they are */
    int64_t hand_overs; /* changes from held to not held */
    int64_t releases[GILCMP_RELEASES];
    int64_t n_releases; /* all there were */
} gilcmp_counts;

typedef struct {
    gilcmp_watcher watcher;
    gilcmp_counts counts; /* the sampler's own thread writes them; to be read when it is over */
    /* the sampler's own */
    gilcmp_lock lock;
    int64_t pace;        /* nanoseconds between samples on average, 0: spin */
    int without_delays;
    uint64_t newest;     /* threads with higher IDs count as the watched one; 0: no other does */
    int marked, inside;  /* marked: only looks while `inside` count; it is set around each call */
    int armed;           /* the watched thread is back from starting the sampler */
    int started_on;      /* the CPU that the watched thread was on */
    int64_t began, then; /* then: when the latest sample was taken */
    int64_t held_since, free_since;
    int64_t dropped_until; /* when the latest gap ended: a delay is taken off what was seen since */
    gilcmp_state before;
    const void *holder_before;
    uint64_t native; /* native ID of the watched thread; 0: unknown */
    int64_t delay;   /* its time without a core at the latest sample; -1: not read yet */
    gilcmp_files files;
} gilcmp_sampler;

typedef struct {
    int64_t pace;       /* nanoseconds between two looks on average, 0: spin */
    int64_t longest;    /* approximate time that it will watch, in nanoseconds */
    int without_delays; /* leave out the calling thread's run delay, where the system reports it */
    int with_younger;   /* what threads hold that start meanwhile counts as held by the calling thread */
    int marked;         /* watch only while gilcmp_sampler_mark says so */
} gilcmp_sampling;

gilcmp_sampler *gilcmp_sampler_start(const gilcmp_lock *lock, gilcmp_sampling how);
/* Say whether what is to be watched goes on; called by the watched thread. */
void gilcmp_sampler_mark(gilcmp_sampler *sampler, int inside);
void gilcmp_sampler_free(gilcmp_sampler *sampler);

typedef struct {
    int64_t asked, got; /* when it asked for the GIL, and when it got it */
    int64_t delay;      /* run delay within that wait */
    int64_t cpu;        /* CPU time of the thread that started the waiter, when the waiter got the GIL; -1: not known */
} gilcmp_wait;

typedef struct {
    gilcmp_watcher watcher;
    gilcmp_wait *waits;
    int64_t n, capacity;
    int64_t pause; /* nanoseconds between two waits on average */
    uint64_t caller; /* native ID of the thread that started it */
    PyThreadState *state;
} gilcmp_waiter;

gilcmp_waiter *gilcmp_waiter_start(int64_t pause, int64_t capacity);
void gilcmp_waiter_free(gilcmp_waiter *waiter);

#endif
