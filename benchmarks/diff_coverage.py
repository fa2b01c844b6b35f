"""How often `gilcmp diff` sees a difference where there is none: ``python benchmarks/diff_coverage.py``.

The benchmark suite runs again and again, and each run is laid beside the one before (A/A). With 95 % intervals about
1 in 20 should miss 1. Two minutes a run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import gilcmp
from gilcmp.judge.differences import differs

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=4)
    arguments = parser.parse_args()
    counts = {"time": [0, 0], "speed-up": [0, 0]}
    refused = 0
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, f"{number}.json") for number in range(arguments.runs)]
        for number, file in enumerate(files):
            command = [sys.executable, "-m", "pytest", str(HERE), "-q", "-p", "no:cacheprovider"]
            subprocess.run([*command, f"--benchmark-json={file}"], check=True, capture_output=True)
            if number == 0:
                continue
            (run,) = gilcmp.diff(files[number - 1], file).runs
            for cell in run.cells:
                refused += bool(cell.refused)
                for what, value in (("time", cell.time), ("speed-up", cell.speedup)):
                    if value.n:
                        counts[what][0] += 1
                        counts[what][1] += differs(value)
            print(f"after run {number + 1}: {counts}, {refused} cells refused", flush=True)
    for what, (total, missed) in counts.items():
        print(f"{what}: {missed} of {total} intervals miss 1 ({missed / max(1, total):.1%}); meant: 5 %")


if __name__ == "__main__":
    main()
