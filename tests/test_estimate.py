"""Medians, their intervals, the serial fraction."""

from __future__ import annotations

import math
import random
import statistics

import numpy as np
import pytest

from gilcmp import Estimate
from gilcmp.judge.estimate import inflation, interval_rank, median, median_in_time, ratio_of_sums, serial_fraction


def test_median_of_nothing_and_of_one():
    nothing = median([])
    assert nothing.n == 0
    assert math.isnan(nothing.value)
    one = median([2.5])
    assert (one.value, one.n) == (2.5, 1)
    assert math.isnan(one.low)


def test_estimate_is_a_number_and_a_text():
    estimate = Estimate(1.93, 1.91, 1.95, 24)
    assert float(estimate) == 1.93
    assert str(estimate) == "1.93 [1.91, 1.95]"
    assert estimate.scaled(0.5) == Estimate(0.965, 0.955, 0.975, 24)


@pytest.mark.parametrize("n", [2, 5, 6, 8, 9, 24, 25, 101])
def test_interval_holds_the_value_and_the_order_does_not_matter(n):
    values = [math.sin(i) for i in range(n)]
    found = median(values)
    assert found.value == statistics.median(values)
    assert repr(median(values[::-1])) == repr(found)
    if n < 6:
        assert math.isnan(found.low)
        assert math.isnan(found.high)
        assert "[" not in str(found)
    else:
        assert found.low <= found.value <= found.high


@pytest.mark.parametrize("n", [*range(6, 61), 999, 1000])
def test_coverage_is_exactly_95_percent_or_just_above(n):
    """The median lies between the r-th smallest and the r-th largest unless fewer than r values fall on one side."""

    def coverage(rank):
        return 1 - 2 * sum(math.comb(n, k) for k in range(rank)) / 2**n

    rank = interval_rank(n)
    assert coverage(rank) >= 0.95
    assert coverage(rank + 1) < 0.95  # and no shorter one would do


def test_intervals_of_many_values_take_no_time_and_meet_the_exact_ones():
    assert interval_rank(1001) == pytest.approx(interval_rank(1000), abs=1)
    assert interval_rank(10**6) == pytest.approx(10**6 / 2 - 0.98 * 1000, abs=1)
    found = median([float(i) for i in range(200_001)])
    assert found.value == 100_000
    assert found.low < found.value < found.high


def test_below_six_values_there_is_no_interval():
    assert [interval_rank(n) for n in range(1, 7)] == [0, 0, 0, 0, 0, 1]


def test_serial_fraction_is_karp_and_flatts():
    assert serial_fraction(4.0, 4) == pytest.approx(0.0)
    assert serial_fraction(1.0, 4) == pytest.approx(1.0)
    # Amdahl's law with a serial half gives the half back
    assert serial_fraction(1 / (0.5 + 0.5 / 8), 8) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="workers must be more than 1, got 1"):
        serial_fraction(1.0, 1)


def test_neighbours_that_resemble_each_other_count_for_less():
    """Coverage of the interval of a median on machines whose speed wanders: simulated, with a fixed seed."""
    numbers = random.Random(1)

    def rounds(n, correlation):
        value = numbers.gauss(0, 1)
        for _ in range(n):
            value = correlation * value + math.sqrt(1 - correlation**2) * numbers.gauss(0, 1)
            yield math.exp(0.02 * value)

    for correlation in (0.0, 0.3, 0.6):
        for n in (12, 24, 48):
            estimates = [median_in_time(list(rounds(n, correlation))) for _ in range(500)]
            covered = sum(estimate.low <= 1 <= estimate.high for estimate in estimates) / len(estimates)
            assert covered >= 0.92, (correlation, n, covered)


def test_two_speeds_one_after_the_other_leave_the_whole_range_open():
    estimate = median_in_time([1.0] * 10 + [2.0] * 10)
    assert (estimate.low, estimate.high) == (1.0, 2.0)


def rising(n, seed=3):
    """Values that resemble their neighbours, no two alike."""
    numbers = random.Random(seed)
    level, values = 0.0, []
    for _ in range(n):
        level = 0.7 * level + numbers.gauss(0, 1)
        values.append(10 + level)
    return values


