# cython: freethreading_compatible=True, subinterpreters_compatible=own_gil, embedsignature=False
"""Watching the GIL: ground truth to test with, the sampler, the waiter. The work is done in `_gil_lock.c`."""

import atexit
import os
import weakref

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcpy

cdef extern from "pythread.h":
    ctypedef void *PyThread_type_lock
    PyThread_type_lock PyThread_allocate_lock()
    void PyThread_free_lock(PyThread_type_lock lock)

cdef extern from "_gil_lock.h":
    enum: GILCMP_SEGMENTS
    enum: GILCMP_RELEASES
    ctypedef struct gilcmp_lock:
        pass
    ctypedef struct gilcmp_counts:
        int64_t samples, held, other, free_, dropped, segment_length, longest_hold, hand_overs, switches, n_releases
        int64_t *segment_held
        int64_t *segment_all
        int64_t *releases
    ctypedef struct gilcmp_sampler:
        pass
    ctypedef struct gilcmp_waiter:
        pass
    const char *gilcmp_find_lock(gilcmp_lock *lock)
    int64_t gilcmp_now() noexcept nogil
    void gilcmp_spin_until(int64_t until) noexcept nogil
    gilcmp_sampler *gilcmp_sampler_start(const gilcmp_lock *lock, int64_t pace, int64_t longest)
    void gilcmp_sampler_stop(gilcmp_sampler *sampler, gilcmp_counts *counts)
    gilcmp_waiter *gilcmp_waiter_start(int64_t pause, int64_t capacity)
    int64_t gilcmp_waiter_stop(gilcmp_waiter *waiter)
    void gilcmp_waiter_wait(const gilcmp_waiter *waiter, int64_t number, int64_t *asked, int64_t *waited)
    void gilcmp_waiter_free(gilcmp_waiter *waiter)
    void gilcmp_increment_plain(int64_t *counter, int64_t n) noexcept nogil
    void gilcmp_increment_atomic(int64_t *counter, int64_t n) noexcept nogil
    void gilcmp_increment_locked(int64_t *counter, int64_t n, PyThread_type_lock lock) noexcept nogil

cdef extern from "_gil_record.h":
    enum: GILCMP_STATES
    ctypedef struct gilcmp_places:
        pass
    ctypedef struct gilcmp_span:
        pass
    ctypedef struct gilcmp_clock:
        pass
    ctypedef struct gilcmp_thread:
        uint64_t id, ident, native
        int64_t began, ended, longest_hold, holds, first_cpu, first_delay, cpu, delay
        int64_t *spent
    ctypedef struct gilcmp_record:
        int64_t began, ended, looks, unseen, free_, watched, hand_overs, hand_overs_seen
        int64_t n_threads, n_spans, n_clocks, span_capacity, clock_capacity
        int tells_states
        gilcmp_thread *threads
        gilcmp_span *spans
        gilcmp_clock *clocks
    ctypedef struct gilcmp_recorder:
        pass
    const char *gilcmp_find_places(gilcmp_places *places)
    gilcmp_recorder *gilcmp_recorder_start(const gilcmp_places *places, int64_t pace, int64_t capacity)
    void gilcmp_recorder_pause(gilcmp_recorder *recorder)
    int gilcmp_recorder_resume(gilcmp_recorder *recorder)
    gilcmp_record *gilcmp_recorder_stop(gilcmp_recorder *recorder)
    void gilcmp_record_free(gilcmp_record *record)


cdef int64_t nanoseconds(str name, seconds) except? -1:
    cdef double value = seconds
    if not 0.0 <= value <= 1e6:
        raise ValueError(f"{name} must be from 0 to 1e6 seconds, got {value:g}")
    return <int64_t> (value * 1e9)


def hold_gil(seconds):
    """Compute natively for so many seconds and hold the GIL all the time."""
    gilcmp_spin_until(gilcmp_now() + nanoseconds("seconds", seconds))


def release_gil(seconds):
    """Compute natively for so many seconds with the GIL released."""
    cdef int64_t length = nanoseconds("seconds", seconds)
    with nogil:
        gilcmp_spin_until(gilcmp_now() + length)


