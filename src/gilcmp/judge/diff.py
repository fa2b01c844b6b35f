"""Two or more saved runs side by side: what differs between the machines, and cell by cell in the figures."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, TypeAlias

from attrs import asdict, evolve, frozen

from gilcmp.judge.cell import Cell
from gilcmp.judge.comparison import Comparison
from gilcmp.judge.differences import (
    CellDiff,
    Difference,
    Mean,
    RunDiff,
    cell_table,
    differs,
    environment_table,
    mean_table,
    reading,
    what_the_lock_changed,
    without_partner,
)
from gilcmp.judge.estimate import CONFIDENCE, UNKNOWN, Estimate
from gilcmp.judge.ratios import chance_below, holm, ratio_of_medians
from gilcmp.judge.side_by_side import Odd, Row, odd_ones, rows_of, told
from gilcmp.judge.verdict import MIN_ROUNDS, ratio
from gilcmp.saved.benchmark_files import is_benchmark_file, run_from_benchmarks
from gilcmp.saved.kept import Kept
from gilcmp.saved.reading import parsed, read_text
from gilcmp.saved.run import from_json
from gilcmp.show.model import Section, section
from gilcmp.show.words import counted, estimate

Source: TypeAlias = str | os.PathLike[str] | Comparison

# Fields of an environment that differ even between two runs on one machine, and so are left out
UNTOLD = ("load",)
MOST_CELLS = 8  # on a screen
MOST_RUNS = 2  # against the first; of more, the table of all runs tells enough
CSV_FIELDS = (
    "run", "kernel", "implementation", "strategy", "workers", "time", "time_low", "time_high", "speedup",
    "speedup_low", "speedup_high", "note",
)  # fmt: skip


@frozen
class Diff(Kept):
    """Runs side by side.

    Attributes
    ----------
    names : tuple of str
        What the runs are called, the first one first.
    environment : tuple of Difference
        What differs between their environments; what matters for threads comes first.
    runs : tuple of RunDiff
        Each further run against the first.
    rows : tuple of Row
        For three runs or more: each cell in all of them.
    """

    FORMAT: ClassVar[str] = "gilcmp diff"

    names: tuple[str, ...]
    environment: tuple[Difference, ...]
    runs: tuple[RunDiff, ...]
    rows: tuple[Row, ...] = ()

    @property
    def odd(self) -> list[Odd]:
        """Of three runs or more: those that are surely apart from the others in a cell, by a tenth at least."""
        return odd_ones(self.names, self.rows)

    def below(self, limit: float) -> list[tuple[str, CellDiff, str]]:
        """Return the cells that got worse than `limit` for sure.

        Worse is a smaller speed-up, or less work per second (the inverse of `CellDiff.time`). The chance that even one
        of those returned did not get worse is at most 2.5 %, whatever the number of cells (Holm).
        """
        compared = [(run.name, cell) for run in self.runs for cell in run.cells if not cell.refused]
        figures = [(*entry, entry[1].work, "does {:.2f} times the work per second") for entry in compared]
        figures += [(*entry, entry[1].speedup, "has {:.2f} times the speed-up") for entry in compared]
        figures = [figure for figure in figures if not math.isnan(figure[2].high)]
        sure = holm([chance_below(value, limit) for _, _, value, _ in figures], (1 - CONFIDENCE) / 2)
        worse: dict[tuple[str, object], tuple[str, CellDiff, str]] = {}
        for (name, cell, value, text), holds in zip(figures, sure, strict=True):
            if holds:
                worse.setdefault((name, cell.key), (name, cell, text.format(value.value)))
        return list(worse.values())

    @property
    def findings(self) -> list[str]:
        """What the GIL changed, where not all runs have it."""
        return what_the_lock_changed(self.names, self.environment, self.runs)

    def sections(self) -> list[Section]:
        """Return what is shown of it: the environments, then each run against the first."""
        sections = [section("", *self.findings)] if self.findings else []
        sections.append(section("All runs", *told(self.names, self.rows, self.odd)))
        title = "What differs between the environments"
        table = environment_table(self.names, self.environment) if self.environment else "nothing"
        sections.append(section(title, table))
        for run in self.runs:
            sections += [
                section(f"{run.name} against {self.names[0]}", cell_table(run)),
                section("", "Geometric means", mean_table(run)),
                section("", reading(run), *without_partner(self.names[0], run)),
            ]
        return [each for each in sections if each.parts]

    def overview(self, width: int = 80) -> list[Section]:
        """Return what was found, the means, and the cells that differ most."""
        sections = [section("", *self.findings)] if self.findings else []
        sections.append(section("All runs", *told(self.names, self.rows, self.odd)))
        for run in self.runs if len(self.runs) <= MOST_RUNS else ():
            apart = [cell for cell in run.cells if not cell.refused and (differs(cell.time) or differs(cell.speedup))]
            apart.sort(key=lambda cell: -max(_distance(cell.time), _distance(cell.speedup)))
            shown = evolve(run, cells=tuple(apart[:MOST_CELLS]))
            title = f"{run.name} against {self.names[0]}"
            sections.append(section(title, reading(run), *([mean_table(run)] if run.means else [])))
            if apart:
                sections.append(section("", "Most different:", cell_table(shown)))
            sections.append(section("", *without_partner(self.names[0], run)))
        if self.environment:
            names = ", ".join(difference.name for difference in self.environment)
            sections.append(section("", f"The environments differ in: {names}."))
        return [each for each in sections if each.parts]

    def records(self) -> list[dict[str, object]]:
        """Return its cells, and what has no partner, with a note."""
        records: list[dict[str, object]] = []
        for run in self.runs:
            for cell in run.cells:
                numbers = [number for each in (cell.time, cell.speedup) for number in (each.value, each.low, each.high)]
                records.append(dict(zip(CSV_FIELDS, [run.name, *cell.key, *numbers, cell.refused], strict=True)))
            for where, keys in ((self.names[0], run.missing), (run.name, run.extra)):
                for key in keys:
                    values = [run.name, *key, *[None] * 6, f"only in {where}"]
                    records.append(dict(zip(CSV_FIELDS, values, strict=True)))
        return records


def _distance(value: Estimate) -> float:
    """Return how far from 1 an estimate is, times or parts alike; 0 where it is not surely different."""
    return abs(math.log(value.value)) if differs(value) else 0.0


def diff(first: Source, *others: Source, names: Sequence[str] | None = None) -> Diff:
    """Lay saved runs side by side.

    Parameters
    ----------
    first : path or Comparison
        What the others are compared with.
    *others : path or Comparison
        At least one.
    names : sequence of str, optional
        What to call them; by default by their Pythons or files.

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
    runs (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, 13.3), widened for autocorrelation:
    rounds close in time see the same machine, and count for less than as many independent ones. The second
    allows for slow changes of the machine: it comes from how the medians of batches of consecutive rounds differ
    (Schmeiser, Batch size effects in the analysis of simulation output, Operations Research 30, 1982; with Welch's
    degrees of freedom for two runs). benchmarks/diff_coverage.py measures how often both together miss.
    """
    if not others:
        raise ValueError("diff needs at least two runs, got one")
    sources = [first, *others]
    loaded = [_load(source) for source in sources]
    runs = [run for run, _ in loaded]
    if names is not None and len(names) != len(sources):
        raise ValueError(f"names must be as many as there are runs, {len(sources)}, got {len(names)}")
    called = _names(sources, runs) if names is None else list(names)
    return Diff(
        names=tuple(called),
        environment=tuple(_environments(loaded)),
        runs=tuple(_run_diff(name, runs[0], run) for name, run in zip(called[1:], runs[1:], strict=True)),
        rows=rows_of(runs),
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


def _names(sources: Sequence[Source], runs: Sequence[Comparison]) -> list[str]:
    """Name runs by their Pythons, where no two are equal; else by their files, or paths, or their position."""
    pythons = [run.environment.python_name for run in runs]
    if len(set(pythons)) == len(pythons):
        return pythons
    paths = [None if isinstance(source, Comparison) else os.fspath(source) for source in sources]
    names = [f"run {number}" if path is None else Path(path).name for number, path in enumerate(paths, 1)]
    if len(set(names)) < len(names):
        names = [name if path is None else path for name, path in zip(names, paths, strict=True)]
    return [name if names.count(name) == 1 else f"{name} ({number})" for number, name in enumerate(names, 1)]


def _environments(loaded: Sequence[tuple[Comparison, frozenset[str]]]) -> list[Difference]:
    described = [asdict(run.environment) for run, _ in loaded]
    packages = [fields.pop("packages") for fields in described]
    loads = [fields["load"] for fields in described]
    for fields, (_, unknown) in zip(described, loaded, strict=True):
        fields.update(dict.fromkeys(unknown - {"packages"}))
    differences: list[Difference] = []
    # the lock first: it changes what threads can do at all
    for name in ("gil_enabled", "free_threaded", "gil_culprit", *described[0]):
        values = tuple(_shown(fields[name]) for fields in described)
        if len(set(values)) > 1 and name not in UNTOLD and name not in [known.name for known in differences]:
            differences.append(Difference(name, values))
    for package in sorted({name for fields in packages for name in fields}):
        values = tuple(fields.get(package, "-") for fields in packages)
        if len(set(values)) > 1:
            differences.append(Difference(package, values))
    busy = tuple("?" if load is None else f"{load[0]:.2f}" for load in loads)
    allowed = [run.environment.cpus_allowed for run, _ in loaded]
    if any(load is not None and load[0] > cpus / 2 for load, cpus in zip(loads, allowed, strict=True)):
        differences.append(Difference("load (1 minute)", busy))
    return differences


def _shown(value: object) -> str:
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _run_diff(name: str, first: Comparison, other: Comparison) -> RunDiff:
    firsts, others = ({cell.record.key: cell for cell in run} for run in (first, other))
    cells = tuple(_cell_diff(cell, others[key]) for key, cell in firsts.items() if key in others)
    return RunDiff(
        name=name,
        cells=cells,
        missing=tuple(key for key in firsts if key not in others),
        extra=tuple(key for key in others if key not in firsts),
        means=tuple(_means(cells)),
    )


def _cell_diff(first: Cell, other: Cell) -> CellDiff:
    key = first.record.key
    reason = _why_not(first, other)
    if reason:
        return CellDiff(key, UNKNOWN, UNKNOWN, reason)
    speedup = UNKNOWN
    if not first.is_serial:
        speedup = ratio_of_medians(_speedups(first), _speedups(other))
    return CellDiff(key, ratio_of_medians(first.times, other.times), speedup)


def _speedups(cell: Cell) -> list[float]:
    partners = {seen.round: seen for seen in cell.serial_rounds}
    return [ratio(seen, partners[seen.round], cell.scale) for seen in cell.quiet if seen.round in partners]


def _why_not(first: Cell, other: Cell) -> str:
    left, right = first.record, other.record
    for record in (left, right):
        if record.error and not record.rounds:
            return record.error
    if left.kernel_version != right.kernel_version:
        return f"the kernel's work has changed: version {left.kernel_version} and {right.kernel_version}"
    if left.size != right.size:
        return f"another size: {left.size:,} and {right.size:,}" if left.size and right.size else "another size"
    if left.unit != right.unit or (left.size is None and left.tasks != right.tasks):
        return f"other tasks: {left.tasks} and {right.tasks}"
    for cell in (first, other):
        if cell.verdict == "starved" or len(cell.quiet) < MIN_ROUNDS:
            return f"{len(cell.quiet)} quiet rounds in one of them: {cell.verdict.word}"
    return ""


def _means(cells: Sequence[CellDiff]) -> list[Mean]:
    groups: dict[tuple[str, str], list[CellDiff]] = {}
    for cell in cells:
        if not cell.refused:
            groups.setdefault((cell.key[1], cell.key[2]), []).append(cell)
    return [
        Mean(
            *names,
            geometric_mean([c.time for c in group]),
            geometric_mean([c.speedup for c in group]),
            len(group),
        )
        for names, group in groups.items()
    ]


def geometric_mean(values: Sequence[Estimate]) -> Estimate:
    """Return the geometric mean of ratios that are known, with so many of them as its `n`.

    Cells share rounds, so their errors may all point the same way: the interval's ends are the means of their ends.
    """
    known = [value for value in values if not math.isnan(value.value)]
    if not known:
        return UNKNOWN

    def mean(ends: Sequence[float]) -> float:
        return math.exp(sum(map(math.log, ends)) / len(ends))

    value, low, high = (mean([getattr(each, end) for each in known]) for end in ("value", "low", "high"))
    return Estimate(value, low, high, len(known))


def in_plain_python(compared: Sequence[tuple[str, Comparison]]) -> list[str]:
    """Say how interpreters run plain Python, in two threads and in one, beside the first of them."""
    sentences = []
    (first, base), *others = compared
    for name, comparison in others:
        said = []
        threads = [
            cell.speedup
            for cell in comparison
            if (cell.implementation, cell.strategy, cell.workers) == ("python", "threads", 2) and cell.is_clear
        ]
        if threads:
            mean = geometric_mean(threads)
            said.append(f"runs plain Python {estimate(mean)} times as fast in two threads as in one")
        means = _run_diff(name, base, comparison).means
        alone = [each.time for each in means if (each.implementation, each.strategy) == ("python", "serial")]
        if alone and alone[0].n:
            said.append(f"takes {estimate(alone[0])} times as long as {first} in one thread")
        if said:
            rests = len(threads) if threads else alone[0].n
            sentences.append(f"{name} {', and '.join(said)} ({counted(rests, 'kernel')}).")
    return sentences
