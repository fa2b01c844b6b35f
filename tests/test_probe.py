"""probe(): verdicts on made-up figures, and what must hold for real calls whatever the machine does."""

from __future__ import annotations

import decimal
import json
import math
import re
import subprocess
import sys
import threading
from functools import partial
from importlib import import_module
from unittest import SkipTest

import pytest
from attrs import evolve

import gilcmp
from conftest import busy_machine
from gilcmp import Estimate, Probe, Stall
from gilcmp.base.calls import name_of
from gilcmp.experiments.claim import count_down
from gilcmp.judge.verdict import Verdict
from gilcmp.probing.probe_result import WORDS
from gilcmp.testing import (
    assert_import_keeps_gil_off,
    assert_max_stall,
    assert_releases_gil,
    hold_gil,
    release_gil,
)
from test_cli import call, process

module = import_module("gilcmp.probing.probe")
probe_result = import_module("gilcmp.probing.probe_result")
testing = import_module("gilcmp.testing.assertions")
BUSY = (  # computes until its input is closed
    "import os, sys, threading\n"
    "threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()\n"
    "while True: pass"
)
GIL = gilcmp.environment().gil_enabled
needs_gil = pytest.mark.skipif(not GIL, reason="without a GIL there is nothing to hold")


def found(held=1.0, time=0.01, usable=math.nan, stall=0.01, **changes):
    values = {
        "name": "f", "calls": 10, "time": time,
        "held": held if isinstance(held, Estimate) else Estimate(held, held, held, 64), "others": 0.0,
        "longest_hold": time, "hand_overs": 1.0, "stall": Stall(stall, stall, stall, 50), "usable": usable,
        "reacquire": math.nan, "verdict": Verdict("starved", "not judged yet"),
    }  # fmt: skip
    return Probe(**(values | changes))


@pytest.mark.parametrize(
    ("figures", "lets_in", "word"),
    [
        (found(held=0.002, usable=1.0), None, "releases"),
        (found(held=0.05, usable=0.1), None, "releases partly"),
        (found(held=0.3, usable=1.0), None, "releases partly"),
        (found(held=0.89, usable=1.0), None, "releases partly"),
        (found(held=Estimate(0.08, 0.05, 0.11, 64)), None, "too noisy"),
        (found(held=Estimate(0.11, 0.1, 0.12, 64)), None, "too noisy"),
        (found(held=Estimate(0.95, 0.89, 1.0, 64)), None, "too noisy"),
        (found(held=Estimate(0.5, 0.11, 0.89, 64)), None, "releases partly"),
        (found(held=1.0), True, "holds, yields"),
        (found(held=1.0), False, "holds, blocks"),
        (found(held=1.0, time=1e-6), None, "holds, briefly"),
        (found(held=1.0), None, "holds"),
        (found(held=0.002, usable=math.nan), None, "releases"),
    ],
)
def test_verdicts(monkeypatch, figures, lets_in, word):
    monkeypatch.setattr(probe_result, "gil_enabled", lambda: True)
    verdict = probe_result.judge_probe(figures, lambda: lets_in)
    assert "nan" not in verdict.reason
    assert verdict == word
    assert verdict.reason
    assert word in probe_result.WORDS


def test_without_a_gil_the_share_attached_is_told(monkeypatch):
    monkeypatch.setattr(probe_result, "gil_enabled", lambda: False)
    verdict = probe_result.judge_probe(found(held=0.25), lambda: None)
    assert verdict == "no GIL"
    assert "detached 75.0%" in verdict.reason


def watch(samples=1000, dropped=0.0, held=0.5):
    """A simulated phase of 1 s."""
    seen = 1.0 - dropped
    counts = {
        "samples": samples, "held": held * seen, "other": 0.0, "free": (1 - held) * seen, "dropped": dropped,
        "longest_hold": 0.01, "hand_overs": 100, "switches": 200, "releases": [0.01] * 100, "n_releases": 100,
        "segments": [(held * seen / 64, seen / 64)] * 64,
    }  # fmt: skip
    return module._Watch(100, 0.01, 1.0, counts, [])


