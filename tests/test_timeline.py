import gc
import gzip
import json
import math
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import weakref
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import gilcmp
from gilcmp.cli import main as cli
from gilcmp.measure.machine import gil_enabled
from gilcmp.probing import trace
from gilcmp.watch import _gil

CLI = [sys.executable, "-m", "gilcmp", "timeline"]
needs_gil = pytest.mark.skipif(not gil_enabled(), reason="without a GIL nothing is handed over")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def seen(work, wanted, **settings):
    """Record work() until the recording shows what is wanted: on a busy machine the recorder may get no core."""
    deadline = _gil.now() + 60 * 10**9
    while True:
        with gilcmp.timeline(**settings) as recording:
            work()
        if wanted(recording):
            return recording
        assert _gil.now() < deadline, f"never seen:\n{recording}"


def thread(recording, name):
    return next(one for one in recording.threads if one.name == name)


def in_thread(function, *args, name):
    started = threading.Thread(target=function, args=args, name=name)
    started.start()
    started.join()


def test_threads_with_their_names_times_and_holds():
    def work():
        in_thread(_gil.hold_gil, 0.1, name="holds")
        in_thread(_gil.release_gil, 0.1, name="runs")

    found = seen(
        work, lambda t: {"holds", "runs"} <= {one.name for one in t.threads} and thread(t, "holds").held > 0.05
    )
    holds, runs = thread(found, "holds"), thread(found, "runs")
    assert 0 < holds.longest_hold <= holds.held
    assert runs.held < 0.05
    assert 0 < holds.began < runs.began < found.seconds
    for one in found.threads:
        assert one.held + one.waited + one.ran + one.blocked + one.away <= found.seconds * 1.001
    main = thread(found, threading.current_thread().name)
    assert main.began is None
    assert main.ended is None
    assert main.native_id == threading.get_native_id()
    assert found.longest_hold[1] in {one.name for one in found.threads}


def holding():
    _gil.hold_gil(0.1)


def test_at_which_line_each_thread_held():
    found = seen(
        lambda: (in_thread(holding, name="holds"), _gil.hold_gil(0.1)),
        lambda t: {"holds", threading.current_thread().name} <= {line.thread for line in t.lines if line.held > 0.05},
    )
    lines = {line.thread: line for line in found.lines if line.held > 0.05}
    assert lines["holds"].line.function == "holding"
    assert lines["holds"].line.source == "_gil.hold_gil(0.1)"
    assert lines["holds"].line.file == __file__
    for name, line in lines.items():
        assert line.held <= thread(found, name).held + 0.1
    assert "test_timeline.py" in str(found)
    spans = found.spans[
        (found.spans["doing"] == 0) & (found.spans["thread"] == found.threads.index(thread(found, "holds")))
    ]
    assert any("test_timeline.py" in found.places[line] for line in spans["line"].tolist() if line >= 0)


def test_a_summary_of_few_looks_says_so():
    with gilcmp.timeline(pace=1.0) as found:
        pass
    assert found.looks < 100
    assert f"Looked only {found.looks} times" in str(found)
    found = seen(lambda: _gil.release_gil(0.1), lambda t: t.looks >= 100, pace=1e-4)
    assert "Looked only" not in str(found)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
def test_linux_tells_who_runs_who_waits_and_their_clocks():
    found = seen(
        lambda: in_thread(_gil.release_gil, 0.2, name="runs"),
        lambda t: any(one.name == "runs" and one.ran > 0.1 for one in t.threads),
    )
    assert found.tells_states
    runs, main = thread(found, "runs"), found.threads[0]
    assert main.blocked > main.ran
    assert runs.cpu + runs.run_delay > 0.1
    assert set(found.clocks["thread"]) <= set(range(len(found.threads)))
    assert np.all(np.diff(found.clocks["cpu"][found.clocks["thread"] == 0]) >= 0)


