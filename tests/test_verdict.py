"""Verdicts on injected observations: what must be said whatever the machine does."""

from __future__ import annotations

import math
from typing import get_args

import pytest
from attrs import evolve

from conftest import made_up_run, observation, record
from gilcmp.judge.comparison import Comparison
from gilcmp.judge.verdict import MIN_ROUNDS, WORDS, Situation, Verdict, Word, judge, judge_serial, take_turns

ROUNDS = range(1, 11)
THREADS = Situation(workers=2, cpus=2, shares_gil=True, unit="threads", gil_held=0.98)
PROCESSES = Situation(workers=2, cpus=2, shares_gil=False, unit="processes")


WAITING = [observation(n, cores=0.01, blocked=0.99) for n in ROUNDS]  # a serial partner that sleeps


def judged(speedup, at=THREADS, serial=None, **shares):
    """Judge ten rounds of a cell with a speed-up against a serial cell of 0.1 s."""
    serial = serial or [observation(n) for n in ROUNDS]
    cells = [observation(n, wall=0.1 / speedup, **shares) for n in ROUNDS]
    return judge(cells, serial, at)


def test_waits_for_locks_without_a_gil_are_the_reason():
    free = Situation(
        workers=2, cpus=2, shares_gil=False, unit="threads", lock_waits=0.43, waits_at="list at worker.py:15"
    )
    found = judged(0.7, at=free, cores=1.9, blocked=0.1)
    assert found.verdict == "slower"
    assert found.verdict.reason == (
        "at least 43% of the threads' time went into waiting for locks, most of it for that of a list at worker.py:15 "
        "(gilcmp contention says more)"
    )
    stopped = evolve(free, lock_waits=0.0, stopped=0.2, waits_at="")
    assert "stopped with the whole world 20% of it" in judged(0.7, at=stopped, cores=1.9).verdict.reason
    assert "locks" not in judged(0.7, at=evolve(free, lock_waits=0.05), cores=1.9).verdict.reason


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


def test_the_serial_turns_beside_a_cell_decide_before_those_of_the_round():
    cells = [observation(n, wall=0.1, cores=1.97) for n in ROUNDS]
    beside = [evolve(seen, serial=0.192) for seen in cells]
    assert float(judge(cells, [observation(n) for n in ROUNDS], THREADS).speedup) == pytest.approx(1.0)
    assert float(judge(beside, [observation(n) for n in ROUNDS], THREADS).speedup) == pytest.approx(1.92)


def test_a_cell_that_does_more_than_the_serial_one_is_compared_by_the_same_work():
    twice = evolve(PROCESSES, scale=2.0)
    found = judge([observation(n, wall=0.104, cores=1.94) for n in ROUNDS], [observation(n) for n in ROUNDS], twice)
    assert found.verdict == "scales"
    assert float(found.speedup) == pytest.approx(2 / 1.04)
    dear = judge([observation(n, wall=0.15, cores=1.94) for n in ROUNDS], [observation(n) for n in ROUNDS], twice)
    assert dear.verdict == "partial"
    assert "1.45x the CPU time" in dear.verdict.reason  # 0.291 s for what takes 0.2 s


def test_partial_says_so_where_it_is_the_handing_over():
    priced = evolve(PROCESSES, hand_over=0.008)
    found = judged(1.4, at=priced, cores=1.41, blocked=0.5)
    assert found.verdict == "partial"
    assert "handing the tasks over takes up to 11% of the time" in found.verdict.reason
    cheap = judged(1.4, at=evolve(PROCESSES, hand_over=0.0005), cores=1.41, blocked=0.5)
    assert "handing" not in cheap.verdict.reason


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
    found = judged(1.75, cores=1.75, delay=0.2, foreign=0.02)
    assert found.verdict == "scales"
    assert found.speedup.n == 10


def test_rounds_are_not_chosen_by_what_the_cell_itself_waited():
    """Threads that shared a core in half of the rounds, with nobody else there: those rounds count as well."""
    serial = [observation(n) for n in ROUNDS]
    cells = [observation(n, wall=0.1 / 1.95, cores=1.95) for n in range(1, 6)]
    cells += [observation(n, wall=0.1, cores=1.0, delay=1.0) for n in range(6, 11)]
    found = judge(cells, serial, THREADS)
    assert found.verdict == "too noisy"
    assert found.speedup.low == pytest.approx(1.0, abs=0.2)
    assert found.speedup.n == 10


