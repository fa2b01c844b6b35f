/* The watchdog's report: written while somebody holds the lock, so nothing there may ask for it. */
#ifndef GILCMP_GIL_REPORT_H
#define GILCMP_GIL_REPORT_H

#include "monitor.h"

/* Write what is going on to the monitor's file: the event, and the stacks of all threads as far as they can be read. */
void gilcmp_write_report(gilcmp_monitor *monitor, const gilcmp_event *event, int64_t now);
/* Write how it ended. */
void gilcmp_write_end(gilcmp_monitor *monitor, const gilcmp_event *event);

#endif
