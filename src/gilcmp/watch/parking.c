/* See parking.h. The layouts are private to each version of Python: those that have no header are written down here, and
 * checked by gilcmp_find_parking on a thread that is made to sleep. */
#ifndef Py_BUILD_CORE_MODULE
#define Py_BUILD_CORE_MODULE 1
#endif
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "parking.h"
#include "threads.h"
#include "watcher.h"

#include <string.h>

#if PY_VERSION_HEX >= 0x030D0000

#include <internal/pycore_interp.h>
#include <internal/pycore_llist.h>
#include <internal/pycore_lock.h>
#include <internal/pycore_runtime.h>
#include <internal/pycore_semaphore.h>
#include <internal/pycore_tstate.h>

#ifdef __linux__
#include <sys/resource.h>
#include <unistd.h>
#endif

#define BUCKETS 257
#define MOST_IN_BUCKET 1000
#define FAIR 1000000        /* nanoseconds after which a waiter is given the lock (Python/lock.c) */
#define PAGE_BYTES ((uintptr_t)4096) /* or a part of one */
#define NEARBY 8192           /* bytes of a stack within which a waiter's variables lie */
#define SEARCHED 768        /* bytes below a critical section in which its lock is looked for */
#define BELOW_LOOP 2560     /* bytes below the interpreter's loop in which a lock that is spun on is looked for */
#define DEFAULT_STACK ((size_t)8 << 20) /* bytes of a stack where the system sets no limit */
#define YIELDS 40           /* of a thread before it sleeps (Python/lock.c) */
#define LONGEST_SPIN 1500000 /* nanoseconds: what began earlier was left behind by an older wait */
#define MOST_SIZE 4096      /* bytes of an object in which a lock is looked for */

/* Python/parking_lot.c and Python/lock.c */
typedef struct {
    _PyRawMutex mutex;
    struct llist_node root;
    size_t num_waiters;
} bucket;

typedef struct {
    void *park_arg;
    uintptr_t addr;
    _PySemaphore sema;
    struct llist_node node;
    unsigned char is_unparking;
} waiter;

typedef struct {
    int64_t fair_at;
    int handed_off;
} mutex_waiter;

static int64_t spinning_takes; /* nanoseconds for the yields before a thread sleeps, where nobody else wants the CPU */

/* ---- the table --------------------------------------------------------------------------------------------- */

int64_t gilcmp_wait_began(int64_t fair_at, int64_t now)
{
    const int64_t began = fair_at - FAIR;
    return began > 0 && began <= now + FAIR ? began : 0;
}

LOOKS_WITHOUT_LOCK
int gilcmp_read_parked(const gilcmp_parking *parking, gilcmp_parked *found, int most, int64_t now)
{
    const volatile bucket *const buckets = (const volatile bucket *)parking->buckets;
    int n = 0;
    for (uintptr_t i = 0; buckets != NULL && i < BUCKETS; i++) {
        if (buckets[i].num_waiters == 0)
            continue;
        const uintptr_t root = (uintptr_t)&buckets[i].root;
        uintptr_t before = root, node = (uintptr_t)buckets[i].root.next;
        waiter entry;
        for (int steps = 0; node != root && steps < MOST_IN_BUCKET && n < most; steps++) {
            const uintptr_t at = node - offsetof(waiter, node);
            if ((node & 7) != 0 || !gilcmp_safe_read(&entry, (const void *)at, sizeof(entry))
                || entry.addr % BUCKETS != i || (uintptr_t)entry.node.prev != before)
                break; /* it was woken meanwhile, and with it the way to the others is lost */
            gilcmp_parked parked = {at, entry.addr, 0};
            const uintptr_t argument = (uintptr_t)entry.park_arg;
            mutex_waiter mutex;
            if (argument > at - NEARBY && argument < at + NEARBY && gilcmp_safe_read(&mutex, entry.park_arg, sizeof(mutex))
                && (mutex.handed_off == 0 || mutex.handed_off == 1))
                parked.since = gilcmp_wait_began(mutex.fair_at, now);
            found[n++] = parked;
            before = node;
            node = (uintptr_t)entry.node.next;
        }
    }
    return n;
}

/* ---- finding it, by a thread that is made to sleep ----------------------------------------------------------- */

#define TRIALS 8

static struct {
    PyMutex locks[TRIALS]; /* one byte each, so that they belong to buckets beside each other */
    PyMutex *volatile wanted;
    volatile uintptr_t stack; /* of the thread that sleeps */
    PyThread_type_lock ended;
} trial;

