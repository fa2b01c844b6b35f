"""Coroutines beside threads."""

from __future__ import annotations

from functools import partial

from gilcmp.compute.loopback import LoopbackServer
from gilcmp.compute.waiting import fetch_coroutine
from gilcmp.experiments.claim import CannotTest, Claim, Conditions, Figure, Outcome, above, settled
from gilcmp.experiments.io_threads import A_GAIN, FETCHES, LATENCY
from gilcmp.experiments.waits import cost
from gilcmp.measure.compare import compare

NUMBERS = (100, 1_000, 10_000)


async def fetch(url: str, number: int) -> int:
    """Fetch one page in an event loop."""
    return await fetch_coroutine(url, number, number + 1)


def _run(conditions: Conditions) -> Outcome:
    with LoopbackServer(LATENCY) as server:
        comparison = compare(
            {"coroutine": partial(fetch, server.url)},
            tasks=range(FETCHES),
            strategies="asyncio",
            workers=FETCHES,
            budget=max(2.5, conditions.seconds - 5.5),
        )
    cell = settled(comparison["asyncio", FETCHES])
    figures = [Figure.of(f"speed-up of {FETCHES} coroutines in one thread", cell.speedup, "x")]
    lighter = []
    for number in NUMBERS:
        try:
            thread, task = cost("threads", number), cost("tasks", number)
        except CannotTest:
            if number == NUMBERS[0]:
                raise
            break  # this system does not allow so many threads: that itself is heavier
        lighter.append(task[0] < thread[0] and task[1] < thread[1])
        for kind, (seconds, size) in (("threads", thread), ("tasks", task)):
            row = f"{number:,} {kind}"
            figures += [
                Figure(f"starting {number:,} waiting {kind}", seconds, "s", row=row, column="start"),
                Figure(f"memory of each of {number:,} waiting {kind}", size, "B", row=row, column="memory of each"),
            ]
    number = NUMBERS[len(lighter) - 1]
    thread_start, thread_size, task_start, task_size = (figure.value for figure in figures[-4:])
    return conditions.conclude(
        above(cell.speedup, A_GAIN) and lighter[-1],
        f"one thread with {FETCHES} coroutines was {cell.speedup.value:.1f} times as fast as one after the other; "
        f"a task started in {task_start / number * 1e6:.1f} us and took {task_size / 1024:.1f} KiB, "
        f"a thread {thread_start / number * 1e6:.1f} us and {thread_size / 1024:.1f} KiB",
        *figures,
    )


CLAIM = Claim(
    "asyncio-io",
    "asyncio is the lighter way for I/O.",
    "The same fetches as coroutines; then 100, 1 000 and 10 000 concurrent waits as threads and as tasks.",
    _run,
    seconds=8.5,
    why="A task is a Python object of about a kilobyte that one event loop resumes; a thread has a stack of "
    "its own, and the system has to schedule it.",
    unsaid="It does not follow that asyncio computes faster: there is one thread, and a coroutine that computes "
    "blocks all others.",
    code="""import asyncio, threading, time

async def wait():
    await asyncio.sleep(0.2)

async def together(n):
    await asyncio.gather(*(wait() for _ in range(n)))

for n in (100, 2_000):
    began = time.perf_counter()
    asyncio.run(together(n))
    print(f"{n:5} waits of 0.2 s as tasks:   {time.perf_counter() - began:.2f} s")
    threads = [threading.Thread(target=time.sleep, args=(0.2,)) for _ in range(n)]
    began = time.perf_counter()
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    print(f"{n:5} waits of 0.2 s as threads: {time.perf_counter() - began:.2f} s")
""",
)
