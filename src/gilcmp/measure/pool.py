"""A strategy's executor, opened and warm: running a list of tasks, and ending the workers whatever they do."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, BrokenExecutor, Executor, Future, wait
from functools import partial
from typing import Any

from attrs import define, field

from gilcmp.base.child import safe_workers
from gilcmp.measure.clocks import Sample, mark, measured, measured_coroutine
from gilcmp.measure.cpus import family, usable_cpus
from gilcmp.measure.executors import PoolError, nothing, this_machine, whereabouts
from gilcmp.measure.request import SENT
from gilcmp.measure.runners import Runner
from gilcmp.measure.strategies import Strategy
from gilcmp.show import words

LOOK_AT_WORKERS = 1.0  # seconds between two checks whether awaited workers are stopped

STOPPED_TIMEOUT = 10.0  # seconds for which a worker may be stopped before it is ended

TRIES, QUICK = 5, 0.01  # times that a light task is sent again while that takes longer than so many seconds
LONG_SENDING = 0.1  # seconds that it may take to measure what sending tasks costs

EMPTY_TASKS = 16  # by which the price of handing one over is measured

# What is raised when the system gives no further process, thread, semaphore or file
REFUSED = (OSError, MemoryError, ImportError)


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Let Ctrl-C wait while workers are started: between fork and exec it would be lost, or hit half a worker.

    Workers inherit the signal mask, and so never see Ctrl-C.
    """
    if not hasattr(signal, "pthread_sigmask") or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _starting_workers() -> Iterator[None]:
    with _interrupts_held_back(), safe_workers():
        yield


def _start_forkserver(strategy: Strategy) -> None:
    """Start the program's forkserver, if the strategy needs it, while no signal is held back.

    All later processes of the program are its children and inherit what it blocks.
    """
    method = strategy.name.partition("-")[2] or multiprocessing.get_context().get_start_method()
    if strategy.name.startswith("processes") and method == "forkserver":
        from multiprocessing import forkserver

        forkserver.ensure_running()


