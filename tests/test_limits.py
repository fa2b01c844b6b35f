"""Files that are none, systems that tell little, names that are meant badly, and interrupts at bad moments."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import threading
from importlib import import_module
from io import StringIO
from types import SimpleNamespace

import pytest
from attrs import evolve

import gilcmp
from conftest import made_up_run, observation, record
from gilcmp import threshold
from gilcmp.judge.comparison import Comparison
from gilcmp.judge.estimate import median
from gilcmp.saved import reading
from gilcmp.saved.reading import ResultError, read_text
from gilcmp.saved.run import from_json, to_json
from gilcmp.surveying.atlas import Atlas, Entry
from gilcmp.watch.thread_names import ThreadNames

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")


# ---- large files, and what is no file ----


def test_a_run_of_many_cells_and_one_of_many_rounds_are_read_in_no_time():
    """In quadratic time the first would take minutes, and in cubic time the second hours."""
    cells = []
    for number in range(10_000):
        cells += [record(f"f{number}", "serial", 1), record(f"f{number}", "threads", 2)]
    read = Comparison(from_json(to_json(made_up_run(cells)), "made up"))
    assert len(read) == 20_000
    rounds = [observation(number) for number in range(1, 5001)]
    run = made_up_run([record("f", "serial", 1, rounds), record("f", "threads", 2, rounds)])
    assert Comparison(from_json(to_json(run), "made up"))["threads", 2].speedup.n == 5000
    assert median([1.0] * 10**6).n == 10**6


@posix
def test_what_never_ends_is_refused(monkeypatch):
    monkeypatch.setattr(reading, "LARGEST_FILE", 10**6)
    with pytest.raises(ResultError, match="/dev/zero: over 1 MB"):
        read_text("/dev/zero")


@posix
def test_a_pipe_is_read_and_not_waited_for_without_end(tmp_path, monkeypatch, run):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    monkeypatch.setattr(reading, "PIPE_PATIENCE", 0.05)
    with pytest.raises(ResultError):  # nobody writes into it
        gilcmp.load(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(pipe, os.O_WRONLY)
    with pytest.raises(ResultError, match="nothing came out of this pipe"):  # somebody could, and does not
        gilcmp.load(pipe)
    monkeypatch.setattr(reading, "PIPE_PATIENCE", 60.0)

    def write():
        with os.fdopen(writer, "wb") as file:
            file.write(to_json(run).encode())

    thread = threading.Thread(target=write)
    thread.start()
    assert gilcmp.load(pipe).run == run
    thread.join()
    with pipe.open("r+b", buffering=0) as file:  # written, and its writer gone, before it is read
        file.write(b"{}")
        monkeypatch.setattr(reading, "PIPE_PATIENCE", 0.05)
        with pytest.raises(ResultError, match="nothing came out of this pipe"):  # "file" could still write
            read_text(pipe)
    os.close(reader)


def test_a_folder_and_a_file_that_is_not_there_are_told_by_the_system(tmp_path):
    for path in (tmp_path, tmp_path / "nope"):
        with pytest.raises(OSError, match=r"directory|denied"):
            read_text(path)


# ---- names from files ----

BAD = "=cmd|' /C calc'!A1 \x1b[31mred\x07 *bold* <b> `code`\nsecond line"


def test_names_do_nothing_in_csv_and_markdown():
    def run(wall):
        rounds = [observation(number, wall=wall) for number in range(1, 13)]
        return Comparison(made_up_run([record(BAD, "serial", 1, rounds, kernel=BAD)]))

    found = gilcmp.diff(run(0.1), run(0.2))
    rows = list(csv.reader(StringIO(found.to_csv())))
    assert rows[1][1].startswith("'=cmd")
    assert not any(cell.startswith(("=", "@")) for row in rows for cell in row)
    atlas = Atlas(BAD, gilcmp.environment(), (Entry(BAD, BAD, None, BAD),))
    for text in (found.to_csv(), found.to_markdown(), atlas.to_markdown()):
        assert not any(ord(c) < 32 and c != "\n" for c in text)
    for text in (found.to_markdown(), atlas.to_markdown()):
        assert "\nsecond line" not in text
    assert "<b>" not in found.to_markdown()
    assert "*bold" not in found.to_markdown().replace("\\*bold", "")


def test_a_negative_number_is_no_formula():
    from gilcmp.saved.kept import csv_cell

    assert [csv_cell(value) for value in ("-1.5", -2, "-x", "+1", "@a", "a=b", "")] == [
        "-1.5", "-2", "'-x", "+1", "'@a", "a=b", "",
    ]  # fmt: skip


# ---- systems that tell little ----


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.geteuid() != 0,
    reason="needs Linux, and root for a mount of its own",
)
@pytest.mark.parametrize(
    "arguments",
    [
        ["env"],
        [
            "compare",
            "count",
            "--impl",
            "cython_nogil",
            "--strategy",
            "threads",
            "--workers",
            "2",
            "--budget",
            "1s",
            "-q",
        ],
        ["probe", "len([])", "--budget", "50ms"],
        ["timeline", "-m", "this"],
    ],
)
def test_without_proc(arguments):
    done = subprocess.run(
        [
            "unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc || exit 77; exec "$@"', "sh",
            sys.executable, "-m", "gilcmp", *arguments,
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if done.returncode == 77 or done.stderr.startswith("unshare"):
        pytest.skip("no mounts of one's own here")
    assert done.returncode in (0, 3), done.stderr
    assert "Traceback" not in done.stderr
    if arguments == ["env"]:
        assert "not told by this system" in done.stdout
    if arguments[0] == "timeline":
        assert "does not tell what a thread does" in done.stderr


def test_load_and_memory_may_be_unknown(run):
    unknown = evolve(run, environment=evolve(run.environment, load=None, memory=None))
    read = from_json(to_json(unknown), "made up")
    assert read == unknown
    assert "load" not in [one.name for one in gilcmp.diff(Comparison(run), Comparison(read)).environment]


def test_threads_without_a_native_number_have_no_name_to_be_found_by():
    names = ThreadNames()
    names.note(SimpleNamespace(name="green"))  # as eventlet's
    assert names.of({"id": 1, "native_id": 5, "ident": 5, "began": 0}) == "thread 5"


# ---- interrupts ----


def test_a_threshold_that_is_interrupted_at_once_is_kept_as_well(monkeypatch, tmp_path, capsys):
    module = import_module("gilcmp.probing.threshold")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_sizes", interrupt)
    with pytest.raises(KeyboardInterrupt) as stopped:
        threshold("dot", budget=1.0)
    kept = stopped.value.threshold
    assert kept.points == ()
    assert kept.reason == "interrupted before the first size was done"
    assert "interrupted" in str(kept)
    from gilcmp.cli import main as cli

    # left behind by another test, a thread that would keep the interpreter makes it exit at once
    monkeypatch.setattr(os, "_exit", sys.exit)
    with pytest.raises(SystemExit) as stop:
        cli.main(["threshold", "dot", "--json", str(tmp_path / "t.json")])
    assert stop.value.code == 130
    assert json.loads((tmp_path / "t.json").read_text())["reason"].startswith("interrupted")


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_ctrl_c_while_a_timeline_is_saved_loses_nothing(tmp_path):
    """Ctrl-C in the program's last exit handler, that is, just before it is saved, and while it is."""
    script = tmp_path / "script.py"
    script.write_text(
        "import json, os, signal\n"
        "dump = json.dumps\n"
        "def slow(*args, **settings):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    return dump(*args, **settings)\n"
        "json.dumps = slow\n"
        "json.JSONEncoder.iterencode = (lambda original: lambda *a, **k: (os.kill(os.getpid(), signal.SIGINT),"
        " original(*a, **k))[1])(json.JSONEncoder.iterencode)\n"
    )
    path = tmp_path / "trace.json"
    done = subprocess.run(
        [sys.executable, "-m", "gilcmp", "timeline", "-q", "-o", path, script],
        capture_output=True, text=True, timeout=60, check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert done.stderr == ""
    assert json.loads(path.read_text())["traceEvents"]
