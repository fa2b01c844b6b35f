"""The probe: for how much of its time a call holds the GIL, and how long it makes others wait."""

from __future__ import annotations

import bisect
import contextlib
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from attrs import evolve, frozen

from gilcmp.base.calls import name_of
from gilcmp.base.checks import Duration, Exceptions, duration, exceptions, integer
from gilcmp.judge.estimate import UNKNOWN, Estimate, ratio_of_sums
from gilcmp.judge.verdict import Verdict
from gilcmp.measure.cpus import usable_cpus
from gilcmp.measure.machine import gil_enabled
from gilcmp.probing.probe_result import HOLDS, SHORT, HeldAt, Probe, Stall, judge_probe, usable
from gilcmp.watch import _gil
from gilcmp.watch.waits import LIBRARY, OURS, Line, read

# Seconds between two looks of the sampler while `held` is measured: where it can have a core of its own, and where
# it has to share one
PACE, SHARED_PACE = 2e-6, 50e-6
WAITER_PAUSE = 1e-3
MAX_CALLS = 10**9
MAX_WAITS = 100_000
# Shares of the budget: for the share held, for single holds and releases (spinning), for the stalls, and for
# getting the lock back beside a busy thread
HELD, SHAPE, STALLS, BESIDE = 0.45, 0.15, 0.25, 0.15

PARTLY = 0.02  # of the time: one that holds for less, or lets go for less, is not asked where
LINES_PACE = 200e-6  # seconds between two looks at where it holds
LOCKS_PACE = 500e-6  # seconds between two looks at what the call waits for, where there is no GIL
NOT_SEEN = (math.nan, math.nan)
MOST_LINES = 4
MIN_SAMPLES = 200  # fewer looks say nothing
LOST = 0.5  # with no core for more than this share of the time, the sampler's figures are not used
UNSEEN = 0.2  # largest error of the share, as a fraction of the unseen time: see docs/probe.md
CROWDED = 0.1  # with no core for more than this share of the time, a sampler that spins is replaced by one that sleeps
BIAS = 0.003  # the sampler's error against ground truth, beyond chance
FEW_WAITS = 5  # fewer do not tell how long others wait
DONE = 0.8  # a call that is this far along when the lock is handed over counts as done
MIXED = 0.3  # share of waits that may tell the opposite of the others


def probe(
    func: Callable[..., Any],
    /,
    *args: Any,
    budget: Duration = 0.5,
    setup: Callable[[], tuple[Any, ...] | None] | None = None,
    teardown: Callable[..., object] | None = None,
    calls: int | None = None,
    raises: Exceptions = (),
    **kwargs: Any,
) -> Probe:
    """Measure for how much of its time a call holds the GIL, and how long it makes others wait.

    A native thread looks at the interpreter's lock every 2 microseconds without ever asking for it, while `func` is
    called again and again; another one asks for the lock about every millisecond and times its waits. On a single CPU,
    and where other programs want the CPUs, it looks every 50 microseconds and sleeps in between. Time for which the
    calling thread had no core to run on is then left out. Nothing is preloaded or traced.

    Parameters
    ----------
    func : callable
        What to call.
    *args, **kwargs
        What to call it with. A keyword argument that is called like one of the following cannot be passed on:
        ``functools.partial(func, budget=…)`` can.
    budget : float or str
        Seconds that the probing takes, or a text such as "500ms", about; half as much again where other programs come
        in between. A call that takes longer is done once.
    setup : callable, optional
        Called before each call, and not counted: returns a tuple of positional arguments for that call, or None for
        those that were given.
    teardown : callable, optional
        Called after each call with its positional arguments, and not counted.
    calls : int, optional
        How often `func` is called in all, such as 1 for what cannot be repeated; as often as the budget allows, if not
        given.
    raises : exception type, or tuple of them
        What a call may raise.

    Returns
    -------
    Probe
        The shares, times and the verdict; printing it shows them.

    Raises
    ------
    TypeError, ValueError
        For a `func` that is not callable or another argument that is not allowed.
    RuntimeError
        Where the lock of this interpreter cannot be watched; the message says why.
    Exception
        Whatever `func` raises, with a note where an earlier call went well; nothing is left running.
    """
    for argument, value in (("func", func), ("setup", setup or func), ("teardown", teardown or func)):
        if not callable(value):
            __tracebackhide__ = True  # pytest would show all of this function
            raise TypeError(f"{argument} must be callable, got {type(value).__name__}")
    budget = duration("budget", budget, 0.01, 3600)
    if calls is not None:
        calls = integer("calls", calls, 1, MAX_CALLS)
    name = name_of(func)
    call = _Call(func, args, kwargs, setup, teardown, exceptions("raises", raises))
    pace = pace_here(budget)
    if calls is not None:
        watch = call.watched(budget, pace, limit=calls)
        return _concluded(name, watch, watch, watch, math.nan, lambda: None)
    first = call.watched(0.0, pace, longest=budget)
    if first.wall > budget * HELD:
        return _concluded(name, first, first, first, math.nan, lambda: _lets_others_in(call, first.time))
    try:
        return _repeated(name, call, pace, budget)
    except Exception as error:
        error.add_note(
            "gilcmp: a first call went well, a later one raised this. Calls are repeated: setup=… makes new arguments "
            "for each, calls=1 calls once"
        )
        raise


