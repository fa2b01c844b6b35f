"""Every kernel in every implementation, under threads and processes: ``pytest benchmarks/``.

The list comes from the registry, and its names are the same on every machine: ``mandelbrot[cython_nogil-threads-2]``.
gilcmp measures the cells of a kernel in turns; pytest-benchmark shows and saves them.
"""

from __future__ import annotations

import pytest

from gilcmp import kernels

# All implementations of a kernel do the same work, which takes plain Python a tenth of a second or less.
SIZES = {
    "count": 1_000_000,
    "range_sum": 1_000_000,
    "mandelbrot": 128,
    "primes": 1_000_000,
    "dot": 1_000_000,
    "blur": 192,
    "pi": 200_000,
    "levenshtein": 96,
    "fetch": 16,
}
TASKS = 4  # fewer and longer ones than by default: handing one over is to cost nothing beside it
SECONDS = 12.0


def _bench(name):
    @pytest.mark.gil_comparison(
        name, size=SIZES[name], tasks=TASKS, strategies=["threads", "processes"], workers=2, budget=SECONDS
    )
    def bench(gil_comparison):
        assert gil_comparison.rounds

    bench.__name__ = bench.__qualname__ = name
    bench.__test__ = True  # for pytest, whatever it is called
    return bench


globals().update({name: _bench(name) for name in kernels})