def alternate(held, released, seconds):
    """Hold the GIL for `held` seconds, release it for `released`, and so on for `seconds`: known shares.

    Returns
    -------
    float
        The share of the time for which it really was held, by the same clock. The lock changes hands somewhere
        inside the calls that release and take it: half of their time is counted as held.
    """
    cdef int64_t keep = nanoseconds("held", held)
    cdef int64_t leave = nanoseconds("released", released)
    cdef int64_t began = gilcmp_now()
    cdef int64_t end = began + nanoseconds("seconds", seconds)
    cdef int64_t now = began
    cdef int64_t away = 0  # twice the time
    cdef int64_t leaving, left, returning, returned
    if keep + leave <= 0:
        raise ValueError("held and released must not both be 0")
    while now < end:
        gilcmp_spin_until(now + keep)
        if leave:
            leaving = gilcmp_now()
            with nogil:
                left = gilcmp_now()
                gilcmp_spin_until(left + leave)
                returning = gilcmp_now()
            returned = gilcmp_now()
            away += (returning + returned) - (leaving + left)
        now = gilcmp_now()
    return 1.0 - 0.5 * <double> away / <double> (now - began) if now > began else 1.0


def why_not():
    """Say why the lock of this interpreter cannot be watched; None where it can."""
    cdef gilcmp_lock lock
    cdef const char *reason = gilcmp_find_lock(&lock)
    return None if reason == NULL else reason.decode()


def call_for(function, args, kwargs, seconds, limit):
    """Call ``function(*args, **kwargs)`` natively, again and again, for about so many seconds.

    Between two calls there is no bytecode: what the interpreter does there would count as held.

    Returns
    -------
    calls : int
        How many calls there were, at least 1 and at most `limit`.
    seconds : float
        How long they took.
    """
    cdef int64_t began = gilcmp_now()
    cdef int64_t end = began + nanoseconds("seconds", seconds)
    cdef int64_t now
    cdef int64_t calls = 0
    cdef int64_t most = limit
    while True:
        function(*args, **kwargs)
        PyErr_CheckSignals()  # Ctrl-C: without bytecode nobody else looks
        calls += 1
        now = gilcmp_now()
        if now >= end or calls >= most:
            return calls, (now - began) * 1e-9


def now():
    """Nanoseconds of the clock that everything here is timed with."""
    return gilcmp_now()


# The interpreter must not end under a thread that reads it, or waits for its lock.
_running = weakref.WeakSet()


@atexit.register
def _stop_all():
    for watcher in list(_running):
        watcher.end()


cdef class Sampler:
    """Watches whether the calling thread holds the GIL, from a native thread that never asks for it.

    Parameters
    ----------
    pace : float
        Seconds between two looks on average, jittered; 0 spins, which is exact to 0.1 us and costs a core.
    longest : float
        Seconds that the watching is going to take, about.

    Raises
    ------
    RuntimeError
        Where the lock of this interpreter cannot be watched; the message says why.
    """

    cdef gilcmp_sampler *sampler
    cdef object process
    cdef object __weakref__

    def __cinit__(self, pace, longest):
        cdef gilcmp_lock lock
        cdef int64_t every = nanoseconds("pace", pace)
        cdef int64_t length = nanoseconds("longest", longest)
        cdef const char *reason = gilcmp_find_lock(&lock)
        if reason != NULL:
            raise RuntimeError(f"the GIL cannot be watched: {reason.decode()}")
        self.process = os.getpid()
        self.sampler = gilcmp_sampler_start(&lock, every, length)
        if self.sampler == NULL:
            raise MemoryError("no memory, or no thread, for the sampler")
        _running.add(self)

    cpdef end(self):
        """Stop, if that has not been done, and forget what was seen."""
        cdef gilcmp_counts counts
        cdef gilcmp_sampler *sampler = self.sampler
        self.sampler = NULL
        if sampler != NULL and self.process == os.getpid():
            gilcmp_sampler_stop(sampler, &counts)

    def __dealloc__(self):
        self.end()

    def stop(self):
        """Stop, and return what was seen as a dict; times in seconds. In a child of fork: None."""
        cdef gilcmp_counts counts
        cdef gilcmp_sampler *sampler = self.sampler
        self.sampler = NULL  # whoever comes second finds nothing to stop
        if sampler == NULL:
            raise RuntimeError("the sampler has been stopped already")
        if self.process != os.getpid():
            return None  # its thread stayed in the parent
        gilcmp_sampler_stop(sampler, &counts)
        kept = min(counts.n_releases, GILCMP_RELEASES)
        return {
            "samples": counts.samples,
            "held": counts.held * 1e-9,
            "other": counts.other * 1e-9,
            "free": counts.free_ * 1e-9,
            "dropped": counts.dropped * 1e-9,
            "longest_hold": counts.longest_hold * 1e-9,
            "hand_overs": counts.hand_overs,
            "switches": counts.switches,
            "segments": [
                (counts.segment_held[i] * 1e-9, counts.segment_all[i] * 1e-9)
                for i in range(GILCMP_SEGMENTS) if counts.segment_all[i]
            ],
            "releases": [counts.releases[i] * 1e-9 for i in range(kept)],
            "n_releases": counts.n_releases,
        }


