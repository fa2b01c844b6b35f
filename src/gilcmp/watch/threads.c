/* See threads.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "threads.h"

#ifdef __linux__

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int gilcmp_own_files(int kept)
{
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
    if (access("/proc/thread-self/syscall", R_OK) != 0) /* no /proc, or a kernel without it */
        return 0;
    const unsigned unshared = 1u << 1 /* CLOSE_RANGE_UNSHARE */, above = (unsigned)kept + 1;
    if (syscall(SYS_close_range, above, ~0u, unshared) == 0)
        return kept <= 0 || syscall(SYS_close_range, 0u, (unsigned)kept - 1, 0) == 0;
    if (unshare(CLONE_FILES) != 0) /* before Linux 5.9 */
        return 0;
    /* A copy of the table: what the program closes must not stay open here. */
    DIR *folder = opendir("/proc/thread-self/fd");
    if (folder == NULL)
        return 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        const int file = atoi(entry->d_name);
        if (entry->d_name[0] != '.' && file != dirfd(folder) && file != kept)
            close(file);
    }
    closedir(folder);
    return 1;
}

void gilcmp_ask_for_short_slices(void)
{
#ifdef SYS_sched_setattr
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } wanted = {0};
    if (syscall(SYS_sched_getattr, 0, &wanted, sizeof(wanted), 0) == 0 && wanted.policy == 0 /* SCHED_OTHER */) {
        wanted.runtime = 100000; /* 0.1 ms, the shortest that Linux takes */
        syscall(SYS_sched_setattr, 0, &wanted, 0);
    }
#endif
}

void gilcmp_close_files(gilcmp_files *files)
{
    if (files->syscall >= 0)
        close(files->syscall);
    if (files->schedstat >= 0)
        close(files->schedstat);
    if (files->stat >= 0)
        close(files->stat);
    *files = GILCMP_NO_FILES;
}

/* Read a file of a thread from its beginning, and open it the first time; return how much there was. */
static ssize_t read_file(int *file, uint64_t number, const char *name, char *text, size_t size)
{
    if (*file < 0) {
        char path[64];
        if (number == 0)
            return -1;
        snprintf(path, sizeof(path), "/proc/self/task/%llu/%s", (unsigned long long)number, name);
        *file = open(path, O_RDONLY | O_CLOEXEC);
        if (*file < 0)
            return -1;
    }
    ssize_t length = pread(*file, text, size - 1, 0);
    text[length > 0 ? length : 0] = 0;
    return length;
}

/* Read the next number of a text, decimal or with 0x before it; return where it ends, NULL where there is none.
 * Compiled against a new glibc, sscanf and strtoull are new functions, and a wheel would not run with an older one. */
static const char *next_number(const char *text, uint64_t *number)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t base = 10;
    const char *place, *start;
    if (text == NULL)
        return NULL;
    while (*text == ' ')
        text++;
    if (text[0] == '0' && text[1] == 'x') {
        base = 16;
        text += 2;
    }
    start = text;
    for (*number = 0; *text && (place = strchr(digits, *text)) != NULL && (uint64_t)(place - digits) < base; text++)
        *number = *number * base + (uint64_t)(place - digits);
    return text == start ? NULL : text;
}

gilcmp_run_state gilcmp_read_run_state(gilcmp_files *files, uint64_t number, uintptr_t *futex)
{
    char text[256];
    uint64_t call, address;
    *futex = 0;
    if (read_file(&files->syscall, number, "syscall", text, sizeof(text)) <= 0)
        return GILCMP_UNKNOWN;
    if (text[0] == 'r') /* "running" */
        return GILCMP_RUNNING;
    if (next_number(next_number(text, &call), &address) != NULL && call == SYS_futex)
        *futex = (uintptr_t)address;
    return GILCMP_WAITING;
}

int gilcmp_read_clocks(gilcmp_files *files, uint64_t number, int64_t *cpu, int64_t *delay)
{
    char text[96];
    uint64_t values[2];
    if (read_file(&files->schedstat, number, "schedstat", text, sizeof(text)) <= 0
        || next_number(next_number(text, &values[0]), &values[1]) == NULL)
        return 0;
    *cpu = (int64_t)values[0];
    *delay = (int64_t)values[1];
    return 1;
}

/* Read a number of a thread's "stat" file, counted from 1 (proc_pid_stat(5)); 0: it is not told. */
static int read_stat(gilcmp_files *files, uint64_t number, int wanted, uint64_t *value)
{
    char text[768];
    const char *place;
    if (read_file(&files->stat, number, "stat", text, sizeof(text)) <= 0)
        return 0;
    place = strrchr(text, ')'); /* the end of the second one, a name that may hold anything */
    for (int field = 2; field < wanted && place != NULL; field++)
        place = strchr(place + 1, ' ');
    return next_number(place, value) != NULL;
}

int64_t gilcmp_read_system_time(gilcmp_files *files, uint64_t number)
{
    uint64_t ticks;
    const long per_second = sysconf(_SC_CLK_TCK);
    return per_second > 0 && read_stat(files, number, 15, &ticks) ? (int64_t)(ticks * (uint64_t)(1000000000 / per_second)) : -1;
}

int gilcmp_read_name(uint64_t number, char *name, size_t size)
{
    int file = -1;
    const ssize_t length = read_file(&file, number, "comm", name, size);
    if (file >= 0)
        close(file);
    for (ssize_t i = 0; i < length; i++)
        if ((unsigned char)name[i] < ' ')
            name[i] = 0; /* the end of the line */
    return length > 0;
}

uintptr_t gilcmp_main_stack(void)
{
    gilcmp_files files = GILCMP_NO_FILES;
    uint64_t start = 0;
    const int told = read_stat(&files, (uint64_t)getpid(), 28, &start);
    gilcmp_close_files(&files);
    return told ? (uintptr_t)start : 0;
}

int64_t gilcmp_cpu_time(uint64_t number)
{
    /* the kernel's own name for the clock of a thread: what pthread_getcpuclockid makes of a pthread_t */
    const clockid_t clock = (clockid_t)(~(uint32_t)number << 3 | 6);
    struct timespec time;
    if (number == 0 || clock_gettime(clock, &time) != 0)
        return -1;
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

#else

int64_t gilcmp_cpu_time(uint64_t number)
{
    (void)number;
    return -1;
}

int64_t gilcmp_read_system_time(gilcmp_files *files, uint64_t number)
{
    (void)files, (void)number;
    return -1;
}

uintptr_t gilcmp_main_stack(void)
{
    return 0;
}

int gilcmp_read_name(uint64_t number, char *name, size_t size)
{
    (void)number, (void)name, (void)size;
    return 0;
}

int gilcmp_own_files(int kept)
{
    (void)kept;
    return 0;
}

void gilcmp_close_files(gilcmp_files *files)
{
    (void)files;
}

gilcmp_run_state gilcmp_read_run_state(gilcmp_files *files, uint64_t number, uintptr_t *futex)
{
    (void)files, (void)number, (void)futex;
    return GILCMP_UNKNOWN;
}

int gilcmp_read_clocks(gilcmp_files *files, uint64_t number, int64_t *cpu, int64_t *delay)
{
    (void)files, (void)number, (void)cpu, (void)delay;
    return 0;
}

void gilcmp_ask_for_short_slices(void)
{
}

#endif
