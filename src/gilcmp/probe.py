"""The probe: for how much of its time a call holds the GIL, and how long it makes others wait."""

from __future__ import annotations

import contextlib
import math
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from attrs import evolve, frozen

from gilcmp import _gil
from gilcmp.environment import cpus_allowed, gil_enabled
from gilcmp.estimate import Estimate, middle, ratio_of_sums
from gilcmp.verdict import Verdict

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
LOST = 0.5  # share of the time in which the sampler had no core, from which nothing is said
BIAS = 0.003  # what the sampler was seen to be off against ground truth, beyond chance
RELEASES, HOLDS = 0.1, 0.9  # share held up to which a call "releases", and from which it "holds"
SHORT = 200e-6  # seconds; within a shorter call nobody can be seen to be let in
# Share of releases of so many seconds in which another thread got in: measured on 3.13 (see docs/probe.md)
GOT_IN = ((0.0, 0.01), (5e-6, 0.25), (10e-6, 0.46), (20e-6, 0.77), (30e-6, 0.95), (50e-6, 1.0))

WORDS = (
    "releases",
    "releases partly",
    "holds, yields",
    "holds, blocks",
    "no GIL",
    "too short to say",
    "starved",
)


@frozen
class Stall:
    """How long another thread that asked for the GIL during a call waited for it, in seconds; `n` waits."""

    p50: float
    p99: float
    max: float
    n: int


@frozen
class Probe:
    """What a call does to the GIL.

    Attributes
    ----------
    name : str
        What was called.
    calls : int
        How often, while `held` was measured.
    time : float
        Seconds of a call.
    held : Estimate
        Share of the call's time in which the calling thread held the GIL (free-threaded builds: was attached).
    others : float
        Share of the time in which another thread held it: the call's own threads, or strangers.
    longest_hold : float
        Longest time it was held in one go, in seconds, as far as it was seen and never more than a call.
    hand_overs : float
        How often a call lets go of the lock.
    stall : Stall
        How long another thread waits that asks for the lock at some moment during a call.
    usable : float
        Share of the released time in which another thread can really get in; NaN where nothing is released.
    reacquire : float
        Seconds it takes to get the lock back beside one busy Python thread, per release; NaN where that was
        not measured.
    verdict : Verdict
        One of `WORDS`, with the reason.
    """

    name: str
    calls: int
    time: float
    held: Estimate
    others: float
    longest_hold: float
    hand_overs: float
    stall: Stall
    usable: float
    reacquire: float
    verdict: Verdict

    def __str__(self) -> str:
        from gilcmp.show.terminal import probe_text

        return probe_text(self)

    def plot(self) -> Any:
        """Return a picture of it as a matplotlib figure (needs ``gilcmp[report]``)."""
        from gilcmp.show.plots import plot_probe

        return plot_probe(self)

    def _repr_html_(self) -> str:
        from gilcmp.show.notebook import probe_html

        return probe_html(self)


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
    if not isinstance(budget, int | float) or isinstance(budget, bool):
        raise TypeError(f"budget must be a number of seconds, got {budget!r}")
    if not 0.01 <= budget <= 3600:
        raise ValueError(f"budget must be from 0.01 to 3600 seconds, got {budget}")
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
    return PACE if cpus_allowed() > 1 else SHARED_PACE


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


def _concluded(
    name: str, call: _Call, held: _Watch, shape: _Watch, waits: Sequence[float], reacquire: float
) -> Probe:
    counts = held.counts
    assert counts is not None  # noqa: S101  # for the type checker: both watches had a sampler
    assert shape.counts is not None  # noqa: S101
    lost = counts["dropped"] / ((held.seen + counts["dropped"]) or 1.0)
    share = ratio_of_sums(counts["segments"])
    width = BIAS + lost / 2
    share = evolve(share, low=max(0.0, share.low - width), high=min(1.0, share.high + width))
    found = Probe(
        name=name,
        calls=held.calls,
        time=held.time,
        held=share,
        others=counts["other"] / held.seen if held.seen else math.nan,
        longest_hold=min(shape.counts["longest_hold"], shape.time),
        hand_overs=shape.hand_overs,
        stall=_stall(waits),
        usable=usable(shape.counts["releases"] or [shape.counts["free"] / shape.calls]),
        reacquire=reacquire,
        verdict=Verdict("starved", ""),
    )
    if lost > LOST or counts["samples"] < MIN_SAMPLES:
        return evolve(found, verdict=_unseen(counts["samples"], lost, held))
    return evolve(
        found,
        verdict=judge_probe(found, lambda: _lets_others_in(call, found)),
    )