@pytest.mark.parametrize(
    ("seen", "word"), [(watch(dropped=0.6), "starved"), (watch(samples=10), "too short to say"), (watch(), None)]
)
def test_what_was_not_seen_has_no_figures(seen, word):
    """No core for the sampler, or few looks: no share is printed that looks like a finding."""
    result = module._concluded("f", seen, seen, seen, 1e-5, lambda: None)
    if word is None:
        assert result.held.value == 0.5
        assert result.verdict == ("releases partly" if GIL else "no GIL")
    else:
        assert result.verdict == word
        assert math.isnan(result.held.value)
        assert math.isnan(result.longest_hold)
        assert "held" not in str(result)


@pytest.mark.parametrize(
    ("releases", "share"),
    [([1.0], 1.0), ([50e-6], 1.0), ([20e-6], 0.77), ([5e-6], 0.25), ([2.5e-6], 0.13), ([25e-6, 25e-6], 0.86)],
)
def test_usable_follows_what_was_measured(releases, share):
    assert probe_result.usable(releases) == pytest.approx(share)


def test_usable_of_nothing_is_unknown():
    assert math.isnan(probe_result.usable([]))
    assert math.isnan(probe_result.usable([0.0]))


def test_stalls_are_percentiles():
    stall = module._stall([n / 1000 for n in range(1, 101)])
    assert (stall.p50, stall.p99, stall.max, stall.n) == (0.05, 0.099, 0.1, 100)
    assert module._stall([]).n == 0


def clear(*call):
    """Probe until the machine is idle enough for a verdict, and for the waits of others."""
    for _ in range(5):
        measured = gilcmp.probe(*call, budget=0.3)
        if measured.verdict not in (*probe_result.OPEN, "holds"):
            break
    else:
        busy_machine(measured.verdict.reason)
    return measured


@needs_gil
def test_native_code_that_holds_blocks():
    measured = clear(hold_gil, 0.02)
    assert measured.verdict == "holds, blocks"
    assert measured.held.high > 0.95


@needs_gil
def test_bytecode_that_holds_yields():
    measured = clear(count_down, 300_000)
    assert measured.verdict == "holds, yields"


@needs_gil
@pytest.mark.parametrize(
    ("inside", "answer"),
    [
        ([True] * 9 + [False], True),
        ([False] * 10, False),
        ([True] * 5 + [False] * 5, None),
        ([True] * 4, None),
        ([], None),
    ],
)
def test_who_gets_the_lock_before_the_call_is_done_tells_whether_it_yields(monkeypatch, inside, answer):
    monkeypatch.setattr(module._Call, "handed_over_inside", lambda self, seconds: inside)
    assert module._lets_others_in(module._Call(None, (), {}), 0.02) is answer
    assert module._lets_others_in(module._Call(None, (), {}), 1e-6) is None


@pytest.mark.skipif(sys.platform != "linux", reason="the system reports no run delay")
def test_time_without_a_core_is_left_out():
    """A call that holds for half of its CPU time, in long pieces, beside busy processes."""
    holding, releasing = (gilcmp.kernels["count"].prepared(name, 10_000_000) for name in ("cython_gil", "cython_nogil"))

    def work():
        holding()
        releasing()

    busy = [subprocess.Popen([sys.executable, "-I", "-c", BUSY], stdin=subprocess.PIPE) for _ in range(2)]
    try:
        measured = clear(work)
    finally:
        for each in busy:
            each.communicate()
    if GIL:
        assert 0.3 < measured.held.value < 0.7


@needs_gil
def test_native_code_that_releases_releases():
    measured = clear(release_gil, 0.02)
    assert measured.verdict == "releases"
    assert measured.held.low < 0.1


def test_a_call_longer_than_the_budget_is_done_once():
    calls = []

    def work():
        calls.append(1)
        release_gil(0.05)

    measured = gilcmp.probe(work, budget=0.02)
    assert len(calls) == measured.calls == 1


