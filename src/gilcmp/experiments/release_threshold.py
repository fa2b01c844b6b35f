"""From which size a release pays."""

from __future__ import annotations

from gilcmp.experiments.claim import CannotTest, Claim, Conditions, Figure, Outcome
from gilcmp.probing.threshold import threshold


def _run(conditions: Conditions) -> Outcome:
    conditions.need_two_cpus()
    result = threshold("count", budget=conditions.seconds)
    figures = [
        Figure.of("a release, uncontended", result.release_cost, "s"),
        Figure("getting the lock back beside a busy Python thread", result.reacquire, "s"),
        Figure.of("size from which two threads beat one", result.parallel_from, "steps"),
        Figure.of("size from which a release costs under 5 %", result.cheap_from, "steps"),
    ]
    known = [point for point in result.points if point.speedup.n]
    if not known:
        raise CannotTest(result.reason)
    smallest, largest = known[0].speedup.value, known[-1].speedup.value
    return conditions.conclude(
        smallest < 1.0 < largest,
        f"two threads: {smallest:.2f}x at {known[0].time.value * 1e9:.0f} ns a call, {largest:.2f}x at "
        f"{known[-1].time.value * 1e3:.0f} ms; the turning point is at {result.parallel_from.value:,.0f} steps",
        *figures,
    )


CLAIM = Claim(
    "release-threshold",
    "Releasing the GIL pays only from some size of the call on.",
    "gilcmp threshold count: calls of 100 ns to 10 ms, alone and under two threads.",
    _run,
    seconds=12.0,
)