@pytest.mark.skipif(gil_enabled(), reason="needs an interpreter without a GIL")
def test_sleep_for_a_lock_is_told_from_other_waiting():
    shared = [2, 1]

    def work():
        held = threading.Event()

        def key(item):  # a list is locked while it is sorted
            held.set()
            _gil.hold_gil(0.1)
            return item

        def wants():
            held.wait()
            shared.append(3)

        other = threading.Thread(target=wants, name="wants")
        other.start()
        shared.sort(key=key)
        other.join()

    def shows(t):  # of a thread that an earlier test has left, and that ends meanwhile, nobody knows what it waits for
        most = max(t.threads, key=lambda one: one.asleep)
        return most.name == "wants" and most.asleep > 0.01

    # its stack lies above that of the one that sleeps, and 3.13 tells of no stack where it ends
    end, other_end = os.pipe()
    above = threading.Thread(target=os.read, args=(end, 1), name="above")
    above.start()
    found = seen(work, shows)
    os.close(other_end)
    above.join()
    os.close(end)
    assert thread(found, "above").asleep == 0
    assert " lock " in str(found)  # a column of its own
    assert "wants slept for locks" in str(found)


@pytest.mark.skipif(gil_enabled(), reason="needs an interpreter without a GIL")
def test_a_thread_that_waits_to_be_told_something_sleeps_for_no_lock():
    """From 3.14 on the lock inside a condition is one of the interpreter's."""
    told = queue.Queue()
    idle = threading.Thread(target=told.get, name="idle")
    idle.start()
    found = seen(lambda: _gil.hold_gil(0.2), lambda t: t.looks > 10)
    told.put(None)
    idle.join()
    assert thread(found, "idle").asleep < 0.1 * found.watched  # it may have been on its way to sleep


@needs_gil
def test_who_waits_for_the_gil_is_seen_to_wait():
    def work():
        started = threading.Thread(target=_gil.hold_gil, args=(0.2,), name="holds")
        started.start()  # returns when it has run: then this thread asks for the lock
        started.join()

    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux tells")
    found = seen(work, lambda t: any(one.waited > 0.02 for one in t.threads))
    assert thread(found, "holds").waited < found.seconds / 2


@needs_gil
def test_hand_overs_are_counted_by_the_interpreter_however_quick():
    ping, pong = threading.Semaphore(0), threading.Semaphore(0)

    def answer():
        for _ in range(200):
            ping.acquire()
            pong.release()

    with gilcmp.timeline() as found:
        other = threading.Thread(target=answer)
        other.start()
        for _ in range(200):
            ping.release()
            pong.acquire()
        other.join()
    assert found.hand_overs >= 390
    assert found.hand_overs_seen <= found.hand_overs + 2
    assert "hand-overs from thread to thread" in str(found)


def test_without_a_gil_nothing_is_handed_over():
    with gilcmp.timeline() as found:
        pass
    assert (found.hand_overs is None) == (not found.gil)


def test_the_newest_spans_are_kept_and_the_rest_is_told():
    found = seen(lambda: _gil.alternate(2e-3, 2e-3, 0.3), lambda t: t.dropped > 5, keep=10, pace=2e-4)
    assert len(found.spans) == 10
    assert found.spans["end"].max() >= found.seconds * 1e9 * 0.5
    assert f"{found.dropped} oldest spans were dropped" in str(found)
    assert sum(one.held for one in found.threads) > 0.05


def test_spans_of_a_thread_follow_each_other_and_add_up_to_its_sums():
    found = seen(lambda: _gil.alternate(2e-3, 2e-3, 0.2), lambda t: len(t.spans) > 10, pace=2e-4)
    spans = found.spans
    assert np.all(spans["end"] > spans["start"])
    for index, one in enumerate(found.threads):
        own = spans[spans["thread"] == index]
        assert np.all(own["start"][1:] >= own["end"][:-1])
        sums = [np.sum((own["end"] - own["start"])[own["doing"] == n]) / 1e9 for n in range(5)]
        assert sums == pytest.approx([one.held, one.waited, one.ran, one.blocked, one.away], abs=1e-6)


def test_names_that_are_given_later_and_threads_of_subclasses():
    class Named(threading.Thread):
        def run(self):
            self.name = "given later"
            _gil.release_gil(0.1)

    def work():
        works.append(Named())
        works[-1].start()
        works[-1].join()

    works = []
    original = threading.Thread.start
    found = seen(work, lambda t: len(t.threads) > 1)
    assert "given later" in [one.name for one in found.threads]
    assert threading.Thread.start is original


