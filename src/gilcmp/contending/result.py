"""Where the time of several threads went, what they waited for, and how it is shown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

from attrs import asdict, frozen

from gilcmp.judge.charts import PALETTE
from gilcmp.judge.estimate import Estimate
from gilcmp.saved.kept import Kept
from gilcmp.show import words
from gilcmp.show.model import Axis, Bars, Chart, Column, Section, Sentence, Table, Value, columns, section
from gilcmp.show.views import Drawn

BAR = 20  # characters
FIRST = 5  # locks on the first screen
LOCKS = {"_thread.lock": "a threading.Lock", "_thread.RLock": "a threading.RLock"}
UNKNOWN = "a lock of an unknown object"
SMALL = 0.02  # of the threads' time: what is less is not shown first

#: What threads do, in the order in which it is shown, with what it is called.
DOING = {
    "work": "doing the work",
    "slower": "on a CPU, but slower than alone",
    "spinning": "spinning on a lock",
    "parked": "asleep until a lock is free",
    "stopped": "stopped with the whole world",
    "waiting": "waiting for I/O, time or each other",
    "no_core": "ready to run, without a CPU",
    "unexplained": "not explained",
}


@frozen
class ContendedLock:
    """A lock that threads waited for at a line; its shares are of all threads' time, and the least that there was.

    Attributes
    ----------
    type : str
        The type of the object that has the lock, or the part of the interpreter.
    name : str
        How the program calls the object; empty where that was not found.
    objects : int
        How many objects of that type were waited for at this line.
    address : int
        Where the object was, that of the worst if there are several; 0 for a lock of the interpreter's own.
    file, line, function, source : str, int, str, str
        Where it was wanted, in the program's own code if possible; line 0: unknown.
    through : str
        The line of the standard library that asked for it, if one did.
    owner : str
        The line at which the thread was that had it, at most of the looks; empty where that cannot be seen.
    spinning, parked : float
        Shares of the threads' time.
    longest : float
        Longest wait that was seen, in seconds; 0: not told.
    free : float
        Share of the looks at spinning threads at which the lock was free (3.14 spins without looking); NaN: none.
    threads : int
        How many threads waited.
    advice : str
        What to do about it; empty where nothing is known.
    """

    type: str
    name: str
    objects: int
    address: int
    file: str
    line: int
    function: str
    source: str
    through: str
    owner: str
    spinning: float
    parked: float
    longest: float
    free: float
    threads: int
    advice: str

    @property
    def share(self) -> float:
        """Share of the threads' time that was seen to go into it."""
        return self.spinning + self.parked

    @property
    def what(self) -> str:
        """The object in words: ``list REGISTRY.items``."""
        if self.objects > 1:
            return f"{self.objects} objects of type {self.type}"
        if self.address and not self.name:
            return f"{self.type} at {self.address:#x}"
        return f"{self.type} {self.name}".rstrip()

    @property
    def place(self) -> str:
        """Where it was wanted: ``worker.py:15 in work``."""
        if not self.line:
            return "a line that could not be read"
        return f"{self.file.replace(chr(92), '/').rsplit('/', 1)[-1]}:{self.line} in {self.function}"


@frozen
class Pauses:
    """Pauses of the whole world: every thread was stopped; those shorter than the pace are seen by chance only.

    Attributes
    ----------
    count : int
        How many were seen.
    share : float
        Share of the time.
    longest : float
        Seconds.
    collecting : float
        Share of the time in pauses for the garbage collector.
    asked : str
        The line that asked for most of that time; empty where it was not seen.
    """

    count: int
    share: float
    longest: float
    collecting: float
    asked: str


@frozen
class SharedThing:
    """Something that was shared between the threads while everything else was private.

    Attributes
    ----------
    kind, name : str, str
        ``argument``, ``global``, ``closure``, ``default`` or ``self``, and its name.
    type : str
        Its type.
    slowdown : Estimate
        Time of a call when only this is shared, of that when nothing is.
    culprit : bool
        Whether sharing it is what makes threads slower.
    advice : str
        What to do about it.
    """

    kind: str
    name: str
    type: str
    slowdown: Estimate
    culprit: bool
    advice: str


@frozen
class Isolation:
    """What happened when threads were given copies of their own.

    Attributes
    ----------
    shared : Estimate
        Time of a call when all is shared, of that when nothing is.
    things : tuple of SharedThing
        What was shared alone, one after the other, the worst first.
    fresh : Estimate or None
        The same as `shared`, for a fresh import of the function's module in each thread; None: not tried.
    notes : tuple of str
        What could not be copied, or changed what is computed.
    """

    shared: Estimate
    things: tuple[SharedThing, ...]
    fresh: Estimate | None
    notes: tuple[str, ...]

    @property
    def culprits(self) -> tuple[SharedThing, ...]:
        """What makes threads slower by being shared, the worst first."""
        return tuple(thing for thing in self.things if thing.culprit)


