"""For test suites: ground truth about the GIL, and assertions that a call releases it.

On a machine that is too busy to say, the assertions try again and then skip the test with the reason (pytest and
unittest both know `unittest.SkipTest`) rather than fail falsely.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import SkipTest

from gilcmp.measure.clocks import mark, measured
from gilcmp.measure.machine import gil_enabled
from gilcmp.probing.probe import BIAS, LOST, MIN_SAMPLES, best_pace, probe
from gilcmp.probing.probe_result import Probe
from gilcmp.watch._gil import Sampler, hold_gil, now, release_gil

__all__ = ["Watched", "assert_max_stall", "assert_releases_gil", "hold_gil", "release_gil"]

TRIES = 3


def assert_releases_gil(
    func: Callable[..., Any], /, *args: Any, at_least: float = 0.9, budget: float = 0.5, **kwargs: Any
) -> Probe:
    """Assert that a call has the GIL released for a share of its time.

    Parameters
    ----------
    func : callable
        What to call, with the other arguments.
    at_least : float
        The share of the call's time, 0 to 1. It counts as reached unless the measured interval lies below.
    budget : float
        Seconds of a try.

    Returns
    -------
    Probe
        What was measured.

    Raises
    ------
    AssertionError
        With the measured figures.
    unittest.SkipTest
        Where the machine was too busy to say, three times over.
    """
    if not 0 <= at_least <= 1:
        raise ValueError(f"at_least must be from 0 to 1, got {at_least}")
    result = decided(func, args, kwargs, budget)
    if gil_enabled() and 1 - result.held.low < at_least:
        raise AssertionError(
            f"{result.name} released the GIL for {1 - result.held.value:.1%} of its time "
            f"(at most {1 - result.held.low:.1%}), it should for at least {at_least:.0%}\n{result}"
        )
    return result


def assert_max_stall(
    func: Callable[..., Any], /, *args: Any, seconds: float, budget: float = 0.5, **kwargs: Any
) -> Probe:
    """Assert that no thread that asks for the GIL during a call waits longer than `seconds`.

    The 99th percentile of the waits counts: the longest one may be the machine's. Arguments and errors are
    those of `assert_releases_gil`.
    """
    if not seconds > 0:
        raise ValueError(f"seconds must be above 0, got {seconds}")
    for _ in range(TRIES):
        result = decided(func, args, kwargs, budget)
        if result.stall.p99 <= seconds:
            return result
    if not result.stall.n:
        raise SkipTest(f"cannot tell how long {result.name} makes others wait: nobody asked for the GIL during it")
    raise AssertionError(
        f"{result.name} made others wait {result.stall.p99:.6f} s for the GIL (99th percentile of "
        f"{result.stall.n} waits), it should be at most {seconds} s\n{result}"
    )


def _nothing(task: None) -> None:
    """Do nothing: only the clocks are read."""


class Watched:
    """Watches the calling thread while a block runs once, such as the body of a test."""

    def __enter__(self) -> Watched:
        self._sampler = Sampler(best_pace(), 60.0)
        mark()
        self._began = now()
        return self

    def __exit__(self, *error: object) -> None:
        # time waiting for a core says nothing about the block, whatever the lock's state meanwhile
        delay = measured(_nothing, None).run_delay or 0
        self._waited = delay / max(now() - self._began, 1)
        self.counts = self._sampler.stop()

    def require(self, at_least: float, name: str) -> None:
        """Raise AssertionError unless the GIL was released for that share of the block's time."""
        counts = self.counts
        if counts is None or not gil_enabled():  # forked away from the sampler, or nothing to hold
            return
        seen = counts["held"] + counts["other"] + counts["free"]
        unseen = counts["dropped"] > LOST * (seen + counts["dropped"])
        if counts["samples"] < MIN_SAMPLES or unseen or self._waited > LOST:
            raise SkipTest(
                f"cannot tell whether {name} releases the GIL: {counts['samples']} looks in {seen * 1e3:.1f} ms, "
                f"{counts['dropped'] * 1e3:.1f} ms unseen"
            )
        released = 1 - counts["held"] / seen
        if released + BIAS < at_least:
            raise AssertionError(
                f"{name} released the GIL for {released:.1%} of its {seen * 1e3:.1f} ms, it should for at least "
                f"{at_least:.0%} (longest hold: {counts['longest_hold'] * 1e3:.2f} ms)"
            )


def decided(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], budget: float) -> Probe:
    """Probe until the machine is not too busy to say, or skip the test after three tries."""
    for _ in range(TRIES):
        result = probe(func, *args, budget=budget, **kwargs)
        if result.verdict not in ("starved", "too short to say"):
            return result
    raise SkipTest(f"cannot tell whether {result.name} releases the GIL: {result.verdict.reason}")
