"""The claims: what an experiment concludes from figures, and that every one of them runs and cleans up.

Which verdict a claim gets is measured, and decides no test.
"""

from __future__ import annotations

import contextlib
import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from importlib import import_module
from types import SimpleNamespace

import psutil
import pytest
from attrs import evolve

import gilcmp
from conftest import seen_well
from gilcmp.cli import main as cli
from gilcmp.experiments.claim import (
    CANNOT,
    CONFIRMED,
    DIFFERS,
    REFUTED,
    WORDS,
    CannotTest,
    Claim,
    Conditions,
    Figure,
    Outcome,
    Unclear,
    above,
    any_above,
    count_down,
    settled,
)
from gilcmp.experiments.results import Claims, Result
from gilcmp.experiments.suite import CLAIMS, read_expected
from gilcmp.judge.estimate import Estimate
from gilcmp.judge.verdict import Verdict
from gilcmp.measure.machine import gil_enabled
from gilcmp.measure.strategies import strategies
from gilcmp.probing.probe import switch_interval
from gilcmp.saved.reading import ResultError
from gilcmp.watch import _gil

suite = import_module("gilcmp.experiments.suite")
claim_module = import_module("gilcmp.experiments.claim")
HERE = Conditions(seconds=0.5, cpus=2.0, gil=True)
QUICK = sorted(set(CLAIMS) - {"asyncio-io", "processes", "release-threshold"})  # those take their time whatever
# with a budget of minutes these go on until they are interrupted
LONG = sorted(
    name
    for name in CLAIMS
    if name not in ("refcounts", "free-threading", "gil-turned-on")
    and not (CLAIMS[name].free_threaded and gil_enabled())
    and not (name == "subinterpreters" and strategies["interpreters"].unavailable)
)


def test_the_list_is_the_one_that_was_promised():
    assert list(CLAIMS) == [
        "one-at-a-time", "cpu-threads", "contention", "io-threads", "asyncio-io", "processes", "native-release",
        "release-threshold", "refcounts", "convoy", "stalls", "free-threading", "subinterpreters",
        "shared-list", "shared-dict", "shared-counter", "one-lock", "shared-constants", "shared-function",
        "gil-turned-on",
    ]  # fmt: skip
    for claim in CLAIMS.values():
        assert claim.sentence.endswith(".")
        assert claim.experiment
        assert 0 < claim.seconds <= 20


@pytest.mark.usefixtures("no_child_is_left")
@pytest.mark.parametrize("name", QUICK)
def test_every_claim_runs_and_leaves_nothing_behind(name):
    threads = threading.active_count()
    interval = sys.getswitchinterval()
    (result,) = gilcmp.claims(name, budget=0.1 * CLAIMS[name].seconds)
    assert result.verdict.word in WORDS
    assert result.verdict.reason
    assert result.figures or result.verdict == CANNOT
    assert threading.active_count() == threads
    assert multiprocessing.active_children() == []
    assert sys.getswitchinterval() == interval
    json.loads(Claims([result], gilcmp.environment()).to_json())


def test_claims_about_free_threaded_builds_are_left_out_where_there_is_none(monkeypatch):
    tested = []
    monkeypatch.setattr(
        suite, "_tested", lambda claim, *_, **__: tested.append(claim.free_threaded) or result_of(claim)
    )
    monkeypatch.setattr(suite, "gil_enabled", lambda: True)
    gilcmp.claims(budget=0.1)
    assert not any(tested)
    tested.clear()
    monkeypatch.setattr(suite, "gil_enabled", lambda: False)
    gilcmp.claims(budget=0.1)
    assert sum(tested) == 7


def result_of(claim):
    return Result(claim.name, claim.sentence, claim.experiment, "", "3.13", Verdict(CANNOT, "a test"), (), 0.0)


def test_with_a_gil_sharing_says_nothing_about_builds_without(monkeypatch):
    with pytest.raises(CannotTest, match="free-threaded builds: name one by --python"):
        CLAIMS["shared-list"].run(HERE)