@frozen
class Contention(Kept, Drawn):
    """Where the time of several threads went, and what they waited for.

    Attributes
    ----------
    name : str
        What was run.
    python : str
        The interpreter.
    gil : bool
        Whether the GIL was on.
    threads : int
        How many threads; of a watched block as many as were seen.
    seconds : float
        For how long they were watched.
    speedup : Estimate or None
        How many times as much work the threads did as one alone; None for a watched block.
    shares : mapping of str to float
        What the threads did, by the keys of `DOING`; the shares add up to 1.
    locks : tuple of ContendedLock
        What they waited for, the most costly first.
    pauses : Pauses
        Of the whole world.
    isolation : Isolation or None
        What became faster when it was not shared; None where that was not tried.
    cost : float
        CPUs that looking took.
    unseen : float
        Share of the time in which nothing was seen since the watcher had no CPU.
    notes : tuple of str
        What could not be seen, and why.
    """

    FORMAT: ClassVar[str] = "gilcmp contention"

    name: str
    python: str
    gil: bool
    threads: int
    seconds: float
    speedup: Estimate | None
    shares: Mapping[str, float]
    locks: tuple[ContendedLock, ...]
    pauses: Pauses
    isolation: Isolation | None
    cost: float
    unseen: float
    notes: tuple[str, ...]

    @property
    def lost(self) -> float:
        """Share of the threads' time in which they did nothing that one thread alone would have to do; NaN: unknown."""
        if self.speedup is None or math.isnan(self.speedup.value):
            return math.nan
        return max(0.0, 1 - self.speedup.value / self.threads)

    def records(self) -> Sequence[Mapping[str, object]]:
        """Return its locks, a record each."""
        return [asdict(lock) for lock in self.locks]

    def sections(self) -> list[Section]:
        """Return what is shown of it: everything."""
        return _sections(self, len(self.locks), 0.0)

    def overview(self, width: int = 80) -> list[Section]:
        """Return what fits on a screen: the sentence, where the time went, and the most costly locks."""
        return _sections(self, FIRST, SMALL)

    def charts(self) -> list[Chart]:
        """Return its picture: where the threads' time went."""
        return [_chart(self)]


# ---- in words ------------------------------------------------------------------------------------------------------


def sentences(found: Contention) -> list[Sentence]:
    """Say what was found, the most important first."""
    said = []
    if found.speedup is not None:
        times = words.estimate(found.speedup)
        said.append(
            Sentence(f"{found.threads} threads do {times} times the work of one{_lost_in_words(found)}.", "strong")
        )
    worst = [lock for lock in found.locks if lock.share >= SMALL][:1]
    said += [Sentence(_blame(found, lock)) for lock in worst]
    if found.pauses.share >= SMALL:
        said.append(Sentence(_pauses(found.pauses)))
    said += [Sentence(sentence) for sentence in _isolated(found)]
    if not worst and found.pauses.share < SMALL and not (found.isolation and found.isolation.culprits):
        said.append(Sentence(_nothing(found)))
    return said


def _lost_in_words(found: Contention) -> str:
    if math.isnan(found.lost) or found.lost < 0.05:
        return ""
    return f": {words.percent(found.lost)} of their time is lost"


def _blame(found: Contention, lock: ContendedLock) -> str:
    share = f"at least {words.percent(lock.share)} of the threads' time"
    if not math.isnan(found.lost) and found.lost >= 0.1:
        share = f"at least {words.percent(min(1.0, lock.share / found.lost))} of the lost time"
    what = f"the lock of {lock.what}" if lock.address else lock.type
    if lock.type in LOCKS:  # it protects something else
        what = f"{lock.what.replace(lock.type, LOCKS[lock.type])}"
    who = f" that {words.counted(lock.threads, 'thread')} want" if lock.threads > 1 else ""
    source = f": {lock.source}" if lock.source else ""
    return f"Contended, {share}: {what}{who}, at {lock.place}{source}" + (
        f". Instead: {lock.advice}." if lock.advice else "."
    )


def _pauses(pauses: Pauses) -> str:
    why = ", nearly all for the garbage collector" if pauses.collecting > 0.8 * pauses.share else ""
    who = f"; most was asked for at {pauses.asked}" if pauses.asked else ""
    return (
        f"The whole world was stopped for {words.percent(pauses.share)} of the time{why}: {pauses.count} pauses seen, "
        f"the longest {words.seconds(pauses.longest)}{who}."
    )


