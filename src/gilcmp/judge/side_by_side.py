"""Three runs or more as columns of one table, and which of them are odd."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from attrs import frozen

from gilcmp.base.median import middle
from gilcmp.judge.cell import Cell
from gilcmp.judge.comparison import Comparison
from gilcmp.judge.differences import Key, key_name
from gilcmp.judge.estimate import CONFIDENCE, UNKNOWN, Estimate
from gilcmp.judge.ratios import chance_below, holm
from gilcmp.judge.verdict import UNDECIDED
from gilcmp.show import words
from gilcmp.show.model import Cell as Shown
from gilcmp.show.model import Sentence, Table, Value, columns

FEWEST_RUNS = 3  # of two, nobody can say which is the odd one
MOST_COLUMNS = 6
TRIMMED = 5  # of so many others, one at each end is left out of how far they lie apart
APART = 0.9  # times the others' median: a smaller difference is none that matters


@frozen
class Row:
    """A cell in all runs.

    Attributes
    ----------
    key : tuple
        Kernel, implementation, strategy, workers.
    values : tuple of Estimate
        In each run, its speed-up; for a serial cell, seconds per unit of work. NaN where it was not measured for sure.
    serial : bool
        Which of the two.
    """

    key: Key
    values: tuple[Estimate, ...]
    serial: bool


@frozen
class Odd:
    """A run that is surely apart from the others in a cell.

    Attributes
    ----------
    run : str
        Its name.
    key : tuple
        Kernel, implementation, strategy, workers.
    serial : bool
        Whether it is the time of one thread, or the speed-up.
    ratio : Estimate
        Its value over the median of the others.
    """

    run: str
    key: Key
    serial: bool
    ratio: Estimate

    def __str__(self) -> str:
        what = "takes {} times as long" if self.serial else "has {} times the speed-up"
        return f"{self.run}: {key_name(self.key)} {what.format(words.estimate(self.ratio))} of the others"


def rows_of(runs: Sequence[Comparison]) -> tuple[Row, ...]:
    """Return the cells of all runs; none for fewer than three runs."""
    if len(runs) < FEWEST_RUNS:
        return ()
    cells = [{cell.record.key: cell for cell in run} for run in runs]
    keys = dict.fromkeys(key for each in cells for key in each)
    return tuple(_row(key, cells) for key in keys)


def _row(key: Key, cells: Sequence[Mapping[Key, Cell]]) -> Row:
    those = [each.get(key) for each in cells]
    serial = any(cell is not None and cell.is_serial for cell in those)
    sizes = [cell.record.size for cell in those if cell is not None]
    usual = max(sizes, key=sizes.count)
    return Row(key, tuple(_value(cell, usual) for cell in those), serial)


def _value(cell: Cell | None, size: int | None) -> Estimate:
    if cell is None or cell.verdict in UNDECIDED or cell.record.error or cell.record.size != size:
        return UNKNOWN
    return cell.time if cell.is_serial else cell.speedup


def odd_ones(names: Sequence[str], rows: Sequence[Row]) -> list[Odd]:
    """Return the runs that are surely apart from the median of the others, by a tenth or more.

    Each is compared with the median of all others in that cell. The error of that is the larger one of two: what their
    own intervals make of it, and how far they lie apart from one another, so that of two fast and two slow ones none is
    odd. The chance that even one of those returned is not apart is at most about 5 %, whatever the number of runs and
    cells (Holm).
    """
    found, chances = [], []
    for row in rows:
        known = [(name, value) for name, value in zip(names, row.values, strict=True) if not math.isnan(value.low)]
        if len(known) < FEWEST_RUNS:
            continue
        for name, value in known:
            ratio = _over_others(value, [other for each, other in known if each != name])
            found.append(Odd(name, row.key, row.serial, ratio))
            inverse = Estimate(1 / ratio.value, 1 / ratio.high, 1 / ratio.low, ratio.n)
            chances.append(2 * min(chance_below(ratio, APART), chance_below(inverse, APART)))
    return [odd for odd, holds in zip(found, holm(chances, 1 - CONFIDENCE), strict=True) if holds]


def _over_others(value: Estimate, others: Sequence[Estimate]) -> Estimate:
    """Return a value over the median of others; the half-widths of the logarithms add up as errors do."""
    reference = middle([other.value for other in others])
    n = len(others)
    own = math.sqrt(math.pi / 2 * sum(_half(other) ** 2 for other in others) / n / n)
    # without the most extreme ones where there are many: the others may have an odd one among them
    kept = sorted(math.log(other.value) for other in others)[n // TRIMMED : n - n // TRIMMED]
    apart = (kept[-1] - kept[0]) / (1 if n < TRIMMED else math.sqrt(len(kept)))
    half = math.hypot(_half(value), max(own, apart))
    ratio = value.value / reference
    return Estimate(ratio, ratio * math.exp(-half), ratio * math.exp(half), value.n)


def _half(value: Estimate) -> float:
    return math.log(value.high / value.low) / 2


def columns_table(names: Sequence[str], rows: Sequence[Row], odd: Sequence[Odd]) -> Table:
    """Return the table: a row a cell, a column a run; of many runs, the median and both ends with their names."""
    apart = {(each.run, each.key) for each in odd}
    lines: list[tuple[Shown, ...]] = []
    many = len(names) > MOST_COLUMNS
    for row in rows:
        known = [
            (value.value, name) for name, value in zip(names, row.values, strict=True) if not math.isnan(value.value)
        ]
        if many:
            ends = (
                [f"{_shown(value, row)} ({name})" for value, name in (min(known), max(known))] if known else ["-", "-"]
            )
            n_odd = sum((name, row.key) in apart for name in names)
            half = _shown(middle([value for value, _ in known]), row) if known else "-"
            lines.append((key_name(row.key), str(len(known)), half, *ends, str(n_odd or "-")))
        else:
            values = [
                Value(_shown(value.value, row) + " odd" * ((name, row.key) in apart),
                      "bad" if (name, row.key) in apart else "", str(value))
                for name, value in zip(names, row.values, strict=True)
            ]  # fmt: skip
            lines.append((key_name(row.key), *values))
    titles = (">runs", ">median", ">least", ">most", ">odd") if many else tuple(f">{name}" for name in names)
    return Table(columns("", *titles), tuple(lines))


def _shown(value: float, row: Row) -> str:
    if math.isnan(value):
        return "-"
    return words.seconds(value) if row.serial else f"{value:.2f}x"


def told(names: Sequence[str], rows: Sequence[Row], odd: Sequence[Odd]) -> list[Sentence | Table]:
    """Return which runs are odd, then the table."""
    if not rows:
        return []
    lines = [Sentence(f"{each}.") for each in odd] or [Sentence("No run is surely apart from the others.")]
    return [*lines, columns_table(names, rows, odd)]
