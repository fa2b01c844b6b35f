"""CPU-bound threads."""

from __future__ import annotations

from gilcmp.experiments.claim import Claim, Conditions, Figure, Outcome, count_down, no_faster, settled
from gilcmp.measure.compare import compare

STEPS = 1_000_000


def _run(conditions: Conditions) -> Outcome:
    conditions.need_two_cpus()
    comparison = compare(count_down, tasks=[STEPS] * 2, strategies="threads", workers=2, budget=conditions.seconds)
    cell = settled(comparison["threads", 2])
    times = {cell.strategy: cell.time.value * cell.record.work / cell.record.repeats for cell in comparison}
    return conditions.conclude(
        no_faster(cell),
        f"two threads took {1 / cell.speedup.value:.2f} times as long as one after the other",
        Figure.of("speed-up of two threads", cell.speedup, "x"),
        Figure("count(n) twice in a row", times["serial"], "s"),
        Figure("count(n) twice, in two threads", times["threads"], "s"),
    )


CLAIM = Claim(
    "cpu-threads",
    "For CPU-bound Python code, threads are no faster.",
    "The classic: count(n) twice in a row, against twice in two threads.",
    _run,
    seconds=4.0,
    why="Two threads that only run bytecode take turns: together they do as much in a second as one does alone.",
    unsaid="It does not follow for code whose time is spent in C functions that release the lock, such as "
    "compression, hashing or NumPy.",
    code="""import threading, time

def count(n):
    while n > 0:
        n -= 1

began = time.perf_counter()
count(10_000_000)
count(10_000_000)
print(f"in a row:       {time.perf_counter() - began:.2f} s")
threads = [threading.Thread(target=count, args=(10_000_000,)) for _ in range(2)]
began = time.perf_counter()
for thread in threads: thread.start()
for thread in threads: thread.join()
print(f"in two threads: {time.perf_counter() - began:.2f} s")
""",
)
