/* See lock.h. This is the one file that needs CPython's internal headers.
 *
 * What is read here, and why it is there to be read:
 *   - The lock of the main interpreter lives as long as the process. That of another interpreter lives until the interpreter
 *     ends, which ends its watchers first (gilcmp_end_all, called by atexit). These are plain atomic loads.
 *   - Thread states are freed whenever a thread ends. Only gilcmp_safe_read reads them: it asks the kernel to copy them
 *     and cannot fault. What was read is trusted only if it has the id of the thread in question. */
#ifndef Py_BUILD_CORE_MODULE
#define Py_BUILD_CORE_MODULE 1
#endif
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* process_vm_readv */
#endif
#include "lock.h"
#include "watcher.h"

#include <string.h>

#if PY_VERSION_HEX < 0x030C0000
#include <internal/pycore_interp.h>
#include <internal/pycore_runtime.h>
#elif PY_VERSION_HEX < 0x030D0000
#include <internal/pycore_interp.h>
#else
#include <internal/pycore_gil.h>
#include <internal/pycore_runtime.h>
#endif

#if defined(__linux__)
#include <sys/uio.h>
#include <unistd.h>
#elif defined(__APPLE__)
#include <mach/mach.h>
#elif defined(_WIN32)
#include <windows.h>
#endif

/* ---- the lock -------------------------------------------------------------------------------------------- */

#ifdef Py_GIL_DISABLED

/* Without a lock each thread is attached to the interpreter or not (pycore_pystate.h: 0 detached, 1 attached,
 * 2 suspended by a stop-the-world pause). */
static const char *locate(gilcmp_lock *lock, const PyThreadState *self)
{
    int state;
    (void)lock;
    return gilcmp_safe_read(&state, &self->state, sizeof(state))
        ? NULL : "this system does not let a process read its own memory safely";
}

#elif PY_VERSION_HEX < 0x030C0000

/* 3.11: one lock for all interpreters of the process (Python/ceval_gil.h). */
static const char *locate(gilcmp_lock *lock, const PyThreadState *self)
{
    (void)self;
    lock->word = (const volatile int *)&_PyRuntime.ceval.gil.locked._value;
    lock->holder = (void *const volatile *)&_PyRuntime.ceval.gil.last_holder._value;
    return NULL;
}

#elif PY_VERSION_HEX < 0x030D0000

/* 3.12: the interpreter points to its lock, its own or the main interpreter's (PEP 684). */
static const char *locate(gilcmp_lock *lock, const PyThreadState *self)
{
    struct _gil_runtime_state *gil = self->interp->ceval.gil;
    if (gil == NULL)
        return "the interpreter has no lock";
    lock->word = (const volatile int *)&gil->locked._value;
    lock->holder = (void *const volatile *)&gil->last_holder._value;
    return NULL;
}

#else

/* 3.13 and later: the running interpreter itself says where things are (_Py_DebugOffsets). Its offsets of
 * `locked` and `holder` count from the lock that is embedded in the interpreter's state; the lock that is really
 * used is the one that ceval.gil points to. */
static const char *locate(gilcmp_lock *lock, const PyThreadState *self)
{
    const _Py_DebugOffsets *offsets = &_PyRuntime.debug_offsets;
    if (memcmp(offsets->cookie, _Py_Debug_Cookie, sizeof(offsets->cookie)) != 0)
        return "the interpreter's debug offsets do not begin with their cookie";
    if (offsets->version >> 16 != (uint64_t)PY_VERSION_HEX >> 16)
        return "gilcmp was built for another version of Python";
    const char *interpreter = (const char *)self->interp;
    const char *gil = *(const char *const *)(interpreter + offsets->interpreter_state.ceval_gil);
    uint64_t base = offsets->interpreter_state.gil_runtime_state;
    if (gil == NULL || offsets->interpreter_state.gil_runtime_state_locked < base)
        return "the interpreter's debug offsets make no sense";
    lock->word = (const volatile int *)(gil + (offsets->interpreter_state.gil_runtime_state_locked - base));
    lock->holder = (void *const volatile *)(gil + (offsets->interpreter_state.gil_runtime_state_holder - base));
    return NULL;
}

#endif

#ifdef Py_GIL_DISABLED

int gilcmp_read_attached(const PyThreadState *state, uint64_t id)
{
    enum {
        FROM = offsetof(PyThreadState, state),
        ID = offsetof(PyThreadState, id) - FROM,
    };
    char copy[ID + sizeof(uint64_t)]; /* from one to the other, at one moment */
    int attached;
    if (!gilcmp_safe_read(copy, (const char *)state + FROM, sizeof(copy)) || memcmp(copy + ID, &id, sizeof(id)) != 0)
        return -1;
    memcpy(&attached, copy, sizeof(attached));
    return attached;
}

gilcmp_state gilcmp_read_lock(const gilcmp_lock *lock, const void **holder)
{
    if (holder != NULL)
        *holder = NULL;
    return gilcmp_read_attached(lock->self, lock->self_id) == 1 ? GILCMP_SELF : GILCMP_FREE;
}

#else

gilcmp_state gilcmp_read_lock(const gilcmp_lock *lock, const void **holder)
{
    /* Aligned words that others write atomically. The two are not read at the same moment, which can misattribute only
     * a sample that falls on a hand-over. */
    const int locked = LOAD(*lock->word) == 1;
    const void *const latest = LOAD(*lock->holder);
    if (holder != NULL)
        *holder = latest;
    return !locked ? GILCMP_FREE : latest == lock->self ? GILCMP_SELF : GILCMP_OTHER;
}

