"""The command line, as a person meets it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gilcmp
from gilcmp.base import files
from gilcmp.cli import main as cli
from gilcmp.judge.verdict import MIN_ROUNDS

QUICK = ["--size", "small", "--workers", "1,2", "--budget", "300ms"]


def call(capsys, *arguments):
    """Run a command in this process; return its exit code, output and errors."""
    with pytest.raises(SystemExit) as stop:
        cli.main(list(arguments))
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def process(*arguments, env=None, **options):
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(__file__), **(env or {})}  # noqa: PTH120
    return subprocess.run(
        [sys.executable, "-m", "gilcmp", *arguments],
        capture_output=True, text=True, timeout=100, check=False, env=environment, **options,
    )  # fmt: skip


def test_compare_shows_a_table_and_saves(capsys, tmp_path):
    path = tmp_path / "run.json"
    code, out, err = call(capsys, "compare", "count", "pi", *QUICK, "--details", "-o", str(path))
    assert code in (0, 3)
    assert err == ""
    assert "count, size 10,000" in out
    assert "cython_nogil" in out
    assert max(len(line.rstrip()) for line in out.splitlines()) <= 80
    assert "\x1b" not in out
    loaded = gilcmp.load(path)
    assert {cell.kernel for cell in loaded} == {"count", "pi"}
    assert loaded.complete


def test_options_choose_the_cells(capsys):
    code, out, _ = call(
        capsys, "compare", "count", "--impl", "python,cython_gil", "--strategy", "threads", "--workers", "3",
        "--budget", "0.2", "--seed", "4", "--tasks", "8", "-o", "-",
    )  # fmt: skip
    run = json.loads(out)
    keys = {(cell["implementation"], cell["strategy"], cell["workers"]) for cell in run["cells"]}
    assert keys == {(name, *key) for name in ("python", "cython_gil") for key in (("serial", 1), ("threads", 3))}
    assert run["settings"]["seed"] == 4
    assert {cell["tasks"] for cell in run["cells"]} == {8}
    assert code in (0, 3)


def test_a_function_by_name():
    done = process("compare", "tasks:bare", "--workers", "2", "--budget", "500ms", "--tasks", "4", "-o", "-")
    assert done.returncode in (0, 3), done.stderr
    cells = json.loads(done.stdout)["cells"]
    assert {cell["kernel"] for cell in cells} == {"bare"}
    assert {cell["error"] for cell in cells} == {None}


def test_what_measured_code_prints_stays_out_of_the_results():
    done = process("compare", "tasks:prints", "--tasks", "2", "--workers", "2", "--budget", "500ms", "-o", "-")
    assert {cell["strategy"] for cell in json.loads(done.stdout)["cells"]} == {
        "serial",
        "threads",
        "processes",
    }
    assert "printed" in done.stderr
    assert "written" in done.stderr
    done = process("probe", "tasks.prints()", "-s", "import tasks; print('set up')", "--budget", "20ms", "--json", "-")
    assert json.loads(done.stdout)[0]["calls"] > 0
    assert "set up" in done.stderr
    done = process("probe", "tasks.prints()", "-s", "import tasks", "--budget", "20ms")
    assert "printed" in done.stdout


def test_a_function_that_raises_is_told_in_one_last_line():
    done = process("compare", "tasks:double", "--budget", "500ms")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("gilcmp: TypeError: double() missing 1 required")


def test_what_is_compared_can_be_a_statement_or_in_a_script(tmp_path):
    script = tmp_path / "some_script.py"
    script.write_text("def main():\n    return 1\n\ndef other():\n    return 2\n")
    for work, name in (
        (["sum(data)", "-s", "data = [1, 2]"], "sum(data)"),
        ([f"{script}:other"], "other"),
        ([str(script)], str(script)),
    ):
        done = process("compare", *work, "--strategy", "threads,processes", "--workers", "1", "--tasks", "4",
                       "--budget", "300ms", "-o", "-")  # fmt: skip
        assert done.returncode in (0, 3), done.stderr
        cells = json.loads(done.stdout)["cells"]
        assert {cell["implementation"] for cell in cells} == {name}
        assert [cell["error"] for cell in cells] == [None] * 3


def test_the_current_folder_is_on_the_path_for_statements_as_for_timeit(tmp_path):
    (tmp_path / "here_alone.py").write_text("def f():\n    pass\n")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "gilcmp", "probe", "f()", "-s", "from here_alone import f", "--budget", "20ms"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode in (0, 3), done.stderr) == (True, "")


def test_a_name_that_is_missing_is_told_with_the_option_that_makes_it(capsys):
    code, _, err = call(capsys, "probe", "missing(1)", "--budget", "20ms")
    assert (code, err) == (
        2,
        "gilcmp: missing(1): NameError: name 'missing' is not defined "
        "(-s makes names: -s 'from module import missing')\n",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["frob"], "No such command 'frob'"),
        (["compare", "nope"], "kernel must be one of count"),
        (["compare", "mandelbro"], "did you mean 'mandelbrot'?"),
        (["compare", "pi", "pi"], "kernels must not repeat"),
        (["compare", "--impl", "rust"], "implementation must be one of python"),
        (["compare", "--strategy", "magic"], "strategy must be one of serial"),
        (["compare", "--workers", "0"], "must be numbers from 1 such as 1,2,4, got '0'"),
        (["compare", "--workers", "1,,2"], "got '1,,2'"),
        (["compare", "--workers", "99999"], "got '99999'"),
        (["compare", "--workers", "٣"], "must be numbers"),
        (["compare", "--size", "huge"], "size must be small, medium, large or a number, got 'huge'"),
        (["compare", "--size", "-4"], "size must be"),
        (["compare", "--size", "0"], "size must be from 1"),
        (["compare", "--budget", "soon"], "must be a time such as 20s, 500ms or 2m, got 'soon'"),
        (["compare", "--budget", "-1"], "must be a time"),
        (["compare", "--budget", "1e999"], "must be a time"),
        (["compare", "--tasks", "0"], "tasks"),
        (["compare", "--seed", "x"], "seed"),
        (["compare", "json:nothing"], "json:nothing: AttributeError"),
        (["compare", "no_such_module:f"], "ModuleNotFoundError"),
        (["compare", ":f"], "SyntaxError"),
        (["compare", "json:dumps", "pi"], "kernels are compared by themselves, got 'pi' with functions"),
        (["compare", "f(1)", "--python", sys.executable], "no statements"),
        (["compare", "x = 1", "-s", "1 / 0"], "'x = 1': ZeroDivisionError: division by zero"),
        (["compare", "no/such/file.py"], "'no/such/file.py' is no file"),
        (["compare", "no-module.py:f"], "is no file"),
        (["threshold", "x ="], "'x =': SyntaxError"),
        (["compare", "sys:path"], "sys:path must be callable, got list"),
        (["compare", "-o", "/no/such/folder/run.json"], "cannot be written"),
        (["compare", "-o", "."], "cannot be written: . is a directory"),
        (["env", "--json", "/no/such/folder/env.json"], "cannot be written"),
        (["list", "extra"], "unexpected extra argument"),
        (["--frob"], "No such option"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(capsys, arguments, message):
    code, out, err = call(capsys, *arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("gilcmp: ")
    assert err.count("\n") == 1
    assert message in err


odd_words = st.sampled_from(
    ["compare", "list", "env", "--json", "-o", "-", "--workers", "--budget", "--size", "--impl", "--strategy",
     "--tasks", "--seed", "--", "", " ", "1e9", "-1", "nan", "a:b", "json:", "pi,pi", "..", "/", "\0", "%s", "é"]
) | st.text(max_size=12)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(odd_words, max_size=5))
def test_fuzzed_arguments(capsys, monkeypatch, tmp_path, words):
    """Whatever is typed: a clear line and code 2, or something that works; nothing is measured here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gilcmp.cli.compare._measure", lambda session: session.comparison())
    code, _, err = call(capsys, *words)
    assert code in (0, 2, 3)
    assert "Traceback" not in err
    assert (code == 2) == err.startswith("gilcmp: "), err
    assert err.count("\n") <= 1 or not words, err


