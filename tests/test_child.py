"""Commands that run in a group of their own: what they have started ends with them, and what they have is saved."""

from __future__ import annotations

import signal
import subprocess
import sys

import psutil
import pytest

from gilcmp.base.child import run_group

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="processes are interrupted there in another way"),
    pytest.mark.usefixtures("no_child_is_left"),
]


class Ready(BaseException):
    """The command has begun its work."""


@pytest.fixture
def told_when_ready():
    def tell(*_):
        raise Ready

    before = signal.signal(signal.SIGALRM, tell)
    yield
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(params=[signal.SIG_IGN, signal.default_int_handler], ids=["in the background", "in a terminal"])
def interrupts(request):
    before = signal.signal(signal.SIGINT, request.param)
    yield request.param
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("told_when_ready")
def test_a_command_ends_with_all_it_has_started_and_saves_what_it_has(interrupts, tmp_path):
    """It saves at the interrupt; its child does not listen, and is killed."""
    code = f"""
import os, pathlib, signal, subprocess, sys, time
deaf = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"
child = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)
child.stdout.readline()
pathlib.Path({str(tmp_path / "child")!r}).write_text(str(child.pid))
try:
    os.kill(os.getppid(), signal.SIGALRM)
    while True:  # an interrupt just before a pause that never ends would not be seen
        time.sleep(0.01)
except KeyboardInterrupt:
    pathlib.Path({str(tmp_path / "saved")!r}).touch()
"""
    with pytest.raises(Ready):
        run_group([sys.executable, "-c", code], limit=100, saving=100)
    assert signal.getsignal(signal.SIGINT) == interrupts
    assert (tmp_path / "saved").exists()
    number = int((tmp_path / "child").read_text())
    if psutil.pid_exists(number):
        child = psutil.Process(number)
        psutil.wait_procs([child], timeout=20)
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_one_that_takes_too_long_is_killed():
    with pytest.raises(subprocess.TimeoutExpired):
        run_group([sys.executable, "-c", "import threading; threading.Event().wait()"], limit=0.1)


def test_what_it_said_is_returned():
    done = run_group(
        [sys.executable, "-c", "import sys; print(1); print(2, file=sys.stderr); sys.exit(3)"],
        limit=100,
        stdout=subprocess.PIPE,
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "1\n", "2\n")
    with pytest.raises(FileNotFoundError):
        run_group(["/no/such/command"], limit=1)
