"""Two threads and one counter."""

from __future__ import annotations

from gilcmp.experiments.claim import Claim, Conditions, Outcome
from gilcmp.experiments.sharing import runs_in_parallel

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

def seconds(works):
    threads = [threading.Thread(target=work, args=(300,)) for work in works]
    began = time.perf_counter()
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    return time.perf_counter() - began

gil = getattr(sys, "_is_gil_enabled", lambda: True)()
print("Python", sys.version.split()[0], "GIL on:", gil)
one, other = made(), made()
print(f"each its own: {2 * seconds([one]) / seconds([one, other]):.2f} times the work of one thread")
print(f"shared:       {2 * seconds([one]) / seconds([one, one]):.2f} times")
""",
    free_threaded=True,
)
