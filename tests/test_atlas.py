"""The atlas: its lists, its errors, and results that CPython's and NumPy's sources foretell."""

from __future__ import annotations

import json
import math
import os
import re
import sys
import threading
from importlib import import_module
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from attrs import asdict, evolve
from hypothesis import given, settings
from hypothesis import strategies as st

import gilcmp
from conftest import busy_machine
from gilcmp import Atlas, AtlasError, Estimate, Probe, Stall, Verdict
from gilcmp.probing.probe_result import OPEN
from gilcmp.saved.kept import csv_text
from gilcmp.surveying import survey as surveying
from gilcmp.surveying.lists import Documented, read_list, shipped
from gilcmp.surveying.scaling import Scaling, TwoThreads, judged
from test_cli import call, process

module = import_module("gilcmp.surveying.atlas")
Entry = module.Entry
PROBED = Probe(
    "pass", 100, 1e-3, Estimate(0.02, 0.01, 0.03, 10), 0.0, 1e-4, 2.0, Stall(1e-5, 1e-4, 1e-3, 50), 1.0, math.nan,
    Verdict("releases", "the lock was held 2% of the time"),
)  # fmt: skip
HELD = evolve(PROBED, held=Estimate(1.0, 1.0, 1.0, 10), verdict=Verdict("holds, blocks", "held"))
SCALES, STAYS = (Scaling(Estimate(x, x - 0.05, x + 0.05, 10), 1.0, judged(Estimate(x, x - 0.05, x + 0.05, 10), 1.0, 2))
                 for x in (1.9, 1.0))  # fmt: skip
ONE_AT_A_TIME, NEVER = threading.Lock(), threading.Event()
needs_gil = pytest.mark.skipif(not gilcmp.environment().gil_enabled, reason="without a GIL nothing is held")


@pytest.fixture
def toml(tmp_path):
    def write(text):
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_the_lists_that_come_with_gilcmp():
    libraries = [read_list(name) for name in shipped()]
    assert len(libraries) >= 30
    assert sum(len(library.statements) for library in libraries) >= 350
    for library in libraries:
        assert all(listed.size for listed in library.statements), library.name
        said = [listed for listed in library.statements if listed.documented.says != "silent"]
        assert all(listed.documented.where for listed in said), library.name
        assert len({listed.statement for listed in library.statements}) == len(library.statements), library.name


@pytest.mark.parametrize(("name", "least"), [("stdlib", 80), ("numpy", 60)])
def test_shipped_lists_are_long_and_every_statement_compiles_and_runs(name, least, monkeypatch):
    """Each runs once here; what it does to the GIL is in docs/atlas.md."""
    monkeypatch.setattr(module, "probe", lambda function, budget: (function() and None) or PROBED)
    found = module.atlas(name, threads=False)
    assert len(found) >= least
    assert len({entry.statement for entry in found}) == len(found)
    assert [(entry.statement, entry.error) for entry in found if entry.error] == []


# What the sources say: Modules/_hashopenssl.c and zlibmodule.c let go for large inputs, _bz2 and _lzma always;
# json, pickle, struct, re, csv and sorted never; NumPy's ufuncs above 500 elements (NPY_BEGIN_THREADS_THRESHOLDED),
# object arrays never.
HOLDS = [
    ("stdlib", "hashlib.sha256(tiny)"),
    ("stdlib", "zlib.crc32(small)"),
    ("stdlib", "json.dumps(table)"),
    ("stdlib", "json.loads(as_json)"),
    ("stdlib", "pickle.dumps(table)"),
    ("stdlib", "struct.pack('<64000d', *range(64000))"),
    ("stdlib", "pattern.findall(text)"),
    ("stdlib", "list(csv.reader(io.StringIO(as_csv)))"),
    ("stdlib", "sorted(numbers)"),
    ("stdlib", "loop(1_000_000)"),
    ("numpy", "np.add(tiny, tiny)"),
    ("numpy", "np.add(below, below)"),
    ("numpy", "np.add(objects, objects)"),
    ("numpy", "np.sort(objects)"),
]
RELEASES = [
    ("stdlib", "hashlib.sha256(large)"),
    ("stdlib", "zlib.crc32(large)"),
    ("stdlib", "zlib.adler32(large)"),
    ("stdlib", "zlib.compress(large)"),
    ("stdlib", "bz2.compress(large)"),
    ("stdlib", "lzma.compress(large, preset=0)"),
    ("stdlib", "time.sleep(0.01)"),
    ("stdlib", "subprocess.run([sys.executable, '-S', '-c', ''])"),
    ("numpy", "np.add(large, large)"),
    ("numpy", "np.exp(large)"),
    ("numpy", "np.sort(values)"),
    ("numpy", "a @ b"),
]