@pytest.mark.parametrize(
    ("together", "apart", "name", "word"),
    [
        (1.0, 0.5, "shared-list", REFUTED),
        (0.5, 0.5, "shared-list", CONFIRMED),
        (0.5, 0.5, "shared-function", CONFIRMED),
        (1.0, 0.5, "shared-constants", REFUTED),
        (2.0, 1.0, "shared-constants", CANNOT),
    ],
)
def test_sharing_is_judged_by_what_it_costs(monkeypatch, together, apart, name, word):
    sharing = import_module("gilcmp.experiments.sharing")

    class Crew:
        def __init__(self, *_, **__):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def run(self, jobs):
            return [job() for job in jobs]

    def call_together(crew, calls, seconds):
        works = [function for function, _, _ in calls]
        cost = 0.5 if len(works) == 1 else together if works[0] is works[1] else apart
        return [(cost, 1)] * len(works)

    monkeypatch.setattr(sharing, "Crew", Crew)
    monkeypatch.setattr(sharing, "call_together", call_together)
    monkeypatch.setattr(sharing.Conditions, "undisturbed", lambda _: contextlib.nullcontext())
    free = evolve(HERE, gil=False)
    if word == CANNOT:
        with pytest.raises(Unclear, match="threads that share nothing"):
            CLAIMS[name].run(free)
        return
    outcome = CLAIMS[name].run(free)
    assert outcome.verdict == word
    assert len(outcome.figures) == 3


def test_a_conclusion_depends_on_the_lock():
    assert HERE.conclude(True, "r").verdict == CONFIRMED
    assert HERE.conclude(False, "r").verdict == REFUTED
    without = evolve(HERE, gil=False)
    assert without.conclude(True, "r").verdict == CONFIRMED
    assert without.conclude(False, "r").verdict == DIFFERS
    with pytest.raises(CannotTest, match="it needs 2 CPUs, and this process may use 1"):
        evolve(HERE, cpus=1.0).need_two_cpus()


def test_an_interval_over_the_limit_is_no_answer():
    assert above(Estimate(2.0, 1.6, 2.1, 9), 1.5)
    assert not above(Estimate(1.0, 0.9, 1.1, 9), 1.5)
    with pytest.raises(Unclear, match=r"may be below 1\.5 or above"):
        above(Estimate(1.4, 1.3, 1.6, 9), 1.5)
    with pytest.raises(Unclear):
        above(Estimate(1.51, 1.0, 2.0, 9), 1.5)


def test_several_values_are_judged_by_those_that_are_sure():
    sure, open_, below = Estimate(2.0, 1.6, 2.1, 9), Estimate(1.5, 1.0, 2.0, 9), Estimate(1.0, 0.9, 1.1, 9)
    assert any_above([below, sure], 1.5)
    assert not any_above([below, below], 1.5)
    with pytest.raises(Unclear, match=r"may be below 1\.5 or above"):
        any_above([below, open_], 1.5)


def test_what_was_disturbed_is_no_answer(monkeypatch):
    busy = 0.6
    monkeypatch.setattr(claim_module, "Bystanders", lambda: SimpleNamespace(lap=lambda: busy))
    with pytest.raises(Unclear, match=r"other work kept 0\.6 of 2 CPUs busy"), HERE.undisturbed():
        pass
    busy = 0.4
    with HERE.undisturbed():
        pass


@pytest.mark.parametrize(
    ("loops", "word"), [([100, 120, 90], CONFIRMED), ([900, 950, 800], REFUTED), ([100, 900, 100], None)]
)
def test_an_io_thread_starves_only_if_all_repeats_say_so(monkeypatch, loops, word):
    convoy = import_module("gilcmp.experiments.convoy")
    rates = iter([rate for loop in loops for rate in (1000, loop)] + [1000, 100, 100, 100])
    monkeypatch.setattr(convoy, "_echo", lambda seconds: {"rate": next(rates), "p50": 1e-3, "p99": 2e-3})
    monkeypatch.setattr(convoy, "_busy", lambda busy, threads: contextlib.nullcontext())
    monkeypatch.setattr(claim_module, "Bystanders", lambda: SimpleNamespace(lap=lambda: 0.0))
    if word is None:
        with pytest.raises(Unclear, match="the 3 repeats disagree"):
            CLAIMS["convoy"].run(HERE)
    else:
        outcome = CLAIMS["convoy"].run(HERE)
        assert outcome.verdict == word
        assert outcome.figures[3].value == sorted(loops)[1]


