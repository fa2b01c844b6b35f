/* Where the interpreter keeps its lock and its threads, and how to read them without ever asking for the lock.
 *
 * Everything in this folder's .c files is plain C without Python objects: it cannot take the GIL by accident. */
#ifndef GILCMP_GIL_LOCK_H
#define GILCMP_GIL_LOCK_H

#include <Python.h>
#include <stddef.h>
#include <stdint.h>

/* Values shared between threads without a lock. */
#if defined(__GNUC__) || defined(__clang__)
#define LOAD(value) __atomic_load_n(&(value), __ATOMIC_ACQUIRE)
#define STORE(value, new) __atomic_store_n(&(value), (new), __ATOMIC_RELEASE)
#define EXCHANGE(value, new) __atomic_exchange_n(&(value), (new), __ATOMIC_ACQ_REL)
#else /* MSVC gives volatile this meaning by itself */
#include <intrin.h>
#define LOAD(value) (value)
#define STORE(value, new) ((value) = (new))
#define EXCHANGE(value, new) _InterlockedExchange((volatile long *)&(value), (new))
#endif

/* Words that the interpreter writes under a lock of its own, and that are looked at without it: what is read may be out of
 * date by a moment, and is never trusted for more than that. ThreadSanitizer is told so. */
#if defined(__GNUC__) || defined(__clang__)
#define LOOKS_WITHOUT_LOCK __attribute__((no_sanitize("thread")))
#else
#define LOOKS_WITHOUT_LOCK
#endif

/* The lock of one interpreter, or, on a build without a lock, the state of one thread. */
typedef struct {
    const volatile int *word;     /* 1: locked. NULL: free-threaded build */
    void *const volatile *holder; /* the thread state that has it, or had it last */
    const PyThreadState *self;    /* the thread state that is watched */
    uint64_t self_id;             /* never given twice, unlike addresses */
} gilcmp_lock;

typedef enum { GILCMP_FREE = 0, GILCMP_SELF = 1, GILCMP_OTHER = 2 } gilcmp_state;

/* Find the lock of the calling thread's interpreter, to watch that thread. Returns NULL, or the reason why it
 * cannot be watched. The caller is attached. */
const char *gilcmp_find_lock(gilcmp_lock *lock);

/* Read who holds the lock. Without a lock, to hold it means: to be attached. `holder` may be NULL. */
gilcmp_state gilcmp_read_lock(const gilcmp_lock *lock, const void **holder);

/* Where an interpreter keeps what a recorder reads besides the lock. */
typedef struct {
    gilcmp_lock lock;
    PyInterpreterState *interpreter;
    PyThreadState *const *threads;            /* the list of its thread states begins here */
    const char *gil, *gil_end;                /* a thread asleep on an address in between waits for the GIL */
    const volatile unsigned long *hand_overs; /* the interpreter's count of changes from thread to thread, or NULL */
} gilcmp_places;

/* Find them for the calling thread's interpreter. Returns NULL, or the reason why that cannot be. The caller is attached. */
const char *gilcmp_find_places(gilcmp_places *places);

/* Walk along the interpreter's list of threads, which others change meanwhile, and show each with a copy of its state;
 * `most`: how many at most. A walk may end early where a thread ended during it: the next one sees more. */
void gilcmp_each_thread(const gilcmp_places *places, int most,
                        void (*show)(void *argument, const PyThreadState *state, const PyThreadState *copy), void *argument);

/* Copy memory of this process that may be freed or unmapped meanwhile; 0 where it is gone. It cannot fault. */
int gilcmp_safe_read(void *to, const void *from, size_t size);

#ifdef Py_GIL_DISABLED
/* Read whether a thread is detached (0), attached (1) or suspended (2); -1 when the thread with that id has ended. */
int gilcmp_read_attached(const PyThreadState *state, uint64_t id);
#endif

#endif
