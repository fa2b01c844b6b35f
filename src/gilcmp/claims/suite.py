"""All claims, and running them."""

from __future__ import annotations

import json
import math
import os
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

from attrs import asdict, frozen

from gilcmp._version import __version__
from gilcmp.claims.claim import CANNOT, CannotTest, Claim, Conditions, Figure, Outcome, Unclear
from gilcmp.compare import Progress
from gilcmp.environment import Environment, environment, gil_enabled
from gilcmp.pythons import Python, PythonError
from gilcmp.results import ResultError, parsed, replace_file, structured, without_nan
from gilcmp.strategies import PoolError
from gilcmp.verdict import Verdict

FORMAT, SCHEMA = "gilcmp claims", 1
BUDGET = 85.0  # seconds for all of them
SLACK = 4.0  # seconds by which second tries may exceed it

_MODULES = (
    "one_at_a_time", "cpu_threads", "contention", "io_threads", "asyncio_io", "processes", "native_release",
    "release_threshold", "refcounts", "convoy", "stalls", "free_threading", "subinterpreters",
)  # fmt: skip

#: All claims, by name, in the order in which they build on each other.
CLAIMS: Mapping[str, Claim] = MappingProxyType(
    {claim.name: claim for claim in (import_module(f"gilcmp.claims.{module}").CLAIM for module in _MODULES)}
)


@frozen
class Result:
    """A claim, the interpreter it was tested in, and what came out.

    Attributes
    ----------
    name, sentence, experiment, note : str
        The claim's.
    python : str
        Version of the interpreter, with a t where it is free-threaded.
    verdict : Verdict
        ``confirmed``, ``refuted``, ``differs on this build`` or ``cannot be tested here``, with the reason.
    figures : tuple of Figure
        What was measured.
    seconds : float
        How long it took.
    """

    name: str
    sentence: str
    experiment: str
    note: str
    python: str
    verdict: Verdict
    figures: tuple[Figure, ...]
    seconds: float


@frozen
class _Saved:
    """What is read of a file."""

    environment: Environment
    results: list[Result]


class Claims(Sequence[Result]):
    """The results of `claims`, in order; printing them shows a table with the figures.

    Attributes
    ----------
    environment : Environment
        Where they were tested.
    results : tuple of Result
        All of them.
    """

    def __init__(self, results: Iterable[Result], where: Environment) -> None:
        self.results = tuple(results)
        self.environment = where

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return next(result for result in self.results if result.name == key)
        return self.results[key]

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[Result]:
        return iter(self.results)

    def __str__(self) -> str:
        from gilcmp.show.claims import claims_text

        return claims_text(self)

    def _repr_html_(self) -> str:
        from gilcmp.show.notebook import claims_html

        return claims_html(self)

    def to_json(self) -> str:
        """Write them as JSON."""
        body = {
            "format": FORMAT,
            "schema": SCHEMA,
            "gilcmp": __version__,
            "environment": asdict(self.environment),
            "results": [asdict(result) for result in self.results],
        }
        return json.dumps(without_nan(body), indent=1, allow_nan=False) + "\n"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save them as JSON; the file is replaced as a whole or not at all."""
        replace_file(path, self.to_json())


def read_claims(text: str, source: str) -> Claims:
    """Read saved claims.

    Parameters
    ----------
    text : str
        JSON, as `Claims.to_json` writes it.
    source : str
        What to call it in an error.

    Raises
    ------
    ResultError
        For what is not JSON, not claims, of a newer schema, or broken.
    """
    body = parsed(text, source)
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise ResultError(f'{source}: not saved claims: it has no "format": "{FORMAT}" at its top')
    if body.get("schema") != SCHEMA:
        raise ResultError(f'{source}: "schema" must be {SCHEMA}, got {body.get("schema")!r}')
    found = structured(body, _Saved, "claims", source, null_is_nan=True)
    return Claims(found.results, found.environment)


def claims(
    names: str | Iterable[str] | None = None,
    *,
    budget: float = BUDGET,
    pythons: Sequence[Python] = (),
    progress: Callable[[Progress], None] | None = None,
) -> Claims:
    """Test claims about the GIL by experiments on this machine and interpreter.

    Parameters
    ----------
    names : str or iterable of str, optional
        Which; by default all of them.
    budget : float
        Seconds that all claims would take together, about; fewer claims take their share of it.
    pythons : sequence of Python
        Other interpreters in which they are tested as well, claim by claim.
    progress : callable, optional
        Called before each claim.

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
    chosen = _chosen(names)
    if not isinstance(budget, int | float) or isinstance(budget, bool) or not 1 <= budget <= 1e5:
        raise ValueError(f"budget must be from 1 to 1e5 seconds, got {budget!r}")
    scale = budget / sum(claim.seconds for claim in CLAIMS.values())
    where = environment()
    name = where.python + "t" * where.free_threaded
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
            for python in pythons:
                if claim.name == "free-threading":
                    continue  # it has seen them all already
                if progress is not None:
                    progress(Progress(f"{claim.name}, {python.name}", done / total, total - done))
                results.append(_tested_in(python, claim, budget))
                done += claim.seconds * scale
    except BaseException as error:
        error.claims = Claims(results, where)  # type: ignore[attr-defined]
        raise
    return Claims(results, environment())


def _chosen(names: str | Iterable[str] | None) -> list[Claim]:
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
    except subprocess.TimeoutExpired as error:
        outcome = Outcome(Verdict(CANNOT, f"a process of its own took longer than {error.timeout:.0f} s"))
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
    command = [python.path, "-m", "gilcmp", "claims", claim.name, "--budget", f"{budget}s", "--json", "-"]
    began = time.perf_counter()
    # a timeout ends it with SIGKILL; what it had started ends with it, since its pipes do
    try:
        done = subprocess.run(  # noqa: S603  # an interpreter that was checked
            command, capture_output=True, text=True, timeout=60 + 3 * budget, check=False
        )
        if done.returncode:
            raise PythonError((done.stderr.strip().splitlines() or ["no reason given"])[-1])
        (found,) = json.loads(done.stdout)["results"]
        return _read_result(found)
    except (PythonError, subprocess.TimeoutExpired, ValueError, KeyError) as error:
        outcome = Outcome(Verdict(CANNOT, f"{python.path}: {error}"))
        return _result(claim, python.name, outcome, time.perf_counter() - began)


def _read_result(found: Mapping[str, Any]) -> Result:
    filled: list[dict[str, Any]] = [
        {key: math.nan if value is None else value for key, value in figure.items()}
        for figure in found["figures"]
    ]
    figures = tuple(Figure(**figure) for figure in filled)
    return Result(**{**found, "verdict": Verdict(**found["verdict"]), "figures": figures})


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

    from gilcmp.claims.claim import WORDS

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