static void sleep_for_lock(void *nothing)
{
    volatile char here = 0;
    (void)nothing, (void)here;
    PyMutex *const lock = trial.wanted;
    STORE(trial.stack, (uintptr_t)&here);
    PyMutex_Lock(lock);
    PyMutex_Unlock(lock);
    PyThread_release_lock(trial.ended);
}

/* Follow the links of a thread that sleeps for a lock to the table, if nobody else sleeps in the same bucket: 0 where no
 * sleeper was found on the stack. */
static uintptr_t follow(uintptr_t lock, uintptr_t stack)
{
    uintptr_t words[NEARBY / sizeof(uintptr_t)];
    const uintptr_t from = (stack & ~(uintptr_t)7) - sizeof(words);
    if (!gilcmp_safe_read(words, (const void *)from, sizeof(words)))
        return 0;
    for (size_t i = 1; i + sizeof(waiter) / sizeof(uintptr_t) < NEARBY / sizeof(uintptr_t); i++) {
        if (words[i] != lock)
            continue;
        waiter entry;
        struct llist_node before, after;
        const uintptr_t at = from + i * sizeof(uintptr_t) - offsetof(waiter, addr), node = at + offsetof(waiter, node);
        memcpy(&entry, (const char *)words + (at - from), sizeof(entry));
        if (gilcmp_safe_read(&before, entry.node.prev, sizeof(before)) && (uintptr_t)before.next == node
            && gilcmp_safe_read(&after, entry.node.next, sizeof(after)) && (uintptr_t)after.prev == node)
            return (uintptr_t)entry.node.prev - offsetof(bucket, root) - (lock % BUCKETS) * sizeof(bucket);
    }
    return 0;
}

/* Make a thread sleep for a lock, and return where the table should be by that; 0: that was not found. */
static uintptr_t try_lock(PyMutex *lock)
{
    uintptr_t found = 0;
    trial.wanted = lock;
    STORE(trial.stack, (uintptr_t)0);
    PyThread_acquire_lock(trial.ended, WAIT_LOCK);
    PyMutex_Lock(lock);
    if (PyThread_start_new_thread(sleep_for_lock, NULL) == PYTHREAD_INVALID_THREAD_ID) {
        PyMutex_Unlock(lock);
        PyThread_release_lock(trial.ended);
        return 0;
    }
    const int64_t latest = gilcmp_now() + INT64_C(2000000000);
    while (found == 0 && gilcmp_now() < latest) {
        gilcmp_pause(100000);
        const uintptr_t stack = LOAD(trial.stack);
        found = stack == 0 ? 0 : follow((uintptr_t)lock, stack);
    }
    /* what is read there must be the sleeper, once */
    const gilcmp_parking parking = {found};
    gilcmp_parked seen[64];
    uintptr_t readable[BUCKETS * sizeof(bucket) / sizeof(uintptr_t)];
    int ours = 0;
    if (found != 0 && gilcmp_safe_read(readable, (const void *)found, sizeof(readable)))
        for (int i = gilcmp_read_parked(&parking, seen, 64, gilcmp_now()); i-- > 0;)
            ours += seen[i].address == (uintptr_t)lock && seen[i].since != 0;
    PyMutex_Unlock(lock);
    PyThread_acquire_lock(trial.ended, WAIT_LOCK); /* the thread is as good as over */
    PyThread_release_lock(trial.ended);
    return ours == 1 ? found : 0;
}

static volatile int searching;

void gilcmp_parking_after_fork(void)
{
    memset(&trial, 0, sizeof(trial)); /* whoever was searching, or asleep, is not here */
    searching = 0;
}

const char *gilcmp_find_parking(gilcmp_parking *parking)
{
    static uintptr_t known; /* in this process, and in its children by fork */
    Py_BEGIN_ALLOW_THREADS
    while (EXCHANGE(searching, 1))
        gilcmp_pause(20000);
    if (trial.ended == NULL)
        trial.ended = PyThread_allocate_lock();
    uintptr_t found[TRIALS] = {0};
    if (spinning_takes == 0) {
        const int64_t began = gilcmp_now();
        for (int i = 0; i < YIELDS; i++)
            gilcmp_yield();
        const int64_t took = gilcmp_now() - began;
        spinning_takes = took < LONGEST_SPIN / 10 ? took : LONGEST_SPIN / 10;
    }
    for (int i = 0; known == 0 && trial.ended != NULL && i < TRIALS; i++) {
        found[i] = try_lock(&trial.locks[i]);
        for (int before = 0; before < i; before++)
            if (found[i] != 0 && found[before] == found[i])
                known = found[i]; /* two buckets agree */
    }
    STORE(searching, 0);
    Py_END_ALLOW_THREADS
    parking->buckets = known;
    return known ? NULL : "the interpreter's table of sleeping threads was not found";
}

