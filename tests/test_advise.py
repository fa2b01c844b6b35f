"""What `gilcmp advise` recommends, of made-up figures whose answer is known, and how it predicts."""

from __future__ import annotations

import json
import math
import re
import sys
import zlib

import pytest
from attrs import evolve

import gilcmp
from conftest import made_up_run, observation, record
from gilcmp import Comparison, Estimate
from gilcmp.advising.advise import concluded
from gilcmp.advising.scaling import amdahl, break_even, crosstalk, predicted, serial_share, shortest_task, universal
from gilcmp.cli import main as cli
from gilcmp.measure import on_dask
from gilcmp.saved.kept import flat
from gilcmp.saved.run import PoolStart
from test_probe import found

ROUNDS = range(1, 13)
SERIAL = 0.1  # seconds of a round
TASKS = 16
UNKNOWN = Estimate(math.nan, math.nan, math.nan, 0)


def rounds(speedup, cores=None, blocked=0.0):
    return [
        observation(
            n, wall=SERIAL / speedup * (1 + 0.002 * (n % 3)), cores=speedup if cores is None else cores, blocked=blocked
        )
        for n in ROUNDS
    ]


def advice(threads=None, processes=None, held=1.0, waiting=False, errors=(), there=(), dask=(), pace=0.001, **sent):
    """The advice for a task of 6 ms, with these speed-ups by 2 workers; None: not measured.

    `dask`: what it gains as well, if it is tried; `pace`: its seconds to hand a task out.
    """
    serial = rounds(1.0, cores=0.05, blocked=0.95) if waiting else rounds(1.0)
    cells = [record("f", "serial", 1, serial, work=TASKS, unit="task")]
    for strategy, speedup in (("threads", threads), ("processes", processes), *(("dask", gain) for gain in dask)):
        if speedup is None:
            cells.append(
                record("f", strategy, 2, (), work=TASKS, error=dict(errors).get(strategy, "it cannot be sent"))
            )
            continue
        seen = (
            rounds(speedup, cores=0.1, blocked=1.9)
            if waiting
            else rounds(speedup, blocked=2 - speedup if speedup < 1.2 else 0)
        )
        extra = sent if strategy == "processes" else {}
        cells.append(record("f", strategy, 2, seen, work=TASKS, unit="task", handed=TASKS, **extra))
    pools = [
        PoolStart("threads", 2, 0.001, 0.00004, 50_000),
        PoolStart("processes", 2, 0.05, 0.0005, 12_000_000),
        PoolStart("dask", 2, 1.5, pace, None),
    ]
    run = made_up_run(cells, pools=pools)
    return concluded(Comparison(run), found(held=Estimate(held, held, held, 64)), "f", there)


@pytest.mark.parametrize(
    ("figures", "way", "because"),
    [
        ({"threads": 1.0, "processes": 1.9}, "processes", "kept from it by the GIL, which a task holds for 100 %"),
        ({"threads": 1.95, "processes": 1.9, "held": 0.01}, "threads", "holds the GIL for only 1 %"),
        ({"threads": 1.95, "processes": 1.95, "waiting": True, "held": 0.01}, "threads", "waits for 95 %"),
        ({"threads": 1.0}, "leave it as it is", "processes could not be measured: it cannot be sent"),
        ({"threads": 0.7, "processes": 1.0, "held": 0.8}, "leave it as it is", "threads take turns"),
        (
            {"threads": 1.0, "processes": 0.3, "sending": 0.3, "bytes_out": 100, "bytes_back": 10**8},
            "leave it as it is", "sending a task and its answer to processes takes 300 ms",
        ),
        ({"threads": 1.6, "processes": 1.95, "held": 0.3}, "processes", "kept from it by the GIL"),
    ],
)  # fmt: skip
def test_the_right_way_is_recommended_with_its_reason(figures, way, because):
    told = advice(**figures)
    assert told.way == way, told
    assert because in told.reason, told.reason
    assert because.partition(":")[0] in " ".join(str(told).split())
    assert max(map(len, str(told).splitlines())) <= 80


def test_what_the_figures_do_not_decide_is_not_decided():
    starved = [observation(n, wall=0.1, cores=1.0, delay=0.4, foreign=1.0) for n in ROUNDS]
    cells = [record("f", "serial", 1, starved, work=TASKS), record("f", "threads", 2, starved, work=TASKS)]
    told = concluded(Comparison(made_up_run(cells)), found(held=0.01), "f")
    assert told.way == "not decided"
    assert "threads x 2 starved" in told.reason


def test_what_would_change_it_and_from_how_many_tasks_on():
    told = advice(threads=1.0, processes=1.9)
    option = told.options[0]
    assert option.strategy == "processes"
    saved = SERIAL / TASKS * (1 - 1 / 1.9)
    assert option.tasks == pytest.approx(math.ceil(0.05 / saved), abs=1)
    assert option.length == pytest.approx(2 * 0.0005)
    assert option.memory == 12_000_000
    changes = " ".join(told.changes)
    assert f"fewer than {int(option.tasks)} tasks" in changes
    assert "a free-threaded build" in changes
    assert "12.0 MB" in str(told)


