"""On what threads wait: the native watcher, what it means, the sweep, and how it is shown."""

from __future__ import annotations

import json
import logging
import math
import os
import queue
import random
import runpy
import subprocess
import sys
import sysconfig
import textwrap
import threading
import time
from collections import Counter, defaultdict, deque
from functools import partial
from pathlib import Path

import pytest
from attrs import evolve

import gilcmp
from gilcmp.cli import main as cli
from gilcmp.contending import copies, isolation, running
from gilcmp.contending.advice import advice_for
from gilcmp.contending.isolation import _concluded as conclude
from gilcmp.contending.names import find_names, roots_of
from gilcmp.contending.result import DOING, ContendedLock, Contention, Isolation, Pauses, SharedThing
from gilcmp.judge.estimate import Estimate
from gilcmp.measure.clocks import Reading
from gilcmp.measure.crew import Crew, repeat_together
from gilcmp.measure.machine import gil_enabled
from gilcmp.show.text import plain
from gilcmp.watch import _gil
from gilcmp.watch.waits import GIL, INTERPRETER, LIBRARY, OBJECT, Line, read

FREE = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
needs_locks = pytest.mark.skipif(sys.version_info < (3, 13), reason="there is no parking lot before 3.13")
needs_free = pytest.mark.skipif(gil_enabled(), reason="needs an interpreter without a GIL")
needs_gil = pytest.mark.skipif(FREE, reason="the GIL of a build that always has one")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def watched(work, wanted):
    """Watch work() until what was found is as wanted: on a busy machine the watcher may get no CPU."""
    deadline = _gil.now() + 60 * 10**9
    while True:
        with gilcmp.contention() as found:
            work()
        if wanted(found.result):
            return found.result
        assert _gil.now() < deadline, f"never seen:\n{found}"


def while_held(hold, want):
    """Let a thread hold something for a while, natively, and another one want it meanwhile."""

    def work():
        held = threading.Event()

        def waits():
            held.wait()
            want()

        other = threading.Thread(target=waits)
        other.start()
        hold(held)
        other.join()

    return work


# ---- the watcher ---------------------------------------------------------------------------------------------------


@needs_locks
def test_the_table_of_sleeping_threads_is_found():
    assert _gil.why_no_locks() is None


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="before 3.13")
def test_before_3_13_there_is_no_table():
    assert "before CPython 3.13" in _gil.why_no_locks()
    with gilcmp.contention() as found:
        pass
    assert any("locks of objects are not seen here" in note for note in found.notes)


@needs_free
def test_a_shared_list_is_named_with_its_line_and_who_had_it():
    shared = [3, 1, 2]

    def hold(held):
        def key(item):  # the list is locked while it is sorted
            held.set()
            _gil.hold_gil(0.1)
            return item

        shared.sort(key=key)

    def want():
        shared.append(4)

    def is_seen(found):
        return any(lock.type == "list" and lock.parked > 0 and lock.owner for lock in found.locks)

    found = watched(while_held(hold, want), is_seen)
    lock = next(lock for lock in found.locks if lock.type == "list")
    assert lock.name.rpartition(".")[2] == "shared"
    assert lock.file == __file__
    assert lock.source == "shared.append(4)"
    assert lock.function.endswith("want")
    assert lock.owner.startswith("test_contention.py:")
    assert lock.longest > 0.001
    assert lock.threads == 1
    assert "list of its own" in lock.advice
    assert f"shared, at test_contention.py:{lock.line}" in " ".join(plain(found.sections()).split())


@pytest.mark.skipif(sys.version_info < (3, 14), reason="before 3.14 its sleepers are not in the table")
@pytest.mark.parametrize("make", [threading.Lock, threading.RLock], ids=["Lock", "RLock"])
def test_a_lock_is_named_with_its_line(make):
    lock = make()

    def hold(held):
        with lock:
            held.set()
            _gil.release_gil(0.1)

    def want():
        with lock:
            pass

    kind = f"_thread.{type(lock).__name__}"
    found = watched(while_held(hold, want), lambda found: any(seen.type == kind for seen in found.locks))
    seen = next(seen for seen in found.locks if seen.type == kind)
    assert (seen.name.rpartition(".")[2], seen.source) == ("lock", "with lock:")
    if make is threading.RLock:
        assert seen.owner.startswith("test_contention.py:")  # it says who has it


