/* See lines.h. */
#include "lines.h"

#include <stdlib.h>
#include <string.h>

#define KEPT (GILCMP_LINES / 4)
#define NEARLY(all) ((all) - (all) / 8)

static int32_t line_at(const gilcmp_lines *lines, gilcmp_site site)
{
    return site.function < 0 ? 0 : gilcmp_line_of(&lines->functions.list[site.function], site.offset);
}

gilcmp_where gilcmp_read_where(gilcmp_lines *lines, const PyThreadState *state, PyThreadState *copy)
{
    gilcmp_site inner, outer;
    const uint64_t id = copy->id;
    gilcmp_read_sites(&lines->functions, copy, &inner, &outer);
    for (int tries = 0; tries < 3 && inner.function < 0; tries++) {
        if (!gilcmp_safe_read(copy, state, sizeof(*copy)) || copy->id != id)
            break;
        gilcmp_read_sites(&lines->functions, copy, &inner, &outer);
    }
    return (gilcmp_where){inner.function, line_at(lines, inner), outer.function, line_at(lines, outer)};
}

int gilcmp_is_idle(gilcmp_lines *lines, const PyThreadState *state, uint64_t id, PyThreadState *copy)
{
    if (!gilcmp_safe_read(copy, state, sizeof(*copy)) || copy->id != id)
        return 1; /* it has ended */
    const gilcmp_where where = gilcmp_read_where(lines, state, copy);
    return where.inner >= 0 && lines->functions.list[where.inner].is_idle;
}

static gilcmp_line *find_line(gilcmp_lines *lines, int32_t thread, gilcmp_where where)
{
    const uint32_t size = 2 * GILCMP_LINES;
    const uint64_t hash = (uint64_t)(uint32_t)where.inner << 42 ^ (uint64_t)(uint32_t)where.inner_line << 21
        ^ (uint64_t)(uint32_t)where.outer << 10 ^ (uint64_t)(uint32_t)where.outer_line ^ (uint64_t)(uint32_t)thread << 33;
    uint32_t slot = (uint32_t)(hash * UINT64_C(0x9E3779B97F4A7C15) >> 40) % size;
    for (; lines->slots[slot] != 0; slot = (slot + 1) % size) {
        gilcmp_line *line = &lines->list[lines->slots[slot] - 1];
        if (line->thread == thread && memcmp(&line->where, &where, sizeof(where)) == 0)
            return line;
    }
    if (lines->n == GILCMP_LINES)
        return &lines->rest;
    gilcmp_line *line = &lines->list[lines->n];
    memset(line, 0, sizeof(*line));
    line->where = where;
    line->thread = thread;
    lines->slots[slot] = ++lines->n;
    return line;
}

int32_t gilcmp_count_line(gilcmp_lines *lines, int32_t thread, gilcmp_where where, int64_t held, int64_t waited)
{
    gilcmp_line *line = find_line(lines, thread, where);
    line->held += held;
    line->waited += waited;
    line->looks++;
    return line == &lines->rest ? -1 : (int32_t)(line - lines->list);
}

static int by_time(const void *one, const void *other)
{
    const gilcmp_line *a = one, *b = other;
    const int64_t first = a->held + a->waited, second = b->held + b->waited;
    return first < second ? 1 : first > second ? -1 : 0;
}

int gilcmp_lines_are_full(const gilcmp_lines *lines)
{
    return lines->n >= NEARLY(GILCMP_LINES) || lines->functions.n >= NEARLY(GILCMP_FUNCTIONS);
}

void gilcmp_make_room(gilcmp_lines *lines, gilcmp_where **kept, int n)
{
    gilcmp_functions *functions = &lines->functions;
    int32_t new_index[GILCMP_FUNCTIONS];
    qsort(lines->list, (size_t)lines->n, sizeof(lines->list[0]), by_time);
    for (; lines->n > KEPT; lines->n--) {
        const gilcmp_line *line = &lines->list[lines->n - 1];
        lines->rest.held += line->held;
        lines->rest.waited += line->waited;
        lines->rest.looks += line->looks;
    }
    memset(new_index, 0, sizeof(new_index)); /* at first: 1 for those in use */
    for (int32_t i = 0; i < lines->n + n; i++) {
        const gilcmp_where *where = i < lines->n ? &lines->list[i].where : kept[i - lines->n];
        if (where->inner >= 0)
            new_index[where->inner] = 1;
        if (where->outer >= 0)
            new_index[where->outer] = 1;
    }
    gilcmp_keep_functions(functions, new_index);
    memset(lines->slots, 0, sizeof(lines->slots));
    const int32_t n_lines = lines->n;
    for (int32_t i = 0; i < n_lines + n; i++) {
        gilcmp_where *where = i < n_lines ? &lines->list[i].where : kept[i - n_lines];
        where->inner = where->inner < 0 ? -1 : new_index[where->inner];
        where->outer = where->outer < 0 ? -1 : new_index[where->outer];
    }
    lines->n = 0;
    for (int32_t i = 0; i < n_lines; i++) {
        const gilcmp_line line = lines->list[i]; /* it finds its own place again */
        *find_line(lines, line.thread, line.where) = line;
    }
}
