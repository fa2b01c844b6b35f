"""Threads that are kept, each on a CPU of its own where there are enough, to run things at once again and again."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gilcmp.measure.clocks import own_clocks
from gilcmp.measure.placement import placed, settle
from gilcmp.watch import _gil

LONGEST = 600.0  # seconds that a round may take


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
        self.native_ids: set[int] = set()
        for thread in self._threads:
            thread.start()
        self.native_ids |= set(self.run([threading.get_native_id] * size))

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *error: object) -> None:
        for jobs in self._jobs:
            jobs.put(None)
        if error[0] is None:  # otherwise a thread may be in the middle of a long call, which nothing can end
            for thread in self._threads:
                thread.join()

    def run(self, jobs: Sequence[Callable[[], Any]], started: Callable[[], None] | None = None) -> list[Any]:
        """Run jobs at once, a thread each from the first on, and return what they return.

        `started` is called when all are about to begin. What a job raises is raised here, when all have ended.
        """
        start = threading.Barrier(len(jobs), action=started)
        for waiting, job in zip(self._jobs, jobs, strict=False):
            waiting.put((start, job))
        answers: list[Any] = [None] * len(jobs)
        failure: BaseException | None = None
        for _ in jobs:
            number, answer, error = self._answers.get(timeout=LONGEST)
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


def call_for(
    func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], seconds: float
) -> tuple[float, int]:
    """Call a function for so many seconds, at least once, in the calling thread.

    Returns
    -------
    seconds : float
        How long it took, without the time for which the thread was ready to run and had no CPU.
    calls : int
        How often it was called.
    """
    before = own_clocks()
    n, took = _gil.call_for(func, args, kwargs, seconds, 10**9)
    after = own_clocks()
    delay = 0
    if before.run_delay is not None and after.run_delay is not None:
        delay = after.run_delay - before.run_delay
    return max(took - delay / 1e9, 1e-9), n