@needs_locks
def test_who_waits_to_be_told_something_does_not_wait_for_a_lock():
    def work():
        event, box = threading.Event(), queue.SimpleQueue()
        threads = [threading.Thread(target=event.wait), threading.Thread(target=box.get)]
        for thread in threads:
            thread.start()
        _gil.release_gil(0.1)
        event.set()
        box.put(None)
        for thread in threads:
            thread.join()

    found = watched(work, lambda found: found.shares["waiting"] > 0.3)
    # the other thread may find the event's own lock taken, for an instant
    assert all(lock.share < 0.2 for lock in found.locks if lock.type != "the GIL")


@needs_gil
def test_with_a_gil_the_lock_is_the_gil():
    def hold(held):
        held.set()
        _gil.hold_gil(0.1)

    def want():
        for _ in range(1000):
            pass

    found = watched(while_held(hold, want), lambda found: any(lock.type == "the GIL" for lock in found.locks))
    lock = next(lock for lock in found.locks if lock.type == "the GIL")
    assert lock.parked > 0
    assert "free-threaded" in lock.advice
    assert "Contended, at least" in plain(found.sections())


@needs_free
def test_a_pause_of_the_world_is_seen_with_who_asked():
    import gc

    kept = [[i] for i in range(200_000)]
    done = threading.Event()

    def spin():
        while not done.is_set():
            pass

    def work():
        done.clear()
        other = threading.Thread(target=spin)
        other.start()
        for _ in range(5):
            gc.collect()
        done.set()
        other.join()

    found = watched(work, lambda found: found.pauses.collecting > 0 and found.pauses.asked and found.pauses.count > 2)
    assert 0 < found.pauses.longest < 10
    assert found.pauses.asked.startswith("test_contention.py:")
    assert found.shares["stopped"] > 0
    assert len(kept) == 200_000


def test_the_shares_of_the_threads_time_add_up():
    with gilcmp.contention() as found:
        _gil.release_gil(0.02)
    assert set(found.shares) == set(DOING)
    if found.result.seconds:  # the watcher had a CPU
        assert sum(found.shares.values()) == pytest.approx(1)


@needs_fork
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of 3.12 and later: a fork beside other tests' threads
def test_a_child_of_fork_has_no_figures_and_the_parent_goes_on():
    with gilcmp.contention() as found:
        child = os.fork()
        if child == 0:
            found.__exit__()
            try:
                found.result  # noqa: B018
            except RuntimeError:
                os._exit(0)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
    assert found.result.threads >= 0


def test_a_block_is_watched_once_and_has_its_figures_afterwards():
    watching = gilcmp.contention()
    with pytest.raises(RuntimeError, match="when its with block is over"):
        watching.shares  # noqa: B018
    with watching, pytest.raises(RuntimeError, match="watched once"):
        watching.__enter__()
    with pytest.raises(RuntimeError, match="watched once"):
        watching.__enter__()
    with pytest.raises(AttributeError):
        watching.no_such_thing  # noqa: B018


