"""The ratio of two medians, with an interval that allows for rounds that resemble their neighbours."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import pairwise

from gilcmp.base.median import middle
from gilcmp.judge.estimate import CONFIDENCE, Estimate, inflation

RESAMPLES = 2000
BATCHES = 5
# 97.5 % points of Student's t for 1, 2, 3 … degrees of freedom; two runs of five batches have at most 8
STUDENT = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31)


def ratio_of_medians(first: Sequence[float], other: Sequence[float]) -> Estimate:
    """Estimate median(other) / median(first), with an interval that holds for autocorrelated values.

    Values come in the order in which they were measured. `gilcmp.diff` documents the method.
    """
    value = middle(other) / middle(first)
    low, high = _bootstrapped(first, other)
    width = _batched(first, other)
    return Estimate(value, min(low, value / width), max(high, value * width), min(len(first), len(other)))


def _batched(first: Sequence[float], other: Sequence[float]) -> float:
    """Return the factor from the ratio to the ends of its interval, by the medians of batches of neighbours."""
    variances = []
    for values in (first, other):
        batches = min(BATCHES, len(values) // 2)
        if batches < 2:
            return 1.0
        edges = [len(values) * i // batches for i in range(batches + 1)]
        middles = [math.log(middle(values[start:stop])) for start, stop in pairwise(edges)]
        variances.append((_variance(middles) / batches, batches - 1))
    total = sum(variance for variance, _ in variances)
    if not total:
        return 1.0
    freedom = total**2 / sum(variance**2 / degrees for variance, degrees in variances)
    return math.exp(STUDENT[min(int(freedom), len(STUDENT)) - 1] * math.sqrt(total))


def _variance(values: Sequence[float]) -> float:
    """Return the sample variance (the module statistics crashes some Python versions with subinterpreters)."""
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _bootstrapped(first: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    """Return the ends of a bootstrap interval.

    The spread of the resampled medians is widened by the factor by which their lag-1 autocorrelation r inflates the
    variance of a mean, (1 + r) / (1 - r).
    """
    numbers = random.Random(0)
    widths = [inflation(values) for values in (first, other)]
    centres = [math.log(middle(values)) for values in (first, other)]
    drawn = []
    for _ in range(RESAMPLES):
        logs = [
            centre + width * (math.log(middle(numbers.choices(values, k=len(values)))) - centre)
            for values, centre, width in zip((first, other), centres, widths, strict=True)
        ]
        drawn.append(math.exp(logs[1] - logs[0]))
    drawn.sort()
    tail = round(RESAMPLES * (1 - CONFIDENCE) / 2)
    value = middle(other) / middle(first)
    return min(drawn[tail], value), max(drawn[-tail - 1], value)


def chance_below(value: Estimate, limit: float) -> float:
    """Chance of an estimate so far below `limit`, or further, if the true ratio were the limit.

    The half-width of the interval counts as 2.31 standard errors of the logarithm, and the error as Student's t with 8
    degrees of freedom, as two runs of five batches have (Abramowitz and Stegun, Handbook of Mathematical Functions,
    26.7.4).
    """
    distance, half = math.log(limit / value.value), math.log(value.high / value.value)
    if math.isnan(half) or distance <= 0:
        return 1.0
    t = STUDENT[-1] * distance / half if half else math.inf
    sine = t / math.sqrt(len(STUDENT) + t * t) if t < math.inf else 1.0
    cosine2 = 1 - sine * sine
    return (1 - sine * (1 + cosine2 / 2 + 3 * cosine2**2 / 8 + 5 * cosine2**3 / 16)) / 2


def holm(chances: Sequence[float], level: float) -> list[bool]:
    """Tell which of several findings hold, so that the chance of even one false one is at most `level`.

    It holds however the findings depend on each other: cells of one run share rounds (Holm, Scandinavian Journal of
    Statistics 6, 1979).
    """
    holds = [False] * len(chances)
    for place, number in enumerate(sorted(range(len(chances)), key=chances.__getitem__)):
        if chances[number] > level / (len(chances) - place):
            break
        holds[number] = True
    return holds