@define
class Pool:
    """A strategy's executor, opened and warm.

    Attributes
    ----------
    strategy : Strategy
        Whose executor it is.
    workers : int
        How many workers it may use.
    startup : float
        Seconds until all workers were ready.
    grown : int or None
        Bytes by which this process grew while it was opened; None where the system does not tell.
    outside : set of int
        IDs of this machine's processes that work for it and are no children of this one: the ranks of an MPI program,
        the workers and the scheduler of a named Dask cluster.
    """

    strategy: Strategy
    workers: int
    startup: float
    _executor: Executor | Runner
    _children: frozenset[Any]
    grown: int | None = None
    outside: set[int] = field(factory=set)
    _helpers: frozenset[int] = frozenset()  # those that hand out tasks, and do none
    _on_this_machine: bool = False
    _known: set[int] = field(factory=set)

    @classmethod
    def open(cls, strategy: Strategy, workers: int) -> Pool:
        """Open the executor and wait until every worker has started.

        Raises
        ------
        PoolError
            When it does not open.
        """
        before = set(multiprocessing.active_children())
        had = _resident()
        start = time.perf_counter()
        with warnings.catch_warnings():
            # 3.12+ warns of fork beside threads. Ours hold no lock then: they wait for work, or do not run yet.
            warnings.filterwarnings("ignore", ".*use of fork.*", DeprecationWarning)
            try:
                with safe_workers():
                    _start_forkserver(strategy)
                with _starting_workers():
                    executor = strategy.open(workers)
            except REFUSED as error:
                raise PoolError(f"cannot start: {error}") from error
            if not isinstance(executor, Executor | Runner):
                raise TypeError(
                    f"strategy {strategy.name!r} must open a concurrent.futures.Executor, got {type(executor).__name__}"
                )
            pool = cls(strategy, workers, 0.0, executor, frozenset())
            try:
                # no two alike: some runners would do equal tasks once
                samples, *_ = pool.run(whereabouts, range(workers))
            except BaseException as error:
                pool._children = frozenset(set(multiprocessing.active_children()) - before)
                pool.close(at_once=True)
                if isinstance(error, REFUSED):
                    raise PoolError(f"cannot start its workers: {error}") from error
                if isinstance(error, PoolError) and error.workers_died:
                    raise PoolError(
                        f"{error} while starting (with the start methods spawn and forkserver, a script that "
                        "calls gilcmp needs 'if __name__ == \"__main__\":' around what it does)"
                    ) from error
                raise
        pool.startup = time.perf_counter() - start
        pool._children = frozenset(set(multiprocessing.active_children()) - before)
        pool._on_this_machine = all(sample.part == this_machine() for sample in samples)
        pool._helpers = getattr(executor, "helpers", frozenset())
        pool._note_outside({*(sample.process for sample in samples), *pool._helpers})
        has = _resident()
        pool.grown = None if had is None or has is None else max(0, has - had)
        return pool

    def memory(self) -> int | None:
        """Return the bytes of memory that a worker takes, on average; None where the system does not tell.

        Of processes it is their proportional share (PSS) where the system tells that, else what is theirs alone; of
        threads and interpreters, the bytes by which this process grew when they were started.
        """
        workers = {child.pid for child in self._children} or self.outside - self._helpers
        if not workers:
            here = self.strategy.own and not self.strategy.name.startswith("dask")
            return self.grown // self.workers if here and self.grown is not None else None
        sizes = [size for size in map(_memory_of, workers) if size is not None]
        return sum(sizes) // len(sizes) if sizes else None

    def _note_outside(self, processes: set[int]) -> None:
        """Note those of its workers that are processes of this machine, and no children of this one."""
        new = processes - self._known
        if not self._on_this_machine or not new:
            return
        self._known |= new
        self.outside |= new - family()

    def hand_over(self) -> float:
        """Measure the seconds to hand an empty task over and get its answer, when many follow each other."""
        tasks = range(max(EMPTY_TASKS, self.workers))
        runs = (self.run(nothing, tasks) for _ in range(3))
        return min(end - start for _, start, end, _ in runs) / len(tasks) / 1e9

    def run(
        self, function: Callable[[Any], Any], tasks: Sequence[Any], *, keep_place: bool = False
    ) -> tuple[list[Sample], int, int, int]:
        """Do all tasks; `keep_place`: each worker on a CPU of its own for as long as a task takes.

        Returns
        -------
        samples : list of Sample
            In the order of the tasks.
        start, end, process_cpu : int
            When the first was handed out and the last was back, and the CPU time of this process meanwhile,
            all its threads together, in nanoseconds.

        Raises
        ------
        PoolError
            When workers died, or a task or its answer could not be sent. What a task itself raises comes out
            as it is, and the other tasks are given up.
        """
        mark()
        measure: Callable[..., Any] = measured_coroutine if self.strategy.coroutines else measured
        place = (keep_place,) * (not self.strategy.coroutines)
        futures: list[Future[Sample]] = []
        cpu_before = time.process_time_ns()
        start = time.perf_counter_ns()
        try:
            # a pool may start its workers now
            with _starting_workers() if self.strategy.isolated else contextlib.nullcontext():
                if isinstance(self._executor, Runner):
                    samples = self._executor.run(partial(measured, function), tasks)
                else:
                    for task in tasks:
                        futures.append(self._executor.submit(measure, function, task, *place))
            # one wait for all: a waiter per future would wake the main thread, and cost the GIL, at every task
            self._wait(futures)
            end = time.perf_counter_ns()
            process_cpu = time.process_time_ns() - cpu_before
            if not isinstance(self._executor, Runner):
                samples = list(map(Future.result, filter(Future.done, futures)))
            self._check(samples, tasks)
            self._note_outside({sample.process for sample in samples})
            return samples, start, end, process_cpu
        except BrokenExecutor as error:
            reason = f"the workers of {self.strategy.name} x {self.workers} died ({error})"
            raise PoolError(reason, workers_died=True) from error
        except Exception as error:
            sends = self.strategy.isolated or self._children  # a user's executor may have processes as well
            if sends and _is_pickling_error(error):  # threads send nothing anywhere
                raise PoolError(f"cannot be sent to another process: {error}") from error
            raise
        finally:
            # No variable may keep one, not even of a loop (hence map above): a future holds its error, whose
            # traceback holds this frame, and such a cycle kept the executor alive until the collector ran.
            while futures:
                futures.pop().cancel()

    def send(
        self, function: Callable[[Any], Any], task: Any, others: Sequence[Any], *, light: bool
    ) -> tuple[float, Sample]:
        """Measure the seconds to send a task and get its answer, besides doing it; and return its sample.

        `light`: whether it has few bytes, so that a long time is the machine's, or the runner's first one.
        `others` are sent as well, a few at once, if that takes no time: what a runner needs for a whole list is no
        price of a single task.
        """
        best = math.inf
        for _ in range(TRIES if light else 1):
            (sample,), start, end, _ = self.run(function, [task])
            best = min(best, max(0, end - start - (sample.end - sample.start)) / 1e9)
            if best < QUICK:
                break
        others = others[: SENT - TRIES]
        if best * len(others) < LONG_SENDING and len(others) > 1:
            samples, start, end, _ = self.run(function, others)
            doing = sum(each.end - each.start for each in samples) / min(self.workers, usable_cpus())
            best = min(best, max(0.0, end - start - doing) / 1e9 / len(others))
        return best, sample

    def _check(self, samples: Sequence[Any], tasks: Sequence[Any]) -> None:
        """Raise PoolError where a runner did not do each task."""
        if self.strategy.own:
            return
        if len(samples) != len(tasks) or not all(isinstance(sample, Sample) for sample in samples):
            got = f"{words.counted(len(samples), 'answer')} to {words.counted(len(tasks), 'task')}"
            raise PoolError(f"its runner must return what the function returns, task by task: it gave {got}")
        done = len({(sample.process, sample.thread, sample.start, sample.end) for sample in samples})
        if done < len(samples):
            raise PoolError(
                f"its runner did {done} of {len(samples)} tasks, and shared their answers with equal ones: tell it not "
                "to (Dask: get_executor(pure=False)), or give it tasks that differ"
            )

    def _wait(self, futures: Sequence[Future[Any]]) -> None:
        """Wait until all are done, or one has failed; a worker process that is stopped is ended after a while."""
        stopped_since: dict[Any, float] = {}
        while True:
            done, rest = wait(futures, timeout=LOOK_AT_WORKERS, return_when=FIRST_EXCEPTION)
            if not rest or any(future.cancelled() or future.exception() for future in done):
                return
            for child in self._children:
                if not _is_stopped(child):
                    stopped_since.pop(child, None)
                elif time.monotonic() - stopped_since.setdefault(child, time.monotonic()) > STOPPED_TIMEOUT:
                    child.kill()  # its pool breaks, which ends the waiting

    def close(self, *, at_once: bool = False) -> None:
        """End the workers; `at_once`: do not wait for what they are doing (a thread cannot be stopped)."""
        if at_once and not isinstance(self._executor, Runner):  # those would start others in their place
            self._kill()
        impatient = threading.Timer(STOPPED_TIMEOUT, self._kill)  # for a worker that is stopped and cannot end
        impatient.daemon = True
        if self._children and not at_once:
            impatient.start()
        try:
            self._shut_down(wait=not at_once or (bool(self._children) and not isinstance(self._executor, Runner)))
        except Exception as error:  # what was measured is not lost for it
            warnings.warn(f"closing {self.strategy.name} x {self.workers} failed: {error!r}", stacklevel=2)
        finally:
            impatient.cancel()
            if at_once:
                self._kill()

    def _shut_down(self, *, wait: bool) -> None:
        try:
            self._executor.shutdown(wait=wait, cancel_futures=True)
        except TypeError:  # some executors do not know the second argument
            self._executor.shutdown(wait=wait)

    def _kill(self) -> None:
        for child in self._children:
            child.kill()


