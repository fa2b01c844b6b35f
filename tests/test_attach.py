"""Watching another process from outside: what it counts, and what it says where it cannot."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import gilcmp
from gilcmp.cli import main as cli
from gilcmp.monitoring.attach import Attached
from gilcmp.watch import _gil

GIL = gilcmp.environment().gil_enabled
SUPPORTED = sys.version_info >= (3, 13)
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="this is Linux's")


def may_look():
    """Whether a child's memory may be read here."""
    child = subprocess.Popen(["/bin/sleep", "60"])
    try:
        open(f"/proc/{child.pid}/mem", "rb").close()  # noqa: PTH123
    except OSError:
        return False
    finally:
        child.kill()
        child.wait()
    return True


allowed = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not may_look(), reason="this system lets no process read another's memory"
)
needs_table = pytest.mark.skipif(not SUPPORTED, reason="this version does not say where things are")
needs_gil = pytest.mark.skipif(not GIL, reason="there is no GIL to hold")

SERVICE = """
import os, sys, threading
from gilcmp.watch import _gil

def resize():
    _gil.hold_gil(0.05)

def wait():
    _gil.release_gil(0.01)

def count():
    n = 0
    while True:
        n += 1

if "counting" in sys.argv:
    threading.Thread(target=count, daemon=True).start()
print("up", flush=True)
while True:
    resize()
    wait()
"""


@pytest.fixture
def service(tmp_path):
    """Start programs that end with the test."""
    started = []

    def start(text=SERVICE, *arguments, python=sys.executable, **settings):
        path = tmp_path / "service.py"
        path.write_text(textwrap.dedent(text))
        child = subprocess.Popen([python, str(path), *arguments], stdout=subprocess.PIPE, text=True, **settings)
        started.append(child)
        assert child.stdout.readline() == "up\n"
        return child

    yield start
    for child in started:
        child.kill()
        child.wait()
        child.stdout.close()


def command(pid):
    """Run the command, and wait until it looks."""
    code = f"""
        import signal
        from gilcmp.cli.main import main
        from gilcmp.monitoring.attach import Attached

        signal.signal(signal.SIGINT, signal.default_int_handler)
        look_for = Attached.look_for

        def tell(self, seconds):
            Attached.look_for = look_for
            seen = look_for(self, 0.1)
            print("looking", flush=True)
            return seen

        Attached.look_for = tell
        main(["attach", "{pid}"])
    """
    started = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert started.stdout.readline() == "looking\n"
    return started


def watched(pid, enough):
    """Watch until there is enough to be seen: on a busy machine it may take a while."""
    stop = time.monotonic() + 60
    with Attached(pid, 0.001) as attached:
        while not enough(attached.read()):
            assert time.monotonic() < stop, attached.read()
            assert attached.look_for(0.2), attached.gone
        return attached.read()


@needs_table
@needs_gil
@allowed
def test_it_tells_who_holds_and_where_without_stopping_it(service, tmp_path):
    child = service(SERVICE, "counting")
    found = watched(child.pid, lambda f: f.lines and f.holds.n > 3 and f.waited > 0.05)
    assert child.poll() is None
    first = max(found.lines, key=lambda line: line.held if line.line and line.line.function == "resize" else 0)
    assert (first.line.function, first.line.line) == ("resize", 6)
    assert first.line.file == str(tmp_path / "service.py")
    assert first.line.source == "_gil.hold_gil(0.05)"
    assert found.held <= found.watched
    assert {line.line.function for line in found.lines if line.line} <= {
        "resize", "wait", "count", "<module>", "Thread.run", "Thread._bootstrap_inner", "Thread._bootstrap",
    }  # fmt: skip
    assert found.hand_overs > 0
    assert any(event.kind == "hold" for event in found.events)
    assert f"process {child.pid}, Python 3.{sys.version_info.minor}" in str(found)
    assert max(map(len, str(found).splitlines())) <= 80
    main = max(found.threads, key=lambda thread: thread.native_id == child.pid)
    assert main.name == "main thread"
    assert main.held > 0


@needs_table
@needs_gil
@allowed
def test_nothing_is_written_to_it_and_it_is_never_stopped(service):
    child = service()
    with Attached(child.pid, 0.001) as attached:
        attached.look_for(0.3)
        status = Path(f"/proc/{child.pid}/status").read_text()
        assert "TracerPid:\t0" in status
        assert "State:\tT" not in status


@needs_table
@needs_gil
@allowed
def test_the_command_shows_and_saves(service, tmp_path, capsys):
    child = service()
    path = tmp_path / "gil.json.gz"
    for _ in range(10):
        with pytest.raises(SystemExit) as stop:
            cli.main(["attach", str(child.pid), "--duration", "500ms", "-o", str(path)])
        assert stop.value.code == 0
        out, err = capsys.readouterr()
        assert err == ""
        if "resize" in out:
            break
    assert "The GIL was held for" in out
    assert "service.py:6" in out
    assert gilcmp.load(path).lines
    with pytest.raises(SystemExit) as stop:
        cli.main(["attach", str(child.pid), "--duration", "200ms", "--json", "-"])
    assert stop.value.code == 0
    assert json.loads(capsys.readouterr().out)["format"] == "gilcmp figures"


