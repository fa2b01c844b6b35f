"""The edges of the judging room's rules: the value at a limit, the smallest case, the text with two names in it.

What the other tests leave open, as a mutation run shows (`nox -s mutation`).
"""

from __future__ import annotations

import json
import math
from unittest.mock import ANY

import pytest
from attrs import evolve

import gilcmp
from conftest import made_up_run, observation, record
from gilcmp import Estimate
from gilcmp.judge.charts import (
    MARKERS,
    PALETTE,
    runs_chart,
    shares_chart,
    speedup_panels,
    styles,
    tasks_chart,
    time_chart,
)
from gilcmp.judge.crossing import crossing
from gilcmp.judge.diff import Diff
from gilcmp.judge.differences import CellDiff, RunDiff, cell_table, differs, reading
from gilcmp.judge.estimate import FEWEST, inflation, median_in_time, ratio_of_sums
from gilcmp.judge.ratios import holm
from gilcmp.judge.verdict import GRANTED, MORE_CPU_TIME, Situation, Verdict, got_its_cpus, is_quiet, judge, take_turns
from gilcmp.saved.kept import csv_cell
from gilcmp.saved.observation import WAITING, Observation, TaskSpan
from gilcmp.saved.reading import ResultError

NAN = math.nan


def estimates(*parts):
    """A curve of (size, value, low, high)."""
    return [(size, Estimate(value, low, high, 9)) for size, value, low, high in parts]


# ---- where a curve crosses 1


def test_an_interval_that_touches_1_is_in_doubt():
    curve = estimates((10, 0.5, 0.4, 0.6), (100, 0.9, 0.8, 1.0), (1000, 1.1, 1.0, 1.2), (10_000, 1.5, 1.4, 1.6))
    assert (crossing(curve).low, crossing(curve).high) == (10, 10_000)


@pytest.mark.parametrize(
    ("values", "size"),
    [
        ([0.5, 1.0], NAN),  # never above
        ([0.5, 1.0, 1.5], 100),
        ([0.5, 1.0, 1.0, 1.5], 1000),  # the size above which it is more than 1
    ],
)
def test_a_curve_that_stays_at_1(values, size):
    curve = estimates(*((10 ** (n + 1), value, value - 0.1, value + 0.1) for n, value in enumerate(values)))
    assert crossing(curve).value == pytest.approx(size, nan_ok=True)


# ---- the ratio of sums


def test_of_no_time_nothing_is_known():
    unknown = ratio_of_sums([(1.0, 0.0)])
    assert all(math.isnan(number) for number in (unknown.value, unknown.low, unknown.high))
    assert unknown.n == 0


def test_little_time_is_time():
    assert ratio_of_sums([(0.01, 0.04)] * 8) == Estimate(0.25, 0.25, 0.25, 8)


def test_with_six_parts_there_is_an_interval_with_five_there_is_none():
    assert ratio_of_sums([(1.0, 2.0)] * 6) == Estimate(0.5, 0.5, 0.5, 6)
    assert ratio_of_sums([(1.0, 2.0)] * 5) == Estimate(0.5, -math.inf, math.inf, 5)