def test_more_workers_than_cpus_wait_for_each_other():
    four = Situation(workers=4, cpus=2, shares_gil=True, unit="threads", gil_held=0.97)
    assert judged(1.9, at=four, cores=1.95, delay=1.9, foreign=0.02).verdict == "scales"
    assert judged(1.3, at=four, cores=1.3, delay=2.5, foreign=0.7).verdict == "starved"
    waiting = judged(0.98, at=four, cores=1.0, delay=0.4, blocked=2.6, foreign=0.02)
    assert waiting.verdict == "GIL-bound"


def test_without_run_delay_the_neighbours_load_decides():
    assert judged(1.0, cores=1.0, delay=None, blocked=1.0, foreign=0.02).verdict == "GIL-bound"
    assert judged(1.0, cores=1.0, delay=None, blocked=1.0, foreign=0.9).verdict == "starved"
    # on a large machine a neighbour does not matter while there are CPUs left
    roomy = Situation(workers=2, cpus=16, shares_gil=True, unit="threads", gil_held=0.97)
    assert judged(1.0, at=roomy, cores=1.0, delay=None, blocked=1.0, foreign=5).verdict == "GIL-bound"


def test_slower_says_why():
    found = judged(0.8, cores=1.0, blocked=1.0)
    assert found.verdict == "slower"
    assert "took turns" in found.verdict.reason
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
    assert judged(1.0, at=PROCESSES, cores=1.0, blocked=1.0).verdict == "no gain"


def test_another_lock_than_the_gil_is_called_so():
    def with_lock(held, waited=None):
        at = evolve(THREADS, gil_held=held, gil_waited=waited)
        return judged(1.0, at=at, cores=1.0, blocked=1.0).verdict

    assert with_lock(0.97) == "GIL-bound"
    assert with_lock(0.04) == "serialised"
    assert "another lock" in with_lock(0.04).reason
    assert with_lock(None) == "serialised"
    assert "not looked at" in with_lock(None).reason
    # short calls that release: held for three quarters of the time, and nothing else is waited for
    assert with_lock(0.75, 0.9) == "GIL-bound"
    assert with_lock(0.75, 0.1) == "serialised"
    assert "10% of their waiting was for it" in with_lock(0.75, 0.1).reason
    assert with_lock(0.97, 0.1) == "GIL-bound"  # without the other lock they would queue for this one
    asleep = judged(1.0, at=evolve(THREADS, gil_held=0.01), cores=0.01, blocked=1.99, serial=WAITING)
    assert asleep.verdict == "serialised"


def between(low, high):
    """The verdict on a cell whose interval has these ends."""
    serial = [observation(n) for n in ROUNDS]
    ratios = [low, low, low, high, high, high, high, low, low, high]
    cells = [observation(n, wall=0.1 / ratio, cores=1.9) for n, ratio in zip(ROUNDS, ratios, strict=True)]
    return judge(cells, serial, PROCESSES).verdict


def test_a_word_needs_its_whole_region():
    assert between(1.85, 1.95) == "scales"
    assert between(1.21, 1.99) == "faster"
    assert between(1.62, 1.74) == "faster"
    assert between(1.62, 2.5) == "faster"
    assert between(1.1, 1.4) == "too noisy"
    assert between(1.1, 1.99) == "too noisy"
    assert between(1.3, 1.35) == "partial"
    assert between(0.99, 1.02) == "no gain"
    assert between(0.9, 1.02) == "too noisy"
    assert between(0.7, 0.75) == "slower"


def test_more_than_there_can_be_is_a_fault_of_the_measurement():
    found = judged(2.6, cores=2.0)
    assert found.verdict == "too noisy"
    assert "at fault" in found.verdict.reason


def test_a_call_with_threads_of_its_own_is_said_to_have_them():
    serial = [observation(n, cores=0.3, harness=1.3) for n in ROUNDS]
    found = judged(1.0, at=PROCESSES, serial=serial, cores=0.3, harness=1.3)
    assert found.verdict == "no gain"
    assert "threads of its own" in found.verdict.reason


