/* What the system reports about a thread of this process: whether it runs, what it waits for, its clocks. Linux only;
 * elsewhere nothing is reported. */
#ifndef GILCMP_GIL_THREADS_H
#define GILCMP_GIL_THREADS_H

#include <stddef.h>
#include <stdint.h>

/* The files that tell it, kept open while the thread lives; -1: not open yet. */
typedef struct {
    int syscall, schedstat, stat;
} gilcmp_files;

#define GILCMP_NO_FILES ((gilcmp_files){-1, -1, -1})

typedef enum { GILCMP_UNKNOWN, GILCMP_RUNNING, GILCMP_WAITING } gilcmp_run_state;

/* Give the calling thread a file table of its own. In the program's table the files would take up numbers, and a
 * program that closes all files would close them; the recorder would then close what the program has opened since.
 * One file is kept in it, unless that is -1. 0: no table could be made, or there is nothing to read; then only gilcmp_close_files may be called. */
int gilcmp_own_files(int kept);
void gilcmp_close_files(gilcmp_files *files);

/* Read whether a thread (its number is the system's) is on a core or ready to be, or waits; `futex`: the address that it
 * waits on, 0 where it waits for something else. */
gilcmp_run_state gilcmp_read_run_state(gilcmp_files *files, uint64_t number, uintptr_t *futex);
/* Read its time on a CPU, and ready to run without one, in nanoseconds; 0: not told. */
int gilcmp_read_clocks(gilcmp_files *files, uint64_t number, int64_t *cpu, int64_t *delay);
/* Read its time on a CPU in the system's own code, in nanoseconds, to a tick of the system's (10 ms); -1: not told. */
int64_t gilcmp_read_system_time(gilcmp_files *files, uint64_t number);
/* Read what the system calls a thread; 0: not told. */
int gilcmp_read_name(uint64_t number, char *name, size_t size);
/* Where the main thread's stack begins, at its high end; 0: not told. */
uintptr_t gilcmp_main_stack(void);
/* The CPU time of a thread of this process until now, in nanoseconds; -1: not told. Needs no files. */
int64_t gilcmp_cpu_time(uint64_t number);

/* Ask for short time slices for the calling thread (Linux 6.12 and later; no effect elsewhere): a thread with a shorter
 * slice gets a core sooner. Otherwise many samples would be late, until the next scheduler tick. */
void gilcmp_ask_for_short_slices(void);

#endif