def test_arguments_are_passed_on():
    seen = []

    def work(*args, **kwargs):
        seen.append((args, kwargs))

    gilcmp.probe(work, 1, "two", key=3, budget=0.05)
    assert {repr(one) for one in seen} == {"((1, 'two'), {'key': 3})"}


def test_what_the_callable_raises_comes_out_and_nothing_goes_on():
    before, interval = threading.active_count(), sys.getswitchinterval()
    calls = []

    def work():
        calls.append(1)
        if len(calls) > 3:
            raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        gilcmp.probe(work, budget=0.05)
    assert threading.active_count() == before
    assert sys.getswitchinterval() == interval


def test_probes_can_be_nested():
    def outer():
        gilcmp.probe(release_gil, 0.001, budget=0.02)

    assert gilcmp.probe(outer, budget=0.05).calls >= 1


# ---- calls that cannot just be repeated


@pytest.mark.parametrize("calls", [1, 7])
def test_so_many_calls_and_no_more(calls):
    seen = []

    def work():
        seen.append(1)
        hold_gil(0.001)

    assert gilcmp.probe(work, budget="1s", calls=calls).calls == calls == len(seen)


def test_each_call_gets_arguments_of_its_own_and_gives_them_back():
    made, used, returned = [], [], []

    def setup():
        made.append([len(made)])
        return (made[-1],)

    def work(listed, *, key):
        used.append(listed)
        listed.append(key)

    measured = gilcmp.probe(work, budget=0.1, setup=setup, teardown=returned.append, key="x")
    assert measured.calls <= len(used)
    assert used == made == returned
    assert [listed[0] for listed in used] == list(range(len(used)))
    assert all(len(listed) == 2 for listed in used)


def test_setup_may_leave_the_arguments_as_they_are():
    seen = []
    gilcmp.probe(seen.append, 5, budget=0.05, setup=lambda: None)
    assert set(seen) == {5}


@needs_gil
def test_what_setup_and_teardown_do_does_not_count():
    """Calls that release between strangers that hold, and the other way round."""

    def probed(call, strangers):
        for _ in range(5):
            measured = gilcmp.probe(
                call, 0.002, budget=1, setup=lambda: strangers(0.002), teardown=lambda _: strangers(0.002)
            )
            if measured.verdict not in probe_result.OPEN:
                return measured
        return busy_machine(measured.verdict.reason)

    freed = probed(release_gil, hold_gil)
    assert freed.held.value < 0.1
    assert freed.time < 0.02
    assert probed(hold_gil, release_gil).held.value > 0.9


def test_a_teardown_is_called_for_a_call_that_raises_as_well():
    returned = []
    with pytest.raises(ZeroDivisionError):
        gilcmp.probe(lambda n: 1 / n, budget=0.05, setup=lambda: (0,), teardown=returned.append)
    assert returned == [0]


def test_what_a_call_may_raise_is_no_error():
    assert gilcmp.probe(int, "x", budget=0.05, raises=ValueError).calls > 1
    assert gilcmp.probe(int, "x", budget=0.05, raises=(KeyError, ValueError), setup=lambda: None).calls > 1
    with pytest.raises(ValueError, match="invalid literal"):
        gilcmp.probe(int, "x", budget=0.05, raises=KeyError)


def test_a_call_that_fails_the_second_time_says_that_it_is_repeated():
    listed = [1]
    with pytest.raises(IndexError) as failed:
        gilcmp.probe(listed.pop, budget=0.05)
    assert "setup=… makes new arguments" in failed.value.__notes__[0]
    with pytest.raises(IndexError) as failed:
        gilcmp.probe([].pop, budget=0.05)
    assert not hasattr(failed.value, "__notes__")


