"""Medians, their intervals, the serial fraction."""

from __future__ import annotations

import math
import random
import statistics

import pytest

from gilcmp import Estimate
from gilcmp.estimate import median, serial_fraction


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


@pytest.mark.parametrize("n", [2, 3, 4, 5, 8, 9, 24, 25, 101])
def test_interval_holds_the_value_and_the_order_does_not_matter(n):
    values = [math.sin(i) for i in range(n)]
    found = median(values)
    assert found.low <= found.value <= found.high
    assert found.value == statistics.median(values)
    assert median(values[::-1]) == found


@pytest.mark.parametrize("n", [5, 9, 15, 24])
def test_interval_is_the_one_that_resampling_gives(n):
    """The exact interval against plain Monte Carlo, which it replaces; for even n it may only be wider."""
    numbers = random.Random(1)
    values = [numbers.gauss(10, 1) for _ in range(n)]
    drawn = sorted(statistics.median_low(numbers.choices(values, k=n)) for _ in range(20_000))
    drawn_high = sorted(statistics.median_high(numbers.choices(values, k=n)) for _ in range(20_000))
    found = median(values)
    ordered = sorted(values)
    assert abs(ordered.index(found.low) - ordered.index(drawn[500])) <= 1
    assert abs(ordered.index(found.high) - ordered.index(drawn_high[-501])) <= 1


@pytest.mark.parametrize("n", [9, 15, 24])
def test_coverage_is_about_what_it_says(n):
    numbers = random.Random(2)
    trials = 2000
    held = 0
    for _ in range(trials):
        found = median([numbers.expovariate(1.0) for _ in range(n)])
        held += found.low <= math.log(2) <= found.high
    assert 0.93 <= held / trials <= 0.995


def test_serial_fraction_is_karp_and_flatts():
    assert serial_fraction(4.0, 4) == pytest.approx(0.0)
    assert serial_fraction(1.0, 4) == pytest.approx(1.0)
    # Amdahl's law with a serial half gives the half back
    assert serial_fraction(1 / (0.5 + 0.5 / 8), 8) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="workers must be at least 2, got 1"):
        serial_fraction(1.0, 1)
