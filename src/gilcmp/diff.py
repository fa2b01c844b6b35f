"""Two or more saved runs side by side: what differs between the machines, and cell by cell in the figures."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

from attrs import asdict, frozen

from gilcmp.benchmark_files import is_benchmark_file, run_from_benchmarks
from gilcmp.comparison import Cell, Comparison
from gilcmp.estimate import CONFIDENCE, Estimate, middle
from gilcmp.results import from_json, parsed, read_text
from gilcmp.verdict import MIN_ROUNDS

Source: TypeAlias = str | os.PathLike[str] | Comparison
Key: TypeAlias = tuple[str, str, str, int]

RESAMPLES = 2000
BATCHES = 5
# 97.5 % points of Student's t for 1, 2, 3 … degrees of freedom; two runs of five batches have at most 8
STUDENT = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31)
# What of an environment is expected to differ between two runs on one machine, and says nothing
UNTOLD = ("load",)


@frozen
class Difference:
    """A field of the environment that is not the same everywhere: its name, and its value in each run."""

    name: str
    values: tuple[str, ...]


@frozen
class CellDiff:
    """One cell in one of the further runs, against the first.

    Attributes
    ----------
    key : tuple
        Kernel, implementation, strategy, workers.
    time : Estimate
        Time per unit of work over that of the first run: below 1 is faster.
    speedup : Estimate
        Speed-up over that of the first run: above 1 scales better. NaN for serial cells.
    refused : str
        Why the two cannot be compared; empty where they can.
    """

    key: Key
    time: Estimate
    speedup: Estimate
    refused: str = ""


@frozen
class Mean:
    """Geometric mean over cells of an implementation under a strategy: of times and of speed-ups."""

    implementation: str
    strategy: str
    time: float
    speedup: float
    cells: int


@frozen
class RunDiff:
    """One further run against the first.

    Attributes
    ----------
    name : str
        The run's.
    cells : tuple of CellDiff
        The cells that both have.
    missing, extra : tuple of tuple
        Keys of cells that only the first run has, or only this one.
    means : tuple of Mean
        By implementation and strategy.
    """

    name: str
    cells: tuple[CellDiff, ...]
    missing: tuple[Key, ...]
    extra: tuple[Key, ...]
    means: tuple[Mean, ...]


@frozen
class Diff:
    """Runs side by side.

    Attributes
    ----------
    names : tuple of str
        What the runs are called, the first one first.
    environment : tuple of Difference
        What differs between where they were measured; what matters for threads comes first.
    runs : tuple of RunDiff
        Each further run against the first.
    """

    names: tuple[str, ...]
    environment: tuple[Difference, ...]
    runs: tuple[RunDiff, ...]

    def below(self, limit: float) -> list[tuple[str, CellDiff, str]]:
        """Return the cells that got worse for sure: their whole interval lies below `limit`.

        Worse is a smaller speed-up, or less work per second (the inverse of `CellDiff.time`).
        """
        found = []
        for run in self.runs:
            for cell in run.cells:
                if not cell.refused and cell.time.low > 1 / limit:
                    found.append(
                        (run.name, cell, f"does {1 / cell.time.value:.2f} times the work per second")
                    )
                elif not cell.refused and cell.speedup.high < limit:
                    found.append((run.name, cell, f"has {cell.speedup.value:.2f} times the speed-up"))
        return found

    def __str__(self) -> str:
        from gilcmp.show.diff import diff_text

        return diff_text(self)

    def _repr_html_(self) -> str:
        from gilcmp.show.notebook import diff_html

        return diff_html(self)


def diff(first: Source, *others: Source) -> Diff:
    """Lay saved runs side by side.

    Parameters
    ----------
    first : path or Comparison
        What the others are compared with.
    *others : path or Comparison
        At least one.

    Returns
    -------
    Diff
        What differs; printing it shows the tables.

    Raises
    ------
    ValueError
        Without a second run.
    ResultError, OSError
        For a file that is not a saved run, or cannot be read.

    Notes
    -----
    The interval of a ratio of two medians is the wider one of two. The first is a bootstrap over the rounds of both
    runs (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, 13.3), widened by what consecutive rounds have
    in common: rounds close in time see the same machine, and count for less than as many independent ones. The second
    knows slow changes of the machine: it comes from how the medians of batches of consecutive rounds differ
    (Schmeiser, Batch size effects in the analysis of simulation output, Operations Research 30, 1982; with Welch's
    degrees of freedom for two runs). benchmarks/diff_coverage.py measures how often both together miss.
    """
    if not others:
        raise ValueError("diff needs at least two runs, got one")
    sources = [first, *others]
    loaded = [_load(source) for source in sources]
    runs = [run for run, _ in loaded]
    names = _names(sources)
    return Diff(
        names=tuple(names),
        environment=tuple(_environments(loaded)),
        runs=tuple(_run_diff(name, runs[0], run) for name, run in zip(names[1:], runs[1:], strict=True)),
    )


def _load(source: Source) -> tuple[Comparison, frozenset[str]]:
    """Return a run, and the fields of its environment that its file does not tell."""
    if isinstance(source, Comparison):
        return source, frozenset()
    name = os.fspath(source)
    text = read_text(source)
    body = parsed(text, name)
    if is_benchmark_file(body):
        run, unknown = run_from_benchmarks(body, name)
        return Comparison(run), unknown
    return Comparison(from_json(text, name)), frozenset()


def _names(sources: Sequence[Source]) -> list[str]:
    """Name runs by their files without what all paths have in common; comparisons by their place."""
    paths = [None if isinstance(source, Comparison) else os.fspath(source) for source in sources]
    names = [f"run {at}" if path is None else os.path.basename(path) for at, path in enumerate(paths, 1)]  # noqa: PTH119
    if len(set(names)) < len(names):
        names = [name if path is None else path for name, path in zip(names, paths, strict=True)]
    return [name if names.count(name) == 1 else f"{name} ({at})" for at, name in enumerate(names, 1)]


def _environments(loaded: Sequence[tuple[Comparison, frozenset[str]]]) -> list[Difference]:
    described = [asdict(run.environment) for run, _ in loaded]
    packages = [one.pop("packages") for one in described]
    loads = [one["load"] for one in described]
    for one, (_, unknown) in zip(described, loaded, strict=True):
        one.update(dict.fromkeys(unknown - {"packages"}))
    found: list[Difference] = []
    # the lock first: it changes what threads can do at all
    for name in ("gil_enabled", "free_threaded", "gil_culprit", *described[0]):
        values = tuple(_shown(one[name]) for one in described)
        if len(set(values)) > 1 and name not in UNTOLD and name not in [known.name for known in found]:
            found.append(Difference(name, values))
    for package in sorted({name for one in packages for name in one}):
        values = tuple(one.get(package, "-") for one in packages)
        if len(set(values)) > 1:
            found.append(Difference(package, values))
    busy = tuple(f"{load[0]:.2f}" for load in loads)
    allowed = [run.environment.cpus_allowed for run, _ in loaded]
    if max(load[0] - cpus / 2 for load, cpus in zip(loads, allowed, strict=True)) > 0:
        found.append(Difference("load (1 minute)", busy))
    return found


def _shown(value: object) -> str:
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _run_diff(name: str, first: Comparison, other: Comparison) -> RunDiff:
    one, two = ({cell.record.key: cell for cell in run} for run in (first, other))
    cells = tuple(_cell_diff(cell, two[key]) for key, cell in one.items() if key in two)
    return RunDiff(
        name=name,
        cells=cells,
        missing=tuple(key for key in one if key not in two),
        extra=tuple(key for key in two if key not in one),
        means=tuple(_means(cells)),
    )


def _cell_diff(first: Cell, other: Cell) -> CellDiff:
    key = first.record.key
    unknown = Estimate(math.nan, math.nan, math.nan, 0)
    reason = _why_not(first, other)
    if reason:
        return CellDiff(key, unknown, unknown, reason)
    times = [[seen.wall / cell.record.work for seen in cell.quiet] for cell in (first, other)]
    speedup = unknown
    if not first.is_serial:
        speedup = ratio_of_medians(_speedups(first), _speedups(other))
    return CellDiff(key, ratio_of_medians(*times), speedup)


def _speedups(cell: Cell) -> list[float]:
    partners = {seen.round: seen.wall for seen in cell.serial_rounds}
    return [partners[seen.round] / seen.wall for seen in cell.quiet if seen.round in partners]


def _why_not(first: Cell, other: Cell) -> str:
    one, two = first.record, other.record
    for record in (one, two):
        if record.error and not record.rounds:
            return record.error
    if one.kernel_version != two.kernel_version:
        return f"the kernel's work has changed: version {one.kernel_version} and {two.kernel_version}"
    if one.size != two.size:
        return f"another size: {one.size:,} and {two.size:,}" if one.size and two.size else "another size"
    if one.unit != two.unit or (one.size is None and one.tasks != two.tasks):
        return f"other tasks: {one.tasks} and {two.tasks}"
    for cell in (first, other):
        if cell.verdict == "starved" or len(cell.quiet) < MIN_ROUNDS:
            return f"{len(cell.quiet)} quiet rounds in one of them: {cell.verdict.word}"
    return ""


def ratio_of_medians(first: Sequence[float], other: Sequence[float]) -> Estimate:
    """Estimate median(other) / median(first), with an interval that holds for values that resemble their neighbours.

    Values come in the order in which they were measured. `diff` tells the method.
    """
    value = middle(other) / middle(first)
    low, high = _bootstrapped(first, other)
    width = _batched(first, other)
    return Estimate(value, min(low, value / width), max(high, value * width), min(len(first), len(other)))


def _batched(first: Sequence[float], other: Sequence[float]) -> float:
    """Return the factor from the ratio to the ends of its interval, by the medians of batches of neighbours."""
    variances = []
    for values in (first, other):
        batches = min(BATCHES, len(values) // 2)
        if batches < 2:
            return 1.0
        edges = [len(values) * i // batches for i in range(batches + 1)]
        middles = [math.log(middle(values[start:stop])) for start, stop in pairwise(edges)]
        variances.append((_variance(middles) / batches, batches - 1))
    total = sum(variance for variance, _ in variances)
    if not total:
        return 1.0
    freedom = total**2 / sum(variance**2 / degrees for variance, degrees in variances)
    return math.exp(STUDENT[min(int(freedom), len(STUDENT)) - 1] * math.sqrt(total))


def _variance(values: Sequence[float]) -> float:
    """Return the sample variance (the module statistics crashes some interpreters that have others beside them)."""
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _bootstrapped(first: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    """Return the ends of a bootstrap interval.

    The spread of the resampled medians is widened by the factor by which their lag-1 autocorrelation r inflates the
    variance of a mean, (1 + r) / (1 - r).
    """
    numbers = random.Random(0)
    widths = [_inflation(values) for values in (first, other)]
    centres = [math.log(middle(values)) for values in (first, other)]
    drawn = []
    for _ in range(RESAMPLES):
        logs = [
            centre + width * (math.log(middle(numbers.choices(values, k=len(values)))) - centre)
            for values, centre, width in zip((first, other), centres, widths, strict=True)
        ]
        drawn.append(math.exp(logs[1] - logs[0]))
    drawn.sort()
    tail = round(RESAMPLES * (1 - CONFIDENCE) / 2)
    value = middle(other) / middle(first)
    return min(drawn[tail], value), max(drawn[-tail - 1], value)


def _inflation(values: Sequence[float]) -> float:
    """Square root of the factor by which the variance of a mean grows, since neighbours resemble each other."""
    n = len(values)
    mean = sum(values) / n
    spread = sum((value - mean) ** 2 for value in values)
    if n < MIN_ROUNDS or not spread:
        return 1.0
    r = sum((a - mean) * (b - mean) for a, b in pairwise(values)) / spread
    r = min(max(r + 1 / n, 0.0), 0.9)  # the estimate of r is low by about 1 / n
    return math.sqrt((1 + r) / (1 - r) * n / (n - 1))


def _means(cells: Sequence[CellDiff]) -> list[Mean]:
    groups: dict[tuple[str, str], list[CellDiff]] = {}
    for cell in cells:
        if not cell.refused:
            groups.setdefault((cell.key[1], cell.key[2]), []).append(cell)
    return [
        Mean(
            *names,
            _geometric([c.time.value for c in group]),
            _geometric([c.speedup.value for c in group]),
            len(group),
        )
        for names, group in groups.items()
    ]


def _geometric(values: Sequence[float]) -> float:
    known = [math.log(value) for value in values if not math.isnan(value)]
    return math.exp(sum(known) / len(known)) if known else math.nan
