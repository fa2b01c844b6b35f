import base64
import gzip
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from attrs import evolve

import gilcmp
from gilcmp.cli import main as cli
from gilcmp.experiments.claim import Figure
from gilcmp.experiments.results import Claims, Result, read_claims
from gilcmp.judge.comparison import Comparison
from gilcmp.judge.verdict import Verdict
from gilcmp.reporting.report import read_report
from gilcmp.reporting.sections import report_sections
from gilcmp.saved.reading import ResultError
from gilcmp.saved.run import from_json, save_run, to_json
from gilcmp.show.model import Chart
from gilcmp.surveying.atlas import Entry

HOSTILE = '</script><img src=x onerror="boom()">\'"&<b>$$x$$ {{7*7}} \u202e\x00\ud800'


# ---- reading what is reported on ----


def test_every_kind_of_file_is_known(files):
    found = read_report(files)
    assert [name for name, _ in found.runs] == ["run.json"]
    assert [result.verdict for result in found.claims[0][1]] == ["confirmed", "cannot be tested here"]
    assert found.probes[0].verdict == "releases"
    assert found.probes[0].reacquire != found.probes[0].reacquire  # NaN, as it was
    assert found.thresholds[0].parallel_from.value == pytest.approx(120)
    assert [name for name, _ in found.raw] == [path.name for path in files]


def test_results_are_reported_on_without_files(comparison, claims, probe, threshold):
    found = read_report([comparison, claims, probe, threshold])
    assert len(found.runs) == len(found.claims) == len(found.probes) == len(found.thresholds) == 1
    assert json.loads(dict(found.raw)["run-1.json"])["format"] == "gilcmp run"


def test_claims_come_back_as_they_were_saved(claims):
    again = read_claims(claims.to_json(), "it")
    assert again.to_json() == claims.to_json()
    for change in ({"format": "other"}, {"schema": 2}, {"results": [{}]}, {"environment": None}):
        with pytest.raises(ResultError, match="it: "):
            read_claims(json.dumps({**json.loads(claims.to_json()), **change}), "it")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        "[1]",
        "null",
        '{"format": "x"}',
        '[{"stall": 1}]',
        '{"parallel_from": 1, "points": []}',
    ],
)
def test_what_is_no_result_is_refused_with_its_name(text, tmp_path):
    path = tmp_path / "strange.json"
    path.write_text(text)
    with pytest.raises(ResultError, match=r"strange\.json"):
        read_report([path])


def test_wrong_sources():
    with pytest.raises(TypeError, match="source must be"):
        read_report([3])
    with pytest.raises(ValueError, match="nothing to report on"):
        read_report([])
    with pytest.raises(FileNotFoundError):
        read_report(["nope.json"])


def test_where_the_time_went_adds_up(comparison):
    for cell in comparison:
        shares = cell.time_shares
        assert shares.on_cpu + shares.no_core + shares.blocked + shares.idle == pytest.approx(1)
    assert comparison["cython_gil", "threads", 2].time_shares.blocked == pytest.approx(0.48, abs=0.02)
    assert comparison["cython_nogil", "threads", 2].time_shares.on_cpu > 0.9


def test_the_tasks_of_the_latest_round_are_kept():
    found = gilcmp.compare(sum, tasks=[range(1000)] * 8, workers=2, budget=0.3, strategies="threads")
    cell = found["threads", 2]
    tasks = cell.record.latest
    assert 1 <= len(tasks) <= 64
    assert {task.worker for task in tasks} <= {0, 1}
    assert all(0 <= task.start <= task.end for task in tasks)
    assert from_json(to_json(found.run), "it") == found.run
    old = json.loads(to_json(found.run))
    for record in old["cells"]:
        del record["latest"], record["gil_held"]
    assert from_json(json.dumps(old), "old").cells[0].latest == []


# ---- the page ----


