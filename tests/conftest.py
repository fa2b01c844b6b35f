"""What several test modules need."""

from __future__ import annotations

import json

import psutil
import pytest

import gilcmp
from gilcmp.accounting import Observation
from gilcmp.results import CellRecord, PoolStart, Run, Settings


def observation(number=1, wall=0.1, cores=1.0, delay=0.0, blocked=0.0, foreign=0.0, harness=0.0):
    """An observation from shares of the wall time, as the design's table gives them."""
    return Observation(
        round=number,
        wall=wall,
        cpu=cores * wall,
        run_delay=None if delay is None else delay * wall,
        blocked=blocked * wall,
        harness=harness * wall,
        foreign=foreign,
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
    """A run around records of cells, on a machine with so many CPUs."""
    from attrs import evolve

    environment = evolve(gilcmp.environment(), cpus_allowed=cpus, cpus_logical=cpus, cpu_quota=None)
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


@pytest.fixture
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
            record(name, "threads", 2, threads),
            record(name, "processes", 2, halved),
        ]
    return made_up_run(cells)


@pytest.fixture
def run_json(run):
    """The same as parsed JSON."""
    from gilcmp.results import to_json

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