/* ---- the world --------------------------------------------------------------------------------------------- */

const char *gilcmp_find_world(gilcmp_world *world, const PyInterpreterState *interpreter)
{
    const _Py_DebugOffsets *offsets = &_PyRuntime.debug_offsets;
    if (offsets->interpreter_state.size != sizeof(PyInterpreterState) || offsets->runtime_state.size != sizeof(_PyRuntimeState)
        || offsets->thread_state.size != sizeof(PyThreadState))
        return "gilcmp was built for another build of this version of Python";
    const struct _stoptheworld_state *states[2] = {&interpreter->stoptheworld, &_PyRuntime.stoptheworld};
    for (int i = 0; i < 2; i++) {
        world->stopped[i] = (const volatile unsigned char *)&states[i]->world_stopped;
        world->requested[i] = (const volatile unsigned char *)&states[i]->requested;
        world->requester[i] = (PyThreadState *const volatile *)&states[i]->requester;
    }
    world->collecting = (const volatile int *)&interpreter->gc.collecting;
    world->interpreter = interpreter;
    return NULL;
}

/* How often garbage was collected. */
LOOKS_WITHOUT_LOCK
static int64_t count_collections(const struct _gc_runtime_state *gc)
{
#if PY_VERSION_HEX >= 0x030F0000
    const struct gc_stats *stats = gc->generation_stats;
    if (stats == NULL)
        return 0;
    return stats->young.items[stats->young.index].collections + stats->old[0].items[stats->old[0].index].collections
        + stats->old[1].items[stats->old[1].index].collections;
#else
    int64_t n = 0;
    for (int i = 0; i < NUM_GENERATIONS; i++)
        n += gc->generation_stats[i].collections;
    return n;
#endif
}

LOOKS_WITHOUT_LOCK
gilcmp_world_pause gilcmp_read_pause(const gilcmp_world *world, int scope, PyThreadState *copy)
{
    gilcmp_world_pause pause = {*world->requester[scope], {0, 0, 0}, count_collections(&world->interpreter->gc)};
    if (pause.requester == NULL || !gilcmp_safe_read(copy, pause.requester, sizeof(*copy)))
        pause.requester = NULL;
    else
        pause.position = gilcmp_read_position(copy);
    return pause;
}

/* ---- critical sections --------------------------------------------------------------------------------------- */

/* Include/cpython/critical_section.h */
typedef struct {
    uintptr_t before;
    uintptr_t lock, second;
} section;

gilcmp_inside gilcmp_read_section(const PyThreadState *copy, uintptr_t *at, uintptr_t locks[2])
{
    locks[0] = locks[1] = *at = 0;
#ifdef Py_GIL_DISABLED
    enum { INACTIVE = 1, TWO = 2 };
    const uintptr_t tag = copy->critical_section;
    section seen = {0, 0, 0};
    if (tag == 0 || tag & INACTIVE)
        return GILCMP_NO_SECTION;
    *at = tag & ~(uintptr_t)3;
    if (!gilcmp_safe_read(&seen, (const void *)*at, tag & TWO ? sizeof(seen) : offsetof(section, second)))
        return GILCMP_NO_SECTION;
    locks[0] = seen.lock;
    locks[1] = seen.second;
    return seen.lock == 0 ? GILCMP_ENTERING : GILCMP_INSIDE;
#else
    (void)copy;
    return GILCMP_NO_SECTION;
#endif
}

/* ---- what a lock belongs to ------------------------------------------------------------------------------------ */

