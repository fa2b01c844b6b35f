"""Every kernel in every implementation, in a single thread: ``pytest benchmarks/``.

The list comes from the registry. All implementations of a kernel do the same size, that of which plain Python
takes milliseconds, so that the groups of the table compare like with like.
"""

from __future__ import annotations

import pytest

from gilcmp import kernels
from gilcmp.kernels import unavailable

CASES = [
    pytest.param(kernel, implementation, id=f"{kernel.name}-{implementation}")
    for kernel in kernels.values()
    for implementation in kernel.implementations
    if unavailable(implementation) is None
]


@pytest.mark.parametrize(("kernel", "implementation"), CASES)
def bench_kernel(benchmark, kernel, implementation):
    """Time one task of the small size, and check its answer."""
    size = kernel.sizes["small"]
    kernel.inputs(size)
    (task,) = kernel.split(size, 1)
    benchmark.group = f"{kernel.name}, size {size:,}"
    benchmark.extra_info.update(implementation=implementation, work=kernel.work(size), unit=kernel.unit)
    part = benchmark(kernel.run_task, implementation, size, 0, task)
    assert kernel.same(kernel.combine([part], size), kernel.run(kernel.reference, size))