@pytest.mark.parametrize(("n", "student"), [(6, 2.5706), (8, 2.3646), (16, 2.1314)])
def test_its_interval_is_students(n, student):
    """Parts that are off by turns have a negative autocorrelation, for which nothing is widened or narrowed."""
    found = ratio_of_sums([(0.4, 1.0), (0.6, 1.0)] * (n // 2))
    expected = student * 0.1 / math.sqrt(n)
    # inflation holds the factor of a sample's variance: sqrt(n / (n - 1))
    half = (found.high - 0.5) / math.sqrt(n / (n - 1))
    assert found.low == pytest.approx(1 - found.high)
    assert half == pytest.approx(expected, rel=0.06)
    # and the series by which the quantile is taken has just this value
    series = 1.96 + (1.96**3 + 1.96) / 4 / (n - 1)
    assert half == pytest.approx(series * 0.1 / math.sqrt(n), rel=1e-9)


def test_the_first_part_of_a_ratio_counts_as_the_others_do():
    with_it = ratio_of_sums([(1.0, 1.0), *[(0.4, 1.0), (0.6, 1.0)] * 4])
    assert with_it.high - with_it.low > 2 * (ratio_of_sums([(0.4, 1.0), (0.6, 1.0)] * 4).high - 0.5)


# ---- differences


@pytest.mark.parametrize(
    ("time", "differs"),
    [
        # 1 lies 2.9 and 3.1 half-widths from the value, on either side, of an interval whose other half is wide
        ((math.exp(-0.29), math.exp(-0.59), math.exp(-0.19)), False),
        ((math.exp(-0.31), math.exp(-0.61), math.exp(-0.21)), True),
        ((math.exp(0.29), math.exp(0.19), math.exp(0.59)), False),
        ((math.exp(0.31), math.exp(0.21), math.exp(0.61)), True),
    ],
)
def test_one_interval_far_off_is_no_chance(time, differs):
    unknown = Estimate(NAN, NAN, NAN, 0)
    cells = [CellDiff(("pi", "python", "serial", n), Estimate(1.0, 0.9, 1.1, 9), unknown) for n in range(20)]
    cells.append(CellDiff(("pi", "python", "serial", 20), Estimate(*time, 9), unknown))
    text = reading(RunDiff("b", tuple(cells), (), (), ()))
    assert text.startswith("1 of 21 cells differ (*)" if differs else "no difference in 21 cells")


# ---- comparisons


def comparison(*cells):
    return gilcmp.Comparison(made_up_run(cells))


def rounds(wall=0.1, n=12, **shares):
    return [observation(number, wall=wall, **shares) for number in range(1, n + 1)]


def test_a_key_that_names_no_cell_or_two_lists_what_there_is():
    found = comparison(record(rounds=rounds()), record(strategy="threads", workers=2, rounds=rounds()))
    with pytest.raises(KeyError) as error:
        found["python"]
    cells = "pi, python, serial, 1; pi, python, threads, 2"
    assert error.value.args == (f"'python' must name one cell, and names 2 of: {cells}",)
    with pytest.raises(KeyError) as error:
        found["numpy"]
    assert error.value.args == (f"'numpy' must name one cell, and names 0 of: {cells}",)


def test_all_who_took_turns_are_named():
    turns = {"strategy": "threads", "workers": 2, "rounds": rounds(foreign=1.0, blocked=0.9)}
    names = ("python", "cython_gil")
    cells = [cell for name in names for cell in (record(name, rounds=rounds(foreign=1.5)), record(name, **turns))]
    assert comparison(*cells).findings[0] == (
        "pi: The threads of python, cython_gil took turns; what that costs could not be measured."
    )


def test_a_comparison_without_cells_has_no_rounds():
    text = " ".join(str(comparison()).split())
    assert "0 rounds, of which 0 to 0 were quiet" in text


def test_physical_cores_are_named_only_where_they_are_fewer():
    def text(cores, logical):
        found = comparison(record(rounds=rounds()))
        environment = evolve(found.environment, cpu="a CPU", cpus_physical=cores, cpus_logical=logical)
        return str(gilcmp.Comparison(evolve(found.run, environment=environment)))

    assert "(a CPU, hardware threads of 1 core)" in text(1, 2)
    for cores in (None, 2):
        assert "(a CPU)" in " ".join(text(cores, 2).split())


def test_the_heading_names_each_size_and_none_for_a_function():
    sizes = [record("python", rounds=rounds(), size=1000), record("numpy", rounds=rounds(), size=2000)]
    assert comparison(*sizes).sections()[0].title == "pi, size 1,000 / 2,000 (time per point)"
    assert comparison(record(rounds=rounds(), size=None)).sections()[0].title == "pi (time per point)"


def test_the_control_needs_rounds_in_common_and_the_same_work_only_per_unit():
    def control(gil, nogil, **changes):
        cells = [record("cython_gil", rounds=gil), record("cython_nogil", rounds=nogil, **changes)]
        return comparison(*cells).control("pi")

    later = [observation(number) for number in range(101, 113)]
    assert control(rounds(), later) is None
    assert control(rounds(0.1), rounds(0.4), work=4000).value == pytest.approx(1.0)


# ---- what is said of cells


def clear(speedup, **shares):
    """Twelve rounds beside a serial cell of 0.1 s."""
    return rounds(0.1 / speedup, **shares)


def said(*cells):
    return " ".join(comparison(*cells).findings)


def twins(held, processes=None, strategy="processes"):
    cells = [
        record("cython_gil", rounds=rounds()),
        record("cython_gil", "threads", 2, held, gil_held=0.98),
        record("cython_nogil", rounds=rounds()),
        record("cython_nogil", "threads", 2, clear(1.9, cores=1.9)),
    ]
    if processes:
        cells.insert(2, record("cython_gil", strategy, 2, processes, shares_gil=False))
    return said(*cells)


BOUND = clear(1.0, cores=1.0, blocked=0.95)
SLOWER = clear(0.8, cores=1.0, blocked=0.95)
PARTIAL = clear(1.4, cores=1.4, blocked=0.4)
SCALES = clear(1.9, cores=1.9)


@pytest.mark.parametrize("strategy", ["processes", "processes-spawn"])
@pytest.mark.parametrize(
    ("held", "processes", "sentence"),
    [
        (BOUND, SCALES, "2 processes ran cython_gil 1.90x: only the lock was in the way."),
        (SLOWER, SCALES, "2 processes ran cython_gil 1.90x: only the lock was in the way."),
        (PARTIAL, SCALES, "2 processes ran cython_gil 1.90x."),
        (BOUND, PARTIAL, "2 processes ran cython_gil 1.40x."),
    ],
)
def test_only_the_lock_was_in_the_way_where_processes_scale_and_threads_queued(held, processes, sentence, strategy):
    assert twins(held, processes, strategy).endswith(sentence)


def test_twins_without_processes_say_nothing_of_them():
    text = twins(BOUND)
    assert text.startswith("pi: 2 threads ran cython_nogil 1.90x as fast as one and cython_gil 1.00x")
    assert "processes" not in text


def test_one_worker_is_no_comparison_of_twins():
    names = ("cython_gil", "cython_nogil")
    one = [cell for name in names for cell in (record(name, rounds=rounds()), record(name, "threads", 1, rounds()))]
    assert said(*one) == ""


def test_nothing_helped_is_said_only_where_every_cell_is_clear():
    serial = record("python", rounds=rounds())
    slow = record("python", "threads", 2, rounds(0.2, cores=1.9))
    noisy = record("python", "processes", 2, [observation(n, wall=0.05 + 0.02 * (n % 5)) for n in range(1, 13)])
    assert said(serial, slow).startswith("pi: Nothing made python faster than serial.")
    assert "Nothing made" not in said(serial, slow, noisy)


def test_what_exactly_keeps_up_with_serial_is_not_faster():
    same = record("python", "threads", 2, rounds(0.1, cores=1.9))
    one = record("python", "threads", 1, rounds(0.09))
    assert said(record("python", rounds=rounds()), one, same) == "pi: Nothing made python faster than serial."


def test_the_second_implementation_is_told_although_the_first_is_not_clear():
    few = {"rounds": rounds(n=3)}
    cells = [record("a", **few), record("a", "threads", 2, **few)]
    cells += [record("b", rounds=rounds()), record("b", "threads", 2, SCALES)]
    assert said(*cells).startswith("pi: b ran fastest under threads x 2: 1.90x as fast as serial.")


def test_all_that_waited_for_the_lock_are_named():
    cells = [
        cell
        for name in ("a", "b")
        for cell in (record(name, rounds=rounds()), record(name, "threads", 2, BOUND, gil_held=0.9))
    ]
    assert "The threads of a, b waited for the GIL." in said(*cells)


@pytest.mark.parametrize("enabled", [True, False])
def test_a_free_threaded_build_says_whether_its_lock_is_on(enabled):
    found = comparison(record(rounds=rounds()))
    environment = evolve(found.environment, free_threaded=True, gil_enabled=enabled)
    text = gilcmp.Comparison(evolve(found.run, environment=environment)).findings[-1]
    assert text == f"This is a free-threaded build; its GIL was {'on' if enabled else 'off'}."


# ---- verdicts at their limits


def test_limits_belong_to_the_word():
    at_limit = Observation(round=1, wall=1.0, cpu=1.2, run_delay=0.0, blocked=0.5, harness=0.0, foreign=0.0)
    assert take_turns(at_limit, 2)
    held = record("python", "threads", 2, BOUND, gil_held=0.8)
    assert comparison(record("python", rounds=rounds()), held)["threads"].verdict == "GIL-bound"


def test_six_rounds_that_others_disturbed_are_starved_and_five_are_too_few():
    for n, word in ((6, "starved"), (5, "too noisy")):
        busy = record("python", "threads", 2, rounds(n=n, foreign=2.0))
        assert comparison(record("python", rounds=rounds(n=n)), busy)["threads"].verdict == word


def test_a_verdict_leaves_a_comparison_to_the_other_side_where_it_knows_nothing():
    assert Verdict("scales", "") == ANY


def partial(serial=(), cell=(), hand_over=0.016):
    """The reason of a cell that gains 1.25x, whose observations and those of the serial one are as given."""
    serial = [observation(n, wall=1.0, **dict(serial)) for n in range(1, 13)]
    seen = [observation(n, wall=0.8, **{"cores": 1.25} | dict(cell)) for n in range(1, 13)]
    found = judge(seen, serial, Situation(2, 2.0, shares_gil=False, unit="processes", hand_over=hand_over)).verdict
    assert found.word == "partial"
    return found.reason


def test_a_reason_holds_from_its_limit_on():
    assert "keeps 0.25 further CPUs busy" in partial(serial={"harness": 0.25})
    assert "behaves as serial" in partial(), "two per cent of the time may go into handing over"


def test_a_serial_cell_that_used_no_cpu_gives_no_reason_by_cpu_time():
    assert "CPU time" not in partial(serial={"cores": 0.0}, cell={"cores": 0.0, "blocked": 0.5})


# ---- differences at their limits


def key(number=0):
    return ("pi", "python", "threads", number)


def differing(*cells):
    return RunDiff("b", tuple(cells), (), (), ())


UNKNOWN = Estimate(NAN, NAN, NAN, 0)
HIGHER = Estimate(1.3, 1.2, 1.4, 9)
LOWER = Estimate(0.7, 0.6, 0.8, 9)
EQUAL = Estimate(1.0, 0.9, 1.1, 9)


@pytest.mark.parametrize(("cells", "most"), [(20, 2), (80, 7)])
def test_chance_explains_so_many_intervals_and_no_more(cells, most):
    for missing, text in ((most, f"no difference in {cells} cells"), (most + 1, f"{most + 1} of {cells} cells differ")):
        times = [HIGHER if number < missing else EQUAL for number in range(cells)]
        # 1.3 [1.2, 1.4] is less than three half-widths from 1
        times = [evolve(time, low=1.05, high=1.6) if time is HIGHER else time for time in times]
        found = differing(*(CellDiff(key(number), time, UNKNOWN) for number, time in enumerate(times)))
        assert reading(found).startswith(text)


def test_without_cells_to_compare_nothing_is_compared():
    assert reading(differing(CellDiff(key(), UNKNOWN, UNKNOWN, "another size"))) == "No cell could be compared."


@pytest.mark.parametrize(
    ("time", "speedup", "tone"),
    [
        (HIGHER, EQUAL, "bad"),
        (EQUAL, LOWER, "bad"),
        (LOWER, EQUAL, "good"),
        (EQUAL, HIGHER, "good"),
        (evolve(HIGHER, low=1.0), evolve(LOWER, high=1.0), ""),
        (evolve(LOWER, high=1.0), evolve(HIGHER, low=1.0), ""),
    ],
)
def test_the_tone_of_a_difference(time, speedup, tone):
    (row,) = cell_table(differing(CellDiff(key(), time, speedup))).rows
    assert {value.tone for value in row} == {tone}


def worse(*cells, limit=1.0):
    return [(cell.key[3], text) for _, cell, text in Diff(("a", "b"), (), (differing(*cells),)).below(limit)]


def test_below_has_an_error_of_one_in_forty():
    def time(t):
        """Work per second below 1 by t standard errors, an interval's half-width being 2.31 of them."""
        half = 0.1
        work = -t * half / 2.306
        return Estimate(math.exp(-work), math.exp(-work - half), math.exp(-work + half), 9)

    assert worse(CellDiff(key(), time(2.35), UNKNOWN)) == [(0, "does 0.90 times the work per second")]
    assert worse(CellDiff(key(), time(2.25), UNKNOWN)) == []


def test_below_names_the_speed_up_where_only_it_got_worse():
    assert worse(CellDiff(key(), EQUAL, evolve(LOWER, low=0.69, high=0.71))) == [(0, "has 0.70 times the speed-up")]


@pytest.mark.parametrize("first", "=+-@")
def test_a_csv_cell_is_no_formula(first):
    assert csv_cell(f"{first}A1") == f"'{first}A1"


@pytest.mark.parametrize("text", ["-1.5", "+2", "1", "a=b", ""])
def test_other_csv_cells_stay_as_they_are(text):
    assert csv_cell(text) == text


def serial_run(environment=None, **changes):
    values = {"rounds": rounds()} | changes
    found = comparison(record(**values))
    return gilcmp.Comparison(
        evolve(found.run, environment=evolve(found.environment, **(environment or {"load": None})))
    )


@pytest.mark.parametrize(
    ("first", "other", "refused"),
    [
        ({}, {}, ""),
        ({}, {"error": "it failed in the end"}, ""),
        ({}, {"error": "it failed", "rounds": []}, "it failed"),
        ({"size": 1000}, {"size": 2000}, "another size: 1,000 and 2,000"),
        ({"size": None}, {"size": 2000}, "another size"),
        ({"size": 2000}, {"size": None}, "another size"),
        ({"tasks": 16}, {"tasks": 8}, ""),  # a kernel's size says it all
        ({"tasks": 16, "size": None}, {"tasks": 8, "size": None}, "other tasks: 16 and 8"),
        ({}, {"rounds": rounds(n=6)}, ""),
        ({}, {"rounds": rounds(n=5)}, "5 quiet rounds in one of them: too noisy"),
    ],
)
def test_what_is_compared(first, other, refused):
    (run,) = gilcmp.diff(serial_run(**first), serial_run(**other)).runs
    assert [cell.refused for cell in run.cells] == [refused]


def test_what_is_starved_is_not_compared_however_many_rounds_it_has():
    cells = [record("python", rounds=rounds()), record("python", "threads", 2, rounds())]
    one_cpu = gilcmp.Comparison(made_up_run(cells, cpus=1))
    (run,) = gilcmp.diff(one_cpu, one_cpu).runs
    assert run.cells[1].refused == "12 quiet rounds in one of them: starved"


def test_times_are_compared_per_unit_of_work():
    (run,) = gilcmp.diff(serial_run(), serial_run(rounds=rounds(0.4), work=4000)).runs
    assert run.cells[0].time.value == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"load": (1.0, 9.0, 9.0)}, []),  # half of two CPUs
        ({"load": (1.01, 0.0, 0.0)}, [("load (1 minute)", ("?", "1.01"))]),
        ({"load": None, "packages": {"numpy": "2.0", "new": "1"}}, [("new", ("-", "1"))]),
        ({"load": None, "cpu_quota": 2.0}, [("cpu_quota", ("-", "2"))]),
    ],
)
def test_the_environments_differ_by_what_is_told(fields, shown):
    same = {"load": None, "packages": {"numpy": "2.0"}}
    found = gilcmp.diff(serial_run(same), serial_run(same | fields))
    assert [(difference.name, difference.values) for difference in found.environment] == shown


