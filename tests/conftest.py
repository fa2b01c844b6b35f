"""What several test modules need."""

from __future__ import annotations

import json
import os
import pathlib
import uuid

import psutil
import pytest
from attrs import asdict, evolve

import gilcmp
from gilcmp.experiments.claim import Figure
from gilcmp.experiments.results import Claims, Result
from gilcmp.judge.comparison import Comparison
from gilcmp.judge.estimate import Estimate
from gilcmp.judge.verdict import Verdict
from gilcmp.probing.probe_result import Probe, Stall
from gilcmp.probing.threshold import Point, Threshold
from gilcmp.saved.observation import Observation
from gilcmp.saved.reading import without_nan
from gilcmp.saved.run import CellRecord, PoolStart, Run, Settings, save_run

# Our plugin measures next to nothing in a worker of xdist, since workers disturb each other. What it does otherwise is
# tested in sessions of their own, which inherit the environment.
os.environ.pop("PYTEST_XDIST_WORKER", None)


def observation(number=1, wall=0.1, cores=1.0, delay=0.0, blocked=0.0, foreign=0.0, harness=0.0, granted=None):
    """An observation from shares of the wall time, as the design's table gives them."""
    return Observation(
        round=number,
        wall=wall,
        cpu=cores * wall,
        run_delay=None if delay is None else delay * wall,
        blocked=blocked * wall,
        harness=harness * wall,
        foreign=foreign,
        granted=granted,
    )


def record(implementation="python", strategy="serial", workers=1, rounds=(), kernel="pi", **changes):
    """A cell's record of a kernel, with the observations given."""
    values = {
        "kernel": kernel,
        "implementation": implementation,
        "strategy": strategy,
        "workers": workers,
        "kernel_version": 1,
        "size": 1000,
        "unit": "point",
        "work": 1000,
        "tasks": 16,
        "repeats": 1,
        "shares_gil": strategy != "processes",
        "error": None,
        "rounds": list(rounds),
    }
    return CellRecord(**(values | changes))


def made_up_run(cells, cpus=2, **changes):
    """A run around records of cells, on a machine with so many CPUs and a CPython with a GIL."""
    environment = evolve(
        gilcmp.environment(), cpus_allowed=cpus, cpus_logical=cpus, cpu_quota=None, free_threaded=False,
        gil_enabled=True, gil_culprit=None, cpu="AMD EPYC",
    )  # fmt: skip
    values = {
        "gilcmp": gilcmp.__version__,
        "created": "2026-01-01T00:00:00+00:00",
        "complete": True,
        "environment": environment,
        "settings": Settings(budget=1.0, seed=0, size=None),
        "pools": [PoolStart("threads", 2, 0.001)],
        "cells": list(cells),
    }
    return Run(**(values | changes))


def seen_well(measure, well, tries=5):
    """Measure until what was seen is enough to be judged; skip the test where the machine never lets it be."""
    for _ in range(tries):
        result = measure()
        if well(result):
            return result
    return busy_machine(f"the watcher had hardly a core, {tries} times over")


def busy_machine(reason):
    """Skip a test that other load makes undecidable; .ci/skipped-everywhere looks for this message."""
    pytest.skip(f"busy machine: {reason}")


# ---- which tests run anywhere at all: CI fails on one that is skipped in every job (.ci/skipped-everywhere)

OUTCOMES = os.environ.get("GILCMP_OUTCOMES")
_outcomes = {}


def pytest_runtest_logreport(report):
    if OUTCOMES and (report.when == "call" or report.skipped):
        _outcomes[report.nodeid] = str(report.longrepr[2]) if report.skipped else ""


def pytest_sessionfinish(session):
    if OUTCOMES and _outcomes and not hasattr(session.config, "workerinput"):
        folder = pathlib.Path(OUTCOMES)
        folder.mkdir(parents=True, exist_ok=True)
        environment = gilcmp.environment()
        job = {"python": environment.python, "free_threaded": environment.free_threaded, "tests": _outcomes}
        (folder / f"{uuid.uuid4()}.json").write_text(json.dumps(job))


@pytest.fixture(scope="session")
def run():
    """A small run: nogil threads scale, gil threads do not, processes do."""
    numbers = range(1, 13)
    serial = [observation(n, wall=0.1) for n in numbers]
    halved = [observation(n, wall=0.051, cores=1.96) for n in numbers]
    turns = [observation(n, wall=0.102, cores=1.0, blocked=0.98) for n in numbers]
    cells = []
    for name, threads in (("python", turns), ("cython_gil", turns), ("cython_nogil", halved)):
        cells += [
            record(name, "serial", 1, serial),
            record(name, "threads", 2, threads, gil_held=0.98 if threads is turns else 0.02),
            record(name, "processes", 2, halved),
        ]
    return made_up_run(cells)


@pytest.fixture
def run_json(run):
    """The same as parsed JSON."""
    from gilcmp.saved.run import to_json

    return json.loads(to_json(run))


def child_processes():
    """Children of this process, without the two that multiprocessing keeps until the end."""
    kept = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
    found = set()
    for child in psutil.Process().children(recursive=True):
        try:
            if not any(name in " ".join(child.cmdline()) for name in kept):
                found.add(child)
        except psutil.Error:  # it has just ended
            continue
    return found


@pytest.fixture
def no_child_is_left():
    """Fail a test that leaves a process behind."""
    before = child_processes()
    yield
    assert child_processes() <= before


# ---- results of every kind, made up


@pytest.fixture(scope="session")
def comparison(run):
    return Comparison(run)


@pytest.fixture(scope="session")
def claims():
    figures = (Figure("speed-up", 1.95, "x", 1.9, 2.0), Figure("unknown", float("nan")))
    results = [
        Result(
            "cpu-threads",
            "Threads do not help.",
            "Threads count down.",
            "",
            "3.13.0",
            Verdict(word, "because"),
            figures,
            1.0,
        )
        for word in ("confirmed", "cannot be tested here")
    ]
    return Claims(results, evolve(gilcmp.environment(), cpu="AMD EPYC"))


@pytest.fixture(scope="session")
def probe():
    return Probe(
        "zlib.compress(data)", 10, 0.01, Estimate(0.02, 0.01, 0.03, 10), 0.0, 1e-4, 2.0, Stall(1e-6, 2e-5, 3e-4, 100),
        0.9, float("nan"), Verdict("releases", "the lock was held 2.0% of the time"),
    )  # fmt: skip


@pytest.fixture(scope="session")
def threshold():
    def estimate(value):
        return Estimate(value, 0.9 * value, 1.1 * value, 9)

    points = tuple(
        Point(10**n, estimate(10.0**n * 1e-9), estimate(0.5 / 10**n), estimate(0.3 + 0.4 * n)) for n in range(1, 5)
    )
    return Threshold("dot", 2, estimate(5e-8), 0.005, estimate(120.0), estimate(40.0), points, "")


@pytest.fixture(scope="session")
def files(run, claims, probe, threshold, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    paths = [folder / f"{name}.json" for name in ("run", "claims", "probe", "threshold")]
    save_run(run, paths[0])
    claims.save(paths[1])
    paths[2].write_text(json.dumps(without_nan([asdict(probe)])))
    paths[3].write_text(json.dumps(without_nan(asdict(threshold))))
    return paths
