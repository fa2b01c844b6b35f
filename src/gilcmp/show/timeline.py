"""A timeline's summary as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gilcmp.show import words
from gilcmp.show.terminal import plain, safe_text

if TYPE_CHECKING:
    from gilcmp.timeline import Thread, Timeline

SHOWN = 40  # threads; more are counted
FEW = 100  # looks; with fewer a share may be more than 10 points off


def timeline_text(found: Timeline) -> str:
    """Return a timeline's summary as plain text."""
    return plain(render_timeline(found))


def headings(found: Timeline) -> tuple[str, ...]:
    """Return the headings of the table of threads."""
    held, waited, ran = (
        ("held", "waited", "ran without") if found.gil else ("attached", "stopped", "ran detached")
    )
    return (
        "thread",
        held,
        waited,
        ran,
        "blocked",
        "on CPU",
        "no core",
        f"longest {'hold' if found.gil else 'stretch'}",
    )


def rows(found: Timeline) -> list[tuple[str, ...]]:
    """Return a row for each thread that is shown, the ones that held longest first."""
    chosen = sorted(found.threads, key=lambda thread: -thread.held)[:SHOWN]
    return [_row(found, thread) for thread in chosen]


def _row(found: Timeline, thread: Thread) -> tuple[str, ...]:
    def share(seconds: float | None) -> str:
        return "-" if seconds is None or not found.seconds else f"{100 * seconds / found.seconds:.1f} %"

    told = found.tells_states
    short = thread.holds == 0 and thread.held == 0
    return (
        thread.name,
        "< pace" if short else share(thread.held),
        share(thread.waited) if told or not found.gil else "-",
        share(thread.ran) if told else "-",
        share(thread.blocked) if told else "-",
        share(thread.cpu),
        share(thread.run_delay),
        "-" if short else words.seconds(thread.longest_hold),
    )


def sentences(found: Timeline) -> list[str]:
    """Say what was seen, and how well."""
    what = "nobody held the GIL" if found.gil else "no thread was attached"
    told = [
        f"{words.seconds(found.seconds)} recorded, a look every {words.seconds(found.pace)} on average; "
        f"{what} for {100 * found.free:.1f} % of the time."
    ]
    longest, name = found.longest_hold
    if longest:
        kind = "Longest hold seen" if found.gil else "Longest time seen attached"
        told.append(f"{kind}: {words.seconds(longest)}, by {name}.")
    if found.hand_overs is not None and found.seconds:
        unseen = max(0, found.hand_overs - found.hand_overs_seen)
        told.append(
            f"{found.hand_overs:,} hand-overs from thread to thread, {found.hand_overs / found.seconds:,.0f} a second"
            + (f"; {unseen:,} of them were too quick to be seen." if unseen else ".")
        )
    if found.looks < FEW:
        points = 98 / math.sqrt(max(1, found.looks))  # 1.96 standard errors of a share of one half
        told.append(
            f"Looked only {found.looks} times: a share may be {points:.0f} points off. Record for longer, or at a "
            "shorter pace."
        )
    if found.unseen:
        told.append(f"{words.seconds(found.unseen)} were not seen: the recorder had no core.")
    if found.dropped:
        told.append(f"The {found.dropped:,} oldest spans were dropped; the sums have them all.")
    if not found.tells_states:
        told.append("This system does not tell what a thread does that does not hold the lock.")
    if len(found.threads) > SHOWN:
        told.append(f"{len(found.threads) - SHOWN} further threads are not shown; they held less.")
    return told


def render_timeline(found: Timeline) -> RenderableType:
    """Return a timeline's summary for a rich console."""
    return Group(_table(headings(found), rows(found)), Text(), *map(safe_text, sentences(found)))


def _table(names: Sequence[str], values: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    for number, heading in enumerate(names):
        table.add_column(heading, overflow="fold", justify="right" if number else "left")
    for row in values:
        table.add_row(*map(safe_text, row))
    return table
