"""The ways a list of tasks is run, by name, and what a user may name besides."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from attrs import field, frozen

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
        chosen = [Strategy(str(name), "an executor of the user's", factory) for name, factory in wanted.items()]
    elif isinstance(wanted, str | Strategy) or callable(wanted):
        chosen = [_resolve_one(wanted)]
    elif isinstance(wanted, Iterable):
        chosen = [_resolve_one(choice) for choice in wanted]
    else:
        raise TypeError(f"strategies must be names or executor factories, got {wanted!r}")
    names = [strategy.name for strategy in chosen]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"strategies must not repeat, got {name!r} twice")
    for strategy in chosen:
        if strategy.unavailable:
            raise ValueError(f"strategy {strategy.name!r} is not available: {strategy.unavailable}")
    return chosen


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
