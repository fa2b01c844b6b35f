"""What the pytest plugin's fixture `gil_comparison` does: cells measured interleaved, each shown as a test's benchmark.

pytest-benchmark by itself times one test after the other, block by block: on a busy machine identical code differs by
tens of per cent that way. Here the cells of all tests are measured in turns, and each test only replays what was
measured of its cell, by a clock that advances only when told to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from attrs import field, frozen

from gilcmp.compute.kernel import Kernel, unavailable
from gilcmp.compute.registry import kernels
from gilcmp.judge.cell import Cell
from gilcmp.judge.comparison import Comparison
from gilcmp.measure.request import DEFAULT_STRATEGIES, worker_counts
from gilcmp.measure.session import Session, measure_together
from gilcmp.measure.strategies import Strategy, resolve, strategies
from gilcmp.saved.reading import to_plain, without_nan

CellKey: TypeAlias = tuple[str, str, int]

DEFAULT_WORKERS = 2  # the same on every machine, so that the tests' names are
QUICK = 0.001  # seconds: one round, where pytest-benchmark is told not to measure


@frozen
class Suite:
    """The cells of one test function, and how they are measured.

    Attributes
    ----------
    cells : dict of tuple to str or None
        Implementation, strategy and workers of each, and why it cannot be measured here (None: it can).
    session : callable
        ``session(budget)`` returns the `Session` that measures them all; a budget of None: what was asked for.
    """

    cells: Mapping[CellKey, str | None]
    session: Callable[[float | None], Session] = field(repr=False)


def plan(
    work: Any,
    *,
    implementations: str | Iterable[str] | None = None,
    strategies: Any = DEFAULT_STRATEGIES,
    workers: int | Iterable[int] = DEFAULT_WORKERS,
    budget: float = 10.0,
    **arguments: Any,
) -> Suite:
    """Plan a suite from the arguments of `gilcmp.compare`; the work is one kernel, a function or a mapping of them.

    Implementations and strategies that this machine or interpreter lacks stay in the plan with the reason, so that the
    tests are the same everywhere.

    Raises
    ------
    ValueError, TypeError
        For arguments that are not allowed.
    """
    chosen, lacking_strategies = _strategies(strategies)
    names = _implementations(work, implementations)
    lacking = {name: reason for name, reason in names.items() if reason}
    counts = worker_counts(workers, 1)
    cells: dict[CellKey, str | None] = {}
    for name, reason in names.items():
        cells[name, "serial", 1] = reason
        for strategy in (*(strategy.name for strategy in chosen), *lacking_strategies):
            for count in counts:
                cells[name, strategy, count] = reason or lacking_strategies.get(strategy)

    def session(seconds: float | None) -> Session:
        named: dict[str, Any] = {}
        if _is_kernel(work):  # functions have no implementations to name
            named["implementations"] = [name for name in names if name not in lacking]
        return Session(work, strategies=chosen, workers=counts, budget=seconds or budget, **named, **arguments)

    return Suite(cells, session)


def _is_kernel(work: Any) -> bool:
    return isinstance(work, str | Kernel)


def _implementations(work: Any, wanted: str | Iterable[str] | None) -> dict[str, str | None]:
    """Return the names of the implementations, each with why it is not there."""
    if callable(work):
        return {getattr(work, "__name__", type(work).__name__): None}
    if isinstance(work, Mapping):
        return {str(name): None for name in work}
    kernel = kernels.get(work) if isinstance(work, str) else work
    if not isinstance(kernel, Kernel):
        raise ValueError(f"work must be a kernel ({', '.join(kernels)}), a function or a mapping, got {work!r}")
    chosen = list(kernel.implementations) if wanted is None else [wanted] if isinstance(wanted, str) else list(wanted)
    for name in chosen:
        if name not in kernel.implementations:
            known = ", ".join(kernel.implementations)
            raise ValueError(f"implementation must be one of {known}, got {name!r}")
    return {name: unavailable(name) for name in chosen}


def _strategies(wanted: Any) -> tuple[list[Strategy], dict[str, str]]:
    """Return the strategies that can be used besides serial, and the names of the others with the reason."""
    if isinstance(wanted, str):
        wanted = [wanted]
    lacking = {}
    if isinstance(wanted, Iterable) and not isinstance(wanted, Mapping):
        wanted = list(wanted)
        known = [strategies[name] for name in wanted if isinstance(name, str) and name in strategies]
        lacking = {name.name: name.unavailable for name in known if name.unavailable}
        wanted = [name for name in wanted if name not in lacking]
    return [name for name in resolve(wanted) if name.name != "serial"], lacking


def measure_suites(suites: Mapping[str, Suite], *, quick: bool) -> dict[str, Comparison | BaseException]:
    """Measure all suites in turns; what cannot be measured gives its error.

    Raises
    ------
    KeyboardInterrupt
        Its attribute `comparisons` holds what was measured of each until then.
    """
    results: dict[str, Comparison | BaseException] = {}
    sessions: dict[str, Session] = {}
    for name, suite in suites.items():
        try:
            sessions[name] = suite.session(QUICK if quick else None)
        except (TypeError, ValueError) as error:
            results[name] = error
    try:
        return results | dict(zip(sessions, measure_together(list(sessions.values())), strict=True))
    except KeyboardInterrupt as error:
        error.comparisons = {name: session.comparison() for name, session in sessions.items()}  # type: ignore[attr-defined]
        raise


class Clock:
    """A timer that goes on only when it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the seconds on the clock, as `time.perf_counter` does."""
        return self.now


def replay(cell: Cell, clock: Clock, benchmark: Any) -> None:
    """Replay to pytest-benchmark what one pass of the tasks took in each round that counts.

    Parameters
    ----------
    cell : Cell
        Whose rounds they are: the quiet ones, or all where none was quiet.
    clock : Clock
        The timer of `benchmark`.
    benchmark : pytest_benchmark.fixture.BenchmarkFixture
        The fixture of the test.
    """
    if benchmark.group is None:
        benchmark.group = cell.kernel
    benchmark.extra_info.update(facts(cell))
    rounds = cell.quiet or cell.rounds
    passes = iter([seen.wall / cell.record.repeats for seen in rounds])

    def next_round(passes: Iterator[float] = passes) -> None:
        clock.now += next(passes, 0.0)

    benchmark.pedantic(next_round, rounds=len(rounds))


def facts(cell: Cell) -> dict[str, Any]:
    """Return what pytest-benchmark cannot tell about a cell, for its JSON; ``gilcmp diff`` reads it there."""
    speedup = cell.speedup
    info = {
        "implementation": cell.implementation,
        "strategy": cell.strategy,
        "workers": cell.workers,
        "gil": cell.gil_enabled,
        "size": cell.size,
        "unit": cell.unit,
        "work": cell.record.work // cell.record.repeats,
        "speedup": None if cell.is_serial else speedup.value,
        "speedup_low": None if cell.is_serial else speedup.low,
        "speedup_high": None if cell.is_serial else speedup.high,
        "cpus_busy": cell.cores.value,
        "run_delay": cell.run_delay.value,
        "verdict": cell.verdict.word,
        "reason": cell.verdict.reason,
        "gilcmp": {"cell": to_plain(cell.record), "serial": to_plain(cell.serial_record)},
    }
    plain: dict[str, Any] = without_nan(info)
    return plain
