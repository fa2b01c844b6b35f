"""Watching another process from outside: the figures of `gilcmp.monitor`, without anything having been prepared."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from attrs import define, field

from gilcmp.base.checks import Duration, duration, integer
from gilcmp.monitoring.figures import BOUNDS, LONG, Figures, figures
from gilcmp.monitoring.remote import AttachError, Code, ProcessGone, Remote, State
from gilcmp.watch.line_table import LineTable

PACE = 0.002  # seconds between two looks: some 3 % of a CPU, of this process
WALK = 0.2  # seconds between two walks along the threads
AT_ONCE = 4  # threads whose waits are looked at while somebody holds for long
KEPT = 64  # long holds and waits
GIL_SIZE = 256  # bytes of the lock's state: a thread asleep on an address in there waits for it


@define
class _Thread:
    """What is counted of a thread, in nanoseconds."""

    state: State
    held: int = 0
    waited: int = 0
    waits_since: int = 0
    seen_waiting: int = 0
    turn: int = 0
    clocks: tuple[int, int] | None = None
    first: tuple[int, int] | None = None


@define
class _Hold:
    """The present hold."""

    began: int
    seen: int
    ident: int
    native_id: int
    place: tuple[str, int, str] | None = None
    waiting: int = 0


@define
class _Histogram:
    buckets: list[int] = field(factory=lambda: [0] * (len(BOUNDS) + 1))
    total: int = 0

    def add(self, length: int) -> None:
        """Count one."""
        self.buckets[sum(length > bound * 1e9 for bound in BOUNDS)] += 1
        self.total += length


class Attached:
    """Watches a process, in a ``with`` statement; `look_for` does the looking.

    Parameters
    ----------
    pid : int
        The process's number.
    pace : float
        Seconds between two looks, on average.
    """

    def __init__(self, pid: int, pace: float = PACE) -> None:
        self._remote = Remote(pid)
        self._pace = int(pace * 1e9)
        self.pid = pid
        #: Why there is nothing to be seen any more; empty while the process lives.
        self.gone = ""
        self._began = self._then = time.monotonic_ns()
        self._cpu = time.process_time_ns()
        self._threads: dict[int, _Thread] = {}
        self._system_number: dict[int, int] = {}  # of each thread, outside of the process's container
        self._ended = {"held": 0, "waited": 0, "asleep": 0, "cpu": 0, "run_delay": 0}
        self._lines: dict[tuple[Any, Any], list[int]] = {}
        self._tables: dict[Code, LineTable] = {}
        self._looks = self._watched = self._unseen = self._held = self._waited = 0
        self._walked = 0
        self._turn: list[int] = []
        self._hold: _Hold | None = None
        self._position: tuple[int, int, bytes] | None = None
        self._waiter_seen = False
        self._holder = 0
        self._events: list[dict[str, Any]] = []
        self._holds_counted, self._waits_counted = _Histogram(), _Histogram()
        _, _, self._switches = self._remote.lock()
        self._first_switches = self._switches
        self._executable = _link(f"/proc/{pid}/exe")
        self._tells_waits = Path(f"/proc/{pid}/syscall").exists()

    def __enter__(self) -> Attached:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remote.close()

    def look_for(self, seconds: float) -> bool:
        """Look for so many seconds; return whether the process is still there."""
        end = time.monotonic_ns() + int(seconds * 1e9)
        while not self.gone and (now := time.monotonic_ns()) < end:
            time.sleep(max(0, min(end - now, int(self._pace * random.uniform(0.5, 1.5)))) / 1e9)
            try:
                self._look()
            except (ProcessGone, ProcessLookupError):
                changed = _link(f"/proc/{self.pid}/exe") not in ("", self._executable)
                self.gone = f"process {self.pid} {'runs another program now' if changed else 'has ended'}"
        return not self.gone

    # ---- looking ----

    def _look(self) -> None:
        now = time.monotonic_ns()
        passed = now - self._then
        is_taken, holder, switches = self._remote.lock()
        if now - self._walked > WALK * 1e9:
            self._walk(now)
        if passed > 5 * self._pace + 20_000_000:  # this process had no CPU, or was stopped
            self._unseen += passed
            passed = 0
            if now - self._then > 1e9:  # nobody knows what went on
                self._hold, self._position = None, None
                for thread in self._threads.values():
                    thread.waits_since = 0
        self._watched += passed
        self._looks += 1
        self._see(is_taken, holder, switches, passed, now)
        self._then = now

    def _see(self, is_taken: bool, holder: int, switches: int, passed: int, now: int) -> None:
        state = self._remote.state(holder) if is_taken else None
        position = self._remote.position(state) if state is not None else None
        at = (position[2], position[1], self._remote.variables(position[2])) if position is not None else None
        if (
            not is_taken
            or holder != self._holder
            or switches != self._switches
            or (at != self._position and not self._waiter_seen)
        ):
            self._end_hold(now)
        self._switches, self._holder, self._position = switches, holder if is_taken else 0, at
        if not is_taken:
            return
        place = self._place(position)
        if self._hold is None:
            middle = self._then + (now - self._then) // 2
            self._hold = _Hold(middle, now, state.ident if state else 0, state.native_id if state else 0)
        if place is not None or self._hold.place is None:
            self._hold.place = place
        self._held += passed
        if state is not None:
            thread = self._threads.setdefault(state.address, _Thread(state))
            thread.held += passed
            self._end_wait(thread, now)
        else:
            self._ended["held"] += passed
        counted = self._lines.setdefault((place, None), [0, 0, 0])
        counted[0] += passed
        counted[2] += 1
        self._look_at_waiters(holder, counted, passed, now)

    def _place(self, position: tuple[Code, int, int] | None) -> tuple[str, int, str] | None:
        if position is None:
            return None
        code, offset, _ = position
        if code not in self._tables:
            self._tables[code] = LineTable(code.table, code.first_line)
        return code.file, self._tables[code].line_at(offset), code.name

    def _walk(self, now: int) -> None:
        self._walked = now
        found = {state.address: state for state in self._remote.threads()}
        for address in [
            a for a, thread in self._threads.items() if a not in found or found[a].ident != thread.state.ident
        ]:
            self._drop(self._threads.pop(address), now)
        for address, state in found.items():
            # one that began since then has used all that it has
            new = _Thread(state, first=None if self._looks == 0 else (0, 0))
            self._threads.setdefault(address, new).state = state
        if found and not {state.native_id for state in found.values()} <= self._system_number.keys():
            self._system_number = _system_numbers(self.pid)
        for thread in self._threads.values():
            self._read_clocks(thread)

    def _drop(self, thread: _Thread, now: int) -> None:
        self._end_wait(thread, now)
        self._ended["held"] += thread.held
        self._ended["waited"] += thread.waited
        if thread.clocks is not None and thread.first is not None:
            self._ended["cpu"] += thread.clocks[0] - thread.first[0]
            self._ended["run_delay"] += thread.clocks[1] - thread.first[1]

    def _read_clocks(self, thread: _Thread) -> None:
        text = self._tell(thread, "schedstat").split()
        if len(text) >= 2:
            thread.clocks = int(text[0]), int(text[1])
            thread.first = thread.first or thread.clocks

    def _tell(self, thread: _Thread, name: str) -> str:
        number = self._system_number.get(thread.state.native_id, thread.state.native_id)
        try:
            return Path(f"/proc/{self.pid}/task/{number}/{name}").read_text(errors="replace")
        except OSError:
            return ""

    # ---- holds and waits ----

    def _look_at_waiters(self, holder: int, counted: list[int], passed: int, now: int) -> None:
        if self._hold is None:
            return
        others = [address for address in self._threads if address != holder]
        most = AT_ONCE if now - self._hold.seen > LONG * 1e9 else 1
        chosen: list[_Thread] = []
        while others and len(chosen) < min(most, len(others)):
            if not self._turn:
                self._turn = list(others)
            address = self._turn.pop()
            if address in self._threads and address != holder:
                chosen.append(self._threads[address])
        for thread in chosen:
            if self._waits(thread):
                self._waiter_seen = True
                waited = passed * len(others) // len(chosen)
                thread.waited += waited
                self._waited += waited
                counted[1] += waited
                if thread.waits_since and thread.turn != self._switches:
                    self._end_wait(thread, now)  # it may have had the lock since
                thread.waits_since = thread.waits_since or now
                thread.seen_waiting, thread.turn = now, self._switches
            else:
                self._end_wait(thread, now)
        waiting = sum(1 for thread in self._threads.values() if thread.waits_since >= self._hold.began)
        self._hold.waiting = max(self._hold.waiting, waiting)

    def _waits(self, thread: _Thread) -> bool:
        """Whether a thread waits for the lock: asleep on an address in it. It wakes now and then, and waits on."""
        if thread.waits_since and thread.turn == self._switches:
            return True
        words = self._tell(thread, "syscall").split()
        if len(words) < 3 or not words[1].startswith("0x"):
            return False
        return self._remote.gil <= int(words[1], 16) < self._remote.gil + GIL_SIZE

    def _end_wait(self, thread: _Thread, now: int) -> None:
        if thread.seen_waiting > thread.waits_since > 0:  # seen more than once
            ended = thread.seen_waiting + min((now - thread.seen_waiting) // 2, self._pace)
            self._keep(1, thread.waits_since, ended, thread.state.ident, thread.state.native_id, None, 0)
        thread.waits_since = 0

    def _end_hold(self, now: int) -> None:
        hold, self._hold, self._waiter_seen = self._hold, None, False
        if hold is not None and self._then > hold.seen:  # seen more than once
            ended = self._then + (now - self._then) // 2
            self._keep(0, hold.began, ended, hold.ident, hold.native_id, hold.place, hold.waiting)

    def _keep(self, kind: int, began: int, ended: int, ident: int, native_id: int, place: Any, waiting: int) -> None:
        if ended - began < LONG * 1e9:
            return
        (self._waits_counted if kind else self._holds_counted).add(ended - began)
        event = _event(kind, began, ended, ident, native_id, place, waiting)
        self._events = [*self._events[1 - KEPT :], event]

    # ---- figures ----

    def read(self) -> Figures:
        """Return what was counted until now."""
        hold, now = self._hold, None
        if hold is not None:
            now = _event(0, hold.began, 0, hold.ident, hold.native_id, hold.place, hold.waiting)
        threads = [
            {
                "ident": thread.state.ident, "native_id": thread.state.native_id, "held": thread.held,
                "waited": thread.waited, "asleep": 0,
                "cpu": thread.clocks[0] - thread.first[0] if thread.clocks and thread.first else None,
                "run_delay": thread.clocks[1] - thread.first[1] if thread.clocks and thread.first else None,
            }
            for thread in self._threads.values()
        ]  # fmt: skip
        data = {
            "began": self._began, "ended": self._then, "looks": self._looks, "watched": self._watched,
            "unseen": self._unseen, "held": self._held, "waited": self._waited, "asleep": 0,
            "hand_overs": self._switches - self._first_switches, "stopped": 0, "pauses": 0, "longest_pause": 0,
            "cpu": time.process_time_ns() - self._cpu, "reports": 0, "suppressed": 0, "failed": 0,
            "holds": {"buckets": self._holds_counted.buckets, "total": self._holds_counted.total},
            "waits": {"buckets": self._waits_counted.buckets, "total": self._waits_counted.total},
            "threads": threads, "gone": self._ended, "rest": (0, 0, 0),
            "lines": [(0, inner, outer, *counted) for (inner, outer), counted in self._lines.items()],
            "events": self._events, "now": now, "tells_waits": self._tells_waits, "tells_locks": False,
        }  # fmt: skip
        version = ".".join(map(str, self._remote.version))
        return figures(data, f"process {self.pid}, Python {version}", self._names(), gil=True)

    def _names(self) -> dict[int, str]:
        """Return threads' names: those that the system knows, from Python 3.14 on; before that all are called alike."""
        names = {}
        main = _name(f"/proc/{self.pid}/comm")
        for thread in self._threads.values():
            number = self._system_number.get(thread.state.native_id, thread.state.native_id)
            name = _name(f"/proc/{self.pid}/task/{number}/comm")
            if number == self.pid:
                names[thread.state.ident] = "main thread"
            elif name and name != main:
                names[thread.state.ident] = name
        return names