def _repeated(name: str, call: _Call, pace: float, budget: float) -> Probe:
    """Probe a call that can be done often within the budget."""
    held = call.watched(budget * HELD, pace, waiter=False)
    if pace == PACE and held.lost > CROWDED:
        pace = SHARED_PACE
        held = call.watched(budget * HELD, pace, waiter=False)
    shape = call.watched(budget * SHAPE, 0.0, waiter=False) if pace == PACE else held
    stalls = call.watched(budget * STALLS, None)
    reacquire = math.nan
    if held.share < HOLDS and shape.hand_overs * sys.getswitchinterval() < budget and gil_enabled():
        reacquire = call.beside_busy_thread(budget * BESIDE, held.time, shape.hand_overs)
    waits = NOT_SEEN if gil_enabled() or call.has_more else call.lock_waits(budget * BESIDE)
    found = _concluded(name, held, shape, stalls, reacquire, lambda: _lets_others_in(call, held.time), waits)
    if gil_enabled() and not call.has_more and PARTLY < found.held.value < 1 - PARTLY:
        found = evolve(found, lines=call.held_at(budget * BESIDE))
    return found


def best_pace() -> float:
    """Seconds between two looks of the sampler that suit the CPUs at hand."""
    # a sampler that spins needs a CPU besides the watched thread's; with less the quota stops both
    return PACE if usable_cpus() >= 2 else SHARED_PACE


def pace_here(budget: float) -> float:
    """Seconds between two samples, given the CPU time that other programs leave at this moment."""
    pace = best_pace()
    if pace == PACE:
        trial = _Call(_gil.release_gil, (min(0.01, budget / 10),), {}).watched(0.0, pace, waiter=False, longest=0.01)
        if trial.lost > CROWDED:
            return SHARED_PACE
    return pace


