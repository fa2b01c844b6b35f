"""Running a function in one and in several threads, or watching a block: where the threads' time goes."""

from __future__ import annotations

import contextlib
import functools
import math
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import FrameType
from typing import Any

from attrs import evolve

from gilcmp.base.calls import Call, Statement, name_of
from gilcmp.base.checks import Duration, duration, integer
from gilcmp.contending.advice import advice_for
from gilcmp.contending.copies import template_of
from gilcmp.contending.isolation import isolate as sweep
from gilcmp.contending.names import find_names, roots_of
from gilcmp.contending.result import UNKNOWN, ContendedLock, Contention, Pauses
from gilcmp.judge.estimate import Estimate, median_in_time
from gilcmp.measure.cpus import usable_cpus
from gilcmp.measure.crew import Crew, call_together
from gilcmp.measure.machine import environment, gil_enabled, gil_warning
from gilcmp.measure.placement import PLACES
from gilcmp.show.model import Chart, Section
from gilcmp.show.views import Drawn
from gilcmp.watch import _gil
from gilcmp.watch.waits import GIL, LIBRARY, OBJECT, OURS, Line, Seen, Wait, read

BUDGET = 6.0  # seconds, without the sweep
PACE = 2e-3  # seconds between two looks: 1 to 2 % of a CPU
SLICE = 0.25  # seconds that one thread, or all, work before the other side gets its turn
TOO_SLOW = 0.15  # of the threads' time lost without a lock to blame: reason enough for a sweep
BUSY = 0.15  # of the threads' time without a CPU: what others do there is part of the figures


def contention(
    func: Callable[..., Any] | None = None,
    /,
    *args: Any,
    threads: int | None = None,
    budget: Duration = BUDGET,
    isolate: bool | None = None,
    pace: float = PACE,
    progress: Callable[[str, float], None] | None = None,
    **kwargs: Any,
) -> Any:
    """Find out why threads do not make a function faster: on which object they wait, and at which line.

    The function is called again and again by one thread and by several at once, in turns, while a native thread looks
    at
    all of them every two milliseconds, without asking for any lock: who sleeps in the interpreter's table of waiting
    threads and for what, who spins on the lock of which object, who has it, and whether the whole world is stopped.
    Where
    no lock explains the lost time, each thread gets copies of what the function names, and one thing after the other is
    shared alone. Without a function, what is returned watches a block: ``with gilcmp.contention() as c:``.

    With a GIL the lock is the GIL. Locks of objects can be seen on CPython 3.13 and later.

    Parameters
    ----------
    func : callable, optional
        What to call. Its side effects happen as often as it is called, some of them on copies.
    *args, **kwargs
        What to call it with. A keyword argument that is called like one of the following cannot be passed on:
        ``functools.partial(func, budget=…)`` can.
    threads : int, optional
        How many threads; by default as many as there are CPUs, and at least 2.
    budget : float or str
        Seconds, or a text such as "6s"; the sweep takes some more.
    isolate : bool, optional
        Whether to make the sweep; by default only where no lock explains the lost time.
    pace : float
        Seconds between two looks, on average.
    progress : callable, optional
        Called with what is done and which part of it is done already.

    Returns
    -------
    Contention
        Where the time went; printing it shows it. Without `func` a `Watching`, which has the same figures when its
        ``with`` block is over.

    Raises
    ------
    TypeError, ValueError
        For arguments that are not allowed.
    RuntimeError
        Where this interpreter's threads cannot be watched; the message says why.
    Exception
        Whatever `func` raises.
    """
    if isinstance(pace, bool) or not isinstance(pace, int | float):
        raise TypeError(f"pace must be seconds, got {type(pace).__name__}")
    if not 1e-4 <= pace <= 1:
        raise ValueError(f"pace must be from 1e-4 to 1 second, got {pace}")
    if func is None:
        if args or kwargs or threads is not None or isolate is not None:
            raise TypeError("func must be given with arguments, threads or isolate; a block is watched without them")
        return Watching(pace)
    if not callable(func):
        raise TypeError(f"func must be callable, got {type(func).__name__}")
    if isolate is not None and not isinstance(isolate, bool):
        raise TypeError(f"isolate must be True, False or None, got {type(isolate).__name__}")
    seconds = duration("budget", budget, 0.1, 3600)
    n = max(2, math.ceil(usable_cpus())) if threads is None else integer("threads", threads, 2, 256)
    name = name_of(func)
    called: Any = func.function if isinstance(func, Statement) else func
    while isinstance(called, functools.partial):
        called, args, kwargs = called.func, (*called.args, *args), {**called.keywords, **kwargs}
    # before the first call: a list that all append to is soon too long to be copied
    template = None if isolate is False else template_of(called, args, kwargs)
    found = _measured(name, called, args, kwargs, n, seconds, pace, progress)
    if template is not None and (isolate or _asks_for_sweep(found)):
        renewed = func if isinstance(func, Statement) else None
        try:
            isolation = sweep(*template, n, tell=progress, renewed=renewed)
        except Exception as error:  # what was measured until then is kept
            return evolve(found, notes=(*found.notes, f"no copies were tried: {type(error).__name__}: {error}"))
        notes = tuple(dict.fromkeys([*found.notes, *isolation.notes]))
        found = evolve(found, isolation=isolation, notes=notes)
    return found


