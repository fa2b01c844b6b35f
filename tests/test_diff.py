"""Runs side by side. The runs are made up: no timing decides anything here."""

from __future__ import annotations

import csv
import json
import math
import random
import re

import pytest
from attrs import evolve

import gilcmp
from conftest import made_up_run, observation, record
from gilcmp.cli import main as cli
from gilcmp.judge.diff import CSV_FIELDS, Diff, geometric_mean, in_plain_python
from gilcmp.judge.differences import differs
from gilcmp.judge.estimate import Estimate
from gilcmp.judge.ratios import ratio_of_medians
from gilcmp.judge.side_by_side import Row, columns_table, odd_ones, told
from gilcmp.saved.reading import ResultError
from gilcmp.saved.run import to_json
from gilcmp.show.model import section
from gilcmp.show.text import plain


def rounds(wall, seed=0, n=12, spread=0.02, cores=1.0):
    numbers = random.Random(seed)
    return [observation(i, wall * math.exp(numbers.gauss(0, spread)), cores) for i in range(1, n + 1)]


def comparison(serial=0.1, threads=0.05, seed=0, extra=(), **changes):
    cells = [
        record("cython_nogil", "serial", 1, rounds(serial, seed)),
        record("cython_nogil", "threads", 2, rounds(threads, seed + 1, cores=1.95)),
        *extra,
    ]
    made_up = made_up_run(cells, **changes)
    return gilcmp.Comparison(evolve(made_up, environment=evolve(made_up.environment, load=(0.0, 0.0, 0.0))))


def test_the_same_machine_shows_no_difference():
    found = gilcmp.diff(comparison(seed=1), comparison(seed=5))
    assert found.environment == ()
    (run,) = found.runs
    assert [cell.key for cell in run.cells] == [
        ("pi", "cython_nogil", "serial", 1),
        ("pi", "cython_nogil", "threads", 2),
    ]
    assert not run.missing
    assert not run.extra
    serial, threads = run.cells
    assert math.isnan(serial.speedup.value)
    assert not differs(serial.time)
    assert not differs(threads.speedup)
    assert "no difference in 2 cells" in str(found)


def test_the_lock_and_what_it_changed_come_first():
    def with_gil(run, enabled):  # whatever this interpreter has
        environment = evolve(run.environment, python="3.14.0", free_threaded=not enabled, gil_enabled=enabled)
        return gilcmp.Comparison(evolve(run.run, environment=environment))

    with_lock = with_gil(comparison(threads=0.1), enabled=True)
    without = with_gil(comparison(serial=0.12, threads=0.061), enabled=False)
    found = gilcmp.diff(with_lock, without)
    for text in (str(found), found.to_markdown()):
        first, threads, serial = re.split(r"(?=  speed-up by|  time in one)", text.partition("What differs")[0])
        first, threads, serial = (" ".join(part.split()) for part in (first, threads, serial))
        assert first == "The GIL is on in 3.14.0 and off in 3.14.0t."
        assert threads.startswith("speed-up by threads, times that of 3.14.0: cython_nogil 1.9")
        assert threads.endswith("] (1 cell)")
        assert serial.startswith("time in one thread, times that of 3.14.0: cython_nogil 1.2")
    assert not str(gilcmp.diff(with_lock, with_lock)).startswith("The GIL")


def test_plain_python_is_told_in_a_sentence():
    def in_python(version, serial, threads, *, gil):
        cells = [
            record("python", "serial", 1, rounds(serial)),
            record("python", "threads", 2, rounds(threads, cores=1.0 if gil else 1.95), gil_held=0.98),
        ]
        run = made_up_run(cells)
        environment = evolve(
            run.environment, python=version, free_threaded=not gil, gil_enabled=gil, load=(0.0, 0.0, 0.0)
        )
        return version, gilcmp.Comparison(evolve(run, environment=environment))

    compared = [in_python("3.13.0", 0.1, 0.1, gil=True), in_python("3.14.0", 0.155, 0.078, gil=False)]
    (sentence,) = in_plain_python(compared)
    assert re.fullmatch(
        r"3\.14\.0 runs plain Python (1\.9\d|2\.0\d) \[[\d.]+, [\d.]+\] times as fast in two threads as in one, "
        r"and takes 1\.5\d \[[\d.]+, [\d.]+\] times as long as 3\.13\.0 in one thread \(1 kernel\)\.",
        sentence,
    )
    assert in_plain_python([(name, comparison()) for name in ("a", "b")]) == []


