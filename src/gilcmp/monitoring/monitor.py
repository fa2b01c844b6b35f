"""Watching this process for as long as it runs."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gilcmp.base.checks import Duration, duration
from gilcmp.measure.machine import gil_enabled
from gilcmp.monitoring.figures import Figures, LongOne, figures
from gilcmp.show.model import Section
from gilcmp.show.views import Shown
from gilcmp.watch import _gil
from gilcmp.watch.waits import LIBRARY

EVERY = 1.0  # seconds between two reports
STDERR = "stderr"


class Monitor(Shown):
    """Counts who holds the GIL, at which line, and who waits, from a native thread that never asks for it.

    Made by `gilcmp.monitor`. It is a context manager, or is started and stopped by `start` and `stop`. In a child that
    is forked while it runs it goes on with counters of its own, from zero.
    """

    def __init__(
        self,
        *,
        hold: float | None,
        wait: float | None,
        on_hold: Callable[[LongOne], object] | None,
        to: Any,
        every: float,
        pace: float | None,
    ) -> None:
        self._hold, self._wait, self._on_hold = hold, wait, on_hold
        self._to, self._every, self._pace = to, every, pace
        self._native: _gil.Monitor | None = None
        self._running = False
        self._file = -1
        self._told = 0  # of the events that were reported: which have been passed on
        self._asked = 0.0  # when the longest hold was asked for
        self._lock = threading.RLock()  # a signal handler may come in between
        _all.add(self)

    def start(self) -> Monitor:
        """Begin to count, from zero; return itself. RuntimeError if it runs already, or nothing can be watched."""
        with self._lock:
            if self._running:
                raise RuntimeError("the monitor runs already")
            self._file = self._opened()
            try:
                self._begin()
            except BaseException:
                self._close()
                raise
        return self

    def _begin(self) -> None:
        self._told, self._asked = 0, 0.0
        call = self._pass_on if self._on_hold is not None else None
        self._native = _gil.Monitor(
            self._pace or 0, self._hold or 0, self._wait or 0, self._every, self._file, LIBRARY.encode(), call
        )
        self._running = True
        _running.add(self)

    def stop(self) -> Monitor:
        """Stop; what was counted can still be read. Nothing happens if it does not run."""
        with self._lock:
            if self._running and self._native is not None:
                self._running = False
                _running.discard(self)
                self._native.stop()
                self._close()
        self._pass_on()  # what has not been told yet
        return self

    def __enter__(self) -> Monitor:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def is_running(self) -> bool:
        """Whether it counts."""
        return self._running

    def read(self) -> Figures:
        """Return what was counted until now. RuntimeError before it was started."""
        if self._native is None:
            raise RuntimeError("the monitor has not been started")
        return figures(self._native.read(), f"process {os.getpid()}", _names(), gil=gil_enabled())

    @property
    def longest_hold(self) -> float:
        """Longest hold since this was last asked for, in seconds, one that goes on included; 0: none lasted 20 ms."""
        found = self.read()
        with self._lock:
            asked, self._asked = self._asked, found.seconds
        return max((e.seconds for e in found.events if e.kind == "hold" and e.began + e.seconds > asked), default=0.0)

    def sections(self) -> list[Section]:
        """Return what is shown of it."""
        return self.read().sections()

    def overview(self, width: int = 80) -> list[Section]:
        """Return what fits on a screen."""
        return self.read().overview(width)

    # ---- the watchdog ----

    def _pass_on(self) -> None:
        """Call back for each event that was reported, is over, and has not been passed on."""
        native, names = self._native, _names()
        if native is None or self._on_hold is None:
            return
        data = native.read()
        with self._lock:
            first, self._told = self._told, max(self._told, data["n_events"])
        kept = data["events"][max(0, len(data["events"]) - max(0, data["n_events"] - first)) :]
        told = figures(
            data | {"events": [e for e in kept if e["reported"] == 1], "now": None}, "", names, gil=gil_enabled()
        )
        for event in told.events:
            try:
                self._on_hold(event)
            except Exception as error:  # it must not keep others from being told, nor come out of `stop`
                threading.excepthook(threading.ExceptHookArgs((type(error), error, error.__traceback__, None)))

    def _opened(self) -> int:
        """Return a descriptor of our own of the file that reports go to; -1: none."""
        if (self._hold is None and self._wait is None) or self._to is None:
            return -1
        if isinstance(self._to, str | os.PathLike) and self._to != STDERR:
            return os.open(self._to, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        target: Any = sys.__stderr__ if self._to == STDERR else self._to
        try:
            number = target if isinstance(target, int) else target.fileno()
            # a pipe or a terminal that takes nothing must not stop the watcher: a way to it that does not wait
            if sys.platform == "linux" and (stat.S_ISFIFO(os.fstat(number).st_mode) or os.isatty(number)):
                with contextlib.suppress(OSError):
                    return os.open(f"/proc/self/fd/{number}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
            return os.dup(number)
        except (AttributeError, OSError, ValueError):
            if self._to == STDERR:  # pythonw.exe has none, and a service may have closed it
                return -1
            raise

    def _close(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _after_fork_in_child(self) -> None:
        """Go on in a child, with counters of its own."""
        self._running = False
        if self._native is not None:
            self._native.abandon()
        try:
            self._begin()
        except (RuntimeError, MemoryError):  # the child runs all the same
            _running.discard(self)


_running: set[Monitor] = set()  # one that runs is kept: monitor().start() is all that a service has to say


_all: weakref.WeakSet[Monitor] = weakref.WeakSet()


def _go_on_in_child() -> None:
    for monitor in list(_all):
        monitor._lock = threading.RLock()  # a thread that is not here may have it
    for monitor in list(_running):
        monitor._after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_go_on_in_child)


def _names() -> dict[int, str]:
    """Return the names of the threads, by their identities."""
    # the lock of threading.enumerate() may be held by a thread that a signal has interrupted
    return {ident: thread.name for ident, thread in list(threading._active.items())}  # type: ignore[attr-defined]


def monitor(
    *,
    hold: Duration | None = None,
    wait: Duration | None = None,
    on_hold: Callable[[LongOne], object] | None = None,
    to: Any = STDERR,
    every: Duration = EVERY,
    pace: Duration | None = None,
) -> Monitor:
    """Watch this process for as long as it runs: who holds the GIL, in which line, for how long, and who waits.

    A native thread reads the interpreter's lock some hundred times a second and never asks for it, so it sees native
    code that holds the lock for seconds. It takes less than 0.5 % of a CPU and a fixed amount of memory, whatever the
    number of threads that come and go, and goes on in children that are forked, with counters of their own.

    On free-threaded builds it counts who is attached, stop-the-world pauses, and waits for locks; there a hold is a
    pause.

    Parameters
    ----------
    hold, wait : float or str, optional
        The watchdog: seconds, or a text such as "500ms". When one thread holds the GIL for longer than `hold`, or waits
        for longer than `wait`, a report is written at once, by a native thread: who, at which line, and the stacks of
        all threads. A hold is counted as long as no other thread could have had the lock: in one native call, or while
        others wait.
    on_hold : callable, optional
        Called, in a thread of its own, with a `LongOne` for each hold or wait that was reported, when it is over.
    to : file, path, int or None, optional
        Where reports are written: an open file or its descriptor, a path that they are appended to, or None: nowhere.
        By default to standard error.
    every : float or str
        Seconds between two reports, at least; those in between are only counted.
    pace : float or str, optional
        Seconds between two looks on average. By default what takes 0.4 % of a CPU, at least every 25 ms; with a
        watchdog at least every 12 ms.

    Returns
    -------
    Monitor
        To be used in a ``with`` statement, or with `Monitor.start` and `Monitor.stop`; printing it shows its figures.

    Raises
    ------
    TypeError, ValueError
        For arguments that are not allowed.
    OSError
        When it is started and the path cannot be opened.
    RuntimeError
        When it is started where the interpreter cannot be watched; the message says why.
    """
    limits = [
        None if value is None else duration(name, value, 0.001, 86400)
        for name, value in (("hold", hold), ("wait", wait))
    ]
    if on_hold is not None and not callable(on_hold):
        raise TypeError(f"on_hold must be callable, got {type(on_hold).__name__}")
    if on_hold is not None and limits == [None, None]:
        raise TypeError("on_hold must be given with hold or wait: otherwise nothing is reported")
    if not (to is None or isinstance(to, str | os.PathLike | int) or hasattr(to, "fileno")) or isinstance(to, bool):
        raise TypeError(f"to must be a file, a path, a descriptor or None, got {type(to).__name__}")
    if isinstance(to, str | os.PathLike) and to != STDERR and not Path(to).absolute().parent.is_dir():
        raise ValueError(f"to must be in a folder that exists, got {str(to)!r}")
    return Monitor(
        hold=limits[0],
        wait=limits[1],
        on_hold=on_hold,
        to=to,
        every=duration("every", every, 0, 86400),
        pace=None if pace is None else duration("pace", pace, 1e-4, 1),
    )
