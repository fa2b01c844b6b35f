"""compare(): which cells, in which order, what is kept and what is refused. No timing decides anything here."""

from __future__ import annotations

import asyncio
import gc
import itertools
import multiprocessing
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from itertools import groupby
from types import SimpleNamespace

import numpy as np
import pytest

import gilcmp
import tasks
from conftest import observation
from gilcmp import kernels
from gilcmp.judge.verdict import MIN_ROUNDS
from gilcmp.measure.executors import process_opener
from gilcmp.measure.jobs import Job, make_jobs
from gilcmp.measure.machine import gil_enabled
from gilcmp.measure.request import KernelWork, implementation_names
from gilcmp.measure.running import RunningCell, note
from gilcmp.measure.strategies import strategies

compare_module = import_module("gilcmp.measure.session")
jobs_module = import_module("gilcmp.measure.jobs")
request_module = import_module("gilcmp.measure.request")

QUICK = {"budget": 0.3, "size": "small", "workers": [1, 2]}


def test_every_cell_is_measured_and_checked():
    found = gilcmp.compare("pi", **QUICK)
    keys = {cell.record.key for cell in found}
    for name in ("python", "numpy", "cython_gil", "cython_nogil"):
        assert ("pi", name, "serial", 1) in keys
        for strategy in ("threads", "processes"):
            assert {("pi", name, strategy, 1), ("pi", name, strategy, 2)} <= keys
    assert len(found) == len(keys) == 4 * 5
    rounds = {tuple(seen.round for seen in cell.rounds)[:MIN_ROUNDS] for cell in found}
    assert len(rounds) == 1, "every round runs every cell, until a cell has enough of them to sit out"
    assert found.complete
    for cell in found:
        assert cell.error is None
        for seen in cell.rounds:
            assert seen.wall > 0
            assert 0 <= seen.cpu <= cell.workers * seen.wall * 1.5 + 0.05
        assert cell.record.shares_gil == (cell.strategy != "processes" and found.environment.gil_enabled)
    assert {(start.strategy, start.workers) for start in found.run.pools} == {
        (strategy, n) for strategy in ("threads", "processes") for n in (1, 2)
    }


def test_nothing_is_left_behind():
    threads = set(threading.enumerate())
    before, frozen = dict(os.environ), gc.get_freeze_count()
    gilcmp.compare("count", **QUICK)
    for thread in set(threading.enumerate()) - threads:
        thread.join(10)  # one of a pool may be on its way out
        assert not thread.is_alive(), thread
    assert multiprocessing.active_children() == []
    assert gc.get_freeze_count() <= frozen
    assert dict(os.environ) == before


def test_cells_are_found_by_any_of_their_names():
    found = gilcmp.compare("count", implementations=["python", "cython_gil"], strategies="threads", **QUICK)
    assert found["python", "threads", 2].workers == 2
    assert found["serial", "cython_gil"].is_serial
    with pytest.raises(KeyError, match=r"must name one cell, and names 2 of"):
        found["threads", 2]
    with pytest.raises(KeyError, match="names 0 of"):
        found["gone"]
    alone = gilcmp.compare(tasks.double, tasks=[1, 2, 3], strategies="threads", workers=2, budget=0.2)
    assert alone["threads", 2].implementation == "double"
    assert len(alone) == 2


def test_order_is_shuffled_and_mirrored_and_keeps_implementations_together():
    jobs = [SimpleNamespace(implementation=name, fine=False) for name in "abcd"]
    plans = [SimpleNamespace(job=job, n=n) for job in jobs for n in range(5)]
    orders = compare_module.orders(plans, 3)
    first, second, third, fourth = (next(orders) for _ in range(4))
    assert second == first[::-1]
    assert fourth == third[::-1]
    assert first not in (third, third[::-1], plans)
    for order in (first, third):
        assert sorted(map(id, order)) == sorted(map(id, plans))
        names = [plan.job.implementation for plan in order]
        assert [name for name, _ in groupby(names)] == list(dict.fromkeys(names))


def test_a_quick_serial_cell_has_a_turn_on_both_sides_of_each_other():
    job = SimpleNamespace(implementation="a", fine=True)
    plans = [SimpleNamespace(job=job, n=n) for n in range(4)]
    orders = compare_module.orders(plans, 3)
    first, second = next(orders), next(orders)
    assert second == first[::-1]
    assert [plan.n for plan in first[::2]] == [0] * 4
    assert sorted(plan.n for plan in first[1::2]) == [1, 2, 3]