def test_a_mean_has_an_interval():
    mean = geometric_mean([Estimate(1.0, 0.5, 2.0, 9), Estimate(4.0, 2.0, 8.0, 9), Estimate(math.nan, 1.0, 2.0, 9)])
    assert (mean.value, mean.low, mean.high, mean.n) == pytest.approx((2.0, 1.0, 4.0, 2))
    assert geometric_mean([]).n == 0


def test_no_difference_is_what_chance_explains():
    from gilcmp.judge.differences import CellDiff, RunDiff, reading
    from gilcmp.judge.estimate import Estimate

    def found(*times):
        cells = tuple(
            CellDiff(("pi", "python", "serial", n), Estimate(*time, 12), Estimate(math.nan, math.nan, math.nan, 0))
            for n, time in enumerate(times)
        )
        return reading(RunDiff("b", cells, (), (), ()))

    inside, outside, far = (1.0, 0.9, 1.1), (1.2, 1.1, 1.31), (2.0, 1.9, 2.1)
    assert found(*[inside] * 38, *[outside] * 2).startswith("no difference in 40 cells: 2 of 40 95 % intervals miss 1")
    assert found(*[inside] * 30, *[outside] * 10).startswith("10 of 40 cells differ (*)")
    assert found(*[inside] * 39, far).startswith("1 of 40 cells differ (*)")


def test_what_got_slower_is_told():
    found = gilcmp.diff(comparison(), comparison(threads=0.1, seed=7))
    serial, threads = found.runs[0].cells
    assert not differs(serial.time)
    assert threads.time.value == pytest.approx(2, rel=0.1)
    assert threads.speedup.value == pytest.approx(0.5, rel=0.1)
    assert threads.speedup.low < threads.speedup.value < threads.speedup.high < 0.7
    assert [cell.key[2] for _, cell, _ in found.below(0.95)] == ["threads"]
    assert found.below(0.3) == []
    (_, mean) = found.runs[0].means
    assert (mean.strategy, mean.cells) == ("threads", 1)
    assert mean.speedup.value == pytest.approx(0.5, rel=0.1)
    assert (mean.speedup.low, mean.speedup.n) == (pytest.approx(threads.speedup.low), 1)


def test_an_interval_covers_what_it_should():
    """Of 200 pairs of samples of the same noise about 1 in 20 intervals may miss 1, for whatever seed."""
    numbers = random.Random(4)
    misses = 0
    for _ in range(200):
        a, b = ([math.exp(numbers.gauss(0, 0.1)) for _ in range(15)] for _ in range(2))
        misses += differs(ratio_of_medians(a, b))
    assert misses <= 0.09 * 200


def test_rounds_that_resemble_their_neighbours_count_for_less():
    steady = [1.0, 1.2] * 8
    drifting = sorted(steady)
    narrow, wide = (ratio_of_medians(values, values) for values in (steady, drifting))
    assert wide.high - wide.low > narrow.high - narrow.low


def test_what_must_not_be_compared_is_refused_cell_by_cell():
    def with_changes(**changes):
        cells = [evolve(cell, **changes) for cell in comparison().run.cells]
        return gilcmp.Comparison(made_up_run(cells))

    for changes, reason in (
        ({"kernel_version": 2}, "the kernel's work has changed: version 1 and 2"),
        ({"size": 2000}, "another size: 1,000 and 2,000"),
        ({"unit": "step"}, "other tasks"),
        ({"rounds": rounds(0.1, n=3)}, "3 quiet rounds"),
    ):
        found = gilcmp.diff(comparison(), with_changes(**changes))
        assert all(reason in cell.refused for cell in found.runs[0].cells), changes
        assert "No cell could be compared" in str(found)
        assert found.below(0.99) == []


