# cython: freethreading_compatible=True, subinterpreters_compatible=own_gil, embedsignature=False
"""Watching the GIL: ground truth to test with, sampler, waiter, recorder. The work is done in the `.c` files."""

import atexit
import os
import sys
import threading

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int32_t, int64_t, uint64_t, uintptr_t
from libc.string cimport memcpy

cdef extern from "pythread.h":
    ctypedef void *PyThread_type_lock
    PyThread_type_lock PyThread_allocate_lock()
    void PyThread_free_lock(PyThread_type_lock lock)

cdef extern from "Python.h":
    ctypedef struct PyInterpreterState:
        pass
    PyInterpreterState *PyInterpreterState_Get()
    PyInterpreterState *PyInterpreterState_Main()

cdef extern from "lock.h":
    ctypedef struct gilcmp_lock:
        pass
    ctypedef struct gilcmp_places:
        pass
    const char *gilcmp_find_lock(gilcmp_lock *lock)
    const char *gilcmp_find_places(gilcmp_places *places)

cdef extern from "watcher.h":
    ctypedef struct gilcmp_watcher:
        pass
    ctypedef enum gilcmp_stopped:
        GILCMP_STOPPED
        GILCMP_ALREADY_STOPPED
        GILCMP_IN_PARENT
    gilcmp_stopped gilcmp_watcher_stop(gilcmp_watcher *watcher)
    void gilcmp_pause_all()
    void gilcmp_resume_all()
    void gilcmp_resume_soon()
    void gilcmp_end_all()
    void gilcmp_prepare_forks()
    int64_t gilcmp_now() noexcept nogil
    void gilcmp_spin_until(int64_t until) noexcept nogil

cdef extern from "sampler.h":
    enum: GILCMP_SEGMENTS
    enum: GILCMP_RELEASES
    ctypedef struct gilcmp_counts:
        int64_t samples, held, other, free_, dropped, segment_length, longest_hold, hand_overs, switches, n_releases
        int64_t *segment_held
        int64_t *segment_all
        int64_t *releases
    ctypedef struct gilcmp_sampler:
        gilcmp_watcher watcher
        gilcmp_counts counts
    ctypedef struct gilcmp_wait:
        int64_t asked, got, delay, cpu
    ctypedef struct gilcmp_waiter:
        gilcmp_watcher watcher
        gilcmp_wait *waits
        int64_t n
    ctypedef struct gilcmp_sampling:
        int64_t pace, longest
        int without_delays, with_younger, marked
    gilcmp_sampler *gilcmp_sampler_start(const gilcmp_lock *lock, gilcmp_sampling how)
    void gilcmp_sampler_mark(gilcmp_sampler *sampler, int inside)
    void gilcmp_sampler_free(gilcmp_sampler *sampler)
    gilcmp_waiter *gilcmp_waiter_start(int64_t pause, int64_t capacity)
    void gilcmp_waiter_free(gilcmp_waiter *waiter)

cdef extern from "frames.h":
    ctypedef struct gilcmp_site:
        int32_t function, offset
    ctypedef struct gilcmp_text:
        char *text
        int32_t size, kind
    ctypedef struct gilcmp_function:
        int32_t first_line, lines_size, is_idle
        gilcmp_text file, name
        char *lines
    ctypedef struct gilcmp_functions:
        gilcmp_function *list
        int32_t n
    const char *gilcmp_check_frames()

cdef extern from "lines.h":
    ctypedef struct gilcmp_where:
        int32_t inner, inner_line, outer, outer_line
    ctypedef struct gilcmp_line:
        gilcmp_where where
        int32_t thread
        int64_t held, waited, looks
    ctypedef struct gilcmp_lines:
        gilcmp_functions functions
        gilcmp_line *list
        int32_t n
        gilcmp_line rest