def test_a_diff_says_that_nothing_differs_between_the_environments():
    found = gilcmp.diff(serial_run(), serial_run())
    assert [part.title for part in found.sections()] == [
        "What differs between the environments", "run 2 against run 1", "", "",
    ]  # fmt: skip
    assert "nothing" in [line.strip() for line in str(found).splitlines()]
    assert json.loads(found.to_json())["names"] == ["run 1", "run 2"]


def test_one_run_is_not_enough_for_a_diff():
    with pytest.raises(ValueError, match=r"^diff needs at least two runs, got one$"):
        gilcmp.diff(serial_run())


def test_runs_of_one_name_are_told_apart_by_their_paths_beside_one_without_a_path(tmp_path):
    paths = [tmp_path / folder / "x.json" for folder in "ab"]
    for path in paths:
        path.parent.mkdir()
        serial_run().save(path)
    assert gilcmp.diff(*paths, serial_run()).names == (str(paths[0]), str(paths[1]), "run 3")


@pytest.mark.parametrize("text", ["{", '{"schema": 1}', '{"benchmarks": [{}], "machine_info": {}, "version": "1"}'])
def test_a_broken_file_is_named(text, tmp_path):
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(ResultError, match=r"broken\.json"):
        gilcmp.diff(serial_run(), path)


