"""Two threads and one lock."""

from __future__ import annotations

from gilcmp.experiments.claim import Claim, Conditions, Outcome
from gilcmp.experiments.sharing import COMPARED, runs_in_parallel

SOURCE = """\
import threading

lock = threading.Lock()
total = 0


def work():
    global total
    for _ in range(100):
        with lock:
            total += 1
"""


def _run(conditions: Conditions) -> Outcome:
    return runs_in_parallel(SOURCE, "with one lock", conditions)


CLAIM = Claim(
    "one-lock",
    "A lock that is held for a moment costs little.",
    "Two threads take a lock around one addition, again and again: one lock, and one each.",
    _run,
    seconds=1.5,
    why="What is inside the lock is done by one thread at a time; when nearly all is inside, two threads do "
    "less than one, for they wake each other up.",
    unsaid="It does not follow for a lock that is held for a small part of the time: what is outside runs in parallel.",
    code="""import sys, threading, time

def made():
    lock = threading.Lock()
    def work(n):
        for _ in range(1000 * n):
            with lock: pass
    return work
"""
    + COMPARED,
    free_threaded=True,
)
