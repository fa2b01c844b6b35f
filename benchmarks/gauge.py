"""What the gauge sees of a machine whose host moves its CPUs about, and what choosing turns by it does to a speed-up.

    python benchmarks/gauge.py [--seconds 30] [--kernel levenshtein]

In turns: serial, a reading of the gauge, two threads of native code, a reading, serial. Printed are the deciles of the
readings, as shares of the best, and those of the speed-up: of all turns, and of those between two good readings.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from gilcmp import kernels
from gilcmp.compute.registry import TaskCall
from gilcmp.judge.verdict import GRANTED
from gilcmp.measure.gauge import Gauge
from gilcmp.measure.pool import Pool
from gilcmp.measure.strategies import strategies
from turns import TASKS, size_for

WORKERS = 2
BATCHES = 2 * WORKERS


def deciles(values: Sequence[float]) -> list[str]:
    return [f"{value:.2f}" for value in statistics.quantiles(values, n=10)] if len(values) > 1 else ["-"] * 9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--kernel", default="levenshtein")
    arguments = parser.parse_args()
    kernel = kernels[arguments.kernel]
    size = size_for(kernel, 0.009)
    call, tasks = TaskCall(kernel.name, "cython_nogil", size, 0), kernel.split(size, TASKS)
    serial, threads, gauge = Pool.open(strategies["serial"], 1), Pool.open(strategies["threads"], WORKERS), Gauge()

    def turn(pool: Pool, batches: Sequence[Sequence[tuple[int, int]]]) -> float:
        _, start, end, _ = pool.run(call.batch, batches, keep_place=True)
        return float(end - start)

    readings, turns = [], []
    end = time.perf_counter() + arguments.seconds
    while time.perf_counter() < end:
        before = turn(serial, [tasks])
        first = gauge.read(WORKERS)
        wall = turn(threads, [(tasks * 2)[number::BATCHES] for number in range(BATCHES)])
        second = gauge.read(WORKERS)
        after = turn(serial, [tasks])
        assert first is not None and second is not None  # noqa: PT018  # two threads can be had
        readings += [first, second]
        turns.append((min(first, second), (before + after) / wall))
    good = [ratio for reading, ratio in turns if gauge.share(reading, WORKERS) >= GRANTED]
    table = Table("", "n", *(f"{share} %" for share in range(10, 100, 10)))
    table.add_row("readings", str(len(readings)), *deciles([gauge.share(reading, WORKERS) for reading in readings]))
    table.add_row("speed-up, all turns", str(len(turns)), *deciles([ratio for _, ratio in turns]))
    table.add_row(f"speed-up, readings from {GRANTED:.0%} on", str(len(good)), *deciles(good))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
