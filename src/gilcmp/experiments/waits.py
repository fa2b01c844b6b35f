"""What many concurrent waits cost, in a process of its own: ``python -m gilcmp.experiments.waits threads|tasks N``."""

from __future__ import annotations

import asyncio
import sys
import threading
import time

from gilcmp.base.child import ChildError, answer, ask
from gilcmp.experiments.claim import CannotTest

TIMEOUT = 60.0


def cost(kind: str, number: int) -> tuple[float, float]:
    """Return the seconds to start so many waits, and the bytes of memory that each needs."""
    try:
        seconds, size = ask("-m", "gilcmp.experiments.waits", kind, str(number), timeout=TIMEOUT)
    except ChildError as error:
        raise CannotTest(f"{number} {kind}: {error}") from None
    return seconds, size / number


def _memory() -> int:
    import psutil

    used: int = psutil.Process().memory_info().rss
    return used


def _threads(number: int) -> tuple[float, int]:
    over = threading.Event()
    threads = [threading.Thread(target=over.wait, daemon=True) for _ in range(number)]
    before, began = _memory(), time.perf_counter()
    try:
        for thread in threads:
            thread.start()
        return time.perf_counter() - began, _memory() - before
    finally:
        over.set()


async def _tasks(number: int) -> tuple[float, int]:
    over = asyncio.Event()
    before, began = _memory(), time.perf_counter()
    tasks = [asyncio.create_task(over.wait()) for _ in range(number)]
    await asyncio.sleep(0)  # all of them wait now
    cost = time.perf_counter() - began, _memory() - before
    over.set()
    await asyncio.gather(*tasks)
    return cost


if __name__ == "__main__":
    how_many = int(sys.argv[2])
    answer(_threads(how_many) if sys.argv[1] == "threads" else asyncio.run(_tasks(how_many)))
