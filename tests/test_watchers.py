"""The native watchers beside programs that fork, trace, close files and end: no hang, no crash, nothing touched."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import gilcmp
from gilcmp.watch import _gil

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="this is Linux's")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def run(code, *options, arguments=(), timeout=60):
    """Run a program; one that hangs is killed, and fails the test."""
    return subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip


def fine(code, *options, **settings):
    done = run(code, *options, **settings)
    assert (done.returncode, done.stdout) == (0, "fine\n"), done.stderr


def native_ids():
    """The system's numbers of the threads, also of those that Python does not know."""
    import psutil

    return {thread.id for thread in psutil.Process().threads()}


# ---- forks ----

FORKS = """
import multiprocessing, os, threading, warnings
import gilcmp

warnings.simplefilter("ignore", DeprecationWarning) # of forks beside threads: that is what is tested
context = multiprocessing.get_context("fork")

def start_processes():
    for _ in range(30):
        process = context.Process(target=int)
        process.start()
        process.join()

def fork():
    for _ in range(30):
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)

def together(*functions):
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    if functions == (fork,):
        fork() # and in the main thread
    for thread in threads:
        thread.join()
"""


@needs_fork
@pytest.mark.parametrize("functions", ["start_processes, start_processes", "fork", "fork, fork, fork"])
def test_threads_that_fork_beside_a_timeline(functions):
    fine(FORKS + f"with gilcmp.timeline() as t:\n    together({functions})\nassert t.looks >= 0\nprint('fine')")


