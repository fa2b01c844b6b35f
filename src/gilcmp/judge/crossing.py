"""Where a rising curve of estimates crosses 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise, takewhile

from gilcmp.judge.estimate import Estimate


def crossing(curve: Sequence[tuple[int, Estimate]]) -> Estimate:
    """Estimate the size above which a quantity that rises with the size exceeds 1.

    The value is where the isotonic regression of the logarithms crosses 0, interpolated between two sizes (Barlow,
    Bartholomew, Bremner, Brunk: Statistical Inference under Order Restrictions, 1972). The first or last crossing of
    the raw values would be off to one side, since any of several noisy values may cross.

    The interval goes from the largest size up to which all sizes lie below 1 with their whole interval, to the smallest
    from which on all lie above. Tests in a fixed order that end at the first one that fails need no correction for
    their number (Maurer, Hothorn, Lehmacher, in: Biometrie in der chemisch-pharmazeutischen Industrie 6, 1995).

    Parameters
    ----------
    curve : sequence of (int, Estimate)
        Sizes in rising order, with what was estimated at each; what has no interval is left out.

    Returns
    -------
    Estimate
        Value NaN where the fitted curve never lies above 1; high infinite where the largest size does not surely lie
        above.
    """
    known = [(size, estimate) for size, estimate in curve if not math.isnan(estimate.low)]
    below = list(takewhile(lambda point: point[1].high < 1, known))
    above = list(takewhile(lambda point: point[1].low > 1, reversed(known)))
    # sizes without an interval may lie on either side
    low = float(below[-1][0]) if below else float(curve[0][0]) if known else math.nan
    high = float(above[-1][0]) if above else math.inf
    return Estimate(_fitted_crossing(known), low, high, len(known))


def _fitted_crossing(known: Sequence[tuple[int, Estimate]]) -> float:
    fitted = isotonic([math.log(estimate.value) for _, estimate in known])
    sizes = [math.log(size) for size, _ in known]
    if not fitted or fitted[-1] <= 0:
        return math.nan
    for (small, before), (large, after) in pairwise(zip(sizes, fitted, strict=True)):
        if before <= 0 < after:
            return math.exp(small + (large - small) * -before / (after - before))
    return math.exp(sizes[0])


def isotonic(values: Sequence[float]) -> list[float]:
    """Return the least-squares rising fit to `values`: neighbours that decrease are pooled to their mean."""
    blocks: list[tuple[float, int]] = []  # mean and length
    for value in values:
        mean, length = value, 1
        while blocks and blocks[-1][0] >= mean:
            other, more = blocks.pop()
            mean = (mean * length + other * more) / (length + more)
            length += more
        blocks.append((mean, length))
    return [mean for mean, length in blocks for _ in range(length)]
