"""The native sampler and waiter: safe in every situation; what they measure is judged in benchmarks/."""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
import textwrap
import threading

import pytest

import gilcmp
from conftest import seen_well
from gilcmp.probing.probe import switch_interval
from gilcmp.watch import _gil

GIL = gilcmp.environment().gil_enabled


def run(code):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def native_threads():
    """How many threads the process has, Python's and others."""
    import psutil

    return psutil.Process().num_threads()


def no_more_threads_than(before):
    """Tell whether the process comes down to so many threads: one that has done its work may take a moment to end."""
    deadline = _gil.now() + 10**10
    while native_threads() > before and _gil.now() < deadline:
        _gil.release_gil(1e-3)
    return native_threads() <= before


def test_the_lock_can_be_watched_here():
    assert _gil.why_not() is None


@pytest.mark.parametrize("pace", [0.0, 20e-6])
def test_ground_truth_is_told_apart(pace):
    """All or nothing is seen whatever the machine does; the fine figures are in benchmarks/probe_accuracy.py."""
    for function, low, high in ((_gil.hold_gil, 0.9, 1.0), (_gil.release_gil, 0.0, 0.1)):

        def watch(function=function):
            sampler = _gil.Sampler(pace, 0.2)
            function(0.2)
            return sampler.stop()

        seen = seen_well(watch, lambda seen: seen["dropped"] < 0.1)
        watched = seen["held"] + seen["other"] + seen["free"]
        assert low <= seen["held"] / watched <= high, seen
        assert sum(b for _, b in seen["segments"]) == pytest.approx(watched, rel=1e-3, abs=1e-6)


def test_what_takes_longer_than_meant_keeps_its_segments():
    """A call longer than the budget: the pieces of time get longer, the last one does not take all of the rest."""

    def watch():
        sampler = _gil.Sampler(1e-4, 1e-3)
        _gil.alternate(1e-3, 1e-3, 0.3)
        return sampler.stop()

    seen = seen_well(watch, lambda seen: seen["dropped"] < 0.1)
    lengths = [all_ for _, all_ in seen["segments"]]
    assert 16 <= len(lengths) <= 64
    assert max(lengths) < 0.1
    assert sum(held for held, _ in seen["segments"]) == pytest.approx(seen["held"], abs=1e-6)


@pytest.mark.skipif(not GIL, reason="without a GIL nobody waits")
def test_the_waiter_waits_for_as_long_as_the_lock_is_held():
    def watch():
        waiter = _gil.Waiter(1e-3, 1000)
        with switch_interval(10.0):  # nor is the lock handed over in the bytecode before and after the call
            began = _gil.now()
            _gil.hold_gil(0.05)
            ended = _gil.now()
        return ended, [(asked, got, waited) for asked, got, _, waited in waiter.stop() if began <= asked < ended]

    # there is time to ask at least once in 50 ms unless starved, and it cannot have got in before the end
    ended, during = seen_well(watch, lambda seen: seen[1])
    assert all(got >= ended - 1e6 and waited <= (got - asked) * 1e-9 for asked, got, waited in during)


def test_waits_are_kept_up_to_the_capacity():
    waiter = _gil.Waiter(1e-6, 3)
    _gil.release_gil(0.05)
    assert len(waiter.stop()) <= 3


def test_alternate_tells_its_true_share():
    assert _gil.alternate(1e-3, 0, 0.01) == 1.0
    assert _gil.alternate(0, 1e-3, 0.01) < 0.9
    with pytest.raises(ValueError, match="must not both be 0"):
        _gil.alternate(0, 0, 0.01)


@pytest.mark.parametrize("function", [_gil.hold_gil, _gil.release_gil])
def test_spinning_takes_its_time(function):
    began = _gil.now()
    function(0.01)
    assert _gil.now() - began >= 10_000_000
    for bad in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="seconds must be from 0 to 1e6"):
            function(bad)


def test_call_for_calls_at_least_once_and_at_most_so_often():
    calls = []
    assert _gil.call_for(calls.append, (1,), {}, 0.0, 100)[0] == len(calls) == 1
    assert _gil.call_for(calls.append, (1,), {}, 60.0, 5)[0] == 5
    with pytest.raises(ZeroDivisionError):
        _gil.call_for(lambda: 1 / 0, (), {}, 1.0, 5)


def test_stopping_twice_is_an_error():
    for watcher in (_gil.Sampler(1e-4, 1.0), _gil.Waiter(1e-3, 10)):
        watcher.stop()
        with pytest.raises(RuntimeError, match="stopped already"):
            watcher.stop()


def test_bad_arguments():
    for bad in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="pace must be"):
            _gil.Sampler(bad, 1.0)
        with pytest.raises(ValueError, match="pause must be"):
            _gil.Waiter(bad, 10)
    with pytest.raises(ValueError, match="must be positive"):
        _gil.Waiter(1e-3, 0)
    with pytest.raises(ValueError, match="must be positive"):
        _gil.Waiter(0.0, 10)


