"""Every result can be saved, loaded, written as Markdown and CSV, and put into a report."""

from __future__ import annotations

import csv
import gzip
import json
import math
import zlib

import pytest
from attrs import evolve

import gilcmp
from conftest import made_up_run, observation, record
from gilcmp import Atlas, Comparison, Estimate, Probe, ResultError, Stall, Threshold, Verdict
from gilcmp.probing.threshold import Point
from gilcmp.reporting.report import read_report
from gilcmp.saved.kept import csv_cell
from gilcmp.surveying.atlas import Entry

UNKNOWN = Estimate(math.nan, math.nan, math.nan, 0)
PROBE = Probe(
    name="=zlib.crc32(x)", calls=10, time=0.01, held=Estimate(0.02, 0.01, 0.03, 64), others=0.0, longest_hold=1e-3,
    hand_overs=1.0, stall=Stall(1e-5, 1e-4, 1e-3, 50), usable=math.nan, reacquire=math.nan,
    verdict=Verdict("releases", "because"),
)  # fmt: skip
THRESHOLD = Threshold(
    "f", 2, Estimate(5e-8, 4e-8, 6e-8, 9), 1e-4, Estimate(10.0, 5.0, 20.0, 9), UNKNOWN,
    (Point(1, Estimate(1e-6, 1e-6, 1e-6, 9), UNKNOWN, Estimate(0.5, 0.4, 0.6, 9)),), "",
)  # fmt: skip
ATLAS = Atlas("some", gilcmp.environment(), (Entry("g", "pass", PROBE, None), Entry("g", "1 / 0", None, "it failed")))
ROUNDS = [observation(n) for n in range(1, 13)]
RUN = Comparison(made_up_run([record("python", rounds=ROUNDS), record("python", "threads", 2, ROUNDS)]))
KEPT = [PROBE, THRESHOLD, ATLAS, RUN, gilcmp.diff(RUN, RUN)]


@pytest.fixture(scope="module")
def recorded():
    with gilcmp.timeline(pace=1e-4) as timeline:
        zlib.crc32(bytes(20_000_000))
        sum(range(1_000_000))
    return timeline


def same(one, other):
    """Whether two results are the same; NaN is NaN."""
    return repr(one) == repr(other) and str(one) == str(other)


@pytest.mark.parametrize("result", KEPT, ids=lambda result: type(result).__name__)
def test_what_is_saved_is_loaded(tmp_path, result):
    result.save(tmp_path / "it.json")
    loaded = gilcmp.load(tmp_path / "it.json")
    assert type(loaded) is type(result)
    assert same(loaded, result)
    (tmp_path / "it.json.gz").write_bytes(gzip.compress((tmp_path / "it.json").read_bytes()))
    assert same(gilcmp.load(tmp_path / "it.json.gz"), result)


@pytest.mark.parametrize("name", ["gil.json", "gil.json.gz"])
def test_a_timeline_is_loaded_from_its_trace(tmp_path, recorded, name):
    recorded.save(tmp_path / name)
    loaded = gilcmp.load(tmp_path / name)
    assert isinstance(loaded, gilcmp.Timeline)
    assert str(loaded) == str(recorded)
    assert loaded.threads == recorded.threads
    kept = recorded.spans[recorded.spans["doing"] != 3]  # what a trace leaves empty
    assert loaded.spans.tolist() == kept.tolist()
    assert loaded.plot is not None
    rows = list(csv.DictReader(recorded.to_csv().splitlines()))
    assert [row["name"] for row in rows] == [thread.name for thread in recorded.threads]


@pytest.mark.parametrize("result", KEPT, ids=lambda result: type(result).__name__)
def test_its_figures_are_written_as_csv_and_markdown(tmp_path, result):
    rows = list(csv.DictReader(result.to_csv().splitlines()))
    assert rows
    assert not any("nan" in value for row in rows for value in row.values())
    assert result.to_markdown().startswith(("#", "|", "pi", "1 ", "0 ", "run", "f: 2 threads"))
    if not isinstance(result, Comparison):
        result.save(tmp_path / "it.csv")
        result.save(tmp_path / "it.md")
        assert (tmp_path / "it.csv").read_text() == result.to_csv()
        assert (tmp_path / "it.md").read_text() == result.to_markdown()