def _isolated(found: Contention) -> list[str]:
    isolation = found.isolation
    if isolation is None:
        return []
    said = [
        f"Shared, and {words.estimate(thing.slowdown)} times as slow for it: the {thing.kind} {thing.name} "
        f"({thing.type}). Instead: {thing.advice}."
        for thing in isolation.culprits[:3]
    ]
    if not said and isolation.fresh is not None and isolation.fresh.low > 1.1 and not isolation.shared.low > 1.1:
        said.append(
            f"With a fresh import of its module in each thread a call takes {words.estimate(isolation.fresh)} times "
            "less: something that the module holds and the function does not name is shared."
        )
    if not said and isolation.shared.low > 1.1:
        said.append(
            f"With copies for each thread a call takes {words.estimate(isolation.shared)} times less, and none of "
            f"{len(isolation.things)} shared things alone explains it."
        )
    if not said and isolation.things:
        said.append(
            f"Copies for each thread change nothing: {words.counted(len(isolation.things), 'thing')} that the "
            "function names, none in the way by being shared."
        )
    return said


def _nothing(found: Contention) -> str:
    if not math.isnan(found.lost) and found.lost >= 0.1:
        return "No lock was seen that explains it."
    return "No lock was seen to be contended."


# ---- as tables -----------------------------------------------------------------------------------------------------


def _sections(found: Contention, most: int, small: float) -> list[Section]:
    sections = [section(found.name, *sentences(found)), section("", _shares(found))]
    locks = [lock for lock in found.locks if lock.share >= small][:most]
    if locks:
        sections.append(section("", _locks(locks, found.gil)))
    if found.isolation is not None and found.isolation.things:
        sections.append(section("", _things(found.isolation, len(found.isolation.things) if small == 0 else 5)))
    parts = [Sentence(f"Note: {note}.") for note in found.notes]
    parts.append(
        Sentence(
            f"{found.python}, {words.seconds(found.seconds)} watched; looking took {found.cost:.1%} of one CPU. "
            "A share of a lock is the least that it cost: not all waits can be seen, and the program need not be so "
            "much faster without.",
            "dim",
        )
    )
    hidden = len(found.locks) - len(locks)
    if hidden and most < len(found.locks):
        parts.append(Sentence(f"{words.counted(hidden, 'more place')} with less: --details", "dim"))
    return [*sections, section("", *parts)]


def _shares(found: Contention) -> Table:
    rows = tuple(
        (DOING[what], words.bar(share, 1, BAR), f"{100 * share:.1f} %")
        for what, share in found.shares.items()
        if share >= 0.0005 or what == "work"
    )
    return Table((Column("the threads' time", wraps=False), Column(""), Column("", right=True)), rows)


def _locks(locks: Sequence[ContendedLock], gil: bool) -> Table:
    titles = columns("waits for", ">share", ">spins", ">sleeps", ">longest", "at")
    rows = tuple(
        (
            lock.what,
            Value(f"{100 * lock.share:.1f} %", hint=lock.advice),
            "-" if gil else f"{100 * lock.spinning:.1f} %",
            f"{100 * lock.parked:.1f} %",
            words.seconds(lock.longest) if lock.longest else "-",
            lock.place
            + (f" (by {lock.through})" if lock.through else "")
            + (f"; it was at {lock.owner}" if lock.owner else ""),
        )
        for lock in locks
    )
    return Table(titles, rows)


def _things(isolation: Isolation, most: int) -> Table:
    titles = columns("shared alone", "type", ">times as slow", "")
    rows = tuple(
        (
            f"{thing.kind} {thing.name}",
            thing.type,
            words.estimate(thing.slowdown),
            "in the way" if thing.culprit else "",
        )
        for thing in isolation.things[:most]
    )
    everything = ("everything", "", words.estimate(isolation.shared), "")
    return Table(titles, (everything, *rows))


_COLOURS = dict(
    zip(
        DOING, (PALETTE[2], "#F0E442", PALETTE[3], PALETTE[1], PALETTE[4], "#BBBBBB", "#888888", "#DDDDDD"), strict=True
    )
)


def _chart(found: Contention) -> Chart:
    marks, start = [], 0.0
    for what, share in found.shares.items():
        if share > 0:
            marks.append(
                Bars(f"{DOING[what]}: {100 * share:.1f} %", (0,), (start,), (start + 100 * share,), _COLOURS[what])
            )
            start += 100 * share
    said = ", ".join(f"{DOING[what]} {100 * share:.0f} %" for what, share in found.shares.items() if share >= SMALL)
    return Chart(
        f"{found.name}: where the threads' time went",
        f"Bar: {said}.",
        Axis("% of the threads' time", low=0, high=100),
        Axis(),
        tuple(marks),
        (words.counted(found.threads, "thread"),),
        _locks(found.locks, found.gil) if found.locks else None,
        width=7.0,
        height=2.2,
    )