def test_cells_without_a_partner_are_listed():
    other = comparison(extra=[record("python", "serial", 1, rounds(0.1))])
    found = gilcmp.diff(comparison(), other)
    assert found.runs[0].extra == (("pi", "python", "serial", 1),)
    assert gilcmp.diff(other, comparison()).runs[0].missing == (("pi", "python", "serial", 1),)
    assert "Only in run 2: pi python serial x 1." in str(found)


def test_the_environment_comes_first_and_the_lock_first_of_all():
    here = comparison()
    there = gilcmp.Comparison(
        evolve(
            here.run,
            environment=evolve(
                here.environment,
                gil_enabled=not here.environment.gil_enabled,
                cpu="Another CPU",
                packages={**here.environment.packages, "numpy": "0.1"},
                load=(9.0, 9.0, 9.0),
            ),
        )
    )
    found = gilcmp.diff(here, there)
    names = [one.name for one in found.environment]
    assert names == ["gil_enabled", "cpu", "numpy", "load (1 minute)"]
    lines = str(found).splitlines()
    at = lines.index("What differs between the environments")
    assert lines[at + 2].split()[:3] == ["gil_enabled", *found.environment[0].values]


def test_formats(tmp_path):
    first, other = tmp_path / "a.json", tmp_path / "b.json"
    comparison().save(first)
    comparison(threads=0.08, extra=[record("python", "serial", 1, rounds(0.1))]).save(other)
    found = gilcmp.diff(first, str(other))
    assert found.names == ("a.json", "b.json")
    rows = list(csv.DictReader(found.to_csv().splitlines()))
    assert tuple(rows[0]) == CSV_FIELDS
    assert [row["note"] for row in rows] == ["", "", "only in b.json"]
    assert float(rows[1]["time"]) == pytest.approx(1.6, rel=0.1)
    assert json.loads(found.to_json())["runs"][0]["cells"][0]["speedup"]["value"] is None
    markdown = found.to_markdown()
    assert "| pi cython_nogil threads x 2 |" in markdown
    assert "b.json against a.json" in markdown


def test_runs_of_one_name_are_told_apart(tmp_path):
    paths = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / "run.json")
        comparison().save(paths[-1])
    assert gilcmp.diff(*paths).names == tuple(map(str, paths))
    assert gilcmp.diff(paths[0], paths[0]).names == (f"{paths[0]} (1)", f"{paths[0]} (2)")


def test_three_runs():
    found = gilcmp.diff(comparison(), comparison(seed=3), comparison(seed=6))
    assert [run.name for run in found.runs] == ["run 2", "run 3"]
    with pytest.raises(ValueError, match="diff needs at least two runs, got one"):
        gilcmp.diff(comparison())


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main(list(map(str, arguments)))
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def test_the_command(tmp_path, capsys):
    first, other = tmp_path / "a.json", tmp_path / "b.json"
    comparison().save(first)
    comparison(threads=0.08, seed=3).save(other)
    code, out, err = call(capsys, "diff", first, other)
    assert (code, err) == (0, "")
    assert "pi cython_nogil threads x 2" in out
    code, _, err = call(capsys, "diff", first, other, "--fail-below", "0.95")
    assert code == 1
    assert "b.json: pi cython_nogil threads x 2" in err
    assert call(capsys, "diff", first, other, "--fail-below", "0.5")[0] == 0
    for form in ("markdown", "csv", "json"):
        assert call(capsys, "diff", first, other, "--format", form)[0] == 0
    for arguments, message in (
        ([first], "diff needs at least two runs"),
        ([], "nothing to compare"),
        ([first, tmp_path / "nope.json"], "No such file"),
        ([first, tmp_path], "directory"),
        ([first, other, "--fail-below", "2"], "--fail-below"),
    ):
        code, _, err = call(capsys, "diff", *arguments)
        assert code == 2
        assert message in err
        assert len(err.splitlines()) == 1


