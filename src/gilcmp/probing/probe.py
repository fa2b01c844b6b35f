"""The probe: for how much of its time a call holds the GIL, and how long it makes others wait."""

from __future__ import annotations

import contextlib
import math
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from attrs import evolve, frozen

from gilcmp.base.checks import duration
from gilcmp.judge.estimate import ratio_of_sums
from gilcmp.judge.verdict import Verdict
from gilcmp.measure.cpus import usable_cpus
from gilcmp.measure.machine import gil_enabled
from gilcmp.probing.probe_result import HOLDS, SHORT, Probe, Stall, judge_probe, usable
from gilcmp.watch import _gil

# Seconds between two looks of the sampler while `held` is measured: where it can have a core of its own, and where
# it has to share one
PACE, SHARED_PACE = 2e-6, 50e-6
WAITER_PAUSE = 1e-3
MAX_CALLS = 10**9
MAX_WAITS = 100_000
# Shares of the budget: for the share held, for single holds and releases (spinning), for the stalls, and for
# getting the lock back beside a busy thread
HELD, SHAPE, STALLS, BESIDE = 0.45, 0.15, 0.25, 0.15

MIN_SAMPLES = 200  # fewer looks say nothing
LOST = 0.5  # with no core for more than this share of the time, the sampler's figures are not used
BIAS = 0.003  # the sampler's error against ground truth, beyond chance
FEW_WAITS = 5  # fewer do not tell how long others wait


def probe(func: Callable[..., Any], /, *args: Any, budget: float = 0.5, **kwargs: Any) -> Probe:
    """Measure for how much of its time a call holds the GIL, and how long it makes others wait.

    A native thread looks at the interpreter's lock every 2 microseconds (50 on a single CPU) without ever asking
    for it, while `func` is called again and again; another one asks for the lock about every millisecond and times
    its waits.
    Nothing is preloaded or traced.

    Parameters
    ----------
    func : callable
        What to call.
    *args, **kwargs
        What to call it with. A keyword argument called ``budget`` cannot be passed on.
    budget : float
        Seconds that the probing takes, about. A call that takes longer is done once.

    Returns
    -------
    Probe
        The shares, times and the verdict; printing it shows them.

    Raises
    ------
    TypeError, ValueError
        For a `func` that is not callable or a bad `budget`.
    RuntimeError
        Where the lock of this interpreter cannot be watched; the message says why.
    Exception
        Whatever `func` raises; nothing is left running.
    """
    if not callable(func):
        raise TypeError(f"func must be callable, got {type(func).__name__}")
    duration("budget", budget, 0.01, 3600)
    name = getattr(func, "__qualname__", None) or type(func).__name__
    call = _Call(func, args, kwargs)
    pace = best_pace()
    first = call.watched(0.0, pace, longest=budget)
    if first.time > budget * HELD:
        return _concluded(name, call, first, first, first.waits, math.nan)
    held = call.watched(budget * HELD, pace, waiter=False)
    shape = call.watched(budget * SHAPE, 0.0, waiter=False) if pace == PACE else held
    stalls = call.watched(budget * STALLS, None)
    reacquire = math.nan
    if held.share < HOLDS and shape.hand_overs * sys.getswitchinterval() < budget and gil_enabled():
        reacquire = call.beside_busy_thread(budget * BESIDE, held.time, shape.hand_overs)
    return _concluded(name, call, held, shape, stalls.waits, reacquire)


def best_pace() -> float:
    """Seconds between two looks of the sampler that suit the CPUs at hand."""
    # a sampler that spins needs a CPU besides the watched thread's; with less the quota stops both
    return PACE if usable_cpus() >= 2 else SHARED_PACE


@frozen
class _Watch:
    """One phase: the calls, what the sampler saw, and the waits that began during them."""

    calls: int
    time: float
    counts: _gil.Counts | None
    waits: Sequence[float]

    @property
    def seen(self) -> float:
        return sum(b for _, b in self.counts["segments"]) if self.counts else 0.0

    @property
    def share(self) -> float:
        return self.counts["held"] / self.seen if self.counts and self.seen else math.nan

    @property
    def hand_overs(self) -> float:
        return self.counts["hand_overs"] / self.calls if self.counts else 0.0


