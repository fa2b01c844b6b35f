"""A recording as a table of its threads, and as a picture with a track for each."""

from __future__ import annotations

import math

from gilcmp.judge.charts import PALETTE
from gilcmp.probing.recording import ASLEEP, AWAY, BLOCKED, HOLDS, NOBODY, RUNS, WAITS, Recording, Thread
from gilcmp.show import words
from gilcmp.show.model import Axis, Bars, Chart, Section, Stretch, Table, columns, section

SHOWN = 40  # threads; more are counted
FIRST = 10  # threads on a screen
FIRST_LINES = 4
SMALL = 0.005  # of the time: lines that held less are not shown
FEW = 100  # looks; with fewer a share may be more than 10 points off
MOST_SPANS = 5000  # of a picture: more cannot be told apart, and make the file large
COLOURS = {HOLDS: PALETTE[3], WAITS: "#F0E442", RUNS: PALETTE[2], AWAY: "#BBBBBB", ASLEEP: PALETTE[4]}


def timeline_sections(recording: Recording, most: int = SHOWN) -> list[Section]:
    """Return who held and waited longest, a row for each thread, and how well all was seen."""
    chosen = sorted(recording.threads, key=lambda thread: -thread.held)[:most]
    held, waited, ran, longest = (
        ("held", "waited", "ran without", "longest hold")
        if recording.gil
        else ("attached", "stopped", "ran detached", "longest stretch")
    )
    asleep = () if recording.gil else ("for a lock",)
    heads = (held, waited, *asleep, ran, "blocked", "on CPU", "no core", longest)
    titles = columns("thread", *(f">{title}" for title in heads))
    table = Table(titles, tuple(_row(recording, thread) for thread in chosen))
    lines = _lines(recording, FIRST_LINES if most == FIRST else most)
    return [
        section("", *_first(recording)),
        section("", table),
        *([section("", lines)] if lines.rows else []),
        section("", *_sentences(recording, most)),
    ]


def _lines(recording: Recording, most: int) -> Table:
    """Return the lines at which threads held longest."""
    held = "held" if recording.gil else "attached"
    chosen = [line for line in recording.lines if line.held >= SMALL * recording.watched and line.line is not None]
    if not recording.watched:
        chosen = []
    rows = tuple(
        (f"{100 * line.held / recording.watched:.1f} %", str(line.line), line.line.function, line.thread)
        for line in chosen[:most]
        if line.line is not None
    )
    return Table(columns(f">{held}", "at line", "in function", "by thread"), rows)


def _first(recording: Recording) -> list[str]:
    """Say who held longest, and who waited longest for it."""
    if not recording.watched or not recording.threads:
        return []
    held = max(recording.threads, key=lambda thread: thread.held)
    slept = max(recording.threads, key=lambda thread: thread.asleep)
    waited = max(recording.threads, key=lambda thread: thread.waited)
    lock = "held the GIL" if recording.gil else "was attached"
    said = f"{held.name} {lock} for {held.held / recording.watched:.0%} of the time"
    if recording.tells_waits and waited.waited > 0:
        what = "for it" if recording.gil else "for a pause of all threads"
        said += f"; {waited.name} waited {what} for {waited.waited / recording.watched:.0%}"
    if slept.asleep > 0:
        said += f"; {slept.name} slept for locks for {slept.asleep / recording.watched:.0%}"
    return [f"{said}."] if held.held > 0 else []


def _row(recording: Recording, thread: Thread) -> tuple[str, ...]:
    # sampled times are shares of the time watched; the thread's own clocks cover all of the recording
    def share(seconds: float | None, whole: float = recording.watched) -> str:
        return "-" if seconds is None or not whole else f"{100 * seconds / whole:.1f} %"

    known = recording.tells_states
    short = thread.holds == 0 and thread.held == 0
    return (
        thread.name,
        "< pace" if short else share(thread.held),
        share(thread.waited) if recording.tells_waits or not recording.gil else "-",
        *(() if recording.gil else (share(thread.asleep),)),
        share(thread.ran) if known else "-",
        share(thread.blocked) if known and recording.tells_waits else "-",
        share(thread.cpu, recording.seconds),
        share(thread.run_delay, recording.seconds),
        "-" if short else words.seconds(thread.longest_hold),
    )