class Page(HTMLParser):
    """What a page is made of: tags with attributes, texts, and whether every tag is closed."""

    VOID = frozenset({"meta", "link", "img", "br", "hr", "input"})

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.texts = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID and tag not in ("path", "rect", "circle"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag in ("path", "rect", "circle"):
            return
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.texts.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def html(files, tmp_path_factory):
    pytest.importorskip("matplotlib")
    path = tmp_path_factory.mktemp("report") / "report.html"
    gilcmp.report(*files, output=path)
    return path.read_text(encoding="utf-8")


def test_a_report_is_one_file_that_needs_nobody(html):
    assert len(html.encode()) < 2_000_000
    page = Page(html)
    assert page.open == []
    policy = next(meta["content"] for meta in page.all("meta") if "http-equiv" in meta)
    assert policy.startswith("default-src 'none'")
    for _, attributes in page.tags:
        for name in ("src", "href", "action", "data", "srcset", "poster"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), attributes
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    assert not page.all("script")


def test_every_chart_has_words_and_a_table(html):
    page = Page(html)
    charts = [attributes for attributes in page.all("div") if attributes.get("role") == "img"]
    assert len(charts) == len(page.all("svg")) >= 6
    assert all(len(chart["aria-label"]) > 20 for chart in charts)
    figures = re.findall(r"<figure>.*?</figure>", html, re.DOTALL)
    assert len(figures) == len(charts)
    assert all("<table>" in figure and 'scope="row"' in figure for figure in figures)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert page.all("html")[0]["lang"] == "en"
    assert {"#" + i for i in ids} >= {a["href"] for a in page.all("a") if a["href"].startswith("#")}


def test_all_sections_and_figures_are_there(html, comparison):
    text = " ".join(Page(html).texts)
    for heading in (
        "What was found", "Speed-up against workers", "Where the time went", "Time per unit of work",
        "One round, task by task", "Verdicts and their reasons", "Claims", "Probe", "Threshold",
        "Environment and raw data",
    ):  # fmt: skip
        assert heading in text
    for sentence in comparison.findings:
        assert sentence in text
    for cell in comparison:
        assert cell.verdict.reason in text
    assert comparison.environment.cpu_name in text
    assert "zlib.compress(data)" in text
    assert "from size 120" in text


def test_raw_data_comes_back_as_it_was(html, files):
    links = {a["download"]: a["href"] for a in Page(html).all("a") if "download" in a}
    for path in files:
        data = base64.b64decode(links[f"{path.name}.gz"].partition(",")[2])
        assert gzip.decompress(data).decode() == path.read_text()


def test_values_can_be_pointed_at(html):
    titles = re.findall(r"<title>(.*?)</title>", html)
    assert "cython_nogil, threads x 2: 1.96 [1.96, 1.96], scales" in titles
    assert any("waiting for the GIL" in title for title in titles)


def test_hostile_texts_stay_texts(run, claims, probe, threshold, tmp_path):
    pytest.importorskip("matplotlib")
    record = run.cells[0]
    cells = [
        evolve(
            cell,
            kernel=HOSTILE,
            implementation=HOSTILE + cell.implementation,
            unit=HOSTILE,
            error=HOSTILE if cell.workers > 1 else None,
        )
        for cell in run.cells
    ]
    environment = evolve(run.environment, cpu=HOSTILE, python=HOSTILE, packages={HOSTILE: HOSTILE})
    bad = evolve(run, cells=cells, environment=environment, created=HOSTILE)
    result = evolve(
        claims[0],
        name=HOSTILE,
        sentence=HOSTILE,
        python=HOSTILE,
        verdict=Verdict(HOSTILE, HOSTILE),
        figures=(Figure(HOSTILE, 1.0, HOSTILE),),
    )
    sources = (
        Comparison(bad), Comparison(bad), Claims([result], environment),
        evolve(probe, name=HOSTILE, verdict=Verdict(HOSTILE, HOSTILE)), evolve(threshold, name=HOSTILE, reason=HOSTILE),
    )  # fmt: skip
    gilcmp.report(*sources, output=tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    assert page.open == []
    assert not page.all("img")
    assert not page.all("b")
    assert "onerror" not in {name for _, attributes in page.tags for name in attributes}
    assert "{{7*7}}" in html
    assert record.kernel not in page.texts


def test_several_runs_stand_side_by_side(run, tmp_path):
    pytest.importorskip("matplotlib")
    faster = evolve(run, cells=[evolve(c, rounds=[evolve(r, wall=r.wall / 2) for r in c.rounds]) for c in run.cells])
    for name, one in (("laptop.json", run), ("server.json", faster)):
        save_run(one, tmp_path / name)
    gilcmp.report(tmp_path / "laptop.json", tmp_path / "server.json", output=tmp_path / "report.html")
    text = " ".join(Page((tmp_path / "report.html").read_text()).texts)
    assert "Runs side by side" in text
    assert "server.json against laptop.json" in text
    assert "laptop.json: pi: threads" in text
    assert text.count("How many times as fast as one after the other.") == 1


def test_runs_of_several_machines_and_pythons_are_called_by_them(run, tmp_path):
    pytest.importorskip("matplotlib")
    other = evolve(run.environment, cpu="another CPU")
    newer = evolve(run.environment, python="3.99.0")
    for environments, names in (
        ([run.environment, other], ["another CPU (2 CPUs)"]),
        ([run.environment, newer], ["3.99.0"]),
        ([run.environment, other, newer, evolve(newer, cpu="another CPU")], ["3.99.0 on another CPU (2 CPUs)"]),
    ):
        gilcmp.report(*(Comparison(evolve(run, environment=e)) for e in environments), output=tmp_path / "r.html")
        text = " ".join(Page((tmp_path / "r.html").read_text()).texts)
        for name in names:
            assert f"{name}: pi: threads" in text
            assert text.index(f"{name} against ") < text.index(f"{name}: pi: threads"), "what differs comes first"


def test_the_figures_of_claims_are_drawn_as_bars():
    figures = (Figure("one", 1.0, "x", 0.9, 1.1), Figure("two", 2.0, "x"), Figure("waits", 1e-3, "s"),
               Figure("waits longer", 1.0, "s"), Figure("alone", 5.0, "/s"))  # fmt: skip
    result = Result("n", "Sentence.", "", "", "3.13.0", Verdict("confirmed", ""), figures, 1.0)
    speedups, seconds = Claims([result], gilcmp.environment()).charts()
    assert (speedups.rows, seconds.rows) == (("one", "two"), ("waits", "waits longer"))
    assert (speedups.x.log, seconds.x.log) == (False, True)
    assert "two: 2.00x" in speedups.alternative


def test_raw_data_that_is_too_large_is_left_out_and_said(run, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    from gilcmp.show import html as view

    monkeypatch.setattr(view, "LARGEST", 1000)
    gilcmp.report(Comparison(run), output=tmp_path / "report.html")
    page = Page((tmp_path / "report.html").read_text())
    assert not [a for a in page.all("a") if "download" in a]
    assert "left out" in " ".join(page.texts)


def test_a_run_in_which_nothing_was_measured_and_one_that_was_interrupted(run, tmp_path):
    pytest.importorskip("matplotlib")
    for number, cells in enumerate(
        (
            [],
            [evolve(cell, rounds=[]) for cell in run.cells],
            [evolve(cell, rounds=cell.rounds[:1]) for cell in run.cells],
        )
    ):
        path = tmp_path / f"{number}.html"
        gilcmp.report(Comparison(evolve(run, cells=cells, complete=False)), output=path)
        assert Page(path.read_text()).open == []


# ---- gilcmp report ----


def test_the_command_writes_the_report(files, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    out = tmp_path / "out.html"
    with pytest.raises(SystemExit) as stop:
        cli.main(["report", *map(str, files), "-o", str(out)])
    assert stop.value.code == 0
    assert "MB" in capsys.readouterr().out
    assert out.stat().st_size > 50_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "x.html"], "nothing to report on"),
        (["run.json"], "output"),
        (["nope.json", "-o", "x.html"], "nope.json"),
    ],
)
def test_wrong_usage_is_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        cli.main(["report", *arguments])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "x.html").exists()


