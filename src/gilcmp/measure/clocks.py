"""Where the time of the workers went: on a CPU, waiting for a core, blocked, or idle."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from gilcmp.measure.placement import placed
from gilcmp.saved.observation import Observation, TaskSpan

SCHEDSTAT = "/proc/thread-self/schedstat"

TASKS_KEPT = 64  # tasks of a round that are kept: as many as a picture can show


class Reading(NamedTuple):
    """A thread's clocks, in nanoseconds."""

    cpu: int
    run_delay: int | None


class Sample(NamedTuple):
    """One task done: its part of the answer, who did it, and when; times in nanoseconds."""

    part: Any
    process: int
    thread: int
    start: int
    end: int
    # since the thread's previous reading, so as to include getting the task from the queue
    cpu: int
    run_delay: int | None


class _ThreadClock(threading.local):
    """A thread's own schedstat file, opened when it is first read, and its last reading."""

    process = 0
    last: Reading | None = None
    file: _File | None = None

    def read(self) -> Reading:
        """Read the clocks of the calling thread, in about two microseconds."""
        if self.process != os.getpid():  # the first time, or forked: the file is still that of the parent's thread
            self.process, self.last, self.file = os.getpid(), None, _open_schedstat()
        delay = None
        if self.file is not None:
            delay = int(os.pread(self.file.number, 64, 0).split()[1])
        return Reading(time.thread_time_ns(), delay)


class _File:
    """A file descriptor that is closed when its thread ends."""

    def __init__(self, path: str) -> None:
        self.number = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))

    def __del__(self, close: Callable[[int], None] = os.close) -> None:  # bound: when Python ends, `os` may be gone
        if hasattr(self, "number"):
            close(self.number)


def _open_schedstat() -> _File | None:
    """Open the calling thread's schedstat; None where there is none, or it counts nothing."""
    try:
        file = _File(SCHEDSTAT)
        fields = os.pread(file.number, 64, 0).split()
    except OSError:
        return None
    # a kernel without scheduler statistics shows zeros: a thread that gets here has used some CPU
    return file if len(fields) == 3 and int(fields[0]) > 0 else None


_clock = _ThreadClock()


def has_run_delay() -> bool:
    """Tell whether this system says how long a thread waited for a core (Linux, with scheduler statistics)."""
    return _clock.read().run_delay is not None


def own_clocks() -> Reading:
    """Read the clocks of the calling thread."""
    return _clock.read()


def mark() -> None:
    """Reset the calling thread's clocks: what it did before belongs to no task."""
    _clock.last = _clock.read()


def measured(function: Callable[[Any], Any], task: Any, keep_place: bool = False) -> Sample:
    """Do `task` and note what it took; runs in the worker, which may keep its CPU meanwhile (see placement.py)."""
    with placed(keep=keep_place):
        start = time.perf_counter_ns()
        before = _clock.last if _clock.last is not None and _clock.process == os.getpid() else _clock.read()
        part = function(task)
        now = _clock.read()
        end = time.perf_counter_ns()
    _clock.last = now
    delay = None
    if now.run_delay is not None and before.run_delay is not None:
        delay = now.run_delay - before.run_delay
    return Sample(part, os.getpid(), threading.get_ident(), start, end, now.cpu - before.cpu, delay)


async def measured_coroutine(function: Callable[[Any], Any], task: Any) -> Sample:
    """Do `task` as a coroutine, beside others in the same thread.

    The thread's CPU time since the reading before belongs to whichever task ends now: single figures mean nothing,
    their sum is right.
    """
    start = time.perf_counter_ns()
    if _clock.last is None or _clock.process != os.getpid():
        mark()
    part = function(task)
    if isinstance(part, Awaitable):
        part = await part
    before, now = _clock.last, _clock.read()
    _clock.last = now
    assert before is not None  # noqa: S101  # for the type checker: marked above
    delay = None
    if now.run_delay is not None and before.run_delay is not None:
        delay = now.run_delay - before.run_delay
    end = time.perf_counter_ns()
    return Sample(part, os.getpid(), threading.get_ident(), start, end, now.cpu - before.cpu, delay)


def task_spans(samples: Sequence[Sample], start: int) -> list[TaskSpan]:
    """Return who did which task when, of the first `TASKS_KEPT` tasks of a cell that began at `start`."""
    workers: dict[tuple[int, int], int] = {}
    spans = []
    for sample in sorted(samples, key=lambda sample: sample.start)[:TASKS_KEPT]:
        worker = workers.setdefault((sample.process, sample.thread), len(workers))
        spans.append(TaskSpan(worker, max(0, sample.start - start) / 1e9, max(0, sample.end - start) / 1e9))
    return spans


def observe(samples: Sequence[Sample], start: int, end: int, process_cpu: int, *, round_number: int) -> Observation:
    """Add up the samples of a cell that ran from `start` to `end`.

    Parameters
    ----------
    samples : sequence of Sample
        One a task.
    start, end, process_cpu : int
        When it began and ended, and the CPU time of this process meanwhile, in nanoseconds.
    round_number : int
        The round.
    """
    last_end: dict[tuple[int, int], int] = {}
    for sample in samples:
        who = (sample.process, sample.thread)
        last_end[who] = max(sample.end, last_end.get(who, 0))
    cpu = sum(sample.cpu for sample in samples)
    delays = [sample.run_delay for sample in samples if sample.run_delay is not None]
    delay = sum(delays) if len(delays) == len(samples) else None
    # After its last task a worker has nothing to do; until then it was blocked whenever it was neither
    # on a CPU nor waiting for one.
    present = sum(until - start for until in last_end.values())
    return Observation(
        round=round_number,
        wall=max(end - start, 1) / 1e9,
        cpu=max(cpu, 0) / 1e9,
        run_delay=None if delay is None else max(delay, 0) / 1e9,
        blocked=max(present - cpu - (delay or 0), 0) / 1e9,
        harness=max(process_cpu - sum(sample.cpu for sample in samples if sample.process == os.getpid()), 0) / 1e9,
        foreign=0.0,  # known when the round is over
    )
