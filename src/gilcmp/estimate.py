"""Numbers with their uncertainty: medians with bootstrap intervals, ratios, the serial fraction."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from functools import lru_cache

from attrs import frozen

CONFIDENCE = 0.95
RESAMPLES = 1000


@frozen
class Estimate:
    """A number with its 95 % confidence interval; ``float()`` of it is the value.

    Attributes
    ----------
    value : float
        The estimate; NaN where nothing usable was measured.
    low, high : float
        The interval; NaN where fewer than two values were measured.
    n : int
        How many rounds it rests on.
    """

    value: float
    low: float
    high: float
    n: int

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"

    def scaled(self, factor: float) -> Estimate:
        """Return the estimate of `factor` times the quantity; `factor` is positive."""
        return Estimate(self.value * factor, self.low * factor, self.high * factor, self.n)


@lru_cache(maxsize=1024)
def _interval_places(n: int) -> tuple[int, int]:
    """Places, in a sorted sample of `n`, of the ends of the bootstrap interval of its median.

    The bootstrap distribution of a median is known without drawing samples: the r-th smallest of n values
    drawn with replacement is at most the k-th smallest of the sample when at least r draws fall on the first
    k values, a binomial probability (Efron, The Jackknife, the Bootstrap and Other Resampling Plans, 1982,
    10.2; Maritz and Jarrett, JASA 73, 1978). For even n the lower end is taken from the lower of the two
    middle values and the upper end from the upper one, which can only widen the interval.
    """

    def quantile(r: int, probability: float) -> int:
        for k in range(1, n + 1):
            p = k / n
            at_least = sum(math.comb(n, j) * p**j * (1 - p) ** (n - j) for j in range(r, n + 1))
            if at_least >= probability - 1e-12:
                return k - 1
        return n - 1

    tail = (1 - CONFIDENCE) / 2
    return quantile((n + 1) // 2, tail), quantile(n // 2 + 1, 1 - tail)


def middle(values: Sequence[float]) -> float:
    """Return the median of at least one value.

    The module `statistics` has this as well, with `decimal` in its train, which interpreters of their own up to
    3.12 do not survive.
    """
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def median(values: Sequence[float]) -> Estimate:
    """Estimate the median, with its bootstrap interval; without values it is NaN."""
    if not values:
        return Estimate(math.nan, math.nan, math.nan, 0)
    ordered = sorted(values)
    n = len(ordered)
    if n == 1:
        return Estimate(ordered[0], math.nan, math.nan, 1)
    low, high = _interval_places(n)
    return Estimate(middle(ordered), ordered[low], ordered[high], n)


def ratio_of_sums(parts: Sequence[tuple[float, float]]) -> Estimate:
    """Estimate sum(a) / sum(b) over pairs (a, b), with the bootstrap interval of drawing the pairs anew.

    Efron, Tibshirani: An Introduction to the Bootstrap, 1993, 13.3 (percentile interval); the seed is fixed, so
    that the same figures give the same interval.
    """
    whole = sum(b for _, b in parts)
    if not whole:
        return Estimate(math.nan, math.nan, math.nan, 0)
    value = sum(a for a, _ in parts) / whole
    numbers = random.Random(0)
    drawn = []
    for _ in range(RESAMPLES):
        again = numbers.choices(parts, k=len(parts))
        drawn.append(sum(a for a, _ in again) / (sum(b for _, b in again) or math.inf))
    drawn.sort()
    tail = round(RESAMPLES * (1 - CONFIDENCE) / 2)
    return Estimate(value, min(drawn[tail], value), max(drawn[-tail - 1], value), len(parts))


def serial_fraction(speedup: float, workers: int) -> float:
    """Share of the work that behaved as if it could not be done in parallel.

    Karp and Flatt, Measuring parallel processor performance, CACM 33 (5), 1990: the metric e.

    Parameters
    ----------
    speedup : float
        The measured speed-up.
    workers : int
        How many workers could really run at once, at least 2.
    """
    if workers < 2:
        raise ValueError(f"workers must be at least 2, got {workers}")
    return (1 / speedup - 1 / workers) / (1 - 1 / workers)
