"""Figures of a monitor for OpenTelemetry: needs what the extra ``gilcmp[opentelemetry]`` brings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from gilcmp.monitoring.figures import Figures

if TYPE_CHECKING:
    from gilcmp.monitoring.monitor import Monitor

try:
    from opentelemetry import metrics
except ImportError as error:
    raise ImportError(
        "this needs what the extra gilcmp[opentelemetry] brings: pip install opentelemetry-api"
    ) from error

Value = Callable[[Figures], float | None]

#: Name, unit and meaning of each counter, and where it comes from; None: there is no such figure here.
COUNTERS: tuple[tuple[str, str, str, Value], ...] = (
    ("held", "s", "Time for which the GIL was held; without a GIL: threads were attached", lambda seen: seen.held),
    ("waited", "s", "Time for which threads waited for the GIL, together", lambda seen: seen.waited),
    ("watched", "s", "Time for which the GIL was watched", lambda seen: seen.watched),
    ("run_delay", "s", "Time for which threads were ready to run and had no CPU", lambda seen: seen.run_delay),
    ("hand_overs", "{hand-over}", "How often the GIL went from thread to thread", lambda seen: seen.hand_overs),
    ("long_holds", "{hold}", "Holds of at least 20 ms", lambda seen: seen.holds.n),
    ("long_waits", "{wait}", "Waits of at least 20 ms", lambda seen: seen.waits.n),
    ("stopped", "s", "Time for which the whole world was stopped", lambda seen: None if seen.gil else seen.stopped),
    ("pauses", "{pause}", "Pauses of the whole world that were seen", lambda seen: None if seen.gil else seen.pauses),
    ("lock_wait", "s", "Time asleep until a lock was got", lambda seen: None if seen.gil else seen.asleep),
)


def instrument(monitor: Monitor, provider: Any = None) -> None:
    """Make observable instruments ``cpython.gil.*`` of a running monitor.

    Parameters
    ----------
    monitor : Monitor
        One that has been started.
    provider : opentelemetry.metrics.MeterProvider, optional
        By default the global one.
    """
    meter = metrics.get_meter("gilcmp", meter_provider=provider)
    for name, unit, text, value in COUNTERS:
        meter.create_observable_counter(f"cpython.gil.{name}", [_callback(monitor, value)], unit=unit, description=text)

    def longest(_: Any) -> Iterable[Any]:
        yield metrics.Observation(monitor.longest_hold)

    meter.create_observable_gauge(
        "cpython.gil.longest_hold", [longest], unit="s", description="Longest hold since it was last read"
    )


def _callback(monitor: Monitor, value: Value) -> Callable[[Any], Iterable[Any]]:
    def observe(_: Any) -> Iterable[Any]:
        observed = value(monitor.read())
        if observed is not None:
            yield metrics.Observation(observed)

    return observe