#endif

const char *gilcmp_find_lock(gilcmp_lock *lock)
{
    PyThreadState *self = PyThreadState_Get();
    memset(lock, 0, sizeof(*lock));
    lock->self = self;
    lock->self_id = self->id;
    const char *reason = locate(lock, self);
    if (reason != NULL)
        return reason;
    if (gilcmp_read_lock(lock, NULL) != GILCMP_SELF)
        return "the lock does not look held by the thread that holds it";
    gilcmp_state released;
    Py_BEGIN_ALLOW_THREADS
    released = gilcmp_read_lock(lock, NULL);
    /* a thread that takes the lock sets `locked` first, the holder a moment later: until then it looks like us */
    for (int tries = 0; released == GILCMP_SELF && tries < 1000; tries++) {
        gilcmp_pause(20000);
        released = gilcmp_read_lock(lock, NULL);
    }
    Py_END_ALLOW_THREADS
    if (released == GILCMP_SELF)
        return "the lock looks held by a thread that has released it";
    return NULL;
}

/* ---- the threads ------------------------------------------------------------------------------------------ */

#if PY_VERSION_HEX < 0x030D0000

static const char *locate_threads(gilcmp_places *places, PyThreadState *self)
{
    places->threads = &self->interp->threads.head;
#if PY_VERSION_HEX < 0x030C0000
    const struct _gil_runtime_state *gil = &_PyRuntime.ceval.gil;
#else
    const struct _gil_runtime_state *gil = self->interp->ceval.gil;
#endif
    places->gil = (const char *)gil;
    places->gil_end = places->gil + sizeof(*gil);
    places->hand_overs = &gil->switch_number;
    return NULL;
}

#else

static const char *locate_threads(gilcmp_places *places, PyThreadState *self)
{
    const _Py_DebugOffsets *offsets = &_PyRuntime.debug_offsets;
    const char *interpreter = (const char *)self->interp;
    places->threads = (PyThreadState *const *)(interpreter + offsets->interpreter_state.threads_head);
#ifndef Py_GIL_DISABLED
    /* the rest of the lock's layout is not published: use the headers, if they agree with the published part */
    places->gil = (const char *)places->lock.word - offsetof(struct _gil_runtime_state, locked);
    if ((const void *)places->lock.holder != places->gil + offsetof(struct _gil_runtime_state, last_holder))
        return "the lock's layout is not that of the headers gilcmp was built with";
    places->gil_end = places->gil + sizeof(struct _gil_runtime_state);
    places->hand_overs = &((const struct _gil_runtime_state *)places->gil)->switch_number;
#endif
    return NULL;
}

#endif

/* Whether a thread is in its interpreter's list, which others change meanwhile: 1, 0, or -1 where memory cannot be read. */
static int is_listed(const gilcmp_places *places, const PyThreadState *self)
{
    PyThreadState *state;
    PyThreadState copy;
    for (int tries = 0; tries < 100; tries++) {
        if (!gilcmp_safe_read(&state, (const void *)places->threads, sizeof(state))
            || !gilcmp_safe_read(&copy, self, sizeof(copy)))
            return -1;
        for (int steps = 0; steps < 100000 && state != self && state != NULL; steps++)
            state = gilcmp_safe_read(&copy, state, sizeof(copy)) ? copy.next : NULL;
        if (state == self)
            return 1;
    }
    return 0;
}

const char *gilcmp_find_places(gilcmp_places *places)
{
    PyThreadState *self = PyThreadState_Get();
    memset(places, 0, sizeof(*places));
    const char *reason = gilcmp_find_lock(&places->lock);
    if (reason == NULL)
        reason = locate_threads(places, self);
    if (reason != NULL)
        return reason;
    places->interpreter = self->interp;
    const int listed = is_listed(places, self);
    return listed > 0 ? NULL
        : listed < 0  ? "this system does not let a process read its own memory safely"
                      : "the list of the interpreter's threads is not where it should be";
}

void gilcmp_each_thread(const gilcmp_places *places, int most,
                        void (*show)(void *argument, const PyThreadState *state, const PyThreadState *copy), void *argument)
{
    PyThreadState *state, copy;
    if (!gilcmp_safe_read(&state, (const void *)places->threads, sizeof(state)))
        return;
    for (int steps = 0; state != NULL && steps < most; steps++, state = copy.next) {
        if (!gilcmp_safe_read(&copy, state, sizeof(copy)) || copy.interp != places->interpreter)
            return;
        show(argument, state, &copy);
    }
}

int gilcmp_safe_read(void *to, const void *from, size_t size)
{
#if defined(__linux__)
    struct iovec here = {to, size}, there = {(void *)from, size};
    return process_vm_readv(getpid(), &here, 1, &there, 1, 0) == (ssize_t)size;
#elif defined(__APPLE__)
    vm_size_t done = 0;
    return vm_read_overwrite(mach_task_self(), (vm_address_t)from, size, (vm_address_t)to, &done) == KERN_SUCCESS
        && done == size;
#elif defined(_WIN32)
    SIZE_T done = 0;
    return ReadProcessMemory(GetCurrentProcess(), from, to, size, &done) && done == size;
#else
    (void)to, (void)from, (void)size;
    return 0;
#endif
}
