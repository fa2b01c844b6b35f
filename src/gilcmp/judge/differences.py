"""What differs between runs, as data, and what the figures say about it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

from attrs import frozen

from gilcmp.judge.estimate import Estimate
from gilcmp.show.model import Table, Value, columns
from gilcmp.show.words import counted
from gilcmp.show.words import estimate as interval

Key: TypeAlias = tuple[str, str, str, int]


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

    @property
    def work(self) -> Estimate:
        """Work per second over that of the first run."""
        return Estimate(1 / self.time.value, 1 / self.time.high, 1 / self.time.low, self.time.n)


@frozen
class Mean:
    """Geometric mean over cells of an implementation under a strategy: of times and of speed-ups."""

    implementation: str
    strategy: str
    time: Estimate
    speedup: Estimate
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


def key_name(key: Key) -> str:
    """Return a cell's name on one line."""
    return f"{key[0]} {key[1]} {key[2]} x {key[3]}"


def differs(value: Estimate) -> bool:
    """Tell whether 1 lies outside the interval."""
    return value.high < 1 or value.low > 1


def reading(run: RunDiff) -> str:
    """Summarise the comparison in a sentence or two."""
    compared = [cell for cell in run.cells if not cell.refused]
    if not compared:
        return "No cell could be compared."
    intervals = [value for cell in compared for value in (cell.time, cell.speedup) if value.n]
    missing = [value for value in intervals if differs(value)]
    chance = 0.05 * len(intervals)
    # no more than this by chance in all but 1 of 40 pairs of equal runs, if the intervals are 95 % intervals
    at_most = chance + 2 * math.sqrt(0.95 * chance)
    if len(missing) <= at_most and not any(map(_far, missing)):
        verdict = f"no difference in {counted(len(compared), 'cell')}"
    else:
        other = sum(differs(cell.time) or differs(cell.speedup) for cell in compared)
        verdict = f"{other} of {len(compared)} cells differ (*)"
    return (
        f"{verdict}: {len(missing)} of {len(intervals)} 95 % intervals miss 1, by chance about {chance:.0f} would. "
        "Time per unit below 1 is faster, speed-up above 1 scales better."
    )


def _far(value: Estimate) -> bool:
    """Tell whether 1 is so far out of an interval that chance is no explanation, even among hundreds of intervals.

    The distance is three half-widths: Student's t with 8 degrees of freedom gets there once in 10,000 times.
    """
    near = value.high if value.value < 1 else value.low
    return abs(math.log(value.value)) > 3 * abs(math.log(value.value / near))


def without_partner(first: str, run: RunDiff) -> list[str]:
    """Say which cells only one of the two runs has."""
    lines = []
    for where, keys in ((first, run.missing), (run.name, run.extra)):
        if keys:
            lines.append(f"Only in {where}: {', '.join(map(key_name, keys))}.")
    return lines


def what_the_lock_changed(
    names: Sequence[str], environment: Sequence[Difference], runs: Sequence[RunDiff]
) -> list[str]:
    """Say in sentences what the GIL changed, for runs that have it where the first has not, or vice versa."""
    locks = next((difference.values for difference in environment if difference.name == "gil_enabled"), ())
    lines = []
    for run, lock in zip(runs, locks[1:], strict=False):
        if {lock, locks[0]} != {"True", "False"}:
            continue
        state = {"True": "on", "False": "off"}
        lines.append(f"The GIL is {state[locks[0]]} in {names[0]} and {state[lock]} in {run.name}.")
        for strategy, label in (("threads", "speed-up by threads"), ("serial", "time in one thread")):
            means = [mean for mean in run.means if mean.strategy == strategy]
            values = [(mean.implementation, mean.speedup if strategy == "threads" else mean.time) for mean in means]
            ratios = ", ".join(
                f"{name} {interval(value)} ({counted(value.n, 'cell')})" for name, value in values if value.n
            )
            if ratios:
                lines.append(f"  {label}, times that of {names[0]}: {ratios}")
    return lines


def cell_table(run: RunDiff) -> Table:
    """Return the cells of a run against those of the first; a star stands where 1 lies outside the interval."""
    rows = []
    for cell in run.cells:
        tone = _tone(cell)
        shown = (cell.refused, "") if cell.refused else (_ratio(cell.time), _ratio(cell.speedup))
        rows.append(tuple(Value(text, tone) for text in (key_name(cell.key), *shown)))
    return Table(columns("cell", "time per unit", "speed-up"), tuple(rows))


def mean_table(run: RunDiff) -> Table:
    """Return the geometric means."""
    rows = tuple(
        (mean.implementation, mean.strategy, interval(mean.time), interval(mean.speedup), str(mean.cells))
        for mean in run.means
    )
    return Table(columns("implementation", "strategy", "time per unit", "speed-up", "cells"), rows)


def environment_table(names: Sequence[str], environment: Sequence[Difference]) -> Table:
    """Return what differs between the environments."""
    return Table(columns("", *names), tuple((difference.name, *difference.values) for difference in environment))


def _ratio(value: Estimate) -> str:
    if math.isnan(value.value):
        return "-"
    return f"{interval(value)}{' *' * differs(value)}"


def _tone(cell: CellDiff) -> str:
    if cell.refused:
        return "dim"
    if cell.time.low > 1 or cell.speedup.high < 1:
        return "bad"
    return "good" if cell.time.high < 1 or cell.speedup.low > 1 else ""