cdef extern from "recorder.h":
    enum: GILCMP_STATES
    ctypedef struct gilcmp_span:
        pass
    ctypedef struct gilcmp_clock:
        pass
    ctypedef struct gilcmp_thread:
        uint64_t id, ident, native
        int64_t began, ended, longest_hold, holds, first_cpu, first_delay, cpu, delay
        int64_t *spent
        int now
        int64_t since
    ctypedef struct gilcmp_recorder:
        gilcmp_watcher watcher
        int64_t then
        int64_t began, ended, looks, unseen, free_, watched, hand_overs_seen
        int64_t n_threads, n_spans, n_clocks, span_capacity, clock_capacity
        int tells_states, tells_waits
        gilcmp_thread *threads
        gilcmp_lines *lines
        gilcmp_span *spans
        gilcmp_clock *clocks
    gilcmp_recorder *gilcmp_recorder_start(const gilcmp_places *places, int64_t pace, int64_t capacity, const char *library)
    void gilcmp_recorder_finish(gilcmp_recorder *recorder)
    int64_t gilcmp_recorder_hand_overs(const gilcmp_recorder *recorder)
    void gilcmp_recorder_free(gilcmp_recorder *recorder)

cdef extern from "parking.h":
    ctypedef struct gilcmp_parking:
        pass
    ctypedef struct gilcmp_identity:
        int kind
        uintptr_t object
        char *name
    const char *gilcmp_find_parking(gilcmp_parking *parking)

cdef extern from "contention.h":
    enum: GILCMP_DOINGS
    enum: GILCMP_PLACES
    enum: GILCMP_ONLY
    ctypedef struct gilcmp_place:
        uintptr_t lock
        int32_t doing
        gilcmp_site inner, outer, owner
        int64_t spent, looks, longest, free_looks, untimed
        uint64_t threads
        gilcmp_identity what
    ctypedef struct gilcmp_one:
        uint64_t id, ident, native
        int64_t *spent
        int64_t first_cpu, first_delay, first_system, cpu, delay, system
    ctypedef struct gilcmp_contention:
        gilcmp_watcher watcher
        int64_t began, ended, watched, unseen, looks, stopped, pauses, longest_pause, collecting, no_frame, no_lock, lost, cpu
        int tells_states, tells_locks, tells_world, n_threads, n_ended
        gilcmp_one *threads
        gilcmp_one *ended_threads
        gilcmp_place *places
        gilcmp_functions functions
    gilcmp_contention *gilcmp_contention_start(const gilcmp_places *places, int64_t pace, const char *library, uint64_t ignored)
    void gilcmp_contention_only(gilcmp_contention *contention, const uint64_t *numbers, int n)
    void gilcmp_contention_count(gilcmp_contention *contention, int counting)
    void gilcmp_contention_free(gilcmp_contention *contention)

cdef extern from "monitor.h":
    enum: GILCMP_BUCKETS
    enum: GILCMP_EVENTS
    ctypedef struct gilcmp_sums:
        int64_t held, waited, asleep, cpu, delay
        int told
    ctypedef struct gilcmp_monitored:
        uint64_t id, ident, native
        gilcmp_sums sums
    ctypedef struct gilcmp_event:
        int64_t began, ended
        uint64_t ident, native
        gilcmp_where where
        int64_t no_core
        int32_t kind, waiting, reported
    ctypedef struct gilcmp_histogram:
        int64_t n, total
        int64_t *buckets
    ctypedef struct gilcmp_monitoring:
        int64_t pace, hold, wait, every
        int file
        const char *library
        void (*call)(void *) noexcept
        void *argument
    ctypedef struct gilcmp_monitor:
        gilcmp_watcher watcher
        int64_t began, then, looks, watched, unseen, held, waited, asleep, hand_overs, stopped, pauses, longest_pause
        int64_t own_cpu, n_started, reports, suppressed, failed, n_events, holds_since
        gilcmp_histogram holds, waits
        gilcmp_sums ended
        gilcmp_monitored *threads
        int n_threads, tells_states, tells_waits, tells_locks, tells_world, calling
        gilcmp_lines lines
        gilcmp_event *events
        gilcmp_event now
    gilcmp_monitor *gilcmp_monitor_start(const gilcmp_places *places, const gilcmp_monitoring *how)
    gilcmp_monitor *gilcmp_monitor_copy(gilcmp_monitor *monitor)
    void gilcmp_monitor_give_back(gilcmp_monitor *monitor, gilcmp_monitor *copy)
    void gilcmp_monitor_enter(gilcmp_monitor *monitor)
    void gilcmp_monitor_leave(gilcmp_monitor *monitor)
    gilcmp_stopped gilcmp_monitor_stop(gilcmp_monitor *monitor)
    void gilcmp_monitor_abandon(gilcmp_monitor *monitor)
    void gilcmp_monitor_free(gilcmp_monitor *monitor)

