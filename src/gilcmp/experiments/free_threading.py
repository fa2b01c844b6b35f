"""The same work with and without a GIL, in two interpreters."""

from __future__ import annotations

from gilcmp.experiments.claim import PARALLEL, CannotTest, Claim, Conditions, Figure, Outcome, settled
from gilcmp.measure.pythons import PythonError, compare_pythons, this_python

KERNELS = ("count", "mandelbrot")


def _run(conditions: Conditions) -> Outcome:
    conditions.need_two_cpus()
    try:
        candidates = [this_python(), *conditions.pythons]
        locked = [python for python in candidates if not python.free_threaded]
        free = [python for python in candidates if python.free_threaded]
        if not locked or not free:
            missing = "a free-threaded interpreter" if not free else "an interpreter with a GIL"
            raise CannotTest(f"it needs {missing} beside this one: --python PATH")
        pair = [locked[0], free[0]]
        comparisons = compare_pythons(
            pair,
            list(KERNELS),
            implementations=["python"],
            strategies=["threads"],
            workers=[2],
            budget=max(0.5, conditions.seconds - 2),
        )
    except PythonError as error:
        raise CannotTest(str(error)) from None
    (_, with_gil), (_, without) = comparisons
    figures, speedups, costs = [], [], []
    for kernel in KERNELS:
        for python, comparison in comparisons:
            cell = settled(comparison[kernel, "threads"])
            figures.append(Figure.of(f"{kernel}: speed-up of two threads, {python.name}", cell.speedup, "x"))
        speedups.append(without[kernel, "threads"].speedup.value)
        costs.append(without[kernel, "serial"].time.value / with_gil[kernel, "serial"].time.value)
        figures.append(Figure(f"{kernel}: one thread without a GIL, of the time with one", costs[-1], "x"))
    return conditions.conclude(
        max(speedups) >= PARALLEL,
        f"two threads of plain Python: {min(speedups):.2f}x to {max(speedups):.2f}x in {pair[1].name}; "
        f"one thread takes {min(costs):.2f} to {max(costs):.2f} times as long as in {pair[0].name}",
        *figures,
    )


CLAIM = Claim(
    "free-threading",
    "Without the GIL, threads of plain Python can scale, at some cost to a single thread.",
    "count and mandelbrot in plain Python, round by round in two interpreters.",
    _run,
    seconds=10.0,
)