def probed(source, statement):
    """One entry of a shipped list, probed until the machine is not too busy to say."""
    library = read_list(source)
    listed = next(listed for listed in library.statements if listed.statement == statement)
    found = module._Survey(evolve(library, statements=(listed,)), 0.2, False, None)
    found.measure()
    (entry,) = found.entries
    assert entry.error is None, entry.error
    if entry.probe.verdict in OPEN:
        busy_machine(entry.probe.verdict.reason)
    return entry.probe


@needs_gil
@pytest.mark.parametrize(("source", "statement"), HOLDS)
def test_what_must_hold_holds(source, statement):
    assert probed(source, statement).held.high > 0.8


@needs_gil
@pytest.mark.parametrize(("source", "statement"), RELEASES)
def test_what_must_release_releases(source, statement):
    assert probed(source, statement).held.low < 0.4


def test_a_list_of_ones_own(toml):
    path = toml("""
        title = "Mine"
        [[group]]
        name = "good"
        setup = "x = 3"
        statements = ["x + 1", "1 / 0", "print('nothing of this is shown')", "no valid python", "raise SystemExit(3)"]
        [[group]]
        setup = "import no_such_module"
        statements = ["pass"]
    """)
    told = []
    found = gilcmp.atlas(path, budget=0.03, threads=False, progress=lambda *now: told.append(now))
    assert found.title == "Mine"
    assert found["x + 1"].probe.calls >= 1
    assert found["1 / 0"].error == "ZeroDivisionError: division by zero"
    assert "SyntaxError" in found["no valid python"].error
    assert found["raise SystemExit(3)"].error == "SystemExit: 3"
    assert "ModuleNotFoundError" in found["pass"].error
    assert told[0] == ("x + 1", 0, 6)
    text = str(found)
    assert "ZeroDivisionError" in text
    assert max(map(len, text.splitlines())) <= 80
    with pytest.raises(KeyError):
        found["gone"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x =", "not TOML"),
        ("", "must have an array of tables"),
        ("group = 3", "must have an array of tables"),
        ("group = []", "must have an array of tables"),
        ("group = [1]", r"group\[0\] must be a table, got int"),
        ("[[group]]", r"group\[0\].statements must be a list"),
        ("[[group]]\nstatements = []", r"group\[0\].statements must be a list"),
        ("[[group]]\nstatements = [1]", r"statements\[0\] must be text, or a table with run, got int"),
        ("[[group]]\nstatements = [{says = 'holds'}]", r"statements\[0\] must be text, or a table with run, got dict"),
        ("[[group]]\nstatements = [' ']", r"statements\[0\] must not be empty"),
        ("[[group]]\nstatements = [{run = 1}]", r"statements\[0\].run must be text, got int"),
        ("[[group]]\nstatements = [{run = 'x', sais = 'holds'}]", r"statements\[0\] has no 'sais'"),
        ("[[group]]\nsays = 'maybe'\nstatements = ['x']", r"says must be one of releases, .*, got 'maybe'"),
        ("requires = 'x'\n[[group]]\nstatements = ['x']", "requires must be a list of texts"),
        ("titel = 'x'\n[[group]]\nstatements = ['x']", "has no 'titel'"),
        ("title = 1\n[[group]]\nstatements = ['x']", "title must be text, got int"),
        ("[[group]]\nname = 1\nstatements = ['pass']", r"group\[0\].name must be text"),
        ("[[group]]\nsetup = []\nstatements = ['pass']", r"group\[0\].setup must be text"),
        ("[[group]]\nstetup = ''\nstatements = ['pass']", r"group\[0\] has no 'stetup'"),
    ],
)
def test_broken_lists_name_the_place(toml, text, message):
    with pytest.raises(AtlasError, match=message):
        gilcmp.atlas(toml(text))