cdef class Waiter:
    """Asks for the GIL every now and then, from a native thread, and times each wait.

    Parameters
    ----------
    pause : float
        Seconds between getting the GIL and asking again, on average, jittered.
    capacity : int
        How many waits are kept; later ones are lost.
    """

    cdef gilcmp_waiter *waiter
    cdef object process
    cdef object __weakref__

    def __cinit__(self, pause, capacity):
        cdef int64_t length = nanoseconds("pause", pause)
        if length < 1 or not 1 <= capacity <= 10**7:
            raise ValueError(f"pause and capacity must be positive, got {pause} and {capacity}")
        self.process = os.getpid()
        self.waiter = gilcmp_waiter_start(length, capacity)
        if self.waiter == NULL:
            raise MemoryError("no memory, or no thread, for the waiter")
        _running.add(self)

    cpdef end(self):
        """Stop, if that has not been done, and forget the waits."""
        cdef gilcmp_waiter *waiter = self.waiter
        self.waiter = NULL
        if waiter != NULL and self.process == os.getpid():
            gilcmp_waiter_stop(waiter)
            gilcmp_waiter_free(waiter)

    def __dealloc__(self):
        self.end()

    def stop(self):
        """Stop, and return the waits: when each asked (as `now`), and how many seconds it waited."""
        cdef int64_t asked, waited
        cdef gilcmp_waiter *waiter = self.waiter
        self.waiter = NULL
        if waiter == NULL:
            raise RuntimeError("the waiter has been stopped already")
        if self.process != os.getpid():
            return None
        waits = []
        for number in range(gilcmp_waiter_stop(waiter)):
            gilcmp_waiter_wait(waiter, number, &asked, &waited)
            waits.append((asked, waited * 1e-9))
        gilcmp_waiter_free(waiter)
        return waits


cdef extern from "Python.h":
    int Py_AddPendingCall(int (*function)(void *) noexcept, void *argument)


cdef int call_pending(void *argument) noexcept:
    function = <object> argument
    Py_DECREF(function)
    try:
        function()
    except BaseException:  # there is nobody to raise it to
        return 0
    return 0


def soon(function):
    """Have a function called in the main thread when that comes to its next bytecode; at once if that cannot be had."""
    Py_INCREF(function)
    if Py_AddPendingCall(call_pending, <void *> function) != 0:
        call_pending(<void *> function)


