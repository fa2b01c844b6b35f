"""The registry of kernels: what each computes, on which inputs, how it splits into tasks and combines again.

A kernel is added here and nowhere else: one `Kernel` entry below, and one function of its name in
`compute.in_python`, `compute.in_numpy` and (twice, with ``_gil`` and ``_nogil``) in `_kernels.pyx`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from attrs import frozen

from gilcmp.compute.inputs import LEVENSHTEIN_PAIRS, fetch_server, image, scratch, strings, vectors
from gilcmp.compute.kernel import IO_SOURCES, Kernel, Task

MANDELBROT_ITERATIONS = 200

_ENTRIES = [
    Kernel(
        name="count",
        summary="the plain loop total += 1",
        regime="interpreter",
        shows="bytecode runs one thread at a time; the same loop in C need not",
        sizes={"small": 10_000, "medium": 1_000_000, "large": 100_000_000},
        size_means="steps",
        unit="step",
        call=lambda function, inputs, size, start, stop: function(stop - start),
    ),
    Kernel(
        name="range_sum",
        summary="sum(range(n)), the classic heavy work for a process pool",
        regime="interpreter",
        shows="a loop inside the interpreter's own C code holds the GIL as well",
        sizes={"small": 10_000, "medium": 1_000_000, "large": 100_000_000},
        size_means="numbers",
        unit="number",
        call=lambda function, inputs, size, start, stop: function(start, stop),
    ),
    Kernel(
        name="mandelbrot",
        summary="escape times of the Mandelbrot set",
        regime="compute",
        shows="compute-bound work in uneven tasks",
        sizes={"small": 32, "medium": 256, "large": 1024},
        size_means="pixels a side",
        unit="pixel",
        call=lambda function, inputs, size, start, stop: function(
            scratch("i", stop - start, size), start, size, MANDELBROT_ITERATIONS
        ),
        work=lambda size: size * size,
        largest=1 << 15,
        most=1 << 15,
    ),
    Kernel(
        name="primes",
        summary="sieve of Eratosthenes: count the primes below n",
        regime="cache",
        shows="integer work that lives in the CPU's caches",
        sizes={"small": 10_000, "medium": 1_000_000, "large": 100_000_000},
        size_means="numbers",
        unit="number",
        call=lambda function, inputs, size, start, stop: function(start, stop),
    ),
    Kernel(
        name="dot",
        summary="dot product of two float64 vectors",
        regime="memory",
        shows="where memory is the limit, more threads do not bring more memory",
        sizes={"small": 10_000, "medium": 1_000_000, "large": 4_000_000},
        size_means="elements",
        unit="element",
        inputs=vectors,
        call=lambda function, inputs, size, start, stop: function(
            inputs[0].view()[start:stop], inputs[1].view()[start:stop]
        ),
        tolerance=1e-12,
        largest=4_000_000,
        most=1 << 27,
    ),
    Kernel(
        name="blur",
        summary="5 x 5 Gaussian filter of a float32 image",
        regime="cache",
        shows="image processing: one pass over an array",
        sizes={"small": 48, "medium": 512, "large": 2048},
        size_means="pixels a side",
        unit="pixel",
        inputs=image,
        call=lambda function, inputs, size, start, stop: function(
            inputs.view(), scratch("f", stop - start, size), start
        ),
        work=lambda size: size * size,
        tolerance=1e-6,
        largest=2048,
        most=1 << 15,
    ),
    Kernel(
        name="pi",
        summary="Monte Carlo estimate of pi",
        regime="compute",
        shows="compute-bound work in even tasks",
        sizes={"small": 10_000, "medium": 1_000_000, "large": 100_000_000},
        size_means="points",
        unit="point",
        call=lambda function, inputs, size, start, stop: function(start, stop, inputs),
        combine=lambda parts, size: 4 * sum(parts) / size,
    ),
    Kernel(
        name="levenshtein",
        summary=f"edit distances of {LEVENSHTEIN_PAIRS} pairs of byte strings",
        regime="branches",
        shows="branchy work that is not numeric, one call a pair",
        sizes={"small": 16, "medium": 128, "large": 1024},
        size_means="bytes a string",
        unit="table cell",
        inputs=strings,
        pieces=lambda size: LEVENSHTEIN_PAIRS,
        call=lambda function, inputs, size, start, stop: sum(function(a, b) for a, b in inputs[start:stop]),
        work=lambda size: LEVENSHTEIN_PAIRS * size * size,
        largest=1 << 14,
        most=1 << 16,
    ),
    Kernel(
        name="fetch",
        summary="HTTP requests to a server on the loopback that answers after 5 ms",
        regime="waiting",
        shows="the GIL is released while a thread waits: for I/O threads help",
        sizes={"small": 4, "medium": 64, "large": 1024},
        size_means="requests",
        unit="request",
        inputs=fetch_server,
        call=lambda function, inputs, size, start, stop: function(inputs, start, stop),
        most=1 << 20,
        sources=MappingProxyType(IO_SOURCES),
    ),
]

#: All kernels, by name.
kernels: Mapping[str, Kernel] = MappingProxyType({entry.name: entry for entry in _ENTRIES})


@frozen
class TaskCall:
    """Does tasks of a kernel; it can be sent to a process pool.

    Attributes
    ----------
    kernel, implementation : str
        Their names.
    size, seed : int
        Of the inputs.
    """

    kernel: str
    implementation: str
    size: int
    seed: int

    def __call__(self, task: Task) -> Any:
        """Do one task and return its part of the answer."""
        return kernels[self.kernel].run_task(self.implementation, self.size, self.seed, task)

    def batch(self, tasks: Sequence[Task]) -> list[Any]:
        """Do several tasks; what they share is looked up once.

        Looking it up takes a microsecond, and locks that threads without a GIL would queue for.
        """
        kernel = kernels[self.kernel]
        function = kernel.implementations[self.implementation]
        inputs, call, size = kernel.inputs(self.size, self.seed), kernel._call, self.size
        if kernel.is_coroutine(self.implementation):
            return [self(task) for task in tasks]
        return [call(function, inputs, size, start, stop) for start, stop in tasks]


async def await_task(name: str, implementation: str, size: int, seed: int, task: Task) -> Any:
    """Do one task of the kernel `name`, in an event loop."""
    return await kernels[name].await_task(implementation, size, seed, task)