@pytest.mark.parametrize(
    ("func", "name"),
    [
        (len, "len"),
        (json.dumps, "json.dumps"),
        (partial(json.loads, "1"), "json.loads"),
        (math.sqrt, "math.sqrt"),
        (decimal.Decimal("1").sqrt, "Decimal.sqrt"),
    ],
)
def test_callables_have_the_names_that_their_users_know(func, name):
    assert name_of(func) == name


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((7,), {}, "func must be callable, got int"),
        ((len, ""), {"budget": 0}, "budget must be from 0.01 to 3600"),
        ((len, ""), {"budget": "soon"}, "budget must be seconds, or a time such as '20s', '500ms' or '2m', got 'soon'"),
        ((len, ""), {"budget": []}, "budget must be a number of seconds"),
        ((len,), {"setup": 7}, "setup must be callable, got int"),
        ((len,), {"setup": list}, "setup must return a tuple of arguments, or None, got list"),
        ((len,), {"teardown": "x"}, "teardown must be callable, got str"),
        ((len, ""), {"calls": 0}, "calls must be from 1"),
        ((len, ""), {"calls": 1.5}, "calls must be an integer, got float"),
        ((len, ""), {"raises": (ValueError, 7)}, "raises must be an exception type or a tuple of them, got 7"),
        ((len, ""), {"budget": float("nan")}, "budget must be from"),
    ],
)
def test_bad_arguments(arguments, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        gilcmp.probe(*arguments, **options)


def test_a_lock_that_cannot_be_watched_is_refused(monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("the GIL cannot be watched: another layout")

    monkeypatch.setattr(module._gil, "Sampler", refuse)
    with pytest.raises(RuntimeError, match="cannot be watched: another layout"):
        gilcmp.probe(len, "")


def test_a_probe_is_shown_in_a_block():
    text = str(evolve(found(usable=0.5, reacquire=0.005, others=0.2), verdict=Verdict("releases", "why")))
    for word in (
        "releases: why",
        "10, 10.0 ms each",
        "100.0 %",
        "50 % usable",
        "5.00 ms beside",
        "others held it",
    ):
        assert word in text
    assert max(map(len, text.splitlines())) <= 80


# ---- for test suites ----


@pytest.fixture
def measured(monkeypatch):
    """Let probe() give out what a test prepared."""
    results = []
    monkeypatch.setattr(testing, "probe", lambda func, *args, budget, **kwargs: results.pop(0))
    return results


def judged(word, **figures):
    return evolve(found(**figures), verdict=Verdict(word, "why"))


@needs_gil
def test_assert_releases_gil(measured):
    measured += [judged("releases", held=0.05), judged("holds, blocks", held=1.0)]
    assert assert_releases_gil(len).held.value == 0.05
    with pytest.raises(AssertionError, match=r"f released the GIL for 0.0% of its time .* at least 90%"):
        assert_releases_gil(len)


@needs_gil
def test_the_interval_decides_not_the_value(measured):
    measured.append(evolve(judged("releases partly"), held=Estimate(0.12, 0.09, 0.15, 64)))
    assert_releases_gil(len, at_least=0.9)


@needs_gil
def test_assert_max_stall(measured):
    measured += [judged("holds, blocks", stall=0.5), judged("releases", stall=0.001)]
    assert_max_stall(len, seconds=0.01)  # a single bad try is the machine's
    measured += [judged("holds, blocks", stall=0.5)] * 3
    with pytest.raises(AssertionError, match=r"made others wait 0\.500000 s"):
        assert_max_stall(len, seconds=0.01)


def test_a_starved_machine_skips_after_three_tries(measured):
    measured += [judged("starved")] * 3
    with pytest.raises(SkipTest, match="cannot tell whether f releases the GIL: why"):
        assert_releases_gil(len)
    measured += [judged("starved"), judged("too short to say"), judged("releases", held=0.0)]
    assert_releases_gil(len)


@pytest.mark.parametrize(
    ("on_busy", "raised"), [("skip", SkipTest), ("fail", AssertionError), ("xfail", pytest.xfail.Exception)]
)
def test_what_is_done_on_a_busy_machine_can_be_chosen(measured, on_busy, raised):
    measured += [judged("starved")] * 3
    with pytest.raises(raised, match="cannot tell whether f releases the GIL: why"):
        assert_releases_gil(len, on_busy=on_busy)
    measured += [judged("starved")] * 3
    with pytest.raises(ValueError, match="on_busy must be skip, fail or xfail, got 'ignore'"):
        assert_releases_gil(len, on_busy="ignore")


def test_a_failure_says_how_it_is_mended(measured):
    measured.append(judged("holds, blocks", held=1.0, stall=0.5))
    with pytest.raises(AssertionError) as failed:
        assert_releases_gil(len)
    for word in (
        "500 ms (99 %)" if GIL else "detached",
        "with nogil:",
        "Py_BEGIN_ALLOW_THREADS",
        "gil_scoped_release",
        "detach",
    ):
        assert word in str(failed.value)
    assert "\n" not in str(failed.value)


FREE_THREADED = gilcmp.environment().free_threaded


@pytest.mark.skipif(GIL, reason="needs an interpreter without a GIL")
def test_waits_for_locks_and_pauses_are_figures_of_their_own():
    found = gilcmp.probe(sum, range(1000), budget=1)
    assert math.isnan(found.waited) or 0 <= found.waited <= 1
    told = evolve(found, waited=0.2, stopped=0.03, held=Estimate(1.0, 0.99, 1.0, 9))
    assert "20.0 % of the time, at least" in str(told)
    reason = probe_result.judge_probe(told, lambda: None).reason
    assert "waited for locks 20.0%, was stopped with the world 3.0%" in reason


@pytest.mark.skipif(not FREE_THREADED, reason="needs a free-threaded build")
def test_an_import_that_turns_the_gil_on_is_found(tmp_path, monkeypatch):
    assert_import_keeps_gil_off("json")
    assert_import_keeps_gil_off("gilcmp._kernels")
    with pytest.raises(AssertionError, match="could not import nowhere: ModuleNotFoundError"):
        assert_import_keeps_gil_off("nowhere")
    # stands for an extension that says nothing about the GIL
    (tmp_path / "silent.py").write_text("import sys; sys._is_gil_enabled = lambda: True\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(AssertionError, match=r"importing silent turned the GIL on. .*Py_MOD_GIL_NOT_USED"):
        assert_import_keeps_gil_off("silent")


@pytest.mark.skipif(FREE_THREADED, reason="needs a build that cannot be without a GIL")
def test_a_build_that_cannot_be_without_a_gil_skips_that():
    with pytest.raises(SkipTest, match="cannot run without a GIL"):
        assert_import_keeps_gil_off("json")
    with pytest.raises(ValueError, match="module must be the name of a module, got ''"):
        assert_import_keeps_gil_off("")


def test_bad_limits():
    with pytest.raises(ValueError, match="at_least must be from 0 to 1, got 2"):
        assert_releases_gil(len, at_least=2)
    with pytest.raises(ValueError, match="seconds must be from 1e-06"):
        assert_max_stall(len, seconds=0)


# ---- on the command line ----


def test_probe_a_statement(capsys):
    code, out, err = call(capsys, "probe", "zlib.compress(data)", "-s", "import zlib", "-s", "data = bytes(10**6)",
                          "--budget", "200ms")  # fmt: skip
    assert (code in (0, 3), err) == (True, "")
    name, verdict, *_, held = out.splitlines()[:4]
    assert name == "zlib.compress(data)"
    assert verdict.partition(":")[0] in WORDS
    assert code == 3 or re.match(r"held +#*\.* \d", held)


def test_probe_several_statements_and_functions(capsys):
    code, out, _ = call(capsys, "probe", "pass", "x = 1\ny = 2", "-m", "gc:collect", "--budget", "50ms")
    assert code in (0, 3)
    for word in ("statement", "pass", "gc:collect", "verdict"):
        assert word in out


def test_probe_as_json(capsys):
    code, out, _ = call(capsys, "probe", "pass", "--budget", "50ms", "--json", "-")
    (one,) = json.loads(out)
    assert code in (0, 3)
    assert {"held", "stall", "verdict", "usable", "time"} <= set(one)


def test_statements_that_raise_do_not_lose_the_others(capsys):
    code, out, err = call(capsys, "probe", "1 / 0", "x = 1", "exit(4)", "y = 2", "--budget", "20ms")
    assert code == 2
    assert "x = 1" in out
    assert "y = 2" in out
    first, second = err.splitlines()
    assert first == "gilcmp: 1 / 0: ZeroDivisionError: division by zero"
    assert second == "gilcmp: exit(4): SystemExit: 4"


def test_ctrl_c_shows_what_was_probed():
    done = process("probe", "x = 1", "raise KeyboardInterrupt", "y = 2", "--budget", "20ms")
    assert done.returncode == 130
    assert done.stderr == "gilcmp: interrupted\n"
    assert "x = 1" in done.stdout
    assert "y = 2" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to probe"),
        (["1 +"], "SyntaxError"),
        (["1 / 0"], "1 / 0: ZeroDivisionError: division by zero"),
        (["pass", "-s", "import no_such_module"], "ModuleNotFoundError"),
        (["pass", "--budget", "1ms"], "--budget must be from 10ms"),
        (["-m", "json:nothing"], "AttributeError"),
        (["pass", "--json", "/no/such/folder/x"], "cannot be written"),
    ],
)
def test_wrong_probes_are_one_line(capsys, arguments, message):
    code, out, err = call(capsys, "probe", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("gilcmp: ")
    assert err.count("\n") == 1
    assert message in err


@pytest.mark.skipif(GIL, reason="needs a build whose GIL is off")
def test_without_a_gil_there_is_no_stall_to_assert():
    with pytest.raises(SkipTest, match="nobody waits for it; assert_releases_gil tells"):
        assert_max_stall(len, "", seconds=0.01)


@pytest.mark.skipif(GIL, reason="needs a build whose GIL is off")
def test_without_a_gil_a_long_call_must_detach():
    for _ in range(5):
        try:
            with pytest.raises(AssertionError, match=r"was detached for 0\.\d% of its time .* at least 90%"):
                assert_releases_gil(hold_gil, 0.01)
            assert_releases_gil(release_gil, 0.01)
            break
        except SkipTest:
            continue
    else:
        busy_machine("neither was decided")


@needs_gil
def test_where_nobody_asked_nothing_is_known_of_stalls(monkeypatch):
    """Nobody had to wait, since nobody asked: that is no pass."""
    nothing = found(stall=math.nan)
    monkeypatch.setattr(
        testing, "decided", lambda *_, **__: evolve(nothing, stall=Stall(math.nan, math.nan, math.nan, 0))
    )
    with pytest.raises(SkipTest, match="nobody asked for the GIL during it"):
        assert_max_stall(hold_gil, 1.0, seconds=0.01)
    monkeypatch.setattr(testing, "decided", lambda *_: found(stall=0.001))
    assert assert_max_stall(hold_gil, 1.0, seconds=0.01).stall.p99 == 0.001
    monkeypatch.setattr(testing, "decided", lambda *_: found(stall=0.1))
    with pytest.raises(AssertionError, match=r"made others wait 0\.100000 s"):
        assert_max_stall(hold_gil, 1.0, seconds=0.01)


def test_a_misspelt_choice_for_a_busy_machine_is_told_although_it_is_not_needed():
    with pytest.raises(ValueError, match="on_busy must be skip, fail or xfail, got 'fial'"):
        assert_releases_gil(release_gil, 0.01, on_busy="fial")


def holds_for_a_part():
    hold_gil(0.002)
    release_gil(0.004)
    hold_gil(0.001)


@needs_gil
def test_a_call_that_holds_partly_is_told_where():
    for _ in range(10):
        told = gilcmp.probe(holds_for_a_part, budget=1.0)
        if told.lines:
            break
    first = holds_for_a_part.__code__.co_firstlineno
    assert told.lines[0].line == f"test_probe.py:{first + 1}"
    assert {line.function for line in told.lines} == {"holds_for_a_part"}
    assert sum(line.share for line in told.lines) <= 1.01
    assert f"test_probe.py:{first + 1} holds_for_a_part" in str(told)