cdef class Recorder:
    """Records which thread holds the GIL when, from a native thread that never asks for it.

    Parameters
    ----------
    pace : float
        Seconds between two looks on average, jittered; 0: as often as takes 1.5 % of one CPU.
    capacity : int
        How many spans are kept, the newest ones.

    Raises
    ------
    RuntimeError
        Where the lock or the threads of this interpreter cannot be watched; the message says why.
    """

    cdef gilcmp_recorder *recorder
    cdef object process
    cdef object __weakref__

    def __cinit__(self, pace, capacity):
        cdef gilcmp_places places
        cdef int64_t every = nanoseconds("pace", pace)
        cdef const char *reason = gilcmp_find_places(&places)
        if reason != NULL:
            raise RuntimeError(f"the GIL cannot be watched: {reason.decode()}")
        if not 1 <= capacity <= 10**9:
            raise ValueError(f"capacity must be from 1 to 1e9, got {capacity}")
        self.process = os.getpid()
        self.recorder = gilcmp_recorder_start(&places, every, capacity)
        if self.recorder == NULL:
            raise MemoryError("no memory, or no thread, for the recorder")
        _running.add(self)

    cpdef end(self):
        """Stop, if that has not been done, and forget what was seen."""
        cdef gilcmp_recorder *recorder = self.recorder
        self.recorder = NULL
        if recorder != NULL and self.process == os.getpid():
            gilcmp_record_free(gilcmp_recorder_stop(recorder))

    def __dealloc__(self):
        self.end()

    def pause(self):
        """Stop looking until `resume`; what happens meanwhile is counted as unseen."""
        if self.recorder != NULL and self.process == os.getpid():
            gilcmp_recorder_pause(self.recorder)

    def resume(self):
        """Look again."""
        if self.recorder != NULL and self.process == os.getpid() and not gilcmp_recorder_resume(self.recorder):
            raise MemoryError("no thread for the recorder")

    def stop(self):
        """Stop, and return what was seen as a dict; all times in nanoseconds. In a child of fork: None.

        ``spans`` and ``clocks`` are bytes: `gilcmp_span` and `gilcmp_clock` of `_gil_record.h`, the oldest first.
        """
        cdef gilcmp_recorder *recorder = self.recorder
        cdef gilcmp_record *record
        cdef gilcmp_thread *thread
        self.recorder = NULL  # whoever comes second finds nothing to stop
        if recorder == NULL:
            raise RuntimeError("the recorder has been stopped already")
        if self.process != os.getpid():
            return None  # its thread stayed in the parent
        record = gilcmp_recorder_stop(recorder)
        try:
            threads = []
            for index in range(record.n_threads):
                thread = &record.threads[index]
                threads.append({
                    "id": thread.id,
                    "ident": thread.ident,
                    "native_id": thread.native,
                    "began": thread.began,
                    "ended": thread.ended,
                    "spent": [thread.spent[state] for state in range(GILCMP_STATES)],
                    "longest_hold": thread.longest_hold,
                    "holds": thread.holds,
                    "cpu": thread.cpu - thread.first_cpu if thread.cpu >= 0 else None,
                    "run_delay": thread.delay - thread.first_delay if thread.delay >= 0 else None,
                })
            return {
                "began": record.began,
                "ended": record.ended,
                "looks": record.looks,
                "unseen": record.unseen,
                "free": record.free_,
                "watched": record.watched,
                "hand_overs": None if record.hand_overs < 0 else record.hand_overs,
                "hand_overs_seen": record.hand_overs_seen,
                "tells_states": bool(record.tells_states),
                "threads": threads,
                "spans": ring(<char *> record.spans, sizeof(gilcmp_span), record.n_spans, record.span_capacity),
                "n_spans": record.n_spans,
                "clocks": ring(<char *> record.clocks, sizeof(gilcmp_clock), record.n_clocks, record.clock_capacity),
                "n_clocks": record.n_clocks,
            }
        finally:
            gilcmp_record_free(record)


cdef bytes ring(char *items, size_t size, int64_t n, int64_t capacity):
    """Return what is in a ring of items, the oldest first."""
    cdef int64_t kept = min(n, capacity)
    cdef int64_t oldest = n % capacity if n > capacity else 0
    cdef bytes found = PyBytes_FromStringAndSize(NULL, kept * size)
    cdef char *target = found
    memcpy(target, items + oldest * size, (kept - oldest) * size)
    memcpy(target + (kept - oldest) * size, items, oldest * size)
    return found


cdef class Counter:
    """A plain 64-bit counter that threads may count up in four ways; `value` is what it came to."""

    cdef int64_t count
    cdef PyThread_type_lock lock

    def __cinit__(self):
        self.lock = PyThread_allocate_lock()
        if self.lock == NULL:
            raise MemoryError("no memory for a lock")

    def __dealloc__(self):
        if self.lock != NULL:
            PyThread_free_lock(self.lock)

    @property
    def value(self):
        """What was counted."""
        return self.count

    def holding(self):
        """Add 1: load, add, store, while the GIL is held (free-threaded builds: while nothing is)."""
        gilcmp_increment_plain(&self.count, 1)

    def plain(self, times):
        """Add 1 so many times, without the GIL: load, add, store."""
        cdef int64_t n = times
        with nogil:
            gilcmp_increment_plain(&self.count, n)

    def atomic(self, times):
        """Add 1 so many times, without the GIL, each as one atomic operation."""
        cdef int64_t n = times
        with nogil:
            gilcmp_increment_atomic(&self.count, n)

    def locked(self, times):
        """Add 1 so many times, without the GIL, each under a mutex."""
        cdef int64_t n = times
        with nogil:
            gilcmp_increment_locked(&self.count, n, self.lock)
