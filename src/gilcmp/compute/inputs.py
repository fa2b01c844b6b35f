"""The kernels' inputs, made from a size and a seed, and what their tasks write to."""

from __future__ import annotations

import random
import threading
from array import array
from typing import Any

from attrs import field, frozen

LEVENSHTEIN_PAIRS = 64

_local = threading.local()


def scratch(fmt: str, rows: int, width: int) -> memoryview[Any]:
    """Return a block of rows to write to, of this thread alone and used again by its next task."""
    key = (fmt, rows, width)
    if getattr(_local, "key", None) != key:
        items = array(fmt, bytes(rows * width * array(fmt).itemsize))
        _local.key, _local.block = key, _rows(items, rows, width)
    block: memoryview[Any] = _local.block
    return block


def _rows(items: array[Any], rows: int, width: int) -> memoryview[Any]:
    """View an array as a picture; memoryview can cast to two dimensions only from bytes."""
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


def vectors(size: int, seed: int) -> tuple[Numbers, Numbers]:
    """Two vectors of multiples of 1/256 below 1: their dot product needs no rounding, in whatever order."""
    table = [byte / 256 for byte in range(256)].__getitem__
    numbers = random.Random(seed)
    x, y = (array("d", map(table, numbers.randbytes(size))).tobytes() for _ in range(2))
    return Numbers(x, "d", (size,)), Numbers(y, "d", (size,))


def image(size: int, seed: int) -> Numbers:
    """Return a square picture of 8-bit brightnesses, as float32."""
    pixels = array("f", iter(random.Random(seed).randbytes(size * size)))
    return Numbers(pixels.tobytes(), "f", (size, size))


def strings(size: int, seed: int) -> list[tuple[bytes, bytes]]:
    """Pairs of strings over four letters, the second a mutated copy of the first."""
    numbers = random.Random(seed)
    pairs = []
    for _ in range(LEVENSHTEIN_PAIRS):
        a = bytes(b"ACGT"[byte & 3] for byte in numbers.randbytes(size))
        b = bytes(b"ACGT"[byte & 3] if byte < 64 else old for byte, old in zip(numbers.randbytes(size), a, strict=True))
        pairs.append((a, b))
    return pairs


def fetch_server(size: int, seed: int) -> str:
    """Return the address of the server on the loopback: one a process, started when it is first needed."""
    from gilcmp.compute.loopback import shared_server
    from gilcmp.compute.waiting import FETCH_LATENCY

    return shared_server(FETCH_LATENCY).url
