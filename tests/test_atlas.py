"""The atlas: its lists, its errors, and results that CPython's and NumPy's sources foretell."""

from __future__ import annotations

import json
import sys
from importlib import import_module

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gilcmp
from conftest import busy_machine
from gilcmp import AtlasError
from gilcmp.base.calls import execute
from gilcmp.probing.probe_result import OPEN
from test_cli import call, process

module = import_module("gilcmp.probing.atlas")
needs_gil = pytest.mark.skipif(not gilcmp.environment().gil_enabled, reason="without a GIL nothing is held")


@pytest.fixture
def toml(tmp_path):
    def write(text):
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(("name", "least"), [("stdlib", 80), ("numpy", 60)])
def test_shipped_lists_are_long_and_every_statement_compiles_and_runs(name, least, monkeypatch):
    """Each runs once here; what it does to the GIL is in docs/atlas.md."""
    monkeypatch.setattr(module, "probe", lambda function, budget: function())
    found = module.atlas(name)
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
    groups = module._read(source)[1]
    group = next(group for group in groups if statement in group.statements)
    namespace = {"__name__": "__main__"}
    execute(group.setup, "<setup>", namespace)
    for _ in range(5):
        entry = module._entry(group.name, statement, namespace, None, 0.2)
        if entry.error or entry.probe.verdict not in OPEN:
            break
    module._run(lambda: module.clear(namespace))
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
        statements = ["x + 1", "1 / 0", "print('nothing of this is shown')", "no valid python"]
        [[group]]
        setup = "import no_such_module"
        statements = ["pass"]
    """)
    told = []
    found = gilcmp.atlas(path, budget=0.03, progress=lambda *now: told.append(now))
    assert found.title == "Mine"
    assert found["x + 1"].probe.calls >= 1
    assert found["1 / 0"].error == "ZeroDivisionError: division by zero"
    assert "SyntaxError" in found["no valid python"].error
    assert "ModuleNotFoundError" in found["pass"].error
    assert told[0] == ("x + 1", 0, 5)
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
        ("[[group]]\nstatements = [1]", r"statements\[0\] must be text, got int"),
        ("[[group]]\nname = 1\nstatements = ['pass']", r"group\[0\].name must be text"),
        ("[[group]]\nsetup = []\nstatements = ['pass']", r"group\[0\].setup must be text"),
        ("[[group]]\nstetup = ''\nstatements = ['pass']", r"group\[0\] has no 'stetup'"),
    ],
)
def test_broken_lists_name_the_place(toml, text, message):
    with pytest.raises(AtlasError, match=message):
        gilcmp.atlas(toml(text))


def test_no_such_list():
    with pytest.raises(AtlasError, match=r"source must be stdlib, numpy or a TOML file, got 'none\.toml'"):
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

    monkeypatch.setattr(sys.modules["gilcmp.probing.atlas"], "probe", probe)
    with pytest.raises(KeyboardInterrupt) as stopped:
        gilcmp.atlas("stdlib")
    assert len(stopped.value.atlas) == 3


def test_ctrl_c_on_the_command_line_shows_what_was_probed(toml):
    path = toml("[[group]]\nname = 'g'\nstatements = ['x = 1', 'raise KeyboardInterrupt', 'y = 2']")
    done = process("atlas", str(path), "--budget", "20ms", "--json", "-")
    assert done.returncode == 130
    assert done.stderr == "gilcmp: interrupted\n"
    assert [entry["statement"] for entry in json.loads(done.stdout)[0]["entries"]] == ["x = 1"]


def test_a_list_that_cannot_be_read_does_not_lose_the_others(capsys, toml):
    path = str(toml("[[group]]\nname = 'g'\nstatements = ['x = 1']"))
    code, out, err = call(capsys, "atlas", path, "none.toml", "--budget", "20ms")
    assert code == 2
    assert "x = 1" in out
    assert err.startswith("gilcmp: source must be")


def test_on_the_command_line(capsys, toml):
    path = str(toml("[[group]]\nname = 'g'\nstatements = ['x = \"a|b\"', '1 / 0']"))
    code, out, err = call(capsys, "atlas", path, "--budget", "30ms")
    assert (code, err) == (0, "")
    assert "ZeroDivisionError" in out
    code, out, _ = call(capsys, "atlas", path, "--budget", "30ms", "--markdown")
    assert '| `x = "a\\|b"` |' in out
    (data,) = json.loads(call(capsys, "atlas", path, "--budget", "30ms", "--json", "-")[1])
    assert [entry["error"] for entry in data["entries"]] == [None, "ZeroDivisionError: division by zero"]
    assert data["environment"]["python"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.toml"], "source must be"),
        (["stdlib", "--budget", "1ms"], "--budget must be from 10ms"),
        (["stdlib", "--json", "/no/such/folder/x"], "cannot be written"),
    ],
)
def test_wrong_usage(capsys, arguments, message):
    code, out, err = call(capsys, "atlas", *arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err
