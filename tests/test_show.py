"""What people see: complete, plain, at 80 columns."""

from __future__ import annotations

import math

import pytest
from attrs import evolve

import gilcmp
from conftest import made_up_run, observation, record
from gilcmp import Estimate
from gilcmp.judge.cell import control
from gilcmp.show import words
from gilcmp.show.model import Table, columns, section
from gilcmp.show.text import plain


def test_the_table_is_complete_and_fits_80_columns(run):
    text = str(gilcmp.Comparison(run))
    assert max(map(len, text.splitlines())) <= 80
    assert text.isascii()
    assert "\x1b" not in text
    flat = " ".join(text.split())
    for word in ("pi, size 1,000 (time per point)", "cython_nogil", "1.96 [1.96, 1.96]", "98 %", "scales",
                 "GIL-bound", "Control, one thread", "Start-up", "100 us"):  # fmt: skip
        assert word in flat, word
    assert "..." not in text
    assert "…" not in text


def test_the_sentences_say_what_was_found(run):
    told = " ".join(gilcmp.Comparison(run).findings)
    assert "2 threads ran cython_nogil 1.96x as fast as one and cython_gil 0.98x" in told
    assert "2 processes ran cython_gil 1.96x: only the lock was in the way" in told
    assert "Plain Python got 0.98x" in told


def test_every_kernel_has_its_sentence(run):
    two = evolve(run, cells=[*run.cells, *(evolve(cell, kernel="other") for cell in run.cells)])
    found = gilcmp.Comparison(two).findings
    assert [sentence.partition(":")[0] for sentence in found] == ["pi", "other"]


def test_starved_cells_are_counted_not_reported():
    rounds = [observation(n, wall=0.1, cores=1.0, delay=1.0, foreign=1.0) for n in range(1, 9)]
    serial = [observation(n) for n in range(1, 9)]
    cells = [record(name, *key, rounds=r) for name in ("cython_gil", "cython_nogil")
             for key, r in ((("serial", 1), serial), (("threads", 2), rounds))]  # fmt: skip
    comparison = gilcmp.Comparison(made_up_run(cells))
    told = " ".join(comparison.findings)
    assert "x as fast" not in told
    assert "2 of 4 cells have no clear answer (2 starved" in told
    assert "starved" in str(comparison)


@pytest.mark.parametrize(("delay", "told"), [(0.0, True), (None, False)])
def test_on_a_busy_machine_the_accounting_still_tells_who_took_turns(delay, told):
    """Where the system reports no run delay, waiting for a core looks like blocking: nothing is said then."""
    numbers = range(1, 9)
    serial = [observation(n) for n in numbers]
    turns = [observation(n, wall=0.1, cores=0.9, blocked=1.0, delay=delay, foreign=1.0) for n in numbers]
    crowded = [observation(n, wall=0.1, cores=1.0, blocked=0.0, delay=1.0, foreign=1.0) for n in numbers]
    cells = [record(name, *key, rounds=rounds) for name, seen in (("cython_gil", turns), ("cython_nogil", crowded))
             for key, rounds in ((("serial", 1), serial), (("threads", 2), seen))]  # fmt: skip
    comparison = gilcmp.Comparison(made_up_run(cells))
    assert {cell.verdict.word for cell in comparison if cell.workers == 2} == {"starved"}
    first = comparison.findings[0]
    assert (first == "pi: The threads of cython_gil took turns; what that costs could not be measured.") is told
    assert "cython_nogil" not in " ".join(comparison.findings)


def test_cells_that_failed_are_told_and_not_counted_as_noise():
    serial = [observation(n) for n in range(1, 9)]
    cells = [record(rounds=serial), record("python", "processes", 2, error="cannot be sent")]
    comparison = gilcmp.Comparison(made_up_run(cells))
    told = " ".join(comparison.findings)
    assert "no clear answer" not in told
    assert "cannot be sent" in told
    assert comparison["processes"].verdict == "not measured"


