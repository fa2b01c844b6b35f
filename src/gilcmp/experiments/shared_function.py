"""Two threads and one function."""

from __future__ import annotations

from gilcmp.experiments.claim import Claim, Conditions, Outcome
from gilcmp.experiments.sharing import COMPARED, costs_nothing

SOURCE = """\
def called(x):
    return x


def work():
    for _ in range(100):
        called(1)
"""


def _run(conditions: Conditions) -> Outcome:
    return costs_nothing(SOURCE, "calling one function", conditions)


CLAIM = Claim(
    "shared-function",
    "Without a GIL, calling one function is free.",
    "Two threads call one function, and each one of its own.",
    _run,
    seconds=1.5,
    why="The references to functions, classes and modules are counted later (deferred reference counting, PEP"
    " 703), so that threads do not meet there.",
    unsaid="It does not follow for nested functions, which are counted like other objects, nor for the "
    "arguments: an object that all threads pass on is counted by all of them.",
    code="""import sys, threading, time

def made():
    space = {}
    exec("def called(x): return x\\ndef work(n):\\n  for _ in range(1000 * n):\\n    called(1)", space)
    return space["work"]
"""
    + COMPARED,
    free_threaded=True,
)
