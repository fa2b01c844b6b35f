"""Where a worker begins each of its tasks: on a CPU on which no other worker of its pool does.

Linux often wakes a thread on its waker's CPU (a virtual machine's idle CPUs count as taken away), and may leave two
threads on one of them for some 10 ms, with the other one idle. A program that computes for seconds does not notice; a
cell would measure hardly anything else. So a worker moves to a CPU of its own when it begins a task. What a user's task
calls finds all the CPUs it had, and the worker may be moved away at once. A kernel calls nobody: its workers stay where
they are, or each wait for the GIL would bring them together again (two threads of native code in cells of 9 ms: 1.2x,
and 1.7x when they stay). More workers than CPUs are left to the system, which evens them out.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Collection, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

PLACES = hasattr(os, "sched_setaffinity")  # Linux; elsewhere workers are left to the system

_worker = threading.local()
_number: int | None = None


def settle(number: int, workers: int) -> None:
    """Set which worker the calling thread is, counted from 0; a single worker is left to the system."""
    _worker.number = number if workers > 1 and PLACES else None


def settle_from(numbers: Any, workers: int) -> None:
    """Settle as the next of a queue of numbers, in an interpreter of its own: these share no barrier to number them.

    Each call into it has another thread state, and so no `threading.local` of the one before.
    """
    global _number  # noqa: PLW0603  # of this interpreter, which is one worker's
    _number = numbers.get_nowait() if workers > 1 and PLACES else None


def own_number() -> int | None:
    """Return which worker the caller is; None where it is left to the system."""
    return getattr(_worker, "number", _number)


@contextlib.contextmanager
def placed(*, keep: bool) -> Iterator[None]:
    """Move the calling worker to its CPU, and `keep` it there until the end; else its mask is as before at once."""
    number = own_number()
    if number is None:
        yield
        return
    mask = os.sched_getaffinity(0)
    cpus = in_order(frozenset(mask))
    with contextlib.suppress(OSError):  # a CPU that was taken offline
        os.sched_setaffinity(0, {cpus[number % len(cpus)]})
    try:
        if not keep:
            os.sched_setaffinity(0, mask)
        yield
    finally:
        if keep:
            os.sched_setaffinity(0, mask)


@lru_cache(maxsize=16)
def in_order(cpus: Collection[int], siblings: Callable[[int], str] | None = None) -> list[int]:
    """Return CPUs such that the first ones are in cores of their own, before any second hardware thread of a core.

    `siblings` returns what the system says of a CPU: the list of the hardware threads of its core, like ``0,4``.
    """
    read = siblings or _siblings
    seen: dict[str, int] = {}
    ranks = []
    for cpu in sorted(cpus):
        core = read(cpu)
        seen[core] = seen.get(core, -1) + 1
        ranks.append((seen[core], cpu))
    return [cpu for _, cpu in sorted(ranks)]


def _siblings(cpu: int) -> str:
    try:
        return Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text()
    except OSError:
        return str(cpu)
