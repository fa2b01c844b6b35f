"""Threads that are kept, each on a CPU of its own where there are enough, to run things at once again and again."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from gilcmp.base.calls import Call
from gilcmp.measure.clocks import own_clocks
from gilcmp.measure.placement import placed, settle
from gilcmp.watch import _gil

LONGEST = 600.0  # seconds that a round may take
# from such a share of the process's CPU time on, and so many nanoseconds, others than the crew are seen to do its work
OTHERS, OTHERS_LEAST = 0.1, 1_000_000

T = TypeVar("T")


class Crew:
    """Some threads that run jobs together, each time from a common start.

    Parameters
    ----------
    size : int
        How many.
    pinned : bool
        Whether each stays on a CPU of its own while it works.
    """

    def __init__(self, size: int, *, pinned: bool) -> None:
        self._jobs: list[queue.SimpleQueue[Any]] = [queue.SimpleQueue() for _ in range(size)]
        self._answers: queue.SimpleQueue[tuple[int, Any, BaseException | None]] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._live, args=(number, pinned), name=f"gilcmp {number}", daemon=True)
            for number in range(size)
        ]
        self._stuck = False
        self.native_ids: set[int] = set()
        for thread in self._threads:
            thread.start()
        self.native_ids |= set(self.run([threading.get_native_id] * size))

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *error: object) -> None:
        for jobs in self._jobs:
            jobs.put(None)
        # otherwise a thread may be in the middle of a long call, which nothing can end
        if error[0] is None and not self._stuck:
            for thread in self._threads:
                thread.join()

    def run(self, jobs: Sequence[Callable[[], Any]], started: Callable[[], None] | None = None) -> list[Any]:
        """Run jobs at once, a thread each from the first on, and return what they return.

        `started` is called when all are about to begin. What a job raises is raised here, when all have ended. Where
        one does not come back it is TimeoutError, and the crew is of no more use.
        """
        if self._stuck:
            raise TimeoutError("an earlier call has not come back")
        start = threading.Barrier(len(jobs), action=started)
        for waiting, job in zip(self._jobs, jobs, strict=False):
            waiting.put((start, job))
        answers: list[Any] = [None] * len(jobs)
        failure: BaseException | None = None
        for _ in jobs:
            try:
                number, answer, error = self._answers.get(timeout=LONGEST)
            except BaseException as problem:  # Ctrl-C as well: the answers that come later are another run's
                self._stuck = True
                if isinstance(problem, queue.Empty):
                    raise TimeoutError(f"a call has not come back within {LONGEST:g} s") from None
                raise
            answers[number] = answer
            failure = failure or error
        if failure is not None:
            raise failure
        return answers

    def _live(self, number: int, pinned: bool) -> None:
        settle(number, len(self._jobs) if pinned else 1)
        while (found := self._jobs[number].get()) is not None:
            start, job = found
            answer: Any = None
            error: BaseException | None = None
            try:
                with placed(keep=pinned):
                    start.wait()
                    answer = job()
            except BaseException as problem:  # it is the caller's
                error = problem
            self._answers.put((number, answer, error))
            del found, start, job, answer, error


def call_together(
    crew: Crew, calls: Sequence[Call], seconds: float, started: Callable[[], None] | None = None
) -> list[tuple[float, int]]:
    """Call a function in each thread for so many seconds, at least once.

    All have one clock. A thread that waits for the GIL before its first call has lost that time, and its own clock,
    from its first call on, would not show it: beside another thread that is a switch interval.

    Parameters
    ----------
    crew : Crew
        The threads.
    calls : sequence of (function, args, kwargs)
        What each calls.
    seconds : float
        For how long, from the common start.
    started : callable, optional
        Called when all are about to begin.

    Returns
    -------
    list of (float, int)
        Of each thread: seconds from the common start to the end of its last call, and how often it called.
    """

    def again(call: Call, late: float) -> int:
        n, _ = _gil.call_for(*call, max(0.0, seconds - late), 10**9)
        return int(n)

    return _timed(crew, [partial(again, call) for call in calls], started)


def repeat_together(
    crew: Crew,
    calls: Sequence[Callable[[], object]],
    times: int,
    wrapped: Callable[[Callable[[], object]], object],
) -> float:
    """Call a function so many times in each thread; return the seconds until the last has ended.

    The same calls in one thread and in several show what a lock costs that is not the GIL: in a given time each of two
    threads gets its call done, however long it has waited.

    Parameters
    ----------
    crew : Crew
        The threads.
    calls : sequence of callable
        What each calls.
    times : int
        How often.
    wrapped : callable
        Calls what it is given, in the thread.
    """

    def again(call: Callable[[], object], late: float) -> None:
        wrapped(partial(_gil.call_for, call, (), {}, LONGEST, times))

    return max(seconds for seconds, _ in _timed(crew, [partial(again, call) for call in calls]))


def _timed(
    crew: Crew, works: Sequence[Callable[[float], T]], started: Callable[[], None] | None = None
) -> list[tuple[float, T]]:
    """Run works at once, each told how many seconds after the common start it begins.

    Of each is returned how long after the common start it ended, in seconds without those for which its thread was
    ready to run and had no CPU, and what it returned. Where threads that a work has started do a part of it, a thread
    that has no CPU may have lent it to one of these: then nothing is left out.
    """
    began = process_cpu = 0

    def start() -> None:
        nonlocal began, process_cpu
        if started is not None:
            started()
        process_cpu = time.process_time_ns()
        began = _gil.now()

    def timed(work: Callable[[float], T]) -> tuple[int, int, int, T]:
        before = own_clocks()
        answer = work((_gil.now() - began) / 1e9)
        ended = _gil.now()
        after = own_clocks()
        return ended - began, (after.run_delay or 0) - (before.run_delay or 0), after.cpu - before.cpu, answer

    times = crew.run([partial(timed, work) for work in works], start)
    process_cpu = time.process_time_ns() - process_cpu
    alone = process_cpu - sum(cpu for _, _, cpu, _ in times) < max(OTHERS * process_cpu, OTHERS_LEAST)
    return [(max((took - without_cpu * alone) / 1e9, 1e-9), answer) for took, without_cpu, _, answer in times]
