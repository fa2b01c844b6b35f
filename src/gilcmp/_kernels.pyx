# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True, subinterpreters_compatible=own_gil, embedsignature=False
"""The compiled kernels, each once as a body that needs no GIL and twice as an entry.

``name_gil`` calls the body holding the GIL, ``name_nogil`` calls the same body inside ``with nogil:``; nothing
else differs. Arguments, answers, errors and methods are documented in `compute.in_python`.

Buffers come in as `Py_buffer`: typed memoryviews cost three times as much a call, and are not safe in
interpreters with their own GIL.
"""

import os

from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_IsContiguous, PyBuffer_Release, PyObject_GetBuffer,
)
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from gilcmp.base import checks
from gilcmp.compute.in_python import COUNT_MAX, PI_MAX, PRIMES_MAX, RANGE_MAX, SEED_MAX

cdef extern from "_kernels.h":
    uint64_t gilcmp_opaque(uint64_t value) noexcept nogil
    int gilcmp_popcount(uint64_t word) noexcept nogil
    const char *GILCMP_COMPILER
    const char *GILCMP_FLAGS

    # the loops of `_kernels_loops.h`, for the instruction set in use
    ctypedef struct Loops "struct gilcmp_loops":
        double (*dot)(const double *a, const double *b, int64_t n) noexcept nogil
        int64_t (*mandelbrot)(
            int32_t *out, int64_t rows, int64_t width, int64_t first_row, int64_t height, int32_t limit
        ) noexcept nogil
        double (*blur)(
            const float *a, const float *b, const float *c, const float *d, const float *e, float *down,
            float *target, int64_t width
        ) noexcept nogil
        int64_t (*pi)(uint64_t start, uint64_t stop, uint64_t seed) noexcept nogil
        int64_t (*count_bits)(const uint8_t *bytes, int64_t n) noexcept nogil
    const Loops *loops "gilcmp_loops"
    const Loops *gilcmp_loops_for(const char *isa) noexcept
    void gilcmp_use_loops(const Loops *loops) noexcept

compiler = GILCMP_COMPILER.decode()
flags = GILCMP_FLAGS.decode()


# ---- instruction sets ---------------------------------------------------------------------------------------

# From the narrowest to the widest. Importing chooses the widest that the CPU has, or what GILCMP_ISA says.
ISAS = ("baseline", "avx2", "avx512")
isas = tuple(isa for isa in ISAS if gilcmp_loops_for(isa.encode()) != NULL)
isa = ""


def use_isa(name):
    """Use the loops for an instruction set from now on, in all threads and interpreters of this process."""
    global isa
    if name not in isas:
        raise ValueError(f"GILCMP_ISA must be one of {', '.join(isas)} on this machine, got {name!r}")
    gilcmp_use_loops(gilcmp_loops_for(name.encode()))
    isa = name


if loops == NULL:
    use_isa(os.environ.get("GILCMP_ISA") or isas[len(isas) - 1])
else:  # another interpreter of this process has chosen, for all
    isa = next(name for name in isas if gilcmp_loops_for(name.encode()) == loops)


# ---- arguments ----------------------------------------------------------------------------------------------

cdef bint holds(const Py_buffer *view, char kind) noexcept:
    """Tell whether the buffer's items are of `kind` (a letter of the struct module), in native order."""
    cdef const char *found = view.format
    if found == NULL:
        return kind == b"B"
    if found[0] == b"@" or found[0] == b"=":
        found += 1
    if found[0] == b"l" and view.itemsize == 4:
        return kind == b"i" and found[1] == 0
    return found[0] == kind and found[1] == 0


cdef int open_buffer(name, obj, Py_buffer *view, char kind, int ndim, bint writable=False) except -1:
    """Fill `view`, or raise what `checks.array` says is wrong with `obj`."""
    try:
        PyObject_GetBuffer(obj, view, PyBUF_FORMAT | PyBUF_STRIDES)
    except (TypeError, BufferError, ValueError):
        checks.array(name, obj, chr(kind), ndim, writable=writable)
        raise  # memoryview can read this buffer and we cannot: keep its owner's message
    if (holds(view, kind) and view.ndim == ndim and PyBuffer_IsContiguous(view, b"C")
            and not (writable and view.readonly)):
        return 0
    PyBuffer_Release(view)
    checks.array(name, obj, chr(kind), ndim, writable=writable)
    raise TypeError(f"{name} must be a plain C-contiguous buffer")


