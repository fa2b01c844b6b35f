"""What was recorded of which thread held the GIL when."""

from __future__ import annotations

import math
import sysconfig
from functools import cached_property
from typing import Any

from attrs import frozen

from gilcmp.watch.thread_names import ThreadNames
from gilcmp.watch.waits import Line

#: What a thread does for a while, by the number in the field ``doing`` of `Timeline.spans`.
DOING = ("holds", "waits", "runs", "blocked", "away", "asleep")
HOLDS, WAITS, RUNS, BLOCKED, AWAY, ASLEEP = range(6)
KEEP = 1_000_000  # spans: 32 bytes each
NOBODY = -1  # "thread" of a span in which nothing was seen

# gilcmp_span and gilcmp_clock of watch/recorder.h
SPAN = [("start", "i8"), ("end", "i8"), ("thread", "i4"), ("doing", "i4"), ("line", "i4"), ("", "i4")]
_CLOCK = [("time", "i8"), ("cpu", "i8"), ("run_delay", "i8"), ("thread", "i4"), ("", "i4")]


@frozen
class Thread:
    """A thread and what it did while it was recorded; times in seconds.

    Attributes
    ----------
    name : str
        The name that the program gave it; "thread N" for one that `threading` does not know.
    native_id : int
        The system's number of it.
    began, ended : float or None
        When, since the recording began; None for one that was there before, or still is.
    held : float
        Time for which it held the GIL (free-threaded builds: was attached).
    waited : float
        Time for which it waited for the GIL (free-threaded builds: was stopped with the world).
    ran : float
        Time for which it ran, or was ready to run, without the GIL.
    blocked : float
        Time for which it waited for something else.
    away : float
        Time for which it did not hold the GIL and what else it did was not seen.
    cpu, run_delay : float or None
        CPU time, and time ready to run without a core; None where the system does not tell.
    longest_hold : float
        Longest time for which it was seen to hold the GIL without a break.
    holds : int
        How often it was seen to take the GIL; 0 for one that never held it for as long as the pace.
    asleep : float
        Free-threaded builds: time asleep until it got a lock, of an object or of the interpreter's.
    """

    name: str
    native_id: int
    began: float | None
    ended: float | None
    held: float
    waited: float
    ran: float
    blocked: float
    away: float
    cpu: float | None
    run_delay: float | None
    longest_hold: float
    holds: int
    asleep: float = 0.0


@frozen
class ThreadLine:
    """A line at which a thread held the GIL (free-threaded builds: was attached).

    Attributes
    ----------
    thread : str
        The thread's name.
    line : Line or None
        The innermost line of Python; None: it could not be read, or no Python code ran.
    caller : Line or None
        The innermost one outside the standard library.
    held : float
        Seconds.
    looks : int
        How many looks that is.
    """

    thread: str
    line: Line | None
    caller: Line | None
    held: float
    looks: int


