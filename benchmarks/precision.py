"""How far the figures and words of gilcmp can be trusted on this machine, against known truth.

    python benchmarks/precision.py intervals [--runs 100] [--budget 10] [--beside quiet busy bursts]
    python benchmarks/precision.py words [--runs 200] [--budget 2] [--busy 1 2]
    python benchmarks/precision.py probes [--runs 400] [--budget 2] [--busy 1 2]
    python benchmarks/precision.py suites [--runs 20] [--busy 1]

``intervals``: comparisons of six cells. Where the ratio must be 1, the same work is run by an executor as serial as the
serial cell (A/A). What must be 2 is native work that takes a known time by the clock, in two threads. Beside them
stands native work that computes, whose true value is the machine's. Printed: coverage of the intervals and spread (two
standard deviations) of the values, on a machine as it is, beside a busy process, and beside one that is busy in bursts.

``words``: comparisons of native code that releases and of native code that holds, in two threads, beside busy
processes: how often each word came. ``starved`` and ``too noisy`` are right words.

``probes``: calls that hold the lock for a known share of their CPU time, beside busy processes on every CPU: how many
were decided, how many wrongly, and how far off the share was.

``suites``: the test suite of an extension that is written in C, Cython and with pybind11 (``tests/extension``), beside
busy processes: how many of its tests were decided, and how many wrongly.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

import gilcmp
from gilcmp.measure.cpus import usable_cpus
from gilcmp.probing.probe_result import OPEN
from gilcmp.testing import release_gil

CONSOLE = Console(width=140)
ERRORS = Console(stderr=True)
SHARES = (0.0, 0.05, 0.5, 0.95, 1.0)
CALL = 0.01  # seconds of a probed call


# ---- what runs beside ----


UNTIL_CLOSED = "import os, random, sys, threading, time\n" + (  # they end when their input is closed
    "threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()\n"
)
NEIGHBOURS = {
    "busy": UNTIL_CLOSED + "while True: sum(range(20_000))",
    # 0.3 to 2 s, a rest as long, and so on
    "bursts": UNTIL_CLOSED
    + """
while True:
    end = time.monotonic() + random.uniform(0.3, 2.0)
    while time.monotonic() < end:
        sum(range(20_000))
    time.sleep(random.uniform(0.3, 2.0))