cdef extern from "alarm.h":
    ctypedef struct gilcmp_alarm:
        gilcmp_watcher watcher
    gilcmp_alarm *gilcmp_alarm_start(int64_t nanoseconds, void (*call)(void *) noexcept, void *argument)
    void gilcmp_alarm_free(gilcmp_alarm *alarm)

cdef extern from "counter.h":
    void gilcmp_increment_plain(int64_t *counter, int64_t n) noexcept nogil
    void gilcmp_increment_atomic(int64_t *counter, int64_t n) noexcept nogil
    void gilcmp_increment_locked(int64_t *counter, int64_t n, PyThread_type_lock lock) noexcept nogil


cdef int64_t nanoseconds(str name, seconds) except? -1:
    cdef double value = seconds
    if not 0.0 <= value <= 1e6:
        raise ValueError(f"{name} must be from 0 to 1e6 seconds, got {value:g}")
    return <int64_t> (value * 1e9)


include "ground_truth.pxi"


def why_not():
    """Say why the lock of this interpreter cannot be watched; None where it can."""
    cdef gilcmp_lock lock
    cdef const char *reason = gilcmp_find_lock(&lock)
    return None if reason == NULL else reason.decode()


def call_for(function, args, kwargs, seconds, limit, raises=()):
    """Call ``function(*args, **kwargs)`` natively, again and again, for about so many seconds.

    It may raise one of the exceptions `raises`.

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
        try:
            function(*args, **kwargs)
        except raises:
            pass
        PyErr_CheckSignals()  # Ctrl-C: without bytecode nothing else checks
        calls += 1
        now = gilcmp_now()
        if now >= end or calls >= most:
            return calls, (now - began) * 1e-9


def now():
    """Nanoseconds of the clock that everything here is timed with."""
    return gilcmp_now()


# The interpreter must not end under a thread that reads it, or waits for its lock.
@atexit.register
def _end_all():
    gilcmp_end_all()


def pause_all():
    """Hold up all samplers and recorders of the process, as for a fork; what happens meanwhile is not seen."""
    gilcmp_pause_all()


def resume_all():
    """Let them go on, when this has been called as often as `pause_all`."""
    gilcmp_resume_all()


def _after_fork():
    # the first releases of 3.13 count the threads after all hooks, other versions before the first hook
    if sys.version_info[:2] == (3, 13) and threading.current_thread() is threading.main_thread():
        gilcmp_resume_soon()
    else:
        gilcmp_resume_all()


# Python warns where a process with several threads forks, so none of ours may run meanwhile.
gilcmp_prepare_forks()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=pause_all, after_in_parent=_after_fork)


cdef bint in_parent(str name, gilcmp_watcher *watcher) except -1:
    """Stop a watcher; tell whether it was left behind by a fork."""
    cdef gilcmp_stopped how = gilcmp_watcher_stop(watcher)
    if how == GILCMP_ALREADY_STOPPED:
        raise RuntimeError(f"the {name} has been stopped already")
    return how == GILCMP_IN_PARENT


cdef class Sampler:
    """Watches whether the calling thread holds the GIL, from a native thread that never asks for it.

    Parameters
    ----------
    pace : float
        Seconds between two looks on average, jittered; 0 spins, which is exact to 0.1 us and costs a core.
    longest : float
        Seconds that the watching is going to take, about.
    without_delays : bool
        Leave out time for which the calling thread was ready to run and had no core, where the system reports it.
    with_younger : bool
        What threads hold that start meanwhile counts as held by the calling thread.
    marked : bool
        Watch only what `call` calls. Then each look stands for the time since the one before.

    Raises
    ------
    RuntimeError
        Where the lock of this interpreter cannot be watched; the message says why.
    """

    cdef gilcmp_sampler *sampler
    cdef object __weakref__

    def __cinit__(self, pace, longest, without_delays=False, with_younger=False, marked=False):
        cdef gilcmp_lock lock
        cdef gilcmp_sampling how
        how.pace = nanoseconds("pace", pace)
        how.longest = nanoseconds("longest", longest)
        how.without_delays, how.with_younger, how.marked = bool(without_delays), bool(with_younger), bool(marked)
        cdef const char *reason = gilcmp_find_lock(&lock)
        if reason != NULL:
            raise RuntimeError(f"the GIL cannot be watched: {reason.decode()}")
        self.sampler = gilcmp_sampler_start(&lock, how)
        if self.sampler == NULL:
            raise MemoryError("no memory, or no thread, for the sampler")

    def __dealloc__(self):
        if self.sampler != NULL:
            gilcmp_sampler_free(self.sampler)

    def call(self, function, args, kwargs):
        """Return ``function(*args, **kwargs)``, which a marked sampler watches."""
        gilcmp_sampler_mark(self.sampler, True)
        try:
            return function(*args, **kwargs)
        finally:
            gilcmp_sampler_mark(self.sampler, False)

    def stop(self):
        """Stop, and return what was seen as a dict; times in seconds. In a child of fork: None."""
        cdef gilcmp_counts *counts = &self.sampler.counts
        if in_parent("sampler", &self.sampler.watcher):
            return None
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
    cdef object __weakref__

    def __cinit__(self, pause, capacity):
        cdef int64_t length = nanoseconds("pause", pause)
        if length < 1 or not 1 <= capacity <= 10**7:
            raise ValueError(f"pause and capacity must be positive, got {pause} and {capacity}")
        self.waiter = gilcmp_waiter_start(length, capacity)
        if self.waiter == NULL:
            raise MemoryError("no memory, or no thread, for the waiter")

    def __dealloc__(self):
        if self.waiter != NULL:
            gilcmp_waiter_free(self.waiter)

    def stop(self):
        """Stop, and return the waits; in a child of fork: None.

        Of each wait: when the lock was asked for and when it came (as `now`), the CPU time that the thread which
        started this had used by then (nanoseconds; -1: not known), and the seconds waited. Time for which the waiting
        thread itself was ready to run and had no core is no part of the seconds, where the system reports it.
        """
        cdef gilcmp_wait *waits = self.waiter.waits
        if in_parent("waiter", &self.waiter.watcher):
            return None
        return [
            (waits[i].asked, waits[i].got, waits[i].cpu, max(0, waits[i].got - waits[i].asked - waits[i].delay) * 1e-9)
            for i in range(self.waiter.n)
        ]


cdef class Recorder:
    """Records which thread holds the GIL when, from a native thread that never asks for it.

    Parameters
    ----------
    pace : float
        Seconds between two looks on average, jittered; 0: as often as takes 1.5 % of one CPU.
    capacity : int
        How many spans are kept, the newest ones.
    library : bytes
        The folder of the standard library; empty: no lines are read.

    Raises
    ------
    RuntimeError
        Where the lock or the threads of this interpreter cannot be watched; the message says why.
    """

    cdef gilcmp_recorder *recorder
    cdef object __weakref__

    def __cinit__(self, pace, capacity, library=b""):
        cdef gilcmp_places places
        cdef int64_t every = nanoseconds("pace", pace)
        cdef const char *reason = gilcmp_find_places(&places)
        if reason != NULL:
            raise RuntimeError(f"the GIL cannot be watched: {reason.decode()}")
        if not 1 <= capacity <= 10**9:
            raise ValueError(f"capacity must be from 1 to 1e9, got {capacity}")
        self.recorder = gilcmp_recorder_start(&places, every, capacity, library)
        if self.recorder == NULL:
            raise MemoryError("no memory, or no thread, for the recorder")

    def __dealloc__(self):
        if self.recorder != NULL:
            gilcmp_recorder_free(self.recorder)

    def peek(self):
        """Return what was seen until now, as `stop` does, without spans and clocks; it goes on. The caller is the one who
        stops it."""
        cdef gilcmp_recorder *seen = self.recorder
        pause_all()  # from here on nobody writes it
        try:
            return self._figures(seen)
        finally:
            resume_all()

    cdef dict _figures(self, gilcmp_recorder *seen):
        cdef gilcmp_thread *thread
        cdef int64_t hand_overs = gilcmp_recorder_hand_overs(seen)
        threads = []
        for index in range(seen.n_threads):
            thread = &seen.threads[index]
            spent = [thread.spent[state] for state in range(GILCMP_STATES)]
            if not thread.ended:  # what it does now is not closed yet
                spent[<int> thread.now] += max(0, seen.then - thread.since)
            threads.append({
                "id": thread.id,
                "ident": thread.ident,
                "native_id": thread.native,
                "began": thread.began,
                "ended": thread.ended,
                "spent": spent,
                "longest_hold": thread.longest_hold,
                "holds": thread.holds,
                "cpu": thread.cpu - thread.first_cpu if thread.cpu >= 0 else None,
                "run_delay": thread.delay - thread.first_delay if thread.delay >= 0 else None,
            })
        return {
            "began": seen.began,
            "ended": max(seen.began, seen.then),
            "looks": seen.looks,
            "unseen": seen.unseen,
            "free": seen.free_,
            "watched": seen.watched,
            "hand_overs": None if hand_overs < 0 else hand_overs,
            "hand_overs_seen": seen.hand_overs_seen,
            "tells_states": bool(seen.tells_states),
            "tells_waits": bool(seen.tells_waits),
            "threads": threads,
            "lines": [line(seen.lines, &seen.lines.list[i]) for i in range(seen.lines.n)],
            "spans": b"",
            "n_spans": 0,
            "clocks": b"",
            "n_clocks": 0,
        }

    def stop(self):
        """Stop, and return what was seen as a dict; all times in nanoseconds. In a child of fork: None.

        ``spans`` and ``clocks`` are bytes: `gilcmp_span` and `gilcmp_clock` of `recorder.h`, the oldest first.
        """
        cdef gilcmp_recorder *seen = self.recorder
        if in_parent("recorder", &seen.watcher):
            return None
        gilcmp_recorder_finish(seen)
        return self._figures(seen) | {
            "ended": seen.ended,
            "spans": ring(<char *> seen.spans, sizeof(gilcmp_span), seen.n_spans, seen.span_capacity),
            "n_spans": seen.n_spans,
            "clocks": ring(<char *> seen.clocks, sizeof(gilcmp_clock), seen.n_clocks, seen.clock_capacity),
            "n_clocks": seen.n_clocks,
        }


cdef class Contention:
    """Watches what threads wait for, and at which line, from a native thread that never asks for a lock.

    Parameters
    ----------
    pace : float
        Seconds between two looks on average, jittered.
    library : bytes
        The folder of the standard library: whose functions are not what a program's author wants to know.
    without_caller : bool
        Do not look at the calling thread.

    Raises
    ------
    RuntimeError
        Where this interpreter's threads cannot be watched; the message says why.
    """

    cdef gilcmp_contention *contention
    cdef object __weakref__

    def __cinit__(self, pace, library, without_caller=False):
        cdef gilcmp_places places
        cdef uint64_t ignored = threading.get_ident() if without_caller else 0
        cdef int64_t every = nanoseconds("pace", pace)
        cdef const char *reason = gilcmp_find_places(&places)
        if reason == NULL:
            reason = gilcmp_check_frames()
        if reason != NULL:
            raise RuntimeError(f"this interpreter's threads cannot be watched: {reason.decode()}")
        if every < 1000:
            raise ValueError(f"pace must be at least 1e-6 seconds, got {pace}")
        self.contention = gilcmp_contention_start(&places, every, library, ignored)
        if self.contention == NULL:
            raise MemoryError("no memory, or no thread, to watch with")

    def __dealloc__(self):
        if self.contention != NULL:
            gilcmp_contention_free(self.contention)

    def watch_only(self, numbers):
        """Look only at the threads with these numbers of the system's; before anything is counted."""
        cdef uint64_t[GILCMP_ONLY] wanted
        cdef int n = 0
        for number in list(numbers)[:GILCMP_ONLY]:
            wanted[n] = number
            n += 1
        gilcmp_contention_only(self.contention, wanted, n)

    def count(self, counting):
        """Count what is seen from now on, or no longer."""
        gilcmp_contention_count(self.contention, bool(counting))

    def stop(self):
        """Stop, and return what was seen as a dict; all times in nanoseconds. In a child of fork: None."""
        cdef gilcmp_contention *seen = self.contention
        cdef gilcmp_place *place
        if in_parent("watching", &seen.watcher):
            return None
        places = []
        for index in range(GILCMP_PLACES):
            place = &seen.places[index]
            if place.looks:
                places.append({
                    "doing": place.doing, "lock": place.lock, "object": place.what.object, "kind": place.what.kind,
                    "name": (<bytes> place.what.name).decode("utf-8", "replace"),
                    "inner": site(place.inner), "outer": site(place.outer), "owner": site(place.owner),
                    "spent": place.spent, "looks": place.looks, "longest": place.longest,
                    "free_looks": place.free_looks, "untimed": place.untimed, "threads": place.threads,
                })
        return {
            "began": seen.began, "ended": seen.ended, "watched": seen.watched, "unseen": seen.unseen,
            "looks": seen.looks, "stopped": seen.stopped, "pauses": seen.pauses, "longest_pause": seen.longest_pause,
            "collecting": seen.collecting, "no_frame": seen.no_frame, "no_lock": seen.no_lock, "lost": seen.lost,
            "cpu": seen.cpu, "tells_states": bool(seen.tells_states), "tells_locks": bool(seen.tells_locks),
            "tells_world": bool(seen.tells_world),
            "threads": [one(&seen.threads[i]) for i in range(seen.n_threads)]
            + [one(&seen.ended_threads[i]) for i in range(seen.n_ended)],
            "places": places,
            "functions": [function(&seen.functions.list[i]) for i in range(seen.functions.n)],
        }


