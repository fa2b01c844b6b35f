/* The interpreter's parking lot: which threads sleep until which lock is free (CPython 3.13 and later).
 *
 * All of the interpreter's own locks, threading.Lock from 3.14 on, and on free-threaded builds the lock of every object,
 * put a thread to sleep in one table (Python/parking_lot.c). It has no name that could be looked up: it is found by
 * parking a thread of our own and following the links of its entry. */
#ifndef GILCMP_GIL_PARKING_H
#define GILCMP_GIL_PARKING_H

#include "frames.h"

/* A thread that sleeps in the parking lot. */
typedef struct {
    uintptr_t entry;   /* on its stack */
    uintptr_t address; /* what it sleeps for */
    int64_t since;     /* when it began to wait, where it waits for a mutex; otherwise 0 */
} gilcmp_parked;

typedef struct {
    uintptr_t buckets; /* 0: not found */
} gilcmp_parking;

/* Find the table, which takes some milliseconds the first time. NULL, or the reason why it cannot be read. The caller is
 * attached. */
const char *gilcmp_find_parking(gilcmp_parking *parking);
/* In a child of fork: nobody is searching. */
void gilcmp_parking_after_fork(void);
/* Read who sleeps there now; returns how many, `most` at most. */
int gilcmp_read_parked(const gilcmp_parking *parking, gilcmp_parked *found, int most, int64_t now);
/* When a waiter for a mutex that began to wait before `now` shows when it began; 0 where the words make no sense. */
int64_t gilcmp_wait_began(int64_t fair_at, int64_t now);

/* Stop-the-world pauses: whether all threads (of this interpreter, or of all) are stopped, and on whose demand. */
typedef struct {
    const volatile unsigned char *stopped[2], *requested[2];
    PyThreadState *const volatile *requester[2];
    const volatile int *collecting; /* whether the garbage collector runs */
    const PyInterpreterState *interpreter;
} gilcmp_world;

/* A pause: who asked for it, where, and how often garbage had been collected before. What runs between two pauses may be
 * too short to be seen. */
typedef struct {
    const PyThreadState *requester; /* NULL: it is not known yet */
    gilcmp_position position;
    int64_t collections;
} gilcmp_world_pause;

/* NULL, or the reason why they cannot be seen. */
const char *gilcmp_find_world(gilcmp_world *world, const PyInterpreterState *interpreter);
/* The pause that is on, of this interpreter (0) or of all (1), with a copy of its requester's state. */
gilcmp_world_pause gilcmp_read_pause(const gilcmp_world *world, int scope, PyThreadState *copy);
int gilcmp_same_pause(const gilcmp_world_pause *one, const gilcmp_world_pause *other);

/* The critical section of a thread, from a copy of its state: which locks it has or wants. */
typedef enum { GILCMP_NO_SECTION, GILCMP_INSIDE, GILCMP_ENTERING } gilcmp_inside;
gilcmp_inside gilcmp_read_section(const PyThreadState *copy, uintptr_t *section, uintptr_t locks[2]);

/* What a lock belongs to. */
typedef enum {
    GILCMP_UNKNOWN_LOCK,
    GILCMP_OBJECT,      /* an object: its type's name, and where it begins */
    GILCMP_INTERPRETER, /* the interpreter's state: the name of the part */
    GILCMP_THE_GIL
} gilcmp_kind;

typedef struct {
    gilcmp_kind kind;
    uintptr_t object;
    char name[96];
} gilcmp_identity;

void gilcmp_identify(const PyInterpreterState *interpreter, uintptr_t lock, gilcmp_identity *identity);
/* Whether there is an object at an address; its type's name. */
int gilcmp_read_type(uintptr_t object, char *name, size_t size, Py_ssize_t *basic_size);
/* Whether an address is that of an object's own lock, and which byte is in it. */
int gilcmp_is_object_lock(uintptr_t lock, unsigned char *bits);
/* Find the thread that owns an RLock, from the address of its lock; 0: it has none, or it is no RLock. */
uint64_t gilcmp_recursive_owner(uintptr_t lock);
/* Find the lock that a running thread spins on: `entry` is the interpreter's own frame on its C stack, `operands` are the
 * objects that its Python code has just put on the stack for a call. 0 where it does not spin, as far as that can be seen. */
uintptr_t gilcmp_find_spun(const PyInterpreterState *interpreter, uintptr_t entry, uintptr_t limit, const uintptr_t *operands,
                           int n_operands);
/* Find the lock that a thread on its way into a critical section wants, an object's or that of all types: 0 where it is not
 * found. */
uintptr_t gilcmp_find_wanted(const PyInterpreterState *interpreter, uintptr_t section, uintptr_t limit);

/* The C stack of a thread: from `bottom` up to `top`; 0, 0 where that is not known. */
void gilcmp_find_stack(const PyThreadState *state, uint64_t native, uintptr_t *bottom, uintptr_t *top);
/* Whether an address lies on a stack whose top is nearer than those of the stacks that were asked about before. Of several on
 * which it may lie, as 3.13 tells only their tops, the last one so found is meant. `nearest`: 0 before the first. */
int gilcmp_lies_on(uintptr_t address, uintptr_t bottom, uintptr_t top, uintptr_t *nearest);

#endif