def test_no_such_list():
    with pytest.raises(AtlasError, match=r"source must be stdlib, numpy, .* or a TOML file, got 'none\.toml'"):
        gilcmp.atlas("none.toml")


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=60) | st.binary(max_size=40))
def test_fuzzed_lists(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("fuzz") / "list.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    with pytest.raises(AtlasError):
        gilcmp.atlas(path)


def test_ctrl_c_keeps_what_was_probed(monkeypatch):
    probed = []

    def probe(call, budget):
        if len(probed) == 3:
            raise KeyboardInterrupt
        probed.append(call)
        return PROBED

    monkeypatch.setattr(module, "probe", probe)
    with pytest.raises(KeyboardInterrupt) as stopped:
        gilcmp.atlas("stdlib", threads=False)
    assert len(stopped.value.atlas) == 3


def test_ctrl_c_on_the_command_line_shows_what_was_probed(toml):
    path = toml("[[group]]\nname = 'g'\nstatements = ['x = 1', 'raise KeyboardInterrupt', 'y = 2']")
    done = process("atlas", str(path), "--budget", "20ms", "--no-threads", "--json", "-")
    assert done.returncode == 130
    assert done.stderr == "gilcmp: interrupted\n"
    assert [entry["statement"] for entry in json.loads(done.stdout)[0]["entries"]] == ["x = 1"]


def test_a_list_that_cannot_be_read_does_not_lose_the_others(capsys, toml):
    path = str(toml("[[group]]\nname = 'g'\nstatements = ['x = 1']"))
    code, out, err = call(capsys, "atlas", path, "none.toml", "--budget", "20ms", "--no-threads")
    assert code == 2
    assert "x = 1" in out
    assert err.startswith("gilcmp: source must be")


def test_on_the_command_line(capsys, toml):
    path = str(toml("[[group]]\nname = 'g'\nstatements = ['x = \"a|b\"', '1 / 0']"))
    code, out, err = call(capsys, "atlas", path, "--budget", "30ms", "--no-threads")
    assert (code, err) == (0, "")
    assert "ZeroDivisionError" in out
    code, out, _ = call(capsys, "atlas", path, "--budget", "30ms", "--no-threads", "--markdown")
    assert '| `x = "a\\|b"` |' in out
    (data,) = json.loads(call(capsys, "atlas", path, "--budget", "30ms", "--no-threads", "--json", "-")[1])
    assert [entry["error"] for entry in data["entries"]] == [None, "ZeroDivisionError: division by zero"]
    assert data["environment"]["python"]


def test_all_that_is_installed(capsys, monkeypatch):
    asked = []
    monkeypatch.setattr(
        module, "atlas", lambda source, **_: asked.append(source) or an_atlas(Entry("g", "x", PROBED, None))
    )
    code, _, err = call(capsys, "atlas", "--installed")
    assert (code, err) == (0, "")
    assert asked[:2] == ["stdlib", "numpy"]
    assert all(read_list(name).version is not None for name in asked)


def test_a_library_that_is_not_there(monkeypatch, capsys):
    monkeypatch.setattr(
        "gilcmp.surveying.lists.version", lambda name: (_ for _ in ()).throw(PackageNotFoundError(name))
    )
    code, out, err = call(capsys, "atlas", "h5py")
    assert (code, out, err) == (2, "", "gilcmp: h5py is not installed: pip install h5py\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.toml"], "source must be"),
        (["stdlib", "--budget", "1ms"], "--budget must be from 10ms"),
        (["stdlib", "--json", "/no/such/folder/x"], "cannot be written"),
        (["--python", "python3"], "--python needs --survey FOLDER"),
        (["--from-source"], "--from-source needs --survey FOLDER"),
        (["nothing", "--survey", "folder"], "no list 'nothing'"),
        (["--survey", "folder", "--installed"], "--survey goes with libraries"),
        (["--survey", "folder", "--python", "no-such-python"], "--python 'no-such-python' not found"),
    ],
)
def test_wrong_usage(capsys, arguments, message):
    code, out, err = call(capsys, "atlas", *arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err


# ---- two threads -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "holds", "word"),
    [
        (1.8, 1.9, False, "scales"),
        (1.2, 1.5, False, "partial"),
        (1.5, 1.9, False, "faster"),
        (0.96, 1.1, False, "no gain"),
        (0.5, 0.8, False, "slower"),
        (0.9, 1.4, False, "too noisy"),
        (0.9, 1.4, True, "GIL-bound"),
        (0.5, 0.8, True, "slower"),
        (1.5, 1.9, True, "too noisy"),
        (math.nan, math.nan, False, "too noisy"),
    ],
)
def test_the_word_for_two_threads(low, high, holds, word):
    assert judged(Estimate((low + high) / 2, low, high, 10), 1.0, 2.0, holds=holds) == word