# ---- pytest-benchmark's files ----


def benchmark_file(path, *benchmarks, machine=None):
    body = {
        "machine_info": {
            "python_version": "3.13.0",
            "python_implementation": "CPython",
            "python_build": ["main", "Oct 1 2026"],
            "cpu": {"brand_raw": "A CPU", "count": 4},
            "system": "Linux",
            "release": "6.1",
            "machine": "x86_64",
            **(machine or {}),
        },
        "benchmarks": list(benchmarks),
        "datetime": "2026-01-01T00:00:00",
        "version": "5.1.0",
    }
    path.write_text(json.dumps(body))
    return path


def benchmark(name="test_a.py::test_one", **stats):
    return {"fullname": name, "extra_info": {}, "stats": stats}


def test_anybodys_benchmark_files_are_read(tmp_path):
    numbers = random.Random(3)
    data = [[0.001 * math.exp(numbers.gauss(0, 0.05)) for _ in range(2000)] for _ in range(2)]
    slow = [2 * x for x in data[1]]
    a = benchmark_file(tmp_path / "a.json", benchmark(data=data[0]), benchmark("other", data=[0.0, 1.0] * 4))
    b = benchmark_file(tmp_path / "b.json", benchmark(data=data[1]), machine={"python_version": "3.14.0"})
    c = benchmark_file(tmp_path / "c.json", benchmark(data=slow))
    found = gilcmp.diff(a, b, c)
    assert [(one.name, one.values) for one in found.environment] == [("python", ("3.13.0", "3.14.0", "3.13.0"))]
    same, slower = found.runs
    key = ("test_a.py::test_one", "benchmark", "serial", 1)
    assert same.cells[0].key == key
    assert not differs(same.cells[0].time)
    assert slower.cells[0].time.value == pytest.approx(2, rel=0.05)
    assert [cell[0] for cell in same.missing] == ["other"]
    assert found.below(0.95)[0][1].key == key


def test_what_a_benchmark_file_does_not_tell_is_not_made_up(tmp_path):
    path = benchmark_file(tmp_path / "a.json", benchmark(data=[0.1] * 9))
    found = gilcmp.diff(path, comparison())
    told = {one.name: one.values for one in found.environment}
    assert told["gil_enabled"][0] == "-"
    assert told["switch_interval"][0] == "-"


def test_a_benchmark_without_its_rounds_is_refused_with_the_remedy(tmp_path):
    paths = [benchmark_file(tmp_path / name, benchmark(median=0.1)) for name in ("a.json", "b.json")]
    (run,) = gilcmp.diff(*paths).runs
    assert "--benchmark-save-data" in run.cells[0].refused


def test_cells_in_a_benchmark_file_are_the_same_as_in_a_run(tmp_path):
    from gilcmp.testing.suites import facts

    original = comparison()
    rows = [
        {"fullname": f"bench.py::pi[{number}]", "extra_info": facts(cell), "stats": {}}
        for number, cell in enumerate(original)
    ]
    environment = json.loads(to_json(original.run))["environment"]
    del environment["load"]
    # the serial cell was deselected: it is there all the same, since the other one is divided by it
    path = benchmark_file(tmp_path / "a.json", rows[1], machine={"gilcmp": environment})
    found = gilcmp.diff(path, original)
    assert found.environment == ()
    for cell in found.runs[0].cells:
        assert cell.time.value == 1.0
        assert not cell.refused
    assert found.runs[0].cells[1].speedup.value == 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"benchmarks": []}, "it holds no benchmark"),
        ({"benchmarks": {}}, "not a pytest-benchmark file"),
        ({"machine_info": []}, "not a pytest-benchmark file"),
        ({"machine_info": {"gilcmp": {"python": 3}}}, "machine_info.gilcmp"),
        ({"benchmarks": [benchmark(name="", data=[1.0])]}, "must be a benchmark with a fullname"),
        ({"benchmarks": [1]}, r"benchmarks\[0\] must be a benchmark with a fullname"),
        ({"benchmarks": [benchmark(data="fast")]}, r"benchmarks\[0\].stats.data must be a list of seconds"),
        ({"benchmarks": [benchmark(data=[-1.0])]}, "must be a list of seconds"),
        ({"benchmarks": [{"fullname": "x", "extra_info": {"gilcmp": {}}}]}, "extra_info.gilcmp.serial"),
    ],
)
def test_a_broken_benchmark_file_is_told(tmp_path, change, message):
    path = benchmark_file(tmp_path / "a.json", benchmark(data=[1.0]))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ResultError, match=message):
        gilcmp.diff(path, path)


