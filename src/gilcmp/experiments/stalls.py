"""What a call that holds the lock does to an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from gilcmp import kernels
from gilcmp.experiments.claim import Claim, Conditions, Figure, Outcome
from gilcmp.watch import _gil

BEAT = 0.005  # seconds between two beats
CALL = 0.1  # seconds of a call


def _run(conditions: Conditions) -> Outcome:
    worst: dict[str, float] = {}
    figures = []
    for name in ("cython_gil", "cython_nogil", "python"):
        call, length = _call(name)
        worst[name] = asyncio.run(_worst_delay(call, max(2, int(conditions.seconds / 4 / length))))
        figures += [
            Figure(f"worst delay of a heartbeat beside {name}", worst[name], "s"),
            Figure(f"a call of {name}", length, "s"),
        ]
    length = figures[1].value
    return conditions.conclude(
        worst["cython_gil"] > 0.6 * length and worst["cython_nogil"] < 0.5 * length,
        f"beside a call of {length * 1e3:.0f} ms the heartbeat came up to {worst['cython_gil'] * 1e3:.0f} ms late "
        f"with the lock held, {worst['cython_nogil'] * 1e3:.1f} ms with it released",
        *figures,
    )


def _call(implementation: str) -> tuple[Callable[[], object], float]:
    """Return a call of the kernel `count` that takes about `CALL` seconds, and how long it does take."""
    kernel = kernels["count"]
    size = 100_000
    calls, took = _gil.call_for(kernel.prepared(implementation, size), (), {}, 0.02, 1000)
    call = kernel.prepared(implementation, max(1, int(size * CALL / (took / calls))))
    _, length = _gil.call_for(call, (), {}, 0.0, 1)
    return call, length


async def _worst_delay(call: Callable[[], object], calls: int) -> float:
    """Return how late a heartbeat was at worst, while a thread beside the loop does so many calls."""
    loop = asyncio.get_running_loop()
    worst = 0.0
    for _ in range(calls):
        work = loop.run_in_executor(None, call)
        while not work.done():
            began = time.perf_counter()
            await asyncio.sleep(BEAT)
            worst = max(worst, time.perf_counter() - began - BEAT)
        await work
    return worst


CLAIM = Claim(
    "stalls",
    "A call that holds the lock freezes everybody else.",
    "An asyncio heartbeat every 5 ms beside calls of 0.1 s: Cython holding, Cython releasing, plain Python.",
    _run,
    seconds=3.0,
    note="Plain Python hands the lock over when it is asked for: there the heartbeat waits about a switch interval.",
)