int gilcmp_read_type(uintptr_t object, char *name, size_t size, Py_ssize_t *basic_size)
{
    PyObject head;
    PyTypeObject type, meta;
    if (object == 0 || object % sizeof(void *) != 0 || !gilcmp_safe_read(&head, (const void *)object, sizeof(head)))
        return 0;
    const uintptr_t at = (uintptr_t)head.ob_type;
    if (at % sizeof(void *) != 0 || !gilcmp_safe_read(&type, (const void *)at, sizeof(type))
        || !gilcmp_safe_read(&meta, Py_TYPE(&type), sizeof(meta)))
        return 0;
    const unsigned long wanted = Py_TPFLAGS_READY;
    if (!(meta.tp_flags & Py_TPFLAGS_TYPE_SUBCLASS) || (type.tp_flags & wanted) != wanted || type.tp_basicsize < (Py_ssize_t)sizeof(head)
        || type.tp_basicsize > 1 << 20)
        return 0;
    /* page by page: the name may end near the end of one */
    size_t length = 0, got = 0;
    while (got < size - 1 && length == got) {
        const uintptr_t from = (uintptr_t)type.tp_name + got;
        const size_t page = PAGE_BYTES - from % PAGE_BYTES, part = page < size - 1 - got ? page : size - 1 - got;
        if (!gilcmp_safe_read(name + got, (const void *)from, part))
            break;
        got += part;
        while (length < got && name[length] != 0)
            length++;
    }
    name[length] = 0;
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)name[i] < 32)
            return 0;
    if (basic_size != NULL)
        *basic_size = type.tp_basicsize;
    return length > 0;
}

static int read_bits(uintptr_t lock, unsigned char *bits)
{
    return gilcmp_safe_read(bits, (const void *)lock, 1) && *bits <= 3;
}

int gilcmp_is_object_lock(uintptr_t lock, unsigned char *bits)
{
#ifdef Py_GIL_DISABLED
    char name[96];
    return lock % sizeof(void *) == offsetof(PyObject, ob_mutex) % sizeof(void *) && read_bits(lock, bits)
        && gilcmp_read_type(lock - offsetof(PyObject, ob_mutex), name, sizeof(name), NULL);
#else
    (void)lock, (void)bits;
    return 0;
#endif
}

uintptr_t gilcmp_find_wanted(const PyInterpreterState *interpreter, uintptr_t at, uintptr_t limit)
{
    uintptr_t found = 0;
#ifdef Py_GIL_DISABLED
    uintptr_t words[SEARCHED / sizeof(uintptr_t)];
    const uintptr_t from = at - sizeof(words);
    unsigned char bits;
    if (from < limit || !gilcmp_safe_read(words, (const void *)from, sizeof(words)))
        return 0;
    /* whoever changes a class takes its dict's lock first, then the one of all types */
    for (size_t i = 0; i < SEARCHED / sizeof(uintptr_t); i++)
        if (words[i] == (uintptr_t)&interpreter->types.mutex && read_bits(words[i], &bits) && bits & 1)
            return words[i];
    for (size_t i = SEARCHED / sizeof(uintptr_t); i-- > 0;) { /* nearest to the section first */
        if (words[i] == found || !gilcmp_is_object_lock(words[i], &bits))
            continue;
        if (bits & 1)
            return words[i];
        if (found == 0)
            found = words[i]; /* free at this moment: it spins without looking */
    }
#else
    (void)interpreter, (void)at, (void)limit;
#endif
    return found;
}

/* A part of the interpreter's state that has locks. */
typedef struct {
    const void *from;
    size_t size;
    const char *name;
} part;

void gilcmp_identify(const PyInterpreterState *interpreter, uintptr_t lock, gilcmp_identity *identity)
{
    const part parts[] = {
        {&interpreter->types, sizeof(interpreter->types), "the type cache"},
#ifdef Py_GIL_DISABLED
        {interpreter->weakref_locks, sizeof(interpreter->weakref_locks), "the weak references' locks"},
        {&interpreter->brc, sizeof(interpreter->brc), "the queues of reference counts"},
#endif
        {&interpreter->stoptheworld, sizeof(interpreter->stoptheworld), "the right to stop the world"},
        {&_PyRuntime.stoptheworld, sizeof(_PyRuntime.stoptheworld), "the right to stop the world"},
        {&interpreter->ceval, sizeof(interpreter->ceval), "pending calls"},
        {interpreter, sizeof(*interpreter), "the interpreter's state"},
        {&_PyRuntime, sizeof(_PyRuntime), "the runtime's state"},
    };
    memset(identity, 0, sizeof(*identity));
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (lock >= (uintptr_t)parts[i].from && lock < (uintptr_t)parts[i].from + parts[i].size) {
            identity->kind = GILCMP_INTERPRETER;
            strncpy(identity->name, parts[i].name, sizeof(identity->name) - 1);
            return;
        }
    unsigned char bits;
#ifdef Py_GIL_DISABLED
    if (gilcmp_is_object_lock(lock, &bits)) {
        identity->kind = GILCMP_OBJECT;
        identity->object = lock - offsetof(PyObject, ob_mutex);
        gilcmp_read_type(identity->object, identity->name, sizeof(identity->name), NULL);
        return;
    }
#endif
    /* inside an object: the nearest head before it whose type is large enough */
    for (uintptr_t at = (lock & ~(uintptr_t)15) - sizeof(PyObject) / 16 * 16; at + MOST_SIZE > lock && at >= 4096; at -= 16) {
        Py_ssize_t size;
        if (gilcmp_read_type(at, identity->name, sizeof(identity->name), &size) && at + (uintptr_t)size > lock
            && read_bits(lock, &bits)) {
            identity->kind = GILCMP_OBJECT;
            identity->object = at;
            return;
        }
    }
    identity->name[0] = 0;
}

