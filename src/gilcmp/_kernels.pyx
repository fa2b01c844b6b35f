# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True, subinterpreters_compatible=own_gil, embedsignature=False
"""The compiled kernels, each once as a body that needs no GIL and twice as an entry.

``name_gil`` calls the body holding the GIL, ``name_nogil`` calls the same body inside ``with nogil:``; nothing
else differs. Arguments, answers, errors and methods are documented in `_kernels_py`.

Buffers come in as `Py_buffer`: typed memoryviews cost three times as much a call, and are not safe in
interpreters with their own GIL.
"""

from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_IsContiguous, PyBuffer_Release, PyObject_GetBuffer,
)
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from gilcmp import _checks
from gilcmp._kernels_py import COUNT_MAX, PI_MAX, PRIMES_MAX, RANGE_MAX, SEED_MAX

cdef extern from "_kernels.h":
    uint64_t gilcmp_opaque(uint64_t value) noexcept nogil
    const char *GILCMP_COMPILER
    const char *GILCMP_FLAGS

compiler = GILCMP_COMPILER.decode()
flags = GILCMP_FLAGS.decode()


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
    """Fill `view`, or raise what `_checks.array` says is wrong with `obj`."""
    try:
        PyObject_GetBuffer(obj, view, PyBUF_FORMAT | PyBUF_STRIDES)
    except (TypeError, BufferError, ValueError):
        _checks.array(name, obj, chr(kind), ndim, writable=writable)
        raise  # a buffer that memoryview can read and we cannot: its owner's own words
    if (holds(view, kind) and view.ndim == ndim and PyBuffer_IsContiguous(view, b"C")
            and not (writable and view.readonly)):
        return 0
    PyBuffer_Release(view)
    _checks.array(name, obj, chr(kind), ndim, writable=writable)
    raise TypeError(f"{name} must be a plain C-contiguous buffer")


# ---- count --------------------------------------------------------------------------------------------------

cdef int64_t count_body(int64_t n) noexcept nogil:
    cdef uint64_t total = 0
    cdef int64_t i
    for i in range(n):
        total = gilcmp_opaque(total + 1)
    return <int64_t> total


def count_gil(n):
    cdef int64_t steps = _checks.integer("n", n, 0, COUNT_MAX)
    return count_body(steps)


def count_nogil(n):
    cdef int64_t steps = _checks.integer("n", n, 0, COUNT_MAX)
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
    first, last = _checks.span(start, stop, RANGE_MAX)
    return range_sum_body(first, last)


def range_sum_nogil(start, stop):
    cdef uint64_t first, last, total
    first, last = _checks.span(start, stop, RANGE_MAX)
    with nogil:
        total = range_sum_body(first, last)
    return total


# ---- mandelbrot ---------------------------------------------------------------------------------------------

cdef int64_t mandelbrot_body(
    int32_t *out, int64_t rows, int64_t width, int64_t first_row, int64_t height, int32_t max_iterations
) noexcept nogil:
    cdef int64_t row, column
    cdef int64_t total = 0
    cdef int32_t steps
    cdef double c_real, c_imag, z_real, z_imag, real_squared, imag_squared
    for row in range(rows):
        c_imag = -1.25 + 2.5 * (<double> (first_row + row) + 0.5) / <double> height
        for column in range(width):
            c_real = -2.0 + 2.5 * (<double> column + 0.5) / <double> width
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
            out[row * width + column] = steps
            total += steps
    return total


cdef call_mandelbrot(out, first_row, height, max_iterations, bint release):
    cdef Py_buffer view
    cdef int64_t total, first, tall = 0, rows, width
    cdef int32_t limit
    cdef int32_t *pixels
    open_buffer("out", out, &view, b"i", 2, True)
    try:
        rows, width, pixels = view.shape[0], view.shape[1], <int32_t *> view.buf
        tall = _checks.integer("height", height, 1, 2**24)
        first = _checks.block(memoryview(out), first_row, tall)
        limit = _checks.integer("max_iterations", max_iterations, 0, 2**24)
        if release:
            with nogil:
                total = mandelbrot_body(pixels, rows, width, first, tall, limit)
        else:
            total = mandelbrot_body(pixels, rows, width, first, tall, limit)
    finally:
        PyBuffer_Release(&view)
    return total


