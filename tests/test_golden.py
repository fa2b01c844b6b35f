"""Everything that is said of two made-up runs, word for word: each word, tone, mark and column against `golden/`.

After a change that is meant: ``GILCMP_GOLDEN=write python -m pytest tests/test_golden.py``, and read the difference.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from attrs import asdict, evolve

import gilcmp
from conftest import made_up_run, observation, record
from gilcmp.reporting.sections import report_sections
from gilcmp.saved.environment import Environment
from gilcmp.saved.observation import TaskSpan
from gilcmp.saved.run import PoolStart
from gilcmp.show.text import plain as plain_text

GOLDEN = Path(__file__).parent / "golden"
NUMBERS = range(1, 13)
# times by which the rounds of a cell differ: no two alike, and none like its neighbours
WOBBLE = [1.0, 1.02, 0.98, 1.01, 0.99, 1.03, 0.97, 1.005, 0.995, 1.015, 0.985, 1.0]

ENVIRONMENT = Environment(
    python="3.13.0", implementation="CPython", python_build="main", python_compiler="GCC 12", free_threaded=False,
    gil_enabled=True, switch_interval=0.005, extension_compiler="gcc 12", extension_flags="-O3", cpu="a CPU",
    cpus_logical=4, cpus_allowed=2, cpus_physical=2, cpu_quota=None, load=(0.1, 0.2, 0.3), memory=8 * 2**30,
    system="Linux 6.1", machine="x86_64", run_delay=True, start_method="fork", packages={"numpy": "2.0"},
)  # fmt: skip


def rounds(wall, noise=0.5, **shares):
    """Twelve rounds of a cell; `noise` widens how they differ."""
    return [observation(n, wall=wall * (1 + noise * (w - 1)), **shares) for n, w in zip(NUMBERS, WOBBLE, strict=True)]


def cells(kernel, times, work=1000):
    """The cells of an implementation, one for each word that there is; `times` of its wall times."""
    serial = rounds(0.1 * times, noise=1)
    apart = {"strategy": "processes", "shares_gil": False, "kernel": kernel, "work": work}
    here = {"strategy": "threads", "kernel": kernel, "work": work}
    spans = [TaskSpan(0, 0.0, 0.02), TaskSpan(1, 0.001, 0.03), TaskSpan(0, 0.02, 0.05)]
    bound = {"cores": 1.0, "blocked": 1.0}
    return [
        record("python", kernel=kernel, rounds=serial, work=work, latest=spans),
        record("python", workers=1, rounds=rounds(0.13 * times), **here),
        record("python", workers=2, rounds=rounds(0.101 * times, **bound), gil_held=0.98, latest=spans, **here),
        record("python", workers=4, rounds=rounds(0.1 * times, **bound), gil_held=0.1, **here),
        record("python", workers=2, rounds=rounds(0.052 * times, cores=1.9), latest=spans, **apart),
        record("numpy", kernel=kernel, rounds=serial, work=work),
        record("numpy", workers=2, rounds=rounds(0.07 * times, cores=1.45, blocked=0.4), handed=16, **apart),
        record("numpy", workers=4, rounds=rounds(0.07 * times, cores=1.87), handed=16, **apart),
        record("numpy", workers=2, rounds=rounds(0.14 * times, cores=1.87), **here),
        record("numpy", workers=4, rounds=rounds(0.06 * times, noise=6, cores=1.8), **here),
        record("cython_gil", kernel=kernel, rounds=rounds(0.1 * times, noise=1, harness=0.4), work=work),
        record("cython_gil", workers=2, rounds=rounds(0.1 * times, cores=1.6), gil_held=0.2, **here),
        record("cython_gil", workers=2, rounds=rounds(0.07 * times, noise=15, cores=1.5), **apart),
        record("cython_nogil", kernel=kernel, rounds=serial, work=work),
        record("cython_nogil", workers=2, rounds=rounds(0.052 * times, cores=1.9), gil_held=0.01, **here),
        record("cython_nogil", workers=4, rounds=rounds(0.1, foreign=1.0, delay=1.0), gil_held=0.01, **here),
        record("cython_nogil", workers=2, error="cannot be sent to another process", **apart),
    ]


@pytest.fixture(scope="module")
def runs():
    pools = [
        PoolStart("threads", 2, 0.001, 4e-5),
        PoolStart("processes", 2, 0.05, 2e-4),
        PoolStart("processes", 4, 0.09, 3e-4),
    ]
    first = made_up_run([*cells("pi", 1.0), *cells("dot", 2.0, work=500)], environment=ENVIRONMENT, pools=pools)
    other = evolve(ENVIRONMENT, cpu="another CPU", load=(3.0, 2.0, 1.0), packages={"numpy": "2.1"}, cpus_physical=1)
    second = made_up_run(
        [
            *cells("pi", 1.3)[:14],
            record("cython_nogil", "threads", 8, rounds=rounds(0.066)),
            *(evolve(cell, kernel_version=2) for cell in cells("dot", 1.0)[:5]),
        ],
        environment=other,
        complete=False,
    )
    free = evolve(other, free_threaded=True, gil_enabled=False, python="3.14.0")
    third = made_up_run([evolve(cell, shares_gil=False) for cell in cells("pi", 0.8)], environment=free)
    return [gilcmp.Comparison(run) for run in (first, second, third)]


def plain(value):
    """The same with numbers of four digits: the last bits are the platform's, and how its Python adds."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.4g}") if not abs(value) < 1e-12 else 0.0
    return value