@frozen
class _Watch:
    """One phase: the calls, what the sampler saw, and the waits that began during them.

    `time`: seconds of a call; `wall`: seconds of the phase.
    """

    calls: int
    time: float
    wall: float
    counts: _gil.Counts | None
    waits: Sequence[float]

    @property
    def seen(self) -> float:
        return sum(b for _, b in self.counts["segments"]) if self.counts else 0.0

    @property
    def lost(self) -> float:
        """Share of the time for which the sampler had no core."""
        dropped = self.counts["dropped"] if self.counts else 0.0
        return dropped / ((max(self.seen, 0.0) + dropped) or 1.0)

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
    setup: Callable[[], tuple[Any, ...] | None] | None = None
    teardown: Callable[..., object] | None = None
    raises: tuple[type[BaseException], ...] = ()

    @property
    def has_more(self) -> bool:
        """Whether there is something between two calls that does not count."""
        return self.setup is not None or self.teardown is not None

    def watched(
        self,
        seconds: float,
        pace: float | None,
        *,
        waiter: bool = True,
        longest: float | None = None,
        limit: int | None = None,
    ) -> _Watch:
        """Call for so many seconds, at least once, beside a sampler (at a pace) and a waiter (if wanted)."""
        marked = self.has_more or limit is not None
        asking = _gil.Waiter(WAITER_PAUSE, MAX_WAITS) if waiter else None
        sampler = None
        try:
            if pace is not None:
                sampler = _gil.Sampler(pace, longest or seconds, pace == SHARED_PACE, marked=marked)
            began = _gil.now()
            spans = []
            if marked:
                done = self._one_by_one(seconds, limit or MAX_CALLS, sampler)
                spans = [(start, end) for start, end, *_ in done]
                calls, took = len(spans), sum(end - start for start, end in spans) / 1e9
            elif waiter:
                calls, took = self._in_bytecode(seconds)
            else:
                calls, took = _gil.call_for(self.func, self.args, self.kwargs, seconds, MAX_CALLS, self.raises)
            ended = _gil.now()
        finally:
            counts = sampler.stop() if sampler is not None else None
            waits = asking.stop() if asking is not None else None
        begins, ends = zip(*(spans or [(began, ended)]), strict=True)
        during = []
        for asked, _, _, waited in waits or ():
            place = bisect.bisect(begins, asked) - 1
            if place >= 0 and asked < ends[place]:
                during.append(waited)
        return _Watch(calls, took / calls, (ended - began) / 1e9, counts, during)

    def _in_bytecode(self, seconds: float) -> tuple[int, float]:
        """Call in a loop of bytecode, where others who ask for the lock get it between two calls."""
        func, args, kwargs, raises = self.func, self.args, self.kwargs, self.raises
        began = _gil.now()
        end = began + int(seconds * 1e9)
        calls = 0
        while True:
            try:  # noqa: SIM105  # contextlib.suppress would take longer than a short call
                func(*args, **kwargs)
            except raises:
                pass
            calls += 1
            now = _gil.now()
            if now >= end:
                return calls, (now - began) / 1e9

    def _one_by_one(
        self, seconds: float, limit: int, sampler: _gil.Sampler | None = None
    ) -> list[tuple[int, int, int, int]]:
        """Call in a loop that notes when each call began and ended, and the thread's CPU time then, in nanoseconds."""
        spans: list[tuple[int, int, int, int]] = []
        end = _gil.now() + int(seconds * 1e9)
        while len(spans) < limit:
            args = self._arguments()
            try:
                began, cpu_before = _gil.now(), time.thread_time_ns()
                with contextlib.suppress(*self.raises):
                    if sampler is None:
                        self.func(*args, **self.kwargs)
                    else:
                        sampler.call(self.func, args, self.kwargs)
                cpu_after, ended = time.thread_time_ns(), _gil.now()
            finally:
                if self.teardown is not None:
                    self.teardown(*args)
            spans.append((began, ended, cpu_before, cpu_after))
            if _gil.now() >= end:
                break
        return spans

    def _arguments(self) -> Sequence[Any]:
        made = None if self.setup is None else self.setup()
        if made is None:
            return self.args
        if not isinstance(made, tuple):
            raise TypeError(f"setup must return a tuple of arguments, or None, got {type(made).__name__}")
        return made

    def handed_over_inside(self, seconds: float) -> list[bool]:
        """Tell whether the lock was handed over before the call was done, each time that it was asked for in time.

        Only what was asked for in the first half of a call counts; `seconds` is how long to go on. The progress of a
        call counts in CPU time, which other programs do not change, or in time if that says more: a call may block with
        the lock held.
        """
        asking = _gil.Waiter(WAITER_PAUSE, MAX_WAITS)
        try:
            calls = self._one_by_one(seconds, MAX_CALLS)
        finally:
            waits = asking.stop()
        inside = []
        begins = [began for began, *_ in calls]
        for asked, got, cpu, _ in waits or ():
            place = bisect.bisect(begins, asked) - 1
            if place < 0:
                continue
            began, ended, cpu_before, cpu_after = calls[place]
            if asked < (began + ended) / 2:
                progress = (got - began) / (ended - began)
                if cpu >= 0 and cpu_after > cpu_before:
                    progress = max(progress, (cpu - cpu_before) / (cpu_after - cpu_before))
                inside.append(progress < DONE)
        return inside

    def lock_waits(self, seconds: float) -> tuple[float, float]:
        """Return the shares of its time for which the call waits for locks, at least, and is stopped with the world."""
        watcher = _gil.Contention(LOCKS_PACE, LIBRARY.encode())
        try:
            _gil.call_for(self.func, self.args, self.kwargs, seconds, MAX_CALLS, self.raises)
        finally:
            seen = watcher.stop()
        if seen is None or seen["looks"] < MIN_SAMPLES / 4 or not seen["tells_locks"]:
            return NOT_SEEN
        times = read(seen, {threading.get_native_id()}).times
        return ((times.spinning + times.parked) / times.total, times.stopped / times.total) if times.total else NOT_SEEN

    def held_at(self, seconds: float) -> tuple[HeldAt, ...]:
        """Return the lines at which the call holds the lock, the longest first; none where it runs no Python."""
        watcher = _gil.Monitor(LINES_PACE, 0.0, 0.0, 0.0, -1, LIBRARY.encode())
        try:
            _gil.call_for(self.func, self.args, self.kwargs, seconds, MAX_CALLS, self.raises)
        finally:
            watcher.stop()
        seen = watcher.read()
        if seen["looks"] < MIN_SAMPLES / 2 or not seen["watched"]:
            return ()
        shares: dict[tuple[str, str], float] = {}
        for _, place, _, held, _, _ in seen["lines"]:
            if place is not None and not place[0].startswith(OURS):
                line = Line(*place)
                key = str(line), line.function
                shares[key] = shares.get(key, 0.0) + held / seen["watched"]
        longest = sorted(shares.items(), key=lambda entry: -entry[1])[:MOST_LINES]
        return tuple(HeldAt(*key, share) for key, share in longest if share >= PARTLY)

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
            beside = self.watched(seconds, None).time
        finally:
            stop.set()
            thread.join()
        return max(0.0, (beside - alone) / hand_overs)