def test_many_threads_that_come_and_go_leave_nothing_open():
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0  # noqa: PTH110, PTH208
    with gilcmp.contention() as found:
        for _ in range(40):
            threads = [threading.Thread(target=_gil.release_gil, args=(1e-4,)) for _ in range(30)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert found.result.threads >= 0
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before + 2  # noqa: PTH208


def test_the_watcher_checks_its_arguments():
    with pytest.raises(ValueError, match="pace must be at least 1e-6"):
        _gil.Contention(0.0, b"")
    with pytest.raises(ValueError, match="pace must be from 0 to 1e6"):
        _gil.Contention(-1.0, b"")
    watcher = _gil.Contention(1e-3, LIBRARY.encode())
    watcher.stop()
    with pytest.raises(RuntimeError, match="stopped already"):
        watcher.stop()


# ---- what it means -------------------------------------------------------------------------------------------------


def place(**changes):
    """A place as the watcher returns it: 0.3 s parked for a list's lock at the first line of this function."""
    values = {
        "doing": 2, "lock": 1034, "object": 1024, "kind": OBJECT, "name": "list", "inner": (0, 0), "outer": (0, 0),
        "owner": None, "spent": 300_000_000, "looks": 300, "longest": 5_000_000, "free_looks": 0, "untimed": 0,
        "threads": 3,
    }  # fmt: skip
    return values | changes


def data(*places, spent=(1.0, 0.2, 0.5, 0.1, 0.2, 0.0, 0.0), cpu=1.0, delay=0.0, system=0.0):
    """What the watcher returns of one thread, from seconds."""
    code = place.__code__
    thread = {
        "id": 1, "ident": 2, "native_id": 3, "spent": [int(s * 1e9) for s in spent],
        "cpu": int(cpu * 1e9), "run_delay": int(delay * 1e9), "system": int(system * 1e9),
    }  # fmt: skip
    return {
        "began": 0, "ended": 2_000_000_000, "watched": 2_000_000_000, "unseen": 0, "looks": 2000,
        "stopped": 100_000_000,
        "pauses": 4, "longest_pause": 30_000_000, "collecting": 90_000_000, "no_frame": 0, "no_lock": 0, "lost": 0,
        "cpu": 40_000_000, "tells_states": True, "tells_locks": True, "tells_world": True, "threads": [thread],
        "places": list(places),
        "functions": [
            (code.co_filename, code.co_qualname, code.co_firstlineno, code.co_linetable, False),
            (f"{LIBRARY}/threading.py", "Condition.wait", 300, code.co_linetable, True),
        ],
    }  # fmt: skip


def test_waits_become_lines_and_shares():
    seen = read(data(place(), place(doing=1, spent=200_000_000, free_looks=70, looks=100)))
    parked, spun = seen.waits
    assert (parked.type, parked.object, parked.parked, parked.spinning) == ("list", 1024, 0.3, 0.0)
    assert str(parked.line).startswith("test_contention.py:")
    assert (spun.spinning, spun.spins, spun.free) == (0.2, 100, 70)
    assert seen.times.parked == pytest.approx(0.5)
    assert seen.times.total == pytest.approx(2.0)
    assert seen.cost == pytest.approx(0.02)


def test_time_without_a_cpu_is_taken_off_what_could_run():
    times = read(data(spent=(1.0, 0.5, 0.0, 0.0, 0.0, 0.5, 0.0), delay=0.5)).times
    assert times.no_core == pytest.approx(0.5)
    assert (times.work, times.spinning, times.outside) == pytest.approx((0.75, 0.375, 0.375))
    assert times.total == pytest.approx(2.0)


def test_system_time_that_no_wait_explains_is_said():
    times = read(data(spent=(2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0), system=0.8)).times
    assert (times.hidden, times.work) == pytest.approx((0.8, 1.2))


def test_events_are_told_from_locks_by_their_place_and_by_what_they_wait_for():
    idle = read(data(place(inner=(1, 0), outer=(0, 0)), place(untimed=300)))
    assert idle.waits == ()
    assert idle.times.waiting == pytest.approx(0.2 + 0.5)
    assert read(data(place(inner=(1, 0), kind=GIL))).waits  # the GIL is always a lock


def test_only_the_threads_that_count_are_added_up():
    assert read(data(), threads=[3]).times.total == pytest.approx(2.0)
    assert read(data(), threads=[4]).times.total == 0


@pytest.mark.parametrize(
    ("kind", "name", "file", "words"),
    [
        (GIL, "", None, "free-threaded build"),
        (OBJECT, "dict", None, "dict of its own"),
        (OBJECT, "_thread.lock", f"{LIBRARY}/queue.py", "a queue of its own"),
        (OBJECT, "_thread.lock", "/app/queue_of_mine.py", "hold it for less"),
        (OBJECT, "_hashlib.HASH", None, "hash object"),
        (OBJECT, "Registry", None, "one of its own"),
        (INTERPRETER, "the right to stop the world", None, "gc.freeze"),
        (INTERPRETER, "the runtime's state", None, ""),
    ],
)
def test_advice(kind, name, file, words):
    line = Line(file, 3, "f") if file else None
    assert words in advice_for(kind, name, line)
    assert bool(advice_for(kind, name, line)) == bool(words)


class Registry:
    """Something to be found in."""

    __slots__ = ("items", "lock")


def test_objects_are_called_as_the_program_reaches_them():
    registry = Registry()
    registry.items = {"a": [deque()]}
    inner = registry.items["a"][0]
    names = find_names([id(inner), id(registry.items), 12345], {"REGISTRY": registry})
    assert {name for name, _ in names.values()} == {"REGISTRY.items", "REGISTRY.items['a'][0]"}
    assert names[id(inner)][1] is inner


def test_what_a_function_reaches():
    cell = [1]

    def work(items, other=(1, 2)):
        return cell, items, other

    roots = roots_of(work, ([2],), {"more": 3})
    assert roots["items"] == [2]
    assert roots["more"] == 3
    assert roots["cell"] is cell
    assert roots["default 1"] == (1, 2)
    assert roots["Registry"] is Registry
    assert roots_of([].append, (1,), {})["self"] == []


# ---- copies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [1.5, -0.0, 10**20, "text", b"bytes", bytearray(b"x"), 2 + 3j, [1, [2]], (1.5, "ab"), {"a": [1]}, {1.5},
     deque([1.5], 3),      frozenset([2.5]), defaultdict(list, a=[1]), Counter("abca")],
    ids=repr,
)  # fmt: skip
def test_copies_are_equal_and_nothing_in_them_is_the_same(value):
    made = copies.Copier().copy(value)
    assert made is not value
    assert made == value
    assert type(made) is type(value)
    assert math.copysign(1, made) == math.copysign(1, value) if isinstance(value, float) else True


