"""What recording a timeline costs a program, and how true its shares are.

    python benchmarks/timeline_cost.py [--pairs 20] [--seconds 1] [PROGRAM ...]

Cost: a program does the same amount of work again and again in one process, not recorded, recorded, not recorded, and
then the other way round; the figure is the median of the ratios with its 95 % interval. Two processes would not do:
the same bytecode differs by 5 % from process to process, with where its memory lies.
Truth: `gilcmp timeline` runs a program whose thread "strokes" knows for which share of the time it held the GIL, and
that is compared with the trace.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from rich.console import Console
from rich.table import Table

import gilcmp
from gilcmp import kernels
from gilcmp.judge.estimate import Estimate, median
from gilcmp.watch import _gil


def nogil(pieces: int) -> None:
    """Compute without the GIL: a fixed amount, in calls of about 20 ms."""
    call = kernels["pi"].prepared("cython_nogil", 20_000_000)
    for _ in range(pieces):
        call()


def python(pieces: int) -> None:
    """Compute in bytecode: a fixed amount, in loops of about 20 ms."""
    for _ in range(pieces):
        n = 400_000
        while n:
            n -= 1


def threads(*functions: Callable[[], object]) -> None:
    """Run functions in threads that have their names."""
    started = [threading.Thread(target=function, name=function.__name__) for function in functions]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()


def half_held(pieces: int) -> float:
    """One thread holds the GIL for every other millisecond, one computes without it."""
    over = threading.Event()
    held: list[float] = []

    def strokes() -> None:
        while not over.is_set():
            held.append(_gil.alternate(1e-3, 1e-3, 0.1))

    def computes() -> None:
        try:
            nogil(pieces)
        finally:
            over.set()

    threads(strokes, computes)
    return sum(held) / len(held)


def two_computing(pieces: int) -> None:
    """Two threads compute without the GIL: both cores are busy."""

    def first() -> None:
        nogil(pieces)

    def second() -> None:
        nogil(pieces)

    threads(first, second)


def one_python(pieces: int) -> None:
    """One thread computes in bytecode."""
    python(pieces)


def two_python(pieces: int) -> None:
    """Two threads computing in bytecode take turns."""

    def first() -> None:
        python(pieces // 2)

    def second() -> None:
        python(pieces // 2)

    threads(first, second)


def ping_pong(pieces: int) -> None:
    """Two threads wake each other, 1000 times a piece."""
    ping, pong = threading.Semaphore(0), threading.Semaphore(0)

    def first() -> None:
        for _ in range(1000 * pieces):
            ping.release()
            pong.acquire()

    def second() -> None:
        for _ in range(1000 * pieces):
            ping.acquire()
            pong.release()

    threads(first, second)


PROGRAMS = {
    "half_held": half_held,
    "two_computing": two_computing,
    "one_python": one_python,
    "two_python": two_python,
    "ping_pong": ping_pong,
}


def took(name: str, pieces: int, around: AbstractContextManager[object]) -> float:
    """Return how long the work takes; recorded or not, by the same way through the code: calls matter by 3 %."""
    with around:
        began = time.perf_counter()
        PROGRAMS[name](pieces)
        return time.perf_counter() - began


def cost(name: str, pairs: int, seconds: float, pace: float | None) -> tuple[Estimate, Estimate]:
    """Return how many times as long the work takes while it is recorded; and while it is not: the control."""
    took(name, 10, nullcontext())
    pieces = max(2, round(10 * seconds / took(name, 10, nullcontext())))
    ratios: dict[str, list[float]] = {"recorded": [], "control": []}
    for pair in range(pairs):
        kinds = ["plain", "recorded", "control"]
        seen = {}
        for kind in kinds if pair % 2 else reversed(kinds):
            around = gilcmp.timeline(pace=pace) if kind == "recorded" else nullcontext()
            seen[kind] = took(name, pieces, around)
        ratios["recorded"].append(2 * seen["recorded"] / (seen["plain"] + seen["control"]))
        ratios["control"].append(seen["control"] / seen["plain"])
    return median(ratios["recorded"]), median(ratios["control"])


def truth(seconds: float) -> tuple[float, float]:
    """Record a program in a process of its own; return the share held by "strokes" and what the trace says."""
    pieces = max(2, round(20 * seconds / took("half_held", 20, nullcontext())))
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        command = [
            sys.executable,
            "-m",
            "gilcmp",
            "timeline",
            "-q",
            "-o",
            str(trace),
            __file__,
            "--strokes",
            str(pieces),
        ]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        return float(done.stdout), held_by(trace, "strokes")


def held_by(trace: Path, thread: str) -> float:
    """Return the share of its life for which a thread held the GIL, by the trace."""
    events = json.loads(trace.read_text())["traceEvents"]
    number = next(e["tid"] for e in events if e["name"] == "thread_name" and e["args"]["name"] == thread)
    own = [e for e in events if e["ph"] == "X" and e["tid"] == number]
    held = sum(e["dur"] for e in own if e["name"] == "holds the GIL")
    return float(held / sum(e["dur"] for e in own))


def _three_digits(value: Estimate) -> str:
    return f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help=", ".join(PROGRAMS))
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--pace", type=float, help="seconds between two looks; default: the recorder's own")
    parser.add_argument("--strokes", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.strokes:
        print(half_held(options.strokes))
        return
    names = options.programs or list(PROGRAMS)
    table = Table("program", "times as long, recorded [95 %]", "control, not recorded", box=None, header_style="dim")
    for name in names:
        found = cost(name, options.pairs, options.seconds, options.pace)
        table.add_row(name, *map(_three_digits, found))
    Console().print(table)
    if "half_held" in names:
        table = Table("strokes held the GIL", "by the trace", "error, points", box=None, header_style="dim")
        for _ in range(5):
            held, seen = truth(25 * options.seconds)
            table.add_row(f"{held:.4f}", f"{seen:.4f}", f"{100 * (seen - held):+.2f}")
        Console().print(table)


if __name__ == "__main__":
    main()
