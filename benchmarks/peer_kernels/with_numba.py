"""In Numba: the loops of the compiled kernels' textbook form, as its compiler likes them.

`count` and `range_sum` are missing: LLVM folds their loops into a formula, and nothing is left to race.
"""

from __future__ import annotations

import numpy as np
from numba import njit, uint64

BLOCK = 1 << 15


@njit(nogil=True)
def _mandelbrot(out, first_row, height, max_iterations):
    rows, width = out.shape
    total = 0
    for row in range(rows):
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
            out[row, column] = steps
            total += steps
    return total


def mandelbrot(out, first_row, height, max_iterations):
    return _mandelbrot(np.asarray(out), first_row, height, max_iterations)


@njit(nogil=True)
def _primes(start, stop):
    """Odd numbers only, a byte each, block by block."""
    if stop <= 2 or start >= stop:
        return 0
    total = 1 if start <= 2 else 0
    limit = int(np.sqrt(stop - 1))
    while limit * limit > stop - 1:
        limit -= 1
    while (limit + 1) * (limit + 1) <= stop - 1:
        limit += 1
    small_size = (limit + 1) // 2
    small = np.ones(small_size + 1, np.uint8)
    prime = np.empty(small_size + 1, np.int64)
    following = np.empty(small_size + 1, np.int64)
    at = start // 2 if start > 3 else 1
    end = stop // 2
    n_primes = 0
    for k in range(1, small_size):
        if small[k]:
            p = 2 * k + 1
            for i in range(p * p // 2, small_size, p):
                small[i] = 0
            first = p * p // 2
            if first < at:
                first += (at - first + p - 1) // p * p
            prime[n_primes] = p
            following[n_primes] = first
            n_primes += 1
    block = np.empty(BLOCK, np.uint8)
    while at < end:
        block_end = min(at + BLOCK, end)
        block[:] = 1
        for i in range(n_primes):
            p = prime[i]
            k = following[i]
            while k < block_end:
                block[k - at] = 0
                k += p
            following[i] = k
        for k in range(block_end - at):
            total += block[k]
        at = block_end
    return total


def primes(start, stop):
    return _primes(start, stop)


@njit(nogil=True, fastmath=True)
def _dot(a, b):
    """With leave to reorder the sum (fastmath): without it one addition waits for the other."""
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


def dot(a, b):
    return _dot(np.asarray(a), np.asarray(b))


@njit(nogil=True)
def _blur(image, out, first_row):
    height, width = image.shape
    four, six, share = np.float32(4.0), np.float32(6.0), np.float32(1 / 256)
    down = np.empty(width + 4, np.float32)
    total = 0.0
    for row in range(out.shape[0] if width else 0):
        y = first_row + row
        a = image[max(y - 2, 0)]
        b = image[max(y - 1, 0)]
        c = image[y]
        d = image[min(y + 1, height - 1)]
        e = image[min(y + 2, height - 1)]
        for x in range(width):
            down[x + 2] = a[x] + four * b[x] + six * c[x] + four * d[x] + e[x]
        down[0] = down[1] = down[2]
        down[width + 3] = down[width + 2] = down[width + 1]
        for x in range(width):
            out[row, x] = share * (down[x] + four * down[x + 1] + six * down[x + 2] + four * down[x + 3] + down[x + 4])
        partial_0 = partial_1 = partial_2 = partial_3 = 0.0
        for x in range(0, width - 3, 4):
            partial_0 += out[row, x]
            partial_1 += out[row, x + 1]
            partial_2 += out[row, x + 2]
            partial_3 += out[row, x + 3]
        for x in range(width - width % 4, width):
            partial_0 += out[row, x]
        total += partial_0 + partial_1 + partial_2 + partial_3
    return total


def blur(image, out, first_row):
    return _blur(np.asarray(image), np.asarray(out), first_row)


@njit(nogil=True)
def _pi(start, stop, seed):
    inside = 0
    for i in range(start, stop):
        z = seed + (i + uint64(1)) * uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> uint64(30))) * uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> uint64(27))) * uint64(0x94D049BB133111EB)
        z = z ^ (z >> uint64(31))
        x = z >> uint64(33)
        y = (z >> uint64(2)) & uint64(0x7FFFFFFF)
        inside += x * x + y * y < uint64(1 << 62)
    return inside


def pi(start, stop, seed):
    return _pi(np.uint64(start), np.uint64(stop), np.uint64(seed))


@njit(nogil=True)
def _levenshtein(a, b):
    """The textbook table, row by row."""
    m = b.size
    row = np.arange(m + 1)
    for i in range(a.size):
        diagonal = row[0]
        left = i + 1
        row[0] = left
        for j in range(1, m + 1):
            best = diagonal + (a[i] != b[j - 1])
            diagonal = row[j]
            best = min(best, diagonal + 1)
            left = min(best, left + 1)
            row[j] = left
    return row[m]


def levenshtein(a, b):
    return _levenshtein(np.frombuffer(a, np.uint8), np.frombuffer(b, np.uint8))
