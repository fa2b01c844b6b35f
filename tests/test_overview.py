"""The first screen of every result: what was found, in 80 columns and 24 lines, and without a colour."""

from __future__ import annotations

import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from attrs import evolve

import gilcmp
from conftest import made_up_run, observation, record
from gilcmp.experiments.claim import CANNOT, CONFIRMED, REFUTED, Figure
from gilcmp.experiments.results import Claims, Result, figure_tables
from gilcmp.experiments.suite import CLAIMS
from gilcmp.judge.comparison import Comparison
from gilcmp.judge.verdict import Verdict
from gilcmp.measure import neighbours
from gilcmp.measure.neighbours import Neighbour, busy_neighbours, warning
from gilcmp.probing.timeline import Timeline
from gilcmp.show.text import plain
from gilcmp.surveying.atlas import Atlas, Entry
from test_cli import call

LINES = 22  # of 24: the command stands above, the prompt below


def screen(result, width=80):
    text = plain(result.overview(width), width)
    assert max(map(len, text.splitlines())) <= width
    return text


def times(wall, n=12, **shares):
    return [observation(number, wall=wall * (1 + 0.001 * (number % 3)), **shares) for number in range(1, n + 1)]


def kernel_cells(kernel):
    turns = {"cores": 1.0, "blocked": 0.98}
    cells = []
    for name in ("python", "numpy", "cython_gil", "cython_nogil"):
        cells.append(record(name, "serial", 1, times(0.1), kernel))
        for strategy in ("threads", "processes"):
            free = strategy == "processes" or name == "cython_nogil"
            for workers in (1, 2, 4):
                seen = times(0.051, cores=1.96) if free and workers > 1 else times(0.1, **turns if workers > 1 else {})
                cells.append(record(name, strategy, workers, seen, kernel, gil_held=None if free else 0.99))
    return cells


@pytest.fixture
def default():
    return Comparison(made_up_run([*kernel_cells("mandelbrot"), *kernel_cells("levenshtein")]))


def test_the_default_comparison_is_one_screen_that_begins_with_what_was_found(default):
    text = screen(default)
    assert len(text.splitlines()) <= LINES
    first = " ".join(text.partition("\n\n")[0].split())
    assert first == (
        "In 2 threads, plain Python ran 1.00x as fast as in one, and machine code 1.00x where it kept the GIL "
        "(cython_gil) but 1.96x where it released it (cython_nogil). In 2 processes, cython_gil ran 1.96x as fast."
    )
    assert re.search(r"^mandelbrot +threads x 2 +processes x 2$", text, re.MULTILINE)
    assert re.search(r"^python +1\.00x 1\.00-1\.00 ###\.\.\. GIL-bound 1\.96x .* scales$", text, re.MULTILINE)
    assert "x 4" not in text
    assert "2 CPUs" in text
    assert "the machine was quiet" in text


def test_a_cpu_with_a_long_name_leaves_it_one_screen(default):
    run = default.run
    where = evolve(run.environment, cpu="12th Gen Intel(R) Core(TM) i9-12900KF CPU @ 5.20GHz")
    text = screen(Comparison(evolve(run, environment=where)))
    assert len(text.splitlines()) <= LINES
    assert "12th Gen Intel Core i9-12900KF @ 5.20GHz" in " ".join(text.split())


def test_a_wide_terminal_shows_more_workers_and_a_narrow_one_a_row_each(default):
    assert "processes x 4" in screen(default, 150)
    narrow = screen(default, 60)
    assert re.search(r"^cython_nogil, threads x 2 +1\.96x", narrow, re.MULTILINE)


def test_what_has_no_answer_is_folded_into_one_line_and_what_the_accounting_knows_is_said():
    turns = times(0.1, foreign=1.9, cores=1.0, blocked=0.98)
    busy = [
        record("python", "serial", 1, times(0.1, foreign=1.9)),
        record("python", "threads", 2, turns, gil_held=0.99),
    ]
    text = " ".join(screen(Comparison(made_up_run(busy))).split())
    assert text.startswith("pi: The threads of python took turns; what that costs could not be measured.")
    assert "Without an answer (starved): pi (python)." in text
    assert "#" not in text
    assert "other work kept 1.9 of them busy" in text
    assert "2 of 2 cells gave no clear answer" in text


def test_a_function_of_a_users_has_a_row_for_each_strategy_with_its_reason():
    cells = [record("f", "serial", 1, times(0.1), "f"), record("f", "threads", 2, times(0.051, cores=1.96), "f"),
             record("f", "processes", 2, [], "f", error="cannot be sent")]  # fmt: skip
    text = screen(Comparison(made_up_run(cells)))
    assert re.search(r"^threads x 2 +1\.96x 1\.96-1\.96 #{20} scales$", text, re.MULTILINE)
    assert "threads x 2: 1.96 of 2 CPUs were busy with it." in text
    assert "Not measured everywhere: cannot be sent" in text
    assert "processes x 2" not in text


