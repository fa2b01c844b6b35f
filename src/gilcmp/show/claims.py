"""Claims, thresholds and several interpreters as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gilcmp.show import words
from gilcmp.show.terminal import STYLES, pairs, plain, safe_text

if TYPE_CHECKING:
    from gilcmp.claims.claim import Figure
    from gilcmp.claims.suite import Claims
    from gilcmp.comparison import Comparison
    from gilcmp.pythons import Python
    from gilcmp.threshold import Threshold

CLAIM_STYLES = {
    "confirmed": "green",
    "refuted": "red",
    "differs on this build": "yellow",
    "cannot be tested here": "magenta",
}


def claims_text(found: Claims) -> str:
    """Return claims as plain text."""
    return plain(render_claims(found))


def render_claims(found: Claims) -> RenderableType:
    """Return claims for a rich console: a paragraph each, then how many came out how."""
    several = len({result.python for result in found}) > 1
    parts: list[RenderableType] = []
    before = ""
    for result in found:
        if result.name != before:
            parts.append(safe_text(f"{result.name}: {result.sentence}", "bold"))
            parts.append(Padding(safe_text(result.experiment, "dim"), (0, 0, 0, 2)))
            if result.note:
                parts.append(Padding(safe_text(result.note, "dim"), (0, 0, 0, 2)))
        before = result.name
        word = result.verdict.word
        head = Text.assemble(
            f"{result.python}: " if several else "", (word, CLAIM_STYLES.get(word, "")), ": "
        )
        parts.append(Padding(head + safe_text(result.verdict.reason), (0, 0, 0, 2)))
        if result.figures:
            parts.append(Padding(_figures(result.figures), (0, 0, 0, 4)))
        parts.append(Text())
    counted = [result.verdict.word for result in found]
    counts = ", ".join(f"{counted.count(word)} {word}" for word in dict.fromkeys(counted))
    environment = found.environment
    gil = "on" if environment.gil_enabled else "off"
    parts.append(
        safe_text(
            f"{counts or 'nothing tested'}. {environment.implementation} {environment.python}, GIL {gil}, "
            f"{environment.cpus:g} of {environment.cpus_logical} CPUs ({environment.cpu}), "
            f"{sum(result.seconds for result in found):.0f} s."
        )
    )
    return Group(*parts)


def _figures(figures: Sequence[Figure]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(overflow="fold")
    table.add_column(no_wrap=True)
    for one in figures:
        table.add_row(safe_text(one.name), safe_text(figure(one)))
    return table


def figure(one: Figure) -> str:
    """Return a figure with its unit and interval."""

    def value(number: float) -> str:
        if one.unit == "s":
            return words.seconds(number)
        if one.unit == "B":
            return f"{number / 1024:,.1f} KiB"
        digits = 0 if abs(number) >= 100 else 2
        return f"{number:,.{digits}f}"

    if math.isnan(one.value):
        return "-"
    unit = f" {one.unit}" if one.unit and one.unit not in ("s", "B", "x") else "x" * (one.unit == "x")
    if math.isnan(one.low) or math.isnan(one.high):
        return f"{value(one.value)}{unit}"
    return f"{value(one.value)}{unit} [{value(one.low)}, {value(one.high)}]"


def threshold_text(found: Threshold) -> str:
    """Return a threshold as plain text."""
    return plain(render_threshold(found))


THRESHOLD_HEADINGS = ("size", "time of a call", "release costs", "threads")


def threshold_answers(found: Threshold) -> list[tuple[str, str]]:
    """Return the answers that a threshold gives."""

    def size(value: float) -> str:
        return "-" if math.isnan(value) else "never" if math.isinf(value) else f"{value:,.0f}"

    parallel, cheap, cost = found.parallel_from, found.cheap_from, found.release_cost
    return [
        (
            "a release, uncontended",
            f"{words.seconds(cost.value)} [{words.seconds(max(0.0, cost.low))}, {words.seconds(cost.high)}]",
        ),
        ("getting the lock back", f"{words.seconds(found.reacquire)} beside a busy Python thread"),
        (
            f"{found.workers} threads beat one",
            found.reason
            if math.isnan(parallel.value)
            else f"from size {size(parallel.value)} [{size(parallel.low)}, {size(parallel.high)}]",
        ),
        (
            "a release costs under 5 %",
            f"from size {size(cheap.value)} [{size(cheap.low)}, {size(cheap.high)}]",
        ),
    ]


def threshold_points(found: Threshold) -> list[tuple[str, ...]]:
    """Return what is shown of each size: see `THRESHOLD_HEADINGS`."""
    return [
        (
            f"{point.size:,}",
            words.seconds(point.time.value),
            words.percent(point.overhead.value),
            words.estimate(point.speedup) + "x" * (not math.isnan(point.speedup.value)),
        )
        for point in found.points
    ]


def render_threshold(found: Threshold) -> RenderableType:
    """Return a threshold for a rich console: the answers, then the sizes."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    for heading in (*THRESHOLD_HEADINGS[:-1], f"{found.workers} threads"):
        table.add_column(heading, justify="right")
    for row in threshold_points(found):
        table.add_row(*row)
    return Group(safe_text(found.name, "bold"), pairs(threshold_answers(found)), Text(), table)


def render_pythons(found: Sequence[tuple[Python, Comparison]]) -> RenderableType:
    """Return the same comparison in several interpreters as one table, a cell's rows beside each other."""
    parts: list[RenderableType] = []
    first = found[0][1]
    for kernel in dict.fromkeys(cell.kernel for cell in first):
        parts.append(safe_text(kernel, "bold"))
        table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
        for heading in (
            "implementation",
            "strategy",
            "n",
            "python",
            "time/unit",
            "speed-up [95 %]",
            "verdict",
        ):
            table.add_column(heading, justify="right" if heading in ("n", "time/unit") else "left")
        keys = dict.fromkeys(
            cell.record.key for _, comparison in found for cell in comparison if cell.kernel == kernel
        )
        for key in keys:
            name = (key[1], key[2], str(key[3]))
            for python, comparison in found:
                cell = next((one for one in comparison if one.record.key == key), None)
                if cell is None:
                    continue
                word = cell.verdict.word
                speedup = "1.00" if cell.is_serial else words.estimate(cell.speedup)
                row = (*name, python.name, words.seconds(cell.time.value), speedup)
                table.add_row(*map(safe_text, row), safe_text(word, STYLES.get(word, "")))
                name = ("", "", "")
        parts += [table, Text()]
    for python, comparison in found:
        there = comparison.environment
        gil = "on" if there.gil_enabled else "off"
        rounds = max((len(cell.rounds) for cell in comparison), default=0)
        sentence = f"{python.name}: GIL {gil}, {rounds} rounds, {python.path}"
        if there.gil_culprit:
            sentence += f"; {there.gil_culprit} turned the GIL on"
        parts.append(safe_text(sentence))
    return Group(*parts)
