/* Something that is to be done in the program at a given time, by a thread of its own. The main thread may be blocked for
 * hours, and does not notice a pending call meanwhile. */
#ifndef GILCMP_GIL_ALARM_H
#define GILCMP_GIL_ALARM_H

#include "watcher.h"

typedef struct {
    gilcmp_watcher watcher;
    int64_t at;            /* when; on the clock of gilcmp_now */
    void (*call)(void *);  /* what is to be called then, with the lock held */
    void *argument;
    int rung;
} gilcmp_alarm;

/* NULL: no memory, or no thread. */
gilcmp_alarm *gilcmp_alarm_start(int64_t nanoseconds, void (*call)(void *), void *argument);
void gilcmp_alarm_free(gilcmp_alarm *alarm);

#endif