def test_a_record_has_its_figures_under_plain_names():
    (row,) = csv.DictReader(PROBE.to_csv().splitlines())
    assert (row["held_value"], row["stall_p99"], row["usable"]) == ("0.02", "0.0001", "")
    assert row["name"] == "'=zlib.crc32(x)"  # no formula
    (row,) = csv.DictReader(THRESHOLD.to_csv().splitlines())
    assert (row["size"], row["speedup_low"], row["overhead_value"]) == ("1", "0.4", "")
    first, second = csv.DictReader(ATLAS.to_csv().splitlines())
    assert (first["verdict"], second["error"]) == ("releases", "it failed")
    _, row = csv.DictReader(RUN.to_csv().splitlines())
    assert (row["strategy"], row["workers"], row["speedup_value"]) == ("threads", "2", "1")
    assert csv_cell("-1.5") == "-1.5"
    assert csv_cell("-x") == "'-x"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "gilcmp prob"}, "neither a saved run nor claims"),
        ({"schema": 2}, '"schema" must be 1, got 2'),
        ({"calls": "many"}, "expected int, got 'many' @ probe.calls"),
        ({"stall": None}, "probe.stall"),
    ],
)
def test_a_broken_file_is_told(tmp_path, changes, message):
    path = tmp_path / "it.json"
    path.write_text(json.dumps(json.loads(PROBE.to_json()) | changes))
    with pytest.raises(ResultError, match=message):
        gilcmp.load(path)


def test_a_broken_gzip_file_and_a_broken_trace_are_told(tmp_path, recorded):
    (tmp_path / "it.json.gz").write_bytes(b"\x1f\x8bnothing")
    with pytest.raises(ResultError, match="broken gzip file"):
        gilcmp.load(tmp_path / "it.json.gz")
    recorded.save(tmp_path / "gil.json")
    body = json.loads((tmp_path / "gil.json").read_text())
    del body["otherData"]["recording"]["threads"]
    (tmp_path / "gil.json").write_text(json.dumps(body))
    with pytest.raises(ResultError, match="not a timeline that gilcmp saved: KeyError: 'threads'"):
        gilcmp.load(tmp_path / "gil.json")


def test_what_the_commands_write_is_loaded_too(tmp_path):
    path = tmp_path / "it.json"
    plain = [json.loads(PROBE.to_json())] * 2
    path.write_text(json.dumps(plain))
    first, second = gilcmp.load(path)
    assert same(first, PROBE)
    assert same(second, PROBE)
    path.write_text(json.dumps(plain[:1]))
    assert same(gilcmp.load(path), PROBE)
    path.write_text(json.dumps([json.loads(ATLAS.to_json())]))
    assert same(gilcmp.load(path), ATLAS)


def test_all_of_them_go_into_a_report(tmp_path, recorded):
    results = [*KEPT, recorded]
    report = read_report(results)
    kinds = {type(result).__name__ for _, result in (*report.runs, *report.others)}
    assert kinds == {"Comparison", "Atlas", "Diff", "Timeline"}
    assert (report.probes, report.thresholds) == ((PROBE,), (THRESHOLD,))
    paths = []
    for number, result in enumerate(results):
        paths.append(tmp_path / f"{number}.json")
        result.save(paths[-1])
    assert len(read_report(paths).others) == 3
    pytest.importorskip("matplotlib")
    page = report.to_html()
    for title in ("Atlas: atlas 3", "Diff: diff 5", "Timeline: timeline 6"):
        assert title in page


def test_other_kinds_are_refused():
    with pytest.raises(TypeError, match=r"source must be a path or one of Comparison, .* got int"):
        read_report([7])
    assert evolve(PROBE, calls=3).calls == 3
