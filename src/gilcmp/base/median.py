"""The median."""

from __future__ import annotations

from collections.abc import Sequence


def middle(values: Sequence[float]) -> float:
    """Return the median of at least one value.

    The module `statistics` has this as well, but it imports `decimal`, which crashes subinterpreters up to 3.12.
    """
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