def test_copies_of_what_deepcopy_hands_back_or_refuses():
    copier = copies.Copier()
    made = queue.Queue()
    made.put(1.5)
    own = copier.copy(made)
    assert own.mutex is not made.mutex
    assert own.not_empty._lock is own.mutex  # what two share, their copies share
    assert own.get() == 1.5
    own.put(2)
    assert made.qsize() == 1
    looped = []
    looped.append(looped)
    again = copier.copy(looped)
    assert again[0] is again
    source = random.Random(3)
    assert copier.copy(source).random() == random.Random(3).random()
    log = logging.getLogger("gilcmp.test.copies")
    assert copier.copy(log) is not log
    assert copier.copy(log).name == log.name
    assert copier.copy(len) is len
    with pytest.raises(copies.CannotCopy, match="TextIOWrapper"), open(os.devnull) as file:  # noqa: PTH123
        copies.Copier().copy(file)
    with pytest.raises(copies.CannotCopy, match="more than"):
        copies.Copier().copy([float(i) for i in range(copies.MOST + 2)])


def test_what_would_let_go_of_the_originals_is_not_copied():
    class Holds:
        def __del__(self):
            pass

    class Raises:
        def __deepcopy__(self, _):
            raise ZeroDivisionError

    with pytest.raises(copies.CannotCopy, match="__del__"):
        copies.Copier().copy([Holds()])
    with pytest.raises(copies.CannotCopy, match="Raises"):
        copies.Copier().copy(Raises())
    deep = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(copies.CannotCopy, match="RecursionError"):
        copies.Copier().copy(deep)


TOTALS = {"a": 0.5}
LIMIT = 3


def helper():
    return TOTALS


def uses(items, weights=(1.5, 2.5)):
    items.append(LIMIT)
    return helper(), items, weights


