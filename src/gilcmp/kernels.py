"""The registry of kernels: what each computes, on which inputs, how it splits into tasks and combines again.

A kernel is added here and nowhere else: one `Kernel` entry below, and one function of its name in
`_kernels_py`, `_kernels_np` and (twice, with ``_gil`` and ``_nogil``) in `_kernels.pyx`.
"""

from __future__ import annotations

import importlib
import inspect
import math
import random
import threading
from array import array
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import pairwise
from types import MappingProxyType
from typing import Any, TypeAlias

from attrs import field, frozen

from gilcmp._checks import integer

Task: TypeAlias = tuple[int, int]

# Where an implementation's functions live, and what is appended to the kernel's name there
SOURCES = {
    "python": ("gilcmp._kernels_py", ""),
    "numpy": ("gilcmp._kernels_np", ""),
    "cython_gil": ("gilcmp._kernels", "_gil"),
    "cython_nogil": ("gilcmp._kernels", "_nogil"),
}
# An I/O kernel waits instead of computing: there is nothing in it that a compiler could make faster.
IO_SOURCES = {
    "blocking": ("gilcmp._kernels_io", "_blocking"),
    "coroutine": ("gilcmp._kernels_io", "_coroutine"),
}
ALL_SOURCES = SOURCES | IO_SOURCES
# Twins do the same work, so that their single-thread speed can be compared: they get the same size.
TWINS = {"cython_nogil": "cython_gil"}

SIZE_MAX = 2**32
MANDELBROT_ITERATIONS = 200
LEVENSHTEIN_PAIRS = 64


class Implementations(Mapping[str, Callable[..., Any]]):
    """The ways a kernel is written, by name; a module is imported when a function of it is asked for.

    Parameters
    ----------
    kernel : str
        The kernel's name.
    sources : mapping
        Where the functions live: `SOURCES` or `IO_SOURCES`.
    """

    def __init__(self, kernel: str, sources: Mapping[str, tuple[str, str]]) -> None:
        self._kernel = kernel
        self._sources = sources

    def __getitem__(self, name: str) -> Callable[..., Any]:
        module, suffix = self._sources[name]
        function: Callable[..., Any] = getattr(importlib.import_module(module), self._kernel + suffix)
        return function

    def __contains__(self, name: object) -> bool:
        return name in self._sources  # without importing anything, as the inherited test would

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)


def unavailable(implementation: str) -> str | None:
    """Say why an implementation cannot be used in this interpreter; None where it can."""
    try:
        importlib.import_module(ALL_SOURCES[implementation][0])
    except ImportError as error:
        return str(error)
    return None