def test_nested_and_forgotten_samplers_leave_nothing():
    before = native_threads()
    for _ in range(20):
        outer, inner = _gil.Sampler(1e-4, 1.0), _gil.Sampler(0.0, 1.0)
        inner.stop()
        del outer  # never stopped
        _gil.Waiter(1e-4, 10)
    gc.collect()
    assert no_more_threads_than(before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_thousand_starts_and_stops_from_eight_threads_with_forks_and_exceptions():
    before, failures = native_threads(), []

    def work(seed):
        numbers = random.Random(seed)
        try:
            for _ in range(125):
                sampler = _gil.Sampler(numbers.choice([0.0, 1e-5, 1e-4]), 0.1)
                waiter = _gil.Waiter(1e-4, 10)
                try:
                    if numbers.random() < 0.1:
                        raise LookupError
                    _gil.release_gil(numbers.random() * 1e-4)
                except LookupError:
                    del sampler, waiter
                    continue
                if numbers.random() < 0.03:
                    child = os.fork()
                    if child == 0:  # no sampler here, and a new one can be started
                        fine = sampler.stop() is None and waiter.stop() is None
                        again = _gil.Sampler(1e-5, 0.1)
                        _gil.release_gil(1e-3)
                        os._exit(0 if fine and again.stop()["samples"] >= 0 else 1)
                    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
                assert sampler.stop()["samples"] >= 0
                waiter.stop()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    gc.collect()
    assert no_more_threads_than(before)


@pytest.mark.parametrize("watcher", ["_gil.Sampler(0.0, 1.0)", "_gil.Sampler(1e-5, 1.0)", "_gil.Waiter(1e-5, 100)"])
@pytest.mark.parametrize("end", ["", "sys.exit(3)", "raise SystemExit(3)", "os._exit(3)"])
def test_the_interpreter_can_end_while_it_runs(watcher, end):
    done = run(f"import os, sys\nfrom gilcmp.watch import _gil\nkeep = {watcher}\nsys.keep = keep\n{end}")
    assert (done.returncode, done.stderr) == (3 if end else 0, "")


def test_a_watched_thread_can_end_first():
    done = run("""
        import threading
        from gilcmp.watch import _gil
        kept = []
        def work():
            kept.append((_gil.Sampler(0.0, 1.0), _gil.Waiter(1e-5, 10)))
        for _ in range(20):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        for pair in kept:
            for watcher in pair:
                watcher.stop()
        print("fine")
    """)
    assert done.stdout == "fine\n", done.stderr


def test_works_in_a_subinterpreter():
    """It watches that interpreter's own lock, from 3.12 on."""
    code = (
        "from gilcmp.watch import _gil\n"
        "assert _gil.why_not() is None\n"
        "sampler, waiter = _gil.Sampler(1e-5, 0.1), _gil.Waiter(1e-4, 10)\n"
        "_gil.hold_gil(0.01)\n"
        "sampler.stop(); waiter.stop()\n"
    )
    done = run(f"""
        import sys
        code = {code!r}
        if sys.version_info >= (3, 13):
            import _interpreters as interpreters
            number = interpreters.create("isolated")
            failure = interpreters.exec(number, code)
            assert failure is None, failure.formatted
        else:
            import _xxsubinterpreters as interpreters
            number = interpreters.create(isolated=True)
            interpreters.run_string(number, code)
        interpreters.destroy(number)
        exec(code)
        print("fine")
    """)
    assert done.stdout == "fine\n", done.stderr


@pytest.mark.skipif(not gilcmp.environment().gil_enabled, reason="without a GIL nothing is released")
def test_a_release_that_is_not_seen_whole_counts_with_what_was_seen_of_it():
    """Where the sampler has no core for a moment, the long release that it was in must not be lost among short ones."""
    done = threading.Event()

    def disturb():
        while not done.wait(0.002):
            _gil.pause_all()
            _gil.resume_all()

    def work():
        _gil.release_gil(0.05)
        for _ in range(10):
            _gil.release_gil(1e-6)

    seen = {"free": 0}
    other = threading.Thread(target=disturb)
    other.start()
    try:
        while seen["free"] < 1e-3:  # on a busy machine the sampler may have had no core at all
            sampler = _gil.Sampler(0, 1)
            work()
            seen = sampler.stop()
    finally:
        done.set()
        other.join()
    assert sum(seen["releases"]) > 0.5 * seen["free"]


@pytest.mark.skipif(not gilcmp.environment().gil_enabled, reason="without a GIL nothing is released")
def test_a_release_whose_end_is_not_seen_counts_with_what_was_seen_of_it():
    """A sampler that loses its core during the last release, and has none until it is stopped, saw a part of it."""
    seen = {"free": 0}
    while seen["free"] < 1e-4:  # on a busy machine the sampler may have had no core at all
        released, paused = threading.Event(), threading.Event()

        def pause_meanwhile(released=released, paused=paused):
            released.wait(30)
            threading.Event().wait(0.01)  # the sampler sees some of it
            _gil.pause_all()
            paused.set()

        other = threading.Thread(target=pause_meanwhile)
        other.start()
        sampler = _gil.Sampler(0, 1)
        try:
            released.set()
            _gil.release_gil(0.05)
            paused.wait(30)
            seen = sampler.stop()
        finally:
            other.join()
            _gil.resume_all()
    assert sum(seen["releases"]) > 0.9 * seen["free"]
