# The kernel `primes`; a part of _kernels.pyx.

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


cdef struct Strokes:
    # what the primes strike out, up to 8 strokes each
    uint64_t n
    uint64_t *stride     # the prime
    uint64_t *following  # the byte that is struck next
    uint8_t *bit         # in it


cdef struct Wheel:
    uint64_t number[8]  # what is below 30 and not divisible by 2, 3 or 5
    uint8_t bit_of[30]  # the bit that stands for it


cdef void add_strokes(
    Strokes *strokes, uint64_t p, uint64_t first, uint64_t stop, const Wheel *wheel
) noexcept nogil:
    """Add the strokes of a prime: the multiples p * q, for each q % 30 of the wheel, from p * p and byte `first` on."""
    cdef uint64_t q
    cdef int i
    for i in range(8):
        q = max(p, (30 * first + p - 1) // p)
        q += (30 + wheel.number[i] - q % 30) % 30
        if p * q < stop:
            strokes.stride[strokes.n] = p
            strokes.following[strokes.n] = p * q // 30 - first
            strokes.bit[strokes.n] = wheel.bit_of[p * q % 30]
            strokes.n += 1


cdef void find_strokes(
    Strokes *strokes, uint8_t *composite, uint64_t root, uint64_t first, uint64_t stop, const Wheel *wheel
) noexcept nogil:
    """Sieve the odd numbers up to `root`, and add the strokes of the primes from 17 on."""
    cdef uint64_t k, p
    for k in range(1, (root + 1) // 2):  # composite[k] stands for 2 * k + 1
        if composite[k]:
            continue
        p = 2 * k + 1
        strike_out(composite, p * p // 2, (root + 1) // 2, p, 1)
        if p > 13:
            add_strokes(strokes, p, first, stop, wheel)


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
    cdef uint64_t p, q, i, size
    cdef uint64_t most = root * 64 // 30 + 64  # strokes: 8 for each number that the wheel leaves below the root
    cdef uint64_t longest = min(end - at, <uint64_t> BLOCK)
    cdef int64_t total = 0
    cdef Wheel wheel
    cdef uint64_t first_primes[6]
    cdef Strokes strokes
    cdef uint8_t *composite = <uint8_t *> calloc(root // 2 + 1, 1)
    cdef uint8_t *pattern = <uint8_t *> calloc(PATTERN + longest, 1)
    cdef uint8_t *block = <uint8_t *> malloc(longest)
    strokes.n = 0
    strokes.stride = <uint64_t *> malloc(most * sizeof(uint64_t))
    strokes.following = <uint64_t *> malloc(most * sizeof(uint64_t))
    strokes.bit = <uint8_t *> malloc(most)
    if (composite == NULL or strokes.stride == NULL or strokes.following == NULL or strokes.bit == NULL
            or pattern == NULL or block == NULL):
        total = -1
    else:
        wheel.number[:] = [1, 7, 11, 13, 17, 19, 23, 29]
        first_primes[:] = [2, 3, 5, 7, 11, 13]
        for i in range(8):
            wheel.bit_of[wheel.number[i]] = 1 << i
        for p in first_primes:
            total += start <= p < stop
        for p in first_primes[3:6]:
            for i in range(8):
                q = p * wheel.number[i]
                strike_out(pattern, q // 30, PATTERN + longest, p, wheel.bit_of[q % 30])
        find_strokes(&strokes, composite, root, at, stop, &wheel)
        while at < end:
            size = min(<uint64_t> BLOCK, end - at)
            memcpy(block, pattern + at % PATTERN, size)
            if at == 0:
                block[0] |= 1  # 1 is no prime
            for i in range(strokes.n):
                strokes.following[i] = strike_out(block, strokes.following[i], size, strokes.stride[i], strokes.bit[i])
            for i in range(8):  # what lies before the segment's start, or not before its stop
                if 30 * at + wheel.number[i] < start:
                    block[0] |= 1 << i
                if 30 * (at + size - 1) + wheel.number[i] >= stop:
                    block[size - 1] |= 1 << i
            total += 8 * size - loops.count_bits(block, size)
            at += size
    free(composite)
    free(strokes.stride)
    free(strokes.following)
    free(strokes.bit)
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