def mandelbrot_gil(out, first_row, height, max_iterations):
    return call_mandelbrot(out, first_row, height, max_iterations, False)


def mandelbrot_nogil(out, first_row, height, max_iterations):
    return call_mandelbrot(out, first_row, height, max_iterations, True)


# ---- primes -------------------------------------------------------------------------------------------------

cdef enum:
    BLOCK = 1 << 15  # one byte for each odd number; half of a usual first-level cache


cdef uint64_t integer_sqrt(uint64_t n) noexcept nogil:
    cdef uint64_t root = 0
    cdef uint64_t bit = <uint64_t> 1 << 31
    while bit:
        if (root + bit) * (root + bit) <= n:
            root += bit
        bit >>= 1
    return root


cdef int64_t primes_body(uint64_t start, uint64_t stop) noexcept nogil:
    """Count the primes in start..stop - 1, which holds more than 2; -1: out of memory.

    Only odd numbers are kept: place k stands for 2 * k + 1. The segment is sieved block by block, so that the
    striking out stays in the cache (Bays, Hudson: The segmented sieve of Eratosthenes, BIT 17, 1977).
    """
    cdef int64_t total = 1 if start <= 2 else 0
    cdef uint64_t limit = integer_sqrt(stop - 1)
    cdef uint64_t small_size = (limit + 1) // 2
    cdef uint64_t at = start // 2 if start > 3 else 1
    cdef uint64_t end = stop // 2
    cdef uint64_t block_end, k, p, i, n_primes = 0
    cdef uint8_t *small = <uint8_t *> malloc(small_size + 1)
    cdef uint64_t *prime = <uint64_t *> malloc((small_size + 1) * sizeof(uint64_t))
    cdef uint64_t *following = <uint64_t *> malloc((small_size + 1) * sizeof(uint64_t))
    cdef uint8_t *block = <uint8_t *> malloc(BLOCK)
    if small == NULL or prime == NULL or following == NULL or block == NULL:
        total = -1
    else:
        memset(small, 1, small_size + 1)
        for k in range(1, small_size):
            if small[k]:
                p = 2 * k + 1
                i = p * p // 2
                while i < small_size:
                    small[i] = 0
                    i += p
                prime[n_primes] = p
                i = p * p // 2
                if i < at:
                    i += (at - i + p - 1) // p * p
                following[n_primes] = i
                n_primes += 1
        while at < end:
            block_end = min(at + BLOCK, end)
            memset(block, 1, BLOCK)
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
    free(small)
    free(prime)
    free(following)
    free(block)
    return total


cdef call_primes(start, stop, bint release):
    cdef uint64_t first, last
    cdef int64_t total
    first, last = _checks.span(start, stop, PRIMES_MAX)
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

cdef enum:
    LANES = 16  # independent sums: one sum alone waits for each addition before it can start the next


cdef double dot_body(const double *a, const double *b, Py_ssize_t n) noexcept nogil:
    cdef double partial[LANES]
    cdef double total = 0.0
    cdef Py_ssize_t i = 0
    cdef int lane
    for lane in range(LANES):
        partial[lane] = 0.0
    while i + LANES <= n:
        for lane in range(LANES):
            partial[lane] += a[i + lane] * b[i + lane]
        i += LANES
    while i < n:
        total += a[i] * b[i]
        i += 1
    for lane in range(LANES):
        total += partial[lane]
    return total


