"""All claims, and running them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

from gilcmp.base.checks import Duration, duration
from gilcmp.base.child import ChildError, ask
from gilcmp.experiments.claim import CANNOT, CannotTest, Claim, Conditions, Outcome, Unclear
from gilcmp.experiments.results import Claims, Result
from gilcmp.judge.verdict import Verdict
from gilcmp.measure.executors import PoolError
from gilcmp.measure.machine import environment, gil_enabled
from gilcmp.measure.pythons import Python
from gilcmp.measure.session import Progress
from gilcmp.saved.reading import ResultError, structured

BUDGET = 90.0  # seconds for all of them
SLACK = 4.0  # seconds by which second tries may exceed it

_MODULES = (
    "one_at_a_time", "cpu_threads", "contention", "io_threads", "asyncio_io", "processes", "native_release",
    "release_threshold", "refcounts", "convoy", "stalls", "free_threading", "subinterpreters",
    "shared_list", "shared_dict", "shared_counter", "one_lock", "shared_constants", "shared_function", "gil_turned_on",
)  # fmt: skip

#: All claims, by name, in the order in which they build on each other.
CLAIMS: Mapping[str, Claim] = MappingProxyType(
    {claim.name: claim for claim in (import_module(f"gilcmp.experiments.{module}").CLAIM for module in _MODULES)}
)


def claims(
    names: str | Iterable[str] | None = None,
    *,
    budget: Duration | None = None,
    pythons: Sequence[Python] = (),
    progress: Callable[[Progress], None] | None = None,
    finished: Callable[[Claims], None] | None = None,
) -> Claims:
    """Test claims about the GIL by experiments on this machine and interpreter.

    Parameters
    ----------
    names : str or iterable of str, optional
        Which; by default all of them. Those about free-threaded builds are left out where none is at hand.
    budget : float, optional
        Seconds for the claims that are tested, together; by default what they need, 90 for all.
    pythons : sequence of Python
        Other interpreters in which they are tested as well, claim by claim.
    progress : callable, optional
        Called before each claim.
    finished : callable, optional
        Called after each claim, with all results up to then.

    Returns
    -------
    Claims
        A result for each claim and interpreter. Whatever ends the testing early, Ctrl-C included, carries the
        finished ones as its attribute ``claims``.

    Raises
    ------
    ValueError
        For a claim that does not exist.
    """
    free = not gil_enabled() or any(python.free_threaded for python in pythons)
    everything = [claim for claim in CLAIMS.values() if free or not claim.free_threaded]
    chosen = everything if names is None else chosen_claims(names)
    scale = BUDGET / sum(claim.seconds for claim in everything)
    if budget is not None:
        scale = duration("budget", budget, 0.01, 1e5) / (sum(claim.seconds for claim in chosen) or 1.0)
    where = environment()
    name = where.build
    total = sum(claim.seconds * scale for claim in chosen) * (1 + len(pythons))
    done = 0.0
    latest = time.perf_counter() + total + SLACK
    results: list[Result] = []
    try:
        for claim in chosen:
            if progress is not None:
                progress(Progress(claim.name, done / total, total - done))
            conditions = Conditions(claim.seconds * scale, where.cpus, gil_enabled(), tuple(pythons))
            done += claim.seconds * scale
            again = time.perf_counter() + claim.seconds * scale + total - done <= latest
            results.append(_tested(claim, conditions, name, again=again))
            if finished is not None:
                finished(Claims(results, where))
            for python in pythons:
                if claim.name == "free-threading":
                    continue  # it has seen them all already
                if progress is not None:
                    progress(Progress(f"{claim.name}, {python.name}", done / total, total - done))
                results.append(_tested_in(python, claim, claim.seconds * scale))
                done += claim.seconds * scale
    except BaseException as error:
        error.claims = Claims(results, where)  # type: ignore[attr-defined]
        raise
    return Claims(results, environment())


def chosen_claims(names: str | Iterable[str] | None) -> list[Claim]:
    """Return the named claims; None: all of them."""
    if names is None:
        return list(CLAIMS.values())
    chosen = []
    for name in [names] if isinstance(names, str) else names:
        if name not in CLAIMS:
            raise ValueError(f"claim must be one of {', '.join(CLAIMS)}, got {name!r}")
        chosen.append(CLAIMS[name])
    return chosen


def _tested(claim: Claim, conditions: Conditions, python: str, *, again: bool = True) -> Result:
    """Test a claim; what is left open is tried `again` where the time allows it."""
    began = time.perf_counter()
    try:
        try:
            outcome = claim.run(conditions)
        except Unclear:  # a busy moment, perhaps
            if not again:
                raise
            outcome = claim.run(conditions)
    except CannotTest as reason:
        outcome = Outcome(Verdict(CANNOT, str(reason)))
    except (OSError, RuntimeError, MemoryError, PoolError) as error:  # what a system may refuse
        outcome = Outcome(Verdict(CANNOT, f"{type(error).__name__}: {error}"))
    return _result(claim, python, outcome, time.perf_counter() - began)


def _result(claim: Claim, python: str, outcome: Outcome, seconds: float) -> Result:
    return Result(
        claim.name,
        claim.sentence,
        claim.experiment,
        claim.note,
        python,
        outcome.verdict,
        outcome.figures,
        seconds,
    )


def _tested_in(python: Python, claim: Claim, budget: float) -> Result:
    """Test a claim in another interpreter, by its own command line."""
    arguments = ("-m", "gilcmp", "claims", claim.name, "--budget", f"{budget}s", "--json", "-")
    began = time.perf_counter()
    try:
        (result,) = ask(*arguments, python=python.path, timeout=60 + 3 * budget)["results"]
        read: Result = structured(result, Result, "result", python.path, null_is_nan=True)
        return read
    except (ChildError, ValueError, KeyError, TypeError) as error:
        outcome = Outcome(Verdict(CANNOT, f"{python.path}: {error}"))
        return _result(claim, python.name, outcome, time.perf_counter() - began)


def read_expected(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read what is expected of claims, from TOML: ``cpu-threads = "confirmed"``.

    Raises
    ------
    ResultError
        For what is no TOML, or names a claim or a verdict that does not exist.
    OSError
        For a file that cannot be read.
    """
    import tomllib

    from gilcmp.experiments.claim import WORDS

    source = os.fspath(path)
    try:
        expected = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ResultError(f"{source}: not TOML: {error}") from None
    for name, word in expected.items():
        if name not in CLAIMS:
            raise ResultError(f"{source}: claim must be one of {', '.join(CLAIMS)}, got {name!r}")
        if word not in WORDS:
            raise ResultError(f"{source}: {name} must be one of {', '.join(WORDS)}, got {word!r}")
    return expected
