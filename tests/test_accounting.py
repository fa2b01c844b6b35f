"""Where time went: with made-up samples, and with real threads in what must always hold."""

from __future__ import annotations

import os
import sys
import threading
import time

import pytest

from gilcmp.measure import clocks as accounting
from gilcmp.measure.clocks import Sample, has_run_delay, mark, measured, observe

HERE = os.getpid()


def sample(thread, start, end, cpu, delay=0, process=HERE):
    return Sample("part", process, thread, start, end, cpu, delay)


def test_two_threads_that_take_turns():
    # 100 ns of wall: A works first, B then; each is there until its end
    samples = [sample(1, 0, 50, 50), sample(2, 0, 100, 50)]
    seen = observe(samples, 0, 100, 100, round_number=3)
    assert seen.round == 3
    assert seen.wall == pytest.approx(100e-9)
    assert seen.cpu == pytest.approx(100e-9)
    assert seen.cores == pytest.approx(1.0)
    assert seen.blocked == pytest.approx(50e-9)
    assert seen.run_delay == 0
    assert seen.harness == 0


def test_waiting_for_a_core_is_not_blocked():
    seen = observe([sample(1, 0, 100, 60, 40)], 0, 100, 60, round_number=1)
    assert seen.run_delay == pytest.approx(40e-9)
    assert seen.blocked == 0


def test_a_worker_without_further_tasks_is_idle_not_blocked():
    seen = observe([sample(1, 0, 100, 100), sample(2, 0, 10, 10)], 0, 100, 110, round_number=1)
    assert seen.blocked == 0


def test_same_thread_number_in_two_processes_is_two_workers():
    samples = [sample(1, 0, 100, 100, process=7), sample(1, 0, 100, 100, process=8)]
    seen = observe(samples, 0, 100, 3, round_number=1)
    assert seen.cores == pytest.approx(2.0)
    assert seen.harness == pytest.approx(3e-9)


def test_unknown_run_delay_stays_unknown():
    seen = observe([sample(1, 0, 100, 60, None)], 0, 100, 60, round_number=1)
    assert seen.run_delay is None
    assert seen.blocked == pytest.approx(40e-9)


def test_clocks_that_run_apart_do_not_make_negative_times():
    seen = observe([sample(1, 0, 100, 130, 20)], 0, 100, 90, round_number=1)
    assert seen.blocked == 0
    assert seen.harness == 0


def test_measured_counts_the_callers_cpu_time():
    mark()

    def spin(seconds):
        until = time.thread_time() + seconds
        while time.thread_time() < until:
            pass
        return "done"

    found = measured(spin, 0.02)
    assert found.part == "done"
    assert (found.process, found.thread) == (HERE, threading.get_ident())
    assert 0.02e9 <= found.cpu <= found.end - found.start + 1e6
    assert found.run_delay is None or found.run_delay >= 0


def test_what_was_before_the_mark_is_not_counted():
    until = time.thread_time() + 0.03
    while time.thread_time() < until:
        pass
    mark()
    assert measured(lambda task: task, 1).cpu < 0.02e9


def test_an_exception_comes_out_and_the_next_task_is_measured():
    with pytest.raises(ZeroDivisionError):
        measured(lambda task: 1 / task, 0)
    assert measured(lambda task: 1 / task, 2).part == 0.5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_forked_child_reads_its_own_clocks():
    """The child's schedstat must be its own: the file that the parent opened goes on telling of the parent."""
    mark()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        clock = accounting._clock
        stale = clock.process == os.getpid()
        clock.read()
        os.write(write, b"bad" if stale or clock.process != os.getpid() else b"fine")
        os._exit(0)
    os.close(write)
    assert os.read(read, 10) == b"fine"
    os.close(read)
    os.waitpid(child, 0)


def test_schedstat_files_are_closed_with_their_threads():
    if not has_run_delay():
        assert accounting._open_schedstat() is None
        return

    def files():
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # counted, not used as paths

    def once():
        thread = threading.Thread(target=mark)
        thread.start()
        thread.join()

    once()
    before = files()
    for _ in range(20):
        once()
    # a leak would leave 20; in four threads at once, files of the others count as well
    assert files() <= before + 10


def test_no_schedstat_is_no_run_delay(monkeypatch, tmp_path):
    monkeypatch.setattr(accounting, "SCHEDSTAT", str(tmp_path / "none"))
    assert accounting._open_schedstat() is None
    zeros = tmp_path / "schedstat"
    zeros.write_text("0 0 0\n")
    monkeypatch.setattr(accounting, "SCHEDSTAT", str(zeros))
    assert accounting._open_schedstat() is None


def test_linux_tells_run_delay_or_says_that_it_does_not():
    assert has_run_delay() in (True, False)
    if sys.platform != "linux":
        assert not has_run_delay()