""",
}
# the launcher exits at once: gilcmp would count the CPU time of a descendant as its own
LAUNCH = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]], stdin=sys.stdin)"


@contextlib.contextmanager
def beside(neighbour: str, number: int) -> Iterator[None]:
    """Run `number` processes of `NEIGHBOURS` meanwhile; they end with this one, whatever happens."""
    theirs, ours = os.pipe()
    try:
        for _ in range(number):
            subprocess.run([sys.executable, "-c", LAUNCH, NEIGHBOURS[neighbour]], stdin=theirs, check=True)
        yield
    finally:
        os.close(theirs)
        os.close(ours)


# ---- work of known truth ----


class Inline(concurrent.futures.Executor):
    """Runs a task where it is handed in: as serial as the serial cell."""

    def __init__(self, workers: int) -> None:
        pass

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> concurrent.futures.Future[Any]:
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        future.set_result(function(*arguments, **named))
        return future


def by_the_clock(_: int) -> None:
    """2.5 ms of native work without the lock, by the clock: two threads take half as long, whatever the CPUs do."""
    release_gil(0.0025)


def sized(implementation: str, seconds: float) -> Callable[[], object]:
    """Native work of the kernel `count` that takes about `seconds`."""
    size = 10_000
    took = 0.0
    while took < seconds:
        size = math.ceil(size * (1.1 if took > seconds / 2 else 2))
        call = gilcmp.kernels["count"].prepared(implementation, size)
        took = min(timed(call) for _ in range(5))
    return call


def timed(call: Callable[[], object]) -> float:
    began = time.thread_time()
    call()
    return time.thread_time() - began


class Shared:
    """A call that holds the lock for a share of its CPU time, and notes what the share really was."""

    def __init__(self, share: float) -> None:
        self.holding = sized("cython_gil", share * CALL) if share > 0 else None
        self.releasing = sized("cython_nogil", (1 - share) * CALL) if share < 1 else None
        self.held = self.all = 0.0

    def __call__(self) -> None:
        began = time.thread_time()
        if self.holding:
            self.holding()
        between = time.thread_time()
        if self.releasing:
            self.releasing()
        self.held += between - began
        self.all += time.thread_time() - began


# ---- the three questions ----


def intervals(arguments: argparse.Namespace) -> None:
    computing = sized("cython_nogil", 0.0025)
    work = {"computes": lambda _: computing(), "by the clock": by_the_clock}
    wanted = {
        "A/A, computing": 1.0,
        "A/A, by the clock": 1.0,
        "two threads, by the clock": 2.0,
        "two threads": math.nan,
    }
    table = Table("beside", "what", "true", "median", "spread (2 sd)", "half-width", "covered", "no interval")
    for neighbour in arguments.beside:
        found: dict[str, list[gilcmp.Estimate]] = {name: [] for name in wanted}
        noise: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        if neighbour != "quiet":
            noise = beside(neighbour, 1)
        with noise:
            for number in track(range(arguments.runs), f"intervals, {neighbour}", console=ERRORS):
                compared = gilcmp.compare(
                    work, tasks=[0] * 4, strategies=["threads", Inline], workers=2, budget=arguments.budget, seed=number
                )
                for name, implementation, strategy in (
                    ("A/A, computing", "computes", "Inline"),
                    ("A/A, by the clock", "by the clock", "Inline"),
                    ("two threads, by the clock", "by the clock", "threads"),
                    ("two threads", "computes", "threads"),
                ):
                    found[name].append(compared[implementation, strategy].speedup)
        for name, estimates in found.items():
            truth = wanted[name]
            known = [estimate for estimate in estimates if not math.isnan(estimate.low)]
            values = [estimate.value for estimate in known]
            held = sum(estimate.low <= truth <= estimate.high for estimate in known)
            table.add_row(
                neighbour,
                name,
                "the machine's" if math.isnan(truth) else f"{truth:g}",
                f"{statistics.median(values):.3f}" if values else "-",
                f"{200 * statistics.stdev(values) / statistics.mean(values):.1f} %" if len(values) > 1 else "-",
                f"{statistics.median((e.high - e.low) / 2 / e.value for e in known):.1%}" if known else "-",
                "" if math.isnan(truth) else f"{held} of {len(known)}",
                str(len(estimates) - len(known)),
            )
    CONSOLE.print(table)


def words(arguments: argparse.Namespace) -> None:
    table = Table("busy processes", "work", "words, two threads", "wrong")
    wrong_words = {
        "releases": {"GIL-bound", "serialised", "slower", "no gain"},
        "holds": {"scales", "partial", "faster", "serialised"},
    }
    for number in arguments.busy:
        counts: dict[str, Counter[str]] = {name: Counter() for name in wrong_words}
        with beside("busy", number):
            # calibrated once, beside the same neighbours
            releasing, holding = sized("cython_nogil", 0.0025), sized("cython_gil", 0.0025)
            for seed in track(range(arguments.runs), f"words, {number} busy", console=ERRORS):
                for name, call in (("releases", releasing), ("holds", holding)):
                    compared = gilcmp.compare(
                        {name: lambda _, call=call: call()}, tasks=[0] * 4, strategies="threads", workers=2,
                        budget=arguments.budget, seed=seed,
                    )  # fmt: skip
                    counts[name][compared[name, "threads"].verdict.word] += 1
        for name, counted in counts.items():
            wrong = sum(counted[word] for word in wrong_words[name])
            listed = ", ".join(f"{word} {n}" for word, n in counted.most_common())
            table.add_row(str(number), name, listed, f"{wrong} of {counted.total()}")
    CONSOLE.print(table)


def probes(arguments: argparse.Namespace) -> None:
    table = Table(
        "busy a CPU", "share", "words", "decided", "wrong", "error of the share: median, worst", "in 3 points"
    )
    right = {
        0.0: {"releases"},
        0.05: {"releases"},
        0.5: {"releases partly"},
        0.95: {"holds", "holds, blocks"},  # native code that does not look whether others ask
        1.0: {"holds", "holds, blocks"},
    }
    for a_cpu in arguments.busy:
        with beside("busy", round(a_cpu * usable_cpus())):
            for share in SHARES:
                counted: Counter[str] = Counter()
                errors = []
                for _ in track(range(arguments.runs // len(SHARES)), f"{share:.0%}, {a_cpu} a CPU", console=ERRORS):
                    call = Shared(share)
                    call.held = call.all = 0.0
                    found = gilcmp.probe(call, budget=arguments.budget)
                    counted[found.verdict.word] += 1
                    if found.verdict.word not in OPEN:
                        errors.append(100 * abs(found.held.value - call.held / call.all))
                decided = len(errors)
                wrong = decided - sum(counted[word] for word in right[share])
                table.add_row(
                    f"{a_cpu:g}",
                    f"{share:.0%}",
                    ", ".join(f"{word} {n}" for word, n in counted.most_common()),
                    f"{decided} of {counted.total()}",
                    str(wrong),
                    f"{statistics.median(errors):.1f}, {max(errors):.1f} points" if errors else "-",
                    f"{sum(error <= 3 for error in errors)} of {decided}",
                )
    CONSOLE.print(table)


def suites(arguments: argparse.Namespace) -> None:
    table = Table("busy processes", "test", "outcomes", "decided", "wrong")
    source = Path(__file__).parents[1] / "tests" / "extension"
    with tempfile.TemporaryDirectory() as folder:
        built = shutil.copytree(source, Path(folder, "extension"))
        subprocess.run([sys.executable, "setup.py", "-q", "build_ext", "--inplace"], cwd=built, check=True)
        report = built / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:benchmark",
                   f"--junitxml={report}", "check_extension.py"]  # fmt: skip
        for number in arguments.busy:
            outcomes: dict[str, Counter[str]] = {}
            with beside("busy", number):
                for _ in track(range(arguments.runs), f"suites, {number} busy", console=ERRORS):
                    subprocess.run(command, cwd=built, check=False, capture_output=True)
                    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314  # our own pytest wrote it
                        outcome = next((child.tag for child in case if child.tag in ("failure", "skipped")), "passed")
                        outcomes.setdefault(case.get("name", ""), Counter())[outcome] += 1
            for name, counted in outcomes.items():
                wrong = counted["passed" if "_fails" in name else "failure"]
                listed = ", ".join(f"{word} {n}" for word, n in counted.most_common())
                decided = counted.total() - counted["skipped"]
                table.add_row(str(number), escape(name), listed, f"{decided} of {counted.total()}", str(wrong))
    CONSOLE.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    questions = parser.add_subparsers(required=True)
    asked = questions.add_parser("intervals")
    asked.add_argument("--runs", type=int, default=100)
    asked.add_argument("--budget", type=float, default=10.0)
    asked.add_argument("--beside", nargs="+", choices=["quiet", "busy", "bursts"], default=["quiet", "busy", "bursts"])
    asked.set_defaults(answer=intervals)
    asked = questions.add_parser("suites")
    asked.add_argument("--runs", type=int, default=20)
    asked.add_argument("--busy", nargs="+", type=int, default=[1])
    asked.set_defaults(answer=suites)
    for name, answer, runs in (("words", words, 200), ("probes", probes, 400)):
        asked = questions.add_parser(name)
        asked.add_argument("--runs", type=int, default=runs)
        asked.add_argument("--budget", type=float, default=2.0)
        asked.add_argument("--busy", type=float if name == "probes" else int, nargs="+", default=[1, 2])
        asked.set_defaults(answer=answer)
    arguments = parser.parse_args()
    arguments.answer(arguments)


if __name__ == "__main__":
    main()