uint64_t gilcmp_recursive_owner(uintptr_t lock)
{
    char name[96];
    _PyRecursiveMutex copy;
    return gilcmp_read_type(lock - sizeof(PyObject), name, sizeof(name), NULL) && strcmp(name, "_thread.RLock") == 0
            && gilcmp_safe_read(&copy, (const void *)lock, sizeof(copy))
        ? (uint64_t)copy.thread : 0;
}

/* Whether an address is that of one of the interpreter's own locks that threads contend for. */
static int is_interpreter_lock(const PyInterpreterState *interpreter, uintptr_t address)
{
#ifdef Py_GIL_DISABLED
    const uintptr_t weak = (uintptr_t)interpreter->weakref_locks, counts = (uintptr_t)interpreter->brc.table;
    if (address >= weak && address < weak + sizeof(interpreter->weakref_locks))
        return 1;
    return address >= counts && address < counts + sizeof(interpreter->brc.table)
        && (address - counts) % sizeof(interpreter->brc.table[0]) == offsetof(struct _brc_bucket, mutex);
#else
    (void)interpreter, (void)address;
    return 0;
#endif
}

/* The lock of the object that a call is about, if it is one of those that the C stack points to. */
static uintptr_t lock_of(uintptr_t object, int is_latest, const uintptr_t *words, size_t n)
{
    char name[96];
    Py_ssize_t size;
    unsigned char bits;
    if (!gilcmp_read_type(object, name, sizeof(name), &size))
        return 0;
    if (strcmp(name, "_thread.lock") == 0 || strcmp(name, "_thread.RLock") == 0) {
        const uintptr_t lock = object + sizeof(PyObject);
        /* with 3.14 it may be free: that version spins without looking */
        return is_latest && read_bits(lock, &bits) ? lock : 0;
    }
    for (size_t i = 0; i < n; i++) /* one that is not where a pointer could be, or is taken */
        if (words[i] >= object + sizeof(PyObject) && words[i] < object + (uintptr_t)size && read_bits(words[i], &bits)
            && (words[i] % sizeof(void *) != 0 || bits & 1))
            return words[i];
    return 0;
}

uintptr_t gilcmp_find_spun(const PyInterpreterState *interpreter, uintptr_t entry, uintptr_t limit, const uintptr_t *operands,
                           int n_operands)
{
    uintptr_t words[BELOW_LOOP / sizeof(uintptr_t)];
    const uintptr_t from = (entry & ~(uintptr_t)7) - sizeof(words);
    const size_t n = sizeof(words) / sizeof(words[0]);
    if (from < limit || !gilcmp_safe_read(words, (const void *)from, sizeof(words)))
        return 0;
    /* a wait for a lock that began a moment ago; older ones were left behind by waits that are over */
    const int64_t now = gilcmp_now();
    int64_t latest = 0;
    for (size_t i = 0; i < n; i++) {
        const int64_t began = (int64_t)words[i] - FAIR;
        if (began <= now && began > now - LONGEST_SPIN && began > latest)
            latest = began;
    }
    if (latest == 0)
        return 0;
    for (int operand = 0; operand < n_operands; operand++) {
        const uintptr_t lock = lock_of(operands[operand], operand < 2, words, n);
        if (lock != 0)
            return lock;
    }
    /* Here nothing says that the thread is still at it: only as long as spinning takes. */
    for (size_t i = 0; i < n && now - latest < spinning_takes; i++)
        if (is_interpreter_lock(interpreter, words[i]))
            return words[i];
    return 0;
}