# ---- charts


def test_implementations_of_ones_own_take_the_free_colours_in_turn():
    names = ["python", *(f"own {n}" for n in range(5))]
    found = styles(names)
    assert [found[name][0] for name in names] == [PALETTE[n] for n in (0, 4, 5, 6, 7, 4)]
    assert [found[name][1] for name in names] == [MARKERS[n] for n in (0, 4, 5, 6, 7, 4)]


def test_panels_know_what_they_show():
    found = comparison(record(rounds=rounds()), record("python", "threads", 2, SCALES))
    (panel,) = speedup_panels(found.cells, 2.0)
    assert (panel.kernel, panel.strategy) == ("pi", "threads")


@pytest.mark.parametrize(("most", "log"), [(16, False), (17, True)])
def test_many_workers_stand_on_a_logarithmic_axis(most, log):
    cells = [record("python", "threads", n, SCALES) for n in (2, most)]
    (panel,) = speedup_panels(comparison(record(rounds=rounds()), *cells).cells, 2.0)
    assert panel.chart.x.log is log


def test_tasks_are_shown_of_the_most_workers_that_fit():
    spans = [TaskSpan(0, 0.0, 0.01)]

    def shown(cpus, *workers, kernel="pi"):
        cells = [record("python", "threads", n, SCALES, latest=spans) for n in workers]
        cells.append(record("python", rounds=rounds(), latest=spans))
        other = record("python", kernel="dot", rounds=rounds()), record("python", "threads", 2, SCALES, kernel="dot")
        chart = tasks_chart(comparison(*cells, *other).cells, kernel, cpus)
        return chart and [row[1] for row in chart.table.rows]

    assert shown(2.0, 1, 2, 4) == ["threads x 2"]
    assert shown(4.0, 1, 2, 4) == ["threads x 4"]
    assert shown(0.5, 1, 2) == ["threads x 1"]
    assert shown(2.0, 4) == ["threads x 4"], "what does not fit is better than nothing"
    assert shown(2.0, 2, kernel="dot") is None


