"""What many concurrent waits cost, in a process of its own: ``python -m gilcmp.claims.waits threads|tasks N``."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time

from gilcmp.claims.claim import CannotTest

TIMEOUT = 60.0


def cost(kind: str, number: int) -> tuple[float, float]:
    """Return the seconds to start so many waits, and the bytes of memory that each needs."""
    try:
        done = subprocess.run(  # noqa: S603  # our own module
            [sys.executable, "-m", "gilcmp.claims.waits", kind, str(number)],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CannotTest(f"{number} {kind} did not start in {TIMEOUT:.0f} s") from None
    if done.returncode:
        raise CannotTest(f"{number} {kind}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    seconds, size = json.loads(done.stdout)
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
    found = time.perf_counter() - began, _memory() - before
    over.set()
    await asyncio.gather(*tasks)
    return found


if __name__ == "__main__":
    how_many = int(sys.argv[2])
    print(json.dumps(_threads(how_many) if sys.argv[1] == "threads" else asyncio.run(_tasks(how_many))))