def test_a_comparison_without_cells_or_rounds_has_a_screen():
    assert "Nothing was measured" in screen(Comparison(made_up_run([])))
    assert screen(Comparison(made_up_run([record()])))


def test_claims_are_a_line_each_and_one_alone_has_its_figures():
    results = [
        Result(
            claim.name, claim.sentence, claim.experiment, claim.note, "3.13.0", Verdict(CONFIRMED, "so it is"), (), 1.0
        )
        for claim in CLAIMS.values()
        if not claim.free_threaded  # these are left out where there is a GIL
    ]
    results[-1] = evolve(results[-1], verdict=Verdict(CANNOT, "it needs Python 3.14"))
    results[2] = evolve(results[2], verdict=Verdict(REFUTED, "not here"))
    text = screen(Claims(results, gilcmp.environment()))
    assert len(text.splitlines()) <= LINES
    assert text.startswith("11 confirmed, 1 refuted, 1 cannot be tested here.")
    assert re.search(r"^cpu-threads +confirmed +For CPU-bound", text, re.MULTILINE)
    assert "contention refuted: not here." in text
    assert "subinterpreters cannot be tested here: it needs Python 3.14." in text
    alone = Claims([each for each in results if each.name == "stalls"], gilcmp.environment())
    assert CLAIMS["stalls"].experiment[:20] in screen(alone)


def test_figures_that_share_rows_or_columns_are_one_table():
    figures = [
        Figure("alone", 1.0), Figure("a", 2.0, "x", row="1 thread", column="5 ms"),
        Figure("b", 3.0, "x", row="2 threads", column="5 ms"), Figure("c", 4.0, "x", row="2 threads", column="50 ms"),
        Figure("d", 5.0, "/s", row="hand-overs", column="1 thread"),
    ]  # fmt: skip
    lines, matrix, other = figure_tables(figures)
    assert lines.rows == (("alone", "1.00"),)
    assert matrix.rows == (("1 thread", "2.00x", "-"), ("2 threads", "3.00x", "4.00x"))
    assert [column.title for column in other.columns] == ["", "1 thread"]


@pytest.mark.parametrize("name", CLAIMS)
def test_every_claim_is_a_script_that_runs_alone(capsys, name):
    code, out, err = call(capsys, "claims", name, "--code")
    assert (code, err) == (0, "")
    assert out.startswith("# ")
    assert "# Why: " in out
    assert "# What this does not say: " in out
    assert "gilcmp" not in out
    compile(out, name, "exec")
    assert len(CLAIMS[name].code.splitlines()) <= 22


@pytest.mark.parametrize("name", ["cpu-threads", "stalls", "processes", "convoy"])
def test_the_script_of_a_claim_prints_what_it_measured(name, tmp_path):
    script = tmp_path / "claim.py"
    script.write_text(CLAIMS[name].code)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=100, check=False)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) >= 2


def test_a_claim_that_does_not_exist_has_no_script(capsys):
    assert call(capsys, "claims", "nonsense", "--code")[0] == 2


def made_up_probe(name):
    return gilcmp.Probe(
        name, 10, 0.01, gilcmp.Estimate(0.5, 0.4, 0.6, 10), 0.0, 1e-4, 2.0, gilcmp.Stall(1e-6, 2e-5, 3e-4, 100), 0.9,
        float("nan"), Verdict("releases partly", ""),
    )  # fmt: skip


def test_an_atlas_counts_its_verdicts_by_group():
    words = ["holds, blocks", "releases", "releases"]
    entries = [
        Entry(
            "compression",
            f"f({number})",
            evolve(made_up_probe(f"f({number})"), verdict=Verdict(words[number % 3], "")),
            None,
        )
        for number in range(30)
    ]
    atlas = Atlas("title", gilcmp.environment(), (*entries, Entry("broken", "1/0", None, "ZeroDivisionError")))
    text = screen(atlas)
    assert re.search(r"^compression +30 +20 +10$", text, re.MULTILINE)
    assert "1/0: ZeroDivisionError" in text
    assert "Others wait longest for: f(0)" in text


def test_the_timeline_says_first_who_held_it():
    with Timeline() as recording:
        sum(range(2_000_000))
    if not recording.watched or not gilcmp.environment().gil_enabled:
        pytest.skip("nothing was seen, or there is no GIL")
    assert re.match(r"\S.* held the GIL for \d+% of the time", screen(recording))


# ---- the busy machine ----


def test_neighbours_that_use_the_cpus_are_named():
    busy = [Neighbour("chrome", 7, 0.9), Neighbour("cc1", 8, 0.4)]
    assert warning(busy, 2.0).startswith(
        "The machine is busy: other programs keep 1.3 of 2 CPUs busy (chrome (7) 0.9, cc1 (8) 0.4)."
    )
    assert warning([], 2.0) == warning([Neighbour("sh", 9, 0.2)], 2.0) == ""


