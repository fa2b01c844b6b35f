"""How long a turn should be, and where its workers should begin: candidates for the design of `compare`, side by side.

    python benchmarks/turns.py [--turns 100] [--milliseconds 8 15 25 50] [--kernel mandelbrot]

Native work that releases the GIL, in turns: serial, two threads, serial, … in one process. For each length of a serial
turn:

- the speed-up of two threads, by the serial turns on both sides of it, in the median, with quartiles: its truth is 2
  where nothing but the CPUs is in the way. Workers are left to the system, begin each task on a CPU of their own (what
  gilcmp does with functions), or are kept there (what it does with kernels).
- the spread (two standard deviations) of what must be 1: a serial turn by those on both sides of it, and by the one
  that comes before all candidates of a round, as when a round has one serial turn for all.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from rich.console import Console
from rich.table import Table

from gilcmp import kernels
from gilcmp.compute.kernel import Kernel
from gilcmp.compute.registry import TaskCall
from gilcmp.measure import clocks, placement
from gilcmp.measure.pool import Pool
from gilcmp.measure.strategies import strategies

TASKS = 16

# whether a worker keeps its CPU for a task; None: it is left to the system
WAYS: dict[str, bool | None] = {"left to the system": None, "begin on their own": False, "kept on their own": True}


def size_for(kernel: Kernel, seconds: float) -> int:
    """The size whose serial turn takes about so long; of some tries the shortest time counts."""
    size = 16
    while size < kernel.most:
        call = TaskCall(kernel.name, "cython_nogil", size, 0)
        tasks = kernel.split(size, TASKS)
        times = []
        for _ in range(3):
            start = time.perf_counter()
            for task in tasks:
                call(task)
            times.append(time.perf_counter() - start)
        if min(times) >= seconds:
            break
        size = max(size + 1, round(size * min(1.4, seconds / min(times))))
    return size


def quartiles(values: Sequence[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.2f} [{low:.2f}, {high:.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--turns", type=int, default=100)
    parser.add_argument("--milliseconds", type=float, nargs="+", default=[8, 15, 25, 50])
    parser.add_argument("--kernel", default="mandelbrot")
    arguments = parser.parse_args()
    kernel = kernels[arguments.kernel]
    serial, threads = Pool.open(strategies["serial"], 1), Pool.open(strategies["threads"], 2)
    table = Table("serial turn", *(f"two threads, {way}" for way in WAYS), "A/A, both sides", "A/A, one a round")
    for milliseconds in arguments.milliseconds:
        size = size_for(kernel, milliseconds / 1e3)
        call, tasks = TaskCall(kernel.name, "cython_nogil", size, 0), kernel.split(size, TASKS)

        def turn(pool: Pool, keep: bool | None, call: TaskCall = call, tasks: Sequence[Any] = tasks) -> float:
            clocks.placed = placement.placed if keep is not None else lambda **_: nullcontext()  # type: ignore[assignment]
            _, start, end, _ = pool.run(call, tasks, keep_place=bool(keep))
            return (end - start) / 1e9

        found: dict[str, list[float]] = {way: [] for way in WAYS}
        beside, once, lengths = [], [], []
        for _ in range(arguments.turns):
            first = before = turn(serial, None)
            for way, keep in WAYS.items():
                wall = turn(threads, keep)
                after = turn(serial, None)
                found[way].append((before + after) / 2 / wall)
                before = after
            middle, after = turn(serial, None), turn(serial, None)
            beside.append(middle / ((before + after) / 2))
            once.append(middle / first)
            lengths.append(first)
        table.add_row(
            f"{statistics.median(lengths) * 1e3:.1f} ms",
            *map(quartiles, found.values()),
            *(f"{200 * statistics.stdev(ratios):.1f} %" for ratios in (beside, once)),
        )
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
