"""Who held the GIL and who waited for it, during an untimed run."""

from __future__ import annotations

import contextlib
from collections.abc import Collection

from gilcmp.measure.machine import gil_enabled
from gilcmp.watch import _gil

PACE = 50e-6  # seconds between two looks: a recorder that sleeps takes no core from what it watches
LOOKS = 100  # fewer say nothing
KEPT = 1  # spans: only the sums are wanted
WAITS = 1  # of what a thread does: gilcmp_doing in watch/recorder.h


class GilUse:
    """Watches the GIL during a block, if there is one and it is to be watched.

    Attributes
    ----------
    held : float or None
        Share of the block's time for which some thread held it; None where too little was seen, or it cannot be
        watched.
    """

    def __init__(self, *, watch: bool) -> None:
        self._watch = watch and gil_enabled()
        self._recorder: _gil.Recorder | None = None
        self._seen: _gil.Recording | None = None
        self.held: float | None = None

    def __enter__(self) -> GilUse:
        if self._watch:
            # the GIL cannot be watched here, or no thread can be started: the cell is measured anyway
            with contextlib.suppress(RuntimeError, MemoryError):
                self._recorder = _gil.Recorder(PACE, KEPT)
        return self

    def __exit__(self, *error: object) -> None:
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