def running(strategy, workers=1, **changes):
    return RunningCell(make_job(fine=True, repeats=3, **changes), strategies[strategy], workers)


def test_a_cell_is_noted_with_the_serial_turns_beside_it():
    serial, threads, processes = running("serial"), running("threads", 2), running("processes", 2)
    threads.job = processes.job = serial.job
    walls = iter([1.0, 4.0, 3.0, 6.0, 5.0])
    turns = [(cell, observation(1, wall=next(walls))) for cell in (serial, threads, serial, processes, serial)]
    note(turns, 0.5)
    assert [seen.wall for seen in serial.seen] == [3.0]
    assert serial.seen[0].cpu == 3.0
    assert [(seen.wall, seen.serial) for seen in threads.seen] == [(4.0, threads.passes * 2.0)]
    assert [(seen.wall, seen.serial) for seen in processes.seen] == [(6.0, processes.passes * 4.0)]
    assert {seen.foreign for cell in (serial, threads, processes) for seen in cell.seen} == {0.5}
    assert threads.record().work == threads.passes * serial.record().work


def test_a_turn_that_failed_beside_it_leaves_the_cell_its_round():
    serial, threads = running("serial"), running("threads", 2)
    threads.job = serial.job
    note([(threads, observation(1)), (serial, observation(1))], 0.0)
    assert threads.seen[0].serial is None
    assert len(serial.seen) == 1


def test_function_with_tasks_gets_each_once_a_pass():
    seen = []

    def work(x):
        seen.append(x)
        return x

    found = gilcmp.compare(work, tasks=iter("abc"), strategies="threads", workers=1, budget=0.2)
    assert set(seen) == set("abc")
    assert seen.count("a") == seen.count("b") == seen.count("c")
    assert found["serial"].record.tasks == 3
    assert found["serial"].size is None


def test_function_without_tasks_is_called_bare():
    found = gilcmp.compare(tasks.bare, strategies=["threads", "processes"], workers=2, budget=0.3)
    assert [cell.error for cell in found] == [None] * 3
    assert gilcmp.compare(tasks.bare, tasks=5, strategies=[], budget=0.2)["serial"].record.tasks == 5


def test_several_functions_side_by_side():
    found = gilcmp.compare({"twice": tasks.double, "same": lambda x: x}, tasks=[1], strategies=[], budget=0.2)
    assert [cell.implementation for cell in found] == ["twice", "same"]


def test_lambdas_are_sent_by_value():
    pytest.importorskip("cloudpickle")
    offset = 5
    found = gilcmp.compare(lambda x: x + offset, tasks=[1, 2], workers=2, budget=0.3, check=lambda a: a == [6, 7])
    assert [cell.error for cell in found] == [None] * 3
    assert found["processes", 2].rounds


def test_without_cloudpickle_lambdas_fail_clearly_under_processes(monkeypatch):
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    found = gilcmp.compare(lambda x: x, tasks=[1, 2], workers=2, budget=0.3)
    assert found["threads", 2].error is None
    assert found["threads", 2].rounds
    assert "cannot be sent to another process" in found["processes", 2].error
    assert "with cloudpickle installed it can be" in found["processes", 2].error
    assert found["processes", 2].rounds == []
    assert "not measured" in str(found)
    assert found["processes", 2].verdict == "not measured"


def test_answers_that_cannot_be_sent_back_are_an_error_of_those_cells():
    found = gilcmp.compare(tasks.lock_in_a_worker, tasks=[os.getpid()], workers=1, budget=0.3)
    assert "cannot be sent" in found["processes"].error
    assert found["threads"].error is None


def test_a_program_from_standard_input_can_have_processes():
    """Its functions are in no file that a process could import."""
    pytest.importorskip("cloudpickle")
    code = """
import gilcmp
def twice(x):
    return 2 * x
all_names = gilcmp.strategies.items()
methods = [name for name, each in all_names if name.startswith("processes-") and not each.unavailable]
found = gilcmp.compare(twice, tasks=[1, 2], strategies=methods, workers=1, budget=1, check=lambda a: a == [2, 4])
print([cell.error for cell in found if cell.error], len(found))
"""
    # 3.13.5 may warn of itself, where its collector runs in the middle of its tracker of semaphores
    command = [sys.executable, "-W", "ignore:ResourceTracker called reentrantly", "-"]
    done = subprocess.run(command, input=code, capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout.startswith("[] "), done.stderr) == (True, "")


