"""The share of the time for which the GIL is held, during an untimed run."""

from __future__ import annotations

import contextlib

from gilcmp.measure.machine import gil_enabled
from gilcmp.watch import _gil

PACE = 50e-6  # seconds between two looks: a sampler that sleeps takes no core from what it watches
LOOKS = 100  # fewer say nothing
LONGEST = 10.0  # seconds


class GilHeld:
    """Watches the GIL during a block, if there is one and it is to be watched.

    Attributes
    ----------
    share : float or None
        Share of the block's time for which some thread held it; None where too little was seen, or it
        cannot be watched.
    """

    def __init__(self, *, watch: bool) -> None:
        self._watch = watch and gil_enabled()
        self._sampler: _gil.Sampler | None = None
        self.share: float | None = None

    def __enter__(self) -> GilHeld:
        if self._watch:
            # the GIL cannot be watched here, or no thread can be started: the cell is measured anyway
            with contextlib.suppress(RuntimeError, MemoryError):
                self._sampler = _gil.Sampler(PACE, LONGEST)
        return self

    def __exit__(self, *error: object) -> None:
        counts = self._sampler.stop() if self._sampler is not None else None
        if counts is None:
            return
        held = counts["held"] + counts["other"]
        seen = held + counts["free"]
        if counts["samples"] >= LOOKS and seen > counts["dropped"]:
            self.share = held / seen