def why_no_locks():
    """Say why the locks that threads sleep for cannot be seen in this interpreter; None where they can."""
    cdef gilcmp_parking parking
    cdef const char *reason = gilcmp_find_parking(&parking)
    return None if reason == NULL else reason.decode()


cdef tuple site(gilcmp_site at):
    return None if at.function < 0 else (at.function, at.offset)


cdef str text(gilcmp_text copied):
    encoding = {1: "latin-1", 2: f"utf-16-{sys.byteorder[0]}e", 4: f"utf-32-{sys.byteorder[0]}e"}[copied.kind]
    return PyBytes_FromStringAndSize(copied.text, copied.size).decode(encoding, "replace")


cdef tuple function(gilcmp_function *copied):
    lines = PyBytes_FromStringAndSize(copied.lines, copied.lines_size)
    return text(copied.file), text(copied.name), copied.first_line, lines, bool(copied.is_idle)


cdef dict one(gilcmp_one *thread):
    told = thread.cpu >= 0 and thread.first_cpu >= 0
    return {
        "id": thread.id, "ident": thread.ident, "native_id": thread.native,
        "spent": [thread.spent[doing] for doing in range(GILCMP_DOINGS)],
        "cpu": thread.cpu - thread.first_cpu if told else None,
        "run_delay": thread.delay - thread.first_delay if told else None,
        "system": thread.system - thread.first_system if told and thread.first_system >= 0 else None,
    }