def test_a_task_may_be_several_arguments():
    found = gilcmp.compare(
        tasks.add, tasks=[(1, 2), [3, 4]], star=True, workers=1, budget=0.3, check=lambda answers: answers == [3, 7]
    )
    assert [cell.error for cell in found] == [None] * 3


@pytest.mark.parametrize(
    ("function", "given", "hint"),
    [
        (tasks.add, [(1, 2)], "each task is one argument; star=True makes several of a tuple"),
        (
            tasks.double,
            None,
            'tasks=[…] gives the arguments, one call each; in a shell: "f(x)" -s "from module import f; x = 1"',
        ),
        (tasks.raises_type_error, [1], None),
    ],
)
def test_a_call_with_other_arguments_says_what_may_have_been_meant(function, given, hint):
    with pytest.raises(TypeError) as failed:
        gilcmp.compare(function, tasks=given, budget=0.2)
    hints = [note for note in failed.value.__notes__ if "raised in the cell" not in note]
    assert hints == ([f"gilcmp: {hint}"] if hint else [])


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (partial(tasks.add, 1), "add"),
        (tasks.Adder(1).to, "to"),
        (tasks.Adder, "Adder"),
        (abs, "abs"),
    ],
)
def test_whatever_can_be_called_can_be_compared(function, name):
    found = gilcmp.compare(function, tasks=[1, 2], workers=1, budget=0.3)
    assert [cell.error for cell in found] == [None] * 3
    assert {cell.implementation for cell in found} == {name}


def test_a_function_that_changes_its_argument_is_refused():
    with pytest.raises(ValueError, match=r"changes its argument, tasks\[1\]: .* let it work on a copy"):
        gilcmp.compare(lambda listed: listed.sort(), tasks=[[1, 2], [2, 1]], budget=0.2)


def test_an_iterator_is_no_task():
    with pytest.raises(TypeError, match=r"tasks\[1\] is a list_iterator, which the first call uses up"):
        gilcmp.compare(list, tasks=[[1], iter([1])], budget=0.2)


def test_other_answers_are_told():
    count = itertools.count()
    found = gilcmp.compare(lambda x: next(count), tasks=[1, 2], strategies=[], budget=0.2)
    assert len(found.run.notes) == 1
    assert "answers the same tasks differently from pass to pass" in found.run.notes[0]
    assert "Note: <lambda> answers" in " ".join(str(found).split())
    found = gilcmp.compare(
        lambda x: threading.current_thread().name, tasks=[1, 2], workers=1, budget=0.2, strategies="threads"
    )
    assert found.run.notes == ["<lambda>, threads x 1: the answers differ from those of the first serial pass"]
    found = gilcmp.compare(tasks.double, tasks=[0.1, float("nan")], workers=1, budget=0.2)
    assert found.run.notes == []


def test_no_more_calls_than_are_allowed():
    for most in (30, 100, 1000):
        calls = []
        found = gilcmp.compare(
            calls.append, tasks=[1, 2, 3], strategies="threads", workers=[1, 2], budget=1, max_calls=most
        )
        assert len(calls) <= most
        assert all(cell.rounds for cell in found)
    told = []
    calls.clear()
    gilcmp.compare(calls.append, tasks=[1, 2, 3], strategies="threads", workers=2, budget=0.3, progress=told.append)
    (foreseen,) = [now.calls for now in told if now.calls is not None]
    assert 0.01 < len(calls) / foreseen < 100