def _sentences(recording: Recording, most: int) -> list[str]:
    """Say what was seen, and how well."""
    idle = "the GIL was free" if recording.gil else "no thread was attached"
    sentences = [
        f"{words.seconds(recording.seconds)} recorded, a look every {words.seconds(recording.pace)} on average; "
        f"{idle} for {100 * recording.free:.1f} % of the time."
    ]
    longest, name = recording.longest_hold
    if longest:
        kind = "Longest hold seen" if recording.gil else "Longest time seen attached"
        sentences.append(f"{kind}: {words.seconds(longest)}, by {name}.")
    if recording.hand_overs is not None and recording.seconds:
        unseen = max(0, recording.hand_overs - recording.hand_overs_seen)
        sentences.append(
            f"{recording.hand_overs:,} hand-overs from thread to thread, "
            f"{recording.hand_overs / recording.seconds:,.0f} a second"
            + (f"; {unseen:,} of them were too quick to be seen." if unseen else ".")
        )
    if recording.looks < FEW:
        points = 98 / math.sqrt(max(1, recording.looks))  # 1.96 standard errors of a share of one half
        sentences.append(
            f"Looked only {recording.looks} times: a share may be {points:.0f} points off. Record for longer, or at a "
            "shorter pace."
        )
    if recording.unseen:
        sentences.append(
            f"{words.seconds(recording.unseen)} were not seen: the recorder had no core, or the program forked."
        )
    if recording.dropped:
        sentences.append(f"The {recording.dropped:,} oldest spans were dropped; the sums have them all.")
    if not recording.tells_states:
        sentences.append("This system does not tell what a thread does that does not hold the lock.")
    elif not recording.tells_waits:
        sentences.append("Whether a blocked thread waits for the GIL cannot be told with this C library.")
    if len(recording.threads) > most:
        further = words.counted(len(recording.threads) - most, "further thread")
        sentences.append(f"{further} not shown; they held less.")
    return sentences


def timeline_chart(recording: Recording, start: float | None, end: float | None) -> Chart:
    """Return a track for each thread, from `start` to `end` (seconds since the recording began)."""
    import numpy as np

    spans = recording.spans
    lowest = 0.0 if start is None else float(start)
    highest = max(recording.seconds, lowest + 1e-6) if end is None else float(end)
    if not lowest < highest:
        raise ValueError(f"end must be after start, got {lowest} to {highest}")
    # "blocked" is the empty stretch of a track
    drawn = spans[(spans["doing"] != BLOCKED) & (spans["end"] > lowest * 1e9) & (spans["start"] < highest * 1e9)]
    drawn = drawn[np.argsort(drawn["start"], kind="stable")]
    if len(drawn) > MOST_SPANS:
        highest = float(drawn["start"][MOST_SPANS]) / 1e9
        drawn = drawn[:MOST_SPANS]
    threads = [number for number in range(len(recording.threads)) if number in drawn["thread"]] or [0]
    unit, name = (1e3, "ms") if highest - lowest < 1 else (1.0, "s")
    rows = {number: row for row, number in enumerate(threads)}
    marks: list[Bars | Stretch] = []
    for doing, label in _labels(recording).items():
        spans_of_kind = drawn[(drawn["doing"] == doing) & (drawn["thread"] != NOBODY)]
        if len(spans_of_kind):
            places = tuple(rows[number] for number in spans_of_kind["thread"].tolist())
            starts, ends = (tuple((spans_of_kind[field] / 1e9 * unit).tolist()) for field in ("start", "end"))
            marks.append(Bars(label, places, starts, ends, COLOURS[doing]))
    for span in drawn[drawn["thread"] == NOBODY]:
        marks.append(Stretch(span["start"] / 1e9 * unit, span["end"] / 1e9 * unit, "not seen"))
    return Chart(
        "Who held the GIL when" if recording.gil else "Who was attached when",
        f"Tracks of {words.counted(len(threads), 'thread')}: who held the GIL when.",
        Axis(f"{name} since the recording began", low=lowest * unit, high=highest * unit),
        Axis(),
        tuple(marks),
        tuple(recording.threads[number].name for number in threads) if recording.threads else ("",),
        width=10,
        height=1.2 + 0.42 * len(threads),
    )


def _labels(recording: Recording) -> dict[int, str]:
    """Return what each colour of a track means."""
    if recording.gil:
        return {HOLDS: "holds the GIL", WAITS: "waits for the GIL", RUNS: "runs, or could, without it",
                AWAY: "does not hold it"}  # fmt: skip
    return {
        HOLDS: "attached",
        WAITS: "stopped with the world",
        RUNS: "runs, or could, detached",
        AWAY: "detached",
        ASLEEP: "asleep for a lock",
    }
