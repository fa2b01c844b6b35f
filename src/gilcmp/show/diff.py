"""Runs side by side: as a table, Markdown, CSV or JSON."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from io import StringIO
from typing import TYPE_CHECKING

from attrs import asdict
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gilcmp.estimate import Estimate
from gilcmp.results import without_nan
from gilcmp.show import words
from gilcmp.show.terminal import plain, safe_text

if TYPE_CHECKING:
    from gilcmp.diff import CellDiff, Diff, RunDiff

HEADINGS = ("cell", "time per unit", "speed-up")
CSV_FIELDS = (
    "run", "kernel", "implementation", "strategy", "workers", "time", "time_low", "time_high", "speedup",
    "speedup_low", "speedup_high", "note",
)  # fmt: skip


def diff_text(found: Diff) -> str:
    """Return a diff as plain text."""
    return plain(render_diff(found))


def render_diff(found: Diff) -> RenderableType:
    """Return a diff for a rich console: the environments, then each run against the first."""
    parts: list[RenderableType] = [safe_text(line) for line in what_the_lock_changed(found)]
    if parts:
        parts.append(Text())
    parts.append(safe_text("What differs between the environments", "bold"))
    if found.environment:
        table = _table(("", *found.names))
        for one in found.environment:
            table.add_row(*map(safe_text, (one.name, *one.values)))
        parts.append(table)
    else:
        parts.append(safe_text("nothing"))
    for run in found.runs:
        parts += [Text(), safe_text(f"{run.name} against {found.names[0]}", "bold"), _cells(run)]
        parts += [Text(), safe_text("Geometric means"), _means(run)]
        parts += [Text(), safe_text(reading(run))]
        parts += [safe_text(line) for line in without_partner(found.names[0], run)]
    return Group(*parts)


def what_the_lock_changed(found: Diff) -> list[str]:
    """Say in sentences what came of the GIL, for runs that have it where the first has not, or the other way round."""
    locks = next((one.values for one in found.environment if one.name == "gil_enabled"), ())
    lines = []
    for run, lock in zip(found.runs, locks[1:], strict=False):
        if {lock, locks[0]} != {"True", "False"}:
            continue
        state = {"True": "on", "False": "off"}
        lines.append(f"The GIL is {state[locks[0]]} in {found.names[0]} and {state[lock]} in {run.name}.")
        for strategy, what in (("threads", "speed-up by threads"), ("serial", "time in one thread")):
            means = [mean for mean in run.means if mean.strategy == strategy]
            values = [
                (mean.implementation, mean.speedup if strategy == "threads" else mean.time) for mean in means
            ]
            told = ", ".join(f"{name} {value:.2f}" for name, value in values if not math.isnan(value))
            if told:
                lines.append(f"  {what}, times that of {found.names[0]}: {told}")
    return lines


def _table(headings: Sequence[str]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    for heading in headings:
        table.add_column(safe_text(heading), overflow="fold")
    return table


def _cells(run: RunDiff) -> Table:
    table = _table(HEADINGS)
    for cell in run.cells:
        row = cell_row(cell)
        table.add_row(*(safe_text(value, _style(cell)) for value in row))
    return table


def cell_row(cell: CellDiff) -> tuple[str, str, str]:
    """Return what is shown of a cell: see `HEADINGS`."""
    if cell.refused:
        return name(cell.key), cell.refused, ""
    return name(cell.key), _ratio(cell.time), _ratio(cell.speedup)


def name(key: tuple[str, str, str, int]) -> str:
    """Return a cell's name on one line."""
    return f"{key[0]} {key[1]} {key[2]} x {key[3]}"


def _ratio(value: Estimate) -> str:
    if math.isnan(value.value):
        return "-"
    mark = " *" if differs(value) else ""
    return f"{words.estimate(value)}{mark}"


def differs(value: Estimate) -> bool:
    """Tell whether 1 lies outside the interval."""
    return value.high < 1 or value.low > 1


def _style(cell: CellDiff) -> str:
    if cell.refused:
        return "dim"
    if cell.time.low > 1 or cell.speedup.high < 1:
        return "red"
    return "green" if cell.time.high < 1 or cell.speedup.low > 1 else ""


def _means(run: RunDiff) -> Table:
    table = _table(("implementation", "strategy", "time per unit", "speed-up", "cells"))
    for mean in run.means:
        row = (
            mean.implementation,
            mean.strategy,
            words.number(mean.time),
            words.number(mean.speedup),
            str(mean.cells),
        )
        table.add_row(*map(safe_text, row))
    return table


def reading(run: RunDiff) -> str:
    """Say in a sentence or two what came out."""
    compared = [cell for cell in run.cells if not cell.refused]
    if not compared:
        return "No cell could be compared."
    intervals = [value for cell in compared for value in (cell.time, cell.speedup) if value.n]
    missing = [value for value in intervals if differs(value)]
    chance = 0.05 * len(intervals)
    # so many by chance in all but 1 of 40 pairs of the same runs, if the intervals are what they say
    at_most = chance + 2 * math.sqrt(0.95 * chance)
    if len(missing) <= at_most and not any(map(_far, missing)):
        verdict = f"no difference in {len(compared)} cells"
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
            lines.append(f"Only in {where}: {', '.join(map(name, keys))}.")
    return lines


def diff_markdown(found: Diff) -> str:
    """Return a diff as Markdown."""
    lines = [_escaped(line) for line in what_the_lock_changed(found)]
    lines += [""] * bool(lines)
    lines += [f"| | {' | '.join(map(_escaped, found.names))} |", "| --- |" + " --- |" * len(found.names)]
    lines += [f"| {one.name} | {' | '.join(map(_escaped, one.values))} |" for one in found.environment]
    for run in found.runs:
        lines += ["", f"### {_escaped(run.name)} against {_escaped(found.names[0])}", ""]
        lines += ["| cell | time per unit | speed-up |", "| --- | --- | --- |"]
        for cell in run.cells:
            row = cell_row(cell)
            lines.append(f"| {' | '.join(map(_escaped, row))} |")
        lines += ["", reading(run), *without_partner(found.names[0], run)]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("*", "\\*").replace("<", "&lt;")


def diff_csv(found: Diff) -> str:
    """Return the cells of a diff as CSV; what has no partner is in it, with a note."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_FIELDS)
    for run in found.runs:
        for cell in run.cells:
            numbers = [
                "" if math.isnan(number) else f"{number:.6g}"
                for value in (cell.time, cell.speedup)
                for number in (value.value, value.low, value.high)
            ]
            writer.writerow([run.name, *cell.key, *numbers, cell.refused])
        for where, keys in ((found.names[0], run.missing), (run.name, run.extra)):
            for key in keys:
                writer.writerow([run.name, *key, *[""] * 6, f"only in {where}"])
    return out.getvalue()


def diff_json(found: Diff) -> str:
    """Return a diff as JSON; null where a number is unknown."""
    return json.dumps(without_nan(asdict(found)), indent=1) + "\n"