cdef void tell_of_failure() noexcept:
    """Tell of what a function raises in a thread of ours, as threading does of any other."""
    error = sys.exception()
    threading.excepthook(threading.ExceptHookArgs((type(error), error, error.__traceback__, None)))


cdef void ring_alarm(void *argument) noexcept:
    """What the alarm's thread calls, with the lock held."""
    alarm = <Alarm> argument
    function, alarm.function = alarm.function, None
    if function is not None:
        try:
            function()
        except BaseException:
            tell_of_failure()
    Py_DECREF(alarm)  # it was kept for this call


cdef class Alarm:
    """Calls a function after so many seconds, in a thread of its own; in a child of fork, never.

    Parameters
    ----------
    seconds : float
        When, from now on.
    function : callable
        What to call.
    """

    cdef gilcmp_alarm *alarm
    cdef object function
    cdef object __weakref__

    def __cinit__(self, seconds, function):
        cdef int64_t after = nanoseconds("seconds", seconds)
        self.function = function
        Py_INCREF(self)  # until it has rung, or is cancelled
        self.alarm = gilcmp_alarm_start(after, ring_alarm, <void *> self)
        if self.alarm == NULL:
            Py_DECREF(self)
            raise MemoryError("no memory, or no thread, for the alarm")

    def __dealloc__(self):
        if self.alarm != NULL:
            gilcmp_alarm_free(self.alarm)

    def cancel(self):
        """Do not call it any more; a call that is under way goes on."""
        self.function = None


