"""What a call that holds the lock does to an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from gilcmp import kernels
from gilcmp.base.coroutines import run_coroutine
from gilcmp.base.median import middle
from gilcmp.experiments.claim import Claim, Conditions, Figure, Outcome, above
from gilcmp.judge.estimate import FEWEST, median
from gilcmp.watch import _gil

BEAT = 0.005  # seconds between two beats
CALL = 0.1  # seconds of a call
FROZEN = 0.5  # a heartbeat that is late by this share of the call's time had to wait for the end of the call


def _run(conditions: Conditions) -> Outcome:
    calls = _calls()
    delays: dict[str, list[float]] = {name: [] for name in calls}
    lengths: dict[str, list[float]] = {name: [] for name in calls}
    with conditions.undisturbed():
        for _ in range(max(FEWEST, int(conditions.seconds / len(calls) / CALL))):
            for name, call in calls.items():
                delay, length = run_coroutine(_worst_delay(call))
                delays[name].append(delay)
                lengths[name].append(length)
    shares = {
        name: median([delay / length for delay, length in zip(delays[name], lengths[name], strict=True)])
        for name in calls
    }
    figures = []
    for name in calls:
        figures += [
            Figure.of(
                f"delay of a heartbeat beside a call of {name}",
                median(delays[name]),
                "s",
                name,
                "the heartbeat is late by",
            ),
            Figure.of(f"a call of {name}", median(lengths[name]), "s", name, "the call takes"),
        ]
    return conditions.conclude(
        above(shares["cython_gil"], FROZEN) and not above(shares["cython_nogil"], FROZEN),
        f"beside a call of {middle(lengths['cython_gil']) * 1e3:.0f} ms the heartbeat came "
        f"{middle(delays['cython_gil']) * 1e3:.0f} ms late with the lock held, "
        f"{middle(delays['cython_nogil']) * 1e3:.1f} ms with it released (medians)",
        *figures,
    )


def _calls() -> dict[str, Callable[[], object]]:
    """Return calls of the kernel `count` that take about `CALL` seconds; twins of the same machine code do the same."""
    kernel = kernels["count"]
    tried, sizes = 100_000, {}
    for name in ("cython_gil", "python"):
        call = kernel.prepared(name, tried)
        looks = (_gil.call_for(call, (), {}, 0.01, 1000) for _ in range(3))
        sizes[name] = max(1, int(tried * CALL / min(took / calls for calls, took in looks)))
    sizes["cython_nogil"] = sizes["cython_gil"]
    return {name: kernel.prepared(name, size) for name, size in sizes.items()}


async def _worst_delay(call: Callable[[], object]) -> tuple[float, float]:
    """Return how late a heartbeat was at worst while a thread beside the loop does a call, and the call's seconds."""

    def timed() -> float:
        time.sleep(1.5 * BEAT)  # the call begins between two beats
        began = time.perf_counter()
        call()
        return time.perf_counter() - began

    work = asyncio.get_running_loop().run_in_executor(None, timed)
    worst = 0.0
    while not work.done():
        began = time.perf_counter()
        await asyncio.sleep(BEAT)
        worst = max(worst, time.perf_counter() - began - BEAT)
    return worst, await work


CLAIM = Claim(
    "stalls",
    "A call that holds the lock freezes everybody else.",
    "An asyncio heartbeat every 5 ms beside calls of 0.1 s: Cython holding, Cython releasing, plain Python.",
    _run,
    seconds=3.0,
    why="A call of C code that keeps the lock cannot be interrupted: whoever needs the lock waits until it "
    "returns, the event loop included.",
    unsaid="It does not follow for plain Python in a thread: that hands the lock over when it is asked for.",
    code="""import asyncio, ctypes, time

holding, releasing = ctypes.PyDLL(None).usleep, ctypes.CDLL(None).usleep  # PyDLL keeps the lock; not on Windows

async def heartbeat(call):
    last, worst = time.perf_counter(), 0.0
    work = asyncio.get_running_loop().run_in_executor(None, call, 200_000)  # 0.2 s beside the loop
    while not work.done() or not worst:
        await asyncio.sleep(0.005)
        now = time.perf_counter()
        last, worst = now, max(worst, now - last - 0.005)
    return worst

for name, call in (("keeps", holding), ("releases", releasing)):
    print(f"beside a call that {name} the lock the heartbeat is {1000 * asyncio.run(heartbeat(call)):.0f} ms late")
""",
    note="Plain Python hands the lock over when it is asked for: there the heartbeat waits about a switch interval.",
)