def test_a_private_call_shares_only_what_it_is_told_to():
    items = [1]
    things = copies.things_of(uses, (items,), {})
    assert set(things) == {("argument", "items"), ("default", "weights"), ("global", "TOTALS")}
    function, args, kwargs = copies.private_call(uses, (items,), {}, ())
    totals, own, weights = function(*args, **kwargs)
    assert totals == TOTALS
    assert totals is not TOTALS  # in the function that it calls as well
    assert own == [1, 3]
    assert items == [1]
    assert weights == (1.5, 2.5)
    assert weights is not uses.__defaults__[0]
    function, args, kwargs = copies.private_call(uses, (items,), {}, [("global", "TOTALS")])
    assert function(*args, **kwargs)[0] is TOTALS


def test_a_private_call_of_a_method_a_closure_and_a_builtin():
    class Kept:
        def __init__(self):
            self.items = []

        def add(self):
            self.items.append(1)
            return self.items

    kept = Kept()
    function, args, kwargs = copies.private_call(kept.add, (), {}, ())
    assert function(*args, **kwargs) == [1]
    assert kept.items == []
    results = []

    def closure():
        results.append(1)
        return results

    function, *_ = copies.private_call(closure, (), {}, ())
    assert function() == [1]
    assert results == []
    items = [2]
    function, args, _ = copies.private_call(items.append, (1,), {}, ())
    function(*args)
    assert items == [2]


# ---- the sweep -----------------------------------------------------------------------------------------------------


def test_what_is_slower_when_it_alone_is_shared_is_in_the_way():
    things = {("argument", "items"): [], ("global", "TABLE"): {}}
    costs = {
        "shared": [3.0] * 7, "private": [1.0] * 7, "fresh": [1.0] * 7,
        ("argument", "items"): [2.9, 2.8, 3.0, 2.9, 2.7, 3.1, 1.0],
        ("global", "TABLE"): [1.0, 1.1, 1.0, 1.0, 1.4, 1.0, 1.0],
    }  # fmt: skip
    found = conclude(things, costs, ["a note"])
    assert [thing.name for thing in found.culprits] == ["items"]
    assert found.shared.value == 3.0
    assert found.fresh.value == 3.0
    assert found.notes == ("a note",)


def test_a_slow_median_of_few_rounds_is_no_culprit():
    costs = {"shared": [1.0] * 6, "private": [1.0] * 6, ("argument", "x"): [1.3, 1.3, 1.3, 1.3, 1.0, 1.0]}
    assert conclude({("argument", "x"): []}, costs, []).culprits == ()


def test_the_sweep_runs_each_way_and_says_what_it_could_not_copy(monkeypatch):
    monkeypatch.setattr(isolation, "SLICE", 1e-4)
    with open(os.devnull) as file:  # noqa: PTH123
        found = isolation.isolate(lambda items, file: items.append(1), ([], file), {}, 2, rounds=6)
    assert [thing.name for thing in found.things] == ["items"]
    assert any("argument file cannot be copied" in note for note in found.notes)
    assert found.shared.n == 6


def test_copies_that_change_the_answer_are_told(monkeypatch):
    monkeypatch.setattr(isolation, "SLICE", 1e-4)
    marker = object()
    found = isolation.isolate(lambda items: items[0] is marker and id(items), ([marker],), {}, 2, rounds=1)
    assert any("no remedy" in note for note in found.notes)


def test_a_statement_is_made_anew_with_its_setup_and_a_function_by_importing_its_module(tmp_path, monkeypatch):
    from gilcmp.base.calls import Statement

    fresh = isolation._fresh_import(Statement("x.append(1)", ("x = []",)))
    assert fresh().__globals__["x"] is not fresh().__globals__["x"]
    (tmp_path / "fresh_module_of_a_test.py").write_text("STATE = []\ndef work():\n    return STATE\n")
    monkeypatch.syspath_prepend(tmp_path)
    import fresh_module_of_a_test as module

    function = isolation._fresh_import(module.work)()
    assert function() == []
    assert function() is not module.STATE
    assert isolation._fresh_import(lambda: None) is None
    assert isolation._fresh_import(len) is None


