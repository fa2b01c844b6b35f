"""Where a rising curve crosses 1: exact cases, and how often the interval holds the truth."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gilcmp.judge.crossing import crossing, isotonic
from gilcmp.judge.estimate import Estimate, median


def about(value, width=0.1):
    return Estimate(value, value - width, value + width, 9)


def test_the_crossing_is_interpolated_between_two_sizes():
    found = crossing([(10, about(0.5)), (100, about(0.8)), (1000, about(1.25)), (10_000, about(1.9))])
    assert found.value == pytest.approx(math.sqrt(100 * 1000))  # 0.8 and 1.25 are as far from 1
    assert (found.low, found.high, found.n) == (100, 1000, 4)


def test_what_lies_across_1_widens_the_interval():
    found = crossing([(1, about(0.5)), (10, about(0.95)), (100, about(0.7)), (1000, about(1.05)), (10_000, about(1.9))])
    assert (found.low, found.high) == (1, 10_000), "beyond the first size in doubt nothing counts as sure"


def test_what_has_no_interval_is_left_out():
    curve = [(10, about(0.5)), (100, about(1.5)), (1000, Estimate(1.8, math.nan, math.nan, 3))]
    assert crossing(curve) == crossing(curve[:2])
    assert crossing(curve).high == 100


@pytest.mark.parametrize(
    ("values", "value", "ends"),
    [
        ([0.5, 0.8], math.nan, (100, math.inf)),
        ([1.5, 1.9], 10, (10, 10)),
        ([0.5, 1.05], None, (10, math.inf)),
        ([1.5, 0.5], math.nan, (10, math.inf)),
        ([], math.nan, None),
    ],
)
def test_without_a_crossing(values, value, ends):
    found = crossing([(10 ** (n + 1), about(value)) for n, value in enumerate(values)])
    if value is not None:
        assert found.value == pytest.approx(value, nan_ok=True)
    if ends is not None:
        assert (found.low, found.high) == ends


@given(st.lists(st.floats(-5, 5), max_size=30))
def test_the_fit_rises_and_keeps_the_mean(values):
    fitted = isotonic(values)
    assert fitted == sorted(fitted)
    assert sum(fitted) == pytest.approx(sum(values), abs=1e-9)
    assert values != sorted(set(values)) or fitted == values


def test_the_interval_holds_the_truth_and_the_value_is_not_off_to_one_side():
    """500 simulated curves that cross at size 300, with scattering rounds."""
    numbers = random.Random(1)
    sizes = [4**n for n in range(1, 9)]
    inside, off = 0, []
    for _ in range(500):
        curve = []
        for size in sizes:
            truth = 2 * size / (size + 300)  # 1 at 300
            rounds = [truth * math.exp(numbers.gauss(0, 0.3)) for _ in range(9)]
            curve.append((size, median(rounds)))
        found = crossing(curve)
        inside += found.low <= 300 <= found.high
        off.append(math.log(found.value / 300))
    assert inside >= 0.95 * 500
    assert abs(sum(off) / 500) < 0.1


def test_sizes_without_an_interval_may_lie_on_either_side():
    """What was measured began at 1; that 100 lies above says nothing about the sizes before it."""
    unknown = Estimate(1.2, math.nan, math.nan, 3)
    found = crossing(
        [(1, unknown), (10, unknown), (100, Estimate(1.5, 1.4, 1.6, 9)), (1000, Estimate(1.9, 1.8, 2.0, 9))]
    )
    assert (found.low, found.high) == (1.0, 100.0)
