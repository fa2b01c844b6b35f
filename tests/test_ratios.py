"""The ratio of two medians: its interval beside a second reckoning with NumPy, and with what it should be."""

from __future__ import annotations

import math
import random
import statistics
from itertools import pairwise

import numpy as np
import pytest

from gilcmp import Estimate
from gilcmp.judge.estimate import inflation
from gilcmp.judge.ratios import BATCHES, _batched, _bootstrapped, chance_below, holm, ratio_of_medians

# 97.5 % points of Student's t, from a table
T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306}


def times(n, seed, spread=0.1, drift=0.0):
    numbers = random.Random(seed)
    return [math.exp(numbers.gauss(0, spread) + drift * i / n) for i in range(n)]


def welch(first, other):
    """The factor to the ends of the interval by the medians of batches (Welch, Satterthwaite)."""
    parts = []
    for values in (first, other):
        n = min(BATCHES, len(values) // 2)
        edges = [len(values) * i // n for i in range(n + 1)]
        middles = [math.log(np.median(values[a:b])) for a, b in pairwise(edges)]
        parts.append((np.var(middles, ddof=1) / n, n - 1))
    total = sum(variance for variance, _ in parts)
    freedom = total**2 / sum(variance**2 / degrees for variance, degrees in parts)
    return math.exp(T[min(int(freedom), 8)] * math.sqrt(total))


@pytest.mark.parametrize("lengths", [(4, 4), (6, 5), (10, 10), (24, 13), (40, 40), (7, 60)])
@pytest.mark.parametrize("seed", range(4))
def test_batches_of_neighbours_give_welchs_interval(lengths, seed):
    first, other = times(lengths[0], seed), times(lengths[1], seed + 100, spread=0.2)
    assert _batched(first, other) == pytest.approx(welch(first, other), rel=2e-3)  # the table has three digits


def test_two_batches_at_least_and_a_spread_are_needed():
    assert _batched([1.0, 2.0, 3.0], times(20, 1)) == 1.0
    assert _batched(times(20, 1), [1.0]) == 1.0
    assert _batched([1.0, 2.0, 3.0, 4.0], times(20, 1)) > 1.5
    assert _batched([2.0] * 20, [3.0] * 20) == 1.0


@pytest.mark.parametrize("seed", range(3))
def test_the_bootstrap_is_that_of_the_medians_widened_by_the_autocorrelation(seed):
    first, other = times(30, seed), times(21, seed + 50, drift=0.3)
    low, high = _bootstrapped(first, other)
    numbers = np.random.default_rng(seed)
    logs = []
    for values in (first, other):
        centre = math.log(np.median(values))
        drawn = np.log(np.median(numbers.choice(values, (20_000, len(values))), axis=1))
        logs.append(centre + inflation(values) * (drawn - centre))
    expected = np.exp(np.quantile(logs[1] - logs[0], [0.025, 0.975]))
    assert [low, high] == pytest.approx(expected, rel=0.04)
    assert _bootstrapped(first, other) == (low, high)


def test_the_interval_is_the_wider_one_and_holds_the_ratio():
    first, other = times(30, 1), times(21, 2, drift=0.5)
    found = ratio_of_medians(first, other)
    value = statistics.median(other) / statistics.median(first)
    low, high = _bootstrapped(first, other)
    width = _batched(first, other)
    assert found.value == pytest.approx(value)
    assert found.low == pytest.approx(min(low, value / width))
    assert found.high == pytest.approx(max(high, value * width))
    assert found.low < found.value < found.high
    assert found.n == 21


# one-sided points of Student's t with 8 degrees of freedom, from a table
@pytest.mark.parametrize(
    ("t", "chance"), [(1.397, 0.1), (1.860, 0.05), (2.306, 0.025), (3.355, 0.005), (5.041, 0.0005)]
)
def test_the_chance_of_being_below_is_students(t, chance):
    value = Estimate(0.5, 0.5 / 1.1, 0.5 * 1.1, 20)
    limit = 0.5 * 1.1 ** (t / 2.306)
    assert chance_below(value, limit) == pytest.approx(chance, rel=2e-2)  # 2.31 is 2.306


def test_what_is_not_below_or_has_no_interval_is_no_finding():
    assert chance_below(Estimate(0.9, 0.8, 1.0, 20), 0.9) == 1.0
    assert chance_below(Estimate(1.2, 1.1, 1.3, 20), 0.9) == 1.0
    assert chance_below(Estimate(0.5, math.nan, math.nan, 3), 0.9) == 1.0
    assert chance_below(Estimate(0.5, 0.5, 0.5, 20), 0.9) == 0.0


def test_holm_asks_less_of_each_that_comes_later():
    assert holm([0.01, 0.02, 0.04], 0.05) == [True, True, True]
    assert holm([0.04, 0.02, 0.01], 0.05) == [True, True, True]
    assert holm([0.02, 0.02, 0.02], 0.05) == [False, False, False]
    assert holm([0.5, 0.001, 0.03], 0.05) == [False, True, False]
    assert holm([], 0.05) == []


def test_one_in_forty_families_of_a_hundred_has_a_false_finding():
    """Cells that share rounds: a tenth of their error is the same for all."""
    numbers = random.Random(5)
    families = 1500
    false = 0
    for _ in range(families):
        shared = numbers.gauss(0, 0.3)
        chances = []
        for _ in range(100):
            spread = math.sqrt(numbers.gammavariate(4, 2) / 8)  # the estimated error, of 8 degrees of freedom
            error = 0.01 * (shared + math.sqrt(1 - 0.3**2) * numbers.gauss(0, 1))
            half = math.exp(2.306 * 0.01 * spread)
            value = math.exp(error)
            chances.append(chance_below(Estimate(value, value / half, value * half, 20), 1.0))
        false += any(holm(chances, 0.025))
    assert false <= 0.025 * families + 2.5 * math.sqrt(0.025 * families)