def test_without_an_interval_a_chart_has_its_value_alone():
    few = comparison(record(rounds=rounds(n=3)), record("python", "threads", 2, rounds(0.05, n=3)))
    (dot,) = time_chart(few.cells, "pi").marks
    assert dot.low == dot.high == dot.value == pytest.approx((1e-4,))
    (dots,) = runs_chart([("a", few.cells)], "pi").marks
    assert dots.low == dots.high == dots.value == pytest.approx((2.0,))


def test_the_rows_of_a_chart_of_runs_are_the_cells_of_its_kernel():
    cells = [record("python", rounds=rounds()), record("python", "threads", 2, SCALES)]
    other = [evolve(cell, kernel="dot", implementation="numpy") for cell in cells]
    assert runs_chart([("a", comparison(*other, *cells).cells)], "pi").rows == ("python  threads x 2",)


def test_a_chart_of_shares_names_who_waited_most():
    waits = record("python", "threads", 2, rounds(cores=0.4, blocked=1.6))
    chart = shares_chart(comparison(record("python", rounds=rounds()), waits).cells, "pi")
    assert chart.alternative.endswith("for the GIL or a lock: python, threads x 2, 80 %.")


def test_an_axis_of_times_has_two_powers_of_ten_at_least():
    chart = time_chart(comparison(record(rounds=rounds(0.1), work=1)).cells, "pi")
    assert [label for _, label in chart.x.ticks] == ["100 ms", "1 s"]
    assert chart.x.title == ""