def _event(kind: int, began: int, ended: int, ident: int, native_id: int, place: Any, waiting: int) -> dict[str, Any]:
    return {
        "kind": kind, "began": began, "ended": ended, "ident": ident, "native_id": native_id, "inner": place,
        "outer": None, "waiting": waiting, "reported": 0,
    }  # fmt: skip


def _name(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()  # a name may be cut in the middle of a character
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115  # a target that need not exist here
    except OSError:
        return ""


def _system_numbers(pid: int) -> dict[int, int]:
    """Return this system's number of each thread, by the number that it has in its own container."""
    numbers = {}
    try:
        tasks = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208
    except OSError:
        return {}
    for task in tasks:
        try:
            status = Path(f"/proc/{pid}/task/{task}/status").read_text(errors="replace")
        except OSError:
            continue
        inside = next((line.split()[-1] for line in status.splitlines() if line.startswith("NSpid:")), task)
        numbers[int(inside)] = int(task)
    return numbers


def attach(
    pid: int, *, seconds: Duration = 10.0, pace: Duration = PACE, progress: Callable[[Figures], None] | None = None
) -> Figures:
    """Watch another process of CPython 3.13 or later from outside, without stopping it: who holds its GIL, and where.

    Nothing has to be prepared in it. Its memory is read as a debugger would, with the same rights: the same user, or
    root; nothing is written, and the process goes on as it was.

    Parameters
    ----------
    pid : int
        The process's number.
    seconds : float or str
        For how long; less where the process ends before.
    pace : float or str
        Seconds between two looks, on average. A look takes some 50 us of a CPU, of this process.
    progress : callable, optional
        Called twice a second with the figures until then.

    Returns
    -------
    Figures
        As of `gilcmp.monitor`; the lines are the innermost ones only.

    Raises
    ------
    AttachError
        Where the process cannot be watched: a RuntimeError whose message says why, and what can be done.
    TypeError, ValueError
        For arguments that are not allowed.
    """
    number = integer("pid", pid, 1, 2**31 - 1)
    length = duration("seconds", seconds, 0.01, 10**7)
    with Attached(number, duration("pace", pace, 1e-4, 1)) as attached:
        end = time.monotonic() + length
        while (left := end - time.monotonic()) > 0 and attached.look_for(min(0.5, left)):
            if progress is not None:
                progress(attached.read())
        if attached.gone and not attached.read().looks:
            raise AttachError(attached.gone)
        return attached.read()