def test_two_threads_say_when_a_call_has_threads_of_its_own_and_when_there_is_one_cpu():
    own = judged(Estimate(1.0, 0.97, 1.05, 10), 1.9, 2.0)
    assert own == "no gain"
    assert "keeps 1.9 CPUs busy itself" in own.reason
    assert judged(Estimate(1.0, 0.97, 1.05, 10), 1.0, 1.0).reason == "1 CPU: two threads cannot run at once"


def test_each_thread_has_objects_of_its_own_and_the_clock_is_common():
    pair = TwoThreads("import threading, time\nowner = threading.get_ident()")
    try:
        found = pair.measure("assert owner == threading.get_ident(); time.sleep(0.002)", 0.2)
        with pytest.raises(ZeroDivisionError):
            pair.measure("1 / 0", 0.1)
    finally:
        pair.close()
    assert found.speedup.n >= 6
    assert found.cpus < 1


def test_a_setup_that_fails_is_told_and_leaves_no_thread():
    with pytest.raises(ZeroDivisionError):
        TwoThreads("1 / 0")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("gilcmp ")]


def test_a_lock_of_the_librarys_own_is_seen_however_long_a_call_is():
    """In the time of a round each of two threads gets its call done; together they take twice as long."""
    pair = TwoThreads("import time; from test_atlas import ONE_AT_A_TIME")
    try:
        found = pair.measure("with ONE_AT_A_TIME: time.sleep(0.03)", 0.3)
    finally:
        pair.close()
    assert found.speedup.value < 1.4  # each by its own clock: 1.5


def test_a_call_that_does_not_come_back_is_told_and_spoils_no_other(monkeypatch):
    monkeypatch.setattr("gilcmp.measure.crew.LONGEST", 0.5)
    pair = TwoThreads("from test_atlas import NEVER")
    with pytest.raises(TimeoutError, match=r"a call has not come back within 0\.5 s"):
        pair.measure("NEVER.wait(30)", 0.1)
    with pytest.raises(TimeoutError, match="an earlier call has not come back"):
        pair.measure("pass", 0.1)
    NEVER.set()


def test_what_a_setup_starts_has_all_cpus():
    pair = TwoThreads("import os; mask = os.sched_getaffinity(0) if hasattr(os, 'sched_getaffinity') else None")
    masks = [names["mask"] for names in pair._names]
    pair.close()
    assert masks[0] == masks[1]
    if masks[0] is not None:
        assert masks[0] == os.sched_getaffinity(0)


def test_where_shareless_code_does_not_scale_nobody_is_blamed():
    assert judged(Estimate(1.0, 0.97, 1.05, 10), 1.0, 2.0, best=1.1) == "too noisy"
    assert judged(Estimate(1.0, 0.97, 1.05, 10), 1.0, 2.0, best=1.1, holds=True) == "GIL-bound"
    assert judged(Estimate(1.9, 1.8, 2.0, 10), 1.0, 2.0, best=1.1) == "scales"


def test_two_threads_of_a_list(toml):
    path = toml("""
        [[group]]
        setup = "import time"
        statements = [{ run = "time.sleep(0.002)", size = "2 ms", says = "holds", where = "a book", note = "a slip" }]
    """)
    found = gilcmp.atlas(path, budget=0.05)
    (entry,) = found
    assert entry.size == "2 ms"
    assert entry.scaling.speedup.n >= 6
    assert found.reference.n >= 6
    if entry.measured == "releases":
        assert entry.disagrees
        assert found.findings[0] == "time.sleep(0.002): holds by a book, measured: releases (a slip)."