/* ---- stacks --------------------------------------------------------------------------------------------------- */

void gilcmp_find_stack(const PyThreadState *state, uint64_t native, uintptr_t *bottom, uintptr_t *top)
{
    *bottom = *top = 0;
#if PY_VERSION_HEX >= 0x030E0000
    uintptr_t limits[3]; /* top, soft and hard limit */
    (void)native;
    if (gilcmp_safe_read(limits, (const char *)state + offsetof(_PyThreadStateImpl, c_stack_top), sizeof(limits))) {
        *top = limits[0];
        *bottom = limits[2];
    }
#elif defined(__linux__)
    /* 3.13 does not say. A thread's own record, whose address is its identity, lies at the top of its stack, which is as
     * large as was asked for, or as stacks are by default. The stack of a thread that is not known yet may lie right below. */
    PyThreadState copy;
    size_t size = 0;
    struct rlimit limit;
    const int is_main = native == (uint64_t)getpid();
    if (!gilcmp_safe_read(&copy, state, sizeof(copy))
        || !gilcmp_safe_read(&size, (const char *)copy.interp + offsetof(PyInterpreterState, threads.stacksize), sizeof(size)))
        return;
    if (is_main || size == 0)
        size = getrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY ? (size_t)limit.rlim_cur : DEFAULT_STACK;
    *top = is_main ? gilcmp_main_stack() : (uintptr_t)copy.thread_id;
    *bottom = *top < size ? 0 : *top - size;
#else
    (void)state, (void)native;
#endif
}

#else /* before 3.13 there is no parking lot */

void gilcmp_parking_after_fork(void)
{
}

const char *gilcmp_find_parking(gilcmp_parking *parking)
{
    parking->buckets = 0;
    return "it has none before CPython 3.13";
}

int gilcmp_read_parked(const gilcmp_parking *parking, gilcmp_parked *found, int most, int64_t now)
{
    (void)parking, (void)found, (void)most, (void)now;
    return 0;
}

const char *gilcmp_find_world(gilcmp_world *world, const PyInterpreterState *interpreter)
{
    (void)world, (void)interpreter;
    return "the world is not stopped before CPython 3.13";
}

gilcmp_world_pause gilcmp_read_pause(const gilcmp_world *world, int scope, PyThreadState *copy)
{
    (void)world, (void)scope, (void)copy;
    return (gilcmp_world_pause){NULL, {0, 0, 0}, 0};
}

gilcmp_inside gilcmp_read_section(const PyThreadState *copy, uintptr_t *at, uintptr_t locks[2])
{
    (void)copy;
    *at = locks[0] = locks[1] = 0;
    return GILCMP_NO_SECTION;
}

void gilcmp_identify(const PyInterpreterState *interpreter, uintptr_t lock, gilcmp_identity *identity)
{
    (void)interpreter, (void)lock;
    memset(identity, 0, sizeof(*identity));
}

uint64_t gilcmp_recursive_owner(uintptr_t lock)
{
    (void)lock;
    return 0;
}

uintptr_t gilcmp_find_spun(const PyInterpreterState *interpreter, uintptr_t entry, uintptr_t limit, const uintptr_t *operands,
                           int n_operands)
{
    (void)interpreter, (void)entry, (void)limit, (void)operands, (void)n_operands;
    return 0;
}

uintptr_t gilcmp_find_wanted(const PyInterpreterState *interpreter, uintptr_t section, uintptr_t limit)
{
    (void)interpreter, (void)section, (void)limit;
    return 0;
}

void gilcmp_find_stack(const PyThreadState *state, uint64_t native, uintptr_t *bottom, uintptr_t *top)
{
    (void)state, (void)native;
    *bottom = *top = 0;
}

#endif

int gilcmp_lies_on(uintptr_t address, uintptr_t bottom, uintptr_t top, uintptr_t *nearest)
{
    if (address < bottom || address >= top || (*nearest != 0 && top >= *nearest))
        return 0;
    *nearest = top;
    return 1;
}

int gilcmp_same_pause(const gilcmp_world_pause *one, const gilcmp_world_pause *other)
{
    return one->requester == other->requester && one->collections == other->collections
        && gilcmp_same_position(&one->position, &other->position);
}