def _asks_for_sweep(found: Contention) -> bool:
    explained = sum(lock.share for lock in found.locks) + found.pauses.share + found.shares.get("no_core", 0.0)
    return not found.gil and found.lost - explained > TOO_SLOW


def _measured(
    name: str, called: Any, args: Any, kwargs: Any, threads: int, budget: float, pace: float, progress: Any
) -> Contention:
    """Call it in one and in all threads, in turns, and look at the latter."""
    alone: list[float] = []
    together: list[float] = []
    crew = Crew(threads, pinned=PLACES and threads <= usable_cpus())
    # who works alone is none of them: their clocks are those of the time that is watched
    with crew, Crew(1, pinned=False) as single:
        began = time.perf_counter()
        # arguments of their own, or the threads would meet at the tuple and the dict that hold them
        works: list[Call] = [(called, (*args,), dict(kwargs)) for _ in range(threads)]
        first = call_together(crew, works[:1], 0.0)[0]
        length = min(SLICE, budget / 12)
        rounds = max(1, int(budget / (2 * max(length, first[0]))))
        watcher = _gil.Contention(pace, LIBRARY.encode(), without_caller=True)
        watcher.count(False)
        watcher.watch_only(crew.native_ids)
        try:
            for number in range(rounds):
                if number and time.perf_counter() - began > 1.5 * budget:
                    break
                if progress is not None:
                    progress(f"{threads} threads and one, in turns", number / rounds)
                for side in ("one", "all", "all", "one") if number % 2 else ("all", "one", "one", "all"):
                    n = threads if side == "all" else 1
                    counting = partial(watcher.count, True) if side == "all" else None
                    found = call_together(crew if side == "all" else single, works[:n], length / 2, counting)
                    watcher.count(False)
                    rate = sum(calls / seconds for seconds, calls in found)
                    (together if side == "all" else alone).append(rate)
        finally:
            data = watcher.stop()
    if data is None:
        raise RuntimeError("the process was forked while it was watched")
    seen = read(data, crew.native_ids)
    speedup = median_in_time(
        [sum(both) / sum(single) for both, single in zip(_pairs(together), _pairs(alone), strict=True)]
    )
    roots = roots_of(called, args, kwargs)
    return _concluded(name, seen, threads, speedup, roots)


def _pairs(values: Sequence[float]) -> list[tuple[float, float]]:
    return list(zip(values[::2], values[1::2], strict=True))


# ---- a block of a program ------------------------------------------------------------------------------------------


class Watching(Drawn):
    """Watches what threads wait for, in a ``with`` statement; has what a `Contention` has when that is over."""

    def __init__(self, pace: float = PACE, name: str = "the watched block") -> None:
        self._pace, self._name = pace, name
        self._watcher: _gil.Contention | None = None
        self._frame: FrameType | None = None
        self._result: Contention | None = None

    def __enter__(self) -> Watching:
        if self._watcher is not None or self._result is not None:
            raise RuntimeError("a block is watched once: make another")
        self._frame = sys._getframe(1)
        self._watcher = _gil.Contention(self._pace, LIBRARY.encode())
        return self

    def __exit__(self, *error: object) -> None:
        watcher, self._watcher = self._watcher, None
        frame, self._frame = self._frame, None
        if watcher is None:
            return
        data = watcher.stop()
        if data is None:
            return  # a child that was forked meanwhile
        seen = read(data)
        roots = _roots_of_block(frame, seen)
        self._result = _concluded(self._name, seen, seen.threads, None, roots)

    @property
    def result(self) -> Contention:
        """What was found; RuntimeError before the block is over, and in a child that was forked meanwhile."""
        if self._result is None:
            raise RuntimeError(
                "what was watched has its figures when its with block is over, in the process that began it"
            )
        return self._result

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.result, name)

    def sections(self) -> list[Section]:
        """Return what is shown of it."""
        return self.result.sections()

    def overview(self, width: int = 80) -> list[Section]:
        """Return what fits on a screen."""
        return self.result.overview(width)

    def charts(self) -> list[Chart]:
        """Return its picture."""
        return self.result.charts()


def _roots_of_block(frame: FrameType | None, seen: Seen) -> dict[str, Any]:
    """Return where the names of objects are looked for: the block's function, and the modules of the lines seen."""
    roots: dict[str, Any] = {}
    if frame is not None and not frame.f_code.co_filename.startswith(OURS):
        roots |= {name: value for name, value in list(frame.f_locals.items()) if not name.startswith("__")}
        roots |= {name: value for name, value in list(frame.f_globals.items()) if not name.startswith("__")}
    files = {wait.line.file for wait in seen.waits if wait.line is not None}
    for module_name, module in list(sys.modules.items()):
        if getattr(module, "__file__", None) in files and module is not None:
            prefix = "" if module_name == "__main__" else f"{module_name}."
            for name, value in list(vars(module).items()):
                if not name.startswith("__"):
                    roots.setdefault(f"{prefix}{name}", value)
    return roots


