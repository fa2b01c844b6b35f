/* Adding up time by lines of Python, in bounded memory however many functions come and go. */
#ifndef GILCMP_GIL_LINES_H
#define GILCMP_GIL_LINES_H

#include "frames.h"

/* Where a thread is: the innermost line, and the innermost one outside the standard library. Function -1: unknown. */
typedef struct {
    int32_t inner, inner_line, outer, outer_line;
} gilcmp_where;

#define GILCMP_NOWHERE ((gilcmp_where){-1, 0, -1, 0})

typedef struct {
    gilcmp_where where;
    int32_t thread;        /* whose: a number of the caller's */
    int64_t held, waited;  /* nanoseconds: of the thread itself, and of others behind it */
    int64_t looks;
} gilcmp_line;

#define GILCMP_LINES 2048

typedef struct {
    gilcmp_functions functions;
    gilcmp_line list[GILCMP_LINES];
    int32_t n, slots[2 * GILCMP_LINES];
    gilcmp_line rest;      /* lines for which there was no room any more: those with the least */
} gilcmp_lines;

/* Read where a thread is, from a copy of its state; where that makes no sense since it has moved on, the copy is made anew. */
gilcmp_where gilcmp_read_where(gilcmp_lines *lines, const PyThreadState *state, PyThreadState *copy);
/* Whether a thread sleeps to be told something, and not for a lock that another one has: by the function that it is in. */
int gilcmp_is_idle(gilcmp_lines *lines, const PyThreadState *state, uint64_t id, PyThreadState *copy);
/* Add to a line's figures; returns its index, -1 where there was no room for it. */
int32_t gilcmp_count_line(gilcmp_lines *lines, int32_t thread, gilcmp_where where, int64_t held, int64_t waited);
/* Whether there is hardly any room left. */
int gilcmp_lines_are_full(const gilcmp_lines *lines);
/* Put the lines with the least together, and forget their functions. Places that were read before mean nothing afterwards,
 * but for the `n` that are given. */
void gilcmp_make_room(gilcmp_lines *lines, gilcmp_where **kept, int n);

#endif
