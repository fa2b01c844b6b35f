"""Where the time of the workers went: on a CPU, waiting for a core, blocked, or idle."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from attrs import field, frozen, validators

from gilcmp._checks import between

SCHEDSTAT = "/proc/thread-self/schedstat"
TASKS_KEPT = 64  # of a round: so many a picture can show
WAITING = 0.4  # CPUs kept busy, per CPU that could have been, below which workers mostly wait
SECONDS_MAX = 1e9  # 30 years: what is beyond is no measurement


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
    # since the thread's reading before, so that the way out of the queue is in it as well
    cpu: int
    run_delay: int | None


class _ThreadClock(threading.local):
    """A thread's own schedstat file, opened when it is first read, and its last reading."""

    process = 0
    last: Reading | None = None
    file: _File | None = None

    def read(self) -> Reading:
        """Read the clocks of the calling thread, in about two microseconds."""
        if (
            self.process != os.getpid()
        ):  # the first time, or forked: the file still tells of the parent's thread
            self.process, self.last, self.file = os.getpid(), None, _open_schedstat()
        delay = None
        if self.file is not None:
            delay = int(os.pread(self.file.number, 64, 0).split()[1])
        return Reading(time.thread_time_ns(), delay)


class _File:
    """A file descriptor that is closed when its thread ends."""

    def __init__(self, path: str) -> None:
        self.number = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


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


def mark() -> None:
    """Start the calling thread's account anew: what it did before belongs to nobody's task."""
    _clock.last = _clock.read()


def measured(function: Callable[[Any], Any], task: Any) -> Sample:
    """Do `task` and note what it took; runs in the worker."""
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


@frozen
class Observation:
    """What one cell did in one round; times in seconds.

    Attributes
    ----------
    round : int
        The round's number, from 1.
    wall : float
        From the first task handed out to the last answer back.
    cpu : float
        CPU time of all workers together.
    run_delay : float or None
        Time the workers were ready to run and had no core, all together; None where the system does not say.
    blocked : float
        Time the workers waited for something else than a core, all together: the GIL, another lock, I/O.
        Where the run delay is not known it is in here.
    harness : float
        CPU time that this process used besides the tasks: handing them out, collecting the answers.
    foreign : float
        CPUs that everything else on the machine kept busy, on average over the whole round.
    """

    round: int = field(validator=between(1, 2**63))
    wall: float = field(validator=between(1e-9, SECONDS_MAX))
    cpu: float = field(validator=between(0, SECONDS_MAX))
    run_delay: float | None = field(validator=validators.optional(between(0, SECONDS_MAX)))
    blocked: float = field(validator=between(0, SECONDS_MAX))
    harness: float = field(validator=between(0, SECONDS_MAX))
    foreign: float = field(validator=between(0, SECONDS_MAX))

    @property
    def cores(self) -> float:
        """How many CPUs the workers kept busy, on average."""
        return self.cpu / self.wall

    def missing_cores(self, cpus: float, workers: int) -> float:
        """How many CPUs the workers could have used and others had.

        Up to as many workers as CPUs, run delay tells: workers that were ready to run and had no core, less
        what gilcmp itself used. More workers than CPUs wait for each other, and where no run delay is told
        nothing else is known: then what other programs used, as far as it was wanted, counts.

        Parameters
        ----------
        cpus : float
            CPUs that the process may use.
        workers : int
            Workers of the cell.
        """
        if self.run_delay is None or workers > cpus:
            return max(0.0, min(workers, cpus) + self.foreign - cpus)
        missing = max(0.0, min(self.run_delay / self.wall, cpus - self.cores) - self.harness / self.wall)
        if self.cores < WAITING * min(workers, cpus):
            # who mostly waits is woken all the time, and has a run delay at each waking whether others run or not
            missing = min(missing, self.foreign)
        return missing


@frozen
class TaskSpan:
    """One task of a cell: which worker did it (0, 1, …), and from when to when, in seconds since the cell began."""

    worker: int = field(validator=between(0, 2**31))
    start: float = field(validator=between(0, SECONDS_MAX))
    end: float = field(validator=between(0, SECONDS_MAX))


def task_spans(samples: Sequence[Sample], start: int) -> list[TaskSpan]:
    """Return who did which task when, of the first `TASKS_KEPT` tasks of a cell that began at `start`."""
    workers: dict[tuple[int, int], int] = {}
    spans = []
    for sample in sorted(samples, key=lambda one: one.start)[:TASKS_KEPT]:
        worker = workers.setdefault((sample.process, sample.thread), len(workers))
        spans.append(TaskSpan(worker, max(0, sample.start - start) / 1e9, max(0, sample.end - start) / 1e9))
    return spans


def observe(
    samples: Sequence[Sample], start: int, end: int, process_cpu: int, *, round_number: int
) -> Observation:
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
    # After its last task a worker has nothing to do; until then, what it did not spend on a CPU or waiting
    # for one it was blocked.
    present = sum(until - start for until in last_end.values())
    return Observation(
        round=round_number,
        wall=max(end - start, 1) / 1e9,
        cpu=max(cpu, 0) / 1e9,
        run_delay=None if delay is None else max(delay, 0) / 1e9,
        blocked=max(present - cpu - (delay or 0), 0) / 1e9,
        harness=max(process_cpu - sum(sample.cpu for sample in samples if sample.process == os.getpid()), 0)
        / 1e9,
        foreign=0.0,  # known when the round is over
    )


class Bystanders:
    """How many CPUs everything else on the machine keeps busy, of those that this process may use."""

    def __init__(self) -> None:
        self._last = self._read()

    def lap(self) -> float:
        """CPUs that other processes kept busy since the last lap; good to 0.01 over a second."""
        idle, own, now = self._read()
        idle_before, own_before, then = self._last
        self._last = idle, own, now
        seconds = max(now - then, 1e-9)
        return max(0.0, self._cpus - (idle - idle_before + own - own_before) / seconds)

    def _read(self) -> tuple[float, float, float]:
        import psutil

        # Idle time is exact where busy time may be sampled; whatever is neither idle nor ours is others',
        # the hypervisor's other guests included.
        each = psutil.cpu_times(percpu=True)
        affinity = getattr(os, "sched_getaffinity", None)
        mine = affinity(0) if affinity else range(len(each))
        allowed = [times for number, times in enumerate(each) if number in mine] or each
        self._cpus = len(allowed)
        idle = sum(times.idle + getattr(times, "iowait", 0.0) for times in allowed)
        own = 0.0
        this = psutil.Process()
        for process in (this, *this.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                own += sum(process.cpu_times()[:2])
        return idle, own, time.perf_counter()
