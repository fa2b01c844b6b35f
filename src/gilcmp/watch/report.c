/* See report.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#ifdef _WIN32
#include <io.h>
#else
#include <errno.h>
#include <poll.h>
#include <unistd.h>
#endif

#define DEEPEST 40        /* frames of a stack */
#define CHUNK 512         /* a pipe that is ready takes so much without making us wait (POSIX: at least 512) */
#define PATIENCE 100      /* milliseconds for a file that is not ready: a pipe that nobody empties */

/* ---- text -------------------------------------------------------------------------------------------------------- */

static void add(gilcmp_monitor *monitor, const char *format, ...)
{
    const size_t room = sizeof(monitor->report) - monitor->report_size;
    va_list values;
    va_start(values, format);
    const int size = vsnprintf(monitor->report + monitor->report_size, room, format, values);
    va_end(values);
    if (size > 0)
        monitor->report_size += (size_t)size < room ? (size_t)size : room - 1;
}

/* Add a text in UTF-8. */
static void add_text(gilcmp_monitor *monitor, const gilcmp_text *text)
{
    for (int32_t place = 0; text->text != NULL && place + text->kind <= text->size; place += text->kind) {
        uint32_t code = (unsigned char)text->text[place];
        if (text->kind == 2) {
            uint16_t two;
            memcpy(&two, text->text + place, sizeof(two));
            code = two;
        } else if (text->kind == 4)
            memcpy(&code, text->text + place, sizeof(code));
        if (code < 0x80)
            add(monitor, "%c", code < 0x20 ? '?' : (int)code);
        else if (code < 0x800)
            add(monitor, "%c%c", (int)(0xC0 | code >> 6), (int)(0x80 | (code & 63)));
        else if (code < 0x10000)
            add(monitor, "%c%c%c", (int)(0xE0 | code >> 12), (int)(0x80 | (code >> 6 & 63)), (int)(0x80 | (code & 63)));
        else
            add(monitor, "%c%c%c%c", (int)(0xF0 | code >> 18), (int)(0x80 | (code >> 12 & 63)),
                (int)(0x80 | (code >> 6 & 63)), (int)(0x80 | (code & 63)));
    }
}

static void add_place(gilcmp_monitor *monitor, int32_t function, int32_t line)
{
    if (function < 0) {
        add(monitor, "a place that could not be read");
        return;
    }
    const gilcmp_function *const found = &monitor->lines.functions.list[function];
    add_text(monitor, &found->file);
    add(monitor, ":%d in ", (int)line);
    add_text(monitor, &found->name);
}

/* Add a thread's number, and its name: from 3.14 on the interpreter tells the system, before that all are called like the
 * main thread. */
static void add_thread(gilcmp_monitor *monitor, uint64_t native, uint64_t ident)
{
    char name[64], first[64];
    add(monitor, "thread %llu", (unsigned long long)(native != 0 ? native : ident));
#ifdef __linux__
    if (native == (uint64_t)getpid())
        add(monitor, " (the main thread)");
    else if (gilcmp_read_name(native, name, sizeof(name)) && gilcmp_read_name((uint64_t)getpid(), first, sizeof(first))
             && strcmp(name, first) != 0)
        add(monitor, " (%s)", name);
#else
    (void)name, (void)first;
#endif
}

static void add_stack(gilcmp_monitor *monitor, const PyThreadState *copy)
{
    gilcmp_site sites[DEEPEST];
    const int n = gilcmp_read_stack(&monitor->lines.functions, copy, sites, DEEPEST);
    for (int i = 0; i < n; i++) {
        const int32_t function = sites[i].function;
        const int32_t line = function < 0 ? 0 : gilcmp_line_of(&monitor->lines.functions.list[function], sites[i].offset);
        if (function >= 0 && line == 0)
            continue; /* the interpreter's own */
        add(monitor, "    ");
        add_place(monitor, function, line);
        add(monitor, "\n");
    }
    if (n == 0)
        add(monitor, "    its stack could not be read\n");
    else if (n == DEEPEST)
        add(monitor, "    ...\n");
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

static int is_ready(int file)
{
#ifdef _WIN32
    (void)file;
    return 1;
#else
    struct pollfd wanted = {.fd = file, .events = POLLOUT};
    return poll(&wanted, 1, PATIENCE) == 1 && !(wanted.revents & (POLLERR | POLLHUP | POLLNVAL));
#endif
}

/* Write the report; a file that takes nothing is not waited for. */
static void flush(gilcmp_monitor *monitor)
{
    size_t done = 0;
    const int64_t latest = gilcmp_now() + PATIENCE * INT64_C(1000000);
    if (monitor->how.file < 0)
        return;
    while (done < monitor->report_size && gilcmp_now() < latest && !LOAD(monitor->watcher.stop)
           && is_ready(monitor->how.file)) {
        const size_t left = monitor->report_size - done, size = left < CHUNK ? left : CHUNK;
#ifdef _WIN32
        const int written = _write(monitor->how.file, monitor->report + done, (unsigned)size);
#else
        const ssize_t written = write(monitor->how.file, monitor->report + done, size);
        if (written < 0 && errno == EINTR)
            continue;
#endif
        if (written <= 0)
            break;
        done += (size_t)written;
    }
    monitor->failed += done < monitor->report_size;
}

/* ---- reports ----------------------------------------------------------------------------------------------------- */

#ifdef Py_GIL_DISABLED
#define HOLDS "has stopped all threads for"
#define WAITS "has waited for a lock for"
#define ENDED "they go on after"
#else
#define HOLDS "has held the GIL for"
#define WAITS "has waited for the GIL for"
#define ENDED "it has let go after"
#endif

void gilcmp_write_report(gilcmp_monitor *monitor, const gilcmp_event *event, int64_t now)
{
    monitor->report_size = 0;
    add(monitor, "gilcmp: ");
    add_thread(monitor, event->native, event->ident);
    add(monitor, " %s %.3f s", event->kind == GILCMP_LONG_HOLD ? HOLDS : WAITS, (double)(now - event->began) / 1e9);
    if (event->where.inner >= 0) {
        add(monitor, " at ");
        add_place(monitor, event->where.inner, event->where.inner_line);
    }
    if (event->no_core > (now - event->began) / 10)
        add(monitor, "; for %.3f s of that it had no CPU", (double)event->no_core / 1e9);
    add(monitor, "\n");
    for (int i = 0; i < monitor->n_threads; i++) {
        const gilcmp_monitored *const thread = &monitor->threads[i];
        if (!gilcmp_safe_read(&monitor->copy, thread->state, sizeof(monitor->copy)) || monitor->copy.id != thread->id)
            continue; /* it has ended */
        add(monitor, "  ");
        add_thread(monitor, thread->native, thread->ident);
        if (thread->waits_since != 0)
            add(monitor, ", has waited for %.3f s", (double)(now - thread->waits_since) / 1e9);
        else if (thread->ident == event->ident && event->kind == GILCMP_LONG_HOLD)
            add(monitor, ", holds");
        add(monitor, ":\n");
        add_stack(monitor, &monitor->copy);
    }
    flush(monitor);
}

void gilcmp_write_end(gilcmp_monitor *monitor, const gilcmp_event *event)
{
    monitor->report_size = 0;
    add(monitor, "gilcmp: ");
    add_thread(monitor, event->native, event->ident);
    if (event->kind == GILCMP_LONG_HOLD)
        add(monitor, ": %s %.3f s\n", ENDED, (double)(event->ended - event->began) / 1e9);
    else
        add(monitor, ": its wait is over after %.3f s\n", (double)(event->ended - event->began) / 1e9);
    flush(monitor);
}