def _concluded(
    name: str,
    held: _Watch,
    shape: _Watch,
    stalls: _Watch,
    reacquire: float,
    lets_others_in: Callable[[], bool | None],
    waits: tuple[float, float] = NOT_SEEN,
) -> Probe:
    counts = held.counts
    assert counts is not None  # noqa: S101  # for the type checker: both watches had a sampler
    assert shape.counts is not None  # noqa: S101
    result = Probe(
        name=name,
        calls=held.calls,
        time=held.time,
        held=UNKNOWN,
        others=math.nan,
        longest_hold=math.nan,
        hand_overs=math.nan,
        stall=_stall(stalls.waits),
        usable=math.nan,
        reacquire=math.nan,
        verdict=_unseen(counts["samples"], held),
    )
    if held.lost > LOST or counts["samples"] < MIN_SAMPLES:
        return result
    share = ratio_of_sums(counts["segments"])
    width = BIAS + held.lost * UNSEEN
    releases = shape.counts["releases"] or [shape.counts["free"] / shape.calls]
    result = evolve(
        result,
        held=Estimate(
            min(1.0, max(0.0, share.value)), max(0.0, share.low - width), min(1.0, share.high + width), share.n
        ),
        others=counts["other"] / held.seen,
        longest_hold=min(shape.counts["longest_hold"], shape.time),
        hand_overs=shape.hand_overs,
        usable=usable(releases) if shape.lost <= LOST else math.nan,
        reacquire=reacquire,
        waited=waits[0],
        stopped=waits[1],
    )
    return evolve(result, verdict=judge_probe(result, lets_others_in))


def _stall(waits: Sequence[float]) -> Stall:
    if not waits:
        return Stall(math.nan, math.nan, math.nan, 0)
    ordered = sorted(waits)
    n = len(ordered)
    return Stall(ordered[(n - 1) // 2], ordered[math.ceil(0.99 * n) - 1], ordered[-1], n)


def _unseen(samples: int, held: _Watch) -> Verdict:
    if held.lost > LOST:
        return Verdict("starved", f"the sampler had no core for {held.lost:.0%} of the time: other work had the CPUs")
    took = held.calls * held.time
    return Verdict("too short to say", f"{samples} looks in {took * 1e3:.1f} ms: a longer budget would give more")


def _lets_others_in(call: _Call, length: float) -> bool | None:
    """Tell whether a call of `length` seconds that holds the lock hands it over before it is done.

    A thread that asks gets the lock one switch interval later if the call yields, and at its end if it blocks.
    The interval is made shorter meanwhile, since the call may not be many intervals long. None: too few asked in time,
    or some got it and some did not.
    """
    if length < SHORT:
        return None
    with switch_interval(min(sys.getswitchinterval(), length / 20)):
        inside = call.handed_over_inside(min(1.0, max(0.1, 4 * FEW_WAITS * length)))
    share = sum(inside) / max(1, len(inside))
    if len(inside) < FEW_WAITS or MIXED < share < 1 - MIXED:
        return None
    return share >= 1 - MIXED


@contextlib.contextmanager
def switch_interval(seconds: float) -> Iterator[None]:
    """Set the interpreter's switch interval for a while."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(max(seconds, 1e-6))
    try:
        yield
    finally:
        sys.setswitchinterval(before)
