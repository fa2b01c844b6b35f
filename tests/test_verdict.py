"""Verdicts on injected observations: what must be said whatever the machine does."""

from __future__ import annotations

import math

import pytest

from conftest import observation
from gilcmp.verdict import MIN_ROUNDS, WORDS, Situation, Verdict, judge, judge_serial

ROUNDS = range(1, 11)
THREADS = Situation(workers=2, cpus=2, shares_gil=True, unit="threads")
PROCESSES = Situation(workers=2, cpus=2, shares_gil=False, unit="processes")


def judged(speedup, at=THREADS, serial=None, **shares):
    """Judge ten rounds of a cell with a speed-up against a serial cell of 0.1 s."""
    serial = serial or [observation(n) for n in ROUNDS]
    cells = [observation(n, wall=0.1 / speedup, **shares) for n in ROUNDS]
    return judge(cells, serial, at)


# The design's table, with the blocked time that goes with each row: what is neither on a CPU nor delayed.
@pytest.mark.parametrize(
    ("cores", "delay", "speedup", "foreign", "word"),
    [
        (1.97, 0.01, 1.93, 0.01, "scales"),
        (1.00, 1.00, 1.00, 1.00, "starved"),
        (1.00, 0.01, 0.97, 0.01, "GIL-bound"),
        (1.00, 0.40, 0.99, 1.00, "starved"),
    ],
    ids=["nogil, quiet", "nogil, starved", "GIL held, quiet", "GIL held, starved"],
)
def test_the_four_rows(cores, delay, speedup, foreign, word):
    found = judged(speedup, cores=cores, delay=delay, blocked=2 - cores - delay, foreign=foreign)
    assert found.verdict == word
    assert found.verdict.reason


def test_a_starved_cell_shows_no_number():
    found = judged(1.0, cores=1.0, delay=1.0, foreign=1.0)
    assert math.isnan(found.speedup.value)
    assert math.isnan(found.efficiency.value)


def test_quiet_rounds_give_the_true_value_among_starved_ones():
    serial = [observation(n) for n in ROUNDS]
    cells = [observation(n, wall=0.1 / 1.93, cores=1.97) for n in range(1, 7)]
    cells += [observation(n, wall=0.1, cores=1.0, delay=1.0, foreign=1.0) for n in range(7, 11)]
    found = judge(cells, serial, THREADS)
    assert found.verdict == "scales"
    assert found.speedup.n == 6
    assert float(found.speedup) == pytest.approx(1.93)


def test_a_starved_serial_partner_spoils_the_round():
    serial = [observation(n, delay=0.5, foreign=1.5) for n in ROUNDS]
    assert judged(3.0, serial=serial, cores=1.97, foreign=1.5).verdict == "starved"


def test_run_delay_without_anybody_else_is_the_strategys_own():
    """Threads woken on each other's core wait there though others are idle: no neighbour did that."""
    found = judged(1.7, cores=1.75, delay=0.2, foreign=0.02)
    assert found.verdict == "scales"
    assert found.speedup.n == 10


def test_what_gilcmp_itself_used_is_not_somebody_elses():
    assert judged(1.8, at=PROCESSES, cores=1.8, delay=0.15, harness=0.15, foreign=0.5).verdict == "scales"
    assert judged(1.8, at=PROCESSES, cores=1.8, delay=0.15, harness=0.0, foreign=0.5).verdict == "starved"


def test_more_workers_than_cpus_wait_for_each_other():
    four = Situation(workers=4, cpus=2, shares_gil=True, unit="threads")
    assert judged(1.9, at=four, cores=1.95, delay=1.9, foreign=0.02).verdict == "scales"
    assert judged(1.3, at=four, cores=1.3, delay=2.5, foreign=0.7).verdict == "starved"
    waiting = judged(0.98, at=four, cores=1.0, delay=0.4, blocked=2.6, foreign=0.02)
    assert waiting.verdict == "GIL-bound"


def test_without_run_delay_the_neighbours_load_decides():
    assert judged(1.0, cores=1.0, delay=None, blocked=1.0, foreign=0.02).verdict == "GIL-bound"
    assert judged(1.0, cores=1.0, delay=None, blocked=1.0, foreign=0.9).verdict == "starved"
    # on a large machine a neighbour does not matter while there are CPUs left
    roomy = Situation(workers=2, cpus=16, shares_gil=True, unit="threads")
    assert judged(1.0, at=roomy, cores=1.0, delay=None, blocked=1.0, foreign=5).verdict == "GIL-bound"