def test_a_figure_has_a_row_a_kernel_and_a_column_a_strategy():
    pytest.importorskip("matplotlib")
    cells = [record("python", rounds=rounds()), record("python", "threads", 2, SCALES)]
    cells += [record("python", "processes", 2, SCALES), record("python", kernel="dot", rounds=rounds())]
    cells += [record("python", "threads", 2, SCALES, kernel="dot")]
    found = comparison(*cells)
    titles = [chart.title for chart in found.charts()]
    figure = found.plot()
    places = [(axes.get_subplotspec().rowspan.start, axes.get_subplotspec().colspan.start) for axes in figure.axes]
    shown = {axes.get_title(loc) for axes in figure.axes for loc in ("left", "center")} - {""}
    assert shown == set(titles) == {"pi: threads", "pi: processes", "dot: threads"}
    by_title = {
        axes.get_title("left") or axes.get_title(): place for axes, place in zip(figure.axes, places, strict=True)
    }
    assert (by_title["pi: threads"], by_title["pi: processes"]) == ((0, 0), (0, 1))
    assert by_title["dot: threads"] == (1, 0)
    assert comparison().plot().axes == []
    (one,) = comparison(*cells[:2]).plot().axes
    assert one.get_subplotspec().get_gridspec().ncols == 1


def test_a_saved_run_is_loaded_as_a_comparison(tmp_path):
    found = serial_run()
    found.save(tmp_path / "x.json")
    again = gilcmp.load(tmp_path / "x.json")
    assert isinstance(again, gilcmp.Comparison)
    assert again.run == found.run


