"""Two atlases side by side: which functions changed between two versions of a library, or of Python."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar, TypeAlias

from attrs import asdict, frozen

from gilcmp.judge.estimate import CONFIDENCE, UNKNOWN, Estimate
from gilcmp.judge.ratios import chance_below, holm
from gilcmp.judge.verdict import UNDECIDED
from gilcmp.saved.kept import Kept, flat
from gilcmp.show import words
from gilcmp.show.model import Section, Table, columns, section
from gilcmp.surveying.atlas import Atlas, Entry, first_line

APART = 0.1  # of the call's time, or of the logarithm of a speed-up: a smaller difference is none that matters

Key: TypeAlias = tuple[str, str, str]


@frozen
class Change:
    """A statement that does something else to the GIL, or scales otherwise.

    Attributes
    ----------
    library, group, statement : str
        Which one.
    what : str
        ``GIL``, ``two threads`` or ``error``.
    before, after : str
        The verdicts, or what it raised.
    held_before, held_after : float
        Shares of the call's time for which it held the GIL; NaN where it raised.
    """

    library: str
    group: str
    statement: str
    what: str
    before: str
    after: str
    held_before: float
    held_after: float


@frozen
class AtlasDiff(Kept):
    """Atlases side by side.

    Attributes
    ----------
    names : tuple of str
        What the first and the second are: their libraries, versions and Pythons.
    changes : tuple of Change
        What surely changed.
    compared : int
        Statements that both have, and that at least one of the two could measure.
    environment : tuple of str
        What else differs between the two: CPUs, systems.
    missing, extra : tuple of str
        Statements that only the first has, and only the second.
    """

    FORMAT: ClassVar[str] = "gilcmp atlas diff"

    names: tuple[str, str]
    changes: tuple[Change, ...]
    compared: int
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    environment: tuple[str, ...] = ()

    def records(self) -> list[dict[str, object]]:
        """Return its changes."""
        return [flat(asdict(change)) for change in self.changes]

    def sections(self) -> list[Section]:
        """Return what is shown of it: what changed, and what has no partner."""
        titles = columns("statement", "", "before", "after", ">held", ">then")
        rows = tuple(
            (first_line(change.statement), change.what, change.before, change.after, words.percent(change.held_before),
             words.percent(change.held_after)) for change in self.changes
        )  # fmt: skip
        changed = len({(change.library, change.group, change.statement) for change in self.changes})
        said = f"{changed} of {words.counted(self.compared, 'statement')} changed."
        alone = [
            f"Only in {name}: {', '.join(map(first_line, statements))}."
            for name, statements in zip(self.names, (self.missing, self.extra), strict=True) if statements
        ]  # fmt: skip
        tables = [Table(titles, rows, "", code=True)] if rows else []
        return [section(f"{self.names[1]} against {self.names[0]}", said, *self.environment, *tables, *alone)]


def compare_atlases(first: Sequence[Atlas], second: Sequence[Atlas]) -> AtlasDiff:
    """Lay two atlases, each of one library or more, side by side.

    A change counts where the verdict is another one, and the share held, or what two threads get done, surely differs
    by at least `APART`. The chance that even one of those returned is none is at most 5 % (Holm), as far as the
    intervals tell: they hold the scatter within a run, not between machines.
    """
    before, after = _entries(first), _entries(second)
    both = [key for key in before if key in after]
    found = [change for key in both for change in _changes(key, before[key], after[key])]
    sure = holm([chance for chance, _ in found], 1 - CONFIDENCE)
    return AtlasDiff(
        (_name(first), _name(second)),
        tuple(change for (_, change), holds in zip(found, sure, strict=True) if holds),
        sum(1 for key in both if before[key].probe or after[key].probe),
        tuple(key[-1] for key in before if key not in after),
        tuple(key[-1] for key in after if key not in before),
        tuple(_environments(first, second)),
    )


def _entries(atlases: Sequence[Atlas]) -> dict[Key, Entry]:
    return {(atlas.library or atlas.title, entry.group, entry.statement): entry for atlas in atlases for entry in atlas}


def _environments(first: Sequence[Atlas], second: Sequence[Atlas]) -> Iterator[str]:
    """Say what else differs, which may be the reason as well."""
    for name in ("cpu", "cpus_allowed", "system"):
        values = [sorted({str(getattr(atlas.environment, name)) for atlas in each}) for each in (first, second)]
        if values[0] != values[1]:
            what = {"cpu": "CPU", "cpus_allowed": "CPUs", "system": "system"}[name]
            yield f"Another {what}: {', '.join(values[0])}, then {', '.join(values[1])}."


def _name(atlases: Sequence[Atlas]) -> str:
    pythons = ", ".join(dict.fromkeys(atlas.environment.interpreter for atlas in atlases))
    named = [f"{atlas.library} {atlas.version}" for atlas in atlases if atlas.library not in ("", "Python")]
    libraries = named[0] if len(named) == 1 else words.counted(len(named), "library", "libraries") if named else ""
    return f"{libraries} on {pythons}" if libraries else pythons


def _changes(key: Key, before: Entry, after: Entry) -> list[tuple[float, Change]]:
    """Return what may have changed, with the chance that it has not."""
    held = [entry.probe.held if entry.probe else UNKNOWN for entry in (before, after)]
    found = []

    def note(chance: float, what: str, was: str, is_now: str) -> None:
        found.append((chance, Change(*key, what, was, is_now, held[0].value, held[1].value)))

    if (before.probe is None) != (after.probe is None):
        note(0.0, "error", said(before), said(after))
    if before.measured and after.measured and before.measured != after.measured:
        chance = _chance(*((each.value, (each.high - each.low) / 2) for each in held))
        note(chance, "GIL", said(before), said(after))
    if before.scaling is not None and after.scaling is not None:
        was, now = before.scaling, after.scaling
        decided = was.verdict not in UNDECIDED and now.verdict not in UNDECIDED
        if decided and was.verdict != now.verdict:
            logs = [(math.log(each.value), math.log(each.high / each.low) / 2) for each in (was.speedup, now.speedup)]
            note(_chance(*logs), "two threads", f"{was.speedup.value:.2f}x", f"{now.speedup.value:.2f}x")
    return found


def said(entry: Entry) -> str:
    """Return the word for an entry that was probed, or what it raised."""
    return entry.probe.verdict.word if entry.probe else entry.error or ""


def _chance(first: tuple[float, float], second: tuple[float, float]) -> float:
    """Return the chance of so large a difference if the true one were `APART`; of values with their half-widths."""
    difference = abs(first[0] - second[0])
    half = max(1e-9, math.hypot(first[1], second[1]))
    ratio = Estimate(math.exp(-difference), math.exp(-difference - half), math.exp(-difference + half), 2)
    return 2 * chance_below(ratio, math.exp(-APART))
