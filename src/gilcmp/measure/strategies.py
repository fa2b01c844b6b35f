"""The ways a list of tasks is run, by name, and what a user may name besides."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from attrs import evolve, field, frozen

from gilcmp.measure.executors import (
    AsyncioExecutor,
    ExecutorFactory,
    SerialExecutor,
    no_interpreters,
    no_start_method,
    open_interpreters,
    open_threads,
    process_opener,
)
from gilcmp.measure.on_dask import no_dask, opener
from gilcmp.measure.runners import opened

# The names of the ready-made ones; a type checker finds others.
StrategyName: TypeAlias = Literal[
    "serial", "threads", "processes", "processes-spawn", "processes-fork", "processes-forkserver", "asyncio",
    "interpreters", "dask",
]  # fmt: skip

START_METHODS = ("spawn", "fork", "forkserver")


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
        ``open(workers)`` returns a `concurrent.futures.Executor`, or a `Runner`.
    unavailable : str or None
        Why it cannot be used here; None where it can.
    isolated : bool
        Whether each worker has an interpreter of its own: tasks are pickled, and no GIL is shared.
    coroutines : bool
        Whether it runs coroutine functions, and nothing else.
    own : bool
        Whether it is gilcmp's own; of a user's it is not known where its workers are.
    """

    name: str
    summary: str = field(eq=False)
    open: ExecutorFactory = field(eq=False)
    unavailable: str | None = field(default=None, eq=False)
    isolated: bool = field(default=False, eq=False)
    coroutines: bool = field(default=False, eq=False)
    own: bool = field(default=True, eq=False)

    @property
    def sends(self) -> bool:
        """Whether tasks may be sent to another process."""
        return self.isolated or not self.own


#: The ready-made strategies, by name.
strategies: Mapping[str, Strategy] = MappingProxyType(
    {
        strategy.name: strategy
        for strategy in (
            Strategy("serial", "one task after the other in the calling thread", lambda workers: SerialExecutor()),
            Strategy("threads", "a ThreadPoolExecutor", open_threads),
            Strategy(
                "processes",
                f"a ProcessPoolExecutor, started by {multiprocessing.get_context().get_start_method()} "
                "(the interpreter's default)",
                process_opener(None),
                isolated=True,
            ),
            *(
                Strategy(
                    f"processes-{method}",
                    f"a ProcessPoolExecutor, started by {method}",
                    process_opener(method),
                    no_start_method(method),
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
                open_interpreters,
                no_interpreters(),
                isolated=True,
            ),
            Strategy(
                "dask",
                "workers of a Dask cluster: processes of one thread each here, or dask:ADDRESS",
                opener(),
                no_dask(),
                isolated=True,
            ),
        )
    }
)


# What a user may ask for: names, strategies, factories of executors or runners, and several of them
One: TypeAlias = StrategyName | Strategy | Callable[..., Any]
Wanted: TypeAlias = One | Mapping[str, Callable[..., Any]] | Iterable[One]


def resolve(wanted: Any) -> list[Strategy]:
    """Return the strategies that a user named.

    Parameters
    ----------
    wanted : str, Strategy, callable, mapping of str to callable, or an iterable of the first three
        A callable is a factory: ``factory(workers)`` returns a `concurrent.futures.Executor`, a pool of
        multiprocessing, a `joblib.Parallel`, or anything else with ``map(function, tasks)``. One of three arguments is
        a runner itself: ``runner(function, tasks, workers)`` returns the answers.

    Raises
    ------
    ValueError
        For a name that does not exist, cannot be used here, or comes twice.
    """
    if isinstance(wanted, Mapping):
        for name, factory in wanted.items():
            if not callable(factory):
                raise TypeError(f"strategies[{name!r}] must be a factory of executors, or a runner, got {factory!r}")
            if name in strategies:
                raise ValueError(f"strategies must not take the name of a ready-made one, got {name!r}")
        chosen = [_of_user(str(name), factory) for name, factory in wanted.items()]
    elif isinstance(wanted, str | Strategy) or callable(wanted):
        chosen = [_resolve_one(wanted)]
    elif isinstance(wanted, Iterable):
        chosen = [_resolve_one(choice) for choice in wanted]
    else:
        raise TypeError(f"strategies must be names or factories of executors, got {wanted!r}")
    names = [strategy.name for strategy in chosen]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"strategies must not repeat, got {name!r} twice")
    for strategy in chosen:
        if strategy.unavailable:
            raise ValueError(f"strategy {strategy.name!r} is not available: {strategy.unavailable}")
    return chosen


def _of_user(name: str, factory: Callable[..., Any]) -> Strategy:
    return Strategy(name, "a runner of the user's", lambda workers: opened(factory, workers, name), own=False)


def _resolve_one(wanted: Any) -> Strategy:
    if isinstance(wanted, Strategy):
        return wanted
    if isinstance(wanted, str):
        name, _, address = wanted.partition(":")
        if name == "dask" and address:
            return evolve(strategies["dask"], name=wanted, open=opener(address))
        if wanted not in strategies:
            raise ValueError(f"strategy must be one of {', '.join(strategies)}, got {wanted!r}")
        return strategies[wanted]
    if callable(wanted):
        return _of_user(getattr(wanted, "__name__", repr(wanted)), wanted)
    raise TypeError(f"a strategy must be a name or a factory of executors, got {wanted!r}")
