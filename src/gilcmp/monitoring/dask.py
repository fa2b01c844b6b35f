"""Figures of each Dask worker's process, in the worker's metrics: needs what the extra ``gilcmp[dask]`` brings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gilcmp.monitoring.monitor import monitor

if TYPE_CHECKING:
    from gilcmp.monitoring.monitor import Monitor

try:
    from distributed import WorkerPlugin
except ImportError as error:
    raise ImportError("this needs what the extra gilcmp[dask] brings: pip install 'dask[distributed]'") from error


class GILMonitor(WorkerPlugin):
    """Watches the GIL in each worker: ``client.register_plugin(GILMonitor())``.

    The workers' metrics (``client.scheduler_info()["workers"][address]["metrics"]["gil"]``) then have, since the worker
    began: ``held`` and ``waited`` (seconds), ``held_share``, ``longest_hold`` (seconds, since the last heartbeat) and
    ``line``, where it was held longest.

    Parameters
    ----------
    **settings
        As for `gilcmp.monitor`.
    """

    name = "gilcmp"

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self._monitor: Monitor | None = None

    def setup(self, worker: Any) -> None:
        """Begin to watch, in the worker."""
        self._monitor = monitor(**self._settings).start()
        worker.metrics["gil"] = self._figures

    def teardown(self, worker: Any) -> None:
        """Stop."""
        worker.metrics.pop("gil", None)
        if self._monitor is not None:
            self._monitor.stop()

    def _figures(self, _: Any) -> dict[str, Any]:
        if self._monitor is None:
            return {}
        longest, seen = self._monitor.longest_hold, self._monitor.read()
        lines = [line.line for line in seen.lines if line.line is not None]
        return {
            "held": seen.held,
            "waited": seen.waited,
            "held_share": seen.held_share if seen.watched else 0.0,
            "longest_hold": longest,
            "line": f"{lines[0]} {lines[0].function}" if lines else "",
        }

    def __getstate__(self) -> dict[str, Any]:
        return {"_settings": self._settings, "_monitor": None}