def test_version_and_help(capsys):
    assert call(capsys, "--version") == (0, f"gilcmp {gilcmp.__version__}\n", "")
    for arguments in (["--help"], ["compare", "-h"], ["list", "-h"], ["env", "-h"]):
        code, out, _ = call(capsys, *arguments)
        assert code == 0
        assert "Usage: gilcmp" in out


def test_no_command_shows_what_to_do_first(capsys):
    code, out, err = call(capsys)
    assert (code, err) == (0, "")
    assert "Start here:\n  gilcmp compare" in out
    assert max(map(len, out.splitlines())) <= 60
    for command in re.findall(r"^  gilcmp (\w+)", out, re.MULTILINE):
        assert command in cli.cli.commands


@pytest.mark.parametrize("command", sorted(cli.cli.commands))
def test_help_has_an_example_and_breaks_no_word_at_60_columns(capsys, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "60")
    narrow = call(capsys, command, "--help")[1]
    monkeypatch.setenv("COLUMNS", "140")
    wide = call(capsys, command, "--help")[1]
    assert narrow.split("Options:")[1].split() == wide.split("Options:")[1].split()
    assert f"Example:\n    gilcmp {command}" in wide


def test_the_shell_completes_commands():
    done = process(env={"_GILCMP_COMPLETE": "bash_complete", "COMP_WORDS": "gilcmp th", "COMP_CWORD": "1"})
    assert done.stdout == "plain,threshold\n"


