"""What users run their tasks with besides executors: pools and functions that take a whole list of tasks."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import BrokenExecutor, Executor
from multiprocessing.pool import Pool as ProcessPool
from typing import Any, TypeAlias

Map: TypeAlias = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]

PATIENCE = 5.0  # seconds that a pool has to end at once
LOOK_AT_WORKERS = 1.0  # seconds between two checks whether a worker was killed


class Runner:
    """Runs a list of tasks and returns all answers, in their order.

    Parameters
    ----------
    run : callable
        ``run(function, tasks)`` returns the answers.
    owner : object, optional
        What is to be closed when no more tasks come.
    """

    def __init__(self, run: Map, owner: Any = None) -> None:
        self._run = run
        self._owner = owner

    def run(self, function: Callable[[Any], Any], tasks: Sequence[Any]) -> list[Any]:
        """Return the answers to all tasks."""
        return list(self._run(function, tasks))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End it by whichever of the usual methods it has; `wait`: until what it does is done.

        A pool of multiprocessing whose worker was killed with a lock in its hands never comes to its end.
        """
        ending = threading.Thread(target=self._end, args=(wait,), name="gilcmp ending", daemon=True)
        ending.start()
        ending.join(None if wait else PATIENCE)
        for worker in () if wait else list(getattr(self._owner, "_pool", ())):
            if hasattr(worker, "kill"):  # those of a ThreadPool have no such method
                worker.kill()

    def _end(self, wait: bool) -> None:
        for name in ("shutdown", "close") if wait else ("terminate", "shutdown", "close"):
            if callable(getattr(self._owner, name, None)):
                getattr(self._owner, name)()
                break
        if callable(getattr(self._owner, "join", None)):
            self._owner.join()


def takes_all(factory: Callable[..., Any]) -> bool:
    """Tell whether it is a ``runner(function, tasks, workers)``, and not a factory."""
    with contextlib.suppress(TypeError, ValueError):  # some builtins have no signature
        needed = [
            parameter
            for parameter in inspect.signature(factory).parameters.values()
            if parameter.default is parameter.empty
            and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        ]
        return len(needed) == 3
    return False


def opened(factory: Callable[..., Any], workers: int, name: str) -> Executor | Runner:
    """Open what a user gave for a strategy.

    Raises
    ------
    TypeError
        Where it is nothing that runs tasks.
    """
    if takes_all(factory):
        return Runner(lambda function, tasks: factory(function, tasks, workers))
    made = factory(workers)
    if isinstance(made, Executor):
        return made
    if isinstance(made, ProcessPool):
        return Runner(lambda function, tasks: _map_and_watch(made, function, tasks), made)
    if type(made).__module__.startswith("joblib.") and callable(made):
        delayed = importlib.import_module("joblib").delayed
        return Runner(lambda function, tasks: made(delayed(function)(task) for task in tasks))
    if callable(getattr(made, "map", None)):
        return Runner(made.map, made)
    raise TypeError(
        f"strategy {name!r} must open a concurrent.futures.Executor, a pool, or something else with "
        f"map(function, tasks), got {type(made).__name__}"
    )


def _map_and_watch(pool: ProcessPool, function: Callable[[Any], Any], tasks: Sequence[Any]) -> list[Any]:
    """Let a pool of multiprocessing do all tasks; it would wait for ever for what a killed worker had."""
    workers = list(getattr(pool, "_pool", ()))  # a pool starts others in their place
    answers = pool.map_async(function, tasks)
    while not answers.ready():
        answers.wait(LOOK_AT_WORKERS)
        if any((getattr(worker, "exitcode", None) or 0) < 0 for worker in workers) and not answers.ready():
            raise BrokenExecutor("a worker was killed")
    return answers.get()
