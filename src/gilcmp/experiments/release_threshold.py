"""From which size a release pays."""

from __future__ import annotations

import math

from gilcmp.experiments.claim import CannotTest, Claim, Conditions, Figure, Outcome, Unclear, above
from gilcmp.probing.threshold import size_range, threshold
from gilcmp.show import words

SMALL = 2048  # steps: a call of about a microsecond


def _run(conditions: Conditions) -> Outcome:
    conditions.need_two_cpus()
    result = threshold("count", budget=conditions.seconds)
    figures = [
        Figure.of("a release, uncontended", result.release_cost, "s"),
        Figure("getting the lock back beside a busy Python thread", result.reacquire, "s"),
        Figure.of("size from which two threads beat one", result.parallel_from, "steps"),
        Figure.of("size from which a release costs under 5 %", result.cheap_from, "steps"),
    ]
    known = [point for point in result.points if not math.isnan(point.speedup.low)]
    if not known:
        raise CannotTest(result.reason)
    if known[0].size > SMALL or len(known) < 2:  # what is left is no small call
        raise Unclear(f"no size up to {SMALL:,} had rounds enough for an interval")
    smallest, largest = known[0], known[-1]
    return conditions.conclude(
        not above(smallest.speedup, 1.0) and above(largest.speedup, 1.0),
        f"two threads: {smallest.speedup.value:.2f}x at {words.seconds(smallest.time.value)} a call, "
        f"{largest.speedup.value:.2f}x at {words.seconds(largest.time.value)}; they are faster "
        f"{size_range(result.parallel_from)}",
        *figures,
    )


CLAIM = Claim(
    "release-threshold",
    "Releasing the GIL pays only from some size on.",
    "gilcmp threshold count: calls of 100 ns to 10 ms, alone and under two threads.",
    _run,
    seconds=12.0,
    why="A release and the way back to the lock cost a fixed time, and beside a busy Python thread the way "
    "back takes a switch interval. A call has to be long enough to be worth it.",
    unsaid="It does not follow that a short call should never release: where it may wait for something, it must.",
    code="""import hashlib, threading, time

def rate(size, n):
    data, calls = bytes(size), max(20, 20_000_000 // (size + 2_000))
    work = lambda: [hashlib.sha256(data) for _ in range(calls)]
    threads = [threading.Thread(target=work) for _ in range(n)]
    began = time.perf_counter()
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    return n * calls / (time.perf_counter() - began)

for size in (100, 2_000, 5_000, 20_000, 1_000_000):  # hashlib releases the lock above 2047 bytes
    print(f"sha256 of {size:9,} bytes: two threads do {rate(size, 2) / rate(size, 1):.2f} times the work of one")
""",
)