def test_compare_fits_on_a_screen(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = call(capsys, "compare", "count", "pi", *QUICK)
    assert (code in (0, 3), err) == (True, "")
    assert len(out.splitlines()) < 24
    assert "--details" in out


def test_list(capsys):
    code, out, _ = call(capsys, "list")
    assert code == 0
    for name in [*gilcmp.kernels, *gilcmp.strategies, "cython_nogil"]:
        assert name in out
    data = json.loads(call(capsys, "list", "--json", "-")[1])
    assert set(data["kernels"]) == set(gilcmp.kernels)
    assert data["implementations"]["numpy"] == {"unavailable": None}


def test_list_says_why_something_is_not_available(capsys, monkeypatch):
    monkeypatch.setattr("gilcmp.compute.kernel.unavailable", lambda name: "no NumPy here" if name == "numpy" else None)
    assert "not available: no NumPy here" in call(capsys, "list")[1]


def test_env(capsys, tmp_path):
    code, out, _ = call(capsys, "env")
    assert code == 0
    for word in ("GIL now", "switch interval", "CPUs allowed", "kernels built by"):
        assert word in out
    path = tmp_path / "env.json"
    assert call(capsys, "env", "--json", str(path))[0] == 0
    assert json.loads(path.read_text())["gil_enabled"] in (True, False)


def test_a_full_disk_at_the_end_keeps_the_run_elsewhere(capsys, tmp_path, monkeypatch):
    target, spare = tmp_path / "run.json", tmp_path / "spare"
    spare.mkdir()
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(spare))
    save = gilcmp.Comparison.save

    def full(self, path):
        if str(path) == str(target):
            raise OSError(28, "No space left on device")
        save(self, path)

    monkeypatch.setattr(gilcmp.Comparison, "save", full)
    code, out, err = call(capsys, "compare", "count", "--strategy", "threads", *QUICK, "-o", str(target))
    assert code == 2
    assert "--details" in out, "the result is shown all the same"
    assert "No space left" in err
    (kept,) = spare.iterdir()
    assert str(kept) in err
    assert gilcmp.load(kept).cells


