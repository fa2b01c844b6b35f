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
    figures = [
        Figure.of(f"speed-up of two {strategy}, {name}", settled(comparison[name, strategy]).speedup, "x",
                  name, f"two {strategy}")
        for strategy in ("interpreters", "threads") for name in IMPLEMENTATIONS
    ]  # fmt: skip
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
    why="Since PEP 684 an interpreter of a process can have a lock, and objects, of its own. Two of them run "
    "bytecode at the same time in one process.",
    unsaid="It does not follow that they can share objects: with few exceptions, such as the buffer of a "
    "memoryview, what is passed from one to the other is copied or pickled, and not every extension can "
    "be loaded.",
    code="""import sys, time

def count(n):
    while n > 0:
        n -= 1

if sys.version_info < (3, 14):
    print("concurrent.futures.InterpreterPoolExecutor came with Python 3.14")
else:
    from concurrent.futures import InterpreterPoolExecutor, ThreadPoolExecutor
    for kind in (ThreadPoolExecutor, InterpreterPoolExecutor):
        with kind(2) as pool:
            list(pool.map(count, [1, 1]))  # start them
            began = time.perf_counter()
            list(pool.map(count, [5_000_000] * 2))
            print(f"{kind.__name__:24}: {time.perf_counter() - began:.2f} s")
""",
)
