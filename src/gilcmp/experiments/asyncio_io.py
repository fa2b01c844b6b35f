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
            figures.append(Figure(f"starting {number:,} waiting {kind}", seconds, "s"))
            figures.append(Figure(f"memory of each of {number:,} waiting {kind}", size, "B"))
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
)
