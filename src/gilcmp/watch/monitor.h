/* Counting for months who holds the lock, at which line, and who waits for it; and a watchdog for holds that are too long. */
#ifndef GILCMP_GIL_MONITOR_H
#define GILCMP_GIL_MONITOR_H

#include "lines.h"
#include "parking.h"
#include "threads.h"
#include "watcher.h"

#define GILCMP_MONITORED 512   /* threads with figures of their own; those of any further ones are added up */
#define GILCMP_BUCKETS 11      /* up to 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60 seconds, and longer */
#define GILCMP_EVENTS 64
#define GILCMP_REPORT 32768    /* bytes of a report */

/* A thread's figures, in nanoseconds. */
typedef struct {
    int64_t held, waited, asleep; /* asleep: for a lock, without a GIL */
    int64_t cpu, delay;
    int told;                     /* whether the system has told its clocks */
} gilcmp_sums;

typedef struct {
    uint64_t id, ident, native;
    const PyThreadState *state;
    gilcmp_sums sums;
    /* the watcher's own */
    int64_t last_cpu, last_delay; /* -1: not read yet */
    int64_t read;                 /* when its clocks were read */
    int64_t waits_since, seen_waiting, wait_cpu; /* since when it has been seen to wait, without a break; 0: it does not */
    unsigned long wait_turn;
    gilcmp_position wait_position;
    int reported;                 /* that it waits for too long */
    int64_t sleeps_since;         /* without a GIL: the latest sleep for a lock, and whether it is one to be told something */
    int is_idle;
    uintptr_t stack, stack_top;
    gilcmp_files files;
    int missing;
} gilcmp_monitored;

/* A long hold, or a long wait. */
typedef enum { GILCMP_LONG_HOLD, GILCMP_LONG_WAIT } gilcmp_event_kind;

typedef struct {
    int64_t began, ended;  /* on the clock of gilcmp_now; ended 0: it goes on */
    uint64_t ident, native;
    gilcmp_where where;
    int64_t no_core;       /* nanoseconds of a hold for which its thread was ready to run and had no CPU, as far as told */
    int32_t kind, waiting; /* waiting: how many other threads were seen to wait meanwhile */
    int32_t reported;      /* 1: a report was written, or called back; 2: it was to be, but too soon after another one */
} gilcmp_event;

typedef struct {
    int64_t n, total;      /* how many there were; nanoseconds together */
    int64_t buckets[GILCMP_BUCKETS];
} gilcmp_histogram;

/* What is asked for; nanoseconds. */
typedef struct {
    int64_t pace;          /* between two looks on average; 0: chosen to take 0.4 % of one CPU */
    int64_t hold, wait;    /* limits of the watchdog; 0: none */
    int64_t every;         /* between two reports, at least */
    int file;              /* where reports are written; -1: nowhere */
    const char *library;   /* the folder of the standard library */
    void (*call)(void *);  /* called, with the lock held, when something that was reported is over; NULL: nothing */
    void *argument;
} gilcmp_monitoring;

typedef struct gilcmp_monitor gilcmp_monitor;

/* What starts the threads that call back: the watcher itself has files of its own, which they would share. */
typedef struct {
    gilcmp_watcher watcher;
    gilcmp_monitor *monitor;
} gilcmp_caller;

struct gilcmp_monitor {
    gilcmp_watcher watcher;
    gilcmp_caller caller;
    int to_tell;                            /* something that was reported is over; by LOAD and STORE only */
    /* Guarded by `busy`: taken by the watcher for each look, unless somebody reads; never held while Python code may run */
    int busy;
    int reading;                            /* copies that are being read: until then no function is forgotten */
    int64_t began, then;
    int64_t looks, watched, unseen;
    int64_t held, waited, asleep, hand_overs;
    int64_t stopped, pauses, longest_pause; /* of the world, without a GIL */
    int64_t own_cpu;
    int64_t n_started;                      /* threads that were ever seen */
    int64_t reports, suppressed, failed;    /* failed: could not be written */
    gilcmp_histogram holds, waits;          /* of those from 20 ms on */
    gilcmp_sums ended;                      /* threads that are gone, and those for which there was no room */
    gilcmp_monitored threads[GILCMP_MONITORED];
    int n_threads;
    gilcmp_lines lines;
    gilcmp_event events[GILCMP_EVENTS];     /* the latest */
    int64_t n_events;
    int64_t current_pace;
    int tells_states, tells_waits, tells_locks, tells_world;
    int calling;                            /* threads that are about to call back: at most one */
    uint64_t latest_id;                     /* of the threads that were seen */
    /* the watcher's own */
    gilcmp_places places;
    gilcmp_parking parking;
    gilcmp_world world;
    gilcmp_monitoring how;
    PyThreadState copy;
    const void *holder;                     /* who held at the latest look; NULL: nobody */
    unsigned long turn;                     /* the interpreter's count of hand-overs then */
    int64_t holds_since, waiter_seen;       /* the present hold, from when it was first seen; 0: none */
    int64_t delay_before;                   /* of its thread when it had become long; -1: not read */
    gilcmp_position position;
    gilcmp_world_pause pause;                     /* the latest, without a GIL */
    gilcmp_event now;                       /* the present hold */
    int64_t walked, reported;
    int next;                               /* whose turn it is to be looked at */
    uint64_t file_device, file_number;
    gilcmp_parked parked[GILCMP_MONITORED];
    char report[GILCMP_REPORT];
    size_t report_size;
};

/* NULL: no memory, or no thread. The caller is attached. */
gilcmp_monitor *gilcmp_monitor_start(const gilcmp_places *places, const gilcmp_monitoring *how);
/* Return a copy of the figures, which must be given back; NULL: no memory. */
gilcmp_monitor *gilcmp_monitor_copy(gilcmp_monitor *monitor);
void gilcmp_monitor_give_back(gilcmp_monitor *monitor, gilcmp_monitor *copy);
/* Change what is guarded; the watcher leaves out its looks meanwhile. */
void gilcmp_monitor_enter(gilcmp_monitor *monitor);
void gilcmp_monitor_leave(gilcmp_monitor *monitor);
/* End its threads, as gilcmp_watcher_stop. */
gilcmp_stopped gilcmp_monitor_stop(gilcmp_monitor *monitor);
/* In a child of fork: nobody reads, and nobody calls back. */
void gilcmp_monitor_abandon(gilcmp_monitor *monitor);
void gilcmp_monitor_free(gilcmp_monitor *monitor);

#endif