def elsewhere(task, speedup, gil_enabled=False):
    """The same tasks in a free-threaded build, where one takes `task` times as long as here."""
    seen = [
        [evolve(each, wall=each.wall * task) for each in rounds(times, blocked=2 - times if times < 1.2 else 0)]
        for times in (1.0, speedup)
    ]
    cells = [
        record("f", "serial", 1, seen[0], work=TASKS, unit="task"),
        record("f", "threads", 2, seen[1], work=TASKS, unit="task", handed=TASKS),
    ]
    where = evolve(made_up_run([]).environment, python="3.14.1", free_threaded=True, gil_enabled=gil_enabled)
    return Comparison(evolve(made_up_run(cells, pools=[PoolStart("threads", 2, 0.001, 4e-5, None)]), environment=where))


def test_another_interpreter_is_recommended_where_its_threads_gain_most():
    told = advice(threads=1.0, processes=1.3, there=[elsewhere(task=1.1, speedup=1.95)])
    assert told.way == "another interpreter", told
    assert told.chosen.python == "3.14.1t"
    assert told.chosen.speedup.value == pytest.approx(1.95 / 1.1, rel=0.01)
    assert "2 threads on 3.14.1t do it" in told.reason
    assert "kept from it by the GIL, which a task holds for 100 %" in told.reason
    assert told.chosen.predicted["4"].value == pytest.approx(amdahl(serial_share(1.95, 2), 4) / 1.1, rel=0.02)
    shown = " ".join(str(told).split())
    assert "Another interpreter: 2 threads on 3.14.1t" in shown
    assert "3.14.1, GIL off: a task takes" in shown
    assert "a free-threaded build:" not in shown, "it was measured"
    assert max(map(len, str(told).splitlines())) <= 80


@pytest.mark.parametrize(
    ("there", "way"),
    [
        (elsewhere(task=1.1, speedup=1.95), "processes"),  # 1.77, and processes 1.7: nothing need be moved for that
        (elsewhere(task=2.5, speedup=1.95), "processes"),  # scales there, and is slower than one thread here
        (elsewhere(task=1.0, speedup=1.0, gil_enabled=True), "processes"),  # a module has turned the GIL on
    ],
)
def test_another_interpreter_is_not_recommended_for_little(there, way):
    told = advice(threads=1.0, processes=1.7, there=[there])
    assert told.way == way, told
    assert told.chosen.python is None
    assert "threads on 3.14.1t" in told.reason


@pytest.mark.parametrize(("task", "gain"), [(2.5, "0.78"), (1.77, "1.10")])
def test_another_interpreter_that_hardly_gains_leaves_it_as_it_is(task, gain):
    told = advice(threads=1.0, processes=1.0, there=[elsewhere(task=task, speedup=1.95)])
    assert told.way == "leave it as it is", told
    assert f"nothing is gained by threads on 3.14.1t ({gain}" in told.reason


@pytest.mark.parametrize(
    ("figures", "way", "more"),
    [
        ({"processes": 1.8, "dask": [1.85]}, "processes", "so about 6 CPUs are kept busy with tasks of 6"),  # as much
        ({"dask": [1.85]}, "dask", "so about 6 CPUs"),  # only it can send them
        ({"processes": 1.8, "dask": [1.0], "pace": 0.004}, "processes", "too long for tasks of 6"),
        ({"processes": 1.8, "dask": [None]}, "processes", "dask could not be measured"),
        ({"processes": 1.8}, "processes", "--dask local tries it"),
    ],
)
def test_dask_is_recommended_where_nothing_nearer_does_it_and_its_pace_tells_for_how_many_cpus(figures, way, more):
    told = advice(threads=1.0, **figures)
    assert told.way == way, told
    assert more in " ".join(" ".join(told.changes).split())
    assert max(map(len, str(told).splitlines())) <= 80


# ---- predictions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("serial", [0.0, 0.01, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("here", [2, 4])
def test_a_machine_that_follows_amdahl_is_predicted(serial, here):
    truth = amdahl(serial, here)
    measured = Estimate(truth, truth * 0.98, truth * 1.02, 20)
    for cpus in (4, 16, 64):
        told = predicted(measured, here, UNKNOWN, cpus)
        assert told.low <= amdahl(serial, cpus) <= told.high
        assert told.low <= told.value <= told.high
        known = predicted(measured, here, Estimate(serial, serial, serial, 64), cpus)
        assert known.low <= amdahl(serial, cpus) <= known.high


@pytest.mark.parametrize("disturbed", [0.1, 0.3])
def test_workers_that_disturb_each_other_get_slower(disturbed):
    truth = universal(1.0, disturbed, 2)
    assert truth < 1
    told = predicted(Estimate(truth, truth * 0.97, truth * 1.03, 20), 2, UNKNOWN, 16)
    assert told.high < truth * 1.05
    assert told.low <= universal(1.0, crosstalk(truth, 2, 1.0), 16) <= told.high


