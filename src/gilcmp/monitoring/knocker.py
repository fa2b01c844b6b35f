"""A monitor with the interface of gilknocker, for programs that have one built in."""

from __future__ import annotations

from gilcmp.monitoring.monitor import Monitor, monitor


class KnockKnock:
    """What gilknocker's ``KnockKnock`` offers, from what the lock shows instead of from asking for it.

    Parameters
    ----------
    polling_interval_micros, sampling_interval_micros, sleeping_interval_micros, timeout_micros : int or None
        Taken and not used: nothing is asked for, and the pace is chosen to take less than 0.5 % of a CPU.
    """

    def __init__(
        self,
        polling_interval_micros: int | None = None,
        sampling_interval_micros: int | None = None,
        sleeping_interval_micros: int | None = None,
        timeout_micros: int | None = None,
    ) -> None:
        self._monitor: Monitor = monitor()
        self._since = (0.0, 0.0)  # held and watched when it was last reset

    def start(self) -> None:
        """Begin to watch."""
        self._monitor.start()
        self._since = (0.0, 0.0)

    def stop(self) -> None:
        """Stop; the metric can still be read."""
        self._monitor.stop()

    @property
    def is_running(self) -> bool:
        """Whether it watches."""
        return self._monitor.is_running

    @property
    def contention_metric(self) -> float:
        """Share of the time since the last reset for which the GIL was held, from 0 to 1.

        On free-threaded builds the threads that were attached on average, at most 1.
        """
        seen = self._monitor.read()
        if seen.watched < self._since[1]:  # in a child of fork the counters begin anew
            self._since = (0.0, 0.0)
        held, watched = seen.held - self._since[0], seen.watched - self._since[1]
        return min(1.0, held / watched) if watched > 0 else 0.0

    def reset_contention_metric(self) -> None:
        """Begin the share anew."""
        seen = self._monitor.read()
        self._since = (seen.held, seen.watched)
