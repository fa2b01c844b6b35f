"""The same measurement on every host of a cluster: `nox -s libraries` runs it, where Dask is installed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys

import pytest

import gilcmp
from conftest import made_up_run, observation, record
from gilcmp import Comparison
from gilcmp.cli import main as cli
from gilcmp.hosts import running
from gilcmp.hosts.running import Fleet, measure_here
from gilcmp.saved.run import to_json

unclosed = pytest.mark.filterwarnings(  # sockets of Dask's own, found when they are collected
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="127.0.0.2 is this machine on Linux only")


def comparison(wall):
    cells = [
        record("python", "serial", 1, [observation(n, wall=wall) for n in range(1, 13)]),
        record("python", "threads", 2, [observation(n, wall=wall, blocked=1.0) for n in range(1, 13)]),
    ]
    return Comparison(made_up_run(cells))


def test_hosts_side_by_side_with_those_that_have_no_result():
    found = Fleet(("compare",), {"a": comparison(0.1), "b": comparison(0.2)}, {"c": "its workers are gone"}, ("b",))
    told = str(found)
    assert "on 3 hosts: 2 answered" in told
    assert "b against a" in told
    assert "its workers are gone" in told
    assert "Too busy to say: b." in told
    assert found.diff().names == ("a", "b")
    alone = Fleet(("compare",), {"a": comparison(0.1)}, {}, ())
    assert alone.diff() is None
    assert "on 1 host: 1 answered" in str(alone)


def test_a_folder_has_the_results_of_one_command_and_busy_hosts_are_measured_again(tmp_path):
    command, text = ("compare", "pi"), to_json(comparison(0.1).run)
    assert running._kept(tmp_path, command) == {}
    found = Fleet(command, {}, {}, ())
    for host, busy in (("quiet", False), ("tcp://busy", True)):
        found = running._with(found, host, {"text": text, "busy": busy}, tmp_path)
    assert found.busy == ("tcp://busy",)
    assert list(running._kept(tmp_path, command)) == ["quiet"]
    assert sorted(path.stem for path in tmp_path.glob("*.json")) == ["quiet", "tcp___busy"]
    running._with(Fleet(command, {}, {}, ()), "tcp://busy", {"text": text, "busy": False}, tmp_path)
    assert sorted(running._kept(tmp_path, command)) == ["quiet", "tcp___busy"]  # it was not busy this time
    with pytest.raises(ValueError, match="has the results of 'compare pi': give another one"):
        running._kept(tmp_path, ("probe", "f()"))
    for wrong, message in (("{", "not JSON"), ("[]", "not what gilcmp fleet writes")):
        (tmp_path / running.NOTES).write_text(wrong)
        with pytest.raises(gilcmp.ResultError, match=message):
            running._kept(tmp_path, command)


def test_a_worker_runs_the_command_in_a_process_of_its_own():
    done = measure_here(["compare", "pi", "--size", "1000", "--budget", "100ms", "--workers", "1"], 100)
    assert json.loads(done["text"])["format"] == "gilcmp run"
    assert "kernel must be one of" in measure_here(["compare", "nope"], 100)["error"]
    assert measure_here(["compare"], 0.01)["error"] == "it took longer than 0.01 s"


@pytest.mark.parametrize(("status", "gone"), [("running", "the worker that measured"), ("connecting", "the scheduler")])
def test_who_is_gone_is_said(status, gone):
    class Future:
        def done(self):
            return False

        def cancel(self):
            pass

    class Client:
        def __init__(self):
            self.status, self.workers = status, {"tcp://10.0.0.1:1": {"host": "10.0.0.1"}}

        def scheduler_info(self, n_workers):
            return {"workers": self.workers}

        def submit(self, *_, **__):
            self.workers = {}
            return Future()

    answers = running._answers(Client(), ["compare"], 60, {}, lambda host, what: None)
    assert list(answers) == [("10.0.0.1", {"error": f"{gone} is gone"})]


@pytest.mark.parametrize(
    ("command", "message"),
    [("", "command must begin with"), ("env", "command must begin with one of compare"), ("rm -rf", "got 'rm -rf'")],
)
def test_a_command_that_saves_nothing_is_refused(command, message):
    pytest.importorskip("distributed")
    with pytest.raises(ValueError, match=message):
        gilcmp.fleet("tcp://127.0.0.1:1", command)


def test_without_dask_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("gilcmp.hosts.running.no_dask", lambda: "needs what the extra gilcmp[dask] brings")
    with pytest.raises(ImportError, match=r"gilcmp\[dask\]"):
        gilcmp.fleet("tcp://127.0.0.1:1")


@unclosed
def test_a_cluster_that_does_not_answer(capsys):
    pytest.importorskip("distributed")
    with pytest.raises(SystemExit) as stop:
        cli.main(["fleet", "tcp://127.0.0.1:1"])
    assert stop.value.code == 2
    assert "tcp://127.0.0.1:1" in capsys.readouterr().err


@pytest.fixture
def cluster():
    """Three workers, each on a host of its own as far as Dask knows, and how to start them."""
    distributed = pytest.importorskip("distributed")
    spec = {
        number: {"cls": distributed.Nanny, "options": {"host": f"127.0.0.{number}", "nthreads": 1}}
        for number in (1, 2, 3)
    }
    scheduler = {"cls": distributed.Scheduler, "options": {"host": "127.0.0.1", "port": 0, "dashboard_address": ":0"}}
    with distributed.SpecCluster(spec, scheduler) as started:
        with distributed.Client(started) as client:
            client.wait_for_workers(3, timeout=60)
        yield started


COMMAND = "compare pi --size 1000 --budget 300ms --workers 1,2 --strategy threads"


@linux
@unclosed
def test_each_host_measures_once_and_a_second_run_measures_only_what_is_missing(cluster, tmp_path, capsys):
    arguments = ["fleet", cluster.scheduler_address, "-o", str(tmp_path), "--", *COMMAND.split()]
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 0
    out, err = capsys.readouterr()
    assert "on 3 hosts: 3 answered" in " ".join(out.split())
    assert err.count("begins") == 3
    files = sorted(tmp_path.glob("*.json"))
    assert [path.stem for path in files] == ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    assert all(isinstance(gilcmp.load(path), gilcmp.Comparison) for path in files)
    files[1].unlink()
    running._note(tmp_path, COMMAND.split(), [])  # three on one machine may be too busy, and would be measured again
    told = []
    found = gilcmp.fleet(cluster.scheduler_address, COMMAND, folder=tmp_path, progress=lambda *what: told.append(what))
    assert ("127.0.0.2", "begins") in told
    assert ("127.0.0.1", "was measured before") in told
    assert len(found.results) == 3


@linux
@unclosed
def test_a_host_that_dies_meanwhile_is_listed_and_the_others_are_kept(cluster, tmp_path):
    def tell(host, what):
        if host == "127.0.0.2" and what == "begins":
            for pid in (cluster.workers[2].process.process.pid,):
                os.kill(pid, signal.SIGKILL)

    found = gilcmp.fleet(cluster.scheduler_address, COMMAND, folder=tmp_path, progress=tell, timeout="60s")
    assert set(found.results) == {"127.0.0.1", "127.0.0.3"}
    assert set(found.failed) == {"127.0.0.2"}
    assert found.failed["127.0.0.2"]
    assert "127.0.0.2" in str(found)
    assert sorted(path.stem for path in tmp_path.glob("*.json")) == ["127.0.0.1", "127.0.0.3"]


# ---- hosts in network namespaces of their own ----------------------------------------------------------------------


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=20)


@contextlib.contextmanager
def network(n):
    """Make hosts 10.77.PID.2 and on, in namespaces, behind a bridge that is 10.77.PID.1; give their names and it."""
    subnet = f"10.77.{os.getpid() % 250}"
    bridge, names = f"gb{os.getpid()}", [f"gilcmp{os.getpid()}-{number}" for number in range(n)]
    try:
        ip("link", "add", bridge, "type", "bridge")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs root and iproute2, to make hosts in network namespaces")
    try:
        ip("addr", "add", f"{subnet}.1/24", "dev", bridge)
        ip("link", "set", bridge, "up")
        for number, name in enumerate(names):
            outside = f"gv{os.getpid() % 100_000}x{number}"
            ip("netns", "add", name)
            ip("link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", outside, "master", bridge, "up")
            ip("-n", name, "addr", "add", f"{subnet}.{number + 2}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield subnet, names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", bridge], capture_output=True, check=False)


@contextlib.contextmanager
def dask_program(*command):
    """Run one of Dask's programs, and end it with all that it has started."""
    quick = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "12s", "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "12s"}
    to = subprocess.DEVNULL
    started = subprocess.Popen(command, env={**os.environ, **quick}, stdout=to, stderr=to, start_new_session=True)
    try:
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()


