"""Numbers with their uncertainty: medians with their intervals, ratios, the serial fraction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

from attrs import frozen

from gilcmp.base.median import middle

CONFIDENCE = 0.95


@frozen
class Estimate:
    """A number with its 95 % confidence interval; ``float()`` of it is the value.

    Attributes
    ----------
    value : float
        The estimate; NaN where nothing usable was measured.
    low, high : float
        The interval; NaN where fewer than six values were measured.
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
        interval = "" if math.isnan(self.low) else f" [{self.low:.2f}, {self.high:.2f}]"
        return f"{self.value:.2f}{interval}"

    def scaled(self, factor: float) -> Estimate:
        """Return the estimate of `factor` times the quantity; `factor` is positive."""
        return Estimate(self.value * factor, self.low * factor, self.high * factor, self.n)


#: What was not measured
UNKNOWN = Estimate(math.nan, math.nan, math.nan, 0)
# Values from which on there is an interval: with 5, even the range holds the median in 93.8 % of cases.
FEWEST = 6
# Values up to which the binomial distribution is added up; beyond, the normal one is exact enough.
EXACT = 1000
# Most batches for the interval of a ratio: a pattern that repeats within a batch cancels out
BATCHES = 16


@lru_cache(maxsize=1024)
def interval_rank(n: int) -> int:
    """Rank r such that the r-th smallest and r-th largest of `n` values enclose the median in 95 % of cases or more.

    The number of values below the median has the binomial distribution of n coin tosses, whatever the values' own
    distribution, so the coverage is exact: 1 - 2 P(fewer than r heads) (Thompson, Annals of Mathematical
    Statistics 7, 1936; David and Nagaraja, Order Statistics, 2003, 7.1). 0: there are too few for it.
    """
    if n > EXACT:  # the normal distribution; half a value on the safe side
        return int((n - 1.96 * math.sqrt(n)) / 2)
    # ways: to choose `rank` of n; below: how many outcomes have at most `rank` heads
    rank, ways, below = 0, 1, 1
    while below <= (1 - CONFIDENCE) / 2 * 2**n:
        rank += 1
        ways = ways * (n - rank + 1) // rank
        below += ways
    return rank


def median(values: Sequence[float]) -> Estimate:
    """Estimate the median, with its order-statistics interval (below six values without); NaN without any value."""
    if not values:
        return UNKNOWN
    ordered = sorted(values)
    rank = interval_rank(len(ordered))
    if rank == 0:
        return Estimate(middle(ordered), math.nan, math.nan, len(ordered))
    return Estimate(middle(ordered), ordered[rank - 1], ordered[-rank], len(ordered))


def median_in_time(values: Sequence[float]) -> Estimate:
    """Estimate the median of values in the order in which they were measured.

    The order-statistics interval holds for independent values. Consecutive rounds see the same machine, and n of them
    tell as much as n / `inflation` ** 2 independent ones: the interval lies between the same quantiles as that of this
    many values. If they are fewer than six, it is the whole range.
    """
    estimate = median(values)
    if math.isnan(estimate.low):
        return estimate
    ordered = sorted(values)
    independent = int(len(ordered) / inflation(values) ** 2)
    rank = max(1, interval_rank(independent) * len(ordered) // independent) if independent >= FEWEST else 1
    return Estimate(estimate.value, ordered[rank - 1], ordered[-rank], estimate.n)


def inflation(values: Sequence[float]) -> float:
    """Square root of the factor by which autocorrelation raises the variance of a mean.

    (1 + r) / (1 - r), with the lag-1 autocorrelation r, whose estimate is low by about 1 / n (Bayley and Hammersley,
    Journal of the Royal Statistical Society 8, 1946; Marriott and Pope, Biometrika 41, 1954).
    """
    n = len(values)
    mean = sum(values) / n
    spread = sum((value - mean) ** 2 for value in values)
    if n < FEWEST or not spread:
        return 1.0
    r = sum((a - mean) * (b - mean) for a, b in pairwise(values)) / spread
    r = min(max(r + 1 / n, 0.0), 0.9)
    return math.sqrt((1 + r) / (1 - r) * n / (n - 1))


def ratio_of_sums(parts: Sequence[tuple[float, float]]) -> Estimate:
    """Estimate sum(a) / sum(b) over pairs (a, b) that follow each other in time.

    The interval is that of the linearised ratio (Cochran, Sampling Techniques, 1977, 6.4) of batches of neighbours
    (Schmeiser, Operations Research 30, 1982), widened by their autocorrelation; infinite for fewer than six of them.
    """
    whole = sum(b for _, b in parts)
    if whole <= 0:
        return UNKNOWN
    value = sum(a for a, _ in parts) / whole
    length = -(-len(parts) // BATCHES)
    batches = [parts[start : start + length] for start in range(0, len(parts), length)]
    n = len(batches)
    if n < FEWEST:
        return Estimate(value, -math.inf, math.inf, n)
    off = [sum(a - value * b for a, b in batch) for batch in batches]
    error = math.sqrt(sum(each**2 for each in off)) / whole * inflation(off)
    # 97.5 % point of Student's t (Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5)
    t = 1.96 + (1.96**3 + 1.96) / (4 * (n - 1))
    return Estimate(value, value - t * error, value + t * error, len(parts))


def serial_fraction(speedup: float, workers: float) -> float:
    """Share of the work that behaved as if it could not be done in parallel.

    Karp and Flatt, Measuring parallel processor performance, CACM 33 (5), 1990: the metric e.

    Parameters
    ----------
    speedup : float
        The measured speed-up.
    workers : float
        How many workers could really run at once, more than 1.
    """
    if workers <= 1:
        raise ValueError(f"workers must be more than 1, got {workers}")
    return (1 / speedup - 1 / workers) / (1 - 1 / workers)
