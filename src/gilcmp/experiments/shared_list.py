"""Two threads and one list."""

from __future__ import annotations

from gilcmp.experiments.claim import Claim, Conditions, Outcome
from gilcmp.experiments.sharing import runs_in_parallel

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
    "Without the GIL, threads that append to one list run in parallel.",
    "Two threads append to one list, and each to a list of its own.",
    _run,
    seconds=1.5,
    why="Each list has a lock of its own, and append takes it. Threads that want it at once spin, then sleep: that takes longer than the append.",
    unsaid="It does not follow that lists must not be shared: reading one takes no lock, and an append now and then costs nothing to speak of.",
    code="""import sys, threading, time

def made():
    items = []
    def work(n):
        for _ in range(n):
            for _ in range(1000):
                items.append(1)
            del items[:]
    return work

def seconds(works):
    threads = [threading.Thread(target=work, args=(300,)) for work in works]
    began = time.perf_counter()
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    return time.perf_counter() - began

gil = getattr(sys, "_is_gil_enabled", lambda: True)()
one, other = made(), made()
print(f"Python {sys.version.split()[0]}, GIL {'on' if gil else 'off'}: try python3.14t as well")
print(f"each its own: {2 * seconds([one]) / seconds([one, other]):.2f} times the work of one thread")
print(f"shared:       {2 * seconds([one]) / seconds([one, one]):.2f} times")
""",
    free_threaded=True,
)