def test_two_recordings_at_once():
    original = threading.Thread.start
    with gilcmp.timeline() as outer:
        with gilcmp.timeline() as inner:
            in_thread(_gil.release_gil, 0.01, name="short")
        in_thread(_gil.release_gil, 0.05, name="later")
    assert inner.seconds < outer.seconds
    assert threading.Thread.start is original


def test_the_figures_are_there_when_it_is_over_and_it_records_once():
    found = gilcmp.timeline()
    with pytest.raises(RuntimeError, match="when its with block is over"):
        _ = found.seconds
    with found:
        with pytest.raises(RuntimeError, match="when its with block is over"):
            _ = found.threads
        with pytest.raises(RuntimeError, match="records once"), found:
            pass
    assert found.seconds >= 0
    with pytest.raises(RuntimeError, match="records once"), found:
        pass


def test_an_exception_passes_and_what_was_seen_is_kept():
    found = gilcmp.timeline()
    with pytest.raises(ZeroDivisionError), found:
        _ = 1 / 0
    assert found.threads


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pace": 0}, "pace must be from"),
        ({"pace": math.nan}, "pace must be from"),
        ({"pace": "1ms"}, "pace must be seconds"),
        ({"keep": 0}, "keep must be from"),
        ({"keep": 1.5}, "keep must be an integer"),
    ],
)
def test_wrong_arguments(settings, message):
    with pytest.raises((TypeError, ValueError), match=message):
        gilcmp.timeline(**settings)


def test_wrong_endings_are_told_before_anything_is_written(tmp_path):
    with gilcmp.timeline() as found:
        pass
    with pytest.raises(ValueError, match=r"must end with one of .json, .json.gz"):
        found.save(tmp_path / "trace.txt")
    assert not list(tmp_path.iterdir())


FORKS = """
import os
import gilcmp
from gilcmp.watch import _gil

with gilcmp.timeline() as found:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            found.__exit__()
            try:
                found.seconds
            except RuntimeError as error:
                code = 0 if "parent" in str(error) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    _gil.release_gil(0.02)
assert found.threads
"""


@needs_fork
def test_a_fork_is_not_seen_and_the_child_has_no_recording():
    # in a process of its own, as pytest has threads, and turns Python's warning of those that fork into an error
    done = run(sys.executable, "-W", "error", "-c", FORKS)
    assert (done.returncode, done.stderr) == (0, "")


# ---- the trace ----


def check_trace(text):
    """Check a trace against the rules of the Trace Event Format (JSON object format), strictly."""

    def reject(word):
        raise AssertionError(f"{word} is not JSON")

    body = json.loads(text, parse_constant=reject)
    assert set(body) <= {"traceEvents", "displayTimeUnit", "otherData", "stackFrames", "samples", "metadata"}
    assert body["displayTimeUnit"] in ("ms", "ns")
    ends, named, counters = {}, set(), {}
    for event in body["traceEvents"]:
        assert isinstance(event["name"], str)
        assert type(event["pid"]) is type(event["tid"]) is int
        assert 0 <= event["tid"] < 2**31
        track = event["pid"], event["tid"]
        if event["ph"] == "X":
            assert set(event) - {"args"} == {"ph", "name", "cat", "pid", "tid", "ts", "dur", "cname"}
            if "args" in event:
                assert isinstance(event["args"]["line"], str)
            assert isinstance(event["cat"], str)
            assert event["ts"] >= 0
            assert event["dur"] >= 0
            # complete events of a track must nest: these follow each other
            assert event["ts"] >= ends.get(track, 0) - 1e-6
            ends[track] = event["ts"] + event["dur"]
        elif event["ph"] == "M":
            kind, value = {
                "process_name": ("name", str),
                "thread_name": ("name", str),
                "thread_sort_index": ("sort_index", int),
            }[event["name"]]
            assert set(event["args"]) == {kind}
            assert isinstance(event["args"][kind], value)
            if event["name"] == "thread_name":
                assert track not in named, "two names for a track"
                named.add(track)
        else:
            assert event["ph"] == "C"
            assert event["args"]
            assert all(isinstance(value, int | float) for value in event["args"].values())
            assert event["ts"] >= counters.get(event["name"], 0), "counters go back in time"
            counters[event["name"]] = event["ts"]
    assert set(ends) <= named
    return body["traceEvents"]


