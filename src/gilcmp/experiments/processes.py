"""Processes, and their price."""

from __future__ import annotations

from multiprocessing import shared_memory

from gilcmp.experiments.claim import Claim, Conditions, Figure, Outcome, above, settled
from gilcmp.measure.compare import compare
from gilcmp.measure.pool import Pool
from gilcmp.measure.strategies import START_METHODS, strategies

HEAVY = 10**7
PARALLEL = 1.25  # speed-up that one CPU cannot give; how far it goes depends on the neighbours
SHIPPED = {"1 KB": 1_000, "1 MB": 1_000_000, "100 MB": 100_000_000}


def heavy_work(n: int) -> int:
    """Sum up so many numbers: the classic task for a pool."""
    return sum(range(n))


def length_of_shared(name: str) -> int:
    """Return the size of a block of shared memory, in the process that is given its name."""
    block = shared_memory.SharedMemory(name)
    try:
        return block.size
    finally:
        block.close()


def _run(conditions: Conditions) -> Outcome:
    conditions.need_two_cpus()
    # HEAVY counts a fixed amount: four tasks take half a second here, so a few rounds take some
    comparison = compare(
        heavy_work, tasks=[HEAVY] * 4, strategies="processes", workers=4, budget=0.75 * conditions.seconds
    )
    cell = settled(comparison["processes", 4])
    figures = [
        Figure.of("speed-up of Pool(4).map(heavy_work, [10**7] * 4)", cell.speedup, "x"),
        *(
            Figure(f"start-up of 4 workers by {method}", _startup(method), "s", row="start-up of 4", column=method)
            for method in _start_methods()
        ),
        *_shipping(),
    ]
    return conditions.conclude(
        above(cell.speedup, PARALLEL),
        f"four processes on {conditions.cpus:g} CPUs were {cell.speedup.value:.2f} times as fast; "
        "starting them and sending them what they need comes on top",
        *figures,
    )


def _start_methods() -> list[str]:
    return [method for method in START_METHODS if strategies[f"processes-{method}"].unavailable is None]


def _startup(method: str) -> float:
    pool = Pool.open(strategies[f"processes-{method}"], 4)
    pool.close()
    return pool.startup


def _shipping() -> list[Figure]:
    """Return what it costs to send arguments to a process, and to share them with it instead."""
    figures = []
    pool = Pool.open(strategies["processes"], 1)
    try:
        for name, size in SHIPPED.items():
            _, start, end, _ = pool.run(len, [bytes(size)])
            figures.append(_call(f"a call with {name} of arguments", name, end - start))
        block = shared_memory.SharedMemory(create=True, size=SHIPPED["100 MB"])
        try:
            _, start, end, _ = pool.run(length_of_shared, [block.name])
        finally:
            block.close()
            block.unlink()
        figures.append(_call("a call with the name of 100 MB of shared memory", "100 MB, shared", end - start))
    finally:
        pool.close()
    return figures


def _call(name: str, arguments: str, nanoseconds: int) -> Figure:
    return Figure(name, nanoseconds / 1e9, "s", row="a call with arguments of", column=arguments)


CLAIM = Claim(
    "processes",
    "Processes bring true parallelism, at a price.",
    "Pool(4).map(heavy_work, [10**7] * 4); start-up by each start method; shipping arguments of 1 KB to 100 MB.",
    _run,
    seconds=19.0,
    why="Each process has an interpreter and a lock of its own. What it needs and what it answers has to be "
    "pickled and sent through a pipe, and the process has to be started first.",
    unsaid="It does not follow that processes pay off for short tasks or large data: sending them can take "
    "longer than the work.",
    code="""import time
from multiprocessing import Pool

def heavy_work(n):
    return sum(range(n))

if __name__ == "__main__":
    tasks = [10**7] * 4
    began = time.perf_counter()
    alone = list(map(heavy_work, tasks))
    print(f"in a row:     {time.perf_counter() - began:.2f} s")
    began = time.perf_counter()
    with Pool(4) as pool:
        pool.map(abs, range(4))  # only now all of them are there
        print(f"starting:     {time.perf_counter() - began:.2f} s")
        began = time.perf_counter()
        assert pool.map(heavy_work, tasks) == alone
        print(f"in processes: {time.perf_counter() - began:.2f} s")
""",
)
