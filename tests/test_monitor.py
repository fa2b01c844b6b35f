"""What `gilcmp.monitor` counts, where, and what its watchdog says; nothing here depends on how fast the machine is."""

from __future__ import annotations

import contextlib
import functools
import os
import queue
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

import gilcmp
from gilcmp.watch import _gil

GIL = gilcmp.environment().gil_enabled
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="this is Linux's")
needs_gil = pytest.mark.skipif(not GIL, reason="there is no GIL to hold")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
LONGEST = 30  # seconds to wait for what must come


def resize():
    _gil.hold_gil(0.3)


def here(function=resize):
    return f"test_monitor.py:{function.__code__.co_firstlineno + 1}"


def seen(work, enough, **settings):
    """Do work under a monitor, again on a machine that did not let it look, and return the figures."""
    for _ in range(5):
        with gilcmp.monitor(pace="1ms", **settings) as monitor:
            work()
        found = monitor.read()
        if enough(found):
            return found
    raise AssertionError(f"never seen: {found}")


@contextlib.contextmanager
def beside(target, *arguments, name="beside"):
    """Run something in a thread meanwhile, until `stop` is set."""
    stop = threading.Event()
    thread = threading.Thread(target=target, args=(stop, *arguments), name=name)
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join(LONGEST)


def count(stop):
    n = 0
    while not stop.is_set():
        n += 1


# ---- counting ------------------------------------------------------------------------------------------------------


@needs_gil
def test_who_holds_at_which_line_and_who_waits_behind():
    def work():
        with beside(count, name="counting"):
            resize()

    found = seen(work, lambda f: f.holds.n >= 1 and f.lines[0].waited > 0 and f.threads[0].held > 0.1)
    first = found.lines[0]
    assert (str(first.line), first.line.function) == (here(), "resize")
    assert first.line.source == "_gil.hold_gil(0.3)"
    assert found.threads[0].name == threading.current_thread().name
    assert found.threads[0].native_id == threading.get_native_id()
    assert sum(line.held for line in found.lines) == pytest.approx(found.held)
    assert sum(thread.held for thread in found.threads) == pytest.approx(found.held)
    assert found.held <= found.watched * 1.001
    assert found.hand_overs >= 1
    assert sum(line.waited for line in found.lines) == pytest.approx(found.waited)
    assert found.longest_hold.kind == "hold"
    assert 0.1 < found.longest_hold.seconds < found.seconds + 0.01
    assert found.longest_hold.waiting >= 1
    told = str(found)
    assert f"{here()} resize" in told
    assert max(map(len, told.splitlines())) <= 80


@pytest.mark.skipif(GIL, reason="this is of builds without a GIL")
def test_without_a_gil_it_is_who_is_attached():
    found = seen(resize, lambda f: f.held > 0.1)
    assert found.hand_overs is None
    assert found.threads[0].name == threading.current_thread().name
    assert "attached" in str(found)


@pytest.mark.skipif(GIL, reason="this is of builds without a GIL")
def test_pauses_of_the_world_are_counted():
    import gc

    def work():
        kept = [[] for _ in range(200_000)]
        for _ in range(20):
            gc.collect()
        del kept

    found = seen(work, lambda f: f.pauses >= 10)  # what runs between two of them is too short to be seen
    assert found.longest_pause < found.stopped <= found.watched


def comprehension():
    return [_gil.hold_gil(0.05) for _ in range(4)]


def generator():
    for _ in range(4):
        yield _gil.hold_gil(0.05)


def recursion(depth=20):
    if depth:
        return recursion(depth - 1)
    return _gil.hold_gil(0.2)


def callback(_):
    _gil.hold_gil(0.05)
    return 0


def from_c():
    return sorted(range(4), key=callback)


def deep():
    return functools.reduce(lambda a, _: (_gil.hold_gil(0.05), a)[1], range(5), 0)


@pytest.mark.parametrize(
    ("work", "offset", "names"),
    [
        (comprehension, 1, {"comprehension", "comprehension.<locals>.<listcomp>"}),
        (lambda: list(generator()), None, {"generator"}),
        (recursion, 3, {"recursion"}),
        (from_c, None, {"callback"}),
        (deep, 1, {"deep.<locals>.<lambda>"}),
    ],
    ids=["comprehension", "generator", "recursion", "from C", "lambda in C"],
)
def test_the_line_is_right_however_it_was_called(work, offset, names):
    found = seen(work, lambda f: f.lines and f.lines[0].held > 0.05)
    first = found.lines[0].line
    assert first.function in names
    assert "hold_gil" in first.source
    if offset is not None:
        assert first.line == work.__code__.co_firstlineno + offset