def test_a_full_disk_at_the_end_keeps_probes_elsewhere(capsys, tmp_path, monkeypatch):
    target, spare = tmp_path / "probe.json", tmp_path / "spare"
    spare.mkdir()
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(spare))
    replace_file = files.replace_file

    def full(path, text):
        if str(path) == str(target):
            raise OSError(28, "No space left on device")
        replace_file(path, text)

    monkeypatch.setattr(files, "replace_file", full)
    code, _, err = call(capsys, "probe", "pass", "--budget", "20ms", "--json", str(target))
    assert code == 2
    assert "No space left" in err
    (kept,) = spare.iterdir()
    assert json.loads(kept.read_text())[0]["name"] == "pass"


@pytest.mark.skipif(os.name != "posix", reason="signals to another process are POSIX's")
@pytest.mark.parametrize("who", ["process", "group"])
def test_ctrl_c_saves_what_is_finished_and_leaves_no_process(tmp_path, who):
    import psutil

    path = tmp_path / "run.json"
    child = subprocess.Popen(
        [sys.executable, "-m", "gilcmp", "compare", "count", "--size", "small", "--workers", "2", "--budget", "2m",
         "-o", str(path)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        # a script's background job has SIGINT ignored, and so have its children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  # no threads here
    )  # fmt: skip
    workers = []
    deadline = time.monotonic() + 60
    while not (len(workers) >= 2 and psutil.Process(child.pid).cpu_times().user > 2.0):  # rounds are running
        assert time.monotonic() < deadline, "it never got to measuring"
        workers = psutil.Process(child.pid).children(recursive=True)
    (os.killpg if who == "group" else os.kill)(child.pid, signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert err == "gilcmp: interrupted\n"
    assert "Incomplete" in out
    loaded = gilcmp.load(path)
    assert not loaded.complete
    # no cell sits a round out before it has six
    (began,) = {tuple(seen.round for seen in cell.rounds)[:MIN_ROUNDS] for cell in loaded}
    assert began
    assert psutil.wait_procs(workers, timeout=20)[1] == []


@pytest.mark.skipif(os.name != "posix", reason="needs a shell's pipe")
def test_a_pipe_that_nobody_reads_is_no_error():
    command = f"'{sys.executable}' -m gilcmp list | head -c 10"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_a_terminal_gets_a_progress_bar_and_quiet_does_not():
    import pty

    for quiet in (False, True):
        main, terminal = pty.openpty()
        command = [sys.executable, "-m", "gilcmp", "compare", "count", *QUICK, *(["-q"] if quiet else [])]
        child = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal)
        os.close(terminal)
        shown = b""
        while True:
            try:
                some = os.read(main, 4096)
            except OSError:  # the other end is closed
                break
            if not some:
                break
            shown += some
        os.close(main)
        assert child.wait(timeout=60) in (0, 3)
        assert (b"s left" in shown) is not quiet
        assert b"--details" in shown


def test_what_is_kept_elsewhere_follows_no_link_and_has_no_name_that_can_be_guessed(tmp_path, monkeypatch, capsys):
    from pathlib import Path

    from gilcmp.cli.output import save

    target, elsewhere = tmp_path / "precious", tmp_path / "tmp"
    target.write_text("precious")
    elsewhere.mkdir()
    for ending in ("", ".json"):
        (elsewhere / f"gilcmp-{os.getpid()}{ending}").symlink_to(target)
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))

    def write(path):
        if "nowhere" in str(path):
            raise OSError(28, "No space left on device")
        Path(path).write_text("measured")

    assert save(write, "nowhere.json") == 2
    kept = capsys.readouterr().err.rpartition("it is kept in ")[2].strip().strip("'")
    assert Path(kept).read_text() == "measured"
    assert target.read_text() == "precious"

    def never(path):
        raise OSError(28, "No space left on device")

    before = sorted(elsewhere.iterdir())
    assert save(never, "nowhere.json") == 2
    assert "nor to" in capsys.readouterr().err
    assert sorted(elsewhere.iterdir()) == before
