"""What a probe found, the verdict on it, and how it is shown."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import ClassVar

from attrs import frozen

from gilcmp.judge.charts import PALETTE, row_height
from gilcmp.judge.estimate import Estimate
from gilcmp.judge.verdict import Verdict
from gilcmp.measure.machine import gil_enabled
from gilcmp.saved.kept import Kept
from gilcmp.show import words
from gilcmp.show.model import Axis, Bars, Cell, Chart, Section, Sentence, Table, columns, pairs, section
from gilcmp.show.views import Drawn

BAR = 40  # characters of the bar of the share held
SHORT = 200e-6  # seconds; whether a shorter call lets others in cannot be seen
# Share held up to which a call "releases", and from which it "holds"; the whole interval has to lie there
RELEASES, HOLDS = 0.1, 0.9
# Share of releases of so many seconds in which another thread got in: measured on 3.13 (see docs/probe.md)
GOT_IN = ((0.0, 0.01), (5e-6, 0.25), (10e-6, 0.46), (20e-6, 0.77), (30e-6, 0.95), (50e-6, 1.0))

WORDS = (
    "releases",
    "releases partly",
    "holds, yields",
    "holds, blocks",
    "holds, briefly",
    "holds",
    "no GIL",
    "too noisy",
    "too short to say",
    "starved",
)
TONES = {
    "releases": "good",
    "releases partly": "fair",
    "holds, yields": "fair",
    "holds, blocks": "bad",
    "holds, briefly": "fair",
    "holds": "bad",
    "too noisy": "open",
    "too short to say": "open",
    "starved": "open",
}
OPEN = tuple(word for word, tone in TONES.items() if tone == "open")  # words that leave the question open
HELD, FREE, BY_OTHERS, WAITED = PALETTE[3], "#BBBBBB", "#F0E442", PALETTE[2]


@frozen
class Stall:
    """How long another thread that asked for the GIL during a call waited for it, in seconds; `n` waits."""

    p50: float
    p99: float
    max: float
    n: int


@frozen
class HeldAt:
    """A line at which a call holds the GIL: where it is, its function, and its share of the call's time."""

    line: str
    function: str
    share: float


@frozen
class Probe(Kept, Drawn):
    """What a call does to the GIL.

    Attributes
    ----------
    name : str
        What was called.
    calls : int
        How often, while `held` was measured. Where too little was seen, only this, `time` and `stall` are known.
    time : float
        Seconds of a call.
    held : Estimate
        Share of the call's time in which the calling thread held the GIL (free-threaded builds: was attached).
    others : float
        Share of the time in which another thread held it: the call's own threads, or strangers.
    longest_hold : float
        Longest hold that was seen, in seconds, and never more than a call.
    hand_overs : float
        How often a call lets go of the lock.
    stall : Stall
        How long another thread waits that asks for the lock at some moment during a call.
    usable : float
        Share of the released time in which another thread can really get in; NaN where nothing is released.
    reacquire : float
        Seconds it takes to get the lock back beside one busy Python thread, per release; NaN where that was
        not measured.
    verdict : Verdict
        One of `WORDS`, with the reason.
    waited, stopped : float
        Free-threaded builds: shares of the call's time for which it waited for locks, at least, and was stopped with
        the whole world; NaN where that was not seen.
    lines : tuple of HeldAt
        For a call that holds for a part of its time, and runs Python: at which lines, the longest first.
    """

    FORMAT: ClassVar[str] = "gilcmp probe"

    name: str
    calls: int
    time: float
    held: Estimate
    others: float
    longest_hold: float
    hand_overs: float
    stall: Stall
    usable: float
    reacquire: float
    verdict: Verdict
    waited: float = math.nan
    stopped: float = math.nan
    lines: tuple[HeldAt, ...] = ()

    def sections(self) -> list[Section]:
        """Return what is shown of it."""
        verdict = Sentence(self.verdict.reason, lead=self.verdict.shown(TONES))
        return [section(self.name, verdict, _figures(self))]

    def charts(self) -> list[Chart]:
        """Return its pictures: the share held, and how long others wait."""
        return [_held_chart(self), _waits_chart(self)]


