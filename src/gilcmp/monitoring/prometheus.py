"""Figures of a monitor for Prometheus: needs what the extra ``gilcmp[prometheus]`` brings."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gilcmp.monitoring.figures import Histogram

if TYPE_CHECKING:
    from gilcmp.monitoring.monitor import Monitor

try:
    from prometheus_client import core
except ImportError as error:
    raise ImportError("this needs what the extra gilcmp[prometheus] brings: pip install prometheus_client") from error


class GILCollector:
    """Shows a running monitor's counters to Prometheus: ``REGISTRY.register(GILCollector(monitor))``.

    Parameters
    ----------
    monitor : Monitor
        One that has been started.

    Notes ----- Counters, in seconds: ``cpython_gil_held_seconds_total``, ``…_waited_…``, ``…_watched_…``, and run
    delays where the system tells them; ``cpython_gil_hand_overs_total``. Histograms of holds and waits of at least 20
    ms: ``cpython_gil_long_hold_seconds`` and ``cpython_gil_long_wait_seconds``. A gauge,
    ``cpython_gil_longest_hold_seconds``, of the time since the last scrape. On free-threaded builds `held` is the time
    for which threads were attached, and pauses of the world and waits for locks are counted. The time held by line is
    left to `Monitor.read`: lines would be too many labels.
    """

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    def describe(self) -> list[Any]:
        """Return nothing: the names of metrics are known when they are collected."""
        return []

    def collect(self) -> Iterator[Any]:
        """Return the metrics as they are now."""
        longest, seen = self._monitor.longest_hold, self._monitor.read()
        counters: list[tuple[str, str, float | None]] = [
            (
                "held_seconds",
                "Time for which the GIL was held (without a GIL: threads were attached), in seconds",
                seen.held,
            ),
            ("waited_seconds", "Time for which threads waited for the GIL, together, in seconds", seen.waited),
            ("watched_seconds", "Time for which the GIL was watched, in seconds", seen.watched),
            (
                "run_delay_seconds",
                "Time for which threads were ready to run without a CPU, in seconds",
                seen.run_delay,
            ),
            ("hand_overs", "How often the GIL went from thread to thread", seen.hand_overs),
        ]
        if not seen.gil:
            counters += [
                ("stopped_seconds", "Time for which the whole world was stopped, in seconds", seen.stopped),
                ("pauses", "Pauses of the whole world that were seen", float(seen.pauses)),
                ("lock_wait_seconds", "Time for which threads slept until they got a lock, in seconds", seen.asleep),
            ]
        for name, text, value in counters:
            if value is not None:
                yield core.CounterMetricFamily(f"cpython_gil_{name}", text, value=value)
        yield core.GaugeMetricFamily(
            "cpython_gil_longest_hold_seconds",
            "Longest hold since the last scrape; 0: none of 20 ms",
            value=longest,
        )
        yield _histogram("long_hold", "Holds of the GIL of at least 20 ms", seen.holds)
        yield _histogram("long_wait", "Waits for the GIL of at least 20 ms", seen.waits)


def _histogram(name: str, text: str, seen: Histogram) -> Any:
    labels = [*(f"{bound:g}" for bound in seen.bounds), "+Inf"]
    buckets = list(zip(labels, itertools.accumulate(seen.counts), strict=True))
    return core.HistogramMetricFamily(f"cpython_gil_{name}_seconds", text, buckets=buckets, sum_value=seen.seconds)
