"""The threshold: what is computed from a curve, and that the command runs. No timing decides anything here."""

from __future__ import annotations

import json
import math
import re
from functools import partial
from importlib import import_module

import pytest

import gilcmp
from conftest import busy_machine
from gilcmp.cli import main as cli
from gilcmp.judge.estimate import Estimate
from gilcmp.probing.threshold import Point, Threshold, _cheap_from, _sizes, _why_unknown, size_range
from gilcmp.watch import _gil

NOWHERE = Estimate(math.nan, math.nan, math.nan, 0)


def about(value, width=0.1):
    return Estimate(value, value - width, value + width, 9)


def point(size, time, speedup=NOWHERE):
    return Point(size, about(time, 0), NOWHERE, speedup)


def test_what_cannot_be_told_has_its_reason():
    rising = [point(10, 1e-6, about(0.5)), point(100, 1e-5, about(1.05))]
    assert _why_unknown(rising, 2) == "open: 2 threads made 1.05 [0.95, 1.15]x at the largest size"
    assert _why_unknown(rising[:1], 2).endswith("not faster than one at the largest size: 0.50 [0.40, 0.60]x")
    assert _why_unknown([], 2) == "open: no size had rounds enough for an interval"
    short = Estimate(1.8, math.nan, math.nan, 3)
    assert _why_unknown([*rising[:1], point(100, 1e-6, short)], 2).startswith("open: no size above 10 had rounds")
    assert size_range(Estimate(6826.4, 2048, math.inf, 9)) == "from size 6,826 [2,048, inf]"


def test_where_a_release_gets_cheap():
    points = [point(1, 100e-9), point(10, 1e-6), point(100, 10e-6)]
    found = _cheap_from(points, Estimate(50e-9, 40e-9, 60e-9, 9))
    assert found.value == pytest.approx(10)
    assert found.low < 10 < found.high
    assert _cheap_from(points, Estimate(1e-9, 1e-9, 1e-9, 9)).value == 1
    assert math.isnan(_cheap_from(points, Estimate(1.0, 1.0, 1.0, 9)).value)


def test_sizes_cover_the_decades():
    def make(size):
        return partial(_gil.hold_gil, size * 1e-7)

    times = _sizes(make, 2**40, 0.01)
    sizes = list(times)
    assert sizes[0] == 1
    assert sizes == sorted(sizes)
    assert list(times.values()) == sorted(times.values())
    assert sizes[-1] * 1e-7 >= 1e-3
    assert sizes[-1] * 1e-7 <= 0.01


def test_a_call_whose_time_does_not_grow_is_refused():
    with pytest.raises(ValueError, match="the time of a call must grow with its size"):
        gilcmp.threshold(lambda size: None, budget=1)


@pytest.mark.parametrize(("arguments", "error", "message"), [
    (("nope",), ValueError, "work must be one of count, .* or callable, got 'nope'"),
    ((3,), TypeError, "work must be callable with a size, got int"),
    (("fetch",), ValueError, "kernel 'fetch' waits"),
])  # fmt: skip
def test_bad_work(arguments, error, message):
    with pytest.raises(error, match=message):
        gilcmp.threshold(*arguments)


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ({"workers": 1}, ValueError, "workers must be"),
    ({"budget": 0}, ValueError, "budget must be from 0.5 to 100000 seconds, got 0"),
    ({"holds": len}, ValueError, "holds is for functions"),
])  # fmt: skip
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        gilcmp.threshold("count", **arguments)


@pytest.fixture
def short(monkeypatch):
    """Three sizes instead of ten."""
    monkeypatch.setattr(
        import_module("gilcmp.probing.threshold"), "_sizes", lambda *_: {1: 1e-7, 100: 1e-5, 2000: 2e-4}
    )


@pytest.mark.usefixtures("short")
def test_a_pair_of_functions():
    found = gilcmp.threshold(
        lambda size: _gil.release_gil(size * 1e-7), holds=lambda size: _gil.hold_gil(size * 1e-7), budget=1.5
    )
    assert isinstance(found, Threshold)
    assert [p.size for p in found.points] == [1, 100, 2000]
    assert all(p.time.value > 0 for p in found.points)
    text = str(found)
    assert "a release, uncontended" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.skipif(not gilcmp.environment().gil_enabled, reason="without a GIL nothing is held")
def test_a_call_that_never_releases_needs_no_curve():
    for _ in range(5):
        found = gilcmp.threshold(lambda size: _gil.hold_gil(size * 1e-6), budget=1)
        if not found.points:
            break
    else:
        busy_machine("the probe could not say that the call holds")
    assert math.isnan(found.parallel_from.value)
    assert re.match(r"it holds the GIL for \d+% of a call of size \d+: holds", found.reason)
    assert found.charts() == []
    assert found.findings == [f"{found.name}: {found.reason}."]
    assert " ".join(str(found).split()) == found.findings[0]


@pytest.mark.usefixtures("short")
def test_a_statement_of_a_size(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["threshold", "zlib.crc32(data[:n])", "-s", "import zlib; data = bytes(10**7)", "--budget", "1s",
                  "--json", "-"])  # fmt: skip
    assert stop.value.code in (0, 3)
    assert json.loads(capsys.readouterr().out)["name"] == "zlib.crc32(data[:n])"
    with pytest.raises(SystemExit) as stop:
        cli.main(["threshold", "f(n)", "--budget", "1s"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == (
        "gilcmp: f(n): NameError: name 'f' is not defined (-s makes names: -s 'from module import f')\n"
    )


@pytest.mark.usefixtures("short")
def test_ctrl_c_keeps_the_sizes_that_were_done():
    told = []

    def stop(progress):
        told.append(progress)
        if len(told) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stopped:
        gilcmp.threshold("count", budget=0.5, progress=stop)
    found = stopped.value.threshold
    assert len(found.points) == 2
    assert math.isnan(found.parallel_from.value)
    assert "interrupted" in str(found)


@pytest.mark.usefixtures("short")
def test_the_command(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["threshold", "count", "--budget", "1s", "--json", "-"])
    assert stop.value.code in (0, 3)
    found = json.loads(capsys.readouterr().out)
    assert found["name"] == "count"
    assert len(found["points"]) == 3
    with pytest.raises(SystemExit) as stop:
        cli.main(["threshold", "nope"])
    assert stop.value.code == 2
    assert "work must be one of" in capsys.readouterr().err
