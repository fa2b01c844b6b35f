"""Two threads and one tuple that nobody changes."""

from __future__ import annotations

from gilcmp.experiments.claim import Claim, Conditions, Outcome
from gilcmp.experiments.sharing import COMPARED, costs_nothing

SOURCE = """\
TABLE = tuple(float(i) for i in range(20))


def work():
    for _ in range(100):
        TABLE[7]
"""


def _run(conditions: Conditions) -> Outcome:
    return costs_nothing(SOURCE, "reading one tuple", conditions)


CLAIM = Claim(
    "shared-constants",
    "Without a GIL, sharing what never changes is free.",
    "Two threads read a tuple that is a global, and each one of its own.",
    _run,
    seconds=1.5,
    why="Who reads an object counts a reference to it. The thread that has made it counts cheaply, all others"
    " atomically, in memory that moves from CPU to CPU.",
    unsaid="It does not follow for modules, functions, classes, small integers and literals: their references "
    "are not counted by each use, or never.",
    code="""import sys, threading, time

def made():
    table = tuple(float(i) for i in range(20))
    space = {"TABLE": table}
    exec("def work(n):\\n  for _ in range(1000 * n):\\n    TABLE[7]", space)
    return space["work"]
"""
    + COMPARED,
    free_threaded=True,
)