@pytest.mark.parametrize(
    ("holding", "word"), [([0.09] * 6, CONFIRMED), ([0.02] * 6, REFUTED), ([0.02, 0.09] * 3, None)]
)
def test_a_heartbeat_stalls_by_the_interval_of_its_delays(monkeypatch, holding, word):
    """Simulated calls of 0.1 s that hold; a releasing call delays the heartbeat by 1 ms."""
    delays = {"cython_gil": iter(holding), "cython_nogil": iter([1e-3] * 6), "python": iter([5e-3] * 6)}
    stalls = import_module("gilcmp.experiments.stalls")

    async def worst_delay(call):
        return next(call), 0.1

    monkeypatch.setattr(stalls, "_calls", lambda: delays)
    monkeypatch.setattr(stalls, "_worst_delay", worst_delay)
    monkeypatch.setattr(claim_module, "Bystanders", lambda: SimpleNamespace(lap=lambda: 0.0))
    if word is None:
        with pytest.raises(Unclear, match="may be below"):
            CLAIMS["stalls"].run(HERE)
    else:
        assert CLAIMS["stalls"].run(HERE).verdict == word


def test_a_starved_cell_is_no_answer(run):
    starved = [evolve(cell, rounds=[]) for cell in run.cells]
    comparison = gilcmp.Comparison(evolve(run, cells=starved))
    with pytest.raises(Unclear, match=r"python, threads x 2 was"):
        settled(comparison["python", "threads"])
    sound = gilcmp.Comparison(run)["python", "threads"]
    assert settled(sound) is sound


def _made_up(run):
    return Claim("made-up", "Something.", "Nothing.", run, seconds=1.0)


def test_an_unclear_experiment_is_tried_again():
    tries = []

    def second_time_lucky(at):
        tries.append(at)
        if len(tries) == 1:
            raise Unclear("noisy")
        return at.conclude(True, "now")

    assert suite._tested(_made_up(second_time_lucky), HERE, "3.x").verdict == CONFIRMED
    assert len(tries) == 2

    def never(at):
        tries.append(at)
        raise Unclear("noisy for good")

    result = suite._tested(_made_up(never), HERE, "3.x")
    assert (result.verdict.word, result.verdict.reason) == (CANNOT, "noisy for good")
    assert len(tries) == 4


@pytest.mark.parametrize("error", [OSError("no sockets"), RuntimeError("can't start new thread"), MemoryError("m")])
def test_what_a_system_refuses_cannot_be_tested(error):
    def refuse(at):
        raise error

    result = suite._tested(_made_up(refuse), HERE, "3.x")
    assert result.verdict == CANNOT
    assert str(error) in result.verdict.reason


def test_a_helper_that_a_busy_machine_does_not_let_finish(monkeypatch):
    def starved(command, *, timeout, **options):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", starved)
    (result,) = gilcmp.claims("convoy", budget=0.7)
    assert result.verdict == CANNOT
    assert result.verdict.reason == "the client failed: it took longer than 30 s"


def test_ctrl_c_keeps_what_was_finished(monkeypatch):
    def interrupt(at):
        raise KeyboardInterrupt

    done = _made_up(lambda at: at.conclude(True, "fine", Figure("f", 1.0)))
    monkeypatch.setattr(suite, "CLAIMS", {"made-up": done, "next": _made_up(interrupt)})
    with pytest.raises(KeyboardInterrupt) as stop:
        gilcmp.claims()
    assert [result.verdict for result in stop.value.claims] == [CONFIRMED]


