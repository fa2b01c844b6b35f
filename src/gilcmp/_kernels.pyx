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


# ---- primes, levenshtein: the two with data structures of their own --------------------------------------

include "_kernels_primes.pxi"
include "_kernels_levenshtein.pxi"


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
