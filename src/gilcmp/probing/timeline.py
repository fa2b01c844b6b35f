"""The timeline: which thread held the GIL when, over a stretch of a program."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import asdict

from gilcmp.base.checks import integer
from gilcmp.probing.recording import KEEP, Recording
from gilcmp.probing.timeline_views import FIRST, timeline_chart, timeline_sections
from gilcmp.probing.trace import SavedNames, save_trace, saved_spans
from gilcmp.saved.kept import csv_text
from gilcmp.saved.reading import ResultError
from gilcmp.show.model import Chart, Section
from gilcmp.show.views import Drawn
from gilcmp.watch import _gil
from gilcmp.watch.waits import LIBRARY


class Timeline(Recording, Drawn):
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
        super().__init__(integer("keep", keep, 1, 10**9))
        self._recorder: _gil.Recorder | None = None

    def __enter__(self) -> Timeline:
        if self._recorder is not None or self._recording is not None:
            raise RuntimeError("a timeline records once: make another")
        self._recorder = _gil.Recorder(self._pace or 0.0, self._keep, LIBRARY.encode())
        self._names.start()
        return self

    def __exit__(self, *error: object) -> None:
        recorder, self._recorder = self._recorder, None
        if recorder is None:
            return
        self._names.stop()
        self._recording = recorder.stop() or "parent"

    def so_far(self) -> Timeline:
        """Return what was recorded until now, without spans; the recording goes on.

        Raises
        ------
        RuntimeError
            Where nothing is being recorded.
        """
        if self._recorder is None:
            raise RuntimeError("nothing is being recorded")
        seen = Timeline(pace=self._pace, keep=self._keep)
        seen._names, seen._recording = self._names, self._recorder.peek()
        return seen

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
            from gilcmp.show.figure import save

            save(self.plot(), path)
        else:
            save_trace(self, path)

    @classmethod
    def of_trace(cls, body: Mapping[str, Any], source: str) -> Timeline:
        """Make one of a saved trace, without the threads' clocks; ResultError says what does not fit."""
        self = cls.__new__(cls)
        about = body["otherData"]["recording"]
        try:
            Recording.__init__(self, about["keep"])
            self._pace, self._recorder, self._names = None, None, SavedNames()
            self._recording = {**about, "spans": saved_spans(body, about), "clocks": b"", "n_clocks": 0}
            self.sections()
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise ResultError(f"{source}: not a timeline that gilcmp saved: {type(error).__name__}: {error}") from None
        return self

    def to_csv(self) -> str:
        """Return its threads as CSV; times in seconds."""
        return csv_text([asdict(thread) for thread in self.threads])

    def sections(self) -> list[Section]:
        """Return what is shown of it: a row for each thread, and how well it was seen."""
        return timeline_sections(self)

    def overview(self, width: int = 80) -> list[Section]:
        """Return what fits on a screen: the threads that held longest."""
        return timeline_sections(self, FIRST)

    def charts(self) -> list[Chart]:
        """Return its picture: a track for each thread."""
        return [timeline_chart(self, None, None)]

    def plot(self, start: float | None = None, end: float | None = None) -> Any:
        """Return a picture of it as a matplotlib figure (needs ``gilcmp[report]``).

        Parameters
        ----------
        start, end : float, optional
            Seconds since the recording began; by default as much of the beginning as can be told apart.
        """
        from gilcmp.show.figure import figure

        return figure([timeline_chart(self, start, end)])


def timeline(*, pace: float | None = None, keep: int = KEEP) -> Timeline:
    """Record which thread holds the GIL when, in a ``with`` statement.

    A native thread looks at the interpreter's lock without ever asking for it, at which line the thread is that holds
    it, and at what one of the other threads does (on Linux, in ``/proc``).

    Parameters
    ----------
    pace : float, optional
        Seconds between two looks, on average. By default as often as takes 1.5 % of one CPU: where a thread sleeps
        and wakes up in 20 us, that is every 1.3 ms.
    keep : int
        How many spans are kept, the newest ones; each takes 32 bytes.

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