# ---- each word at the limits of its region


def word_at(*ratios, workers=2, cpus=2.0, serial_cores=1.0, gil_held=None, **shares):
    """The judgement on cells whose speed-ups are exactly these, in turns."""
    ratios = [ratios[n % len(ratios)] for n in range(12)]
    serial = [observation(n, wall=1.0, cores=serial_cores) for n in range(1, 13)]
    shares = {"cores": 1.0} | shares
    seen = [evolve(observation(n, wall=1.0, **shares), serial=ratio) for n, ratio in enumerate(ratios, 1)]
    situation = Situation(workers, cpus, shares_gil=gil_held is not None, unit="threads", gil_held=gil_held)
    return judge(seen, serial, situation)


ONE = {"workers": 1, "cores": 1.0}
TURNS = {"cores": 1.0, "blocked": 0.98, "gil_held": 0.98}


@pytest.mark.parametrize(
    ("ratios", "given", "word", "reason"),
    [
        ([0.95], ONE, "baseline", "one worker: what the strategy itself costs"),
        ([0.94], ONE, "slower", "one worker: handing tasks over costs 6%"),
        ([1.0], {"cpus": 1.0}, "starved", "this process may use 1 CPU: two workers cannot run at once"),
        ([1.0], {"cpus": 1.5}, "starved", "this process may use 1.5 CPUs: two workers cannot run at once"),
        ([2.2], {"cores": 2.2}, "scales", "2.20 of 2 CPUs were busy with it"),
        ([0.95], {}, "no gain", None),
        ([0.94], {}, "slower", None),
        ([1.15], {}, "no gain", None),
        (
            [1.0],
            {},
            "no gain",
            "threads were on a CPU 50% and blocked 0% of the time; 100% of the work behaves as serial",
        ),
        ([0.9], {}, "slower", "the threads were on a CPU 50% and blocked 0% of the time"),
        ([1.1, 1.15, 1.2], TURNS, "GIL-bound", None),
        ([1.0], {"cores": 1.9, "gil_held": 0.8}, "GIL-bound", None),
        ([1.7], {"cores": 1.9}, "scales", None),
        ([1.7], {"cores": 0.5, "blocked": 0.5}, "scales", "the threads waited side by side, 25% of the time"),
        ([1.7], {"cores": 1.0, "blocked": 0.5}, "scales", "1.00 of 2 CPUs were busy with it"),
        ([1.15, 1.3], {}, "too noisy", "between 1.15x and 1.30x: a longer budget may tell"),
        ([1.3, 1.7], {}, "faster", "at least 1.30x; whether it reaches 1.70x and scales is open"),
        ([1.16, 1.71], {}, "faster", "at least 1.16x; whether it reaches 1.70x and scales is open"),
        ([1.16, 1.69], {}, "partial", None),
        (
            [1.3],
            {"cores": MORE_CPU_TIME},
            "partial",
            "caches or cores, or the price of handing them over",
        ),
    ],
)
def test_the_word_at_a_limit(ratios, given, word, reason):
    verdict = word_at(*ratios, **given).verdict
    assert verdict.word == word, verdict
    assert reason is None or verdict.reason.endswith(reason)


