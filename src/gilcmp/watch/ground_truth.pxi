# Known truth to test with, for the claims and for users' test suites; a part of _gil.pyx.

def hold_gil(seconds):
    """Spin natively for `seconds` and hold the GIL all the time."""
    gilcmp_spin_until(gilcmp_now() + nanoseconds("seconds", seconds))


def release_gil(seconds):
    """Spin natively for `seconds` with the GIL released."""
    cdef int64_t length = nanoseconds("seconds", seconds)
    with nogil:
        gilcmp_spin_until(gilcmp_now() + length)


def alternate(held, released, seconds):
    """Hold the GIL for `held` seconds, release it for `released`, and so on for `seconds`: known shares.

    Returns
    -------
    float
        The share of the time for which it really was held, by the same clock. The lock changes hands somewhere
        inside the calls that release and take it: half of their time is counted as held.
    """
    cdef int64_t keep = nanoseconds("held", held)
    cdef int64_t leave = nanoseconds("released", released)
    cdef int64_t began = gilcmp_now()
    cdef int64_t end = began + nanoseconds("seconds", seconds)
    cdef int64_t now = began
    cdef int64_t away = 0  # twice the time
    cdef int64_t leaving, left, returning, returned
    if keep + leave <= 0:
        raise ValueError("held and released must not both be 0")
    while now < end:
        gilcmp_spin_until(now + keep)
        if leave:
            leaving = gilcmp_now()
            with nogil:
                left = gilcmp_now()
                gilcmp_spin_until(left + leave)
                returning = gilcmp_now()
            returned = gilcmp_now()
            away += (returning + returned) - (leaving + left)
        now = gilcmp_now()
    return 1.0 - 0.5 * <double> away / <double> (now - began) if now > began else 1.0


cdef class Counter:
    """A plain 64-bit counter that threads may count up in four ways; `value` is what it came to."""

    cdef int64_t count
    cdef PyThread_type_lock lock

    def __cinit__(self):
        self.lock = PyThread_allocate_lock()
        if self.lock == NULL:
            raise MemoryError("no memory for a lock")

    def __dealloc__(self):
        if self.lock != NULL:
            PyThread_free_lock(self.lock)

    @property
    def value(self):
        """What was counted."""
        return self.count

    def holding(self):
        """Add 1: load, add, store, while the GIL is held (free-threaded builds: without any lock)."""
        gilcmp_increment_plain(&self.count, 1)

    def plain(self, times):
        """Add 1 so many times, without the GIL: load, add, store."""
        cdef int64_t n = times
        with nogil:
            gilcmp_increment_plain(&self.count, n)

    def atomic(self, times):
        """Add 1 so many times, without the GIL, each as one atomic operation."""
        cdef int64_t n = times
        with nogil:
            gilcmp_increment_atomic(&self.count, n)

    def locked(self, times):
        """Add 1 so many times, without the GIL, each under a mutex."""
        cdef int64_t n = times
        with nogil:
            gilcmp_increment_locked(&self.count, n, self.lock)