cdef call_dot(a, b, bint release):
    cdef Py_buffer x, y
    cdef double total
    open_buffer("a", a, &x, b"d", 1)
    try:
        open_buffer("b", b, &y, b"d", 1)
        try:
            if x.shape[0] != y.shape[0]:
                _checks.same_length(memoryview(a), memoryview(b))
            if release:
                with nogil:
                    total = dot_body(<const double *> x.buf, <const double *> y.buf, x.shape[0])
            else:
                total = dot_body(<const double *> x.buf, <const double *> y.buf, x.shape[0])
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
    cdef int64_t row, x, y
    cdef const float *a
    cdef const float *b
    cdef const float *c
    cdef const float *d
    cdef const float *e
    cdef float *target
    cdef float *down = <float *> malloc((width + 4) * sizeof(float))
    cdef float four = 4.0, six = 6.0, share = 1.0 / 256.0  # as floats: a double literal would widen every product
    cdef double partial[4]
    total[0] = 0.0
    if down == NULL:
        return -1
    for row in range(rows if width else 0):
        y = first_row + row
        a = image + clamp(y - 2, height) * width
        b = image + clamp(y - 1, height) * width
        c = image + y * width
        d = image + clamp(y + 1, height) * width
        e = image + clamp(y + 2, height) * width
        for x in range(width):
            down[x + 2] = a[x] + four * b[x] + six * c[x] + four * d[x] + e[x]
        down[0] = down[1] = down[2]
        down[width + 3] = down[width + 2] = down[width + 1]
        target = out + row * width
        for x in range(width):
            target[x] = share * (
                down[x] + four * down[x + 1] + six * down[x + 2] + four * down[x + 3] + down[x + 4]
            )
        partial[0] = partial[1] = partial[2] = partial[3] = 0.0
        for x in range(0, width - 3, 4):
            partial[0] += target[x]
            partial[1] += target[x + 1]
            partial[2] += target[x + 2]
            partial[3] += target[x + 3]
        for x in range(width - width % 4, width):
            partial[0] += target[x]
        total[0] += partial[0] + partial[1] + partial[2] + partial[3]
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
            first = _checks.image_block(memoryview(image), memoryview(out), first_row)
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

cdef int64_t pi_body(uint64_t start, uint64_t stop, uint64_t seed) noexcept nogil:
    cdef uint64_t i, z, x, y
    cdef int64_t inside = 0
    for i in range(start, stop):
        z = seed + (i + 1) * <uint64_t> 0x9E3779B97F4A7C15
        z = (z ^ (z >> 30)) * <uint64_t> 0xBF58476D1CE4E5B9
        z = (z ^ (z >> 27)) * <uint64_t> 0x94D049BB133111EB
        z = z ^ (z >> 31)
        x = z >> 33
        y = (z >> 2) & 0x7FFFFFFF
        inside += x * x + y * y < <uint64_t> 1 << 62
    return inside


def pi_gil(start, stop, seed):
    cdef uint64_t first, last, key
    first, last = _checks.span(start, stop, PI_MAX)
    key = _checks.integer("seed", seed, 0, SEED_MAX)
    return pi_body(first, last, key)


def pi_nogil(start, stop, seed):
    cdef uint64_t first, last, key
    cdef int64_t inside
    first, last = _checks.span(start, stop, PI_MAX)
    key = _checks.integer("seed", seed, 0, SEED_MAX)
    with nogil:
        inside = pi_body(first, last, key)
    return inside


# ---- levenshtein --------------------------------------------------------------------------------------------

cdef int64_t levenshtein_body(const uint8_t *a, int64_t n, const uint8_t *b, int64_t m) noexcept nogil:
    """Edit distance; -1: out of memory."""
    cdef int64_t i, j, left, diagonal, best
    cdef int64_t *row = <int64_t *> malloc((m + 1) * sizeof(int64_t))
    if row == NULL:
        return -1
    for j in range(m + 1):
        row[j] = j
    for i in range(n):
        diagonal = row[0]
        left = row[0] = i + 1
        for j in range(1, m + 1):
            best = diagonal + (a[i] != b[j - 1])
            diagonal = row[j]
            best = min(best, diagonal + 1)
            left = min(best, left + 1)
            row[j] = left
    best = row[m]
    free(row)
    return best


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