def usable(releases: Sequence[float]) -> float:
    """Share of the released time in which another thread can really get in, from the releases' lengths (s)."""
    total = sum(releases)
    if not total:
        return math.nan
    return sum(length * _got_in(length) for length in releases) / total


def _got_in(length: float) -> float:
    for (shorter, low), (longer, high) in pairwise(GOT_IN):
        if length < longer:
            return low + (high - low) * (length - shorter) / (longer - shorter)
    return 1.0


def judge_probe(probe: Probe, lets_others_in: Callable[[], bool | None]) -> Verdict:
    """Return the verdict on what was measured.

    Parameters
    ----------
    probe : Probe
        The figures; its verdict is not looked at.
    lets_others_in : callable
        Called only for a call that holds: whether others get the lock before it ends; None: unknown.
    """
    share = f"{probe.held.value:.1%} of the time"
    if not gil_enabled():
        return Verdict(
            "no GIL",
            f"there is no lock to hold; the thread was detached {1 - probe.held.value:.1%} of the time"
            + (f", waited for locks {probe.waited:.1%}" if probe.waited >= 0.001 else "")
            + (f", was stopped with the world {probe.stopped:.1%}" if probe.stopped >= 0.001 else ""),
        )
    if probe.held.high <= RELEASES:
        if probe.usable < 0.5:
            return Verdict(
                "releases partly",
                f"held only {share}, but in releases too short for others to get in ({probe.usable:.0%} usable)",
            )
        if math.isnan(probe.usable):
            return Verdict("releases", f"the lock was held {share}; how long it was let go at a time was not seen")
        return Verdict("releases", f"the lock was held {share}: others can run nearly all of it")
    if probe.held.low > RELEASES and probe.held.high < HOLDS:
        return Verdict("releases partly", f"the lock was held {share}")
    if probe.held.low < HOLDS:
        between = f"between {probe.held.low:.0%} and {probe.held.high:.0%} of the time"
        return Verdict("too noisy", f"the lock was held {between}: a longer budget or a quieter machine may tell")
    lets_in = lets_others_in()
    if lets_in is None:
        if probe.time < SHORT:
            return Verdict("holds, briefly", f"held {share}, but the call is over before anybody notices")
        return Verdict("holds", f"held {share}; too few others asked for the lock to tell how long they wait")
    if lets_in:
        return Verdict(
            "holds, yields", f"held {share}, but handed over when asked: others wait about a switch interval"
        )
    return Verdict("holds, blocks", f"held {share}, and whoever asks waits until the call is over")


# ---- how it is shown ------------------------------------------------------------------------------------------


def held_share(probe: Probe) -> str:
    """Return the share held: 2.0 %."""
    return "-" if math.isnan(probe.held.value) else f"{100 * probe.held.value:.1f} %"


def _held_interval(probe: Probe) -> str:
    return f"{held_share(probe)} [{100 * probe.held.low:.1f}, {100 * probe.held.high:.1f}]"


def _waits(probe: Probe, separator: str) -> str:
    return separator.join(words.seconds(value) for value in (probe.stall.p50, probe.stall.p99, probe.stall.max))


def _figures(probe: Probe) -> Table:
    released = f"{words.number(probe.hand_overs)} times a call"
    if not math.isnan(probe.usable):
        released += f", {words.percent(probe.usable)} usable"
    rows: list[tuple[str, Cell]] = [
        ("calls", f"{probe.calls:,}, {words.seconds(probe.time)} each"),
    ]
    if math.isnan(probe.held.value):  # too little was seen: other figures would look like findings
        return pairs(rows)
    rows += [
        ("held", f"{words.bar(probe.held.value, 1, BAR)} {_held_interval(probe)}"),
        ("longest hold", words.seconds(probe.longest_hold)),
        *([] if probe.verdict.word in ("holds, blocks", "holds, briefly") else [("released", released)]),
        ("others wait", f"{_waits(probe, ', ')} (median, 99 %, longest of {probe.stall.n})"),
    ]
    for number, line in enumerate(probe.lines):
        rows.append(("held at" if number == 0 else "", f"{words.percent(line.share)} {line.line} {line.function}"))
    if not math.isnan(probe.waited):
        rows.append(("waited for locks", f"{100 * probe.waited:.1f} % of the time, at least"))
        rows.append(("stopped", f"{100 * probe.stopped:.1f} % of the time, with the whole world"))
    if not math.isnan(probe.reacquire):
        rows.append(("getting it back", f"{words.seconds(probe.reacquire)} beside a busy Python thread"))
    if probe.others > 0.01:
        rows.append(("others held it", words.percent(probe.others)))
    return pairs(rows)