def lines(values):
    """A line of JSON for each, so that a difference can be read."""
    return "\n".join(json.dumps(plain(value)) for value in values)


def figures(cell):
    """All numbers of a cell."""
    estimates = (cell.speedup, cell.efficiency, cell.time, cell.cores, cell.run_delay, cell.blocked)
    others = (cell.serial_fraction, cell.startup, cell.hand_over, cell.gil_enabled, str(cell.verdict.reason))
    shares = cell.time_shares and asdict(cell.time_shares)
    return [repr(cell), *map(asdict, estimates), *others, shares, asdict(cell.verdict.shown())]


def everything(runs):
    first, second, third = runs
    difference = gilcmp.diff(first, second, third)
    parts = [
        part for found in report_sections([("1.json", first), ("2.json", second)], [], [], []) for part in found.parts
    ]
    return {
        "comparisons.txt": "\n\n".join(f"{comparison!r}\n{comparison}" for comparison in runs),
        "overviews.txt": "\n\n".join(plain_text(result.overview()) for result in (*runs, difference)),
        "cells.jsonl": lines(figures(cell) for cell in first),
        "sections.jsonl": lines(asdict(part) for found in (first, second, difference) for part in found.sections()),
        "report.jsonl": lines(asdict(part) for part in parts),
        "diff.txt": str(difference),
        "diff.csv": difference.to_csv(),
        "diff.jsonl": lines(json.loads(difference.to_json())["runs"]),
        "worse.jsonl": lines((name, cell.key, text) for name, cell, text in difference.below(0.9)),
    }


def test_nothing_that_is_said_changes_unseen(runs):
    said = everything(runs)
    if os.environ.get("GILCMP_GOLDEN") == "write":
        for name, text in said.items():
            (GOLDEN / name).write_text(text + "\n")
    changed = [name for name, text in said.items() if (GOLDEN / name).read_text() != text + "\n"]
    if changed:  # one after the other, for pytest to show
        name = changed[0]
        assert said[name].splitlines() == (GOLDEN / name).read_text().splitlines(), name
    assert {path.name for path in GOLDEN.iterdir()} == set(said)


def test_every_word_of_the_judge_is_in_it(runs):
    words = {cell.verdict.word for comparison in runs for cell in comparison}
    assert words == {
        "baseline", "scales", "partial", "faster", "GIL-bound", "serialised", "slower", "no gain", "starved",
        "too noisy", "not measured",
    }  # fmt: skip
    reasons = " ".join(cell.verdict.reason for comparison in runs for cell in comparison)
    for reason in ("handing the tasks over", "threads of its own", "the CPU time", "took turns|another lock"):
        assert re.search(reason, reasons), reason