@pytest.mark.parametrize("n", [6, 7, 12, 24, 60])
def test_inflation_is_that_of_the_lag_1_autocorrelation(n):
    values = rising(n)
    centred = np.array(values) - np.mean(values)
    r = min(max(float(centred[1:] @ centred[:-1] / (centred @ centred)) + 1 / n, 0.0), 0.9)
    assert inflation(values) == pytest.approx(math.sqrt((1 + r) / (1 - r) * n / (n - 1)))


def test_inflation_is_none_without_a_spread_or_with_too_few():
    assert inflation([1.0] * 12) == 1.0
    assert inflation([1.0, 2.0, 3.0, 4.0, 5.0]) == 1.0
    assert inflation([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) > 1.5


@pytest.mark.parametrize("n", [8, 12, 24, 60, 200])
@pytest.mark.parametrize("seed", range(6))
def test_the_interval_in_time_has_the_ranks_of_as_many_independent_values(n, seed):
    values = rising(n, seed)
    found, ordered = median_in_time(values), sorted(values)
    independent = int(n / inflation(values) ** 2)
    if independent < 6:
        assert (found.low, found.high) == (ordered[0], ordered[-1])
    else:
        rank = max(1, interval_rank(independent) * n // independent)
        assert (found.low, found.high) == (ordered[rank - 1], ordered[n - rank])
    assert (found.value, found.n) == (statistics.median(values), n)


def test_the_ends_of_an_interval_are_the_rth_values_from_both_sides():
    values = list(range(1, 25))
    assert interval_rank(24) == 7
    assert median(values) == Estimate(12.5, 7, 18, 24)
    assert str(Estimate(1.5, math.nan, math.nan, 3)) == "1.50"


def test_ratio_of_sums():
    assert ratio_of_sums([]).n == 0
    assert math.isnan(ratio_of_sums([(1.0, 0.0)]).value)
    assert ratio_of_sums([(1.0, 4.0)] * 10) == Estimate(0.25, 0.25, 0.25, 10)
    few = ratio_of_sums([(1.0, 4.0), (2.0, 4.0)])
    assert (few.value, few.low, few.high) == (0.375, -math.inf, math.inf)
    mixed = ratio_of_sums([(0.0, 1.0), (1.0, 1.0)] * 20)
    assert mixed.low < 0.5 < mixed.high


def test_a_ratio_of_sums_has_the_interval_of_a_bootstrap_where_pairs_are_independent():
    numbers = np.random.default_rng(2)
    weights = numbers.uniform(1, 3, 60)
    parts = np.column_stack([weights * numbers.normal(0.3, 0.1, 60), weights])
    found = ratio_of_sums([tuple(pair) for pair in parts])
    drawn = parts[numbers.integers(0, 60, (20_000, 60))].sum(axis=1)
    expected = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    assert found.value == pytest.approx(parts[:, 0].sum() / parts[:, 1].sum())
    width = expected[1] - expected[0]
    assert found.low <= expected[0] + 0.1 * width
    assert found.high >= expected[1] - 0.1 * width
    assert found.high - found.low < 1.5 * width


@pytest.mark.parametrize("hold", [0.1, 1.0, 3.0])
def test_a_ratio_of_sums_holds_the_truth_although_segments_resemble_their_neighbours(hold):
    """A lock that is held and let go for random times, `hold` segments long on average: 500 times 64 segments."""
    numbers = np.random.default_rng(3)
    inside = 0
    for _ in range(500):
        lengths = numbers.exponential(hold, int(200 / hold) + 100)
        edges = np.concatenate([[0.0], np.cumsum(lengths)]) - numbers.uniform(0, 10)
        ends = np.arange(65.0)
        # how long it was held until each end: every other stretch
        held = np.interp(ends, edges, np.concatenate([[0.0], np.cumsum(lengths * (np.arange(len(lengths)) % 2))]))
        found = ratio_of_sums([(float(part), 1.0) for part in np.diff(held)])
        inside += found.low <= 0.5 <= found.high
    assert inside >= 0.92 * 500