class Recording:
    """A recording and the figures in it; RuntimeError is raised for what is asked before it is over.

    Parameters
    ----------
    keep : int
        How many spans are kept.
    """

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._names: Any = ThreadNames()
        # what the recorder gave; None while it records; "parent" in a child that was forked meanwhile
        self._recording: Any = None

    @property
    def _data(self) -> dict[str, Any]:
        if self._recording is None:
            raise RuntimeError("a timeline has its figures when its with block is over")
        if self._recording == "parent":  # this is a child that was forked meanwhile
            raise RuntimeError("this timeline was recorded in the parent process")
        data: dict[str, Any] = self._recording
        return data

    def summary(self) -> dict[str, Any]:
        """Return its sums and its threads with their names, as they are saved beside the spans."""
        spans = {"spans", "clocks", "n_clocks"}
        kept = {name: value for name, value in self._data.items() if name not in spans}
        threads = [{**record, "name": self._names.of(record)} for record in self._data["threads"]]
        return {**kept, "threads": threads, "gil": self.gil, "keep": self._keep}

    @property
    def seconds(self) -> float:
        """How long the recording lasted."""
        return float((self._data["ended"] - self._data["began"]) / 1e9)

    @property
    def unseen(self) -> float:
        """Seconds in which nothing was seen since the recorder itself had no core; they count nowhere."""
        return float(self._data["unseen"] / 1e9)

    @property
    def watched(self) -> float:
        """Seconds in which the GIL was watched."""
        return float(self._data["watched"] / 1e9)

    @property
    def looks(self) -> int:
        """How often the recorder looked."""
        return int(self._data["looks"])

    @property
    def pace(self) -> float:
        """Seconds between two looks, on average; holds much shorter than that are seen by chance only."""
        return self.watched / max(1, self.looks)

    @property
    def free(self) -> float:
        """Share of the time in which nobody held the GIL (free-threaded builds: no thread was attached)."""
        return float(self._data["free"] / self._data["watched"]) if self._data["watched"] else math.nan

    @property
    def hand_overs(self) -> int | None:
        """How often the GIL went from one thread to another, by the interpreter's own count; None without a GIL."""
        count: int | None = self._data["hand_overs"]
        return count

    @property
    def hand_overs_seen(self) -> int:
        """How many of those were seen."""
        return int(self._data["hand_overs_seen"])

    @property
    def dropped(self) -> int:
        """How many of the oldest spans were dropped, to keep no more than `keep`; the sums have them all."""
        return max(0, int(self._data["n_spans"]) - self._keep)

    @property
    def tells_states(self) -> bool:
        """Whether this system reports what a thread without the GIL is doing (Linux)."""
        return bool(self._data["tells_states"])

    @property
    def tells_waits(self) -> bool:
        """Whether it also reports which blocked thread waits for the GIL (Linux with glibc); else they are `away`."""
        return bool(self._data["tells_waits"])

    @property
    def gil(self) -> bool:
        """Whether there was a GIL to watch; without one, to hold it means to be attached to the interpreter."""
        return bool(self._data.get("gil", not sysconfig.get_config_var("Py_GIL_DISABLED")))

    @cached_property
    def threads(self) -> tuple[Thread, ...]:
        """The threads, in the order in which they came."""
        began = self._data["began"]
        threads = []
        for record in self._data["threads"]:
            # older recordings have no last figure
            held, waited, ran, blocked, away, asleep = (spent / 1e9 for spent in [*record["spent"], 0][:6])
            threads.append(
                Thread(
                    self._names.of(record),
                    record["native_id"] or record["ident"],
                    (record["began"] - began) / 1e9 if record["began"] else None,
                    (record["ended"] - began) / 1e9 if record["ended"] else None,
                    held,
                    waited,
                    ran,
                    blocked,
                    away,
                    None if record["cpu"] is None else record["cpu"] / 1e9,
                    None if record["run_delay"] is None else record["run_delay"] / 1e9,
                    record["longest_hold"] / 1e9,
                    record["holds"],
                    asleep,
                )
            )
        return tuple(threads)

    @cached_property
    def lines(self) -> tuple[ThreadLine, ...]:
        """Where threads held the GIL (free-threaded builds: were attached), the longest first; not in older files."""
        data = self._data.get("lines", ())
        return tuple(
            ThreadLine(
                self.threads[index].name,
                None if inner is None else Line(*inner),
                None if outer is None else Line(*outer),
                held / 1e9,
                looks,
            )
            for index, inner, outer, held, _, looks in sorted(data, key=lambda line: -line[3])
        )

    @property
    def places(self) -> list[str]:
        """What the field ``line`` of `spans` means; empty where a line could not be read."""
        lines = [None if inner is None else Line(*inner) for _, inner, *_ in self._data.get("lines", ())]
        return ["" if line is None else f"{line.file}:{line.line} {line.function}" for line in lines]

    @property
    def longest_hold(self) -> tuple[float, str]:
        """Longest hold that was seen, in seconds, and the thread's name."""
        longest = max(self.threads, key=lambda thread: thread.longest_hold, default=None)
        return (0.0, "") if longest is None else (longest.longest_hold, longest.name)

    @cached_property
    def spans(self) -> Any:
        """What was seen, by rising end, as a structured NumPy array.

        Fields: ``start`` and ``end`` in nanoseconds since the recording began, ``thread`` (index of `threads`; -1:
        nothing was seen of anybody), ``doing`` (index of `DOING`) and ``line`` (where it held; index of the recorder's
        lines, -1: not known).
        """
        import numpy as np

        spans = np.frombuffer(self._data["spans"], dtype=np.dtype(SPAN)).copy()
        spans["start"] -= self._data["began"]
        spans["end"] -= self._data["began"]
        return spans

    @cached_property
    def clocks(self) -> Any:
        """Each thread's clocks about every 20 ms, as a structured NumPy array; empty where the system tells nothing.

        Fields: ``time`` (nanoseconds since the recording began), ``cpu``, ``run_delay`` (nanoseconds) and ``thread``.
        """
        import numpy as np

        clocks = np.frombuffer(self._data["clocks"], dtype=np.dtype(_CLOCK)).copy()
        clocks["time"] -= self._data["began"]
        return clocks