def test_a_starved_cell_has_no_speed_up_although_all_its_rounds_were_quiet():
    found = word_at(1.0, cpus=1.0)
    assert len(found.quiet) == 12
    assert math.isnan(found.speedup.value)
    assert math.isnan(found.efficiency.value)


def test_handing_over_takes_no_more_than_all_of_the_time():
    assert partial(hand_over=4.0).startswith("handing the tasks over takes up to 100% of the time")


def test_quiet_is_what_leaves_nearly_all_of_the_cpus_and_gets_them():
    assert is_quiet(observation(foreign=0.15), 4, 4.0)
    assert not is_quiet(observation(foreign=0.25), 4, 4.0)
    assert got_its_cpus(observation(granted=GRANTED))
    assert not got_its_cpus(observation(granted=GRANTED - 0.01))


def test_work_that_keeps_a_cpu_busy_for_less_than_a_limit_waits():
    at_limit = [observation(wall=1.0, cores=WAITING)]
    assert Situation(4, 2.0, shares_gil=False).ideal(at_limit) == 2.0
    assert Situation(4, 2.0, shares_gil=False).ideal([observation(wall=1.0, cores=WAITING - 0.01)]) == 4.0


@pytest.mark.parametrize("value", [Estimate(0.9, 0.8, 1.0, 9), Estimate(1.1, 1.0, 1.2, 9)])
def test_what_touches_1_does_not_differ(value):
    assert not differs(value)


def test_values_that_count_as_six_have_an_interval_inside_their_range():
    values = [3.0, 5.0, 6.0, 2.0, 3.0, 0.0, 1.0, 2.0, 3.0, 8.0, 3.0, 6.0]
    assert int(len(values) / inflation(values) ** 2) == FEWEST
    found = median_in_time(values)
    assert (found.low, found.high) == (1.0, 6.0)


def test_a_chance_of_just_the_level_holds():
    assert holm([0.025], 0.025) == [True]