def test_what_sending_costs_is_told_and_the_budget_holds():
    """Tasks that take long to send: no more passes than fit, and none that would take longer than is left."""
    began = time.perf_counter()
    found = gilcmp.compare(len, tasks=[bytes(20_000_000)] * 4, workers=[1, 2], budget=1.0)
    took = time.perf_counter() - began
    processes = found["processes", 1].record
    assert processes.sending > 1e-3
    assert processes.bytes_out > 20_000_000
    assert processes.bytes_back < 100
    assert found["threads", 1].record.sending is None
    assert "sending a task and its answer takes" in " ".join(str(found).split())
    assert "20.0 MB out" in " ".join(str(found).split())
    assert took < 1.0 + 20 * processes.sending + 5  # a busy machine gets some seconds; without the bound it took 45
    costly = gilcmp.compare(len, tasks=[bytes(20_000_000)] * 40, workers=1, budget=0.2)
    assert "more than is left of the budget" in costly["processes", 1].error
    assert costly["processes", 1].record.sending > 1e-3


def test_blas_is_left_alone_for_functions_unless_asked():
    assert gilcmp.compare(abs, tasks=[1], strategies=[], budget=0.1).run.settings.blas_threads is None
    found = gilcmp.compare(abs, tasks=[1], strategies=[], budget=0.1, blas_threads=2)
    assert found.run.settings.blas_threads == 2
    assert "BLAS was kept to 2 threads." in " ".join(str(found).split())
    assert gilcmp.compare("pi", implementations="python", strategies=[], budget=0.1).run.settings.blas_threads == 1


def test_a_coroutine_function_is_compared_where_a_loop_runs_as_in_a_notebook():
    async def notebook():
        return gilcmp.compare(tasks.pause, tasks=[0.001] * 4, strategies=["asyncio", "threads"], workers=2, budget=0.5)

    found = asyncio.run(notebook())
    assert [cell.error for cell in found] == [None] * 3
    assert all(cell.rounds for cell in found)


def test_a_killed_worker_costs_its_own_cells_only():
    work = {"dies": tasks.dies_in_a_worker, "lives": tasks.who}
    found = gilcmp.compare(work, tasks=[os.getpid()] * 4, workers=2, budget=0.5)
    assert "died" in found["dies", "processes"].error
    assert found["lives", "processes"].error is None
    assert found["lives", "processes"].rounds
    assert found["dies", "threads"].rounds


def test_a_task_that_raises_reaches_the_caller_with_the_cells_name():
    with pytest.raises(LookupError, match="not here") as error:
        gilcmp.compare(tasks.fails_in_a_worker, tasks=[os.getpid()], workers=2, budget=0.3)
    assert any("processes x 2" in note for note in error.value.__notes__)
    assert isinstance(error.value.comparison, gilcmp.Comparison)
    assert not error.value.comparison.complete
    assert multiprocessing.active_children() == []


def test_ctrl_c_keeps_the_finished_rounds(monkeypatch):
    rounds = []
    plain = compare_module.Session.round

    def round_then_interrupt(self, order, number):
        if number == 3:
            raise KeyboardInterrupt
        rounds.append(number)
        plain(self, order, number)

    monkeypatch.setattr(compare_module.Session, "round", round_then_interrupt)
    with pytest.raises(KeyboardInterrupt) as stop:
        gilcmp.compare("count", budget=30, size="small", workers=[2])
    found = stop.value.comparison
    assert rounds == [1, 2]
    assert not found.complete
    assert all([seen.round for seen in cell.rounds] == [1, 2] for cell in found)
    assert "Incomplete" in str(found)
    assert multiprocessing.active_children() == []


def test_an_interrupted_round_counts_for_no_cell():
    def work(x):
        if len(calls) >= 40:
            raise KeyboardInterrupt
        calls.append(x)

    calls = []
    with pytest.raises(KeyboardInterrupt) as stop:
        gilcmp.compare(work, tasks=[1], strategies={"mine": ThreadPoolExecutor}, workers=1, budget=30)
    counts = {len(cell.rounds) for cell in stop.value.comparison}
    assert len(counts) <= 1


def test_a_wrong_answer_is_an_error_not_a_number(monkeypatch):
    monkeypatch.setattr("gilcmp.compute.in_numpy.count", lambda n: n + 1)
    with pytest.raises(gilcmp.WrongAnswer, match="count, numpy: the answer is 10001, it should be 10000"):
        gilcmp.compare("count", implementations="numpy", **QUICK)