# ---- what was found --------------------------------------------------------------------------------------------


def an_atlas(*entries, **changes):
    return evolve(Atlas("Some", gilcmp.environment(), entries, "some", "1.0"), **changes)


def test_rows_have_all_that_is_known_under_names_that_stay():
    entry = Entry("g", "f(x)", PROBED, None, SCALES, Documented("holds", "a book"), "import f", "1 MB")
    broken = Entry("g", "1 / 0", None, "ZeroDivisionError", documented=Documented())
    first, second = an_atlas(entry, broken).records()
    assert list(first) == [
        "library", "library_version", "python", "gil_turned_on_by", "cpu", "cpus", "system", "measured", "group",
        "statement", "setup", "size", "documented", "documented_where", "note", "error", "verdict", "reason", "time",
        "held_value", "held_low", "held_high", "held_n", "longest_hold", "hand_overs", "usable", "stall_p50",
        "stall_p99", "stall_max", "stall_n", "two_threads", "speedup_value", "speedup_low", "speedup_high", "speedup_n",
        "cpus_of_one", "disagrees",
    ]  # fmt: skip
    assert (first["disagrees"], first["two_threads"]) == ("yes", "scales")
    assert (second["disagrees"], second["error"]) == ("no", "ZeroDivisionError")


def test_what_releases_and_does_not_scale_is_a_finding():
    entry = Entry("g", "read(x)", PROBED, None, STAYS)
    assert entry.blocked_otherwise
    assert an_atlas(entry).findings == [
        "read(x): holds 2.0 %, and two threads do between 0.95 and 1.05 times the work of one."
    ]
    assert not Entry("g", "read(x)", HELD, None, STAYS).blocked_otherwise
    assert not Entry("g", "read(x)", PROBED, None, SCALES).blocked_otherwise


def test_two_atlases_tell_what_changed(tmp_path, capsys):
    before = an_atlas(Entry("g", "a", HELD, None, STAYS), Entry("g", "b", HELD, None), Entry("g", "gone", HELD, None))
    after = an_atlas(
        Entry("g", "a", PROBED, None, SCALES), Entry("g", "b", HELD, None), Entry("g", "new", HELD, None), version="2.0"
    )
    paths = [tmp_path / "before.json", tmp_path / "after.json"]
    before.save(paths[0])
    paths[1].write_text(json.dumps([asdict(after)]).replace("NaN", "null"))
    found = gilcmp.compare_atlases([before], [after])
    assert [(change.statement, change.what, change.before, change.after) for change in found.changes] == [
        ("a", "GIL", "holds, blocks", "releases"),
        ("a", "two threads", "1.00x", "1.90x"),
    ]
    assert (found.missing, found.extra, found.compared) == (("gone",), ("new",), 2)
    code, out, err = call(capsys, "diff", *map(str, paths))
    assert (code, err) == (0, "")
    assert "1 of 2 statements changed." in " ".join(out.split())
    assert "Only in" in out
    found.save(tmp_path / "diff.json")
    assert gilcmp.load(tmp_path / "diff.json") == found
    code, _, err = call(capsys, "diff", str(paths[0]), str(paths[1]), "--fail-below", "0.9")
    assert (code, "for saved runs, not for atlases" in err) == (2, True)
    (tmp_path / "run.json").write_text("{}")
    code, _, err = call(capsys, "diff", str(paths[0]), str(tmp_path / "run.json"))
    assert (code, "laid beside one other atlas" in err) == (2, True)


def test_a_statement_that_raises_now_and_another_cpu_are_told():
    before, after = an_atlas(Entry("g", "a", PROBED, None)), an_atlas(Entry("g", "a", None, "ValueError: no"))
    after = evolve(after, environment=evolve(after.environment, cpu="Another"))
    found = gilcmp.compare_atlases([before], [after])
    assert [(change.what, change.before, change.after) for change in found.changes] == [
        ("error", "releases", "ValueError: no")
    ]
    assert found.environment[0].endswith("then Another.")


def test_a_change_within_the_intervals_is_none():
    noisy = evolve(PROBED, held=Estimate(0.12, 0.02, 0.2, 10), verdict=Verdict("releases partly", "held 12%"))
    assert not gilcmp.compare_atlases(
        [an_atlas(Entry("g", "a", PROBED, None))], [an_atlas(Entry("g", "a", noisy, None))]
    ).changes


