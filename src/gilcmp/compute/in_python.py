"""The kernels in plain Python: the reference for every other implementation, written to be read.

The full documentation of each kernel stands here; the NumPy and Cython twins do the same work on the same
arguments and raise the same errors.
"""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING

from gilcmp.base.checks import array, block, image_block, integer, same_length, span

if TYPE_CHECKING:
    from typing_extensions import Buffer  # in collections.abc from 3.12 on

COUNT_MAX = 2**62
RANGE_MAX = 2**32  # the sum of all integers below it still fits into 64 bits
PRIMES_MAX = 2**40
PI_MAX = 2**62
SEED_MAX = 2**64 - 1

WORD = 2**64 - 1  # C's unsigned 64-bit integers drop what is beyond these bits


def count(n: int) -> int:
    """Count to `n`, one by one.

    Parameters
    ----------
    n : int
        How often the loop body runs, 0 to 2**62.

    Returns
    -------
    int
        `n`.
    """
    n = integer("n", n, 0, COUNT_MAX)
    total = 0
    for _ in range(n):
        total += 1
    return total


def range_sum(start: int, stop: int) -> int:
    """Add up the integers from `start` up to, not including, `stop`.

    Parameters
    ----------
    start, stop : int
        The range, ``0 <= start <= stop <= 2**32``.

    Returns
    -------
    int
        Their sum.
    """
    start, stop = span(start, stop, RANGE_MAX)
    return sum(range(start, stop))


def mandelbrot(out: Buffer, first_row: int, height: int, max_iterations: int) -> int:
    """Compute rows of a picture of the Mandelbrot set: how many steps each point takes to escape.

    The picture shows real parts -2 to 0.5 from left to right and imaginary parts -1.25 to 1.25 from top to
    bottom; a point is computed at its pixel's centre.

    Parameters
    ----------
    out : buffer of int32, shape (rows, width), C-contiguous
        Receives the number of steps per pixel, `max_iterations` for points that did not escape.
    first_row : int
        Which row of the picture the first row of `out` is.
    height : int
        Rows of the whole picture, 1 to 2**24.
    max_iterations : int
        Steps after which a point counts as inside, 0 to 2**24.

    Returns
    -------
    int
        All steps that were done: the sum of `out`.

    Notes
    -----
    The escape-time algorithm, z -> z*z + c until abs(z) > 2.
    """
    rows = array("out", out, "i", 2, writable=True)
    height = integer("height", height, 1, 2**24)
    first_row = block(rows, first_row, height)
    max_iterations = integer("max_iterations", max_iterations, 0, 2**24)
    width = rows.shape[1]
    total = 0
    for row in range(rows.shape[0]):
        c_imag = -1.25 + 2.5 * (first_row + row + 0.5) / height
        for column in range(width):
            c_real = -2.0 + 2.5 * (column + 0.5) / width
            z_real = z_imag = 0.0
            steps = 0
            while steps < max_iterations:
                real_squared = z_real * z_real
                imag_squared = z_imag * z_imag
                if real_squared + imag_squared > 4.0:
                    break
                z_imag = 2.0 * z_real * z_imag + c_imag
                z_real = real_squared - imag_squared + c_real
                steps += 1
            rows[row, column] = steps
            total += steps
    return total


