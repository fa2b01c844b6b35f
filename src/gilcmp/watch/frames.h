/* Reading which line of Python a thread is in, while it runs, without stopping it or asking it anything.
 *
 * A thread that sleeps or waits in native code does not move: what is read of it is right. A running one may be somewhere
 * else by the time that its frames have been read; what makes no sense then is dropped. */
#ifndef GILCMP_GIL_FRAMES_H
#define GILCMP_GIL_FRAMES_H

#include "lock.h"

/* A place in a function: which of the copied functions (-1: unknown), and how many bytes into its bytecode. */
typedef struct {
    int32_t function, offset;
} gilcmp_site;

#define GILCMP_NO_SITE ((gilcmp_site){-1, 0})

/* A text copied from a str object: `kind` bytes a character. */
typedef struct {
    char *text;
    int32_t size, kind;
} gilcmp_text;

/* What was copied of a function's code when it was first seen: the code itself may be freed later. */
typedef struct {
    uintptr_t code, table, names; /* addresses: of the code, its table of lines, and its names together */
    int32_t first_line, lines_size;
    int32_t is_library, is_idle; /* whose it is; whether it sleeps to be told something, for no lock that somebody has */
    gilcmp_text file, name;
    char *lines; /* co_linetable */
} gilcmp_function;

#define GILCMP_FUNCTIONS 2048

typedef struct {
    gilcmp_function list[GILCMP_FUNCTIONS];
    int32_t n, slots[2 * GILCMP_FUNCTIONS];
    char library[512]; /* the folder of the standard library; what lies in there, and not in site-packages, is part of it */
} gilcmp_functions;

/* Where a thread is, from a copy of its state: its innermost frame, and the innermost one outside the standard library;
 * either may be unknown. */
void gilcmp_read_sites(gilcmp_functions *functions, const PyThreadState *copy, gilcmp_site *inner, gilcmp_site *outer);

/* All frames of a thread, the innermost first; returns how many, `most` at most. It ends where one makes no sense. */
int gilcmp_read_stack(gilcmp_functions *functions, const PyThreadState *copy, gilcmp_site *sites, int most);

/* The innermost frame, the instruction that it is at, and what its variables and operands refer to, in a number: as long
 * as these stay, the thread is in one native call; a loop that is back at the same place has mostly changed a variable. */
typedef struct {
    uintptr_t frame, instruction;
    uint64_t variables;
} gilcmp_position;
gilcmp_position gilcmp_read_position(const PyThreadState *copy);
int gilcmp_same_position(const gilcmp_position *one, const gilcmp_position *other);

/* The number of the line that an offset into a function's bytecode belongs to (PEP 626); 0: none. */
int32_t gilcmp_line_of(const gilcmp_function *function, int32_t offset);

#define GILCMP_OPERANDS 4

/* What the innermost frame has put on its stack for the native call that it is in, the latest first. Returns how many; 0: it
 * is in none. `entry`: where on the C stack the interpreter's loop keeps its own frame, or 0. CPython 3.14 and later. */
int gilcmp_read_operands(const PyThreadState *copy, uintptr_t *operands, uintptr_t *entry);

/* Check on the calling thread, which is attached and runs Python code, that frames are read rightly: NULL or a reason. */
const char *gilcmp_check_frames(void);

/* Forget all functions but those with a 1 in `wanted`, which is given their new numbers. */
void gilcmp_keep_functions(gilcmp_functions *functions, int32_t *wanted);
void gilcmp_free_functions(gilcmp_functions *functions);

#endif