# ---- count --------------------------------------------------------------------------------------------------

cdef int64_t count_body(int64_t n) noexcept nogil:
    cdef uint64_t total = 0
    cdef int64_t i
    for i in range(n):
        total = gilcmp_opaque(total + 1)
    return <int64_t> total


def count_gil(n):
    cdef int64_t steps = checks.integer("n", n, 0, COUNT_MAX)
    return count_body(steps)


def count_nogil(n):
    cdef int64_t steps = checks.integer("n", n, 0, COUNT_MAX)
    cdef int64_t total
    with nogil:
        total = count_body(steps)
    return total


# ---- range_sum ----------------------------------------------------------------------------------------------

cdef uint64_t range_sum_body(uint64_t start, uint64_t stop) noexcept nogil:
    cdef uint64_t total = 0
    cdef uint64_t i
    for i in range(start, stop):
        total += gilcmp_opaque(i)
    return total


def range_sum_gil(start, stop):
    cdef uint64_t first, last
    first, last = checks.span(start, stop, RANGE_MAX)
    return range_sum_body(first, last)


def range_sum_nogil(start, stop):
    cdef uint64_t first, last, total
    first, last = checks.span(start, stop, RANGE_MAX)
    with nogil:
        total = range_sum_body(first, last)
    return total


# ---- mandelbrot ---------------------------------------------------------------------------------------------

cdef call_mandelbrot(out, first_row, height, max_iterations, bint release):
    cdef Py_buffer view
    cdef int64_t total, first, tall = 0, rows, width
    cdef int32_t limit
    cdef int32_t *pixels
    open_buffer("out", out, &view, b"i", 2, True)
    try:
        rows, width, pixels = view.shape[0], view.shape[1], <int32_t *> view.buf
        tall = checks.integer("height", height, 1, 2**24)
        first = checks.block(memoryview(out), first_row, tall)
        limit = checks.integer("max_iterations", max_iterations, 0, 2**24)
        if release:
            with nogil:
                total = loops.mandelbrot(pixels, rows, width, first, tall, limit)
        else:
            total = loops.mandelbrot(pixels, rows, width, first, tall, limit)
    finally:
        PyBuffer_Release(&view)
    return total


def mandelbrot_gil(out, first_row, height, max_iterations):
    return call_mandelbrot(out, first_row, height, max_iterations, False)


def mandelbrot_nogil(out, first_row, height, max_iterations):
    return call_mandelbrot(out, first_row, height, max_iterations, True)


# ---- primes -------------------------------------------------------------------------------------------------

cdef enum:
    BLOCK = 1 << 15  # bytes sieved at a time, each for 30 numbers: they fit into a usual first-level cache
    PATTERN = 7 * 11 * 13  # bytes after which the multiples of these primes repeat


cdef uint64_t integer_sqrt(uint64_t n) noexcept nogil:
    cdef uint64_t root = 0
    cdef uint64_t bit = <uint64_t> 1 << 31
    while bit:
        if (root + bit) * (root + bit) <= n:
            root += bit
        bit >>= 1
    return root


cdef uint64_t strike_out(uint8_t *block, uint64_t at, uint64_t size, uint64_t p, uint8_t bit) noexcept nogil:
    """Set a bit in every p-th byte from `at` on; return where the following block goes on."""
    while at < size:
        block[at] |= bit
        at += p
    return at - size


