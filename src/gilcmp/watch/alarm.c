/* See alarm.h. */
#include "alarm.h"

#include <stdlib.h>

#define AGAIN INT64_C(100000000)  /* nanoseconds after which it is tried again where no thread could be started */
#define LONG INT64_C(3600000000000)

static void ring(void *argument)
{
    gilcmp_alarm *alarm = argument;
    const PyGILState_STATE state = PyGILState_Ensure();
    alarm->call(alarm->argument); /* which may free it */
    PyGILState_Release(state);
}

/* This thread may be waited for by a fork, so it does not ask for the lock: another one does. */
static void wait_and_ring(gilcmp_watcher *watcher)
{
    gilcmp_alarm *alarm = (gilcmp_alarm *)watcher;
    STORE(watcher->started, 1);
    while (!LOAD(watcher->stop)) {
        const int64_t left = alarm->at - gilcmp_now();
        if (alarm->rung)
            gilcmp_watcher_rest(watcher, LONG);
        else if (left > 0)
            gilcmp_watcher_rest(watcher, left);
        else if (PyThread_start_new_thread(ring, alarm) != PYTHREAD_INVALID_THREAD_ID)
            alarm->rung = 1;
        else
            gilcmp_watcher_rest(watcher, AGAIN);
    }
}

gilcmp_alarm *gilcmp_alarm_start(int64_t nanoseconds, void (*call)(void *), void *argument)
{
    gilcmp_alarm *alarm = calloc(1, sizeof(*alarm));
    if (alarm == NULL)
        return NULL;
    alarm->at = gilcmp_now() + nanoseconds;
    alarm->call = call;
    alarm->argument = argument;
    if (gilcmp_watcher_prepare(&alarm->watcher, wait_and_ring, 1) && gilcmp_watcher_start(&alarm->watcher))
        return alarm;
    gilcmp_alarm_free(alarm);
    return NULL;
}

void gilcmp_alarm_free(gilcmp_alarm *alarm)
{
    gilcmp_watcher_close(&alarm->watcher);
    free(alarm);
}
