"""More threads than the lock can serve."""

from __future__ import annotations

import sys

from gilcmp.experiments.claim import Claim, Conditions, Figure, Outcome, above, count_down, settled
from gilcmp.judge.estimate import Estimate
from gilcmp.measure.compare import compare
from gilcmp.measure.pool import Pool
from gilcmp.measure.strategies import strategies
from gilcmp.probing.probe import best_pace, switch_interval
from gilcmp.show import words
from gilcmp.watch import _gil

WORKERS = (1, 2, 4, 8, 16)
INTERVALS = (0.0005, 0.005, 0.05)  # seconds
TASKS = [15_000] * 16


def _run(conditions: Conditions) -> Outcome:
    figures: list[Figure] = []
    times: dict[tuple[float, int], Estimate] = {}
    for interval in INTERVALS:
        with switch_interval(interval):
            measured = compare(
                count_down, tasks=TASKS, strategies="threads", workers=WORKERS, budget=conditions.seconds / 4
            )
        for n in WORKERS:
            speedup = times[interval, n] = settled(measured["threads", n]).speedup
            name = f"time with {n} threads, of the time with none, switch interval {interval * 1e3:g} ms"
            place = words.counted(n, "thread"), f"time at {interval * 1e3:g} ms"
            figures.append(Figure(name, 1 / speedup.value, "x", 1 / speedup.high, 1 / speedup.low, *place))
    for n in WORKERS:
        handed, switched = switches(n)
        column = words.counted(n, "thread")
        figures.append(
            Figure(f"hand-overs of the lock with {n} threads", handed, "/s", row="hand-overs", column=column)
        )
        if switched is not None:
            name = f"context switches with {n} threads"
            figures.append(Figure(name, switched, "/s", row="context switches", column=column))
    # one cell, chosen beforehand: among fifteen, one would be slower by chance
    crowded = times[INTERVALS[0], WORKERS[-1]]
    return conditions.conclude(
        not above(crowded, 1.0),
        f"{WORKERS[-1]} threads took {1 / crowded.value:.2f} times as long as one after the other, at a switch "
        f"interval of {INTERVALS[0] * 1e3:g} ms",
        *figures,
    )


def switches(workers: int) -> tuple[float, float | None]:
    """Return hand-overs of the lock, and context switches of the process, a second (None: the system does not say)."""
    pool = Pool.open(strategies["threads"], workers)
    try:
        sampler = _gil.Sampler(best_pace(), 1.0)
        try:
            before = _context_switches()
            _, start, end, _ = pool.run(count_down, TASKS * 10)
            after = _context_switches()
        finally:
            counts = sampler.stop()
    finally:
        pool.close()
    seconds = (end - start) / 1e9
    handed = counts["switches"] / seconds if counts else 0.0
    return handed, None if before is None or after is None else (after - before) / seconds


def _context_switches() -> int | None:
    if sys.platform == "win32":
        return None
    import resource

    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_nvcsw + usage.ru_nivcsw


CLAIM = Claim(
    "contention",
    "More threads can make it slower.",
    "The same work in 1, 2, 4, 8 and 16 threads, at switch intervals of 0.5, 5 and 50 ms.",
    _run,
    seconds=16.0,
    why="Handing the lock over costs a system call and a wake-up, and moves data between the cores' caches. A "
    "waiting thread asks for the lock once a switch interval, so a short interval means many hand-overs.",
    unsaid="It does not follow that a longer switch interval is better: threads that wait for I/O then wait "
    "longer for the lock.",
    code="""import sys, threading, time

def count(n):
    while n > 0:
        n -= 1

for interval in (0.0001, 0.005):
    sys.setswitchinterval(interval)
    for n in (1, 2, 16):
        threads = [threading.Thread(target=count, args=(8_000_000 // n,)) for _ in range(n)]
        began = time.perf_counter()
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print(f"switch interval {1000 * interval} ms, {n:2} threads: {time.perf_counter() - began:.2f} s")
""",
)