# ---- environments of their own ---------------------------------------------------------------------------------


def test_a_survey_lists_what_cannot_be_installed_and_goes_on_where_it_was(tmp_path, monkeypatch):
    calls = []

    def fake(command, folder=None, limit=0.0):
        calls.append(command)
        if "install" in command and "numpy" in command:
            return "ERROR: no matching distribution"
        if "atlas" in command:
            body = json.dumps([asdict(an_atlas(Entry("g", "pass", PROBED, None)))]).replace("NaN", "null")
            surveying.Path(command[-1]).write_text(body)
        return ""

    monkeypatch.setattr(surveying, "_call", fake)
    monkeypatch.setattr(surveying, "_wheel", lambda python, temporary: "gilcmp.whl")
    outcomes = surveying.survey(["numpy", "stdlib"], folder=tmp_path)
    assert [(outcome.name, outcome.reason) for outcome in outcomes] == [
        ("numpy", "ERROR: no matching distribution"),
        ("stdlib", ""),
    ]
    assert surveying.failures_in(tmp_path) == {"numpy": "ERROR: no matching distribution"}
    assert (tmp_path / "atlas.csv").read_text().count("\n") == 2
    assert len(gilcmp.load(tmp_path / "atlas.json")) == 1
    installing = [command for command in calls if "install" in command]
    assert all("--only-binary" in command for command in installing)
    calls.clear()
    surveying.survey(["numpy", "stdlib"], folder=tmp_path, from_source=True)
    assert not [command for command in calls if "stdlib" in command]
    assert [command for command in calls if "install" in command and "--only-binary" not in command]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("numpy.json", '[{"title": "x"', "numpy.json"),
        ("numpy.json", "[]", "not an atlas of one library"),
        ("failed.json", "[]", "must be a table of reasons"),
        ("failed.json", "", "failed.json"),
    ],
)
def test_a_broken_file_of_a_survey_is_told_before_anything_is_installed(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    done = process("atlas", "--survey", str(tmp_path), "numpy", "-q")
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_an_interrupted_survey_has_is_kept(tmp_path, monkeypatch):
    def interrupted(command, folder=None, limit=0.0):
        if "atlas" in command:
            surveying.Path(command[-1]).write_text("what it has")
            raise KeyboardInterrupt
        return ""

    monkeypatch.setattr(surveying, "_call", interrupted)
    monkeypatch.setattr(surveying, "_wheel", lambda python, temporary: "gilcmp.whl")
    with pytest.raises(KeyboardInterrupt):
        surveying.survey(["numpy"], folder=tmp_path)
    assert (tmp_path / "numpy.partial.json").read_text() == "what it has"
    assert not (tmp_path / "numpy.json").exists()


def test_a_command_that_takes_too_long(monkeypatch):
    monkeypatch.setattr(surveying, "SAVING", 0.5)  # an interrupt while Python starts may be lost
    assert surveying._call([sys.executable, "-c", "import threading; threading.Event().wait()"], limit=0.1) == (
        "not done after 0 minutes"
    )


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise SystemExit(0)", ""),
        ("import sys; print('a\\nERROR: this\\nb', file=sys.stderr); sys.exit(1)", "ERROR: this"),
        ("raise SystemExit(3)", "exit code 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", "ended by SIGTERM"),
    ],
)
def test_why_a_command_of_a_survey_failed(code, reason):
    assert surveying._call([sys.executable, "-c", code]) == reason


def test_a_command_that_is_not_there():
    assert "No such file" in surveying._call(["/no/such/python"])


# ---- the published atlas ---------------------------------------------------------------------------------------

PUBLISHED = Path(__file__).parents[1] / "docs" / "atlas"


def test_the_published_atlas_is_whole_and_each_finding_was_looked_into():
    atlases = gilcmp.load(PUBLISHED / "atlas.json")
    entries = [(atlas.library, entry) for atlas in atlases for entry in atlas]
    assert len({library for library, _ in entries}) >= 30
    assert len([entry for _, entry in entries if entry.probe]) >= 350
    assert [entry.statement for _, entry in entries if entry.probe and entry.probe.verdict == "starved"] == []
    assert [
        (library, entry.statement) for library, entry in entries if entry.disagrees and not entry.documented.note
    ] == []
    assert all(entry.documented.where for _, entry in entries if entry.documented.says != "silent")