def test_only_what_used_a_cpu_meanwhile_is_a_neighbour(monkeypatch):
    """Processes are compared with themselves: one that has just begun, or that is not ours to see, is none."""

    def process(pid, used):
        seen = None if used is None else SimpleNamespace(user=used, system=0.0)
        return SimpleNamespace(pid=pid, info={"name": f"p{pid}", "cpu_times": seen})

    looks = iter([[process(1, 5.0), process(2, 1.0), process(3, None)],
                  [process(1, 5.9), process(2, 1.0), process(3, None), process(4, 9.0)]])  # fmt: skip
    clock = iter([0.0, 1.0])
    monkeypatch.setattr("psutil.process_iter", lambda _: next(looks))
    still = SimpleNamespace(perf_counter=lambda: next(clock), sleep=lambda _: None)
    monkeypatch.setattr(neighbours, "time", still)
    (found,) = busy_neighbours()
    assert (found.name, round(found.cpus, 6)) == ("p1", 0.9)


# ---- what a stranger stumbled over ----


def test_without_a_gil_nothing_is_said_of_keeping_it():
    cells = [record(name, "serial", 1, times(0.1)) for name in ("cython_gil", "cython_nogil")]
    cells += [record(name, "threads", 2, times(0.051, cores=1.96)) for name in ("cython_gil", "cython_nogil")]
    run = made_up_run(cells)
    free = Comparison(evolve(run, environment=evolve(run.environment, free_threaded=True, gil_enabled=False)))
    assert "there is no GIL to hold" in " ".join(screen(free).split())
    assert "with and without the GIL" not in " ".join(free.findings)


def test_a_budget_for_too_few_rounds_is_said_to_be_too_short():
    cells = [record("python", "serial", 1, times(0.1, n=2)), record("python", "threads", 2, times(0.1, n=2))]
    assert "2 rounds fitted into the budget, and an interval needs 6" in " ".join(screen_of(cells).split())


def screen_of(cells):
    return screen(Comparison(made_up_run(cells)))


def test_what_ended_before_anything_was_measured_has_no_table():
    text = screen_of([record("python"), record("python", "threads", 2)])
    assert text.startswith("Nothing was measured before it ended.")
    assert "answer" not in text


def test_the_next_step_names_the_file_that_was_saved(capsys, tmp_path):
    path = tmp_path / "my run.json"
    out = call(capsys, "compare", "count", "--size", "small", "--budget", "200ms", "-o", str(path))[1]
    said = re.search(r"gilcmp\s+report\s.*-o\s+report\.html", out, re.DOTALL)
    assert said
    assert said[0].split() == f"gilcmp report '{path}' -o report.html".split()
    assert "f(x)" not in out


def test_a_traceback_shows_the_users_frames_alone(capsys, tmp_path, monkeypatch):
    (tmp_path / "mine_fails.py").write_text("def f(x):\n    return 1 / x\n")
    monkeypatch.chdir(tmp_path)
    code, _, err = call(capsys, "compare", "f(0)", "-s", "from mine_fails import f", "--budget", "200ms")
    assert code == 2
    assert "mine_fails.py" in err
    assert "gilcmp/measure" not in err
    assert err.count("ZeroDivisionError") == 1


def test_a_script_without_a_main_is_told_how_to_name_a_function(capsys, tmp_path):
    (tmp_path / "mine_alone.py").write_text("def f(): pass\n")
    code, _, err = call(capsys, "compare", str(tmp_path / "mine_alone.py"))
    assert code == 2
    assert "has no function main: name one, as" in err


def test_a_crossing_that_may_be_anywhere_is_open(threshold):
    anywhere = evolve(threshold, parallel_from=gilcmp.Estimate(120.0, 10.0, 10_000.0, 4))
    assert anywhere.findings == ["dot: from which size on 2 threads beat one is open: a longer budget may tell."]
    assert "from size 120" in threshold.findings[0]


def test_serial_cells_alone_show_their_times():
    text = screen_of([record("python", "serial", 1, times(0.1)), record("numpy", "serial", 1, times(0.05))])
    assert "100 us" in text
    assert "50.0 us" in text


def test_a_function_that_needs_arguments_is_told_how_to_give_them(capsys, tmp_path, monkeypatch):
    (tmp_path / "mine_needs.py").write_text("def f(x): return x\n")
    monkeypatch.chdir(tmp_path)
    assert '(with arguments: "f(x)" -s' in call(capsys, "probe", "-m", "mine_needs:f", "--budget", "20ms")[2]
    assert "with arguments" not in call(capsys, "probe", "len(1, 2)", "--budget", "20ms")[2]
