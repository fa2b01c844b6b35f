"""The threshold: from which size of a call releasing the GIL pays, and from which size threads do."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar, TypeAlias

from attrs import asdict, evolve, frozen

from gilcmp.base.checks import Duration, duration, integer
from gilcmp.compute.kernel import Kernel
from gilcmp.compute.registry import kernels
from gilcmp.judge.charts import PALETTE
from gilcmp.judge.comparison import Comparison
from gilcmp.judge.crossing import crossing
from gilcmp.judge.estimate import UNKNOWN, Estimate, median
from gilcmp.judge.verdict import Situation, judge
from gilcmp.measure.compare import compare
from gilcmp.measure.session import Progress
from gilcmp.probing.probe import probe
from gilcmp.saved.kept import Kept, flat
from gilcmp.show import words
from gilcmp.show.model import Axis, Chart, Curve, Section, Stretch, Table, columns, pairs, section
from gilcmp.show.views import Drawn
from gilcmp.watch import _gil

OfSize: TypeAlias = Callable[[int], object]

DECADES = 5.0  # of time per call, from the shortest call to the longest
LONGEST = 1 / 1200  # of the budget: a longer call would not get the six rounds that an interval needs
STEPS_PER_DECADE = 2
TASK = 2e-3  # seconds of a task: so many calls of a size go into one
TYPICAL = 200e-6  # seconds of the call that is probed: long enough for others to get in, short enough to be repeated
CHEAP = 0.05  # share of a call's time that a release may cost to be called cheap


@frozen
class Point:
    """One size: seconds of a call that holds the GIL, the release's share of it, and the speed-up in threads.

    `speedup` is the time of the holding call, done serially, over that of the releasing one in threads.
    """

    size: int
    time: Estimate
    overhead: Estimate
    speedup: Estimate


@frozen
class Threshold(Kept, Drawn):
    """From which size on a release of the GIL pays.

    Attributes
    ----------
    name : str
        What was called.
    workers : int
        Threads that were compared with one.
    release_cost : Estimate
        Seconds that releasing the GIL and taking it again costs an uncontended call.
    reacquire : float
        Seconds it takes to get the lock back beside a busy Python thread; NaN where that was not to be seen (on
        free-threaded builds there is nothing to get back).
    parallel_from : Estimate
        Size from which on the threads beat one thread, with the sizes measured that surely lie below and above it; NaN
        where they do not surely do so at the largest size.
    cheap_from : Estimate
        Size from which on the release costs less than 5 % of a call.
    points : tuple of Point
        What was measured, by rising size.
    reason : str
        Why `parallel_from` is unknown; empty where it is known.
    """

    FORMAT: ClassVar[str] = "gilcmp threshold"

    name: str
    workers: int
    release_cost: Estimate
    reacquire: float
    parallel_from: Estimate
    cheap_from: Estimate
    points: tuple[Point, ...]
    reason: str

    @property
    def findings(self) -> list[str]:
        """What was found, in a sentence."""
        if math.isnan(self.parallel_from.value):
            return [f"{self.name}: {self.reason}."]
        start = self.parallel_from
        if start.low <= self.points[0].size and start.high >= self.points[-1].size:  # anywhere
            return [
                f"{self.name}: from which size on {self.workers} threads beat one is open: a longer budget may tell."
            ]
        return [f"{self.name}: {self.workers} threads beat one {size_range(start)}."]

    def records(self) -> list[dict[str, object]]:
        """Return its sizes."""
        return [flat(asdict(point)) for point in self.points]

    def sections(self) -> list[Section]:
        """Return what is shown of it: the answers, then the sizes."""
        answers = section("", *self.findings, *([pairs(self._answers().items())] if self.points else []))
        return [answers, section("", self._points())] if self.points else [answers]

    def charts(self) -> list[Chart]:
        """Return its charts, by size of a call: the speed-up in threads, and the share that a release costs."""
        return [self._speedup_chart(), self._cost_chart()] if self.points else []

    def _answers(self) -> dict[str, str]:
        cost = self.release_cost
        answers = {}
        if not math.isnan(self.cheap_from.value):
            answers["a release costs under 5 %"] = size_range(self.cheap_from)
        if cost.value > 0:
            low = words.seconds(cost.low) if cost.low > 0 else "0"
            answers["a release, uncontended"] = f"{words.seconds(cost.value)} [{low}, {words.seconds(cost.high)}]"
        if not math.isnan(self.reacquire):
            answers["getting the lock back"] = f"{words.seconds(self.reacquire)} beside a busy Python thread"
        return answers

    def _points(self, title: str = "") -> Table:
        rows = tuple(
            (
                f"{point.size:,}",
                words.seconds(point.time.value),
                words.percent(point.overhead.value),
                words.estimate(point.speedup) + "x" * (not math.isnan(point.speedup.value)),
                words.bar(point.speedup.value, self.workers, 10 * self.workers),
            )
            for point in self.points
        )
        titles = columns(">size", ">time of a call", ">release costs", f">{self.workers} threads", "")
        return Table(titles, rows, title)

    def _speedup_chart(self) -> Chart:
        points = [point for point in self.points if point.speedup.n]
        ends = (float(points[0].size), float(points[-1].size)) if points else (1.0, 1.0)
        hints = (
            f"size {point.size:,}: {words.estimate(point.speedup)}, {words.seconds(point.time.value)} a call"
            for point in points
        )
        curve = _curve(points, [point.speedup for point in points], PALETTE[3], tuple(hints))
        return Chart(
            self.name,
            f"Line chart: speed-up of {self.workers} threads against the size of a call, from {ends[0]:,.0f} to "
            f"{ends[1]:,.0f}.",
            Axis("size of a call", log=True),
            Axis(f"speed-up of {self.workers} threads"),
            (Curve("", ends, (1.0, 1.0), dash="dotted"), curve, *_from(self.parallel_from)),
            table=self._points(self.name),
            legend=False,
            width=6.4,
        )

    def _cost_chart(self) -> Chart:
        sizes = (float(self.points[0].size), float(self.points[-1].size)) if self.points else (1.0, 1.0)
        curve = _curve(self.points, [point.overhead.scaled(100) for point in self.points], PALETTE[2], ())
        return Chart(
            "What a release costs",
            "Line chart: the share of a call's time that a release of the GIL takes, against the size of the call.",
            Axis("size of a call", log=True),
            Axis("a release costs, %"),
            (Curve("", sizes, (100 * CHEAP, 100 * CHEAP), dash="dotted"), curve, *_from(self.cheap_from)),
            legend=False,
            width=6.4,
            height=2.2,
        )


def size_range(start: Estimate) -> str:
    """Say from which size something holds: from size 6,826 [2,048, 8,192]."""
    value, low, high = ("-" if math.isnan(end) else f"{end:,.0f}" for end in (start.value, start.low, start.high))
    return f"from size {value} [{low}, {high}]"


def _curve(points: Sequence[Point], values: Sequence[Estimate], colour: str, hints: tuple[str, ...]) -> Curve:
    sizes = tuple(float(point.size) for point in points)
    y, low, high = (tuple(getattr(value, name) for value in values) for name in ("value", "low", "high"))
    return Curve("", sizes, y, colour, low, high, "o", hints=hints)


def _from(size: Estimate) -> list[Stretch]:
    return [Stretch(size.value, note=f"from {size.value:,.0f}")] if math.isfinite(size.value) else []


def threshold(
    work: str | Kernel | OfSize,
    *,
    holds: OfSize | None = None,
    workers: int = 2,
    budget: Duration = 12.0,
    progress: Callable[[Progress], None] | None = None,
) -> Threshold:
    """Find the size of a call from which releasing the GIL pays.

    First the probe is asked whether a call of middling size releases it at all. If it does not, that is the answer.

    Parameters
    ----------
    work : str, Kernel or callable
        A kernel, whose `cython_gil` and `cython_nogil` are compared, or ``work(size)``, which releases the GIL.
        Its time must grow with the size.
    holds : callable, optional
        ``holds(size)`` does the same and keeps the GIL. Without it, `work` itself, done serially, is what threads
        are compared with, and the cost of a release is that of an empty one.
    workers : int
        How many threads, at least 2.
    budget : float
        Seconds that it takes, about.
    progress : callable, optional
        Called before each size.

    Returns
    -------
    Threshold
        The figures; printing it shows them.

    Raises
    ------
    TypeError, ValueError
        For arguments that are not allowed, or a call whose time does not grow with its size.
    KeyboardInterrupt
        Its attribute `threshold` holds what was done until then.
    """
    workers = integer("workers", workers, 2, 4096)
    budget = duration("budget", budget, 0.5, 1e5)
    name, make_release, make_hold, most = _calls(work, holds)
    points: list[Point] = []
    release = UNKNOWN
    reason = ""
    reacquire = math.nan
    try:
        times = _sizes(make_hold, most, budget * LONGEST)
        sizes = list(times)
        typical = min(times, key=lambda size: abs(math.log(times[size] / TYPICAL)))
        probed = probe(make_release(typical), budget=max(0.3, 0.1 * budget))
        if probed.verdict.word.startswith("holds"):
            held = f"it holds the GIL for {probed.held.value:.0%} of a call of size {typical:,}: {probed.verdict.word}"
            return Threshold(name, workers, release, reacquire, UNKNOWN, UNKNOWN, (), held)
        reacquire = probed.reacquire
        if holds is None and not isinstance(work, str | Kernel):  # nothing that could be subtracted
            release = _cost(partial(_gil.hold_gil, 0), partial(_gil.release_gil, 0))
        else:
            release = _cost(make_hold(sizes[0]), make_release(sizes[0]))
        for number, size in enumerate(sizes):
            if progress is not None:
                progress(Progress(f"{name}, size {size:,}", number / len(sizes), budget * (1 - number / len(sizes))))
            compared = _compared(make_hold(size), make_release(size), workers, 0.8 * budget / len(sizes))
            point, why = _point(size, *compared, workers)
            reason = why or reason
            points.append(point)
    except KeyboardInterrupt as error:  # what was measured is kept
        done = "interrupted before the largest size" if points else "interrupted before the first size was done"
        error.threshold = Threshold(  # type: ignore[attr-defined]
            name, workers, release, reacquire, UNKNOWN, _cheap_from(points, release), tuple(points), done
        )
        raise
    parallel = crossing([(p.size, p.speedup) for p in points])
    if not math.isfinite(parallel.high):
        reason = _why_unknown(points, workers, reason)
        parallel = UNKNOWN
    else:
        reason = ""
    cheap = _cheap_from(points, release)
    return Threshold(name, workers, release, reacquire, parallel, cheap, tuple(points), reason)


def _calls(
    work: Any, holds: Any
) -> tuple[str, Callable[[int], Callable[[], object]], Callable[[int], Callable[[], object]], int]:
    """Return the name, two makers of calls (one that releases, one that holds), and the largest size."""
    if isinstance(work, str):
        if work not in kernels:
            raise ValueError(f"work must be one of {', '.join(kernels)} or callable, got {work!r}")
        work = kernels[work]
    if isinstance(work, Kernel):
        if holds is not None:
            raise ValueError("holds is for functions: a kernel brings its own")
        if "cython_nogil" not in work.implementations:
            raise ValueError(f"kernel {work.name!r} waits instead of computing: it has nothing to release")
        return (
            work.name,
            partial(work.prepared, "cython_nogil"),
            partial(work.prepared, "cython_gil"),
            min(work.largest, 2**31),
        )
    for name, function in (("work", work), ("holds", holds)):
        if not callable(function) and not (name == "holds" and function is None):
            raise TypeError(f"{name} must be callable with a size, got {type(function).__name__}")
    title = getattr(work, "__name__", type(work).__name__)
    return title, lambda size: partial(work, size), lambda size: partial(holds or work, size), 2**40


def _time(call: Callable[[], object]) -> float:
    """Seconds of a call, roughly: the shortest of three looks of at most 2 ms."""
    looks = (_gil.call_for(call, (), {}, TASK, 10_000) for _ in range(3))
    return min(took / calls for calls, took in looks)


def _sizes(make: Callable[[int], Callable[[], object]], most: int, longest: float) -> dict[int, float]:
    """Return sizes from 1 on, with the seconds of a call, evenly spaced in their logarithm, up to `longest` seconds."""
    size = 1
    shortest = before = _time(make(1))
    taken = {1: shortest}
    while size < most and before < shortest * 10**DECADES:
        size = min(most, size * 2)
        now = _time(make(size))
        if now > longest and len(taken) > 1:
            break
        if now >= before * 10 ** (1 / STEPS_PER_DECADE) * 0.8:
            taken[size] = before = now
        elif size >= 2**30 and now < 2 * shortest:
            raise ValueError("the time of a call must grow with its size: from 1 to 2**30 it did not double")
    return taken


def _compared(
    hold: Callable[[], object], release: Callable[[], object], workers: int, budget: float
) -> tuple[Comparison, int]:
    """Compare one size: tasks of enough calls that the cost of handing them over does not matter."""
    calls = max(1, round(TASK / max(_time(hold), 1e-9)))
    comparison = compare(
        {"holds": partial(_again, hold, calls), "releases": partial(_again, release, calls)},
        tasks=4 * workers if calls > 1 else 2 * workers,
        strategies="threads",
        workers=workers,
        budget=budget,
    )
    return comparison, calls


def _again(call: Callable[[], object], calls: int) -> None:
    for _ in range(calls):
        call()


def _point(size: int, comparison: Comparison, calls: int, workers: int) -> tuple[Point, str]:
    """Return what was found at a size, and why it is uncertain."""
    holding, releasing = comparison["holds", "serial"], comparison["releases", "serial"]
    threads = comparison["releases", "threads"]
    partners = {seen.round: seen.wall for seen in releasing.rounds}
    done = holding.record.work * calls
    pairs = [(seen.wall, partners[seen.round]) for seen in holding.rounds if seen.round in partners]
    environment = comparison.environment
    situation = Situation(workers, environment.cpus, shares_gil=False, unit="threads")
    # against the serial call that holds, not the one that releases
    against = {seen.round: seen.wall / partners[seen.round] for seen in holding.rounds if seen.round in partners}
    rounds = [
        evolve(seen, serial=None if seen.serial is None else seen.serial * against[seen.round])
        for seen in threads.rounds
        if seen.round in against
    ]
    judgement = judge(rounds, holding.rounds, situation)
    starved = judgement.verdict.word == "starved"
    point = Point(
        size,
        median([one / done for one, _ in pairs]),
        median([other / one - 1 for one, other in pairs]),
        judgement.speedup if not starved else UNKNOWN,
    )
    return point, judgement.verdict.reason if starved else ""


def _why_unknown(points: Sequence[Point], workers: int, starved: str = "") -> str:
    known = [point for point in points if not math.isnan(point.speedup.low)]
    if not known:
        return starved or "open: no size had rounds enough for an interval"
    largest = known[-1].speedup
    if known[-1] is not points[-1]:
        return f"open: no size above {known[-1].size:,} had rounds enough for an interval"
    if largest.high > 1:
        return f"open: {workers} threads made {largest}x at the largest size"
    return f"{workers} threads were not faster than one at the largest size: {largest}x"


def _cost(hold: Callable[[], object], release: Callable[[], object], rounds: int = 61) -> Estimate:
    """Seconds that one call takes longer than another, uncontended, from alternating runs of 2 ms."""
    calls = max(1, round(TASK / max(_time(hold), 1e-9)))

    def stroke(call: Callable[[], object]) -> float:
        return _gil.call_for(call, (), {}, 60.0, calls)[1] / calls

    differences = []
    for _ in range(rounds):
        before, between, after = stroke(hold), stroke(release), stroke(hold)
        differences.append(between - (before + after) / 2)
    return median(differences)


def _cheap_from(points: Sequence[Point], release: Estimate) -> Estimate:
    """Return the size whose call takes 1 / `CHEAP` times as long as a release costs."""

    def size_of(cost: float) -> float:
        wanted = cost / CHEAP
        for small, large in pairwise(points):
            if small.time.value < wanted <= large.time.value:
                share = math.log(wanted / small.time.value) / math.log(large.time.value / small.time.value)
                return float(small.size * (large.size / small.size) ** share)
        return float(points[0].size) if points and wanted <= points[0].time.value else math.nan

    ends = [value if not math.isnan(value) else release.value for value in (release.low, release.high)]
    return Estimate(size_of(release.value), size_of(ends[0]), size_of(ends[1]), release.n)
