"""What was counted of a process: who held the GIL, where, and who waited; and how it is shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from attrs import frozen

from gilcmp.saved.kept import Kept
from gilcmp.show import words
from gilcmp.show.model import Section, Sentence, Table, columns, section
from gilcmp.watch.waits import Line

BOUNDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)  # seconds: as in watch/monitor.c
LONG = 0.02  # seconds: shorter holds and waits are not told one by one
FIRST = (5, 4, 3)  # lines, threads and events on the first screen
SMALL = 0.005  # of the time: lines below it are added up on the first screen


@frozen
class ThreadFigures:
    """One thread's counters, in seconds.

    Attributes
    ----------
    name : str
        Its name, or what is added up here.
    native_id : int
        The system's number of it; 0: several threads together.
    held, waited, asleep : float
        For which it held the GIL (free-threaded builds: was attached), waited for it (was stopped with the world), and,
        on free-threaded builds, was asleep until it got a lock.
    cpu, run_delay : float or None
        On a CPU, and ready to run without one; None where the system does not tell.
    """

    name: str
    native_id: int
    held: float
    waited: float
    asleep: float
    cpu: float | None
    run_delay: float | None


@frozen
class HeldLine:
    """A line at which the GIL was held (free-threaded builds: at which threads were attached).

    Attributes
    ----------
    line : Line or None
        The innermost line of Python; None: it could not be read, or no Python code ran.
    caller : Line or None
        The innermost one outside the standard library.
    held, waited : float
        Seconds for which it was held there, and for which other threads together waited meanwhile.
    looks : int
        How many looks that is.
    """

    line: Line | None
    caller: Line | None
    held: float
    waited: float
    looks: int


@frozen
class LongOne:
    """A long hold, or a long wait: one of at least 20 ms. On free-threaded builds a hold is a pause of the whole world.

    Attributes
    ----------
    kind : str
        "hold" or "wait".
    thread, native_id : str, int
        Whose.
    line : Line or None
        Where a hold was, the innermost line.
    began : float
        When, in seconds since the watching began.
    seconds : float
        For how long.
    waiting : int
        How many other threads were seen to wait for the end of a hold.
    reported : bool
        Whether the watchdog reported it.
    no_core : float
        For how many seconds of a hold its thread had no CPU, as far as the system tells: others had it.
    """

    kind: Literal["hold", "wait"]
    thread: str
    native_id: int
    line: Line | None
    began: float
    seconds: float
    waiting: int
    reported: bool
    no_core: float = 0.0

    def __str__(self) -> str:
        where = f" at {self.line} {self.line.function}" if self.line is not None else ""
        behind = f"; {words.counted(self.waiting, 'thread')} waited" if self.waiting else ""
        does = "held the GIL for" if self.kind == "hold" else "waited for"
        idle = f"; it had no CPU for {words.seconds(self.no_core)}" if self.no_core > 0.1 * self.seconds else ""
        return f"{self.thread} {does} {words.seconds(self.seconds)}{where}{behind}{idle}"


@frozen
class Histogram:
    """How many long holds, or waits, there were, by their lengths.

    Attributes
    ----------
    counts : tuple of int
        How many lasted up to each of `bounds` and longer than the one before, and how many longer than all.
    seconds : float
        How long they took together.
    bounds : tuple of float
        Seconds.
    """

    counts: tuple[int, ...]
    seconds: float
    bounds: tuple[float, ...] = BOUNDS

    @property
    def n(self) -> int:
        """How many there were."""
        return sum(self.counts)


@frozen(repr=False)
class Figures(Kept):
    """Counters of a process, which only grow while it is watched; times in seconds.

    Attributes
    ----------
    what : str
        What was watched.
    gil : bool
        Whether there is a GIL; without one, to hold it means to be attached to the interpreter.
    seconds, watched, unseen : float
        How long it was watched, and how much of that was seen, and was not since the watcher itself had no CPU.
    held, waited, asleep : float
        Of all threads together, as in `ThreadFigures`; with a GIL, ``held`` is at most ``watched``.
    hand_overs : int or None
        How often the GIL went from thread to thread, by the interpreter's own count; None without a GIL.
    stopped, pauses, longest_pause : float, int, float
        Free-threaded builds: time in which the whole world was stopped, and how many pauses were seen; those shorter
        than the pace are seen by chance only.
    threads : tuple of ThreadFigures
        Those that live, those that held longest first, and all that have ended together.
    lines : tuple of HeldLine
        By the time for which it was held there, the longest first.
    holds, waits : Histogram
        Of those that lasted 20 ms or longer.
    events : tuple of LongOne
        The latest of these, at most 64 and the one that goes on.
    reports, suppressed, failed : int
        Of the watchdog: written, left out since they came too soon after another one, and those that the file did not
        take.
    looks : int
        How often the watcher looked.
    cost : float
        CPUs that it took.
    tells_waits : bool
        Whether this system tells who waits for the GIL.
    """

    FORMAT: ClassVar[str] = "gilcmp figures"

    what: str
    gil: bool
    seconds: float
    watched: float
    unseen: float
    held: float
    waited: float
    asleep: float
    hand_overs: int | None
    stopped: float
    pauses: int
    longest_pause: float
    threads: tuple[ThreadFigures, ...]
    lines: tuple[HeldLine, ...]
    holds: Histogram
    waits: Histogram
    events: tuple[LongOne, ...]
    reports: int
    suppressed: int
    failed: int
    looks: int
    cost: float
    tells_waits: bool

    @property
    def held_share(self) -> float:
        """Share of the time in which the GIL was held; free-threaded builds: threads that were attached, on average."""
        return self.held / self.watched if self.watched else math.nan

    @property
    def run_delay(self) -> float | None:
        """Seconds for which threads were ready to run and had no CPU; None where the system does not tell."""
        told = [thread.run_delay for thread in self.threads if thread.run_delay is not None]
        return sum(told) if told else None

    @property
    def longest_hold(self) -> LongOne | None:
        """The longest of the holds that are kept; None: none lasted 20 ms."""
        return max((e for e in self.events if e.kind == "hold"), key=lambda event: event.seconds, default=None)

    def records(self) -> Sequence[dict[str, object]]:
        """Return its lines, a record each."""
        return [
            {
                "file": line.line.file if line.line else "", "line": line.line.line if line.line else 0,
                "function": line.line.function if line.line else "", "caller": str(line.caller or ""),
                "held": line.held, "waited": line.waited, "looks": line.looks,
            }
            for line in self.lines
        ]  # fmt: skip

    def sections(self) -> list[Section]:
        """Return what is shown of it: everything."""
        return _sections(self, (len(self.lines), len(self.threads), len(self.events)), 0.0)

    def overview(self, width: int = 80) -> list[Section]:
        """Return what fits on a screen."""
        return _sections(self, FIRST, SMALL)


def figures(data: Any, what: str, names: dict[int, str], *, gil: bool) -> Figures:
    """Turn what the native monitor counted into figures; `names`: those of the threads, by their identity."""
    began = data["began"]
    gone = data["gone"]
    threads = [_thread(one, _named(one, names), one["native_id"]) for one in data["threads"]]
    threads.sort(key=lambda thread: -thread.held)
    if any(gone[name] for name in ("held", "waited", "asleep", "cpu")):
        threads.append(_thread(gone, "threads that have ended", 0))
    events = [*data["events"], *([data["now"]] if data["now"] is not None else [])]
    long_ones = [_event(one, data, names) for one in events]
    rest = data["rest"]
    lines = [
        HeldLine(_line(inner), _line(outer), held / 1e9, waited / 1e9, looks)
        for _, inner, outer, held, waited, looks in [*data["lines"], (0, None, None, *rest)]
        if looks
    ]
    return Figures(
        what, gil,
        (data["ended"] - began) / 1e9, data["watched"] / 1e9, data["unseen"] / 1e9,
        data["held"] / 1e9, data["waited"] / 1e9, data["asleep"] / 1e9,
        data["hand_overs"] if gil else None,
        data["stopped"] / 1e9, data["pauses"], data["longest_pause"] / 1e9,
        tuple(threads),
        tuple(sorted(_merged(lines), key=lambda line: -line.held)),
        _histogram(data["holds"]), _histogram(data["waits"]),
        tuple(event for event in long_ones if event.seconds >= LONG),
        data["reports"], data["suppressed"], data["failed"], data["looks"],
        data["cpu"] / max(1, data["ended"] - began),
        data["tells_waits"] if gil else data["tells_locks"],
    )  # fmt: skip


def _named(one: Any, names: dict[int, str]) -> str:
    return names.get(one["ident"], f"thread {one['native_id'] or one['ident']}")


def _thread(counted: Any, name: str, native_id: int) -> ThreadFigures:
    cpu, delay = counted["cpu"], counted["run_delay"]
    return ThreadFigures(
        name, native_id, counted["held"] / 1e9, counted["waited"] / 1e9, counted["asleep"] / 1e9,
        None if cpu is None else cpu / 1e9, None if delay is None else delay / 1e9,
    )  # fmt: skip


def _line(place: tuple[str, int, str] | None) -> Line | None:
    return None if place is None else Line(*place)


def _merged(lines: Sequence[HeldLine]) -> list[HeldLine]:
    """Put together what stands at the same lines: a function may have been made several times."""
    merged: dict[tuple[Line | None, Line | None], HeldLine] = {}
    for line in lines:
        key = line.line, line.caller
        known = merged.get(key, HeldLine(line.line, line.caller, 0.0, 0.0, 0))
        merged[key] = HeldLine(*key, known.held + line.held, known.waited + line.waited, known.looks + line.looks)
    return list(merged.values())


def _event(seen: Any, data: Any, names: dict[int, str]) -> LongOne:
    ended = seen["ended"] or data["ended"]
    return LongOne(
        "wait" if seen["kind"] else "hold",
        _named(seen, names),
        seen["native_id"],
        _line(seen["inner"]),
        (seen["began"] - data["began"]) / 1e9,
        max(0, ended - seen["began"]) / 1e9,
        seen["waiting"],
        seen["reported"] == 1,
        seen.get("no_core", 0) / 1e9,
    )


def _histogram(counted: Any) -> Histogram:
    return Histogram(tuple(counted["buckets"]), counted["total"] / 1e9)


# ---- in words ------------------------------------------------------------------------------------------------------


def _sections(found: Figures, most: tuple[int, int, int], small: float) -> list[Section]:
    shown = [section("", *_sentences(found))]
    lines = [line for line in found.lines if line.held >= small * found.watched][: most[0]]
    if lines:
        shown.append(section("", _lines(found, lines)))
    threads = found.threads[: most[1]]
    if threads:
        shown.append(section("", _threads(found, threads)))
    events = sorted(found.events, key=lambda event: (event.kind, -event.seconds))[: most[2]]
    if events:
        longest = [Sentence(f"{_ago(found, event)}: {event}.", indent=2) for event in events]
        shown.append(section("Longest of the latest holds and waits", *longest))
    shown.append(section("", *_notes(found)))
    return shown


def _ago(found: Figures, event: LongOne) -> str:
    return f"{found.seconds - event.began - event.seconds:.1f} s ago"


def _sentences(found: Figures) -> list[Sentence]:
    worst = next((line for line in found.lines if line.line is not None), None)
    if not found.watched:
        return [Sentence("Nothing was seen.")]
    if found.gil:
        text = f"The GIL was held for {words.percent(found.held_share)} of {words.seconds(found.watched)}"
    else:
        text = f"{found.held_share:.2f} threads were attached on average, in {words.seconds(found.watched)}"
    if worst is not None and worst.held >= SMALL * found.watched:
        share = words.percent(worst.held / (found.held or 1.0))
        text += f", {share} of that at {worst.line} {worst.line.function if worst.line else ''}"
    behind = f"; others waited {words.seconds(found.waited)} together" if found.tells_waits and found.waited else ""
    said = [Sentence(f"{text}{behind}.", "strong")]
    if found.stopped:
        said.append(
            Sentence(
                f"The whole world was stopped for {words.percent(found.stopped / found.watched)} of the time, "
                f"{words.counted(found.pauses, 'pause')} seen, the longest {words.seconds(found.longest_pause)}."
            )
        )
    return said


def _lines(found: Figures, lines: Sequence[HeldLine]) -> Table:
    titles = columns(">held" if found.gil else ">attached", ">others waited", "line", "function", "called from")
    rows = []
    for line in lines:
        caller = line.caller if line.caller != line.line else None
        rows.append(
            (
                words.percent(line.held / found.watched),
                words.seconds(line.waited) if line.waited else "-",
                str(line.line) if line.line is not None else "not read",
                line.line.function if line.line is not None else "",
                str(caller) if caller is not None else "",
            )
        )
    return Table(titles, tuple(rows))


def _threads(found: Figures, threads: Sequence[ThreadFigures]) -> Table:
    held, waited = ("held", "waited") if found.gil else ("attached", "stopped")
    names = ["thread", f">{held}", f">{waited}", *([] if found.gil else [">for a lock"]), ">on CPU", ">no core"]
    rows = []
    for thread in threads:
        figures_ = [thread.held, thread.waited, *([] if found.gil else [thread.asleep]), thread.cpu, thread.run_delay]
        rows.append((thread.name, *("-" if each is None else words.percent(each / found.watched) for each in figures_)))
    return Table(columns(*names), tuple(rows))


def _notes(found: Figures) -> list[Sentence]:
    told = [found.what, f"watched for {found.seconds:.1f} s", f"{words.counted(found.looks, 'look')}"]
    if found.hand_overs is not None:
        told.append(f"{words.counted(found.hand_overs, 'hand-over')}")
    told.append(f"watching took {100 * found.cost:.1f} % of a CPU")
    notes = [Sentence(f"{'; '.join(told)}.")]
    long_ones = [f"{words.counted(found.holds.n, 'hold')}", f"{words.counted(found.waits.n, 'wait')}"]
    notes.append(Sentence(f"{long_ones[0]} and {long_ones[1]} of at least {words.seconds(LONG)}."))
    if found.suppressed or found.failed:
        notes.append(
            Sentence(
                f"{words.counted(found.suppressed, 'report')} left out: too soon; {found.failed} could not be written."
            )
        )
    if found.gil and not found.tells_waits:
        notes.append(Sentence("This system does not tell which threads wait for the GIL."))
    if found.unseen > 0.1 * (found.seconds or 1.0):
        notes.append(Sentence(f"Nothing was seen for {words.seconds(found.unseen)}: the watcher had no CPU."))
    return notes
