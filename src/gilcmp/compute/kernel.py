"""A kernel: what it computes, on which inputs, how it splits into tasks and combines again."""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import pairwise
from types import MappingProxyType
from typing import Any, TypeAlias

from attrs import field, frozen

from gilcmp.base.checks import integer
from gilcmp.base.coroutines import run_coroutine

Task: TypeAlias = tuple[int, int]

# Where an implementation's functions live, and what is appended to the kernel's name there
SOURCES = {
    "python": ("gilcmp.compute.in_python", ""),
    "numpy": ("gilcmp.compute.in_numpy", ""),
    "cython_gil": ("gilcmp._kernels", "_gil"),
    "cython_nogil": ("gilcmp._kernels", "_nogil"),
}

# An I/O kernel waits instead of computing: there is nothing in it that a compiler could make faster.
IO_SOURCES = {
    "blocking": ("gilcmp.compute.waiting", "_blocking"),
    "coroutine": ("gilcmp.compute.waiting", "_coroutine"),
}

ALL_SOURCES = SOURCES | IO_SOURCES

# Twins do the same work, so that their single-thread speed can be compared: they get the same size.
TWINS = {"cython_nogil": "cython_gil"}

SIZE_MAX = 2**32


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
        return _cached_inputs(self, size, seed)

    def split(self, size: int, n: int) -> list[Task]:
        """Split the work of a size into at most `n` independent tasks: even half-open ranges of its pieces."""
        pieces = self._pieces(size)
        n = min(integer("n", n, 1, SIZE_MAX), pieces)
        edges = [pieces * i // n for i in range(n + 1)]
        return list(pairwise(edges))

    def run_task(self, implementation: str, size: int, seed: int, task: Task) -> Any:
        """Do one task and return its part of the answer; a coroutine is run by itself."""
        part = self._call(self.implementations[implementation], self.inputs(size, seed), size, *task)
        return run_coroutine(part) if isinstance(part, Coroutine) else part

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
def _cached_inputs(kernel: Kernel, size: int, seed: int) -> Any:
    return kernel._inputs(size, seed)