@linux
@unclosed
def test_of_three_hosts_one_is_cut_off_and_one_is_killed(tmp_path):
    """Three hosts behind a bridge measure; the first is unplugged meanwhile, the second loses its worker."""
    distributed = pytest.importorskip("distributed")
    with network(3) as (subnet, names), contextlib.ExitStack() as stack:
        address, module = f"tcp://{subnet}.1:8786", [sys.executable, "-m"]
        listening = ["--host", f"{subnet}.1", "--port", "8786", "--no-dashboard"]
        stack.enter_context(dask_program(*module, "distributed.cli.dask_scheduler", *listening))
        workers = []
        for number, name in enumerate(names):
            inside = ["ip", "netns", "exec", name, *module, "distributed.cli.dask_worker", address]
            settings = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", f"{subnet}.{number + 2}"]
            workers.append(stack.enter_context(dask_program(*inside, *settings)))
        with distributed.Client(address, timeout=60) as client:
            client.wait_for_workers(3, timeout=60)
            begun = []

            def tell(host, what):
                begun.extend([host] * (what == "begins"))
                if what == "begins" and len(begun) == 3:
                    ip("-n", names[0], "link", "set", "eth0", "down")
                    os.killpg(workers[1].pid, signal.SIGKILL)

            found = gilcmp.fleet(client, COMMAND, folder=tmp_path, progress=tell, timeout="60s")
        assert set(found.results) == {f"{subnet}.4"}
        assert set(found.failed) == {f"{subnet}.2", f"{subnet}.3"}
        assert all(found.failed.values())
        assert [path.stem for path in tmp_path.glob("*.json")] == [f"{subnet}.4"]
