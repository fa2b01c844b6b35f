"""Two threads and one counter."""

from __future__ import annotations

from gilcmp.experiments.claim import Claim, Conditions, Outcome
from gilcmp.experiments.sharing import COMPARED, runs_in_parallel

SOURCE = """\
class Counter:
    value = 0


counter = Counter()


def work():
    for _ in range(100):
        counter.value += 1
"""


def _run(conditions: Conditions) -> Outcome:
    return runs_in_parallel(SOURCE, "that add to one attribute", conditions)


CLAIM = Claim(
    "shared-counter",
    "Without a GIL, threads can count in one object at once.",
    "Two threads add to an attribute of one object, and each to one of its own.",
    _run,
    seconds=1.5,
    why="Writing an attribute takes the object's lock, and the memory that it is in moves from CPU to CPU.",
    unsaid="It does not follow that it counts rightly without a lock: reading and writing are two steps, with or"
    " without a GIL.",
    code="""import sys, threading, time

class Counter: value = 0
def made():
    counter = Counter()
    def work(n):
        for _ in range(1000 * n):
            counter.value += 1
    return work
"""
    + COMPARED,
    free_threaded=True,
)