def test_the_published_data_are_the_same_in_both_files_and_on_the_pages():
    atlases = gilcmp.load(PUBLISHED / "atlas.json")
    records = [record for atlas in atlases for record in atlas.records()]
    assert (PUBLISHED / "atlas.csv").read_text(encoding="utf-8") == csv_text(records)
    for atlas in atlases:
        (page,) = [
            page for page in PUBLISHED.glob("*.md") if f"# {atlas.title} {atlas.version}\n" in page.read_text("utf-8")
        ]
        assert page.read_text("utf-8").count("\n| `") == len(atlas)
    assert (PUBLISHED / "all.md").read_text("utf-8").count("<tr><td>") == len(records)


def test_the_pages_of_the_atlas_and_of_what_was_measured_without_the_gil(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "docs")
    pages = import_module("atlas_pages")
    monkeypatch.setattr(pages, "HERE", tmp_path)
    monkeypatch.setattr(pages, "PAGES", tmp_path / "atlas")
    monkeypatch.setattr(pages, "with_latest_words", lambda name, found: found)
    without = evolve(PROBED, verdict=Verdict("no GIL", "free-threaded"))
    here = evolve(gilcmp.environment(), free_threaded=False, gil_enabled=True, gil_culprit=None, python="3.13.0")
    free = evolve(here, free_threaded=True, gil_enabled=False, python="3.14.1")
    on = evolve(free, gil_enabled=True, gil_culprit="the module lxml.etree")
    saved = {
        "gil/numpy": an_atlas(
            Entry("g", "a", HELD, None, STAYS), Entry("g", "b", PROBED, None, SCALES), environment=here
        ),
        "gil/lxml": an_atlas(Entry("g", "c", HELD, None, STAYS), environment=here),
        "free/numpy": an_atlas(
            Entry("g", "a", without, None, SCALES), Entry("g", "b", without, None, STAYS), environment=free
        ),
        "free/lxml": an_atlas(Entry("g", "c", HELD, None, STAYS), environment=on),
    }
    for name, each in saved.items():
        file = tmp_path / f"{name}.json"
        file.parent.mkdir(exist_ok=True)
        named = asdict(evolve(each, title=read_list(file.stem).title))
        file.write_text(json.dumps([named]).replace("NaN", "null"), encoding="utf-8")
    (tmp_path / "free" / "failed.json").write_text(json.dumps({"brotli": "no wheel"}), encoding="utf-8")
    pages.main([str(tmp_path / "gil"), str(tmp_path / "free")])
    assert "2 libraries on a free-threaded build; 1 could not be measured" in capsys.readouterr().out
    first, page = ((tmp_path / name).read_text(encoding="utf-8") for name in ("atlas.md", "atlas/free-threaded.md"))
    assert "(atlas/free-threaded.md)" in first
    assert "brotli" not in first
    assert "`brotli` could not be measured: no wheel" in page
    assert "CPython 3.14.1t" in page
    assert "two threads do more than one for 1 with the GIL, and for\n1 without it" in page
    assert "| yes: the module lxml.etree | 1 | - | - | - |" in page
    _, worse, stuck, rows = re.split("with the GIL than without it|no more without the GIL either|## All rows", page)
    assert "| numpy | `b` |  | 1.90x scales | 1.00x no gain | 1.0 |" in worse
    assert "`b`" not in stuck
    assert "`a`" not in worse + stuck
    assert "| numpy | `a` |  | 1.00x no gain | 1.90x scales |" in rows
    assert len(gilcmp.load(tmp_path / "atlas" / "free-threaded" / "atlas.json")) == 2
    assert len(gilcmp.load(tmp_path / "atlas" / "atlas.json")) == 2
    (tmp_path / "again").mkdir()
    pages.main([str(tmp_path / "again")])  # what is not measured again stays
    assert page == (tmp_path / "atlas" / "free-threaded.md").read_text(encoding="utf-8")
    assert first == (tmp_path / "atlas.md").read_text(encoding="utf-8")
