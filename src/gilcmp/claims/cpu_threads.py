"""CPU-bound threads."""

from __future__ import annotations

from gilcmp.claims.claim import Claim, Conditions, Figure, Outcome, count_down, settled
from gilcmp.compare import compare
from gilcmp.verdict import NO_GAIN

STEPS = 1_000_000


def _run(at: Conditions) -> Outcome:
    at.need_two_cpus()
    found = compare(count_down, tasks=[STEPS] * 2, strategies="threads", workers=2, budget=at.seconds)
    cell = settled(found["threads", 2])
    times = {one.strategy: one.time.value * one.record.work / one.record.repeats for one in found}
    return at.conclude(
        cell.speedup.value <= NO_GAIN,
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
)