def test_a_wrong_answer_under_one_strategy_is_an_error_too():
    class Sloppy(ThreadPoolExecutor):
        def submit(self, fn, /, *args):
            def wrong():
                sample = fn(*args)
                return sample._replace(part=None if sample.part is None else [0] * len(sample.part))

            return super().submit(wrong)

    with pytest.raises(gilcmp.WrongAnswer) as error:
        gilcmp.compare("count", implementations="cython_gil", strategies={"sloppy": Sloppy}, **QUICK)
    assert "sloppy x 1" in error.value.__notes__[0]


def test_check_judges_the_answers_of_functions():
    right = gilcmp.compare(tasks.double, tasks=[1, 2], strategies=[], budget=0.2, check=lambda a: a == [2, 4])
    assert right["serial"].rounds
    with pytest.raises(gilcmp.WrongAnswer, match="double"):
        gilcmp.compare(tasks.double, tasks=[1, 2], strategies=[], budget=0.2, check=lambda a: a == [2, 5])


def test_custom_strategies_join():
    found = gilcmp.compare("count", strategies={"mine": ThreadPoolExecutor}, implementations="python", **QUICK)
    assert {cell.strategy for cell in found} == {"serial", "mine"}
    assert found["mine", 2].record.shares_gil == found.environment.gil_enabled


def test_progress_is_told_before_each_cell():
    told = []
    gilcmp.compare("count", strategies="threads", progress=told.append, **QUICK)
    assert told[-1].what == "done"
    assert told[-1].done == 1.0
    assert any(now.what == "count, cython_nogil, threads x 2" for now in told)
    assert all(0 <= now.done <= 1 and now.left >= 0 for now in told)


def test_seed_makes_the_inputs():
    for seed in (0, 5):
        found = gilcmp.compare("pi", seed=seed, strategies=[], implementations="python", **QUICK)
        assert found.run.settings.seed == seed


def test_several_kernels_in_one_run():
    found = gilcmp.compare(["count", "pi"], strategies=[], implementations="cython_nogil", **QUICK)
    assert [cell.kernel for cell in found] == ["count", "pi"]
    assert found["pi"].size == 10_000