# ---- the crew ------------------------------------------------------------------------------------------------------


def test_a_crew_runs_jobs_at_once_and_passes_on_what_they_raise():
    with Crew(3, pinned=False) as crew:
        meeting = threading.Barrier(3)
        assert sorted(crew.run([meeting.wait] * 3)) == [0, 1, 2]
        assert len(set(crew.run([threading.get_ident] * 3))) == 3
        with pytest.raises(ZeroDivisionError):
            crew.run([lambda: 1 / 0, int])
        assert crew.run([int]) == [0]


def burn():
    """Use 30 ms of a CPU."""
    until = time.thread_time() + 0.03
    while time.thread_time() < until:
        pass


def test_a_call_that_has_its_work_done_by_a_thread_of_its_own_takes_as_long_as_that(monkeypatch):
    """The caller may be ready to run all the time and have no CPU, since its own thread has it."""

    def clocks():  # as if it never had one
        return Reading(time.thread_time_ns(), time.perf_counter_ns())

    def in_a_thread():
        thread = threading.Thread(target=burn)
        thread.start()
        thread.join()

    monkeypatch.setattr("gilcmp.measure.crew.own_clocks", clocks)
    with Crew(1, pinned=False) as crew:
        assert repeat_together(crew, [in_a_thread], 1, lambda call: call()) >= 0.03
        assert repeat_together(crew, [burn], 1, lambda call: call()) < 0.03, "what it lost itself is left out"


# ---- running it ----------------------------------------------------------------------------------------------------


def quick(*args, **settings):
    return gilcmp.contention(*args, **{"budget": 0.3, "isolate": False, **settings})


def test_a_function_is_run_in_one_and_in_several_threads():
    items = []
    steps = []
    found = quick(lambda: items.append(1), threads=3, progress=lambda step, done: steps.append(done))
    assert found.threads == 3
    assert found.speedup.n >= 1
    assert steps[0] == 0
    assert items
    assert found.gil == gil_enabled()
    assert str(found)


def test_a_builtin_has_no_line_of_ours():
    items = []
    found = quick(items.append, 1, threads=2)
    assert not any("running.py" in lock.place or "crew.py" in lock.place for lock in found.locks)


def test_the_sweep_is_made_where_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(isolation, "SLICE", 1e-4)
    found = quick(lambda items: items.append(1), [], isolate=True)
    assert [thing.name for thing in found.isolation.things] == ["items"]
    assert "everything" in str(found)


def test_what_a_copy_raises_ends_neither_the_sweep_nor_what_was_measured(monkeypatch):
    monkeypatch.setattr(isolation, "SLICE", 1e-4)
    kept = [0]
    wanted = id(kept)

    def work(items):
        if id(items) != wanted:
            raise LookupError("a copy")

    found = isolation.isolate(work, (kept,), {}, 2, rounds=1)
    assert any("copies of everything was left out: LookupError" in note for note in found.notes)
    assert found.culprits == ()
    monkeypatch.setattr(running, "sweep", lambda *_, **__: 1 / 0)
    found = quick(lambda items: items.append(1), [], isolate=True)
    assert any("no copies were tried: ZeroDivisionError" in note for note in found.notes)
    assert found.speedup.n >= 1


def test_a_partial_function_is_looked_into():
    found = quick(partial(lambda items, value: items.append(value), [], value=1), threads=2)
    assert found.speedup.n >= 1


def test_the_sweep_is_for_losses_that_no_lock_explains(result):
    assert not running._asks_for_sweep(result)
    lost = evolve(result, gil=False, locks=(), speedup=Estimate(0.8, 0.7, 0.9, 9))
    assert running._asks_for_sweep(lost)
    assert not running._asks_for_sweep(evolve(lost, gil=True))


