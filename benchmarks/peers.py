"""The compiled kernels beside what a user would otherwise reach for: ``python benchmarks/peers.py``.

Each kernel runs single-threaded in NumPy, Numba, numexpr and RapidFuzz, where they have it, on the same inputs and with
the same answer, all of them in every round (``pip install . --group speed``). A ratio is the median, over the rounds,
of the peer's time over that of `cython_nogil` in the same round: above 1 gilcmp is faster.

With ``--levels`` all that can be pinned is pinned to each instruction set in turn, peers too (RapidFuzz and numexpr
choose for themselves), and the table has a column a level with the fastest peer.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import random
import subprocess
import sys
import time
from functools import partial
from types import MappingProxyType

from attrs import evolve
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from gilcmp import compare, kernels
from gilcmp.judge.estimate import median
from gilcmp.measure.machine import environment

OURS = "cython_nogil"
PEERS = {
    "numba": "peer_kernels.with_numba",
    "numexpr": "peer_kernels.with_numexpr",
    "rapidfuzz": "peer_kernels.with_rapidfuzz",
}
FOLDED = ("count", "range_sum")  # Numba's compiler turns these loops into a formula: it does not do the work
# for each of gilcmp's levels: the CPU that Numba compiles for, OpenBLAS's kernels, and what NumPy must not use
PINNED = {
    "baseline": (
        "x86-64",
        "PRESCOTT",
        "SSE42 AVX F16C FMA3 AVX2 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL",
    ),
    "avx2": ("haswell", "HASWELL", "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL"),
    "avx512": ("skylake-avx512", "SKYLAKEX", ""),
}
SHORTEST = 0.005  # seconds that a candidate is timed for at once


def candidates(kernel, size):
    """Return each implementation's call that does the whole work, checked against ours."""
    sources = dict(kernel._sources)
    for name, module in PEERS.items():
        if importlib.util.find_spec(name) and hasattr(importlib.import_module(module), kernel.name):
            sources[name] = (module, "")
    wider = evolve(kernel, sources=MappingProxyType(sources))
    calls = {}
    for name in (OURS, "numpy", *PEERS):
        if name in sources:
            calls[name] = wider.prepared(name, size)
            answer = wider.combine([calls[name]()], size)
            reference = wider.combine([calls[OURS]()], size)
            assert wider.same(answer, reference), f"{kernel.name}, {name}: {answer!r} is not {reference!r}"
    return calls


def timed(call, times):
    """Return the seconds of one call, out of so many in a row."""
    start = time.perf_counter_ns()
    for _ in range(times):
        call()
    return (time.perf_counter_ns() - start) / times / 1e9


def race(calls, seconds):
    """Time all candidates in turns, in shuffled order and then the same backwards; return each one's times."""
    times = {}
    for name, call in calls.items():
        once = min(timed(call, 1), timed(call, 1))
        times[name] = max(1, round(SHORTEST / once))
    shuffler = random.Random(0)
    seen = {name: [] for name in calls}
    end = time.perf_counter() + seconds
    while len(seen[OURS]) < 3 or time.perf_counter() < end:
        order = shuffler.sample(list(calls), len(calls))
        for name in (*order, *order[::-1]):
            seen[name].append(timed(calls[name], times[name]))
    # the two times of a shuffled round and its mirror image count as one
    return {name: [(a + b) / 2 for a, b in zip(all_[::2], all_[1::2], strict=True)] for name, all_ in seen.items()}


def bandwidth(size):
    """Return GB/s that `dot` reads and that copying moves (reads and writes), in one thread, in the same rounds.

    Both go through the same amount of memory: two vectors of the size.
    """
    import numpy as np

    target, source = np.zeros(size), np.ones(size)
    dot = kernels["dot"].prepared(OURS, size)
    seen = race({OURS: dot, "copy": partial(np.copyto, target, source)}, 2.0)
    return [2 * source.nbytes / min(seen[name]) / 1e9 for name in (OURS, "copy")]


def shares(names, seconds):
    """Return, for each kernel, the speed-ups of two threads and of two processes, and the ratio of the two."""
    found = compare(
        [kernels[name] for name in names],
        implementations=OURS,
        strategies=["threads", "processes"],
        workers=2,
        budget=seconds * len(names),
    )
    for name in names:
        threads, processes = found[name, "threads"], found[name, "processes"]
        partners = {seen.round: seen.wall for seen in processes.quiet}
        share = median([partners[seen.round] / seen.wall for seen in threads.quiet if seen.round in partners])
        yield name, threads.speedup, processes.speedup, share