@frozen(eq=False)
class Kernel:
    """A named computation with a reference answer.

    Attributes
    ----------
    name, summary : str
        Its name, and what it computes in a line.
    regime : str
        What limits it: ``interpreter``, ``compute``, ``cache``, ``memory`` or ``branches``.
    shows : str
        What a comparison of it shows.
    sizes : mapping of str to int
        ``small``, ``medium`` and ``large``.
    size_means : str
        What the size counts.
    unit : str
        The unit of work, singular.
    version : int
        Changes when the work that a size stands for changes; runs of different versions do not compare.
    tolerance : float
        Largest relative difference between two answers that count as the same; 0: they must be equal.
    most : int
        The largest size that can be asked for.
    largest : int
        The largest size that calibration chooses by itself (larger ones can be asked for).
    """

    name: str
    summary: str
    regime: str
    shows: str
    sizes: Mapping[str, int]
    size_means: str
    unit: str
    # How one task is done: call(function, inputs, size, start, stop) -> part
    _call: Callable[..., Any] = field(repr=False)
    _inputs: Callable[[int, int], Any] = field(default=lambda size, seed: seed, repr=False)
    _pieces: Callable[[int], int] = field(default=lambda size: size, repr=False)
    _work: Callable[[int], int] = field(default=lambda size: size, repr=False)
    _combine: Callable[[Sequence[Any], int], Any] = field(default=lambda parts, size: sum(parts), repr=False)
    version: int = 1
    tolerance: float = 0.0
    largest: int = SIZE_MAX
    most: int = SIZE_MAX
    _sources: Mapping[str, tuple[str, str]] = field(default=MappingProxyType(SOURCES), repr=False)

    @property
    def implementations(self) -> Mapping[str, Callable[..., Any]]:
        """The plain functions, by implementation."""
        return Implementations(self.name, self._sources)

    @property
    def reference(self) -> str:
        """The implementation that says what the right answer is."""
        return next(iter(self._sources))

    def is_coroutine(self, implementation: str) -> bool:
        """Tell whether an implementation is a coroutine function."""
        return inspect.iscoroutinefunction(self.implementations[implementation])

    def size(self, size: str | int) -> int:
        """Return the number that a size (``small``, ``medium``, ``large`` or a number) stands for."""
        if isinstance(size, str):
            if size in self.sizes:
                return self.sizes[size]
            if not (size.isascii() and size.isdecimal() and len(size) < 20):
                raise ValueError(f"size must be {', '.join(self.sizes)} or a number, got {size!r}")
            size = int(size)
        return integer("size", size, 1, self.most)

    def inputs(self, size: int, seed: int = 0) -> Any:
        """Return the inputs, made once per process from `size` and `seed`, then cached."""
        return _cached_inputs(self.name, size, seed)

    def split(self, size: int, n: int) -> list[Task]:
        """Split the work of a size into at most `n` independent tasks: even half-open ranges of its pieces."""
        pieces = self._pieces(size)
        n = min(integer("n", n, 1, SIZE_MAX), pieces)
        edges = [pieces * i // n for i in range(n + 1)]
        return list(pairwise(edges))

    def run_task(self, implementation: str, size: int, seed: int, task: Task) -> Any:
        """Do one task and return its part of the answer; a coroutine is run by itself."""
        part = self._call(self.implementations[implementation], self.inputs(size, seed), size, *task)
        if isinstance(part, Coroutine):
            import asyncio

            return asyncio.run(part)
        return part

    async def await_task(self, implementation: str, size: int, seed: int, task: Task) -> Any:
        """Do one task of a coroutine implementation."""
        return await self._call(self.implementations[implementation], self.inputs(size, seed), size, *task)

    def prepared(self, implementation: str, size: int, seed: int = 0) -> Callable[[], Any]:
        """Return a call that does all the work of a size in one go, as directly as can be; inputs are made here."""
        (task,) = self.split(size, 1)
        function = self.implementations[implementation]
        return partial(self._call, function, self.inputs(size, seed), size, *task)

    def combine(self, parts: Sequence[Any], size: int) -> Any:
        """Combine the parts of all tasks to the kernel's answer."""
        return self._combine(parts, size)

    def run(self, implementation: str, size: str | int = "small", seed: int = 0) -> Any:
        """Compute the answer in a single task."""
        n = self.size(size)
        return self.combine([self.run_task(implementation, n, seed, task) for task in self.split(n, 1)], n)

    def same(self, answer: Any, reference: Any) -> bool:
        """Tell whether two answers agree, within the kernel's tolerance."""
        if self.tolerance:
            return math.isclose(answer, reference, rel_tol=self.tolerance)
        return bool(answer == reference)

    def work(self, size: int) -> int:
        """How many units of work a size stands for."""
        return self._work(size)


@lru_cache(maxsize=64)  # a comparison uses one size per implementation and kernel
def _cached_inputs(name: str, size: int, seed: int) -> Any:
    return kernels[name]._inputs(size, seed)


@frozen
class TaskCall:
    """Does tasks of a kernel; a process pool can be sent it.

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


_local = threading.local()


def _scratch(fmt: str, rows: int, width: int) -> memoryview[Any]:
    """Return a block of rows to write to, of this thread alone and used again by its next task."""
    key = (fmt, rows, width)
    if getattr(_local, "key", None) != key:
        items = array(fmt, bytes(rows * width * array(fmt).itemsize))
        _local.key, _local.block = key, _rows(items, rows, width)
    block: memoryview[Any] = _local.block
    return block


def _rows(items: array[Any], rows: int, width: int) -> memoryview[Any]:
    """Look at an array as a picture; a picture's format can only be given by way of bytes."""
    code: Any = items.typecode
    return memoryview(items).cast("B").cast(code, (rows, width))


@frozen
class Numbers:
    """Numbers that threads share; each task makes a view of its own.

    Views count who uses them, and on CPython 3.13t not atomically: threads that slice one and the same view break it
    ("operation forbidden on released memoryview object"). Bytes count nobody.
    """

    data: bytes = field(repr=False)
    format: str
    shape: tuple[int, ...]

    def view(self) -> memoryview[Any]:
        """Return a new view of the numbers."""
        code: Any = self.format
        return memoryview(self.data).cast(code, self.shape)


def _vectors(size: int, seed: int) -> tuple[Numbers, Numbers]:
    """Two vectors of multiples of 1/256 below 1: their dot product needs no rounding, in whatever order."""
    table = [byte / 256 for byte in range(256)].__getitem__
    numbers = random.Random(seed)
    x, y = (array("d", map(table, numbers.randbytes(size))).tobytes() for _ in range(2))
    return Numbers(x, "d", (size,)), Numbers(y, "d", (size,))


def _image(size: int, seed: int) -> Numbers:
    """Return a square picture of 8-bit brightnesses, as float32."""
    pixels = array("f", iter(random.Random(seed).randbytes(size * size)))
    return Numbers(pixels.tobytes(), "f", (size, size))


def _strings(size: int, seed: int) -> list[tuple[bytes, bytes]]:
    """Pairs of strings over four letters, the second a mutated copy of the first."""
    numbers = random.Random(seed)
    pairs = []
    for _ in range(LEVENSHTEIN_PAIRS):
        a = bytes(b"ACGT"[byte & 3] for byte in numbers.randbytes(size))
        b = bytes(
            b"ACGT"[byte & 3] if byte < 64 else old
            for byte, old in zip(numbers.randbytes(size), a, strict=True)
        )
        pairs.append((a, b))
    return pairs


def _fetch_server(size: int, seed: int) -> str:
    """Return the address of the server on the loopback: one a process, started when it is first needed."""
    from gilcmp._kernels_io import FETCH_LATENCY
    from gilcmp.loopback import shared_server

    return shared_server(FETCH_LATENCY).url


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
            _scratch("i", stop - start, size), start, size, MANDELBROT_ITERATIONS
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
        inputs=_vectors,
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
        inputs=_image,
        call=lambda function, inputs, size, start, stop: function(
            inputs.view(), _scratch("f", stop - start, size), start
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
        inputs=_strings,
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
        inputs=_fetch_server,
        call=lambda function, inputs, size, start, stop: function(inputs, start, stop),
        most=1 << 20,
        sources=MappingProxyType(IO_SOURCES),
    ),
]

#: All kernels, by name.
kernels: Mapping[str, Kernel] = MappingProxyType({entry.name: entry for entry in _ENTRIES})
