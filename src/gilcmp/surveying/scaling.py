"""Whether two threads of a statement get more done than one."""

from __future__ import annotations

import gc
import math
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import frozen

from gilcmp.base.calls import execute, statement_function
from gilcmp.judge.estimate import FEWEST, Estimate, median_in_time
from gilcmp.judge.verdict import GAINS, NO_GAIN, SCALES, SLOWER, THREADS_OF_ITS_OWN, Verdict
from gilcmp.measure.cpus import usable_cpus
from gilcmp.measure.crew import Crew, repeat_together
from gilcmp.measure.placement import PLACES

ROUNDS = 20  # many, and short: a host that takes a CPU away does so for several in a row
THREADS = 2
ENOUGH = 1.5  # times the work of one that shareless native code must surely reach before others are blamed
LONGEST = 4.0  # times the budget, for calls that are long


@frozen
class Scaling:
    """How much two threads get done, each with objects of its own.

    Attributes
    ----------
    speedup : Estimate
        Times the work of one thread in the same time.
    cpus : float
        How many CPUs the process keeps busy while one thread calls it: more than 1 has threads of its own.
    verdict : Verdict
        ``scales``, ``partial``, ``faster``, ``no gain``, ``GIL-bound``, ``slower`` or ``too noisy``, with the reason;
        the words are those of `gilcmp.compare`.
    """

    speedup: Estimate
    cpus: float
    verdict: Verdict

    @property
    def figure(self) -> str:
        """How much they get done, as it is shown; the word where the figure says nothing."""
        told = self.verdict in (*GAINS, "no gain", "slower")
        return f"{self.speedup.value:.2f}x" if told else self.verdict.word


class TwoThreads:
    """Two threads, each of which has run a setup and makes functions of statements, with objects of its own.

    Parameters
    ----------
    setup : str
        What each of them runs first, one after the other, with all CPUs. What it raises is raised here.
    """

    def __init__(self, setup: str) -> None:
        self._cpus = usable_cpus()
        self._mask = os.sched_getaffinity(0) if PLACES else set()
        self._crew = Crew(THREADS, pinned=PLACES and self._cpus >= THREADS)
        self._names: list[dict[str, Any]] = [{"__name__": "__main__"} for _ in range(THREADS)]
        one_at_a_time = threading.Lock()

        def prepare(names: dict[str, Any]) -> None:
            with one_at_a_time:
                self._with_all_cpus(partial(execute, setup, "<setup>", names))

        try:
            self._crew.run([partial(prepare, names) for names in self._names])
        except BaseException:
            self.close()
            raise

    def _with_all_cpus(self, call: Callable[[], object]) -> object:
        """Call it with the CPUs that the process has: what it starts, such as threads of its own, gets them all."""
        if PLACES:
            os.sched_setaffinity(0, self._mask)
        return call()

    def measure(self, statement: str, budget: float, *, holds: bool = False, best: float = math.inf) -> Scaling:
        """Call it in one and in both threads, in turns, the same number of times each; what it raises is raised here.

        `holds`: it is known to hold the GIL for all of its time. `best`: how much two threads surely get done here.
        """
        functions = [statement_function(statement, names) for names in self._names]
        repeat_together(self._crew, functions, 1, self._with_all_cpus)  # both are warm
        times = self._times(functions[0], budget / ROUNDS / 3)
        busy = self._busy(functions[0], times)
        # a call with threads of its own gets all CPUs; others stay apart, or each wait brings them together
        wrapped = self._with_all_cpus if busy > 1 + THREADS_OF_ITS_OWN else _called
        ratios: list[float] = []
        began = time.perf_counter()
        for number in range(ROUNDS):
            if number >= FEWEST and time.perf_counter() - began > LONGEST * budget:
                break
            took_by = {}
            for n in (1, THREADS) if number % 2 else (THREADS, 1):
                took_by[n] = repeat_together(self._crew, functions[:n], times, wrapped)
            ratios.append(THREADS * took_by[1] / took_by[THREADS])
        speedup = median_in_time(ratios)
        return Scaling(speedup, busy, judged(speedup, busy, self._cpus, holds=holds, best=best))

    def _times(self, function: Callable[[], object], seconds: float) -> int:
        """Return how many calls take so many seconds."""
        times = 1
        while (took := repeat_together(self._crew, [function], times, self._with_all_cpus)) < seconds / 2:
            times = max(times + 1, round(times * min(100.0, seconds / took)))
        return max(1, round(times * seconds / took)) if took > 2 * seconds else times

    def _busy(self, function: Callable[[], object], times: int) -> float:
        """Return how many CPUs the process keeps busy while one thread calls it."""
        wall, cpu = time.perf_counter(), time.process_time()
        repeat_together(self._crew, [function], times, self._with_all_cpus)
        return (time.process_time() - cpu) / max(time.perf_counter() - wall, 1e-9)

    def close(self) -> None:
        """Drop what they opened, in the thread that did; end them."""
        with self._crew:
            self._crew.run([names.clear for names in self._names])
            gc.collect()


def _called(call: Callable[[], object]) -> object:
    return call()


def judged(speedup: Estimate, busy: float, cpus: float, *, holds: bool = False, best: float = math.inf) -> Verdict:
    """Return the word whose whole region holds the interval; the thresholds are those of `gilcmp.compare`.

    Parameters
    ----------
    speedup : Estimate
        Of two threads.
    busy : float
        CPUs that one thread keeps busy.
    cpus : float
        CPUs that there are.
    holds : bool
        Whether it is known to hold the GIL for all of its time: then one thread runs at a time, however much the ratios
        scatter.
    best : float
        What two threads of native code that shares nothing surely get done here, times one.
    """
    if cpus < THREADS:
        return Verdict("not measured", f"{cpus:g} CPU: two threads cannot run at once")
    if math.isnan(speedup.low):
        return Verdict("too noisy", "too few rounds for an interval")
    between = f"between {speedup.low:.2f} and {speedup.high:.2f} times the work of one"
    own = f"; one call keeps {busy:.1f} CPUs busy itself" if busy > 1 + THREADS_OF_ITS_OWN else ""
    ideal = SCALES * THREADS
    if holds and speedup.low > NO_GAIN:
        return Verdict("too noisy", f"the measurement is at fault: it holds the GIL, and two threads do {between}")
    if holds and speedup.high >= SLOWER:
        return Verdict("GIL-bound", "it holds the GIL: one thread runs at a time")
    if speedup.low >= ideal:
        return Verdict("scales", between)
    if best < ENOUGH and not holds:
        said = f"two threads of native code that shares nothing do no more than {best:.2f} times the work here"
        return Verdict("too noisy", said)
    if speedup.low > NO_GAIN:
        return Verdict("partial" if speedup.high < ideal else "faster", f"{between}{own}")
    if speedup.high < SLOWER:
        return Verdict("slower", f"{between}{own}")
    if speedup.high <= NO_GAIN and speedup.low >= SLOWER - (NO_GAIN - SLOWER):
        return Verdict("no gain", f"{between}{own}")
    return Verdict("too noisy", f"{between}: a longer budget may tell")


def limit_own_threads() -> dict[str, str]:
    """Return an environment in which libraries that start threads for each call start none.

    Those whose callers share a pool of threads (Polars, PyArrow) keep it: with one thread in it, callers would queue.
    """
    names = ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMEXPR", "NUMBA")
    limits = {f"{name}_NUM_THREADS": "1" for name in names}
    return {**os.environ, **limits, "BLOSC_NTHREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