def test_a_report_does_not_replace_what_it_is_made_of(tmp_path, run, capsys):
    path = tmp_path / "run.json"
    save_run(run, path)
    before = path.read_bytes()
    link = tmp_path / "link.html"
    link.symlink_to(path)
    for output in (path, link):
        with pytest.raises(ValueError, match="output must not be one of the sources"):
            gilcmp.report(path, output=output)
        with pytest.raises(SystemExit) as stop:
            cli.main(["report", str(path), "-o", str(output)])
        assert stop.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("blocked", "call", "extra"),
    [
        ("matplotlib", "gilcmp.report(c, output='x.html')", "matplotlib"),
        ("matplotlib", "c.plot()", "matplotlib"),
    ],
)
def test_without_the_extra_it_says_what_to_install_and_tables_work(blocked, call, extra, tmp_path, run):
    save_run(run, tmp_path / "run.json")
    code = (
        f"import sys; sys.modules[{blocked!r}] = None\n"
        f"import gilcmp\nc = gilcmp.load('run.json')\nprint(c); assert '<table' in c._repr_html_()\n"
        f"try:\n    {call}\nexcept ImportError as error:\n    assert 'gilcmp[report]' in str(error), error\n"
        "else:\n    raise SystemExit(5)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


# ---- pictures and notebooks ----


@pytest.fixture
def results(comparison, claims, probe, threshold):
    with gilcmp.timeline() as timeline:
        pass
    return {
        "comparison": comparison,
        "claims": claims,
        "probe": probe,
        "threshold": threshold,
        "timeline": timeline,
    }


@pytest.mark.parametrize("name", ["comparison", "probe", "threshold", "timeline"])
def test_plots_are_figures_that_can_be_saved(name, results, tmp_path):
    pytest.importorskip("matplotlib")
    figure = results[name].plot()
    figure.savefig(tmp_path / "picture.svg")
    assert (tmp_path / "picture.svg").read_text().count("<path") > 3


def test_a_comparison_s_picture_shows_each_implementation_and_the_ideal(comparison):
    pytest.importorskip("matplotlib")
    (legend,) = comparison.plot().legends
    texts = {text.get_text() for text in legend.get_texts()}
    assert texts == {"python", "cython_gil", "cython_nogil", "ideal", "best of the processes"}


@pytest.mark.parametrize("name", ["comparison", "claims", "probe", "threshold", "timeline"])
def test_notebooks_show_tables_with_their_plots(name, results):
    html = results[name]._repr_html_()
    assert Page(html).open == []
    assert "<table>" in html
    if name != "claims":
        pytest.importorskip("matplotlib")
        assert "data:image/png;base64," in html


def test_notebooks_show_diffs_and_atlases(comparison, probe):
    entries = (Entry("group", "<b>", None, "failed"), Entry("group", "fine", probe, None))
    for html in (
        gilcmp.diff(comparison, comparison)._repr_html_(),
        gilcmp.Atlas("statements", gilcmp.environment(), entries)._repr_html_(),
    ):
        assert "<table>" in html
        assert Page(html).open == []
        assert not Page(html).all("b")[1:]


def test_hostile_names_in_pictures(run, tmp_path):
    pytest.importorskip("matplotlib")
    bad = Comparison(
        evolve(
            run,
            cells=[
                evolve(cell, kernel="$x_{", implementation=cell.implementation + "\ud800$\\bad") for cell in run.cells
            ],
        )
    )
    bad.plot().savefig(tmp_path / "x.png")
    assert "data:image/png" in bad._repr_html_()


def test_runs_of_several_pythons_are_laid_over_one_another(run):
    one = run.cells[1]
    cells = [*run.cells, evolve(one, workers=1), evolve(one, workers=4)]
    first = Comparison(evolve(run, cells=cells))
    other = Comparison(evolve(first.run, environment=evolve(run.environment, python="3.99.0")))
    found = read_report([first, other])
    page = report_sections(found.runs, (), (), ())
    (side,) = [section for section in page if section.title == "Runs side by side"]
    (curves,) = [part for part in side.parts if isinstance(part, Chart) and part.title.endswith(": threads")]
    names = [mark.name for mark in curves.marks]
    here = run.environment.python_name
    assert names[:2] == ["ideal", f"python, {here}"]
    assert len(names) == 7
    assert {mark.dash for mark in curves.marks if "3.99.0" in mark.name} == {"dashed"}
    assert curves.table is not None
    assert len(curves.table.rows) == 2 * 5
    (top, *_) = page
    assert any(sentence.text.startswith(f"{other.environment.python_name}: ") for sentence in top.parts)