cdef int64_t primes_body(uint64_t start, uint64_t stop) noexcept nogil:
    """Count the primes in start..stop - 1, which holds more than 2; -1: out of memory.

    A byte stands for 30 numbers, a bit for each of the 8 that 2, 3 and 5 leave: the wheel (Pritchard: Explaining the
    wheel sieve, Acta Informatica 17, 1982). The multiples of a prime p that share a bit are p bytes apart. The segment
    is sieved block by block, so that the striking out stays in the cache (Bays, Hudson: The segmented sieve of
    Eratosthenes, BIT 17, 1977), and each block begins as a copy of the pattern that 7, 11 and 13 leave.
    """
    cdef uint64_t root = integer_sqrt(stop - 1)
    cdef uint64_t at = start // 30  # the segment's bytes: at..end - 1
    cdef uint64_t end = (stop - 1) // 30 + 1
    cdef uint64_t p, q, i, k, size, n_strokes = 0
    cdef uint64_t most = root * 64 // 30 + 64  # strokes: 8 for each number that the wheel leaves below the root
    cdef uint64_t longest = min(end - at, <uint64_t> BLOCK)
    cdef int64_t total = 0
    cdef uint64_t wheel[8]  # what is below 30 and not divisible by 2, 3 or 5: a bit each
    cdef uint64_t first_primes[6]
    cdef uint8_t bit_of[30]
    # small numbers: whether 2 * k + 1 is composite; the primes' strokes, up to 8 each: stride, next byte, and bit
    cdef uint8_t *composite = <uint8_t *> calloc(root // 2 + 1, 1)
    cdef uint64_t *stride = <uint64_t *> malloc(most * sizeof(uint64_t))
    cdef uint64_t *following = <uint64_t *> malloc(most * sizeof(uint64_t))
    cdef uint8_t *bits = <uint8_t *> malloc(most)
    cdef uint8_t *pattern = <uint8_t *> calloc(PATTERN + longest, 1)
    cdef uint8_t *block = <uint8_t *> malloc(longest)
    if composite == NULL or stride == NULL or following == NULL or bits == NULL or pattern == NULL or block == NULL:
        total = -1
    else:
        wheel[:] = [1, 7, 11, 13, 17, 19, 23, 29]
        first_primes[:] = [2, 3, 5, 7, 11, 13]
        for i in range(8):
            bit_of[wheel[i]] = 1 << i
        for p in first_primes:
            total += start <= p < stop
        for p in first_primes[3:6]:
            for i in range(8):
                q = p * wheel[i]
                strike_out(pattern, q // 30, PATTERN + longest, p, bit_of[q % 30])
        for k in range(1, (root + 1) // 2):
            if composite[k]:
                continue
            p = 2 * k + 1
            strike_out(composite, p * p // 2, (root + 1) // 2, p, 1)
            if p <= 13:
                continue
            for i in range(8):  # the multiples p * q with q % 30 == wheel[i]: from p * p on, and within the segment
                q = max(p, (30 * at + p - 1) // p)
                q += (30 + wheel[i] - q % 30) % 30
                if p * q < stop:
                    stride[n_strokes] = p
                    following[n_strokes] = p * q // 30 - at
                    bits[n_strokes] = bit_of[p * q % 30]
                    n_strokes += 1
        while at < end:
            size = min(<uint64_t> BLOCK, end - at)
            memcpy(block, pattern + at % PATTERN, size)
            if at == 0:
                block[0] |= 1  # 1 is no prime
            for i in range(n_strokes):
                following[i] = strike_out(block, following[i], size, stride[i], bits[i])
            for i in range(8):  # what lies before the segment's start, or not before its stop
                if 30 * at + wheel[i] < start:
                    block[0] |= 1 << i
                if 30 * (at + size - 1) + wheel[i] >= stop:
                    block[size - 1] |= 1 << i
            total += 8 * size - loops.count_bits(block, size)
            at += size
    free(composite)
    free(stride)
    free(following)
    free(bits)
    free(pattern)
    free(block)
    return total


cdef call_primes(start, stop, bint release):
    cdef uint64_t first, last
    cdef int64_t total
    first, last = checks.span(start, stop, PRIMES_MAX)
    if last <= 2 or first >= last:
        return 0
    if release:
        with nogil:
            total = primes_body(first, last)
    else:
        total = primes_body(first, last)
    if total < 0:
        raise MemoryError("no memory for the sieve")
    return total


def primes_gil(start, stop):
    return call_primes(start, stop, False)


def primes_nogil(start, stop):
    return call_primes(start, stop, True)


# ---- dot ----------------------------------------------------------------------------------------------------

cdef call_dot(a, b, bint release):
    cdef Py_buffer x, y
    cdef double total
    open_buffer("a", a, &x, b"d", 1)
    try:
        open_buffer("b", b, &y, b"d", 1)
        try:
            if x.shape[0] != y.shape[0]:
                checks.same_length(memoryview(a), memoryview(b))
            if release:
                with nogil:
                    total = loops.dot(<const double *> x.buf, <const double *> y.buf, x.shape[0])
            else:
                total = loops.dot(<const double *> x.buf, <const double *> y.buf, x.shape[0])
        finally:
            PyBuffer_Release(&y)
    finally:
        PyBuffer_Release(&x)
    return total


def dot_gil(a, b):
    return call_dot(a, b, False)


def dot_nogil(a, b):
    return call_dot(a, b, True)


# ---- blur ---------------------------------------------------------------------------------------------------

cdef int64_t clamp(int64_t row, int64_t height) noexcept nogil:
    return 0 if row < 0 else (height - 1 if row >= height else row)


cdef int blur_body(
    const float *image, int64_t height, int64_t width, float *out, int64_t rows, int64_t first_row, double *total
) noexcept nogil:
    """Blur rows; -1: out of memory. The filter is separable: a row is summed down, then across."""
    cdef int64_t row, y
    cdef float *down = <float *> malloc((width + 4) * sizeof(float))
    total[0] = 0.0
    if down == NULL:
        return -1
    for row in range(rows if width else 0):
        y = first_row + row
        total[0] += loops.blur(
            image + clamp(y - 2, height) * width,
            image + clamp(y - 1, height) * width,
            image + y * width,
            image + clamp(y + 1, height) * width,
            image + clamp(y + 2, height) * width,
            down,
            out + row * width,
            width,
        )
    free(down)
    return 0


cdef call_blur(image, out, first_row, bint release):
    cdef Py_buffer source, target
    cdef int64_t first
    cdef double total = 0.0
    cdef int failed
    open_buffer("image", image, &source, b"f", 2)
    try:
        open_buffer("out", out, &target, b"f", 2, True)
        try:
            first = checks.image_block(memoryview(image), memoryview(out), first_row)
            if release:
                with nogil:
                    failed = blur_body(<const float *> source.buf, source.shape[0], source.shape[1],
                                       <float *> target.buf, target.shape[0], first, &total)
            else:
                failed = blur_body(<const float *> source.buf, source.shape[0], source.shape[1],
                                   <float *> target.buf, target.shape[0], first, &total)
        finally:
            PyBuffer_Release(&target)
    finally:
        PyBuffer_Release(&source)
    if failed:
        raise MemoryError("no memory for a row of the image")
    return total


def blur_gil(image, out, first_row):
    return call_blur(image, out, first_row, False)


def blur_nogil(image, out, first_row):
    return call_blur(image, out, first_row, True)


# ---- pi -----------------------------------------------------------------------------------------------------

def pi_gil(start, stop, seed):
    cdef uint64_t first, last, key
    first, last = checks.span(start, stop, PI_MAX)
    key = checks.integer("seed", seed, 0, SEED_MAX)
    return loops.pi(first, last, key)


def pi_nogil(start, stop, seed):
    cdef uint64_t first, last, key
    cdef int64_t inside
    first, last = checks.span(start, stop, PI_MAX)
    key = checks.integer("seed", seed, 0, SEED_MAX)
    with nogil:
        inside = loops.pi(first, last, key)
    return inside


# ---- levenshtein --------------------------------------------------------------------------------------------

cdef struct Column:
    # 64 cells of a column of the table, by their differences down the column: +1 where `plus` has a bit, -1 where `minus`
    uint64_t plus
    uint64_t minus


cdef inline uint8_t advance(Column *column, uint64_t equal, uint8_t above) noexcept nogil:
    """Go on to the next column, where the bits of `equal` say which cells' bytes agree.

    `above` is the difference to the next column just above these cells; the result is that at the lowest:
    1 stands for +1, 2 for -1, 0 for 0.
    """
    cdef uint64_t vertical = equal | column.minus
    cdef uint64_t horizontal, up, down
    cdef uint8_t below
    equal |= above >> 1
    horizontal = (((equal & column.plus) + column.plus) ^ column.plus) | equal
    up = column.minus | ~(horizontal | column.plus)
    down = column.plus & horizontal
    below = <uint8_t> ((up >> 63) | (down >> 63) << 1)
    up = up << 1 | (above & 1)
    down = down << 1 | (above >> 1)
    column.plus = down | ~(vertical | up)
    column.minus = up & vertical
    return below


cdef int64_t levenshtein_body(const uint8_t *a, int64_t n, const uint8_t *b, int64_t m) noexcept nogil:
    """Edit distance; -1: out of memory.

    The table is computed 64 cells at a time: neighbours differ by -1, 0 or 1, which takes two bits, and the arithmetic
    of words does the rest (Myers: A fast bit-vector algorithm for approximate string matching based on dynamic
    programming, JACM 46, 1999; in the form of Hyyro: A bit-vector algorithm for computing Levenshtein and Damerau edit
    distances, Nordic Journal of Computing 10, 2003). Two words are on their way at once, the lower one a column behind:
    each waits for its own column before, and the CPU does both in the time of one.
    """
    cdef int64_t first, i, rows, distance = m
    cdef uint64_t upper_equal[256]
    cdef uint64_t lower_equal[256]
    cdef uint64_t valid
    cdef Column upper, lower
    cdef uint8_t between
    cdef uint8_t *border = NULL  # the differences along the row above the two words; a single word needs none
    if n > 64:
        border = <uint8_t *> malloc(m + 1)
        if border == NULL:
            return -1
        memset(border, 1, m + 1)
        memset(lower_equal, 0, sizeof(lower_equal))
    memset(upper_equal, 0, sizeof(upper_equal))
    for first in range(0, n if m else 0, 128):
        rows = min(n - first, <int64_t> 128)
        for i in range(min(rows, <int64_t> 64)):
            upper_equal[a[first + i]] |= <uint64_t> 1 << i
        for i in range(64, rows):
            lower_equal[a[first + i]] |= <uint64_t> 1 << (i - 64)
        upper.plus = lower.plus = ~<uint64_t> 0
        upper.minus = lower.minus = 0
        if rows <= 64:
            for i in range(m):
                advance(&upper, upper_equal[b[i]], border[i] if border != NULL else 1)
        else:
            between = advance(&upper, upper_equal[b[0]], border[0])
            for i in range(1, m):
                border[i - 1] = advance(&lower, lower_equal[b[i - 1]], between)
                between = advance(&upper, upper_equal[b[i]], border[i])
            border[m - 1] = advance(&lower, lower_equal[b[m - 1]], between)
        # down the last column, to its end
        valid = ~<uint64_t> 0 >> (64 - min(rows, <int64_t> 64))
        distance += gilcmp_popcount(upper.plus & valid) - gilcmp_popcount(upper.minus & valid)
        if rows > 64:
            valid = ~<uint64_t> 0 >> (128 - rows)
            distance += gilcmp_popcount(lower.plus & valid) - gilcmp_popcount(lower.minus & valid)
        for i in range(rows):  # clear them for the next two words
            upper_equal[a[first + i]] = lower_equal[a[first + i]] = 0
    free(border)
    return distance if m else n


cdef call_levenshtein(a, b, bint release):
    cdef Py_buffer x, y
    cdef int64_t distance
    open_buffer("a", a, &x, b"B", 1)
    try:
        open_buffer("b", b, &y, b"B", 1)
        try:
            if release:
                with nogil:
                    distance = levenshtein_body(<const uint8_t *> x.buf, x.shape[0],
                                                <const uint8_t *> y.buf, y.shape[0])
            else:
                distance = levenshtein_body(<const uint8_t *> x.buf, x.shape[0],
                                            <const uint8_t *> y.buf, y.shape[0])
        finally:
            PyBuffer_Release(&y)
    finally:
        PyBuffer_Release(&x)
    if distance < 0:
        raise MemoryError("no memory for a row of the table")
    return distance


def levenshtein_gil(a, b):
    return call_levenshtein(a, b, False)


def levenshtein_nogil(a, b):
    return call_levenshtein(a, b, True)
