"""Which other programs keep the CPUs busy, so that a user knows what to stop."""

from __future__ import annotations

import os
import time

from attrs import frozen

LOOK = 0.3  # seconds: thirty ticks of the clock in which the kernel counts
BUSY = 0.25  # CPUs that others keep busy, from which on a user is told before anything is measured


@frozen
class Neighbour:
    """A process of somebody else's, and how many CPUs it keeps busy."""

    name: str
    pid: int
    cpus: float


def busy_neighbours(seconds: float = LOOK) -> list[Neighbour]:
    """Watch the other processes for a moment, and return those that use the CPUs, the busiest first.

    In a container only its own processes are seen, and of other users' not all systems tell.
    """
    before, began = _cpu_times(), time.perf_counter()
    time.sleep(seconds)
    passed = time.perf_counter() - began
    found = []
    for pid, (name, now) in _cpu_times().items():
        used = (now - before[pid][1]) / passed if pid in before else 0.0
        if used > 0.5 * BUSY:
            found.append(Neighbour(name, pid, used))
    return sorted(found, key=lambda neighbour: -neighbour.cpus)


def _cpu_times() -> dict[int, tuple[str, float]]:
    """Return the name of every other process and the seconds of CPU time that it has used."""
    import psutil

    found = {}
    for process in psutil.process_iter(["name", "cpu_times"]):
        times = process.info["cpu_times"]  # None: that is not for us to know
        if times is not None and process.pid != os.getpid():
            found[process.pid] = process.info["name"] or "?", times.user + times.system
    return found


def warning(neighbours: list[Neighbour], cpus: float) -> str:
    """Say in a sentence what to expect beside these; empty where they hardly matter."""
    busy = sum(neighbour.cpus for neighbour in neighbours)
    if busy < BUSY:
        return ""
    names = ", ".join(f"{each.name} ({each.pid}) {each.cpus:.1f}" for each in neighbours[:3])
    return (
        f"The machine is busy: other programs keep {min(busy, cpus):.1f} of {cpus:g} CPUs busy ({names}). Cells that "
        "do not get the CPUs they need have no answer; stop those programs, or allow a longer --budget."
    )