def _stall(waits: Sequence[float]) -> Stall:
    if not waits:
        return Stall(math.nan, math.nan, math.nan, 0)
    ordered = sorted(waits)
    n = len(ordered)
    return Stall(ordered[(n - 1) // 2], ordered[math.ceil(0.99 * n) - 1], ordered[-1], n)


def usable(releases: Sequence[float]) -> float:
    """Share of the released time in which another thread can really get in, from the releases' lengths (s)."""
    total = sum(releases)
    if not total:
        return math.nan
    return sum(length * _got_in(length) for length in releases) / total


def _got_in(length: float) -> float:
    for (shorter, low), (longer, high) in pairwise(GOT_IN):
        if length < longer:
            return low + (high - low) * (length - shorter) / (longer - shorter)
    return 1.0


def _unseen(samples: int, lost: float, held: _Watch) -> Verdict:
    if lost > LOST:
        return Verdict(
            "starved", f"the sampler had no core for {lost:.0%} of the time: other work had the CPUs"
        )
    took = held.calls * held.time
    return Verdict(
        "too short to say", f"{samples} looks in {took * 1e3:.1f} ms: a longer budget would give more"
    )


def judge_probe(
    found: Probe, lets_others_in: Callable[[], bool | None], *, bytecode: bool = False
) -> Verdict:
    """Return the verdict on what was measured.

    Parameters
    ----------
    found : Probe
        The figures; its verdict is not looked at.
    lets_others_in : callable
        Asked only about a call that holds: whether others get the lock before it ends; None: cannot be told.
    """
    share = f"{found.held.value:.1%} of the time"
    if not gil_enabled():
        return Verdict(
            "no GIL",
            f"there is no lock to hold; the thread was detached {1 - found.held.value:.1%} of the time",
        )
    if found.held.value <= RELEASES:
        if found.usable >= 0.5:
            return Verdict("releases", f"the lock was held {share}: others can run nearly all of it")
        return Verdict(
            "releases partly",
            f"held only {share}, but in releases too short for others to get in ({found.usable:.0%} usable)",
        )
    if found.held.value < HOLDS:
        return Verdict("releases partly", f"the lock was held {share}")
    lets_in = lets_others_in()
    if lets_in is None:
        return Verdict(
            "holds, blocks", f"held {share}; the call is so short that nobody gets in before its end"
        )
    if lets_in:
        return Verdict(
            "holds, yields", f"held {share}, but handed over when asked: others wait about a switch interval"
        )
    return Verdict("holds, blocks", f"held {share}, and whoever asks waits until the call is over")


def _lets_others_in(call: _Call, found: Probe) -> bool | None:
    """Tell whether a call that holds the lock hands it over before it ends.

    The interpreter asks for it after a switch interval, so for a call shorter than that the interval is made
    shorter for a moment.
    """
    if found.time < SHORT:
        return None
    interval = sys.getswitchinterval()
    if found.time >= 4 * interval:
        return found.stall.max < max(found.time / 2, 3 * interval)
    with switch_interval(min(interval, found.time / 20)):
        waits = call.watched(min(0.1, 20 * found.time), None).waits
    return bool(waits) and middle(waits) < found.time / 4


@contextlib.contextmanager
def switch_interval(seconds: float) -> Iterator[None]:
    """Set the interpreter's switch interval for a while."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(max(seconds, 1e-6))
    try:
        yield
    finally:
        sys.setswitchinterval(before)
