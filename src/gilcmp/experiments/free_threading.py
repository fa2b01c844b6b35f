"""The same work with and without a GIL, in two interpreters."""

from __future__ import annotations

from gilcmp.experiments.claim import PARALLEL, CannotTest, Claim, Conditions, Figure, Outcome, any_above, settled
from gilcmp.judge.estimate import Estimate
from gilcmp.judge.ratios import ratio_of_medians
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
            place = kernel, f"two threads, {python.name}"
            figures.append(Figure.of(f"{kernel}: speed-up of two threads, {python.name}", cell.speedup, "x", *place))
        speedups.append(without[kernel, "threads"].speedup)
        costs.append(ratio_of_medians(with_gil[kernel, "serial"].times, without[kernel, "serial"].times))
        name = f"{kernel}: one thread without a GIL, of the time with one"
        figures.append(Figure.of(name, costs[-1], "x", kernel, "one thread: its time without a GIL, of that with"))
    scales, costs_more = any_above(speedups, PARALLEL), any_above(costs, 1.0)
    return conditions.conclude(
        scales and costs_more,
        f"two threads of plain Python: {_range(speedups)}x in {pair[1].name}; "
        f"one thread takes {_range(costs)} times as long as in {pair[0].name}",
        *figures,
    )


def _range(values: list[Estimate]) -> str:
    ordered = sorted(value.value for value in values)
    return f"{ordered[0]:.2f} to {ordered[-1]:.2f}"


CLAIM = Claim(
    "free-threading",
    "Without the GIL threads can scale, at some cost.",
    "count and mandelbrot in plain Python, round by round in two interpreters.",
    _run,
    seconds=10.0,
    why="Without the lock each object guards itself: counts are biased towards the owning thread, and lists "
    "and dicts have locks of their own. That costs a thread that is alone some time; in 3.13 the adaptive "
    "interpreter is switched off as well, and that costs more.",
    unsaid="It does not follow that threads which share objects scale: writing to one list or dict, or counting "
    "references to one object, slows them.",
    code="""import sys, threading, time

def count(n):
    while n > 0:
        n -= 1

def seconds(n):
    threads = [threading.Thread(target=count, args=(5_000_000,)) for _ in range(n)]
    began = time.perf_counter()
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    return time.perf_counter() - began

gil = getattr(sys, "_is_gil_enabled", lambda: True)()
print(f"Python {sys.version.split()[0]}, GIL {'on' if gil else 'off'}: run this with python3.14t as well")
print(f"one thread: {seconds(1):.2f} s; two threads do {2 * seconds(1) / seconds(2):.2f} times the work")
""",
)