@needs_table
@needs_gil
@allowed
@pytest.mark.parametrize(
    ("change", "message"),
    [("kill", "has ended"), ("exec", "runs another program now"), ("exit", "has ended")],
)
def test_a_process_that_goes_away_meanwhile_is_told(service, change, message):
    text = SERVICE.replace(
        "while True:\n    resize()",
        """
import signal
def leave(*_):
    os.execv("/bin/sleep", ["sleep", "60"]) if "exec" in sys.argv else os._exit(3)
signal.signal(signal.SIGUSR1, leave)
print("up", flush=True)
while True:
    resize()""",
    ).replace('print("up", flush=True)\n', "", 1)
    child = service(text, change)
    with Attached(child.pid, 0.001) as attached:
        assert attached.look_for(0.2)
        child.send_signal(signal.SIGKILL if change == "kill" else signal.SIGUSR1)
        stop = time.monotonic() + 30
        while attached.look_for(0.2):
            assert time.monotonic() < stop
        assert message in attached.gone
        assert attached.read().looks > 0  # what was seen is kept


@needs_table
@needs_gil
@allowed
def test_the_command_ends_with_the_process(service, capsys):
    child = service("import sys, time\nprint('up', flush=True)\nsys.stdin.read()", stdin=subprocess.PIPE)
    attached = command(child.pid)
    child.stdin.close()
    out, err = attached.communicate(timeout=60)
    assert f"process {child.pid} has ended, after" in err
    assert attached.returncode == 0
    assert "look" in out


@needs_table
@needs_gil
@allowed
def test_ctrl_c_shows_what_was_seen(service):
    child = service()
    attached = command(child.pid)
    attached.send_signal(signal.SIGINT)
    out, err = attached.communicate(timeout=60)
    assert attached.returncode == 0
    assert "look" in out
    assert "Traceback" not in err


# ---- where nothing can be seen --------------------------------------------------------------------------------------


def refused(capsys, pid):
    with pytest.raises(SystemExit) as stop:
        cli.main(["attach", str(pid), "--duration", "100ms"])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("gilcmp: ")
    return line


def test_there_is_no_such_process(capsys):
    child = subprocess.Popen(["/bin/true"])
    child.wait()
    assert refused(capsys, child.pid) == f"gilcmp: there is no process {child.pid}"


@allowed
def test_a_process_that_is_no_python(capsys):
    child = subprocess.Popen(["/bin/sleep", "60"])
    try:
        assert f"process {child.pid} runs no CPython 3.13 or later" in refused(capsys, child.pid)
    finally:
        child.kill()
        child.wait()


@allowed
@pytest.mark.skipif(SUPPORTED, reason="this version says where things are")
def test_an_older_version_is_told(service, capsys):
    line = refused(capsys, service().pid)
    assert "older than 3.13" in line or "no CPython 3.13 or later" in line


@allowed
@needs_table
@pytest.mark.skipif(GIL, reason="this is of builds without a GIL")
def test_without_a_gil_nobody_holds_one(service, capsys):
    assert "runs without a GIL, so nobody holds one" in refused(capsys, service().pid)


def test_a_closed_way_to_a_process_is_not_its_end(monkeypatch):
    from gilcmp.monitoring import remote

    def stat(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(remote.Path, "stat", stat)
    assert remote._why_not_allowed(17) == "/proc/17 cannot be read: Permission denied"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root, to become somebody else")
def test_another_users_process_says_what_is_needed(service):
    child = service()
    # imported before it becomes somebody who may read none of our files
    code = f"""
        import os
        from gilcmp.monitoring import remote
        os.setgid(65534)
        os.setuid(65534)
        try:
            remote.Remote({child.pid})
        except remote.AttachError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=False
    )
    assert child.poll() is None, "the service has ended by itself"
    assert done.stdout.startswith(f"process {child.pid} belongs to another user (number 0)"), done


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope"], "'nope' is not a valid integer"),
        (["0"], "0 is not in the range"),
        (["1", "--duration", "1ms"], "--duration must be from 10ms"),
        (["1", "--pace", "5s"], "--pace must be from 100us to 1 s"),
        (["1", "-o", "nope/gil.json"], "cannot be written"),
    ],
)
def test_wrong_usage_is_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["attach", *arguments])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_wrong_arguments_are_named():
    with pytest.raises(TypeError, match="pid must be an integer"):
        gilcmp.attach("1")
    with pytest.raises(ValueError, match="seconds must be from"):
        gilcmp.attach(1, seconds=0)
    assert _gil.why_not() is None
