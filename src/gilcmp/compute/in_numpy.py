"""The kernels in idiomatic NumPy. Arguments, answers and errors: see `compute.in_python`."""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING

import numpy as np

from gilcmp.base.checks import array, block, image_block, integer, same_length, span
from gilcmp.compute.in_python import COUNT_MAX, PI_MAX, PRIMES_MAX, RANGE_MAX, SEED_MAX

if TYPE_CHECKING:
    from typing_extensions import Buffer  # in collections.abc from 3.12 on

# Long ranges are worked through in pieces of 64 KiB, which stay in the CPU's cache. Larger temporary arrays
# would be allocated from and returned to the system each time, at a cost that differs between threads.
CHUNK = 1 << 13


def count(n: int) -> int:
    """Count to `n` by adding up ones."""
    n = integer("n", n, 0, COUNT_MAX)
    return sum(int(np.ones(min(CHUNK, n - first), dtype=np.int64).sum()) for first in range(0, n, CHUNK))


def range_sum(start: int, stop: int) -> int:
    """Add up the integers from `start` to below `stop`."""
    start, stop = span(start, stop, RANGE_MAX)
    return sum(
        int(np.arange(first, min(first + CHUNK, stop), dtype=np.int64).sum()) for first in range(start, stop, CHUNK)
    )


def mandelbrot(out: Buffer, first_row: int, height: int, max_iterations: int) -> int:
    """Escape times of the Mandelbrot set; points that have escaped are dropped from the arrays."""
    rows = array("out", out, "i", 2, writable=True)
    height = integer("height", height, 1, 2**24)
    first_row = block(rows, first_row, height)
    max_iterations = integer("max_iterations", max_iterations, 0, 2**24)
    steps = np.asarray(rows)
    width = steps.shape[1]
    steps[...] = 0
    flat = steps.reshape(-1)
    imag = -1.25 + 2.5 * (np.arange(first_row, first_row + steps.shape[0]) + 0.5) / height
    real = -2.0 + 2.5 * (np.arange(width) + 0.5) / width
    c_real = np.broadcast_to(real, steps.shape).ravel()
    c_imag = np.broadcast_to(imag[:, np.newaxis], steps.shape).ravel()
    z_real = np.zeros(flat.size)
    z_imag = np.zeros(flat.size)
    alive = np.arange(flat.size)
    for _ in range(max_iterations):
        real_squared = z_real * z_real
        imag_squared = z_imag * z_imag
        inside = real_squared + imag_squared <= 4.0
        if not inside.all():
            alive, c_real, c_imag = alive[inside], c_real[inside], c_imag[inside]
            z_real, z_imag = z_real[inside], z_imag[inside]
            real_squared, imag_squared = real_squared[inside], imag_squared[inside]
        if alive.size == 0:
            break
        z_imag = 2.0 * z_real * z_imag + c_imag
        z_real = real_squared - imag_squared + c_real
        flat[alive] += 1
    return int(steps.sum(dtype=np.int64))


def primes(start: int, stop: int) -> int:
    """Count primes with a sieve of booleans on the segment."""
    start, stop = span(start, stop, PRIMES_MAX)
    start = max(start, 2)
    if start >= stop:
        return 0
    limit = isqrt(stop - 1)
    small = np.ones(limit + 1, dtype=bool)
    small[:2] = False
    for prime in range(2, isqrt(limit) + 1):
        if small[prime]:
            small[prime * prime :: prime] = False
    segment = np.ones(stop - start, dtype=bool)
    for prime in np.flatnonzero(small).tolist():
        first = max(prime * prime, -(-start // prime) * prime)
        segment[first - start :: prime] = False
    return int(np.count_nonzero(segment))


def dot(a: Buffer, b: Buffer) -> float:
    """Dot product by `numpy.dot`, that is by BLAS."""
    x = array("a", a, "d", 1)
    y = array("b", b, "d", 1)
    same_length(x, y)
    return float(np.dot(np.asarray(x), np.asarray(y)))


def blur(image: Buffer, out: Buffer, first_row: int) -> float:
    """Blur with shifted slices of the image, down and then across."""
    pixels = array("image", image, "f", 2)
    rows = array("out", out, "f", 2, writable=True)
    first_row = image_block(pixels, rows, first_row)
    blurred = np.asarray(rows)
    n = blurred.shape[0]
    if blurred.size == 0:
        return 0.0
    height = pixels.shape[0]
    wanted = np.arange(first_row - 2, first_row + n + 2).clip(0, height - 1)
    tall = np.asarray(pixels)[wanted]
    four, six = np.float32(4.0), np.float32(6.0)
    down = tall[:-4] + four * tall[1:-3] + six * tall[2:-2] + four * tall[3:-1] + tall[4:]
    wide = np.pad(down, ((0, 0), (2, 2)), mode="edge")
    np.multiply(
        wide[:, :-4] + four * wide[:, 1:-3] + six * wide[:, 2:-2] + four * wide[:, 3:-1] + wide[:, 4:],
        np.float32(1 / 256),
        out=blurred,
    )
    return float(blurred.sum(dtype=np.float64))


def pi(start: int, stop: int, seed: int) -> int:
    """Count the points inside with SplitMix64 on arrays of 64-bit words, where overflow wraps as wanted."""
    start, stop = span(start, stop, PI_MAX)
    seed = integer("seed", seed, 0, SEED_MAX)
    inside = 0
    for first in range(start, stop, CHUNK):
        i = np.arange(first + 1, min(first + CHUNK, stop) + 1, dtype=np.uint64)
        z = i * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
        x = z >> np.uint64(33)
        y = (z >> np.uint64(2)) & np.uint64(0x7FFFFFFF)
        inside += int(np.count_nonzero(x * x + y * y < np.uint64(2**62)))
    return inside


def levenshtein(a: Buffer, b: Buffer) -> int:
    """Edit distance, a whole row of the table at a time.

    Within a row each cell depends on its left neighbour; "the best of all cells to the left, plus the way
    from there" is a running minimum once the way is taken off.
    """
    text_a = array("a", a, "B", 1)
    text_b = np.asarray(array("b", b, "B", 1))
    way = np.arange(len(text_b) + 1, dtype=np.int32)
    row = way.copy()
    for byte_a in text_a:
        best = row + np.int32(1)
        np.minimum(best[1:], row[:-1] + (text_b != byte_a), out=best[1:])
        row = np.minimum.accumulate(best - way) + way
    return int(row[-1])