def test_work_that_waits_is_measured_by_its_workers():
    many = Situation(workers=8, cpus=2, shares_gil=True, unit="threads", gil_held=0.01)
    found = judged(7.8, at=many, serial=WAITING, cores=0.1, blocked=7.9)
    assert found.verdict == "scales"
    assert found.efficiency.value == pytest.approx(7.8 / 8)
    assert judged(4.0, at=many, serial=WAITING, cores=0.1, blocked=7.9).verdict == "partial"
    assert judged(7.8, at=evolve(many, cpus=1.0), serial=WAITING, cores=0.1, blocked=7.9).verdict == "scales"


def test_without_a_gil_nothing_is_gil_bound():
    free = Situation(workers=2, cpus=2, shares_gil=False, unit="threads")
    assert judged(1.0, at=free, cores=1.0, blocked=1.0).verdict == "no gain"


def test_waiting_side_by_side_scales_too():
    found = judged(1.99, cores=0.02, blocked=1.98)
    assert found.verdict == "scales"
    assert "waited side by side" in found.verdict.reason


def test_too_few_rounds_are_too_noisy():
    serial = [observation(n) for n in range(1, MIN_ROUNDS)]
    cells = [observation(n, wall=0.05, cores=1.97) for n in range(1, MIN_ROUNDS)]
    found = judge(cells, serial, THREADS)
    assert found.verdict == "too noisy"
    assert "at least 6" in found.verdict.reason
    assert judge([], [], THREADS).verdict == "too noisy"


def test_too_few_rounds_are_not_called_starved():
    serial = [observation(n, foreign=1.0) for n in range(1, 4)]
    cells = [observation(n, cores=1.0, delay=1.0, foreign=1.0) for n in range(1, 4)]
    assert judge(cells, serial, THREADS).verdict == "too noisy"


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
    assert judge_serial([observation(n, delay=0.5, foreign=1.5) for n in ROUNDS], 2).verdict == "starved"
    assert judge_serial([], 2).verdict == "too noisy"


def test_verdict_compares_with_its_word():
    verdict = Verdict("scales", "because")
    assert verdict == "scales"
    assert verdict != "partial"
    assert verdict == Verdict("scales", "other reason")  # as both equal the word
    assert verdict in ("scales", "partial")
    assert str(verdict) == "scales"
    assert len({verdict, "scales", Verdict("scales", "other reason")}) == 1
    assert verdict != 7


def test_every_word_can_be_said_and_no_other():
    one = Situation(workers=1, cpus=2, shares_gil=True, unit="threads")
    said = [
        judged(1.0, at=one, cores=1.0),
        judged(1.9, cores=1.95),
        judged(4 / 3, cores=4 / 3, blocked=2 / 3),
        judged(0.98, cores=1.0, blocked=1.0),
        judged(0.5, at=PROCESSES, cores=1.9),
        judged(1.0, at=evolve(THREADS, gil_held=0.1), cores=1.0, blocked=1.0),
        judged(1.0, at=PROCESSES, cores=1.0, blocked=1.0),
        judged(1.0, cores=1.0, delay=1.0, foreign=1.0),
        judge([], [], THREADS),
    ]
    not_measured = Comparison(made_up_run([record(error="it cannot be sent")]))["serial"]
    others = {not_measured.verdict.word, between(1.3, 1.9).word}
    assert {found.verdict.word for found in said} | others == set(WORDS)


def test_a_type_checker_knows_all_words():
    from gilcmp.experiments import claim
    from gilcmp.probing import probe_result

    assert set(get_args(Word)) == {*WORDS, *probe_result.WORDS, *claim.WORDS}


def test_the_serial_cell_is_the_unit():
    found = judge_serial([observation(n, foreign=0.9) for n in ROUNDS], 2)  # a second CPU is not its business
    assert (found.speedup.value, found.speedup.low, found.speedup.high, found.speedup.n) == (1.0, 1.0, 1.0, 10)
    assert found.efficiency == found.speedup
    assert found.verdict == "baseline"
    six = judge_serial([observation(n) for n in range(1, 7)], 2)
    assert six.verdict == "baseline"
    five = judge_serial([observation(n) for n in range(1, 6)], 2)
    assert five.verdict.reason == "5 rounds cannot give an interval: at least 6 can"
    assert judge_serial([observation(1)], 2).verdict.reason.startswith("1 round cannot")
    starved = judge_serial([observation(n, foreign=2.0) for n in ROUNDS], 2)
    assert starved.verdict == "starved"
    assert math.isnan(starved.speedup.value)


