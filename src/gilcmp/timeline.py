"""The timeline: which thread held the GIL when, over a stretch of a program."""

from __future__ import annotations

import math
import os
import sys
import sysconfig
import threading
import weakref
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import Any

from attrs import frozen

from gilcmp import _gil
from gilcmp._checks import integer
from gilcmp.thread_names import ThreadNames

#: What a thread does for a while, by the number in the field ``doing`` of `Timeline.spans`.
DOING = ("holds", "waits", "runs", "blocked", "away")
HOLDS, WAITS, RUNS, BLOCKED, AWAY = range(5)
KEEP = 1_000_000  # spans: 24 bytes each
NOBODY = -1  # "thread" of a span in which nothing was seen

# gilcmp_span and gilcmp_clock of _gil_record.h
_SPAN = [("start", "i8"), ("end", "i8"), ("thread", "i4"), ("doing", "i4")]
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


class Timeline:
    """A recording of which thread held the GIL when; made by `timeline`, to be used in a ``with`` statement.

    The figures are there when the ``with`` block is over; RuntimeError is raised for what is asked before that.
    Printing it shows them.
    """

    def __init__(self, *, pace: float | None = None, keep: int = KEEP) -> None:
        if pace is not None and (isinstance(pace, bool) or not isinstance(pace, int | float)):
            raise TypeError(f"pace must be seconds or None, got {type(pace).__name__}")
        if pace is not None and not 5e-6 <= pace <= 1:
            raise ValueError(f"pace must be from 5e-6 to 1 second, got {pace}")
        self._pace = pace
        self._keep = integer("keep", keep, 1, 10**9)
        self._recorder: _gil.Recorder | None = None
        self._recording: Any = None
        self._names = ThreadNames()

    def __enter__(self) -> Timeline:
        if self._recorder is not None or self._recording is not None:
            raise RuntimeError("a timeline records once: make another")
        self._recorder = _gil.Recorder(self._pace or 0.0, self._keep)
        self._names.start()
        _recording.add(self)
        return self

    def __exit__(self, *error: object) -> None:
        recorder, self._recorder = self._recorder, None
        if recorder is None:
            return
        _recording.discard(self)
        self._names.stop()
        self._recording = recorder.stop() or "parent"

    @property
    def _data(self) -> dict[str, Any]:
        if self._recording is None:
            raise RuntimeError("a timeline has its figures when its with block is over")
        if self._recording == "parent":  # this is a child that was forked meanwhile
            raise RuntimeError("this timeline was recorded in the parent process")
        data: dict[str, Any] = self._recording
        return data

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
        """Whether this system tells what a thread does that does not hold the GIL (Linux)."""
        return bool(self._data["tells_states"])

    @property
    def gil(self) -> bool:
        """Whether there was a GIL to watch; without one, to hold it means to be attached to the interpreter."""
        return not sysconfig.get_config_var("Py_GIL_DISABLED")

    @cached_property
    def threads(self) -> tuple[Thread, ...]:
        """The threads, in the order in which they came."""
        began = self._data["began"]
        found = []
        for record in self._data["threads"]:
            held, waited, ran, blocked, away = (spent / 1e9 for spent in record["spent"])
            found.append(
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
                )
            )
        return tuple(found)

    @property
    def longest_hold(self) -> tuple[float, str]:
        """Longest hold that was seen, in seconds, and the thread's name."""
        longest = max(self.threads, key=lambda thread: thread.longest_hold, default=None)
        return (0.0, "") if longest is None else (longest.longest_hold, longest.name)

    @cached_property
    def spans(self) -> Any:
        """What was seen, by rising end, as a structured NumPy array.

        Fields: ``start`` and ``end`` in nanoseconds since the recording began, ``thread`` (index of `threads`; -1:
        nothing was seen of anybody) and ``doing`` (index of `DOING`).
        """
        import numpy as np

        spans = np.frombuffer(self._data["spans"], dtype=_SPAN).copy()
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

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save a trace or a picture; the file is replaced as a whole or not at all.

        Parameters
        ----------
        path : path-like
            ``.json`` or ``.json.gz``: a trace that Perfetto and chrome://tracing show; ``.svg``, ``.png`` or
            ``.pdf``: a picture (needs ``gilcmp[report]``).

        Raises
        ------
        ValueError
            For another ending.
        OSError
            For a file that cannot be written.
        """
        check_target(path)
        if _is_picture(path):
            from gilcmp.show.plots import save_figure

            save_figure(self.plot(), path)
        else:
            from gilcmp.show.trace import save_trace

            save_trace(self, path)

    def plot(self, start: float | None = None, end: float | None = None) -> Any:
        """Return a picture of it as a matplotlib figure (needs ``gilcmp[report]``).

        Parameters
        ----------
        start, end : float, optional
            Seconds since the recording began; by default as much of the beginning as can be told apart.
        """
        from gilcmp.show.plots import plot_timeline

        return plot_timeline(self, start, end)

    def __str__(self) -> str:
        from gilcmp.show.timeline import timeline_text

        return timeline_text(self)

    def _repr_html_(self) -> str:
        from gilcmp.show.notebook import timeline_html

        return timeline_html(self)


def timeline(*, pace: float | None = None, keep: int = KEEP) -> Timeline:
    """Record which thread holds the GIL when, in a ``with`` statement.

    A native thread looks at the interpreter's lock without ever asking for it, and at what one of the other threads
    does (on Linux, in ``/proc``).

    Parameters
    ----------
    pace : float, optional
        Seconds between two looks, on average. By default as often as takes 1.5 % of one CPU: where a thread sleeps
        and wakes up in 20 us, that is every 1.3 ms.
    keep : int
        How many spans are kept, the newest ones; each takes 24 bytes.

    Returns
    -------
    Timeline
        The recording; it has its figures when the ``with`` block is over.

    Raises
    ------
    TypeError, ValueError
        For arguments that are not allowed.
    RuntimeError
        On entering, where this interpreter's lock cannot be watched; the message says why.

    Examples
    --------
    >>> import gilcmp
    >>> with gilcmp.timeline() as t:  # doctest: +SKIP
    ...     work()
    >>> print(t)  # doctest: +SKIP
    >>> t.save("gil.json.gz")  # doctest: +SKIP
    """
    return Timeline(pace=pace, keep=keep)


PICTURES = (".svg", ".png", ".pdf")
TRACES = (".json", ".json.gz")


def check_target(path: str | os.PathLike[str]) -> None:
    """Raise ValueError unless a timeline can be saved under such a name."""
    name = os.fspath(path)
    if not name.lower().endswith((*TRACES, *PICTURES)):
        allowed = ", ".join((*TRACES, *PICTURES))
        raise ValueError(f"a timeline's file must end with one of {allowed}, got {name!r}")


def _is_picture(path: str | os.PathLike[str]) -> bool:
    return Path(path).suffix.lower() in PICTURES


# ---- forks: no native thread must run meanwhile. Python warns where a process with several threads forks. ----------

_recording: weakref.WeakSet[Timeline] = weakref.WeakSet()
_forking: FrameType | None = None  # the frame that calls os.fork


def _before_fork() -> None:
    global _forking  # noqa: PLW0603
    _forking = sys._getframe(1)
    for one in list(_recording):
        if one._recorder is not None:
            one._recorder.pause()


def _after_fork() -> None:
    if threading.current_thread() is threading.main_thread():
        _gil.soon(_resume)
    else:
        _resume()  # it warns anyway: there are two threads of the program's own


def _resume() -> None:
    """Go on, when os.fork has counted the threads and returned: while its hooks run it has not."""
    global _forking  # noqa: PLW0603
    if threading.current_thread() is threading.main_thread() and sys._getframe(1) is not _forking:
        _gil.soon(_resume)
        return
    _forking = None
    for one in list(_recording):
        if one._recorder is not None:
            one._recorder.resume()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork)
