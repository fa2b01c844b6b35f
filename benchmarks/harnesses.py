"""Ask pyperf, pytest-benchmark and gilcmp the same A/A question: whether some work is as fast as itself.

    python benchmarks/harnesses.py [--runs 30] [--seconds 4]      (pip install . --group harnesses)

The work is native and takes about 10 ms. Each harness gets the same seconds for both sides together, at its own
defaults otherwise; they take turns. pyperf times it in five processes a side and judges by Student's t;
pytest-benchmark times one side after the other and gives medians; gilcmp takes turns within a run and gives an
interval. Printed: the spread of the ratio (two standard deviations), how often it was off by more than 5 %, and how
often the harness itself said that the two differ.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

import gilcmp
from precision import Inline, sized

SETUP = "import gilcmp; call = gilcmp.kernels['count'].prepared('cython_nogil', {size})"
SUITE = """
{setup}

def test_a(benchmark):
    benchmark.pedantic(call, rounds={rounds}, warmup_rounds=1)

def test_b(benchmark):
    benchmark.pedantic(call, rounds={rounds}, warmup_rounds=1)
"""
WORK = 0.01  # seconds of a call

# ratio of the two sides, and whether the harness says that they differ (None: it does not judge)
Answer = tuple[float, bool | None]


def ask_gilcmp(size: int, seconds: float, folder: Path) -> Answer:
    call = gilcmp.kernels["count"].prepared("cython_nogil", size)
    found = gilcmp.compare(lambda _: call(), tasks=[0], strategies=[Inline], workers=1, budget=seconds)
    speedup = found["Inline"].speedup
    return speedup.value, not speedup.low <= 1 <= speedup.high


def ask_pyperf(size: int, seconds: float, folder: Path) -> Answer:
    import pyperf

    benchmarks = []
    values = max(1, round(seconds / 2 / 5 / WORK))
    for side in "ab":
        path = folder / f"{side}.json"
        path.unlink(missing_ok=True)
        # the loop count is given: otherwise a tenth of the time goes into finding one
        command = [sys.executable, "-m", "pyperf", "timeit", "-q", "-o", str(path), "--processes", "5", "--loops", "1",
                   "--warmups", "1", "--values", str(values), "-s", SETUP.format(size=size), "call()"]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
        benchmarks.append(pyperf.Benchmark.load(str(path)))
    first, second = benchmarks
    from pyperf._utils import is_significant  # what `pyperf compare_to` prints

    differ, _ = is_significant(first.get_values(), second.get_values())
    return second.mean() / first.mean(), differ


def ask_pytest_benchmark(size: int, seconds: float, folder: Path) -> Answer:
    suite, path = folder / "test_suite.py", folder / "benchmark.json"
    suite.write_text(SUITE.format(setup=SETUP.format(size=size), rounds=round(seconds / 2 / WORK)))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(suite), f"--benchmark-json={path}"]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    first, second = (entry["stats"]["median"] for entry in json.loads(path.read_text())["benchmarks"])
    return second / first, None


HARNESSES: dict[str, Callable[[int, float, Path], Answer]] = {
    "gilcmp": ask_gilcmp,
    "pyperf": ask_pyperf,
    "pytest-benchmark": ask_pytest_benchmark,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=4.0, help="for a question, both sides together")
    arguments = parser.parse_args()
    size = sized("cython_nogil", WORK).args[-1]  # type: ignore[attr-defined]  # a partial
    answers: dict[str, list[Answer]] = {name: [] for name in HARNESSES}
    with tempfile.TemporaryDirectory() as folder:
        for _ in track(range(arguments.runs), "A/A", console=Console(stderr=True)):
            for name, ask in HARNESSES.items():
                answers[name].append(ask(size, arguments.seconds, Path(folder)))
    table = Table("harness", "median ratio", "spread (2 sd)", "off by over 5 %", "said to differ", "no answer")
    for name, all_answers in answers.items():
        given = [answer for answer in all_answers if not math.isnan(answer[0])]
        ratios = [ratio for ratio, _ in given]
        judged = [differ for _, differ in given if differ is not None]
        table.add_row(
            name,
            f"{statistics.median(ratios):.3f}",
            f"{200 * statistics.stdev(ratios):.1f} %",
            f"{sum(abs(ratio - 1) > 0.05 for ratio in ratios)} of {len(ratios)}",
            f"{sum(judged)} of {len(judged)}" if judged else "does not judge",
            str(arguments.runs - len(given)),
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