def test_a_neighbour_on_the_second_cpu_spoils_two_workers_and_not_their_serial_partner():
    busy = [observation(n, foreign=0.9) for n in ROUNDS]
    quiet = [observation(n, wall=0.052, cores=1.9) for n in ROUNDS]
    assert len(judge(quiet, busy, THREADS).quiet) == 10
    assert len(judge([evolve(seen, foreign=0.9) for seen in quiet], busy, THREADS).quiet) == 0


@pytest.mark.parametrize(
    ("workers", "cores", "blocked", "turns"),
    [(2, 1.0, 1.0, True), (2, 1.0, 0.4, False), (2, 1.5, 1.0, False), (1, 1.0, 1.0, False), (4, 1.0, 1.2, True),
     (4, 1.0, 0.8, False)],
)  # fmt: skip
def test_to_take_turns_is_to_run_one_at_a_time_while_the_others_wait(workers, cores, blocked, turns):
    assert take_turns(observation(1, wall=0.5, cores=cores, blocked=blocked), workers) is turns


@pytest.mark.parametrize(("many", "word"), [(5, "too noisy"), (6, "GIL-bound")])
def test_more_than_half_of_the_rounds_must_have_taken_turns(many, word):
    # the ratios say nothing: they reach from no gain to a gain
    walls = [0.100, 0.080, 0.099, 0.081, 0.101, 0.079, 0.098, 0.082, 0.100, 0.101]
    turns = {"cores": 1.0, "blocked": 1.0}
    cells = [
        observation(n, wall=wall, **(turns if n <= many else {"cores": 1.4}))
        for n, wall in zip(ROUNDS, walls, strict=True)
    ]
    found = judge(cells, [observation(n) for n in ROUNDS], evolve(THREADS, gil_held=0.98 if many > 5 else 0.5))
    assert found.verdict == word


def test_what_one_worker_costs_is_told():
    one = Situation(workers=1, cpus=2, shares_gil=True, unit="threads")
    found = judged(0.8, at=one, cores=1.0)
    assert found.verdict == "slower"
    assert "costs 25%" in found.verdict.reason
    assert judged(1.0, at=one, cores=1.0).verdict == "baseline"


def test_the_share_of_waiting_is_that_of_all_workers():
    found = judged(1.9, at=evolve(THREADS, gil_held=0.01), cores=0.1, blocked=1.8, serial=WAITING)
    assert found.verdict == "scales"
    assert "90% of the time" in found.verdict.reason


def test_where_the_time_went_adds_up():
    found = judged(1.4, at=PROCESSES, cores=1.2, blocked=0.6)
    assert "were on a CPU 60% and blocked 30% of the time; 43% of the work behaves as serial" in found.verdict.reason


def test_a_word_has_its_tone_and_its_reason_as_a_hint():
    shown = Verdict("scales", "because").shown()
    assert (shown.text, shown.tone, shown.hint) == ("scales", "good", "because")
    assert Verdict("baseline", "").shown().tone == ""
    assert Verdict("holds", "").shown({"holds": "bad"}).tone == "bad"


def test_a_gain_without_more_cpus_is_a_fault_of_the_measurement():
    """Seen once in a run as it comes: the serial cell was slow by itself, and threads under the GIL were `partial`."""
    serial = [observation(number, wall=0.148) for number in range(1, 13)]
    turns = [observation(number, wall=0.1, cores=1.0, blocked=0.98) for number in range(1, 13)]
    found = judge(turns, serial, Situation(2, 2.0, shares_gil=True, gil_held=0.99, gil_waited=0.9))
    assert found.verdict == "too noisy"
    assert "1.48x, while one of the workers ran at a time (1.00 CPUs busy)" in found.verdict.reason
    waiting = [observation(number, wall=0.148, cores=0.05) for number in range(1, 13)]
    together = [observation(number, wall=0.08, cores=0.09) for number in range(1, 13)]
    assert judge(together, waiting, Situation(2, 2.0, shares_gil=True)).verdict == "scales"