def _resident() -> int | None:
    import psutil

    try:
        return int(psutil.Process().memory_info().rss)
    except (psutil.Error, OSError):  # no /proc, or no further file
        return None


def _memory_of(process: int) -> int | None:
    """Return the memory of a process, in bytes: the pages that it shares with others count in part."""
    import psutil

    try:
        told = psutil.Process(process).memory_full_info()
    except (psutil.Error, OSError):
        return None
    return int(getattr(told, "pss", 0) or getattr(told, "uss", 0)) or None


def _is_stopped(child: Any) -> bool:
    """Tell whether a process has been stopped by a signal, as from a debugger or a shell."""
    import psutil

    try:
        return bool(psutil.Process(child.pid).status() == psutil.STATUS_STOPPED)
    except psutil.Error:
        return False


def _is_pickling_error(error: BaseException) -> bool:
    """Tell an error of the transport, whose type varies (TypeError, AttributeError …), by what it speaks of.

    A task's own exception from another process comes with the remote traceback, which shows the pickler only
    when it was the pickler that failed.
    """
    from pickle import PicklingError

    if isinstance(error, PicklingError):
        return True
    cause = f"{error} {error.__cause__ or ''}".lower()
    return isinstance(error, TypeError | AttributeError | ValueError) and "pickle" in cause