def test_slower_says_why():
    found = judged(0.8, cores=1.0, blocked=1.0)
    assert found.verdict == "slower"
    assert "GIL" in found.verdict.reason
    shipped = judged(0.5, at=PROCESSES, cores=1.9)
    assert shipped.verdict == "slower"
    assert "CPU time" in shipped.verdict.reason


def test_partial_names_the_serial_fraction():
    found = judged(4 / 3, cores=4 / 3, blocked=2 / 3)
    assert found.verdict == "partial"
    assert "50% of the work behaves as serial" in found.verdict.reason


def test_partial_with_dearer_tasks_names_the_memory():
    found = judged(1.3, cores=1.95)
    assert found.verdict == "partial"
    assert "1.50x the CPU time" in found.verdict.reason


def test_processes_are_never_gil_bound():
    assert judged(1.0, at=PROCESSES, cores=1.0, blocked=1.0).verdict == "partial"


def test_without_a_gil_nothing_is_gil_bound():
    free = Situation(workers=2, cpus=2, shares_gil=False, unit="threads")
    assert judged(1.0, at=free, cores=1.0, blocked=1.0).verdict == "partial"


def test_waiting_side_by_side_scales_too():
    found = judged(1.99, cores=0.02, blocked=1.98)
    assert found.verdict == "scales"
    assert "waited side by side" in found.verdict.reason


def test_too_few_rounds_are_too_noisy():
    serial = [observation(n) for n in range(1, MIN_ROUNDS)]
    cells = [observation(n, wall=0.05, cores=1.97) for n in range(1, MIN_ROUNDS)]
    found = judge(cells, serial, THREADS)
    assert found.verdict == "too noisy"
    assert "at least 5" in found.verdict.reason
    assert judge([], [], THREADS).verdict == "too noisy"


def test_few_rounds_none_of_them_quiet_are_starved():
    serial = [observation(n, foreign=1.0) for n in range(1, 4)]
    cells = [observation(n, cores=1.0, delay=1.0, foreign=1.0) for n in range(1, 4)]
    assert judge(cells, serial, THREADS).verdict == "starved"


def test_a_wide_interval_is_too_noisy():
    serial = [observation(n) for n in ROUNDS]
    cells = [observation(n, wall=0.1 / (1.0 if n % 2 else 2.0), cores=1.9) for n in ROUNDS]
    found = judge(cells, serial, THREADS)
    assert found.verdict == "too noisy"
    assert "between 1.00x and 2.00x" in found.verdict.reason


def test_scatter_does_not_hide_that_threads_took_turns():
    serial = [observation(n) for n in ROUNDS]
    cells = [observation(n, wall=0.1 / (0.7 if n % 2 else 1.2), cores=1.0, blocked=1.0) for n in ROUNDS]
    assert judge(cells, serial, THREADS).verdict == "GIL-bound"


def test_one_worker_is_a_baseline_or_slower():
    one = Situation(workers=1, cpus=2, shares_gil=True, unit="threads")
    assert judged(1.0, at=one, cores=1.0).verdict == "baseline"
    assert judged(0.8, at=one, cores=1.0).verdict == "slower"


def test_one_cpu_can_say_nothing_about_two_workers():
    found = judged(1.0, at=Situation(workers=2, cpus=1, shares_gil=True), cores=1.0, delay=1.0)
    assert found.verdict == "starved"
    assert "may use 1 CPU" in found.verdict.reason


def test_serial_is_the_baseline_and_can_starve():
    assert judge_serial([observation(n) for n in ROUNDS], 2).verdict == "baseline"
    assert judge_serial([observation(n, delay=0.5) for n in ROUNDS], 2).verdict == "starved"
    assert judge_serial([], 2).verdict == "too noisy"


def test_verdict_compares_with_its_word():
    verdict = Verdict("scales", "because")
    assert verdict == "scales"
    assert verdict != "partial"
    assert verdict != Verdict("scales", "other reason")
    assert verdict in ("scales", "partial")
    assert str(verdict) == "scales"
    assert len({verdict, Verdict("scales", "because")}) == 1
    assert verdict != 7


def test_every_word_is_used_above():
    assert set(WORDS) == {
        "baseline",
        "scales",
        "partial",
        "GIL-bound",
        "slower",
        "starved",
        "too noisy",
        "not measured",
    }
