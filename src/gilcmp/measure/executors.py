"""What runs tasks: executors of the calling thread, threads, processes, coroutines and interpreters."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import platform
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import cache
from multiprocessing.connection import wait as wait_for_any
from pathlib import Path
from typing import Any, TypeAlias

from gilcmp.measure.placement import settle, settle_from
from gilcmp.measure.runners import Runner
from gilcmp.measure.steady import blas_limit, keep_blas_to

ExecutorFactory: TypeAlias = "Callable[[int], Executor | Runner]"

START_TIMEOUT = 60.0  # seconds that all workers of a pool have to get ready


class PoolError(RuntimeError):
    """A pool could not do its work: its workers died or never started, or a task could not be sent to them.

    Attributes
    ----------
    workers_died : bool
        Whether the workers died: such a pool can no longer be used.
    """

    def __init__(self, message: str, *, workers_died: bool = False) -> None:
        super().__init__(message)
        self.workers_died = workers_died


class SerialExecutor(Executor):
    """Runs each task at once, in the calling thread; a task's exception comes straight out of `submit`."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run ``fn(*args, **kwargs)`` and return a future that is done."""
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class AsyncioExecutor(Executor):
    """Runs at most `workers` coroutine functions at a time, in an event loop with a thread of its own."""

    def __init__(self, workers: int) -> None:
        import asyncio

        self._submit = asyncio.run_coroutine_threadsafe
        self._loop = asyncio.new_event_loop()
        self._room = asyncio.Semaphore(workers)
        self._thread = threading.Thread(target=self._run, name="gilcmp asyncio", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        """Run the loop until it is told to stop; what still runs in it is cancelled."""
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._cancel_all())
        finally:
            self._loop.close()

    async def _cancel_all(self) -> None:
        import asyncio

        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Await ``fn(*args, **kwargs)`` in the loop, when there is room."""
        return self._submit(self._when_there_is_room(fn, args, kwargs), self._loop)

    async def _when_there_is_room(self, fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        async with self._room:
            return await fn(*args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the loop. A coroutine that blocks it cannot be stopped: with ``wait=False`` it is left behind."""
        with contextlib.suppress(RuntimeError):  # it is closed already
            self._loop.call_soon_threadsafe(self._loop.stop)
        if wait:
            self._thread.join()


def open_interpreters(workers: int) -> Executor:
    """Open a pool of interpreters."""
    # looked up by name: below 3.14 they are not there, for type checkers either
    pool = getattr(importlib.import_module("concurrent.futures"), "InterpreterPoolExecutor")  # noqa: B009
    numbers = importlib.import_module("concurrent.interpreters").create_queue()
    for number in range(workers):
        numbers.put(number)
    executor: Executor = pool(workers, initializer=settle_from, initargs=(numbers, workers))
    return executor


def no_interpreters() -> str | None:
    """Say why there is no pool of interpreters here; None where there is."""
    if sys.version_info >= (3, 14):
        return None
    return f"needs Python 3.14 (InterpreterPoolExecutor), this is {sys.version_info[0]}.{sys.version_info[1]}"


def open_threads(workers: int) -> Executor:
    """Open a pool of threads, and start them all."""
    # The barrier makes the pool start all its threads now, not as it needs them. Ctrl-C is held back here:
    # after it, the threads already started would wait for the others until the timeout.
    ready = threading.Barrier(workers)

    def wait_for_all() -> None:
        with contextlib.suppress(threading.BrokenBarrierError):  # not all could be started
            settle(ready.wait(START_TIMEOUT), workers)

    pool = ThreadPoolExecutor(workers, thread_name_prefix="gilcmp", initializer=wait_for_all)
    try:
        for _ in range(workers):
            pool.submit(nothing, None)
    except RuntimeError as error:  # no further thread is to be had; those that there are wait for it
        ready.abort()
        pool.shutdown()
        raise PoolError(f"cannot start {workers} threads: {error}") from error
    return pool


def _start_worker(ready: Any, blas_threads: int | None) -> None:
    """Make a process ready for tasks: deaf to Ctrl-C (the parent ends it), and never outliving the parent."""
    keep_blas_to(blas_threads)
    with contextlib.suppress(ValueError):  # only a main thread may set handlers, and only it gets the signal
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_die_with, args=(parent.sentinel,), daemon=True).start()
    settle(ready.wait(START_TIMEOUT), ready.parties)


def _die_with(sentinel: int) -> None:
    wait_for_any([sentinel])
    os._exit(1)


def process_opener(start_method: str | None) -> ExecutorFactory:
    """Return what opens a pool of processes; None: by the default start method."""

    def open_processes(workers: int) -> Executor:
        context = multiprocessing.get_context(start_method)
        prepared = context.Barrier(workers), blas_limit()
        return ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=prepared)

    return open_processes


def no_start_method(start_method: str) -> str | None:
    """Say why there is no such start method here; None where there is."""
    if start_method in multiprocessing.get_all_start_methods():
        return None
    return f"{sys.platform} has no start method {start_method!r}"


def nothing(task: Any) -> None:
    """Do nothing: what the price of handing a task over is measured with."""


@cache
def this_machine() -> str:
    """Tell this machine, and this namespace of process IDs on it, from all others."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return platform.node()


def whereabouts(task: Any) -> str:
    """Tell on which machine it is done: what a pool is warmed up with."""
    return this_machine()