def test_nothing_is_predicted_from_nothing():
    assert math.isnan(predicted(UNKNOWN, 2, UNKNOWN, 16).value)
    assert math.isnan(predicted(Estimate(1.9, 1.8, 2.0, 9), 1, UNKNOWN, 16).value)


def test_the_formulas():
    assert amdahl(0.0, 16) == 16
    assert amdahl(1.0, 16) == 1
    assert serial_share(amdahl(0.2, 4), 4) == pytest.approx(0.2)
    assert break_even(1.0, 0.1, 0.05) == 20
    assert break_even(1.0, 0.1, 0.1) == math.inf
    assert shortest_task(0.001, 2) == 0.002
    assert shortest_task(0.001, 1) == math.inf


# ---- measured ------------------------------------------------------------------------------------------------------


def pack(data):
    return len(zlib.compress(data))


def test_threads_are_tried_in_another_interpreter():
    told = gilcmp.advise(flat, tasks=[{"a": 1}] * 8, budget="1s", pythons=[sys.executable])
    (there,) = (option for option in told.options if option.python)
    assert (there.strategy, there.python) == ("threads", gilcmp.environment().python_name)
    assert there.verdict != "not measured", there.reason
    assert {option.strategy for option in told.options if not option.python} >= {"threads", "processes"}


@pytest.mark.parametrize(
    ("func", "tasks", "message"),
    [
        (lambda: None, None, "func must be a function of a module, got test_advise.<lambda>"),
        (gilcmp.diff, [object()], "tasks must be a number, or what JSON can express: Object of type object"),
    ],
)
def test_what_another_interpreter_cannot_be_given_is_named(func, tasks, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        gilcmp.advise(func, tasks=tasks, pythons=[sys.executable])
    with pytest.raises(gilcmp.PythonError, match=r"'python9\.99' not found"):
        gilcmp.advise(gilcmp.diff, pythons=["python9.99"])


def test_ctrl_c_before_anything_is_measured_elsewhere_is_ctrl_c():
    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gilcmp.advise(flat, tasks=[{"a": 1}], budget="1s", pythons=[sys.executable], progress=stop)


async def coroutine():
    return 1


def test_it_measures_and_is_saved_and_loaded(tmp_path):
    told = gilcmp.advise(pack, tasks=[bytes(200_000)] * 8, budget="1s")
    assert {option.strategy for option in told.options} >= {"threads", "processes"}
    assert told.way in {"threads", "processes", "interpreters", "leave it as it is", "not decided"}
    told.save(tmp_path / "advice.json")
    assert str(gilcmp.load(tmp_path / "advice.json")) == str(told)
    assert "threads" in told.to_csv()


def test_coroutines_are_for_asyncio():
    told = gilcmp.advise(coroutine, budget="1s")
    assert {option.strategy for option in told.options} == {"asyncio"}


def test_the_command(capsys, tmp_path):
    path = str(tmp_path / "advice.json")
    with pytest.raises(SystemExit) as stop:
        cli.main(
            [
                "advise",
                "zlib.compress(data)",
                "-s",
                "import zlib; data = bytes(100000)",
                "--budget",
                "2s",
                "--json",
                path,
            ]
        )
    assert stop.value.code in (0, 3)
    shown = capsys.readouterr().out
    assert shown.startswith("zlib.compress(data)\n")
    assert "way" in shown
    assert json.loads((tmp_path / "advice.json").read_text())["format"] == "gilcmp advice"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope:f"], "ModuleNotFoundError"),
        (["len([])", "--budget", "100ms"], "--budget must be from 1s"),
        (["len([])", "--workers", "1"], "1 is not in the range"),
        (["len([])", "--python", "python3"], "other interpreters are given package.module:function, no statements"),
        (["zlib:crc32", "--python", "python9.99"], "python 'python9.99' not found"),
        (["zlib:crc32", "--dask", "local"], "--dask needs what the extra gilcmp[dask] brings"),
        (["nope(3)", "--budget", "1s"], "name 'nope' is not defined"),
    ],
)
def test_wrong_usage_is_one_line(arguments, message, capsys, monkeypatch):
    monkeypatch.setattr(on_dask, "no_dask", lambda: "needs what the extra gilcmp[dask] brings")
    with pytest.raises(SystemExit) as stop:
        cli.main(["advise", *arguments])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_wrong_arguments_are_named():
    with pytest.raises(TypeError, match="func must be callable, got int"):
        gilcmp.advise(3)
    with pytest.raises(ValueError, match="tasks must not be empty"):
        gilcmp.advise(len, tasks=[])
    with pytest.raises(ValueError, match="budget must be from 1"):
        gilcmp.advise(len, budget=0.1)
    with pytest.raises(ValueError, match="dask runs functions, and func is a coroutine function"):
        gilcmp.advise(coroutine, dask="local")
