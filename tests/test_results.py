"""Saved runs: what is written is what is read, and whatever else is read gives a clear error."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import gilcmp
from conftest import made_up_run, observation, record
from gilcmp.base.files import check_writable
from gilcmp.saved.reading import ResultError
from gilcmp.saved.run import from_json, save_run, to_json


def test_round_trip(run, tmp_path):
    path = tmp_path / "run.json"
    gilcmp.Comparison(run).save(path)
    loaded = gilcmp.load(path)
    assert loaded.run == run
    assert [cell.verdict for cell in loaded] == [cell.verdict for cell in gilcmp.Comparison(run)]
    assert loaded["cython_nogil", "threads"].verdict == "scales"
    assert loaded["cython_gil", "threads"].verdict == "GIL-bound"


def test_the_file_says_what_it_is(run_json):
    assert run_json["format"] == "gilcmp run"
    assert run_json["schema"] == 1
    assert {"environment", "settings", "pools", "cells", "complete", "created", "gilcmp"} <= set(run_json)
    assert {"wall", "cpu", "run_delay", "blocked", "round"} <= set(run_json["cells"][0]["rounds"][0])
    assert {
        "gil_enabled",
        "free_threaded",
        "switch_interval",
        "extension_compiler",
        "cpus_logical",
        "load",
    } <= set(run_json["environment"])


def test_a_measured_run_survives(tmp_path):
    found = gilcmp.compare("count", size="small", budget=0.2, workers=2, strategies="threads")
    found.save(tmp_path / "run.json")
    assert gilcmp.load(tmp_path / "run.json").run == found.run


# ---- what is refused, naming the place ----


def changed(run_json, path, value):
    """A copy of a run with one place changed; ... takes the place away."""
    body = copy.deepcopy(run_json)
    at = body
    for step in path[:-1]:
        at = at[step]
    if value is ...:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return json.dumps(body)


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        (["cells", 0, "workers"], "2", "expected int, got '2' @ run.cells[0].workers"),
        (["cells", 0, "workers"], True, "expected int, got True @ run.cells[0].workers"),
        (["cells", 0, "workers"], 0, "workers must be at least 1"),
        (["cells", 0, "workers"], 10**400, "64 bits"),
        (["cells", 0, "rounds", 3, "wall"], 0, "wall must be at least 1e-09"),
        (["cells", 0, "rounds", 3, "wall"], -1.0, "wall must be at least"),
        (["cells", 0, "rounds", 3, "wall"], None, "expected float, got None @ run.cells[0].rounds[3].wall"),
        (["cells", 0, "rounds", 3, "wall"], ..., "required field 'wall' is missing @ run.cells[0].rounds[3]"),
        (["cells", 0, "rounds", 3, "round"], 1, "must have rising numbers"),
        (["cells", 0, "rounds"], {}, "run.cells[0].rounds"),
        (["cells", 0, "kernel"], "", "kernel must not be empty"),
        (["cells", 0, "strategy"], "threads", "must have a serial cell"),
        (["cells"], 7, "run.cells"),
        (["cells"], ..., "required field 'cells' is missing @ run"),
        (["environment", "gil_enabled"], "yes", "expected bool, got 'yes' @ run.environment.gil_enabled"),
        (["environment", "packages"], [1], "run.environment.packages"),
        (["environment"], None, "run.environment"),
        (["settings", "size"], 1.5, "run.settings.size"),
    ],
)  # fmt: skip
def test_broken_places_are_named(run_json, path, value, place):
    with pytest.raises(ResultError) as error:
        from_json(changed(run_json, path, value), "some.json")
    assert str(error.value).startswith("some.json: ")
    assert place in str(error.value)
    assert "\n" not in str(error.value)


def test_cells_twice_are_refused(run_json):
    run_json["cells"].append(run_json["cells"][0])
    with pytest.raises(ResultError, match="twice"):
        from_json(json.dumps(run_json), "x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("9" * 5000, "not"),
        ("NaN", "NaN is not a JSON number"),
        ("[]", "not a saved run"),
        ("null", "not a saved run"),
        ('"gilcmp run"', "not a saved run"),
        ('{"machine_info": {}, "benchmarks": []}', "not a saved run"),
        ('{"format": "gilcmp run"}', '"schema" must be a number'),
        ('{"format": "gilcmp run", "schema": true}', '"schema" must be a number'),
        ('{"format": "gilcmp run", "schema": 0}', '"schema" must be a number'),
        (
            '{"format": "gilcmp run", "schema": 2}',
            "written by a newer gilcmp (schema 2, this one reads up to 1)",
        ),
        ('{"format": "gilcmp run", "schema": 1}', "is missing"),
    ],
)
def test_foreign_and_newer_files_are_told_apart(text, message):
    with pytest.raises(ResultError) as error:
        from_json(text, "some.json")
    assert message in str(error.value)


def test_files_that_are_no_text_or_no_files(tmp_path):
    binary = tmp_path / "binary.json"
    binary.write_bytes(b'{"a": \xff}')
    with pytest.raises(ResultError, match="not UTF-8 at byte 6"):
        gilcmp.load(binary)
    with pytest.raises(FileNotFoundError):
        gilcmp.load(tmp_path / "none.json")
    with pytest.raises(OSError, match=r"\w"):
        gilcmp.load(tmp_path)
    with pytest.raises(ResultError, match="path must be"):
        gilcmp.load("a\0b")


# ---- fuzzing: only a run or a ResultError ----

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


def places(value, path=()):
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


SMALL = json.loads(
    to_json(
        made_up_run(
            [
                record(rounds=[observation(n) for n in range(1, 7)]),
                record("python", "threads", 2, [observation(n, cores=1.9) for n in range(1, 7)]),
            ]
        )
    )
)
PLACES = [place for place in places(SMALL) if place]


def read_and_use(text):
    """Read a text; where it passes for a run, everything that is computed from it must work as well."""
    try:
        comparison = gilcmp.Comparison(from_json(text, "fuzzed"))
    except ResultError as error:
        text = str(error)
        assert "\n" not in text  # most of what is fuzzed is an error, not all
        return
    assert str(comparison)
    assert comparison._repr_html_()
    for cell in comparison:
        assert cell.verdict.reason
        assert isinstance(cell.speedup.value, float)
        assert cell.serial_fraction is None or isinstance(cell.serial_fraction, float)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(place=st.sampled_from(PLACES), value=json_values | st.just(...))
@example(place=("cells", 0, "rounds", 0, "wall"), value=1e-9)
@example(place=("cells", 0, "rounds", 0, "wall"), value=9e8)
@example(place=("cells", 1, "rounds", 0, "cpu"), value=0)
@example(place=("cells", 0, "rounds"), value=[])
@example(place=("cells", 1, "kernel"), value="[red]\x1b[31m")
@example(place=("cells", 1, "kernel"), value="\n")
@example(place=("cells",), value=[])
@example(place=("environment", "cpus_allowed"), value=1)
@example(place=("environment", "cpu_quota"), value=1e-6)
def test_fuzzed_places(place, value):
    read_and_use(changed(SMALL, place, value))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_fuzzed_text(data):
    text = json.dumps(SMALL)
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, min(len(text), start + 40)))
    read_and_use(text[:start] + data.draw(st.text(max_size=10)) + text[stop:])


@settings(max_examples=200, deadline=None)
@given(value=json_values)
def test_fuzzed_json(value):
    read_and_use(json.dumps(value))


# ---- saving ----


def test_saving_replaces_as_a_whole(run, tmp_path):
    path = tmp_path / "run.json"
    path.write_text("old")
    save_run(run, path)
    assert gilcmp.load(path).run == run
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.skipif(os.name != "posix", reason="files have no such modes")
def test_a_file_that_nobody_else_may_read_stays_so(run, tmp_path):
    path = tmp_path / "run.json"
    path.touch(mode=0o600)
    save_run(run, path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert gilcmp.load(path).run == run


def test_what_a_link_points_to_is_replaced(run, tmp_path):
    real, link = tmp_path / "real.json", tmp_path / "link.json"
    real.write_text("old")
    try:
        link.symlink_to(real)
    except OSError:
        pytest.skip("links are not allowed here")
    save_run(run, link)
    assert link.is_symlink()
    assert gilcmp.load(real).run == run


def test_a_full_disk_leaves_the_old_file(run, tmp_path, monkeypatch):
    path = tmp_path / "run.json"
    path.write_text("old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_run(run, path)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


def test_unwritable_targets_are_found_before(tmp_path):
    check_writable(tmp_path / "new.json")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(IsADirectoryError):
        check_writable(tmp_path)
    with pytest.raises(FileNotFoundError):
        check_writable(tmp_path / "none" / "run.json")
    with pytest.raises(OSError, match=r"\w"):
        check_writable(tmp_path / ("x" * 300))


def test_an_existing_file_is_left_alone_by_the_check(tmp_path):
    path = tmp_path / "run.json"
    path.write_text("old")
    check_writable(path)
    assert path.read_text() == "old"


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="this system has no /dev/null")
def test_a_device_is_written_to_not_replaced(run):
    save_run(run, "/dev/null")
    assert not Path("/dev/null").is_file()