@pytest.mark.parametrize(("arguments", "message"), [
    ({"names": "nope"}, "claim must be one of one-at-a-time, .*, got 'nope'"),
    ({"budget": 0}, "budget must be from 0.01 to 100000 seconds, got 0"),
    ({"budget": math.nan}, "budget must be"),
    ({"budget": "long"}, "budget must be"),
])  # fmt: skip
def test_bad_arguments(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        gilcmp.claims(**arguments)


def test_native_counting_with_and_without_a_lock():
    counter = _gil.Counter()
    counter.plain(1000)
    counter.atomic(100)
    counter.locked(10)
    counter.holding()
    assert counter.value == 1111
    together = _gil.Counter()
    threads = [threading.Thread(target=way, args=(20_000,)) for way in [together.atomic] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together.value == 80_000


def test_the_sampler_counts_who_had_the_lock():
    if not gilcmp.environment().gil_enabled or gilcmp.environment().free_threaded:
        pytest.skip("without a GIL nobody has it")
    sampler = _gil.Sampler(1e-6, 1.0)
    _gil.hold_gil(0.02)
    assert sampler.stop()["switches"] <= 5  # another thread of the process may look in
    over, turns, held = threading.Event(), threading.Event(), 0.02

    def watch():
        sampler = _gil.Sampler(1e-6, 1.0)
        for _ in range(12):
            turns.clear()
            assert turns.wait(60)
            _gil.hold_gil(held)
        return sampler.stop()

    def other():
        while not over.is_set():
            turns.set()

    thread = threading.Thread(target=other)
    thread.start()
    try:
        counts = seen_well(watch, lambda counts: counts["switches"] >= 12 or counts["dropped"] < 8 * held)
    finally:
        over.set()
        thread.join()
    # a turn goes unseen only where the sampler had no core for as long, and then it has dropped that time
    assert counts["switches"] >= 12 - counts["dropped"] / held


def test_switch_interval_comes_back():
    before = sys.getswitchinterval()
    with switch_interval(0.05):
        assert sys.getswitchinterval() == pytest.approx(0.05)
    assert sys.getswitchinterval() == before
    assert count_down(10) == 0


@pytest.mark.parametrize(("one", "text"), [
    (Figure("f", 1.5, "x", 1.25, 1.75), "1.50x [1.25, 1.75]"),
    (Figure("f", 0.0125, "s"), "12.5 ms"),
    (Figure("f", 2048.0, "B"), "2.0 KiB"),
    (Figure("f", 123456.0, "/s"), "123,456 /s"),
    (Figure("f", math.nan, "/s"), "-"),
])  # fmt: skip
def test_figures_as_text(one, text):
    assert one.shown == text


def test_a_table_shows_verdicts_reasons_and_figures():
    result = suite._tested(_made_up(lambda at: at.conclude(True, "so it is", Figure("speed", 2.0, "x"))), HERE, "3.x")
    other = evolve(result, python="3.yt", verdict=Outcome(gilcmp.Verdict(DIFFERS, "other")).verdict)
    text = str(Claims([result, other], gilcmp.environment()))
    assert "made-up: Something." in text
    assert "3.x: confirmed: so it is" in text
    assert "3.yt: differs on this build: other" in text
    assert "speed  2.00x" in text
    assert "1 confirmed, 1 differs on this build" in text
    assert max(map(len, text.splitlines())) <= 80


def test_expectations(tmp_path, capsys, monkeypatch):
    file = tmp_path / "expected.toml"
    file.write_text('cpu-threads = "confirmed"\nstalls = "refuted"\n')
    assert read_expected(file) == {"cpu-threads": "confirmed", "stalls": "refuted"}
    for text, message in (
        ("nope = 'confirmed'", "claim must be one of"),
        ("stalls = 'perhaps'", "stalls must be one of"),
        ("stalls", "not TOML"),
    ):
        file.write_text(text)
        with pytest.raises(ResultError, match=message):
            read_expected(file)
        assert _call("claims", "--expect", str(file), "stalls") == 2
        assert message in capsys.readouterr().err
    made_up = {"stalls": evolve(CLAIMS["stalls"], run=lambda at: at.conclude(True, "fine"))}
    monkeypatch.setattr(suite, "CLAIMS", made_up)
    for word, code in (("confirmed", 0), ("refuted", 1)):
        file.write_text(f"stalls = '{word}'")
        assert _call("claims", "--expect", str(file), "-q") == code
        captured = capsys.readouterr()
        assert ("stalls is confirmed, expected refuted" in captured.err) == bool(code)
        assert "stalls" in captured.out


def test_the_command_line_saves(tmp_path, capsys):
    path = tmp_path / "claims.json"
    assert _call("claims", "refcounts", "--budget", "200ms", "-o", str(path)) == 0
    assert "refcounts" in capsys.readouterr().out
    saved = json.loads(path.read_text())
    assert saved["format"] == "gilcmp claims"
    assert [result["name"] for result in saved["results"]] == ["refcounts"]
    assert _call("claims", "nope") == 2
    assert "claim must be one of" in capsys.readouterr().err


def _call(*arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main(list(arguments))
    return stop.value.code


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
@pytest.mark.parametrize("name", LONG)
def test_ctrl_c_leaves_no_server_pool_or_thread(name):
    # a script's background job ignores Ctrl-C, and hands that down
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import sys; from gilcmp.cli import main as cli\n"
        "import gilcmp.experiments.suite\n"
        "print('ready', flush=True)\n"
        f"cli.main(['claims', '{name}', '--budget', '1000s'])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout.readline() == "ready\n"
        started = psutil.Process(process.pid)
        deadline = _gil.now() + 60 * 10**9
        while not (children := started.children(recursive=True)) and started.num_threads() == 1:
            assert _gil.now() < deadline, "no server, no pool and no thread was started"
        os.killpg(process.pid, signal.SIGINT)
        try:
            _, errors = process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            # an interrupt that comes within a callback of the interpreter's own is lost: people press it again
            os.killpg(process.pid, signal.SIGINT)
            _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == cli.INTERRUPTED, errors
    assert "Traceback" not in errors or "Exception ignored" in errors
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive


def test_a_budget_is_for_the_claims_that_are_asked_for(monkeypatch):
    """A stranger gave one claim 20 s, and it took its share of 20 s for thirteen: 1 s."""
    given = []

    def run(conditions):
        given.append(conditions.seconds)
        return conditions.conclude(True, "so it is")

    claim = Claim("one", "It is so.", "", run, seconds=4.0)
    other = Claim("other", "It is so.", "", run, seconds=6.0)
    monkeypatch.setattr(suite, "CLAIMS", {"one": claim, "other": other})
    gilcmp.claims("one", budget=20)
    gilcmp.claims(budget=20)
    assert given == [20.0, 8.0, 12.0]


def test_a_threshold_without_small_sizes_confirms_and_refutes_nothing(monkeypatch):
    """Small sizes had no interval, the smallest that had one was taken for the small end: a true claim was refuted."""
    module = import_module("gilcmp.experiments.release_threshold")
    unknown, known = Estimate(1.0, math.nan, math.nan, 3), Estimate(1.9, 1.8, 2.0, 9)
    points = [SimpleNamespace(size=1, speedup=unknown), SimpleNamespace(size=10**6, speedup=known)]
    found = SimpleNamespace(points=points, release_cost=known, reacquire=0.005, parallel_from=known, cheap_from=known)
    monkeypatch.setattr(module, "threshold", lambda *_, **__: found)
    with pytest.raises(Unclear, match="no size up to 2,048"):
        module._run(Conditions(1.0, 2.0, gil=True))


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_a_child_that_was_interrupted_interrupts_who_asked():
    """Ctrl-C goes to the whole group, and the parent's own may be lost: the claim was then said to be untestable."""
    from gilcmp.base.child import ask

    # what runs in the background of a shell begins with Ctrl-C ignored
    code = "import os, signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    with pytest.raises(KeyboardInterrupt):
        ask("-c", f"{code}; os.kill(os.getpid(), signal.SIGINT)", timeout=60)