@pytest.mark.parametrize(
    ("arguments", "settings", "kind", "message"),
    [
        ((3,), {}, TypeError, "func must be callable, got int"),
        ((len,), {"threads": 1}, ValueError, "threads must be from 2"),
        ((len,), {"budget": 0}, ValueError, "budget"),
        ((len,), {"pace": "x"}, TypeError, "pace must be seconds, got str"),
        ((len,), {"pace": 1e-9}, ValueError, "pace must be from 1e-4"),
        ((len,), {"isolate": 1}, TypeError, "isolate must be True, False or None, got int"),
        ((), {"threads": 2}, TypeError, "func must be given"),
    ],
)
def test_wrong_arguments_are_named(arguments, settings, kind, message):
    with pytest.raises(kind, match=message):
        gilcmp.contention(*arguments, **settings)


def test_what_the_function_raises_is_raised_and_nothing_is_left_running():
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        quick(lambda: 1 / 0)
    deadline = _gil.now() + 10 * 10**9
    while threading.active_count() > before:
        assert _gil.now() < deadline
        _gil.release_gil(1e-3)


# ---- how it is shown -----------------------------------------------------------------------------------------------


LOCK = ContendedLock(
    "list", "REGISTRY.items", 1, 0x7F00, "/app/worker.py", 15, "work", "REGISTRY.items.append(x)", "", "worker.py:15",
    0.3, 0.2, 0.004, 0.7, 2, "give each thread a list of its own",
)  # fmt: skip


@pytest.fixture
def result():
    shares = dict.fromkeys(DOING, 0.0) | {"work": 0.4, "spinning": 0.3, "parked": 0.2, "no_core": 0.1}
    return Contention(
        "worker.work", "CPython 3.14.7, free-threaded", False, 2, 3.0, Estimate(0.8, 0.75, 0.85, 12), shares, (LOCK,),
        Pauses(0, 0.0, 0.0, 0.0, ""), None, 0.03, 0.0, (),
    )  # fmt: skip


def test_the_sentence_names_the_object_the_line_and_the_remedy(result):
    text = " ".join(plain(result.overview()).split())
    assert "2 threads do 0.80 [0.75, 0.85] times the work of one: 60 % of their time is lost." in text
    assert (
        "Contended, at least 83 % of the lost time: the lock of list REGISTRY.items that 2 threads want, at "
        "worker.py:15 in work: REGISTRY.items.append(x). Instead: give each thread a list of its own." in text
    )
    assert all(len(line) <= 80 for line in plain(result.overview()).splitlines())
    assert "need not be so much faster" in text
    assert result.charts()[0].rows == ("2 threads",)


def test_pauses_copies_and_nothing_are_said(result):
    paused = evolve(result, locks=(), pauses=Pauses(40, 0.3, 0.02, 0.29, "app.py:3"))
    assert "stopped for 30 % of the time, nearly all for the garbage collector: 40 pauses" in " ".join(
        str(paused).split()
    )
    assert "asked for at app.py:3" in " ".join(str(paused).split())
    slow = Estimate(3.0, 2.8, 3.3, 7)
    thing = SharedThing("global", "TABLE", "tuple", slow, True, "read it into a local variable once")
    none = evolve(thing, culprit=False, slowdown=Estimate(1.0, 0.9, 1.1, 7))
    found = evolve(result, locks=(), isolation=Isolation(slow, (thing,), None, ()))
    assert "3.00 [2.80, 3.30] times as slow for it: the global TABLE (tuple)" in " ".join(str(found).split())
    fresh = evolve(result, locks=(), isolation=Isolation(Estimate(1.0, 0.9, 1.1, 7), (none,), slow, ()))
    assert "fresh import of its module" in str(fresh)
    unexplained = evolve(result, locks=(), isolation=Isolation(slow, (none,), None, ()))
    assert "none of 1 shared things alone explains it" in " ".join(str(unexplained).split())
    nothing = evolve(result, locks=(), isolation=Isolation(Estimate(1.0, 0.9, 1.1, 7), (none,), None, ()))
    assert "Copies for each thread change nothing: 1 thing" in str(nothing)
    assert "No lock was seen that explains it." in str(evolve(result, locks=()))
    fine = evolve(result, locks=(), speedup=Estimate(1.98, 1.97, 1.99, 12))
    assert "No lock was seen to be contended." in str(fine)
    block = evolve(result, speedup=None)
    assert math.isnan(block.lost)
    assert "at least 50 % of the threads' time" in str(block)