def levels(arguments):
    """Print the fastest peer's time over ours at each instruction set that this CPU has."""
    from gilcmp._kernels import isas

    figures = {}
    for level in isas:
        cpu, blas, without = PINNED[level]
        pinned = {"GILCMP_ISA": level, "NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": "", "OPENBLAS_CORETYPE": blas,
                  "NPY_DISABLE_CPU_FEATURES": without}  # fmt: skip
        command = [sys.executable, __file__, *arguments.kernels, "--sizes", arguments.sizes, "--figures",
                   "--seconds", str(arguments.seconds)]  # fmt: skip
        done = subprocess.run(command, env={**os.environ, **pinned}, stdout=subprocess.PIPE, text=True, check=True)
        figures[level] = json.loads(done.stdout.splitlines()[-1])
    table = Table("kernel", "size", *isas, title="fastest peer's time / ours")
    for key in figures[isas[0]]:
        cells = (f"{ratio:.2f} {peer}, {seconds * 1e6:,.1f} us" for seconds, ratio, peer in
                 (figures[level][key] for level in isas))  # fmt: skip
        table.add_row(*key.split(), *cells)
    Console(width=140).print(table)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kernels", nargs="*", default=[name for name in kernels if name != "fetch"])
    parser.add_argument("--sizes", default="small,medium,large", help="empty: only what follows the table")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each kernel and size")
    parser.add_argument("--levels", action="store_true", help="at each instruction set that this CPU has")
    parser.add_argument("--figures", action="store_true", help="end with the figures as JSON")
    arguments = parser.parse_args()
    if arguments.levels:
        levels(arguments)
        return
    console = Console(stderr=arguments.figures)
    figures = {}
    table = Table("kernel", "size", "time", "fastest peer", *("numpy", *PEERS), title="peer's time / ours")
    import numpy  # noqa: F401  # its BLAS is found only once it is loaded

    with threadpool_limits(1):
        if importlib.util.find_spec("numexpr"):
            import numexpr

            numexpr.set_num_threads(1)
        for name in arguments.kernels:
            for size in filter(None, arguments.sizes.split(",")):
                kernel = kernels[name]
                seen = race(candidates(kernel, kernel.sizes[size]), arguments.seconds)
                ratios = {
                    peer: median([b / a for a, b in zip(seen[OURS], times, strict=True)])
                    for peer, times in seen.items()
                    if peer != OURS
                }
                shown = {
                    peer: f"{ratio.value:.2f} ({ratio.low:.2f}-{ratio.high:.2f})" for peer, ratio in ratios.items()
                }
                shown.setdefault("numba", "folds" if name in FOLDED else "-")
                ours = median(seen[OURS]).value
                fastest, peer = min((ratio.value, peer) for peer, ratio in ratios.items())
                figures[f"{name} {size}"] = (ours, fastest, peer)
                table.add_row(
                    name,
                    size,
                    f"{ours * 1e6:,.1f} us",
                    f"{fastest:.2f}",
                    *(shown.get(peer, "-") for peer in ("numpy", *PEERS)),
                )
                console.print(f"{name} {size}: {ours * 1e6:,.1f} us, {shown}", highlight=False)
    console.print(table)
    if arguments.figures:
        print(json.dumps(figures))
        return
    if "dot" in arguments.kernels:
        for size in (kernels["dot"].sizes["large"], 16_000_000):
            read, copied = bandwidth(size)
            console.print(
                f"dot of {size:,} elements reads {read:.1f} GB/s, {read / copied:.2f} of what copying moves",
                highlight=False,
            )
    workers = Table("kernel", "two threads", "two processes", "threads / processes", title=f"speed-ups of {OURS}")
    for name, threads, processes, share in shares(arguments.kernels, 6.0):
        workers.add_row(name, str(threads), str(processes), f"{share.value:.2f} ({share.low:.2f}-{share.high:.2f})")
    console.print(workers)
    here = environment()
    console.print(f"{here.cpu}, Python {here.python}, {here.extension_compiler}, {here.extension_isa}", highlight=False)


if __name__ == "__main__":
    main()
