"""The gauge says what share of its CPUs a machine gives; cells wait for them, or sit rounds out that others need."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest

from conftest import observation
from gilcmp.judge.verdict import GRANTED, MIN_ROUNDS, Situation, judge
from gilcmp.measure import gauge as gauge_module
from gilcmp.measure.executors import PoolError
from gilcmp.measure.gauge import FIRST, TRIES, Gauge
from gilcmp.measure.running import ALL_AGAIN, COMFORTABLE, RunningCell, in_need
from gilcmp.measure.session import Session
from gilcmp.measure.strategies import strategies
from tasks import double


def test_a_reading_is_a_share_of_the_best():
    with contextlib.closing(Gauge()) as gauge:
        readings = [gauge.read(2) for _ in range(20)]
        assert all(0 < reading <= 1 for reading in readings)
        shares = [gauge.share(reading, 2) for reading in readings]
        assert all(0 < share <= 1 for share in shares)
        assert gauge.read(1) is not None


@pytest.fixture
def scripted(monkeypatch):
    """A gauge whose loops take what a list says, in milliseconds: alone always 2; and how often they ran."""
    took = []

    class MadeUpPool:
        def run(self, function, tasks, *, keep_place):
            milliseconds, delay = took.pop(0) if took else (2.0, 0.0)
            samples = [SimpleNamespace(run_delay=round(delay * 1e6))] * len(tasks)
            return samples, 0, round(milliseconds * 1e6), 0

        def close(self):
            took.append("closed")

    monkeypatch.setattr(gauge_module, "_loop_of", lambda seconds: lambda: None)
    monkeypatch.setattr(gauge_module, "_timed", lambda call: 2_000_000)
    monkeypatch.setattr(gauge_module.Pool, "open", lambda strategy, workers: MadeUpPool())
    return Gauge(), took


def test_what_is_usual_is_known_before_the_first_reading(scripted):
    gauge, took = scripted
    took += [(2.5, 0.0)] * FIRST + [(5.0, 0.0)]
    reading = gauge.read(2)
    assert reading == pytest.approx(0.4)
    assert gauge.share(reading, 2) == pytest.approx(0.5)


def test_one_reading_that_is_too_good_is_not_what_is_usual(scripted):
    gauge, took = scripted
    took += [(4.0, 0.0)] * FIRST + [(2.0, 0.0)] + [(4.0, 0.0)] * 40
    shares = [gauge.share(gauge.read(2), 2) for _ in range(41)]
    assert shares[-1] == 1.0


def test_loops_that_shared_a_cpu_here_are_repeated(scripted):
    gauge, took = scripted
    took += [(2.0, 0.0)] * FIRST + [(4.0, 2.0)] * (TRIES - 1) + [(2.0, 0.0)]
    assert gauge.read(2) == 1.0
    assert not took
    took += [(4.0, 2.0)] * TRIES  # always so: then it is the machine
    assert gauge.read(2) == 0.5


def test_a_turn_waits_for_its_cpus_but_not_for_ever(scripted, monkeypatch):
    gauge, took = scripted
    took += [(2.0, 0.0)] * FIRST + [(4.0, 0.0), (2.0, 0.0), (4.0, 0.0), (2.0, 0.0), (2.5, 0.0), (4.0, 0.0)]
    monkeypatch.setattr(gauge_module, "PATIENCE", 60.0)
    monkeypatch.setattr(gauge_module, "GRANTED", 0.75)
    assert gauge.wait(2) == pytest.approx(0.8), "after a bad reading, two good ones, of which the worse counts"
    assert took == [(4.0, 0.0)]
    took[:] = [(2.0, 0.0), (4.0, 0.0)]
    assert gauge.wait(2) == 1.0, "a first one that is good is enough"
    assert took == [(4.0, 0.0)]
    took[:] = [(4.0, 0.0)] * 3
    monkeypatch.setattr(gauge_module, "PATIENCE", 0.0)
    assert gauge.wait(2) == 0.5
    assert len(took) == 2
    gauge.close()
    assert took[-1] == "closed"


def test_without_threads_there_is_no_reading(monkeypatch):
    def refuse(strategy, workers):
        raise PoolError("no further thread")

    monkeypatch.setattr(gauge_module.Pool, "open", refuse)
    assert Gauge().read(2) is None
    assert Gauge().wait(2) is None


# ---- who sits a round out


def cell(quiet, most_cores=1.9, strategy="processes", **changes):
    job = SimpleNamespace(implementation="x", fine=True, batched=True, repeats=1)
    seen = [observation(number) for number in range(1, quiet + 1)]
    return RunningCell(job, strategies[strategy], 2, 2.0, most_cores=most_cores, seen=seen, **changes)


def test_who_is_ahead_sits_most_rounds_out():
    ahead, behind, serial = cell(COMFORTABLE + 9), cell(COMFORTABLE - 5), cell(50, strategy="serial")
    order = [serial, ahead, serial, behind, serial]
    rounds = [ahead in in_need(order, number) for number in range(1, 4 * ALL_AGAIN + 1)]
    assert rounds == ([True] * 2 + [False] * 2 * (ALL_AGAIN - 1)) * 2
    for number in range(1, 9):
        assert behind in in_need(order, number)
        assert serial in in_need(order, number)


def test_one_cpu_is_needed_less_often_once_there_is_an_interval():
    several = cell(COMFORTABLE)
    for quiet, often in ((MIN_ROUNDS - 1, [True] * 8), (MIN_ROUNDS, [True, True, False, False] * 2)):
        one = cell(quiet, most_cores=1.0)
        assert [one in in_need([one, several], number) for number in range(1, 9)] == often
    alone = cell(COMFORTABLE, most_cores=1.0)
    assert all(alone in in_need([alone], number) for number in range(1, 9))


def test_a_cell_that_failed_holds_nobody_back():
    failed, fine = cell(0, error="it failed"), cell(COMFORTABLE + 2)
    assert all(fine in in_need([failed, fine], number) for number in range(1, 9))


# ---- what a session makes of it


@pytest.fixture
def session():
    session = Session(double, tasks=[1], strategies=["threads"], workers=[2], budget=1.0)
    session._environment = SimpleNamespace(cpus=2.0)
    return session


def turns(session, running, readings, monkeypatch):
    """Let a cell have a turn between two readings; whether it had one."""
    left = list(readings)
    gauge = SimpleNamespace(
        wait=lambda threads: left.pop(0), read=lambda threads: left.pop(0), share=lambda reading, threads: reading
    )
    session._gauge = running.gauge = gauge
    monkeypatch.setattr(session, "_once", lambda cell, number: observation(number))
    seen = session._turn(running, 99)
    if seen is not None:
        running.seen.append(seen)
    return seen is not None


def test_the_worse_reading_counts(session, monkeypatch):
    running = cell(0, most_cores=1.9)
    assert turns(session, running, (1.0, 0.5), monkeypatch)
    assert running.observations[-1].granted == 0.5
    assert running.quiet == 0
    assert turns(session, running, (0.9, 1.0), monkeypatch)
    assert running.observations[-1].granted == 0.9
    assert turns(session, running, (None, None), monkeypatch)


def test_a_turn_that_would_not_count_is_left_out_once_there_are_some(session, monkeypatch):
    assert turns(session, cell(COMFORTABLE - 1, most_cores=1.9), (GRANTED - 0.01, 1.0), monkeypatch)
    assert not turns(session, cell(COMFORTABLE, most_cores=1.9), (GRANTED - 0.01, 1.0), monkeypatch)
    assert turns(session, cell(COMFORTABLE, most_cores=1.9), (GRANTED, 1.0), monkeypatch)


@pytest.mark.parametrize(("seen", "waits"), [(MIN_ROUNDS - 1, False), (MIN_ROUNDS, True)])
def test_turns_wait_once_there_are_six(session, monkeypatch, seen, waits):
    asked = []
    session._gauge = SimpleNamespace(
        wait=lambda threads: asked.append("wait") or 1.0,
        read=lambda threads: asked.append("read") or 1.0,
        share=lambda reading, threads: reading,
    )
    monkeypatch.setattr(session, "_once", lambda cell, number: observation(number))
    session._turn(cell(seen, most_cores=1.9), 99)
    assert asked == ["wait" if waits else "read", "read"]


def test_who_never_kept_two_cpus_busy_is_not_gauged(session, monkeypatch):
    running = cell(0, most_cores=1.0)
    assert turns(session, running, (0.1, 0.1), monkeypatch)
    assert running.observations[-1].granted is None


# ---- what the judge makes of it


def judged(shares, walls):
    serial = [observation(number, wall=0.1) for number in range(1, len(walls) + 1)]
    seen = [
        observation(number, wall=wall, cores=1.9, granted=share)
        for number, (share, wall) in enumerate(zip(shares, walls, strict=True), 1)
    ]
    return judge(seen, serial, Situation(2, 2.0, shares_gil=False, unit="processes"))


def test_six_rounds_that_got_their_cpus_decide():
    found = judged([0.5, 1.0] * MIN_ROUNDS, [0.08, 0.052] * MIN_ROUNDS)
    assert (found.speedup.n, found.verdict.word) == (MIN_ROUNDS, "scales")


def test_a_machine_that_never_gives_more_is_judged_as_it_is():
    found = judged([0.5] * 8 + [1.0] * (MIN_ROUNDS - 1), [0.08] * 8 + [0.052] * (MIN_ROUNDS - 1))
    assert (found.speedup.n, found.verdict.word) == (8 + MIN_ROUNDS - 1, "faster")
    assert judged([0.5] * 12, [0.08] * 12).verdict == "partial"
