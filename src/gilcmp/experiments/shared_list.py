"""Two threads and one list."""

from __future__ import annotations

from gilcmp.experiments.claim import Claim, Conditions, Outcome
from gilcmp.experiments.sharing import COMPARED, runs_in_parallel

SOURCE = """\
items = []


def work():
    for _ in range(100):
        items.append(1)
    del items[:]
"""


def _run(conditions: Conditions) -> Outcome:
    return runs_in_parallel(SOURCE, "that append to one list", conditions)


CLAIM = Claim(
    "shared-list",
    "Without a GIL, threads can append to one list at once.",
    "Two threads append to one list, and each to a list of its own.",
    _run,
    seconds=1.5,
    why="Each list has a lock of its own, and append takes it. Threads that want it at once spin, then sleep:"
    " that takes longer than the append.",
    unsaid="It does not follow that lists must not be shared: reading one takes no lock, and an append now and "
    "then costs nothing to speak of.",
    code="""import sys, threading, time

def made():
    items = []
    def work(n):
        for i in range(1000 * n):
            items.append(i)
        del items[:]
    return work
"""
    + COMPARED,
    free_threaded=True,
)
