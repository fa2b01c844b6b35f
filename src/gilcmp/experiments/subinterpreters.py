"""Interpreters with a lock of their own."""

from __future__ import annotations

from gilcmp.experiments.claim import PARALLEL, CannotTest, Claim, Conditions, Figure, Outcome, above, settled
from gilcmp.measure.compare import compare
from gilcmp.measure.strategies import strategies

IMPLEMENTATIONS = ("python", "cython_gil")


def _run(conditions: Conditions) -> Outcome:
    conditions.need_two_cpus()
    reason = strategies["interpreters"].unavailable
    if reason:
        raise CannotTest(f"it {reason}")
    comparison = compare(
        "mandelbrot",
        implementations=IMPLEMENTATIONS,
        strategies=["threads", "interpreters"],
        workers=2,
        budget=conditions.seconds,
    )
    cells = {name: settled(comparison[name, "interpreters"]) for name in IMPLEMENTATIONS}
    figures = [Figure.of(f"speed-up of two interpreters, {n}", cell.speedup, "x") for n, cell in cells.items()]
    figures += [
        Figure.of(f"speed-up of two threads, {n}", settled(comparison[n, "threads"]).speedup, "x")
        for n in IMPLEMENTATIONS
    ]
    slowest = min(cell.speedup.value for cell in cells.values())
    return conditions.conclude(
        all(above(cell.speedup, PARALLEL) for cell in cells.values()),
        f"two interpreters in one process: at least {slowest:.2f}x, with code that holds its GIL all the time",
        *figures,
    )


CLAIM = Claim(
    "subinterpreters",
    "Each interpreter of a process can have its own GIL.",
    "mandelbrot in plain Python and in Cython that holds the GIL, under two interpreters of one process.",
    _run,
    seconds=7.0,
)
