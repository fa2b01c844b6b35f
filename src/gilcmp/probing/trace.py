"""A timeline as a trace in the Trace Event Format, which Perfetto and chrome://tracing show.

The format is the JSON object format of "Trace Event Format" (Google, 2016): complete events ("X"), metadata ("M")
and counters ("C"); times are in microseconds.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from typing import IO, Any

from gilcmp._version import __version__
from gilcmp.base.files import replacing
from gilcmp.probing.recording import AWAY, BLOCKED, HOLDS, NOBODY, SPAN, Recording

WITH_GIL = ("holds the GIL", "waits for the GIL", "runs without the GIL", "", "does not hold the GIL", "")
WITHOUT_GIL = ("attached", "stopped with the world", "runs detached", "", "detached", "asleep for a lock")
# of Catapult's palette, which both viewers know
COLOURS = (
    "thread_state_running",
    "thread_state_iowait",
    "thread_state_runnable",
    "",
    "grey",
    "thread_state_uninterruptible",
)
FORMAT = "gilcmp timeline"
RECORDER = 0  # thread number of the track that shows when nothing was seen


def save_trace(recording: Recording, path: str | os.PathLike[str]) -> None:
    """Write a timeline as a trace, with gzip where the name ends with .gz."""
    with replacing(path) as file:
        if os.fspath(path).lower().endswith(".gz"):
            with gzip.GzipFile(fileobj=file, mode="wb", filename="", compresslevel=6) as packed:
                _write(recording, packed)
        else:
            _write(recording, file)


def _write(recording: Recording, file: IO[bytes] | gzip.GzipFile) -> None:
    """Write event by event: a long recording has a million."""
    about = {
        "gilcmp": __version__,
        "seconds": recording.seconds,
        "pace": recording.pace,
        "dropped spans": recording.dropped,
        "unseen seconds": recording.unseen,
        "hand-overs": recording.hand_overs,
        "hand-overs seen": recording.hand_overs_seen,
        "format": FORMAT,
        "recording": recording.summary(),
    }
    file.write(b'{"displayTimeUnit": "ms",\n"otherData": ' + _dumped(about) + b',\n"traceEvents": [')
    lines: list[bytes] = []
    separator = b"\n"
    for event in events(recording):
        lines.append(_dumped(event))
        if len(lines) == 1000:
            file.write(separator + b",\n".join(lines))
            lines, separator = [], b",\n"
    if lines:
        file.write(separator + b",\n".join(lines))
    file.write(b"\n]}\n")


def _dumped(thing: Any) -> bytes:
    return json.dumps(thing, allow_nan=False).encode()


def events(recording: Recording) -> Iterator[dict[str, Any]]:
    """Return the events: names first, then what the threads did, then the counters."""
    process = os.getpid()
    names = WITH_GIL if recording.gil else WITHOUT_GIL
    numbers = _numbers(recording)
    yield {"ph": "M", "name": "process_name", "pid": process, "tid": RECORDER, "args": {"name": "Python"}}
    for order, (thread, number) in enumerate(zip(recording.threads, numbers, strict=True)):
        for kind, value in (
            ("thread_name", {"name": thread.name}),
            ("thread_sort_index", {"sort_index": order}),
        ):
            yield {"ph": "M", "name": kind, "pid": process, "tid": number, "args": value}
    if recording.unseen:
        yield {
            "ph": "M",
            "name": "thread_name",
            "pid": process,
            "tid": RECORDER,
            "args": {"name": "gilcmp's recorder"},
        }
    spans, places = recording.spans, recording.places
    columns = (spans[field].tolist() for field in ("start", "end", "thread", "doing", "line"))
    for start, end, index, doing, line in zip(*columns, strict=True):
        if doing == BLOCKED and index != NOBODY:
            continue  # an empty stretch of its track
        yield {
            "ph": "X",
            "name": "nothing seen: no core" if index == NOBODY else names[doing],
            "cat": "gil",
            "pid": process,
            "tid": RECORDER if index == NOBODY else numbers[index],
            "ts": start / 1000,
            "dur": (end - start) / 1000,
            "cname": "bad" if index == NOBODY else COLOURS[doing],
            **({"args": {"line": places[line], "number": line}} if 0 <= line < len(places) and places[line] else {}),
        }
    yield from _lock_counter(recording, process)
    yield from _clock_counters(recording, process)


def _numbers(recording: Recording) -> list[int]:
    """Return a number for each thread's track; the system gives a number again when its thread has ended."""
    taken = {RECORDER}
    numbers = []
    for thread in recording.threads:
        number = thread.native_id % 2**31
        while number in taken:
            number += 2**22  # beyond what Linux gives
        taken.add(number)
        numbers.append(number)
    return numbers


