"""How much of its CPUs a machine really gives: a virtual machine's host takes them away and does not tell."""

from __future__ import annotations

import time
from bisect import insort
from collections.abc import Callable
from typing import Any

from gilcmp.compute.registry import kernels
from gilcmp.judge.verdict import GRANTED
from gilcmp.measure.executors import PoolError
from gilcmp.measure.pool import Pool
from gilcmp.measure.strategies import strategies

LOOP = 0.002  # seconds that a reference loop takes, about
FIRST = 10  # readings that are taken before the first one that is used
BEST = 0.95  # the quantile of all readings that is what the machine gives when nobody disturbs it
TRIES = 3  # runs of the loops for one reading, at most
SHARED = 0.1  # of the time: so long a wait for a core means that two loops had one CPU
PATIENCE = 0.02  # seconds for which a turn may wait for its CPUs


class Gauge:
    """Runs a loop of native code in one thread and then in several at once, and compares their times.

    The loop is always the same, and shares nothing but the CPUs with what is measured beside it. Several at once take
    as long as one does, or longer by a factor that is the machine's own: turbo, hardware threads of one core. Where
    that factor changes, a host moves this machine's CPUs about: now to hardware threads of one core, now to cores of
    their own, now to none (one loop was 1.0 or 1.9 times as long as at best, two at once 1.0 or 2.0, for seconds each).
    """

    def __init__(self) -> None:
        self._pools: dict[int, Pool] = {}
        self._read: dict[int, list[float]] = {}
        self._loop: Callable[[], Any] | None = None

    def read(self, threads: int) -> float | None:
        """Time of the loop alone over that of so many at once, 1 at most; None where they cannot be started."""
        try:
            if threads not in self._pools:
                self._pools[threads] = Pool.open(strategies["threads"], threads)
                self._read[threads] = []
                for _ in range(FIRST):
                    self._once(threads)
            return self._once(threads)
        except PoolError:
            return None

    def share(self, reading: float, threads: int) -> float:
        """Return a reading as a share of the best that so many threads get, as far as is known by now; 1 at most."""
        known = self._read[threads]
        return min(1.0, reading / known[int(BEST * len(known))])

    def wait(self, threads: int) -> float | None:
        """Read until the threads get their CPUs, for `PATIENCE` seconds at most; return the last reading.

        After a bad reading it takes two good ones: a single one may be a moment in a bad time. The worse is returned.
        """
        end = time.perf_counter() + PATIENCE
        reading = before = self.read(threads)
        while reading is not None and before is not None:
            worse = min(reading, before)
            if self.share(worse, threads) >= GRANTED or time.perf_counter() > end:
                return worse
            before, reading = reading, self.read(threads)
        return None

    def close(self) -> None:
        """End its threads."""
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()

    def _once(self, threads: int) -> float:
        loop = self._loop = self._loop or _loop_of(LOOP)
        alone = _timed(loop)
        for _ in range(TRIES):
            samples, start, end, _ = self._pools[threads].run(lambda _: loop(), [None] * threads, keep_place=True)
            # two threads that this system put on one CPU say nothing about its host
            if sum(sample.run_delay or 0 for sample in samples) < SHARED * (end - start):
                break
        reading = min(1.0, alone / (end - start))
        insort(self._read[threads], reading)
        return reading


def _timed(call: Callable[[], Any]) -> int:
    start = time.perf_counter_ns()
    call()
    return time.perf_counter_ns() - start


def _loop_of(seconds: float) -> Callable[[], Any]:
    """Return a call that counts for about so long, without the GIL."""
    size = 100_000
    call = kernels["count"].prepared("cython_nogil", size)
    fastest = min(_timed(call) for _ in range(20))
    return kernels["count"].prepared("cython_nogil", max(size, int(size * seconds * 1e9 / fastest)))
