# The kernel `levenshtein`; a part of _kernels.pyx.

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