def test_a_line_of_the_library_has_its_caller():
    import json

    values = [list(range(2000))] * 20

    def work():
        for _ in range(30):
            json.dumps(values)

    found = seen(work, lambda f: any(line.caller and line.caller != line.line for line in f.lines))
    line = next(line for line in found.lines if line.caller and line.caller != line.line)
    assert "json" in line.line.file
    assert line.caller.file == __file__


def test_threads_that_come_and_go_take_no_more_room():
    def work():
        for _ in range(300):
            threads = [threading.Thread(target=int) for _ in range(5)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        resize()

    found = seen(work, lambda f: f.held > 0.1)
    assert len(found.threads) < 600
    assert sum(thread.held for thread in found.threads) == pytest.approx(found.held)


def test_functions_that_come_and_go_take_no_more_room():
    def work():
        for number in range(1900):
            namespace = {"hold": _gil.hold_gil}
            text = f"\n\ndef work_{number}():\n    hold(0.0006)\nwork_{number}()"
            exec(compile(text, f"made_{number}.py", "exec"), namespace)  # noqa: S102  # they are gone at once

    with gilcmp.monitor(pace="200us") as monitor:
        work()
        resize()
        found = monitor.read()
    assert len(found.lines) <= 2049
    assert sum(line.held for line in found.lines) == pytest.approx(found.held)
    assert sum(line.looks for line in found.lines) > 0
    made = [line.line for line in found.lines if line.line and line.line.function.startswith("work_")]
    for line in made:  # names and files belong together
        assert line.file == f"made_{line.function.removeprefix('work_')}.py"
        assert line.line in (3, 4)  # 3: it has just been called


def test_counters_only_grow_and_are_kept():
    monitor = gilcmp.monitor(pace="1ms")
    with pytest.raises(RuntimeError, match="not been started"):
        monitor.read()
    assert monitor.start() is monitor
    before = monitor.read()
    resize()
    after = monitor.read()
    assert after.held >= before.held
    assert after.looks >= before.looks
    with pytest.raises(RuntimeError, match="runs already"):
        monitor.start()
    assert monitor.is_running
    monitor.stop()
    monitor.stop()
    assert not monitor.is_running
    assert monitor.read() == monitor.read()
    monitor.start()  # from zero
    assert monitor.read().held <= after.held
    monitor.stop()


@needs_gil
def test_the_longest_hold_is_that_since_it_was_last_asked_for():
    def longest():
        with gilcmp.monitor(pace="1ms") as monitor:
            resize()
            return monitor.longest_hold, monitor.longest_hold

    assert any(first > 0.1 > second for first, second in (longest() for _ in range(10)))


def test_figures_are_saved_and_loaded(tmp_path):
    found = seen(resize, lambda f: f.held > 0.1)
    for name in ("gil.json", "gil.json.gz"):
        found.save(tmp_path / name)
        assert gilcmp.load(tmp_path / name) == found
    assert (tmp_path / "gil.json.gz").read_bytes()[:2] == b"\x1f\x8b"
    assert "resize" in found.to_csv()
    assert "resize" in found.to_markdown()
    pytest.importorskip("matplotlib")
    gilcmp.report(found, tmp_path / "gil.json", output=tmp_path / "report.html")
    assert "resize" in (tmp_path / "report.html").read_text()


# ---- the watchdog --------------------------------------------------------------------------------------------------


@needs_gil
def test_it_reports_while_the_lock_is_held_and_calls_back_afterwards(tmp_path):
    told = queue.SimpleQueue()
    path = tmp_path / "reports.txt"
    with (
        beside(count, name="counting"),
        gilcmp.monitor(hold="50ms", on_hold=told.put, to=path, every=0) as monitor,
    ):
        for _ in range(10):
            resize()
            if monitor.read().reports:
                break
        event = told.get(timeout=LONGEST)
    report = path.read_text()
    assert f"has held the GIL for 0." in report  # noqa: F541
    assert f"{__file__}:{resize.__code__.co_firstlineno + 1} in resize" in report
    assert "in count" in report
    assert "it has let go after 0." in report
    assert event.kind == "hold"
    assert event.reported
    assert event.line.function == "resize"
    assert event.seconds >= 0.05
    assert event.thread == threading.current_thread().name
    assert monitor.read().reports >= 1


REPORTED = """
import sys, threading
import gilcmp
from gilcmp.watch import _gil

def count(stop):
    n = 0
    while not stop.is_set():
        n += 1

stop = threading.Event()
thread = threading.Thread(target=count, args=(stop,), daemon=True)
thread.start()
{code}
stop.set()
thread.join()
print("fine")
"""


def run(code, **settings):
    done = subprocess.run(
        [sys.executable, "-c", REPORTED.replace("{code}", textwrap.dedent(code))],
        capture_output=True, text=True, timeout=120, check=False, **settings,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "fine\n"), done.stderr
    return done.stderr


@needs_gil
def test_reports_go_to_standard_error_and_come_at_most_so_often():
    said = run(
        """
        with gilcmp.monitor(hold="20ms", every="1000s") as monitor:
            for _ in range(30):
                _gil.hold_gil(0.1)
                if monitor.read().suppressed:
                    break
        found = monitor.read()
        assert found.reports == 1, found
        assert found.suppressed, found
        """
    )
    assert said.count("has held the GIL for") == 1


@needs_gil
@linux
def test_a_thread_that_waits_for_too_long_is_reported():
    said = run(
        """
        told = []
        with gilcmp.monitor(wait="50ms", every=0, on_hold=told.append) as monitor:
            for _ in range(30):
                _gil.hold_gil(0.3)
                if monitor.read().reports:
                    break
        assert monitor.read().reports
        """
    )
    assert "has waited for the GIL for" in said
    assert "in count" in said


@needs_gil
def test_bytecode_that_would_let_go_is_not_reported():
    def work():
        n = 0
        stop = time.monotonic() + 1
        while time.monotonic() < stop:
            n += 1

    with gilcmp.monitor(hold="300ms", to=None, pace="1ms") as monitor:
        work()
    assert not [event for event in monitor.read().events if event.reported]


@linux
@needs_gil
def test_a_program_may_close_all_its_files_and_open_others(tmp_path):
    run(
        f"""
        import os
        from pathlib import Path
        os.chdir({str(tmp_path)!r})
        with gilcmp.monitor(hold="20ms", every=0, to="reports") as monitor:
            for _ in range(30):
                _gil.hold_gil(0.1)
                if monitor.read().reports:
                    break
            assert Path("reports").read_text()
            os.closerange(3, 256)
            files = [open(f"file{{number}}", "w") for number in range(20)]
            gilcmp.watch._gil.pause_all()  # as for a fork: the thread that goes on has the files of the program
            gilcmp.watch._gil.resume_all()
            before = monitor.read().reports
            for _ in range(30):
                _gil.hold_gil(0.1)
                if monitor.read().reports > before:
                    break
            assert monitor.read().reports > before
            for file in files:
                file.close()
            assert not any(Path(f"file{{number}}").read_text() for number in range(20))
            monitor._file = -1  # it is closed already
        """
    )


@linux
@needs_gil
def test_a_pipe_that_nobody_empties_stops_nothing():
    run(
        """
        import os
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        try:
            while True:
                os.write(writing, b"x" * 65536)
        except BlockingIOError:
            pass
        os.set_blocking(writing, True)
        with gilcmp.monitor(hold="20ms", every=0, to=writing) as monitor:
            for _ in range(30):
                _gil.hold_gil(0.1)
                if monitor.read().failed:
                    break
        assert monitor.read().failed
        """
    )


@linux
@needs_gil
def test_a_callback_has_the_files_and_the_signals_of_the_program(tmp_path):
    run(
        f"""
        import queue, signal
        told = queue.SimpleQueue()
        log = open({str(tmp_path / "log")!r}, "w")

        def tell(event):
            print(event, file=log, flush=True)  # the watcher itself has closed it in its own table
            told.put((signal.pthread_sigmask(signal.SIG_BLOCK, []), open(log.name).read()))

        with gilcmp.monitor(hold="20ms", every="1000s", to=None, on_hold=tell) as monitor:
            for _ in range(30):
                _gil.hold_gil(0.1)
                if monitor.read().reports:
                    break
            blocked, text = told.get(timeout=30)
        assert not blocked, blocked
        assert "held the GIL for" in text, text
        log.close()
        """
    )


@needs_gil
def test_what_a_callback_raises_is_told_and_the_watching_goes_on():
    run(
        """
        import queue

        def broken(event):
            raise ValueError("broken")

        told = queue.SimpleQueue()
        threading.excepthook = lambda what: told.put(repr(what.exc_value))
        with gilcmp.monitor(hold="20ms", every=0, to=None, on_hold=broken) as monitor:
            for _ in range(30):
                _gil.hold_gil(0.1)
                if monitor.read().reports > 2:
                    break
            assert monitor.read().reports > 2
            assert {told.get(timeout=30), told.get(timeout=30)} == {"ValueError('broken')"}
        """
    )


@linux
@needs_gil
def test_time_in_which_the_process_was_stopped_is_no_part_of_a_hold():
    code = """
        import gilcmp
        from gilcmp.watch import _gil
        with gilcmp.monitor(hold="700ms", every=0) as monitor:
            print("up", flush=True)
            _gil.hold_gil(0.4)
        print(monitor.read().reports, flush=True)
    """
    for _ in range(5):
        child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
        assert child.stdout.readline() == "up\n"
        os.kill(child.pid, signal.SIGSTOP)
        threading.Event().wait(1.2)  # the time that is not to count
        os.kill(child.pid, signal.SIGCONT)
        out, _ = child.communicate(timeout=LONGEST)
        if out == "0\n":
            break
    assert out == "0\n"


@needs_fork
@needs_gil
def test_a_child_goes_on_with_counters_of_its_own():
    run(
        """
        import os, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        with gilcmp.monitor(pace="1ms") as monitor:
            for _ in range(30):
                _gil.hold_gil(0.1)
                if monitor.read().held > 0.05:
                    break
            held = monitor.read().held
            child = os.fork()
            if not child:
                code = 1
                try:
                    assert monitor.is_running
                    assert monitor.read().held < held
                    for _ in range(30):
                        _gil.hold_gil(0.1)
                        if monitor.read().held > 0.05:
                            break
                    assert monitor.read().held > 0.05
                    monitor.stop()
                    code = 0
                finally:
                    os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            assert monitor.read().held >= held
        """
    )


@needs_fork
@needs_gil
def test_many_forks_leave_nothing():
    run(
        """
        import os, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        with gilcmp.monitor(hold="500ms", to=None, on_hold=print) as monitor:
            for _ in range(60):
                child = os.fork()
                if not child:
                    os._exit(0)
                assert os.waitpid(child, 0)[1] == 0
            assert not monitor.read().reports, monitor.read()  # each fork is a moment, though a look may come in each
            before = monitor.read().looks
            for _ in range(100):
                _gil.hold_gil(0.05)
                if monitor.read().looks > before:
                    break
            assert monitor.read().looks > before
        """
    )


@needs_gil
def test_one_that_is_only_started_goes_on_and_ends_with_the_program():
    said = run(
        """
        import gc
        gilcmp.monitor(hold="20ms", every=0).start()
        gc.collect()
        for _ in range(20):
            _gil.hold_gil(0.1)
        """
    )
    assert "has held the GIL for" in said


@pytest.mark.skipif(GIL or sys.version_info < (3, 14), reason="this is of builds without a GIL")
def test_without_a_gil_a_long_pause_of_the_world_is_reported():
    code = """
        import gc, threading
        import gilcmp

        stop = threading.Event()
        other = threading.Thread(target=stop.wait)
        other.start()
        kept = [[] for _ in range(2_000_000)]
        with gilcmp.monitor(hold="5ms", every=0, pace="1ms") as monitor:
            for _ in range(30):
                gc.collect()
                if monitor.read().reports:
                    break
        stop.set()
        other.join()
        assert monitor.read().reports
        print("fine")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (0, "fine\n"), done.stderr
    assert "has stopped all threads for" in done.stderr


# ---- arguments -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"hold": 0}, ValueError, "hold must be from 0.001 to 86400 seconds, got 0"),
        ({"hold": "soon"}, ValueError, "hold must be seconds, or a time such as"),
        ({"wait": True}, TypeError, "wait must be a number of seconds"),
        ({"on_hold": 1, "hold": 1}, TypeError, "on_hold must be callable, got int"),
        ({"on_hold": print}, TypeError, "on_hold must be given with hold or wait"),
        ({"to": 1.5}, TypeError, "to must be a file, a path, a descriptor or None, got float"),
        ({"to": "nope/reports"}, ValueError, "to must be in a folder that exists, got 'nope/reports'"),
        ({"every": -1}, ValueError, "every must be from 0"),
        ({"pace": 2}, ValueError, "pace must be from 0.0001 to 1 seconds, got 2"),
    ],
)
def test_wrong_arguments_are_named(settings, kind, message):
    with pytest.raises(kind, match=message.replace(".", r"\.").replace("(", r"\(")):
        gilcmp.monitor(**settings)


def test_the_interface_of_gilknocker():
    from gilcmp.monitoring.knocker import KnockKnock

    knocker = KnockKnock(polling_interval_micros=1000)
    assert not knocker.is_running
    knocker.start()
    assert knocker.is_running
    resize()
    assert 0 <= knocker.contention_metric <= 1
    knocker.reset_contention_metric()
    assert 0 <= knocker.contention_metric <= 1
    knocker.stop()
    assert not knocker.is_running
    assert 0 <= knocker.contention_metric <= 1
