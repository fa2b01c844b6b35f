"""One thread at a time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from gilcmp.experiments.claim import Claim, Conditions, Figure, Outcome, Unclear, above, count_down, settled
from gilcmp.measure.compare import compare
from gilcmp.probing.probe import LOST, SHARED_PACE
from gilcmp.watch import _gil

MORE_THAN_ONE = 1.2  # CPUs, or holders on average, up to which it still is one at a time


def _run(conditions: Conditions) -> Outcome:
    conditions.need_two_cpus()
    n = conditions.threads
    comparison = compare(
        count_down,
        tasks=[500_000] * (2 * n),
        strategies="threads",
        workers=n,
        budget=0.7 * conditions.seconds,
    )
    cell = settled(comparison["threads", n])
    together = holders(n, 0.15 * conditions.seconds)
    figures = [
        Figure.of("CPUs kept busy", cell.cores),
        Figure("threads that hold the lock at a time (free-threaded: are attached)", together),
        Figure.of("time blocked, of all threads' time", cell.blocked),
    ]
    if cell.run_delay.n:
        figures.append(Figure.of("time waiting for a core, of the wall time", cell.run_delay))
    holds = not above(cell.cores, MORE_THAN_ONE) and together <= MORE_THAN_ONE
    reason = f"{n} threads kept {cell.cores.value:.2f} CPUs busy, and {together:.2f} held the lock at a time"
    return conditions.conclude(holds, reason, *figures)


def holders(threads: int, seconds: float) -> float:
    """Return how many of `threads` busy threads hold the lock at a time, on average, as samplers see it."""
    ready = threading.Barrier(threads)

    def share() -> float:
        ready.wait(30)
        sampler = _gil.Sampler(SHARED_PACE, seconds)
        try:
            end = _gil.now() + int(seconds * 1e9)
            while _gil.now() < end:
                pass
        finally:
            counts = sampler.stop()
        seen = counts["held"] + counts["other"] + counts["free"] if counts else 0.0
        if counts is None or seen <= LOST * (seen + counts["dropped"]):  # what was not seen confirms nothing
            raise Unclear("the sampler had hardly a core")
        return counts["held"] / seen

    with ThreadPoolExecutor(threads) as pool:
        return sum(future.result() for future in [pool.submit(share) for _ in range(threads)])


CLAIM = Claim(
    "one-at-a-time",
    "One thread at a time runs Python code.",
    "Threads of plain Python, one a CPU: where their time goes, and how many hold the lock at once.",
    _run,
    seconds=4.0,
    why="Running bytecode needs the lock, and there is one lock for all threads of an interpreter. The others "
    "wait for it.",
    unsaid="It does not follow that threads are of no use: while a thread waits for I/O, or is in C code that "
    "released the lock, another one runs.",
    code="""import threading, time

def spin(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass

for n in (1, 2, 4):
    threads = [threading.Thread(target=spin, args=(1.0,)) for _ in range(n)]
    cpu = time.process_time()
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    print(f"{n} threads kept {time.process_time() - cpu:.2f} CPUs busy")
""",
)
