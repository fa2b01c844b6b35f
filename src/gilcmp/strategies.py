"""The ways a list of tasks is run: each opens a `concurrent.futures.Executor`."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import (
    FIRST_EXCEPTION,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from multiprocessing.connection import wait as wait_for_any
from types import MappingProxyType
from typing import Any, TypeAlias

from attrs import define, field, frozen

from gilcmp.accounting import Sample, mark, measured, measured_coroutine

ExecutorFactory: TypeAlias = Callable[[int], Executor]

START_TIMEOUT = 60.0  # seconds that all workers of a pool have to get ready
START_METHODS = ("spawn", "fork", "forkserver")


class PoolError(RuntimeError):
    """A pool could not do its work: its workers died or never started, or a task could not be sent to them."""


class SerialExecutor(Executor):
    """Runs each task at once, in the calling thread; a task's exception comes straight out of `submit`."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run ``fn(*args, **kwargs)`` and return a future that is done."""
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class AsyncioExecutor(Executor):
    """Runs coroutine functions in an event loop that has a thread of its own, at most so many at a time."""

    def __init__(self, workers: int) -> None:
        import asyncio

        self._submit = asyncio.run_coroutine_threadsafe
        self._loop = asyncio.new_event_loop()
        self._room = asyncio.Semaphore(workers)
        self._thread = threading.Thread(target=self._loop.run_forever, name="gilcmp asyncio", daemon=True)
        self._thread.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Await ``fn(*args, **kwargs)`` in the loop, when there is room."""
        return self._submit(self._when_there_is_room(fn, args, kwargs), self._loop)

    async def _when_there_is_room(
        self, fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        async with self._room:
            return await fn(*args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the loop; what still runs in it is cancelled."""
        if self._loop.is_closed():
            return
        self._submit(self._cancel_all(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _cancel_all(self) -> None:
        import asyncio

        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


def _open_interpreters(workers: int) -> Executor:
    # looked up by name: below 3.14 it is not there, for type checkers either
    pool: ExecutorFactory = getattr(importlib.import_module("concurrent.futures"), "InterpreterPoolExecutor")  # noqa: B009
    return pool(workers)


def _no_interpreters() -> str | None:
    if sys.version_info >= (3, 14):
        return None
    return f"needs Python 3.14 (InterpreterPoolExecutor), this is {sys.version_info[0]}.{sys.version_info[1]}"


def _open_threads(workers: int) -> Executor:
    # The barrier makes the pool start all its threads, which it otherwise does when it needs them. They are
    # started here, where Ctrl-C is held back: half of them would wait for the others until the time is up.
    ready = threading.Barrier(workers)
    pool = ThreadPoolExecutor(
        workers, thread_name_prefix="gilcmp", initializer=ready.wait, initargs=(START_TIMEOUT,)
    )
    for _ in range(workers):
        pool.submit(_nothing, None)
    return pool


def _start_worker(ready: Any) -> None:
    """Make a process ready for tasks: deaf to Ctrl-C (the parent ends it), and never outliving the parent."""
    with contextlib.suppress(ValueError):  # only a main thread may set handlers, and only it gets the signal
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_die_with, args=(parent.sentinel,), daemon=True).start()
    ready.wait(START_TIMEOUT)


def _die_with(sentinel: int) -> None:
    wait_for_any([sentinel])
    os._exit(1)


def _process_opener(start_method: str | None) -> ExecutorFactory:
    def open_processes(workers: int) -> Executor:
        context = multiprocessing.get_context(start_method)
        return ProcessPoolExecutor(
            workers, mp_context=context, initializer=_start_worker, initargs=(context.Barrier(workers),)
        )

    return open_processes


def _no_start_method(start_method: str) -> str | None:
    if start_method in multiprocessing.get_all_start_methods():
        return None
    return f"{sys.platform} has no start method {start_method!r}"


@frozen
class Strategy:
    """One way a list of tasks is run.

    Attributes
    ----------
    name : str
        Its name.
    summary : str
        What it does, in a line.
    open : callable
        ``open(workers)`` returns a `concurrent.futures.Executor`.
    unavailable : str or None
        Why it cannot be used here; None where it can.
    isolated : bool
        Whether each worker has an interpreter of its own: tasks are pickled, and no GIL is shared.
    coroutines : bool
        Whether it runs coroutine functions, and nothing else.
    """

    name: str
    summary: str = field(eq=False)
    open: ExecutorFactory = field(eq=False)
    unavailable: str | None = field(default=None, eq=False)
    isolated: bool = field(default=False, eq=False)
    coroutines: bool = field(default=False, eq=False)


#: The ready-made strategies, by name.
strategies: Mapping[str, Strategy] = MappingProxyType(
    {
        strategy.name: strategy
        for strategy in (
            Strategy(
                "serial", "one task after the other in the calling thread", lambda workers: SerialExecutor()
            ),
            Strategy("threads", "a ThreadPoolExecutor", _open_threads),
            Strategy(
                "processes",
                f"a ProcessPoolExecutor, started by {multiprocessing.get_context().get_start_method()} "
                "(the interpreter's default)",
                _process_opener(None),
                isolated=True,
            ),
            *(
                Strategy(
                    f"processes-{method}",
                    f"a ProcessPoolExecutor, started by {method}",
                    _process_opener(method),
                    _no_start_method(method),
                    isolated=True,
                )
                for method in START_METHODS
            ),
            Strategy(
                "asyncio",
                "coroutine functions in one event loop, in one thread",
                AsyncioExecutor,
                coroutines=True,
            ),
            Strategy(
                "interpreters",
                "an InterpreterPoolExecutor: threads, each in an interpreter with its own GIL",
                _open_interpreters,
                _no_interpreters(),
                isolated=True,
            ),
        )
    }
)


def resolve(wanted: Any) -> list[Strategy]:
    """Return the strategies that a user named.

    Parameters
    ----------
    wanted : str, Strategy, callable, mapping of str to callable, or an iterable of the first three
        A callable is an executor factory: ``factory(workers)`` returns a `concurrent.futures.Executor`.

    Raises
    ------
    ValueError
        For a name that does not exist, cannot be used here, or comes twice.
    """
    if isinstance(wanted, Mapping):
        for name, factory in wanted.items():
            if not callable(factory):
                raise TypeError(f"strategies[{name!r}] must be an executor factory, got {factory!r}")
            if name in strategies:
                raise ValueError(f"strategies must not take the name of a ready-made one, got {name!r}")
        found = [
            Strategy(str(name), "an executor of the user's", factory) for name, factory in wanted.items()
        ]
    elif isinstance(wanted, str | Strategy) or callable(wanted):
        found = [_resolve_one(wanted)]
    elif isinstance(wanted, Iterable):
        found = [_resolve_one(one) for one in wanted]
    else:
        raise TypeError(f"strategies must be names or executor factories, got {wanted!r}")
    names = [strategy.name for strategy in found]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"strategies must not repeat, got {name!r} twice")
    for strategy in found:
        if strategy.unavailable:
            raise ValueError(f"strategy {strategy.name!r} is not available: {strategy.unavailable}")
    return found