def _lock_counter(recording: Recording, process: int) -> Iterator[dict[str, Any]]:
    """How many threads hold the GIL: 0 or 1; without a GIL, how many are attached."""
    spans = recording.spans
    held = spans[spans["doing"] == HOLDS]
    held = held[held["thread"] != NOBODY]
    changes: dict[int, int] = {}
    for start, end in zip(held["start"].tolist(), held["end"].tolist(), strict=True):
        changes[start] = changes.get(start, 0) + 1
        changes[end] = changes.get(end, 0) - 1
    name, counted = ("GIL", "held") if recording.gil else ("attached threads", "threads")
    holders = 0
    yield {"ph": "C", "name": name, "pid": process, "tid": RECORDER, "ts": 0, "args": {counted: 0}}
    for when in sorted(changes):
        if changes[when]:
            holders += changes[when]
            yield {
                "ph": "C",
                "name": name,
                "pid": process,
                "tid": RECORDER,
                "ts": when / 1000,
                "args": {counted: holders},
            }


def _clock_counters(recording: Recording, process: int) -> Iterator[dict[str, Any]]:
    """Each thread's share of the time on a CPU, and of waiting for one, since its clocks were read before."""
    threads, numbers = recording.threads, _numbers(recording)
    before: dict[int, tuple[int, int, int]] = {}
    clocks = recording.clocks
    columns = (clocks[field].tolist() for field in ("time", "cpu", "run_delay", "thread"))
    for when, cpu, delay, index in zip(*columns, strict=True):
        then, cpu_then, delay_then = before.get(index, (when, cpu, delay))
        before[index] = (when, cpu, delay)
        if when > then:
            yield {
                "ph": "C",
                "name": f"{threads[index].name}: time in %",
                "id": numbers[index],  # threads may have the same name
                "pid": process,
                "tid": RECORDER,
                "ts": then / 1000,
                "args": {
                    # the clocks are read one after the other, a moment after the time
                    "on a CPU": min(100.0, round(100 * (cpu - cpu_then) / (when - then), 1)),
                    "waiting for a CPU": min(100.0, round(100 * (delay - delay_then) / (when - then), 1)),
                },
            }


class SavedNames:
    """The names of threads in a trace."""

    def of(self, record: Any) -> str:
        """Return the name of a thread."""
        return str(record["name"])


def saved_spans(body: Any, about: Any) -> bytes:
    """Return the spans of a trace that `save_trace` wrote, as a recorder gives them."""
    import numpy as np

    names = WITH_GIL if about["gil"] else WITHOUT_GIL
    doings = {name: number for number, name in enumerate(names) if name}
    tracks: dict[int, int] = {RECORDER: NOBODY}
    for event in body["traceEvents"]:
        if event["ph"] == "M" and event["name"] == "thread_sort_index":
            tracks[event["tid"]] = event["args"]["sort_index"]
    spans = [
        (
            round(event["ts"] * 1000) + about["began"],
            round((event["ts"] + event["dur"]) * 1000) + about["began"],
            tracks[event["tid"]],
            doings.get(event["name"], AWAY),  # nothing was seen
            event.get("args", {}).get("number", -1),
            0,
        )
        for event in body["traceEvents"]
        if event["ph"] == "X"
    ]
    return np.array(spans, dtype=np.dtype(SPAN)).tobytes()
