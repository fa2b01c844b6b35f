# cython: language_level=3, freethreading_compatible=True
"""The same work as in_c.c and in_pybind11.cpp, in Cython: once with the GIL released, once without."""

from libc.stdint cimport uint32_t


cdef uint32_t work(long n) noexcept nogil:
    cdef uint32_t value = 1
    cdef long i
    for i in range(n):
        value = value * 1664525u + 1013904223u
    return value


def releases(long n):
    cdef uint32_t value
    with nogil:
        value = work(n)
    return value


def forgets(long n):
    return work(n)