def primes(start: int, stop: int) -> int:
    """Count the primes from `start` up to, not including, `stop`.

    Parameters
    ----------
    start, stop : int
        The range, ``0 <= start <= stop <= 2**40``.

    Returns
    -------
    int
        How many primes there are.

    Notes
    -----
    The sieve of Eratosthenes on the segment alone: the primes up to the square root of `stop` are found first
    and then struck out from the segment.
    """
    start, stop = span(start, stop, PRIMES_MAX)
    start = max(start, 2)
    if start >= stop:
        return 0
    limit = isqrt(stop - 1)
    small = bytearray([1]) * (limit + 1)
    segment = bytearray([1]) * (stop - start)
    for prime in range(2, limit + 1):
        if small[prime]:
            multiples = range(prime * prime, limit + 1, prime)
            small[prime * prime :: prime] = bytes(len(multiples))
            # the first multiple inside the segment, but not the prime itself
            first = max(prime * prime, -(-start // prime) * prime)
            multiples = range(first, stop, prime)
            segment[first - start :: prime] = bytes(len(multiples))
    return segment.count(1)


def dot(a: Buffer, b: Buffer) -> float:
    """Dot product of two vectors.

    Parameters
    ----------
    a, b : buffer of float64, shape (n,), contiguous
        The vectors, equally long.

    Returns
    -------
    float
        The sum of ``a[i] * b[i]``. Implementations add in different orders: answers agree exactly where no
        sum has to be rounded, else to about 1e-12 of the sum of the products' sizes.
    """
    x = array("a", a, "d", 1)
    y = array("b", b, "d", 1)
    same_length(x, y)
    total = 0.0
    for left, right in zip(x, y, strict=True):
        total += left * right
    return total


def blur(image: Buffer, out: Buffer, first_row: int) -> float:
    """Blur rows of an image with a 5 x 5 Gaussian.

    Parameters
    ----------
    image : buffer of float32, shape (height, width), C-contiguous
        The whole image.
    out : buffer of float32, shape (rows, width), C-contiguous
        Receives the blurred rows.
    first_row : int
        Which row of the image the first row of `out` is.

    Returns
    -------
    float
        The sum of `out`, added in float64.

    Notes
    -----
    The binomial filter (1, 4, 6, 4, 1) / 16, down and then across; beyond an edge the edge's own pixels are
    repeated. Its weights are fractions of powers of two, so that images of 8-bit brightnesses are filtered
    without any rounding and every implementation gives the same bits.
    """
    pixels = array("image", image, "f", 2)
    rows = array("out", out, "f", 2, writable=True)
    first_row = image_block(pixels, rows, first_row)
    height, width = pixels.shape
    total = 0.0
    for row in range(rows.shape[0]):
        y = first_row + row
        a, b, c, d, e = (min(max(y + step, 0), height - 1) for step in (-2, -1, 0, 1, 2))
        down = [
            pixels[a, x] + 4.0 * pixels[b, x] + 6.0 * pixels[c, x] + 4.0 * pixels[d, x] + pixels[e, x]
            for x in range(width)
        ]
        down = down[:1] * 2 + down + down[-1:] * 2
        for x in range(width):
            across = down[x] + 4.0 * down[x + 1] + 6.0 * down[x + 2] + 4.0 * down[x + 3] + down[x + 4]
            rows[row, x] = across / 256.0
            total += rows[row, x]
    return total


def pi(start: int, stop: int, seed: int) -> int:
    """Count which of the random points `start` to `stop` lie inside a quarter of a circle.

    Four times the share that does is an estimate of pi.

    Parameters
    ----------
    start, stop : int
        The points' numbers, ``0 <= start <= stop <= 2**62``.
    seed : int
        Selects the sequence of points, 0 to 2**64 - 1.

    Returns
    -------
    int
        The points inside.

    Notes
    -----
    Point i depends on `seed` and i alone, so that any split of the work gives the same digits. The generator
    is SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014), asked for
    its i-th number; the two coordinates are 31 bits each, so that the test for "inside" is exact.
    """
    start, stop = span(start, stop, PI_MAX)
    seed = integer("seed", seed, 0, SEED_MAX)
    inside = 0
    for i in range(start, stop):
        z = (seed + (i + 1) * 0x9E3779B97F4A7C15) & WORD
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & WORD
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & WORD
        z = z ^ (z >> 31)
        x = z >> 33
        y = (z >> 2) & 0x7FFFFFFF
        if x * x + y * y < 2**62:
            inside += 1
    return inside


def levenshtein(a: Buffer, b: Buffer) -> int:
    """Edit distance of two byte strings.

    Parameters
    ----------
    a, b : buffer of uint8, shape (n,) and (m,), contiguous
        The strings.

    Returns
    -------
    int
        The least number of bytes to insert, delete or replace to turn `a` into `b`.

    Notes
    -----
    Dynamic programming with one row of the table (Wagner, Fischer: The string-to-string correction problem,
    JACM 21, 1974).
    """
    text_a = array("a", a, "B", 1)
    text_b = array("b", b, "B", 1)
    row = list(range(len(text_b) + 1))
    for i, byte_a in enumerate(text_a, 1):
        diagonal = row[0]
        row[0] = i
        for j, byte_b in enumerate(text_b, 1):
            replaced = diagonal + (byte_a != byte_b)
            diagonal = row[j]
            row[j] = min(replaced, row[j] + 1, row[j - 1] + 1)
    return row[-1]