def probe_table(probes: Sequence[Probe]) -> Table:
    """Return several probes as a table."""
    titles = columns("statement", ">time", ">held", "", ">usable", ">stall (99 %)", "verdict")
    rows = tuple(
        (
            probe.name,
            words.seconds(probe.time),
            held_share(probe),
            words.bar(probe.held.value, 1, 10),
            words.percent(probe.usable),
            words.seconds(probe.stall.p99),
            probe.verdict.shown(TONES),
        )
        for probe in probes
    )
    return Table(titles, rows)


def probes_chart(probes: Sequence[Probe]) -> Chart:
    """Return the shares held of several probes, with all their figures in the table."""
    titles = columns(
        "call", ">time", ">held", ">longest hold", ">releases usable", ">others wait (median / 99 % / longest)",
        "verdict", "reason",
    )  # fmt: skip
    rows = tuple(
        (
            probe.name,
            words.seconds(probe.time),
            _held_interval(probe),
            words.seconds(probe.longest_hold),
            words.percent(probe.usable),
            _waits(probe, " / "),
            probe.verdict.shown(TONES),
            probe.verdict.reason,
        )
        for probe in probes
    )
    hints = (
        f"{probe.name}: held {held_share(probe)}, others wait {words.seconds(probe.stall.p99)} (99 %), "
        f"{probe.verdict.word}"
        for probe in probes
    )
    shares = tuple(100 * probe.held.value for probe in probes)
    numbers = tuple(range(len(probes)))
    shares_in_words = ", ".join(f"{probe.name} {share:.0f} %" for probe, share in zip(probes[:8], shares, strict=False))
    return Chart(
        "Share of the call's time in which it holds the GIL",
        f"Bar chart: share of the time in which a call holds the GIL: {shares_in_words}.",
        Axis("% of the call's time in which it holds the GIL", low=0, high=100),
        Axis(),
        (Bars("held", numbers, (0.0,) * len(probes), shares, HELD, tuple(hints)),),
        tuple(probe.name for probe in probes),
        Table(titles, rows, "probes"),
        legend=False,
        height=row_height(len(probes)),
    )


def _held_chart(probe: Probe) -> Chart:
    held = probe.held.value
    interval = (100 * probe.held.low, 100 * probe.held.high)
    parts = (
        ("held by the call", held, HELD, interval),
        ("by others", probe.others, BY_OTHERS, None),
        ("free", max(0.0, 1 - held - probe.others), FREE, None),
    )
    marks = []
    start = 0.0
    for name, share, colour, error in parts:
        if share > 0:
            end = start + 100 * share
            marks.append(Bars(f"{name}: {100 * share:.1f} %", (0,), (start,), (end,), colour, error=error))
            start = end
    return Chart(
        f"{probe.name}: {probe.verdict.word}",
        f"Bar: {probe.name} holds the GIL for {held_share(probe)} of its time.",
        Axis("% of the call's time", low=0, high=100),
        Axis(),
        tuple(marks),
        ("the GIL",),
        width=7.0,
        height=1.6,
    )


def _waits_chart(probe: Probe) -> Chart:
    known = [(name, 1e6 * value) for name, value in
             (("median", probe.stall.p50), ("99 %", probe.stall.p99), ("longest", probe.stall.max))
             if not math.isnan(value)]  # fmt: skip
    ends = tuple(max(value, 1e-3) for _, value in known)
    return Chart(
        "How long others wait",
        f"Bars: others wait for {words.seconds(probe.stall.p50)} in the median, {words.seconds(probe.stall.max)} at "
        "most.",
        Axis("us that others wait", log=True),
        Axis(),
        (Bars("", tuple(range(len(ends))), (1e-3,) * len(ends), ends, WAITED),),
        tuple(name for name, _ in known) or ("nobody asked",),
        legend=False,
        width=7.0,
        height=1.6,
    )