@pytest.mark.parametrize("ending", [".json", ".json.gz"])
def test_a_trace_follows_the_rules_and_says_what_was_recorded(tmp_path, ending):
    found = seen(
        lambda: in_thread(_gil.alternate, 2e-3, 2e-3, 0.2, name='<b>"name"\n\ud800</b>'),
        lambda t: len(t.spans) > 20,
    )
    path = tmp_path / f"trace{ending}"
    found.save(path)
    data = path.read_bytes()
    events = check_trace(gzip.decompress(data) if ending == ".json.gz" else data)
    names = {e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert {one.name for one in found.threads} <= names
    word = "holds the GIL" if found.gil else "attached"
    held = sum(e["dur"] for e in events if e["name"] == word) / 1e6
    assert held == pytest.approx(sum(one.held for one in found.threads), abs=1e-5)
    states = [e["args"] for e in events if e["name"] == "GIL"]
    assert all(state["held"] in (0, 1) for state in states)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_tracks_differ_even_where_the_system_gives_a_number_again():
    class Recorded:
        threads = tuple(
            gilcmp.Timeline and _thread(name, number) for name, number in (("a", 7), ("b", 7), ("c", 0), ("d", 2**40))
        )

    numbers = trace._numbers(Recorded())
    assert len(set(numbers)) == 4
    assert trace.RECORDER not in numbers


def _thread(name, number):
    from gilcmp.probing.recording import Thread

    return Thread(name, number, None, None, 0, 0, 0, 0, 0, None, None, 0, 0)


# ---- gilcmp timeline ----


def run(*command, cwd=None, **settings):
    return subprocess.run(
        [*map(str, command)], capture_output=True, text=True, timeout=120, cwd=cwd, check=False, **settings
    )


def run_both(*commands, **settings):
    with ThreadPoolExecutor(len(commands)) as threads:
        return threads.map(lambda command: run(*command, **settings), commands)


PROGRAMS = {
    "plain": (
        "import sys; print(sys.argv, __name__, __file__, __spec__, __package__, sys.path[0])\n"
        "print('x', file=sys.stderr)"
    ),
    "exit code": "import sys; sys.exit(7)",
    "exit message": "raise SystemExit('so long')",
    "exit none": "raise SystemExit",
    "exception": "def f():\n    raise ValueError('wrong')\nf()",
    "chained": "try:\n    1/0\nexcept ZeroDivisionError as e:\n    raise KeyError(3) from e",
    "syntax error": "x = (",
    "hook": "import sys\nsys.excepthook = lambda *a: print('hook', a[0].__name__, a[2].tb_frame.f_code.co_name)\n1/0",
    "atexit": "import atexit; atexit.register(print, 'first'); atexit.register(print, 'last')",
    "atexit error": "import atexit; atexit.register(lambda: 1/0)",
    "thread outlives": (
        "import threading, time\ndef f():\n    threading.main_thread().join(); print('after', flush=True)\n"
        "threading.Thread(target=f).start(); print('main')"
    ),
    "thread error": "import threading; t = threading.Thread(target=lambda: 1/0); t.start(); t.join()",
    "main module": "import __main__, sys; x = 5; print(__main__.x, sys.modules['__main__'] is __main__)",
    "pickle": "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))).__module__)",
    "input": "print(input())",
    "interrupt": "raise KeyboardInterrupt",
    "stdout closed": "import sys; sys.stdout.close()",
    "future": "from __future__ import annotations\nx: nope = 1; print(__annotations__)",
    "builtins": "print(type(__builtins__).__name__, sorted(n for n in globals() if n != '__annotations__'))",
    "warning": "import warnings; warnings.warn('careful')",
    "flush": "import os, sys; sys.stdout.write('no newline')",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_does_what_it_does_without_it(name, tmp_path):
    script = tmp_path / "program.py"
    script.write_text(PROGRAMS[name])
    arguments = (script, "-q", "--pace", "a b")
    expected, found = run_both([sys.executable, *arguments], [*CLI, "-q", *arguments], input="line\n")
    assert found.stdout == expected.stdout
    assert found.returncode == expected.returncode
    assert re.sub("0x[0-9a-f]+", "0x", found.stderr) == re.sub("0x[0-9a-f]+", "0x", expected.stderr)


@pytest.mark.parametrize("what", ["module", "package", "folder", "archive", "compiled"])
def test_modules_folders_archives_and_compiled_files(what, tmp_path):
    code = "import sys; print(sys.argv, __name__, __package__, __spec__ and __spec__.name, sys.path[0])"
    (tmp_path / "single.py").write_text(code)
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__main__.py").write_text(code)
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("__main__.py", code)
    if what == "compiled":
        import py_compile

        py_compile.compile(str(tmp_path / "single.py"), str(tmp_path / "single.pyc"))
    wanted = {
        "module": ["-m", "single"],
        "package": ["-m", "pack"],
        "folder": ["pack"],
        "archive": ["archive.zip"],
        "compiled": ["single.pyc"],
    }[what]
    arguments = (*wanted, "x", "-y")
    expected, found = run_both([sys.executable, *arguments], [*CLI, "-q", *arguments], cwd=tmp_path)
    assert expected.returncode == 0
    assert (found.stdout, found.stderr, found.returncode) == (expected.stdout, expected.stderr, 0)


@needs_fork
def test_the_summary_comes_once_and_children_are_as_without_it(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(
        "import multiprocessing, os, sys\n"
        "def double(x): return 2 * x\n"
        "if __name__ == '__main__':\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        sys.exit(4)\n"
        "    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)\n"
        "    for method in 'fork', 'spawn':\n"
        "        with multiprocessing.get_context(method).Pool(2) as pool:\n"
        "            print(pool.map(double, range(3)), flush=True)\n"
    )
    path = tmp_path / "trace.json"
    expected, found = run_both([sys.executable, script], [*CLI, "-o", path, script])
    assert (found.stdout, found.returncode) == (expected.stdout, 0)
    assert found.stderr.count("recorded, a look every") == 1
    assert "Warning" not in found.stderr.replace(expected.stderr, "")
    check_trace(path.read_text())


def test_the_summary_goes_to_standard_error(tmp_path):
    script = tmp_path / "program.py"
    script.write_text("print('output')")
    found = run(*CLI, script)
    assert found.stdout == "output\n"
    assert "thread" in found.stderr
    assert "MainThread" in found.stderr
    assert "a look every" in found.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_ctrl_c_ends_the_program_as_without_it_and_what_was_seen_is_kept(tmp_path):
    script = tmp_path / "program.py"
    # a script's background job ignores Ctrl-C, and hands that down; and 3.13t misses a signal that comes just before
    # a wait, without gilcmp too, so no wait here is for ever
    script.write_text(
        "import signal, threading; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "print('ready', flush=True)\n"
        "while not threading.Event().wait(0.1): pass"
    )
    path = tmp_path / "trace.json"
    process = subprocess.Popen(
        [*CLI, "-o", str(path), str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in errors
    # no line of the traceback is gilcmp's own; the interpreter may live in a folder of that name
    assert str(Path(gilcmp.__file__).parent) not in errors.partition("KeyboardInterrupt")[0]
    check_trace(path.read_text())


def test_a_trace_that_cannot_be_saved_where_it_should_is_kept_elsewhere(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    script = tmp_path / "program.py"
    script.write_text(f"import shutil; shutil.rmtree({str(folder)!r})")
    found = run(*CLI, "-q", "-o", folder / "trace.json.gz", script)
    assert found.returncode == 0
    (line,) = found.stderr.splitlines()
    assert "could not save" in line
    kept = line.rpartition("it is kept in ")[2].strip("'")
    assert kept.endswith(".json.gz")
    check_trace(gzip.decompress(Path(kept).read_bytes()))
    Path(kept).unlink()


def test_nothing_is_recorded_of_a_program_that_python_cannot_read(tmp_path):
    (tmp_path / "bad.py").write_text("x = (\n")
    commands = [[sys.executable, "bad.py"], [sys.executable, "-m", "gilcmp", "timeline", "bad.py"]]
    said = [
        subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        for command in commands
    ]
    assert [done.returncode for done in said] == [1, 1]
    assert said[1].stderr.replace(str(tmp_path) + os.sep, "") == said[0].stderr.replace(str(tmp_path) + os.sep, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument"),
        (["nope.py"], "no such file"),
        (["-m", "gilcmp_nope"], "no module named"),
        (["-m", "json.nope.x"], "json.nope"),
        (["-o", "trace.txt", "x.py"], "must end with one of"),
        (["-o", "nope/trace.json", "x.py"], "cannot be written"),
        (["--pace", "1", "--keep", "0", "x.py"], "--keep"),
        (["--pace", "2s", "x.py"], "pace must be from"),
    ],
)
def test_wrong_usage_is_one_line_and_nothing_runs(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.py").write_text("open('ran', 'w')")
    with pytest.raises(SystemExit) as stop:
        cli.main(["timeline", *arguments])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "ran").exists()


def test_a_program_may_change_its_folder_and_close_all_files(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    script = tmp_path / "program.py"
    script.write_text(f"import os; os.closerange(3, 1000); os.chdir({str(elsewhere)!r})")
    done = run(*CLI, "-q", "-o", "trace.json", script, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    check_trace((tmp_path / "trace.json").read_text())
    assert not list(elsewhere.iterdir())


# ---- a service -------------------------------------------------------------------------------------------------------

SERVICE = """
import os, signal, sys, threading, time
ready = threading.Event()
def work():
    while True:
        sum(range(1000))
        if time.thread_time() > 0.05:  # by then it has been seen
            ready.set()
threading.Thread(target=work, daemon=True, name="worker").start()
{first}
while not ready.wait(0.05): pass
print("up", flush=True)
wait = threading.Event().wait
{then}
"""
unix = pytest.mark.skipif(sys.platform == "win32", reason="needs the signals of Unix")


def service(tmp_path, *options, first="", then="while True: wait(0.05)"):
    """Start a service under `gilcmp timeline`, and wait until it is up.

    A signal that comes just before a long wait would be noticed only after it.
    """
    script = tmp_path / "service.py"
    script.write_text(SERVICE.format(first=first, then=then))
    process = subprocess.Popen(
        [*CLI, *options, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert process.stdout.readline() == "up\n", process.stderr.read()
    return process


def until_recorded(process):
    """Read what is printed to standard error up to the end of a summary."""
    seen = []
    for line in process.stderr:
        seen.append(line)
        if "recorded, a look" in line:
            return "".join(seen)
    raise AssertionError("".join(seen))


@unix
def test_sigterm_saves_and_ends_the_program_as_without_us(tmp_path):
    process = service(tmp_path, "-o", "gil.json")
    process.terminate()
    assert "worker" in until_recorded(process)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM
    assert "worker" in {thread.name for thread in gilcmp.load(tmp_path / "gil.json").threads}


@unix
def test_a_program_handles_sigterm_itself_if_it_wants(tmp_path):
    own = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))"
    process = service(tmp_path, "-o", "gil.json", first=own)
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 7
    assert gilcmp.load(tmp_path / "gil.json").threads


@unix
def test_sigusr1_shows_a_summary_and_goes_on(tmp_path):
    process = service(tmp_path, "-o", "gil.json")
    process.send_signal(signal.SIGUSR1)
    until_recorded(process)
    assert process.poll() is None
    assert not (tmp_path / "gil.json").exists()
    process.send_signal(signal.SIGUSR1)
    until_recorded(process)
    process.terminate()
    until_recorded(process)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM
    assert (tmp_path / "gil.json").exists()


def test_a_part_is_recorded_and_saved_while_the_program_goes_on(tmp_path):
    then = "while not os.path.exists('gil.json'): wait(0.01)\nprint('saved meanwhile')"
    process = service(tmp_path, "--after", "50ms", "--for", "100ms", "-o", "gil.json", then=then)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (0, "saved meanwhile\n")
    assert errors.count("recorded, a look") == 1
    assert gilcmp.load(tmp_path / "gil.json").seconds >= 0.09


def test_a_program_that_is_over_before_its_time_is_told(tmp_path):
    process = service(tmp_path, "--after", "100s", then="")
    _, errors = process.communicate(timeout=60)
    assert errors == "gilcmp: the program was over before 100 s: nothing was recorded\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    "then",
    [
        "child = os.fork()\nif not child: sys.exit(0)\nos.waitpid(child, 0); print(child)",
        "import multiprocessing\n"
        "child = multiprocessing.get_context('fork').Process(target=int)\n"
        "child.start(); child.join(); print(child.pid)",
    ],
    ids=["fork", "multiprocessing"],
)
def test_forked_processes_have_recordings_of_their_own(tmp_path, then):
    first = "import warnings; warnings.simplefilter('ignore')"  # of a fork beside its own thread
    process = service(tmp_path, "-o", "gil.json.gz", first=first, then=then)
    output, errors = process.communicate(timeout=60)
    child = output.strip()
    assert process.returncode == 0, errors
    assert errors.count("recorded, a look") == 1  # the child's output is as without us
    assert sorted(path.name for path in tmp_path.glob("gil*")) == [f"gil.{child}.json.gz", "gil.json.gz"]
    assert gilcmp.load(tmp_path / f"gil.{child}.json.gz").threads


def test_what_was_recorded_until_now_can_be_looked_at():
    recording = gilcmp.timeline()
    with pytest.raises(RuntimeError, match="nothing is being recorded"):
        recording.so_far()

    def until_seen(recording):
        deadline = _gil.now() + 60 * 10**9
        while True:
            _gil.hold_gil(0.01)
            seen = recording.so_far()
            if seen.looks > 5 and sum(one.held for one in seen.threads) > 0.005:
                return seen
            assert _gil.now() < deadline

    with recording:
        first = until_seen(recording)
        second = until_seen(recording)
    assert first.looks <= second.looks <= recording.looks
    assert len(first.spans) == 0
    assert sum(one.held for one in first.threads) <= sum(one.held for one in recording.threads) + 1e-9
    assert str(second)


def test_counters_of_threads_with_one_name_are_told_apart(tmp_path):
    def work():
        threads = [threading.Thread(target=_gil.release_gil, args=(0.1,), name="twin") for _ in range(2)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()

    found = seen(work, lambda t: sum(one.name == "twin" for one in t.threads) == 2 and t.tells_states)
    counters = [event for event in trace.events(found) if event["ph"] == "C" and event["name"].startswith("twin")]
    assert len({event["id"] for event in counters}) == len({(event["name"], event["id"]) for event in counters})
    assert all(0 <= value <= 100 for event in counters for value in event["args"].values())


# ---- the alarm that --for and --after need ---------------------------------------------------------------------------


def test_an_alarm_calls_a_function_once_in_a_thread_of_its_own():
    rung = queue.SimpleQueue()
    alarm = _gil.Alarm(0.0, lambda: rung.put(threading.get_ident()))
    assert rung.get(timeout=60) != threading.get_ident()
    alarm.cancel()
    _gil.Alarm(0.01, lambda: rung.put("again"))  # nobody keeps it
    assert rung.get(timeout=60) == "again"
    assert rung.empty()


def test_an_alarm_that_is_cancelled_keeps_nothing():
    class Function:
        def __call__(self):
            raise AssertionError

    function = Function()
    kept = weakref.ref(function)
    alarm = _gil.Alarm(1e5, function)
    del function
    gc.collect()
    assert kept() is not None
    alarm.cancel()
    deadline = _gil.now() + 60 * 10**9
    while kept() is not None:  # without a GIL another thread may still have to count its references
        gc.collect()
        assert _gil.now() < deadline
    assert kept() is None


def test_what_an_alarm_raises_is_told_and_ends_nothing(monkeypatch):
    told = queue.SimpleQueue()
    monkeypatch.setattr(threading, "excepthook", told.put)
    _gil.Alarm(0.0, lambda: 1 / 0)
    assert told.get(timeout=60).exc_type is ZeroDivisionError