cdef void event_is_over(void *argument) noexcept:
    """What the monitor's thread calls, with the lock held, when something that it reported is over."""
    monitor = <Monitor> argument
    try:
        monitor.call()
    except BaseException:
        tell_of_failure()
    finally:
        monitor._called()


cdef class Monitor:
    """Counts for as long as it runs who holds the GIL, where, and who waits; and reports holds that are too long.

    Parameters
    ----------
    pace : float
        Seconds between two looks on average, jittered; 0: as often as takes 0.4 % of one CPU.
    hold, wait : float
        Seconds from which a hold, or a wait, is reported; 0: never.
    every : float
        Seconds between two reports, at least.
    file : int
        The descriptor that reports are written to; -1: none.
    library : bytes
        The folder of the standard library.
    call : callable or None
        Called without arguments when something that was reported is over.

    Raises
    ------
    RuntimeError
        Where this interpreter's threads cannot be watched; the message says why.
    """

    cdef gilcmp_monitor *monitor
    cdef object call
    cdef bint kept, stopped
    cdef object __weakref__

    def __cinit__(self, pace, hold, wait, every, file, library, call=None):
        cdef gilcmp_places places
        cdef gilcmp_monitoring how
        cdef const char *reason = gilcmp_find_places(&places)
        if reason == NULL:
            reason = gilcmp_check_frames()
        if reason == NULL and call is not None and PyInterpreterState_Get() != PyInterpreterState_Main():
            reason = "only the main interpreter can be called back"
        if reason != NULL:
            raise RuntimeError(f"this interpreter's threads cannot be watched: {reason.decode()}")
        how.pace, how.hold = nanoseconds("pace", pace), nanoseconds("hold", hold)
        how.wait, how.every = nanoseconds("wait", wait), nanoseconds("every", every)
        how.file, how.library = file, library
        how.call, how.argument = NULL, NULL
        self.call = call
        if call is not None:
            how.call, how.argument = event_is_over, <void *> self
            Py_INCREF(self)  # until it has stopped, and no thread of its own is about to call back
            self.kept = True
        self.monitor = gilcmp_monitor_start(&places, &how)
        if self.monitor == NULL:
            if self.kept:
                Py_DECREF(self)
            raise MemoryError("no memory, or no thread, to watch with")

    def __dealloc__(self):
        if self.monitor != NULL:
            gilcmp_monitor_free(self.monitor)

    cdef void _called(self) noexcept:
        gilcmp_monitor_enter(self.monitor)
        self.monitor.calling -= 1
        self._let_go()

    cdef void _let_go(self) noexcept:
        """Give up the reference that was kept for calls, unless there is to be one; and the guard of the figures."""
        cdef bint last = self.kept and self.stopped and self.monitor.calling == 0
        self.kept = self.kept and not last
        gilcmp_monitor_leave(self.monitor)
        if last:
            Py_DECREF(self)

    def read(self):
        """Return what was counted until now, as a dict; all times in nanoseconds."""
        cdef gilcmp_monitor *seen = gilcmp_monitor_copy(self.monitor)
        if seen == NULL:
            raise MemoryError("no memory for a copy of the figures")
        try:
            return {
                "began": seen.began, "ended": seen.then, "looks": seen.looks, "watched": seen.watched,
                "unseen": seen.unseen, "held": seen.held, "waited": seen.waited, "asleep": seen.asleep,
                "hand_overs": seen.hand_overs, "stopped": seen.stopped, "pauses": seen.pauses,
                "longest_pause": seen.longest_pause, "cpu": seen.own_cpu, "n_threads": seen.n_started,
                "reports": seen.reports, "suppressed": seen.suppressed, "failed": seen.failed,
                "holds": histogram(&seen.holds), "waits": histogram(&seen.waits),
                "threads": [sums(&seen.threads[i]) for i in range(seen.n_threads)],
                "gone": summed(&seen.ended),
                "lines": [line(&seen.lines, &seen.lines.list[i]) for i in range(seen.lines.n)],
                "rest": (seen.lines.rest.held, seen.lines.rest.waited, seen.lines.rest.looks),
                "n_events": seen.n_events,
                "events": [
                    event(&seen.lines, &seen.events[i % GILCMP_EVENTS])
                    for i in range(max(0, seen.n_events - GILCMP_EVENTS), seen.n_events)
                ],
                "now": event(&seen.lines, &seen.now) if seen.holds_since else None,
                "tells_states": bool(seen.tells_states), "tells_waits": bool(seen.tells_waits),
                "tells_locks": bool(seen.tells_locks), "tells_world": bool(seen.tells_world),
            }
        finally:
            gilcmp_monitor_give_back(self.monitor, seen)

    def stop(self):
        """Stop. In a child of fork nothing runs any more; what was counted before it can be read there as well."""
        if gilcmp_monitor_stop(self.monitor) == GILCMP_ALREADY_STOPPED:
            raise RuntimeError("the monitor has been stopped already")
        gilcmp_monitor_enter(self.monitor)
        self.stopped = True
        self._let_go()

    def abandon(self):
        """In a child of fork: give up what belongs to the parent."""
        gilcmp_monitor_abandon(self.monitor)
        self.stop()


