"""What the watcher of contention saw: lines of Python, and shares of the threads' time."""

from __future__ import annotations

import linecache
import sysconfig
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from gilcmp.watch.line_table import LineTable

if TYPE_CHECKING:
    from gilcmp.watch._gil import SeenContention, SeenPlace, SeenThread

WORKS, SPINS, PARKED, STOPPED, SLEEPS, OUTSIDE, UNTOLD, ASKED = range(8)  # gilcmp_contended of watch/contention.h
UNKNOWN, OBJECT, INTERPRETER, GIL = range(4)  # gilcmp_kind of watch/parking.h
LIBRARY = sysconfig.get_path("stdlib")
OURS = str(Path(__file__).parent.parent)


@frozen
class Line:
    """A line of Python.

    Attributes
    ----------
    file : str
        The file's path.
    line : int
        Its number; 0: unknown.
    function : str
        The function that it is in.
    """

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{Path(self.file).name}:{self.line}"

    @property
    def source(self) -> str:
        """The line itself; empty where it cannot be read."""
        return linecache.getline(self.file, self.line).strip()


@frozen
class Wait:
    """Waits for one lock at one place in the program; seconds of all threads together.

    Attributes
    ----------
    kind, type, object : int, str, int
        What the lock belongs to: one of the numbers above, the name of its type or part, and its address.
    inner, outer : Line or None
        Where it was wanted: the innermost line, and the innermost one outside the standard library.
    owner : Line or None
        Where the thread was that had it.
    spinning, parked : float
        Seconds.
    longest : float
        Seconds; 0: not told.
    spins, free : int
        Looks at which a thread spun, and at how many of them the lock was free.
    threads : int
        A bit for each thread.
    """

    kind: int
    type: str
    object: int
    inner: Line | None
    outer: Line | None
    owner: Line | None
    spinning: float
    parked: float
    longest: float
    spins: int
    free: int
    threads: int

    @property
    def line(self) -> Line | None:
        """The line to blame: the program's own, if there is one."""
        return self.outer or self.inner


@frozen
class Times:
    """Seconds of the threads' time, together, by what they did; they add up to `total`.

    ``work``: on a CPU, attached; ``outside``: on a CPU, detached; ``hidden``: on a CPU in the system's own code,
    attached and not seen to wait: mostly a lock that is spun on unseen.
    """

    work: float
    outside: float
    spinning: float
    parked: float
    stopped: float
    waiting: float
    no_core: float
    hidden: float
    untold: float

    @property
    def total(self) -> float:
        """All of it."""
        return (self.work + self.outside + self.spinning + self.parked + self.stopped + self.waiting + self.no_core
                + self.hidden + self.untold)  # fmt: skip


@frozen
class Seen:
    """What was seen; times in seconds."""

    waits: tuple[Wait, ...]
    times: Times
    asked: tuple[tuple[Line | None, float], ...]  # who stopped the world, and for how long, the longest first
    watched: float
    unseen: float
    looks: int
    threads: int
    stopped: float
    pauses: int
    longest_pause: float
    collecting: float
    tells_locks: bool
    tells_clocks: bool
    cost: float = field(default=0.0)  # CPUs that looking took


def read(data: SeenContention, threads: Collection[int] | None = None) -> Seen:
    """Turn what the watcher returned into waits and times.

    Parameters
    ----------
    data : dict
        What `gilcmp.watch._gil.Contention.stop` returned.
    threads : collection of int, optional
        The system's numbers of the threads that count; by default all.
    """
    lines = _Lines(data)
    waits, idle, asked = [], 0.0, []
    for place in data["places"]:
        seconds = place["spent"] / 1e9
        inner, outer, owner = (lines.of(place[which]) for which in ("inner", "outer", "owner"))
        if place["doing"] == ASKED:
            asked.append((outer or inner, seconds))
        elif place["doing"] != STOPPED and not _is_idle(place, data):
            spins = place["doing"] == SPINS
            waits.append(
                Wait(place["kind"], place["name"], place["object"] or place["lock"], inner, outer, owner,
                     seconds if spins else 0.0, 0.0 if spins else seconds, place["longest"] / 1e9,
                     place["looks"] if spins else 0, place["free_looks"], place["threads"])
            )  # fmt: skip
        elif place["doing"] == PARKED:
            idle += seconds
    chosen = [thread for thread in data["threads"] if threads is None or thread["native_id"] in threads]
    times, runnable = _times(chosen, idle)
    return Seen(
        tuple(_scaled(waits, runnable)),
        times,
        tuple(sorted(asked, key=lambda found: -found[1])),
        data["watched"] / 1e9,
        data["unseen"] / 1e9,
        data["looks"],
        len([thread for thread in chosen if sum(thread["spent"])]),
        data["stopped"] / 1e9,
        data["pauses"],
        data["longest_pause"] / 1e9,
        data["collecting"] / 1e9,
        data["tells_locks"],
        any(thread["cpu"] is not None for thread in chosen),
        data["cpu"] / max(1, data["ended"] - data["began"]),
    )


def _is_idle(place: SeenPlace, data: SeenContention) -> bool:
    """Whether a thread sleeps to be told something, and not for a lock that another one has."""
    if place["doing"] != PARKED or place["kind"] == GIL:
        return False
    if 2 * place["untimed"] > place["looks"]:
        return True
    return place["inner"] is not None and data["functions"][place["inner"][0]][-1]


def _times(threads: Collection[SeenThread], idle: float) -> tuple[Times, float]:
    """Add up what threads did; also the share of their runnable time in which they had a CPU.

    A look shows that a thread can run, not whether it has a CPU: the system's count of time without one (run delay) is
    taken off what was seen in proportion.
    """
    spent = [sum(thread["spent"][doing] for thread in threads) / 1e9 for doing in range(UNTOLD + 1)]
    delay = sum(thread["run_delay"] or 0 for thread in threads) / 1e9
    system = sum(thread["system"] or 0 for thread in threads) / 1e9
    runnable = spent[WORKS] + spent[SPINS] + spent[OUTSIDE]
    running = 1 - min(1.0, delay / runnable) if runnable else 1.0
    work, spinning, outside = (spent[doing] * running for doing in (WORKS, SPINS, OUTSIDE))
    # a thread that computes outside may do so in the system's code; one that is attached has little to do there
    hidden = min(work, max(0.0, system - spinning - outside))
    if hidden < 0.05 * (work or 1.0):
        hidden = 0.0
    idle = min(idle, spent[PARKED])
    return Times(
        work - hidden, outside, spinning, spent[PARKED] - idle, spent[STOPPED], spent[SLEEPS] + idle,
        runnable * (1 - running), hidden, spent[UNTOLD],
    ), running  # fmt: skip


def _scaled(waits: Collection[Wait], running: float) -> Iterator[Wait]:
    for wait in waits:
        yield evolve(wait, spinning=wait.spinning * running)


class _Lines:
    """The lines of the places that were seen: each function's table is read once."""

    def __init__(self, data: SeenContention) -> None:
        self._functions = data["functions"]
        self._tables: dict[int, LineTable] = {}

    def of(self, site: tuple[int, int] | None) -> Line | None:
        if site is None:
            return None
        index, offset = site
        file, name, first, table, _ = self._functions[index]
        if index not in self._tables:
            self._tables[index] = LineTable(table, first)
        return Line(file, self._tables[index].line_at(offset) or first, name)