def test_what_has_no_name_is_told_by_its_address(result):
    unnamed = evolve(LOCK, name="")
    assert unnamed.what == "list at 0x7f00"
    assert evolve(unnamed, objects=3).what == "3 objects of type list"
    assert evolve(unnamed, type="the type cache", address=0).what == "the type cache"
    lock = evolve(LOCK, type="_thread.lock", name="LOCK")
    assert "a threading.Lock LOCK that 2 threads want" in " ".join(str(evolve(result, locks=(lock,))).split())


def test_it_is_saved_and_loaded(result, tmp_path):
    result.save(tmp_path / "found.json")
    assert gilcmp.load(tmp_path / "found.json") == result
    assert "REGISTRY.items" in result.to_csv()


# ---- the command line ----------------------------------------------------------------------------------------------


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main(["contention", *arguments])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def test_the_command_measures_and_saves(capsys, tmp_path):
    path = tmp_path / "found.json"
    words = ["x.append(1)", "-s", "x = []", "--budget", "200ms", "--no-isolate"]
    code, output, _ = call(capsys, *words)
    assert code == 0
    assert "times the work of one" in output
    code, output, _ = call(capsys, *words, "--json", "-")
    assert json.loads(output)["format"] == "gilcmp contention"
    code, output, _ = call(capsys, *words, "--json", str(path))
    assert (code, output) == (0, "")
    assert gilcmp.load(path).name == "x.append(1)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["1/0", "--budget", "100ms"], "1/0: ZeroDivisionError: division by zero"),
        (["f(1)", "--budget", "1ms"], "--budget must be from 100ms to 1 hour"),
        (["f(1)", "more"], "only a program takes arguments, got 'more'"),
        (["nowhere.py"], "no such file: 'nowhere.py'"),
        (["nowhere.py", "--threads", "2"], "a program has threads of its own"),
        (["nowhere.py", "--json", "-"], "--json - would mix"),
        (["x", "--threads", "1"], "1 is not in the range 2<=x<=256"),
    ],
)
def test_wrong_usage_is_one_line(capsys, arguments, message):
    code, _, errors = call(capsys, *arguments)
    assert code == 2
    assert message in errors
    assert len(errors.strip().splitlines()) == 1


def test_a_program_is_run_and_watched(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(
        textwrap.dedent("""
        import sys, threading
        lock = threading.Lock()
        def work():
            for _ in range(2000):
                with lock:
                    sum(range(100))
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print(sys.argv[1:], __name__)
        sys.exit(3)
        """)
    )
    path = tmp_path / "found.json"
    done = subprocess.run(
        [sys.executable, "-m", "gilcmp", "contention", str(script), "--json", str(path), "--", "--its-own"],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.stdout == "['--its-own'] __main__\n"
    assert done.returncode == 3
    assert "the threads' time" in done.stderr
    assert gilcmp.load(path).speedup is None


# ---- the program of the how-to page ----------------------------------------------------------------------------------


def test_the_program_of_the_how_to_page_says_the_same_when_it_is_mended():
    folder = Path(__file__).parent.parent / "docs/examples"
    before, after = (runpy.run_path(str(folder / name)) for name in ("traffic.py", "traffic_mended.py"))
    log = before["made_up_log"](3000)
    assert after["made_up_log"](3000) == log
    said = before["analysed"](log, 2).lines()
    assert said[0].startswith("3,000 requests")
    assert after["analysed"](log, 2).lines() == said
    assert after["analysed"](log, 1).lines() == said