def test_functions_of_the_users_get_sentences_too():
    numbers = range(1, 9)
    cells = [
        record("work", kernel="work", size=None, rounds=[observation(n) for n in numbers]),
        record(
            "work",
            "threads",
            2,
            [observation(n, blocked=1) for n in numbers],
            "work",
            size=None,
            gil_held=0.99,
        ),
        record("work", "processes", 2, [observation(n, wall=0.05, cores=1.9) for n in numbers], "work", size=None),
    ]
    told = " ".join(gilcmp.Comparison(made_up_run(cells)).findings)
    assert "work ran fastest under processes x 2: 2.00x as fast as serial" in told
    assert "waited for the GIL" in told


def test_the_control_compares_the_twins_round_by_round(run):
    comparison = gilcmp.Comparison(run)
    assert comparison.control("pi") == Estimate(1.0, 1.0, 1.0, 12)
    assert control([cell for cell in comparison if cell.implementation != "cython_gil"], "pi") is None
    assert comparison.control("nothing") is None


def test_hostile_names_are_shown_as_they_are():
    name = "[bold]<script>alert(1)</script>\x1b[31m"
    cells = [record("python", kernel=name, rounds=[observation()], error=name)]
    comparison = gilcmp.Comparison(made_up_run(cells))
    assert "[bold]" in str(comparison)
    assert "\x1b" not in str(comparison)
    html = comparison._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_an_empty_run_can_be_shown():
    comparison = gilcmp.Comparison(made_up_run([]))
    assert len(comparison) == 0
    assert str(comparison)
    assert "CPython" in comparison._repr_html_()
    assert repr(comparison)


def test_a_free_threaded_run_says_so(run):
    environment = evolve(run.environment, free_threaded=True, gil_enabled=False)
    text = str(gilcmp.Comparison(evolve(run, environment=environment)))
    assert "free-threaded build; its GIL was off" in " ".join(text.split())


def test_html_has_a_row_a_cell_and_the_reasons(run):
    html = gilcmp.Comparison(run)._repr_html_()
    assert html.count("<tr>") == 1 + len(run.cells)
    assert 'title="1.96 of 2 CPUs were busy with it"' in html


def test_cells_can_be_printed(run):
    assert "scales" in repr(gilcmp.Comparison(run)["cython_nogil", "threads"])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0.00 ps"), (3.2e-10, "320 ps"), (1.234e-9, "1.23 ns"), (9.996e-7, "1.00 us"), (0.0123, "12.3 ms"),
     (1.0, "1.00 s"), (345.6, "346 s"), (math.nan, "-")],
)  # fmt: skip
def test_seconds(value, text):
    assert words.seconds(value) == text


def test_unknown_numbers_are_dashes():
    nothing = Estimate(math.nan, math.nan, math.nan, 0)
    assert words.estimate(nothing) == words.percent(math.nan) == words.number(math.nan) == "-"
    assert words.estimate(Estimate(1.5, math.nan, math.nan, 1)) == "1.50"


def test_print_gives_text_in_a_notebook_too(monkeypatch):
    """Rich displays by itself there what it is told to print, and the string stayed empty."""
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    assert plain([section("title", "a sentence")]) == "title\na sentence"


def test_a_notebook_shows_a_picture_by_itself():
    pytest.importorskip("matplotlib")
    from gilcmp.show.figure import figure

    assert figure([])._repr_png_().startswith(b"\x89PNG")


def test_words_are_broken_only_where_there_is_no_room_for_them():
    prose = "some words that need to be wrapped at the end of a line " * 3
    table = Table(columns("", "text"), (("compression", prose), ("databases", prose)))
    for width in (30, 40, 60):
        assert plain([section("", table)], width).split().count("compression") == 1
    crowded = Table(
        columns("a", "b", "c", ">d", ">e", ">f"),
        (("compression", "databases", "serialising", "interpreters", "12.5 ms", "-"),),
    )
    lines = plain([section("", crowded)], 40).splitlines()
    assert " ".join(line.strip() for line in lines) == (
        "compression, databases, serialising, d interpreters, e 12.5 ms, f -"
    )


def test_details_of_a_comparison_break_no_word_at_60_columns(run):
    shown, whole = (plain(gilcmp.Comparison(run).sections(), width) for width in (60, 300))
    assert max(map(len, shown.splitlines())) <= 60
    assert {word.strip(",") for word in shown.split()} <= {word.strip(",") for word in whole.split()}