def _resolve_one(wanted: Any) -> Strategy:
    if isinstance(wanted, Strategy):
        return wanted
    if isinstance(wanted, str):
        if wanted not in strategies:
            raise ValueError(f"strategy must be one of {', '.join(strategies)}, got {wanted!r}")
        return strategies[wanted]
    if callable(wanted):
        return Strategy(getattr(wanted, "__name__", repr(wanted)), "an executor of the user's", wanted)
    raise TypeError(f"a strategy must be a name or an executor factory, got {wanted!r}")


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Let Ctrl-C wait while workers are started: between fork and exec it would be lost, or hit half a worker.

    Workers inherit that, and stay deaf to it.
    """
    if not hasattr(signal, "pthread_sigmask") or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _nothing(task: Any) -> None:
    """Do nothing: what a pool is warmed up with."""


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
    """

    strategy: Strategy
    workers: int
    startup: float
    _executor: Executor
    _children: frozenset[Any]

    @classmethod
    def open(cls, strategy: Strategy, workers: int) -> Pool:
        """Open the executor and wait until every worker has started.

        Raises
        ------
        PoolError
            When it does not open.
        """
        before = set(multiprocessing.active_children())
        start = time.perf_counter()
        with warnings.catch_warnings():
            # 3.12+ warns of fork beside threads. Ours hold no lock then: they wait for work, or do not run yet.
            warnings.filterwarnings("ignore", ".*use of fork.*", DeprecationWarning)
            with _interrupts_held_back():
                executor = strategy.open(workers)
            if not isinstance(executor, Executor):
                raise TypeError(
                    f"strategy {strategy.name!r} must open a concurrent.futures.Executor, "
                    f"got {type(executor).__name__}"
                )
            pool = cls(strategy, workers, 0.0, executor, frozenset())
            try:
                pool.run(_nothing, [None] * workers)
            except BaseException as error:
                pool._children = frozenset(set(multiprocessing.active_children()) - before)
                pool.close(at_once=True)
                if isinstance(error, PoolError):
                    raise PoolError(
                        f"{error} while starting (with the start methods spawn and forkserver, a script that "
                        "calls gilcmp needs 'if __name__ == \"__main__\":' around what it does)"
                    ) from error
                raise
        pool.startup = time.perf_counter() - start
        pool._children = frozenset(set(multiprocessing.active_children()) - before)
        return pool

    def run(self, function: Callable[[Any], Any], tasks: Sequence[Any]) -> tuple[list[Sample], int, int, int]:
        """Do all tasks.

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
        futures: list[Future[Sample]] = []
        cpu_before = time.process_time_ns()
        start = time.perf_counter_ns()
        try:
            # a pool may start its workers now
            with _interrupts_held_back() if self.strategy.isolated else contextlib.nullcontext():
                for task in tasks:
                    futures.append(self._executor.submit(measure, function, task))
            # one wait for all: a waiter per future would wake the main thread, and cost the GIL, at every task
            wait(futures, return_when=FIRST_EXCEPTION)
            end = time.perf_counter_ns()
            process_cpu = time.process_time_ns() - cpu_before
            return [future.result() for future in futures if future.done()], start, end, process_cpu
        except BrokenExecutor as error:
            raise PoolError(f"the workers of {self.strategy.name} x {self.workers} died ({error})") from error
        except Exception as error:
            sends = self.strategy.isolated or self._children  # a user's executor may have processes as well
            if sends and _is_pickling_error(error):  # threads send nothing anywhere
                raise PoolError(f"cannot be sent to another process: {error}") from error
            raise
        finally:
            for future in futures:
                future.cancel()

    def close(self, *, at_once: bool = False) -> None:
        """End the workers; `at_once`: do not wait for what they are doing (a thread cannot be stopped)."""
        if at_once:
            for child in self._children:
                child.kill()
        self._executor.shutdown(wait=not at_once or bool(self._children), cancel_futures=True)


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
