"""Who held the GIL and who waited for it, or for the locks of objects, during an untimed run."""

from __future__ import annotations

import contextlib
from collections.abc import Collection

from attrs import frozen

from gilcmp.measure.machine import gil_enabled
from gilcmp.watch import _gil
from gilcmp.watch.waits import LIBRARY, read

PACE = 50e-6  # seconds between two looks: a recorder that sleeps takes no core from what it watches
LOOKS = 100  # fewer say nothing
LOCKS_PACE = 200e-6  # a look at all threads takes longer than one at the GIL
KEPT = 1  # spans: only the sums are wanted
WAITS = 1  # of what a thread does: gilcmp_doing in watch/recorder.h


@frozen
class LockWaits:
    """What threads without a GIL waited for: shares of their time, at least, and what most of it was for."""

    share: float
    stopped: float
    at: str


class GilUse:
    """Watches the GIL during a block, or where there is none the locks of objects, if it is to be watched.

    Attributes
    ----------
    held : float or None
        Share of the block's time for which some thread held it; None where too little was seen, or it cannot be
        watched.
    """

    def __init__(self, *, watch: bool) -> None:
        self._watch = watch
        self._recorder: _gil.Recorder | None = None
        self._locks: _gil.Contention | None = None
        self._waits: _gil.SeenContention | None = None
        self._seen: _gil.Recording | None = None
        self.held: float | None = None

    def __enter__(self) -> GilUse:
        if self._watch:
            # the GIL cannot be watched here, or no thread can be started: the cell is measured anyway
            with contextlib.suppress(RuntimeError, MemoryError):
                if gil_enabled():
                    self._recorder = _gil.Recorder(PACE, KEPT)
                else:
                    self._locks = _gil.Contention(LOCKS_PACE, LIBRARY.encode(), without_caller=True)
        return self

    def __exit__(self, *error: object) -> None:
        waits = self._locks.stop() if self._locks is not None else None
        if waits is not None and waits["looks"] >= LOOKS / 2 and waits["watched"] > waits["unseen"]:
            self._waits = waits
        seen = self._recorder.stop() if self._recorder is not None else None
        if seen is not None and seen["looks"] >= LOOKS and seen["watched"] > seen["unseen"]:
            self._seen = seen
            self.held = 1 - seen["free"] / seen["watched"]

    def waited(self, threads: Collection[int]) -> float | None:
        """Return the seconds for which these threads waited for it; None where that was not seen.

        Parameters
        ----------
        threads : collection of int
            Their `threading.get_ident`.
        """
        if self._seen is None or not self._seen["tells_waits"]:
            return None
        return sum(thread["spent"][WAITS] for thread in self._seen["threads"] if thread["ident"] in threads) / 1e9

    def lock_waits(self, threads: Collection[int]) -> LockWaits | None:
        """Return what these threads waited for where there is no GIL; None where that was not seen.

        Parameters
        ----------
        threads : collection of int
            Their `threading.get_ident`.
        """
        if self._waits is None or not self._waits["tells_locks"]:
            return None
        native = {thread["native_id"] for thread in self._waits["threads"] if thread["ident"] in threads}
        seen = read(self._waits, native)
        total = seen.times.total
        if not total:
            return None
        worst = max(seen.waits, key=lambda wait: wait.spinning + wait.parked, default=None)
        at = "" if worst is None else f"{worst.type or 'an unknown object'} at {worst.line or 'an unknown line'}"
        share = (seen.times.spinning + seen.times.parked) / total
        return LockWaits(min(1.0, share), min(1.0, seen.times.stopped / total), at[:200])
