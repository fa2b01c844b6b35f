"""The isolation sweep: what makes threads slower by being shared, where no lock shows it.

References to one object are counted by all threads that use it, and neighbours in memory share cache lines: neither
leaves a
trace that could be sampled. So one thing after the other is shared alone while each thread has copies of all others.
What is
shared although nobody else needs it, and makes a call slower than with nothing shared, is in the way. To share only one
thing finds several culprits; to isolate only one finds none where there are two.
"""

from __future__ import annotations

import importlib.util
import random
import sys
import time
import types
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from gilcmp.base.calls import Call, Statement
from gilcmp.contending.advice import SHARED
from gilcmp.contending.copies import CannotCopy, private_call, things_of
from gilcmp.contending.result import Isolation, SharedThing
from gilcmp.judge.estimate import UNKNOWN, Estimate, median_in_time
from gilcmp.measure.crew import Crew, call_together

SLICE = 0.05  # seconds that all threads work at once
ROUNDS = 7
LOSS = 1.25  # times as slow as with nothing shared: what counts as in the way
OFTEN = 0.7  # of the rounds must be so slow
SLOW_COPY = 0.5  # seconds that a thread's copies may take
MOST = 12  # things that are tried


def isolate(
    func: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    threads: int,
    *,
    rounds: int = ROUNDS,
    tell: Callable[[str, float], None] | None = None,
    renewed: Statement | None = None,
) -> Isolation:
    """Find out which of the things that a function names are in the way of threads by being shared.

    Parameters
    ----------
    func, args, kwargs : callable, sequence, mapping
        The call.
    threads : int
        How many threads make it at once.
    rounds : int
        How often each way is measured.
    tell : callable, optional
        Called before each round with what is done, and which part of it is done already.
    renewed : Statement, optional
        The statement that `func` was made of: it can be made anew with its setup.
    """
    things = things_of(func, args, kwargs)
    notes: list[str] = []
    copied = _copyable(things, func, args, kwargs, notes)
    if len(copied) > MOST:
        notes.append(f"only the first {MOST} of {len(copied)} shared things were tried")
        copied = dict(list(copied.items())[:MOST])
    kept = [key for key in things if key not in copied]  # shared all the time
    ways: dict[Any, Callable[[], Call]] = {
        "shared": lambda: (func, (*args,), dict(kwargs)),
        "private": partial(private_call, func, args, kwargs, kept),
    }
    for key in copied:
        ways[key] = partial(private_call, func, args, kwargs, [*kept, key])
    fresh = _fresh_import(renewed or func)
    if fresh is not None:
        ways["fresh"] = lambda: (fresh(), (*args,), dict(kwargs))
    with Crew(threads, pinned=True) as crew:
        costs = _measured(crew, threads, ways, rounds, notes, tell)
    return _concluded(things, costs, notes)


def _copyable(
    things: Mapping[tuple[str, str], Any], func: Any, args: Any, kwargs: Any, notes: list[str]
) -> dict[tuple[str, str], Any]:
    """Leave out what cannot be copied, with a note; note where copies change what is computed."""
    copied = {}
    for key, value in things.items():
        began = time.perf_counter()
        try:
            private_call(func, args, kwargs, [other for other in things if other != key])
        except CannotCopy as error:
            notes.append(f"the {key[0]} {key[1]} cannot be copied, and stays shared: {error}")
            continue
        if time.perf_counter() - began > SLOW_COPY:
            notes.append(f"the {key[0]} {key[1]} takes longer than {SLOW_COPY} s to copy, and stays shared")
            continue
        copied[key] = value
    call = private_call(func, args, kwargs, [key for key in things if key not in copied])
    results = [func(*args, **kwargs), func(*args, **kwargs)]
    try:
        results.insert(0, call[0](*call[1], **call[2]))
    except Exception:  # said where it is measured
        return copied
    if _equal(results[1], results[2]) and not _equal(results[0], results[1]):
        notes.append(
            "copies for each thread change what the function returns: they show what is in the way, and are no remedy"
        )
    return copied


def _equal(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except Exception:  # arrays, and whatever else does not compare: not known to differ
        return True


def _fresh_import(func: Callable[..., Any]) -> Callable[[], Callable[..., Any]] | None:
    """Return what imports the function's module anew and returns the function of it; None where that cannot be."""
    if isinstance(func, Statement):
        return lambda: Statement(func.text, func.setup).function
    module = sys.modules.get(getattr(func, "__module__", None) or "")
    file = getattr(module, "__file__", None)
    if (
        not isinstance(func, types.FunctionType)
        or module is None
        or module.__name__ == "__main__"
        or not str(file).endswith(".py")
    ):
        return None
    if "<locals>" in func.__qualname__:
        return None

    def fresh() -> Callable[..., Any]:
        spec = importlib.util.spec_from_file_location(module.__name__, file)
        if spec is None or spec.loader is None:
            raise CannotCopy("its module cannot be imported anew")
        made = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(made)
        found: Any = made
        for name in func.__qualname__.split("."):
            found = getattr(found, name)
        return found  # type: ignore[no-any-return]

    return fresh


def _measured(
    crew: Crew, threads: int, ways: dict[Any, Callable[[], Call]], rounds: int, notes: list[str], tell: Any
) -> dict[Any, list[float]]:
    """Measure the time of a call in each way, round by round, in shuffled order."""
    calls: dict[Any, list[Call]] = {}
    for way, make in list(ways.items()):
        try:
            calls[way] = crew.run([make] * threads)  # each thread makes its own: it owns what it has made
        except Exception as error:  # a module that cannot be imported twice, for instance
            if way == "shared":
                raise
            notes.append(_left_out(way, error))
    costs: dict[Any, list[float]] = {way: [] for way in calls}
    for number in range(rounds):
        if tell is not None:
            tell("copies for each thread", number / rounds)
        for way in random.sample(list(calls), len(calls)):
            try:
                spent = call_together(crew, calls[way], SLICE)
            except Exception as error:  # a copy that does not do what the original does
                if way == "shared":
                    raise
                notes.append(_left_out(way, error))
                del calls[way], costs[way]
                continue
            costs[way].append(sum(seconds for seconds, _ in spent) / sum(n for _, n in spent))
    return costs


def _left_out(way: Any, error: Exception) -> str:
    name = {"fresh": "a fresh import", "private": "copies of everything"}.get(way) or " ".join(way)
    return f"{name} was left out: {type(error).__name__}: {error}"


def _concluded(things: Mapping[tuple[str, str], Any], costs: Mapping[Any, list[float]], notes: list[str]) -> Isolation:
    if "private" not in costs:  # there is nothing to compare with
        return Isolation(UNKNOWN, (), None, tuple(notes))
    private = costs["private"]
    found = []
    for key, cost in costs.items():
        if key in ("shared", "private", "fresh"):
            continue
        losses = [one / alone for one, alone in zip(cost, private, strict=True)]
        slowdown = median_in_time(losses)
        culprit = slowdown.value > LOSS and sum(loss > LOSS for loss in losses) >= OFTEN * len(losses)
        kind, name = key
        found.append(SharedThing(kind, name, type(things[key]).__name__, slowdown, culprit, SHARED[kind]))
    return Isolation(
        _ratio(costs["shared"], private),
        tuple(sorted(found, key=lambda thing: (not thing.culprit, -thing.slowdown.value))),
        _ratio(costs["shared"], costs["fresh"]) if "fresh" in costs else None,
        tuple(notes),
    )


def _ratio(one: Sequence[float], other: Sequence[float]) -> Estimate:
    return median_in_time([a / b for a, b in zip(one, other, strict=True)])
