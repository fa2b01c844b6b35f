"""Extensions that release the lock."""

from __future__ import annotations

from gilcmp.experiments.claim import PARALLEL, Claim, Conditions, Figure, Outcome, above, no_faster, settled
from gilcmp.measure.compare import compare


def _run(conditions: Conditions) -> Outcome:
    conditions.need_two_cpus()
    names = ["numpy", "cython_gil", "cython_nogil"]
    comparison = compare(
        "mandelbrot", implementations=names, strategies="threads", workers=2, budget=conditions.seconds
    )
    cells = {name: settled(comparison[name, "threads"]) for name in names}
    speedups = {name: cell.speedup for name, cell in cells.items()}
    nogil, gil = speedups["cython_nogil"].value, speedups["cython_gil"].value
    return conditions.conclude(
        above(speedups["cython_nogil"], PARALLEL) and no_faster(cells["cython_gil"]),
        f"two threads: {nogil:.2f}x with the lock released, {gil:.2f}x with the same machine code and the lock held",
        *(Figure.of(f"speed-up of two threads, {name}", speedups[name], "x") for name in names),
    )


CLAIM = Claim(
    "native-release",
    "C extensions that release the GIL run in parallel.",
    "mandelbrot in NumPy and in Cython with nogil under two threads; its twin that holds the GIL is the control.",
    _run,
    seconds=7.0,
    why="C code that touches no Python object may release the lock while it computes. Then the cores, the "
    "memory and the way back to the lock set the limit.",
    unsaid="It does not follow that every function of a C library scales: some hold the lock, and NumPy's loops "
    "do for fewer than 500 elements.",
    code="""import threading, time
import numpy as np

def seconds(work, n):
    threads = [threading.Thread(target=work) for _ in range(n)]
    began = time.perf_counter()
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    return time.perf_counter() - began

large, small = np.ones(1_000_000), np.ones(10)
works = {
    "one large call":   lambda: [np.sin(large) for _ in range(30)],
    "many small calls": lambda: [np.sin(small) for _ in range(300_000)],
}
for name, work in works.items():
    seconds(work, 2)  # warm
    print(f"{name:16}: two threads do {2 * seconds(work, 1) / seconds(work, 2):.2f} times the work of one")
""",
    note="On a free-threaded build the twin that holds runs in parallel as well: there is no lock to hold.",
)
