"""What happens to a count without a lock."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from gilcmp.experiments.claim import Claim, Conditions, Figure, Outcome, Unclear
from gilcmp.measure.pool import Pool
from gilcmp.measure.strategies import strategies
from gilcmp.watch import _gil

TIMES = {"plain": 30_000_000, "atomic": 3_000_000, "mutex": 200_000, "GIL": 300_000}
NAMES = {
    "plain": "no lock at all",
    "atomic": "atomic operations",
    "mutex": "a mutex",
    "GIL": "the GIL (Python calls)",
}


def under_the_gil(counter: _gil.Counter, times: int) -> None:
    """Add 1 so many times from bytecode: threads take turns between two calls, never within one."""
    add = counter.holding
    for _ in range(times):
        add()


def _way(kind: str, counter: _gil.Counter) -> Callable[[int], None]:
    ways = {"plain": counter.plain, "atomic": counter.atomic, "mutex": counter.locked}
    return ways.get(kind) or partial(under_the_gil, counter)


def _run(conditions: Conditions) -> Outcome:
    conditions.need_two_cpus()
    lost: dict[str, float] = {}
    figures = []
    pool = Pool.open(strategies["threads"], 2)
    try:
        for kind, times in TIMES.items():
            counter = _gil.Counter()
            _, start, end, _ = pool.run(_way(kind, counter), [times] * 2)
            lost[kind] = 1 - counter.value / (2 * times)
            figures += [
                Figure(f"lost updates, {NAMES[kind]}", 100 * lost[kind], "%", row=NAMES[kind], column="lost updates"),
                Figure(
                    f"an increment, {NAMES[kind]}",
                    (end - start) / 1e9 / (2 * times),
                    "s",
                    row=NAMES[kind],
                    column="an increment takes",
                ),
            ]
    finally:
        pool.close()
    if lost["plain"] <= 0:
        raise Unclear("no update was lost: the two threads may never have run at the same time")
    safe = lost["atomic"] == lost["mutex"] == 0 and (lost["GIL"] == 0 or not conditions.gil)
    without_gil = "" if conditions.gil else f"; without a GIL plain calls lose {lost['GIL']:.0%} as well"
    return conditions.conclude(
        safe,
        f"two native threads lost {lost['plain']:.0%} of the updates of a plain counter, and none with a mutex or "
        f"atomics{without_gil}",
        *figures,
    )


CLAIM = Claim(
    "refcounts",
    "Without a lock, reference counts would break.",
    "Two native threads count up one counter: without a lock, with atomics, with a mutex, and under the GIL.",
    _run,
    seconds=1.5,
    why="Adding 1 is three steps: read, add, write. Two threads that do so at once lose updates, and an "
    "object whose count is wrong is freed too early or never. A call from Python costs more than a lock, "
    "so compare the upper three rows.",
    unsaid="It does not follow that the lock makes your own code safe: a thread may lose it at a call, at a "
    "loop's jump back, and wherever C code releases it.",
    code="""import sys, threading, time

class Counter:
    value = 0

def add(counter, times):
    for _ in range(times):
        value = counter.value
        time.sleep(0)  # anything that lets another thread in between reading and writing
        counter.value = value + 1

counter = Counter()
threads = [threading.Thread(target=add, args=(counter, 20_000)) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(f"added 40,000 times, counted {counter.value:,}: the lock guards the interpreter's counts, not yours")
print("references to one object, right in spite of both threads:", sys.getrefcount(counter))
""",
    note="Biased reference counting (PEP 703) gives each object an owning thread, which counts without atomics; all "
    "other threads count atomically in a second field. The two are added up when the owner is through, so the common "
    "case stays cheap and no update is lost.",
)