# ---- what was found ------------------------------------------------------------------------------------------------


def _concluded(name: str, seen: Seen, threads: int, speedup: Estimate | None, roots: Mapping[str, Any]) -> Contention:
    total = seen.times.total or 1.0
    shares = _shares(seen, threads, speedup)
    asked = seen.asked[0][0] if seen.asked and seen.asked[0][0] is not None else ""
    watched = seen.watched or 1.0
    return Contention(
        name,
        environment().interpreter,
        gil_enabled(),
        threads,
        seen.watched,
        speedup,
        shares,
        tuple(_locks(seen, total, roots)),
        Pauses(seen.pauses, seen.stopped / watched, seen.longest_pause, seen.collecting / watched, str(asked)),
        None,
        seen.cost,
        seen.unseen / ((seen.watched + seen.unseen) or 1.0),
        tuple(_notes(seen, shares)),
    )


def _shares(seen: Seen, threads: int, speedup: Estimate | None) -> dict[str, float]:
    """Return what the threads did, as shares of their time. What work costs more than alone is a share of its own."""
    times, total = seen.times, seen.times.total or 1.0
    busy = times.work + times.outside
    needed = busy
    if speedup is not None and not math.isnan(speedup.value):
        needed = min(busy, total * speedup.value / threads)
    return {
        "work": needed / total,
        "slower": (busy - needed) / total,
        "spinning": times.spinning / total,
        "parked": times.parked / total,
        "stopped": times.stopped / total,
        "waiting": times.waiting / total,
        "no_core": times.no_core / total,
        "unexplained": (times.hidden + times.untold) / total,
    }


def _locks(seen: Seen, total: float, roots: Mapping[str, Any]) -> list[ContendedLock]:
    """Put the waits for one lock at one line together, the most costly first."""
    groups: dict[tuple[Any, ...], list[Wait]] = {}
    for wait in seen.waits:
        line = wait.line
        groups.setdefault((wait.kind, wait.type, line and (line.file, line.line, line.function)), []).append(wait)
    named: dict[int, tuple[str, Any]] = {}
    with contextlib.suppress(Exception):  # it goes through objects of the program's, which may raise anything
        named = find_names({wait.object for wait in seen.waits if wait.object}, roots)
    locks = [_lock(waits, total, named) for waits in groups.values()]
    return sorted((lock for lock in locks if lock.share > 0), key=lambda lock: -lock.share)


def _lock(waits: Sequence[Wait], total: float, named: Mapping[int, tuple[str, Any]]) -> ContendedLock:
    worst = max(waits, key=lambda wait: wait.spinning + wait.parked)
    objects = {wait.object for wait in waits}
    line, inner = worst.line, worst.inner
    name, found = named.get(worst.object, ("", None))
    # a class keeps its attributes in a dict
    blamed = "type" if type(found) is dict and name.endswith(".__dict__") and "__module__" in found else worst.type
    kind = "the GIL" if worst.kind == GIL else worst.type or UNKNOWN
    spins = sum(wait.spins for wait in waits)
    through = str(inner) if inner is not None and inner != line else ""
    source, function = (line.source, line.function) if line is not None else ("", "")
    if line is not None and line.file.startswith(OURS):  # a builtin is called by us, not by a line of the program
        line, source, function = Line(line.file, 0, ""), "", ""
    return ContendedLock(
        kind, name, len(objects), worst.object if worst.kind == OBJECT else 0,
        line.file if line else "", line.line if line else 0, function, source, through,
        "" if worst.owner is None else str(worst.owner),
        sum(wait.spinning for wait in waits) / total, sum(wait.parked for wait in waits) / total,
        max(wait.longest for wait in waits),
        sum(wait.free for wait in waits) / spins if spins else math.nan,
        _union(wait.threads for wait in waits).bit_count(), advice_for(worst.kind, blamed, inner),
    )  # fmt: skip


def _union(bits: Iterable[int]) -> int:
    united = 0
    for each in bits:
        united |= each
    return united


def _notes(seen: Seen, shares: Mapping[str, float]) -> list[str]:
    notes = []
    warning = gil_warning()
    if warning is not None:
        notes.append(warning)
    if not seen.tells_locks:
        why = _gil.why_no_locks() or "they are not told"
        notes.append(f"locks of objects are not seen here: {why}")
    if not seen.tells_clocks:
        notes.append("this system does not tell when a thread has no CPU: that time counts as work")
    if shares["no_core"] > BUSY:
        notes.append(
            f"the threads had no CPU for {shares['no_core']:.0%} of their time: something else runs, or there are more "
            "threads than CPUs; how long they spin depends on it"
        )
    if shares["unexplained"] > BUSY and sysconfig.get_config_var("Py_GIL_DISABLED"):
        notes.append(
            f"for {shares['unexplained']:.0%} of their time the threads were in the system's code without a wait that "
            "can be seen: mostly a threading.Lock that they spin on"
        )
    if seen.unseen > 0.2 * (seen.watched + seen.unseen):
        notes.append("the watcher had no CPU for more than a fifth of the time, in which nothing was seen")
    return notes