@needs_fork
def test_threads_that_fork_under_gilcmp_timeline(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(FORKS + "if __name__ == '__main__':\n    together(start_processes, fork)\n    print('fine')")
    done = subprocess.run(
        [sys.executable, "-m", "gilcmp", "timeline", "-q", str(script)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "fine\n", "")


@needs_fork
def test_after_forks_of_several_threads_it_watches_again_and_python_is_as_fast_as_before():
    """Something pending for ever took the interpreter 300 times as long: far beyond what a busy machine does."""
    fine(
        FORKS
        + textwrap.dedent("""
        import time
        def loop():
            began = time.thread_time()
            for _ in range(300_000):
                pass
            return time.thread_time() - began
        before = max(loop() for _ in range(3))
        with gilcmp.timeline() as t:
            together(fork)
            looks = gilcmp.watch._gil.now()
            after = min(loop() for _ in range(3))
            while True: # it goes on: a thread of it is there
                if len(os.listdir("/proc/self/task")) > 1:
                    break
        assert after < 30 * before, (before, after)
        print("fine")
        """)
        if sys.platform.startswith("linux")
        else "print('fine')"
    )


@needs_fork
def test_a_fork_alone_is_not_warned_of_and_is_not_seen_by_the_program():
    """While os.fork counts the threads, and in the hooks around it, there are none of ours."""
    fine(
        """
        import os
        import gilcmp
        from gilcmp.watch import _gil

        with gilcmp.timeline() as t:
            sampler = _gil.Sampler(1e-4, 1.0)
            for _ in range(20):
                child = os.fork()
                if child == 0:
                    assert sampler.stop() is None
                    with gilcmp.timeline() as own: # a child can record for itself
                        _gil.release_gil(1e-3)
                    os._exit(0 if own.looks >= 0 else 1)
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            sampler.stop()
        print("fine")
        """,
        "-W",
        "error",
    )


def test_pausing_in_one_thread_beside_stopping_in_another():
    """Two pauses at once, pauses that overlap, and a stop in the middle of them."""

    def pause_and_resume(times):
        for _ in range(times):
            _gil.pause_all()
            _gil.resume_all()

    def start_and_stop(times):
        for _ in range(times):
            _gil.Recorder(1e-3, 100).stop()
            _gil.Sampler(1e-4, 1.0).stop()

    with ThreadPoolExecutor(4) as threads:
        done = [threads.submit(work, 300) for work in (pause_and_resume, start_and_stop) * 2]
        for future in done:
            future.result()


def test_what_is_paused_sees_nothing_and_what_was_paused_twice_is_resumed_twice():
    before = native_ids()
    recorder = _gil.Recorder(1e-4, 1000)
    assert native_ids() - before
    _gil.release_gil(0.02)
    _gil.pause_all()
    _gil.pause_all()
    assert not native_ids() - before
    _gil.resume_all()
    assert not native_ids() - before
    _gil.release_gil(0.05)
    _gil.resume_all()
    assert native_ids() - before
    _gil.release_gil(0.02)
    seen = recorder.stop()
    assert seen["unseen"] >= 50_000_000
    _gil.resume_all()  # once too often: nothing was paused


def test_what_is_stopped_while_paused_keeps_what_it_saw():
    recorder = _gil.Recorder(1e-4, 1000)
    _gil.release_gil(0.02)
    _gil.pause_all()
    try:
        _gil.release_gil(0.05)
        seen = recorder.stop()
    finally:
        _gil.resume_all()
    assert seen["looks"] > 0
    assert seen["ended"] - seen["began"] >= 50_000_000
    assert seen["unseen"] >= 40_000_000


# ---- threads, objects, the interpreter ----


@pytest.mark.parametrize(
    "watcher", ["Sampler(0.0, 1.0)", "Sampler(1e-4, 1.0)", "Waiter(1e-4, 100)", "Recorder(1e-4, 100)"]
)
def test_only_one_of_many_who_stop_it_gets_what_was_seen(watcher):
    for _ in range(20):
        made = eval(f"_gil.{watcher}")  # noqa: S307  # of the list above
        ready = threading.Barrier(4)

        def stop(made=made, ready=ready):
            ready.wait()
            try:
                return made.stop() is not None
            except RuntimeError:
                return False

        with ThreadPoolExecutor(4) as threads:
            got = [future.result() for future in [threads.submit(stop) for _ in range(4)]]
        assert sorted(got) == [False, False, False, True]


@pytest.mark.parametrize("watcher", ["Sampler(0.0, 1.0)", "Waiter(1e-4, 100)", "Recorder(1e-4, 100)"])
def test_one_that_is_collected_in_a_cycle_ends_its_thread(watcher):
    for _ in range(5):
        before = native_ids()
        cycle = [eval(f"_gil.{watcher}")]  # noqa: S307  # of the list above
        cycle.append(cycle)
        its_own = native_ids() - before
        assert its_own
        del cycle
        gc.collect()
        deadline = _gil.now() + 30 * 10**9
        while native_ids() & its_own:
            assert _gil.now() < deadline


def test_a_sampler_outlives_the_thread_that_it_watches():
    """Its thread state is freed, and perhaps another thread's by then."""
    fine("""
        import threading
        from gilcmp.watch import _gil
        for _ in range(50):
            kept = []
            thread = threading.Thread(target=lambda: kept.append(_gil.Sampler(0.0, 1.0)))
            thread.start()
            thread.join()
            others = [threading.Thread(target=_gil.release_gil, args=(1e-4,)) for _ in range(8)]
            for other in others: other.start()
            for other in others: other.join()
            assert kept[0].stop()["samples"] >= 0
        print("fine")
    """)


@pytest.mark.parametrize("pause", [1.0, 1e5])
@pytest.mark.parametrize("watcher", ["Sampler", "Waiter", "Recorder"])
def test_a_long_pause_is_cut_short(watcher, pause):
    began = _gil.now()
    made = {"Sampler": _gil.Sampler, "Waiter": _gil.Waiter, "Recorder": _gil.Recorder}[watcher](pause, 10)
    made.stop()
    assert _gil.now() - began < pause / 2 * 1e9


@pytest.mark.parametrize("options", [["-X", "tracemalloc"], ["-X", "dev"]])
def test_tracemalloc_and_development_mode(options):
    fine(
        """
        import gilcmp
        from gilcmp.watch import _gil
        gilcmp.probe(sorted, range(1000), budget=0.05)
        with gilcmp.timeline():
            _gil.hold_gil(0.01)
        print("fine")
        """,
        *options,
    )


def test_a_program_may_end_with_all_of_them_running_in_daemon_threads():
    for end in ("", "os._exit(0)", "os.execv(sys.executable, [sys.executable, '-c', ''])"):
        done = run(f"""
            import os, sys, threading
            from gilcmp.watch import _gil
            ready = threading.Barrier(4)
            def keep_starting(first=True):
                while True:
                    try:
                        watchers = [_gil.Sampler(1e-4, 1.0), _gil.Waiter(1e-4, 10), _gil.Recorder(0.0, 10)]
                    except MemoryError:
                        # without a GIL this runs while the process execs, when Linux starts no further thread
                        if first or not {"exec" in end}:
                            raise
                        return
                    if first:
                        first = False
                        ready.wait()
                    for watcher in watchers:
                        watcher.stop()
            for _ in range(3):
                threading.Thread(target=keep_starting, daemon=True).start()
            ready.wait()
            {end}
        """)
        assert (done.returncode, done.stderr) == (0, ""), end


# ---- the program's files and signals ----

#: Load a filter that answers some system calls with "not permitted", as containers do.
REFUSE = """
import ctypes, struct
def refuse(*calls):
    libc = ctypes.CDLL(None, use_errno=True)
    def step(code, true, false, value):
        return struct.pack("HBBI", code, true, false, value)
    steps = [step(0x20, 0, 0, 0)] # load the call's number
    for call in calls:
        steps += [step(0x15, 0, 1, call), step(0x06, 0, 0, 0x00050001)] # it is this one: EPERM
    steps.append(step(0x06, 0, 0, 0x7fff0000)) # allow
    program = ctypes.create_string_buffer(b"".join(steps))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(program)))
    assert libc.prctl(38, 1, 0, 0, 0) == 0 # no new privileges
    assert libc.prctl(22, 2, header, 0, 0) == 0, ctypes.get_errno()
"""
CLOSE_RANGE, UNSHARE, PROCESS_VM_READV, CLONE, CLONE3 = 436, 272, 310, 56, 435  # on x86-64

filters = pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.uname().machine != "x86_64",
    reason="the numbers are those of x86-64",
)


@filters
@pytest.mark.parametrize("refused", [(), (CLOSE_RANGE,), (CLOSE_RANGE, UNSHARE)])
def test_the_program_may_close_all_files_and_open_others(refused):
    fine(
        REFUSE
        + textwrap.dedent(f"""
        import os, tempfile
        refuse(*{refused!r})
        from gilcmp.watch import _gil
        for _ in range(3):
            before = os.listdir("/proc/self/fd")
            recorder = _gil.Recorder(1e-4, 1000)
            _gil.release_gil(0.05)
            assert os.listdir("/proc/self/fd") == before, os.listdir("/proc/self/fd")
            os.closerange(3, 100)
            mine = [os.open("/dev/null", os.O_RDONLY) for _ in range(20)]
            readable, writable = os.pipe()
            _gil.release_gil(0.05)
            os.close(writable) # nobody else has this end: the reader sees the end of the file
            assert os.read(readable, 1) == b""
            os.close(readable)
            seen = recorder.stop()
            assert seen["tells_states"] == ({refused!r} != ({CLOSE_RANGE}, {UNSHARE})), seen["tells_states"]
            for number in mine:
                os.fstat(number)
                os.close(number)
        print("fine")
        """)
    )


@linux
def test_no_native_thread_takes_a_signal():
    fine("""
        import os, sys
        from gilcmp.watch import _gil
        blocked = lambda task: int(next(
            line for line in open(f"/proc/self/task/{task}/status") if line.startswith("SigBlk")).split()[1], 16)
        own = blocked(os.getpid())
        before = os.listdir("/proc/self/task")
        watchers = _gil.Sampler(1e-3, 1.0), _gil.Waiter(1e-3, 10), _gil.Recorder(0.0, 10)
        tasks = [task for task in os.listdir("/proc/self/task") if task not in before]
        import signal
        numbers = [getattr(signal, f"SIG{name}") for name in ("INT", "TERM", "ALRM", "USR1", "CHLD", "PROF")]
        deaf = [task for task in tasks if all(blocked(task) >> (number - 1) & 1 for number in numbers)]
        assert len(deaf) >= 3, (tasks, deaf) # a sanitizer has threads of its own
        assert blocked(os.getpid()) == own
        print("fine")
    """)


@filters
@pytest.mark.parametrize("arguments", [["script.py"], ["-o", "t.json", "script.py"]])
@pytest.mark.parametrize(
    ("refused", "message"),
    [((PROCESS_VM_READV,), "does not let a process read its own memory"), ((CLONE, CLONE3), "no thread")],
)
def test_where_nothing_can_be_recorded_the_program_is_not_run_and_one_line_says_so(
    refused, message, arguments, tmp_path
):
    (tmp_path / "script.py").write_text("open('ran', 'w')")
    code = REFUSE + f"import gilcmp.cli.main, gilcmp.probing.timeline\nrefuse(*{refused})\ngilcmp.cli.main.main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "timeline", *arguments],
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert message in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["script.py"]


@filters
def test_the_program_can_be_run_all_the_same_if_that_is_asked_for(tmp_path):
    (tmp_path / "script.py").write_text("print('ran')")
    done = subprocess.run(
        [
            sys.executable, "-c", REFUSE + f"refuse({PROCESS_VM_READV})\nfrom gilcmp.cli.main import main\nmain()",
            "timeline", "--or-run", "script.py",
        ],
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "ran\n")
    (line,) = done.stderr.splitlines()
    assert "nothing is recorded" in line


def test_what_does_not_tell_who_waits_says_so(monkeypatch):
    """As with musl, where a waiter of a condition sleeps on its own stack."""
    with gilcmp.timeline() as found:
        _gil.release_gil(0.01)
    found._recording["tells_waits"] = False
    assert "waits for the GIL cannot be told" in str(found)
    found._recording["tells_waits"] = found._recording["tells_states"] = True
    assert "cannot be told" not in str(found)


# ---- everything at once ----


@needs_fork
def test_everything_at_once_from_eight_threads():
    """The short form of `nox -s stress`."""
    script = Path(__file__).parent.parent / "benchmarks" / "stress.py"
    done = subprocess.run(
        [sys.executable, script, "--rounds", "400"], capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "failures: none" in done.stdout


def test_a_timeline_that_is_dropped_is_told_of_no_further_thread():
    """Otherwise each one would note every later thread of the program, for ever."""
    original = threading.Thread.start
    cycle = [gilcmp.timeline(keep=10).__enter__()]
    names = weakref.ref(cycle[0]._names)
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert names() is None
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    assert threading.Thread.start is original