def test_a_round_is_measured_however_small_the_budget():
    found = gilcmp.compare("count", strategies="threads", workers=1, size="small", budget=0.001)
    assert all(len(cell.rounds) == 1 for cell in found)
    assert all(cell.verdict in ("too noisy", "starved") for cell in found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"work": "nope"}, "kernel must be one of count, range_sum"),
        ({"work": []}, "work must name at least one kernel"),
        ({"work": {}}, "work must hold at least one function"),
        ({"work": 7}, "work must be a kernel's name or callable, got 7"),
        ({"work": ["pi", "pi"]}, "kernels must not repeat, got 'pi' twice"),
        ({"work": {"a": 1}}, r"work\['a'\] must be callable, got int"),
        ({"workers": 0}, "workers must be from 1 to 4096, got 0"),
        ({"workers": []}, "workers must hold at least one number"),
        ({"workers": "two"}, "workers must be an integer, got str"),
        ({"workers": [1.5]}, "workers must be an integer, got float"),
        ({"budget": 0}, "budget must be from 1e-06"),
        ({"budget": float("nan")}, "budget must be from 1e-06"),
        ({"budget": "10 s"}, "budget must be seconds, or a time such as '20s', '500ms' or '2m', got '10 s'"),
        ({"budget": True}, "budget must be a number of seconds"),
        ({"seed": -1}, "seed must be from 0"),
        ({"size": "huge"}, "size must be small, medium, large or a number, got 'huge'"),
        ({"size": 0}, "size must be from 1"),
        ({"implementations": "rust"}, "implementation must be one of python, numpy"),
        ({"implementations": ["numpy", "numpy"]}, "implementations must not repeat"),
        ({"strategies": "nope"}, "strategy must be one of"),
        ({"tasks": 0}, "tasks must be from 1"),
        ({"tasks": [1, 2]}, "for a kernel, tasks must be how many, got list"),
        ({"check": bool}, "check is for functions"),
        ({"work": tasks.double, "tasks": []}, "tasks must hold at least one task, got none"),
        ({"work": tasks.double, "star": True}, "star=True needs tasks"),
        ({"work": tasks.double, "tasks": [1], "star": True}, r"tasks\[0\] must be a tuple of arguments, got int"),
        ({"star": True}, "star and max_calls are for functions"),
        ({"max_calls": 5}, "star and max_calls are for functions"),
        ({"work": tasks.double, "tasks": [1], "max_calls": 5}, "max_calls must allow a pass in each cell, at least"),
        ({"work": tasks.double, "tasks": [1], "max_calls": 0}, "max_calls must be from 1"),
        ({"blas_threads": 0}, "blas_threads must be from 1"),
        ({"work": tasks.double, "size": 5}, "size is for kernels, not for functions, got 5"),
        ({"work": tasks.double, "implementations": "numpy"}, "implementations is for kernels"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        gilcmp.compare(**({"work": "pi", "budget": 0.2} | arguments))
    assert multiprocessing.active_children() == []


# ---- jobs: calibration and batches, with an injected clock ----


@pytest.fixture
def clock(monkeypatch):
    """A clock that only moves when a task says how long it took."""
    state = SimpleNamespace(now=0.0)
    monkeypatch.setattr(jobs_module, "time", SimpleNamespace(perf_counter=lambda: state.now))
    return state


def fake_kernel(clock, seconds_per_unit, power=1, largest=2**32):
    def call(function, inputs, size, start, stop):
        clock.now += seconds_per_unit * (stop - start) * size ** (power - 1)
        return stop - start

    return gilcmp.Kernel("count", "", "", "", {"small": 4}, "", "", call, largest=largest)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("seconds", [1e-9, 3e-7, 1e-5, 2e-4])
def test_calibrated_sizes_take_what_they_should(clock, seconds, power):
    size = jobs_module._calibrated_size(fake_kernel(clock, seconds, power), "python", 0)
    assert jobs_module.SHORTEST <= seconds * size**power <= jobs_module.LONGEST or size == 16


def test_calibration_stops_at_the_largest(clock):
    assert jobs_module._calibrated_size(fake_kernel(clock, 1e-12, largest=1000), "python", 0) == 1000


def make_job(**changes):
    values = {
        "kernel": "k", "implementation": "i", "function": tasks.double, "tasks": [0, 1, 2], "version": 1,
        "size": 3, "unit": "u", "work": 3, "verify": lambda parts: None, "batched": True,
    }  # fmt: skip
    return Job(**(values | changes))


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("repeats", [1, 2, 5])
@pytest.mark.parametrize("batches", [None, 1, 2, 3, 7])
def test_repeats_do_every_task_so_often_and_are_checked_in_order(batched, repeats, batches):
    checked = []
    job = make_job(batched=batched, repeats=repeats, verify=checked.append)
    function, listed = job.round_work(batches=batches)
    if batched:
        assert len(listed) == min(batches or 3, 3)
    job.check([function(task) for task in listed], batches=batches)
    assert checked == [[0, 2, 4]] * repeats
    pickle.dumps((function, listed))


@pytest.mark.parametrize(("seconds", "repeats"), [(0.5, 1), (0.02, 1), (0.005, 2), (0.0001, 60)])
def test_short_passes_are_repeated(clock, seconds, repeats):
    def work(task):
        clock.now += seconds / 3

    job = make_job(function=work)
    job.calibrate()
    assert job.repeats == pytest.approx(repeats, abs=1)


def test_twins_get_the_same_work():
    held, free = make_jobs(KernelWork(kernels["count"], ("cython_gil", "cython_nogil"), None), 0, 16)
    assert (held.size, held.repeats, held.tasks) == (free.size, free.repeats, free.tasks)


def test_implementations_come_in_the_registrys_order():
    assert implementation_names(kernels["pi"], ["cython_nogil", "python"]) == ("python", "cython_nogil")


def test_an_unavailable_implementation_says_why(monkeypatch):
    monkeypatch.setattr(request_module, "unavailable", lambda name: "no NumPy" if name == "numpy" else None)
    assert implementation_names(kernels["pi"], None) == ("python", "cython_gil", "cython_nogil")
    with pytest.raises(ValueError, match="'numpy' is not available: no NumPy"):
        implementation_names(kernels["pi"], ["numpy"])


def test_numpys_blas_keeps_to_one_thread_meanwhile():
    from threadpoolctl import threadpool_info

    np.dot(np.ones(3), np.ones(3))
    before = [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]
    with compare_module.few_blas_threads(1):
        during = [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]
    assert during == [1] * len(before)
    assert [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"] == before


def blas_threads_of_a_worker(_):
    import threadpoolctl

    np.dot(np.ones(3), np.ones(3))
    threads = {library["num_threads"] for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"}
    return threads, os.environ.get("OPENBLAS_NUM_THREADS")


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # beside the threads of other tests
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_the_blas_of_worker_processes_is_kept_to_a_limit_and_the_environment_here_left_alone(method):
    """A thread that starts a program reads the environment: one that changed meanwhile was an EFAULT of its exec."""
    before = dict(os.environ)
    with compare_module.few_blas_threads(1):
        assert dict(os.environ) == before
        with process_opener(method)(1) as pool:
            threads, told = pool.submit(blas_threads_of_a_worker, None).result(60)
    assert threads <= {1}
    assert told == "1"
    assert dict(os.environ) == before


# ---- scripts of users ----


def script(tmp_path, text, *options):
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(text))
    return subprocess.run(
        [sys.executable, *options, str(path)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd=tmp_path,
    )


def test_a_guarded_script_works_with_spawn(tmp_path):
    done = script(
        tmp_path,
        """
        import gilcmp
        def work(x):
            return sum(range(x))
        if __name__ == "__main__":
            c = gilcmp.compare(work, tasks=[1000] * 4, strategies="processes-spawn", workers=2, budget=1)
            print(c["processes-spawn", 2].error, len(c["processes-spawn", 2].rounds) > 0)
        """,
        "-W",
        "error",
    )
    assert done.stdout.split() == ["None", "True"], done.stderr


def test_an_unguarded_script_is_told_what_it_lacks(tmp_path):
    done = script(
        tmp_path,
        """
        import gilcmp
        c = gilcmp.compare("count", size="small", strategies="processes-spawn", workers=2, budget=1,
                           implementations="cython_gil")
        print(c["processes-spawn"].error)
        """,
    )
    assert 'if __name__ == "__main__":' in done.stdout, done.stderr
    assert done.stdout.count("\n") == 1, "the workers must not measure anything themselves"


def test_without_a_recorder_the_cells_are_measured_and_their_lock_is_unknown(monkeypatch):
    """No thread to be had for it, or an interpreter whose lock cannot be watched."""

    def refuse(*_):
        raise MemoryError("no memory, or no thread, for the recorder")

    monkeypatch.setattr("gilcmp.watch._gil.Recorder", refuse)
    found = gilcmp.compare("count", implementations=["cython_gil"], strategies="threads", **QUICK)
    assert found["threads", 2].rounds
    assert found["threads", 2].record.gil_held is None


@pytest.mark.skipif(gil_enabled(), reason="needs an interpreter without a GIL")
def test_without_a_gil_waits_for_locks_are_looked_at():
    shared = []

    def work(n):
        for _ in range(n):
            shared.append(1)
            del shared[:]

    found = gilcmp.compare(work, tasks=[20_000] * 8, strategies="threads", workers=2, budget=1)
    record = found["threads", 2].record
    assert record.gil_held is None
    if record.lock_waits is not None:  # on a busy machine too little may be seen
        assert 0 <= record.lock_waits <= 1
        assert record.stopped <= 1
    assert found["serial", 1].record.lock_waits is None


async def _waits(task):
    return task


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda task: (x for x in range(task)), "returns a generator, whose work is done only when it is gone through"),
        (lambda task: map(str, range(task)), "returns a map, whose work is done"),
        (lambda task: _waits(task + 1), "returns a coroutine and does not run it"),
    ],
)
def test_a_function_whose_work_is_still_to_be_done_is_refused(function, message):
    with pytest.raises(TypeError, match=message) as error:
        gilcmp.compare(function, tasks=[1, 2], strategies="threads", workers=2, budget=0.1)
    assert "raised in the cell" in error.value.__notes__[0]


def test_a_kernel_that_waits_is_compared_where_a_loop_runs_already():
    """A notebook's cells run in an event loop: `asyncio.run` is refused there."""

    async def cell():
        return gilcmp.compare("fetch", strategies="asyncio", workers=2, size="small", budget=0.2)

    found = asyncio.run(cell())
    assert found["coroutine", "asyncio"].error is None
    assert found["coroutine", "serial"].rounds