cdef dict histogram(gilcmp_histogram *counted):
    return {"n": counted.n, "total": counted.total, "buckets": [counted.buckets[i] for i in range(GILCMP_BUCKETS)]}


cdef dict summed(gilcmp_sums *counted):
    return {
        "held": counted.held, "waited": counted.waited, "asleep": counted.asleep,
        "cpu": counted.cpu if counted.told else None, "run_delay": counted.delay if counted.told else None,
    }


cdef dict sums(gilcmp_monitored *thread):
    return {"id": thread.id, "ident": thread.ident, "native_id": thread.native} | summed(&thread.sums)


cdef tuple place(gilcmp_lines *lines, int32_t function, int32_t line):
    if function < 0:
        return None
    return text(lines.functions.list[function].file), line, text(lines.functions.list[function].name)


cdef tuple line(gilcmp_lines *lines, gilcmp_line *counted):
    cdef gilcmp_where *where = &counted.where
    return (
        counted.thread, place(lines, where.inner, where.inner_line), place(lines, where.outer, where.outer_line),
        counted.held, counted.waited, counted.looks,
    )


cdef dict event(gilcmp_lines *lines, gilcmp_event *seen):
    return {
        "kind": seen.kind, "began": seen.began, "ended": seen.ended, "ident": seen.ident, "native_id": seen.native,
        "inner": place(lines, seen.where.inner, seen.where.inner_line),
        "outer": place(lines, seen.where.outer, seen.where.outer_line),
        "no_core": seen.no_core, "waiting": seen.waiting, "reported": seen.reported,
    }


cdef bytes ring(char *items, size_t size, int64_t n, int64_t capacity):
    """Return what is in a ring of items, the oldest first."""
    cdef int64_t kept = min(n, capacity)
    cdef int64_t oldest = n % capacity if n > capacity else 0
    cdef bytes found = PyBytes_FromStringAndSize(NULL, kept * size)
    cdef char *target = found
    memcpy(target, items + oldest * size, (kept - oldest) * size)
    memcpy(target + (kept - oldest) * size, items, oldest * size)
    return found