@frozen
class _Call:
    func: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]

    def watched(
        self, seconds: float, pace: float | None, *, waiter: bool = True, longest: float | None = None
    ) -> _Watch:
        """Call for so many seconds, at least once, beside a sampler (at a pace) and a waiter (if wanted)."""
        asking = _gil.Waiter(WAITER_PAUSE, MAX_WAITS) if waiter else None
        sampler = None
        try:
            sampler = None if pace is None else _gil.Sampler(pace, longest or seconds)
            began = _gil.now()
            if waiter:
                calls, took = self._in_bytecode(seconds)
            else:
                calls, took = _gil.call_for(self.func, self.args, self.kwargs, seconds, MAX_CALLS)
            ended = _gil.now()
        finally:
            counts = sampler.stop() if sampler is not None else None
            waits = asking.stop() if asking is not None else None
        during = [waited for asked, waited in waits or () if began <= asked < ended]
        return _Watch(calls, took / calls, counts, during)

    def _in_bytecode(self, seconds: float) -> tuple[int, float]:
        """Call in a loop of bytecode, where others who ask for the lock get it between two calls."""
        func, args, kwargs = self.func, self.args, self.kwargs
        began = _gil.now()
        end = began + int(seconds * 1e9)
        calls = 0
        while True:
            func(*args, **kwargs)
            calls += 1
            now = _gil.now()
            if now >= end:
                return calls, (now - began) / 1e9

    def beside_busy_thread(self, seconds: float, alone: float, hand_overs: float) -> float:
        """Seconds that a call takes longer beside a busy Python thread, per release."""
        if hand_overs < 0.5:
            return math.nan
        stop = threading.Event()

        def busy() -> None:
            while not stop.is_set():
                pass

        thread = threading.Thread(target=busy, name="gilcmp busy thread")
        thread.start()
        try:
            calls, took = self._in_bytecode(seconds)
        finally:
            stop.set()
            thread.join()
        return max(0.0, (took / calls - alone) / hand_overs)


def _concluded(name: str, call: _Call, held: _Watch, shape: _Watch, waits: Sequence[float], reacquire: float) -> Probe:
    counts = held.counts
    assert counts is not None  # noqa: S101  # for the type checker: both watches had a sampler
    assert shape.counts is not None  # noqa: S101
    lost = counts["dropped"] / ((held.seen + counts["dropped"]) or 1.0)
    share = ratio_of_sums(counts["segments"])
    width = BIAS + lost / 2
    share = evolve(share, low=max(0.0, share.low - width), high=min(1.0, share.high + width))
    releases = shape.counts["releases"] or [shape.counts["free"] / shape.calls]
    seen_well = shape.counts["dropped"] <= LOST * (shape.seen + shape.counts["dropped"])
    result = Probe(
        name=name,
        calls=held.calls,
        time=held.time,
        held=share,
        others=counts["other"] / held.seen if held.seen else math.nan,
        longest_hold=min(shape.counts["longest_hold"], shape.time),
        hand_overs=shape.hand_overs,
        stall=_stall(waits),
        usable=usable(releases) if seen_well else math.nan,
        reacquire=reacquire,
        verdict=Verdict("starved", ""),
    )
    if lost > LOST or counts["samples"] < MIN_SAMPLES:
        return evolve(result, verdict=_unseen(counts["samples"], lost, held))
    return evolve(
        result,
        verdict=judge_probe(result, lambda: _lets_others_in(call, result)),
    )


def _stall(waits: Sequence[float]) -> Stall:
    if not waits:
        return Stall(math.nan, math.nan, math.nan, 0)
    ordered = sorted(waits)
    n = len(ordered)
    return Stall(ordered[(n - 1) // 2], ordered[math.ceil(0.99 * n) - 1], ordered[-1], n)


def _unseen(samples: int, lost: float, held: _Watch) -> Verdict:
    if lost > LOST:
        return Verdict("starved", f"the sampler had no core for {lost:.0%} of the time: other work had the CPUs")
    took = held.calls * held.time
    return Verdict("too short to say", f"{samples} looks in {took * 1e3:.1f} ms: a longer budget would give more")


def _lets_others_in(call: _Call, result: Probe) -> bool | None:
    """Tell whether a call that holds the lock hands it over before it ends.

    A thread that asks during a call that blocks waits for half of the call in the median; a call that yields hands the
    lock over a switch interval after it was asked for. For a call that is not many intervals long, the interval is made
    shorter for a moment. The longest wait may be the machine's doing; the median of several is not.
    """
    if result.time < SHORT:
        return None
    interval = sys.getswitchinterval()
    wait, n = result.stall.p50, result.stall.n
    if result.time < 20 * interval or n < FEW_WAITS:
        with switch_interval(min(interval, result.time / 20)):
            waits = call.watched(min(1.0, max(min(0.1, 20 * result.time), 3 * FEW_WAITS * result.time)), None).waits
        wait, n = _stall(waits).p50, len(waits)
    return wait < result.time / 4 if n >= FEW_WAITS else None


@contextlib.contextmanager
def switch_interval(seconds: float) -> Iterator[None]:
    """Set the interpreter's switch interval for a while."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(max(seconds, 1e-6))
    try:
        yield
    finally:
        sys.setswitchinterval(before)
