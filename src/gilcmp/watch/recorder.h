/* Recording which thread held the GIL when, from a native thread that never asks for it. */
#ifndef GILCMP_GIL_RECORDER_H
#define GILCMP_GIL_RECORDER_H

#include "lines.h"
#include "parking.h"
#include "threads.h"
#include "watcher.h"

/* What a thread does for a while. On free-threaded builds, to hold means to be attached to the interpreter. */
typedef enum {
    GILCMP_HOLDS,
    GILCMP_WAITS,   /* for the GIL; free-threaded builds: stopped with the world */
    GILCMP_RUNS,    /* without the GIL: on a core, or ready to be */
    GILCMP_BLOCKED, /* on something else */
    GILCMP_AWAY,    /* does not hold it; what it does instead was not sampled, or the system does not report it */
    GILCMP_ASLEEP,  /* free-threaded builds: asleep until it gets a lock of the interpreter's, or of an object */
    GILCMP_STATES
} gilcmp_doing;

/* `thread` did one thing from `start` to `end` (nanoseconds); thread -1: nothing is known of any thread then. `line`: at which
 * line it was at the latest look, an index into the recorder's lines; -1: not known. */
typedef struct {
    int64_t start, end;
    int32_t thread, doing, line, padding;
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
    uintptr_t stack, stack_top;     /* its C stack; 0: not known */
    int64_t began, ended;           /* 0: was there from the beginning, or to the end */
    int64_t spent[GILCMP_STATES];
    int64_t longest_hold, holds;
    int64_t first_cpu, first_delay, cpu, delay; /* -1: not told */
    /* what the recorder needs itself */
    gilcmp_doing now;
    int64_t since, looked;
    int64_t read_line, held_since; /* when its line was read, and how long it has held since then */
    int32_t line;                  /* the latest one; -1: not known */
    int64_t sleeps_since;          /* without a GIL: the latest sleep for a lock, and whether it is one to be told something */
    int is_idle;
    gilcmp_files files;
    int missing;
} gilcmp_thread;

#define GILCMP_THREADS 4096 /* threads recorded separately; any further ones share the last entry */

/* A recording, and what its native thread needs; the thread writes it, to be read when the watcher is over. */
typedef struct {
    gilcmp_watcher watcher;
    int64_t began, ended;
    int64_t looks, unseen;          /* looks taken; nanoseconds in which the recorder itself had no core */
    int64_t free_, watched;         /* time in which no thread held the lock, and all time; unseen time excluded */
    int64_t hand_overs_seen;
    int64_t n_threads, n_spans, n_clocks; /* all there were; the newest `capacity` are kept */
    int tells_states;               /* whether this system reports which threads run or are blocked */
    int tells_waits;                /* whether it also reports which of these wait for the GIL */
    gilcmp_thread *threads;
    gilcmp_span *spans;
    gilcmp_clock *clocks;
    gilcmp_lines *lines;            /* where threads hold; a line's `thread` is an index of `threads` */
    int64_t span_capacity, clock_capacity;
    /* the recorder's own */
    gilcmp_places places;
    gilcmp_parking parking;
    int64_t pace;                 /* 0: by itself */
    int32_t live[GILCMP_THREADS]; /* indices of the threads that have not ended */
    int n_live, turn;             /* turn: whose state is looked at next */
    int32_t holder, last_holder;
    int32_t left;                 /* who has just let go of the lock */
    int32_t untold;
    int armed, held;              /* held: a thread did at the latest sample */
    int64_t armed_at;             /* when the caller was back: from then on it is the program's doing */
    PyThreadState copy;
    int64_t current_pace, then;   /* then: of the latest look */
    int64_t walked, read;         /* when the threads were counted, and their clocks read */
    int64_t newcomers;            /* when the threads that the present walk finds began */
    unsigned long counted;
} gilcmp_recorder;

/* pace: nanoseconds between samples on average; 0: chosen to take 1.5 % of one CPU. library: the folder of the standard
 * library. NULL: no memory, or no thread. */
gilcmp_recorder *gilcmp_recorder_start(const gilcmp_places *places, int64_t pace, int64_t capacity, const char *library);
/* How often the interpreter has handed its lock over since it began; -1: not told. */
int64_t gilcmp_recorder_hand_overs(const gilcmp_recorder *recorder);
/* When it is over: close what is still open in its figures. */
void gilcmp_recorder_finish(gilcmp_recorder *recorder);
void gilcmp_recorder_free(gilcmp_recorder *recorder);

#endif