# ---- three runs or more --------------------------------------------------------------------------------------------


def noisy(truth, numbers, error=0.02):
    value = truth * math.exp(numbers.gauss(0, error))
    return Estimate(value, value * math.exp(-2.31 * error), value * math.exp(2.31 * error), 20)


def a_fleet(numbers, hosts=8, cells=6, odd=None):
    rows = []
    for cell in range(cells):
        truth = [1.9 * (odd if odd and (host, cell) == (3, 2) else 1) for host in range(hosts)]
        rows.append(Row(("k", "i", "threads", cell + 2), tuple(noisy(each, numbers) for each in truth), False))
    return [f"host{number}" for number in range(hosts)], rows


def test_equal_hosts_are_hardly_ever_called_odd():
    numbers = random.Random(1)
    wrong = sum(bool(odd_ones(*a_fleet(numbers))) for _ in range(200))
    assert wrong <= 10  # 5 %, were they just a tenth apart


@pytest.mark.parametrize("times", [0.6, 1.5])
def test_the_host_that_is_apart_is_found_and_no_other(times):
    numbers = random.Random(2)
    for _ in range(20):
        (found,) = odd_ones(*a_fleet(numbers, odd=times))
        assert (found.run, found.key[3]) == ("host3", 4)
        assert found.ratio.low < times < found.ratio.high or abs(found.ratio.value - times) < 0.1


@pytest.mark.parametrize(
    ("truths", "odd"), [((1, 1, 2), 2), ((2, 2, 1, 1), None), ((1, 1, 1, 2), 3), ((1, 1, 2, 3), None)]
)
def test_who_is_odd_among_few(truths, odd):
    numbers = random.Random(5)
    names = [f"host{number}" for number in range(len(truths))]
    rows = [Row(("k", "i", "threads", 2), tuple(noisy(truth, numbers, 0.01) for truth in truths), False)]
    assert [each.run for each in odd_ones(names, rows)] == ([] if odd is None else [f"host{odd}"])


def test_of_two_runs_none_is_the_odd_one():
    found = gilcmp.diff(comparison(), comparison())
    assert found.rows == ()
    assert found.odd == []


def test_three_runs_are_columns_and_many_are_ends():
    names, rows = a_fleet(random.Random(3), hosts=4, odd=0.5)
    text = plain(Diff(tuple(names), (), (), tuple(rows)).sections())
    assert "host3: k i threads x 4 has 0.4" in " ".join(text.split())
    assert text.count(" odd") == 1
    names, rows = a_fleet(random.Random(3), hosts=40, odd=0.5)
    text = plain([section("", *told(names, rows, odd_ones(names, rows)))], 160)
    assert "(host3)" in text
    assert max(map(len, text.splitlines())) <= 160
    three = gilcmp.diff(comparison(), comparison(seed=2), comparison(seed=4))
    assert len(three.rows) == 2
    assert "All runs" in str(three)


def test_what_was_not_measured_for_sure_is_no_value():
    nothing = Estimate(math.nan, math.nan, math.nan, 0)
    row = Row(("k", "i", "threads", 2), (nothing, noisy(1, random.Random(4)), nothing), False)
    assert odd_ones(["a", "b", "c"], [row]) == []
    assert "-" in plain([section("", columns_table(["a", "b", "c"], [row], []))])
