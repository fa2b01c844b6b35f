/* Recording which thread held the GIL when, from a native thread that never asks for it. */
#ifndef GILCMP_GIL_RECORD_H
#define GILCMP_GIL_RECORD_H

#include "_gil_lock.h"

/* What a thread does for a while. Without a lock, to hold it means: to be attached to the interpreter. */
typedef enum {
    GILCMP_HOLDS,
    GILCMP_WAITS,   /* for the GIL; free-threaded builds: stopped with the world */
    GILCMP_RUNS,    /* without the GIL: on a core, or ready to be */
    GILCMP_BLOCKED, /* on something else */
    GILCMP_AWAY,    /* does not hold it; what it does instead was not looked at, or this system does not tell */
    GILCMP_STATES
} gilcmp_doing;

/* `thread` did one thing from `start` to `end` (nanoseconds); thread -1: nothing is known of anybody then. */
typedef struct {
    int64_t start, end;
    int32_t thread, doing;
} gilcmp_span;

/* A thread's clocks at a moment: time on a CPU and time ready to run without one, in nanoseconds. */
typedef struct {
    int64_t time, cpu, delay;
    int32_t thread;
} gilcmp_clock;

typedef struct {
    uint64_t id;                    /* never given twice, unlike addresses and thread numbers */
    const PyThreadState *state;
    uint64_t ident, native;
    int64_t began, ended;           /* 0: was there from the beginning, or to the end */
    int64_t spent[GILCMP_STATES];
    int64_t longest_hold, holds;
    int64_t first_cpu, first_delay, cpu, delay; /* -1: not told */
    /* what the recorder needs itself */
    gilcmp_doing now;
    int64_t since, looked;
    int files[2];
    int missing;
} gilcmp_thread;

#define GILCMP_THREADS 4096 /* threads that are told apart; what further ones do counts for the last of them */

typedef struct {
    int64_t began, ended;
    int64_t looks, unseen;          /* looks taken; nanoseconds in which the recorder itself had no core */
    int64_t free_, watched;         /* time in which nobody held the lock, and all time, without the unseen */
    int64_t hand_overs;             /* from thread to thread: the interpreter's own count, or -1 */
    int64_t hand_overs_seen;
    int64_t n_threads, n_spans, n_clocks; /* all there were; the newest `capacity` are kept */
    int tells_states;               /* whether this system says who waits and who runs */
    gilcmp_thread *threads;
    gilcmp_span *spans;
    gilcmp_clock *clocks;
    int64_t span_capacity, clock_capacity;
} gilcmp_record;

typedef struct gilcmp_recorder gilcmp_recorder;

/* Start, and stop; see gilcmp_sampler_start. pace: nanoseconds between looks on average; 0: as often as takes 1.5 % of
 * one CPU. What stop returns is to be freed by gilcmp_record_free. */
gilcmp_recorder *gilcmp_recorder_start(const gilcmp_places *places, int64_t pace, int64_t capacity);
/* Pause for a while, as for a fork: what happens meanwhile is not seen. Resume returns 0 where no thread can be had. */
void gilcmp_recorder_pause(gilcmp_recorder *recorder);
int gilcmp_recorder_resume(gilcmp_recorder *recorder);
gilcmp_record *gilcmp_recorder_stop(gilcmp_recorder *recorder);
void gilcmp_record_free(gilcmp_record *record);

#endif
