"""How often `gilcmp diff` sees a difference where there is none: ``python benchmarks/diff_coverage.py``.

The same comparison is measured again and again, and each run is laid beside the one before (A/A). With 95 % intervals
about 1 in 20 should miss 1. Takes six minutes.
"""

from __future__ import annotations

import argparse

import gilcmp
from gilcmp.show.diff import differs

KERNELS = ("count", "mandelbrot", "primes", "pi", "levenshtein")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=6)
    parser.add_argument("--budget", type=float, default=60.0, help="seconds for each run")
    arguments = parser.parse_args()
    counts = {"time": [0, 0], "speedup": [0, 0]}
    refused = 0
    before = None
    for number in range(arguments.runs):
        # the same seed each time: the same inputs in the same order
        now = gilcmp.compare(
            list(KERNELS),
            strategies=["threads", "processes"],
            workers=[2],
            budget=arguments.budget,
            size="small",
        )
        if before is not None:
            (run,) = gilcmp.diff(before, now).runs
            for cell in run.cells:
                refused += bool(cell.refused)
                for what, value in (("time", cell.time), ("speedup", cell.speedup)):
                    if value.n:
                        counts[what][0] += 1
                        counts[what][1] += differs(value)
            print(f"run {number + 1}: {counts}, refused {refused}", flush=True)
        before = now
    for what, (total, missed) in counts.items():
        print(f"{what}: {missed} of {total} intervals miss 1 ({missed / max(1, total):.1%}); meant: 5 %")


if __name__ == "__main__":
    main()
