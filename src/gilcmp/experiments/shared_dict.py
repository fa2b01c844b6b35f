"""Two threads and one dict."""

from __future__ import annotations

from gilcmp.experiments.claim import Claim, Conditions, Outcome
from gilcmp.experiments.sharing import COMPARED, runs_in_parallel

SOURCE = """\
import threading

found = {}


def work():
    me = threading.get_ident()
    for i in range(100):
        found[me, i & 7] = i
"""


def _run(conditions: Conditions) -> Outcome:
    return runs_in_parallel(SOURCE, "that write to one dict", conditions)


CLAIM = Claim(
    "shared-dict",
    "Without a GIL, threads can write to one dict at once.",
    "Two threads write to one dict, under keys that differ, and each to a dict of its own.",
    _run,
    seconds=1.5,
    why="The lock is the dict's, not the key's: whoever writes takes it.",
    unsaid="It does not follow for reading: to look up a key takes no lock. What is found is shared, though, and"
    " its references are counted.",
    code="""import sys, threading, time

def made():
    found = {}
    def work(n):
        me = threading.get_ident()
        for i in range(1000 * n):
            found[me, i & 7] = i
    return work
"""
    + COMPARED,
    free_threaded=True,
)
