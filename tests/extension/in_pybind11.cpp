// The same work as in_c.c and in_cython.pyx, with pybind11: once with the GIL released, once without.
#include <cstdint>
#include <pybind11/pybind11.h>

static std::uint32_t work(long n)
{
    std::uint32_t value = 1;
    for (long i = 0; i < n; i++)
        value = value * 1664525u + 1013904223u;
    return value;
}

PYBIND11_MODULE(in_pybind11, module, pybind11::mod_gil_not_used())
{
    module.def("releases", &work, pybind11::call_guard<pybind11::gil_scoped_release>());
    module.def("forgets", &work);
}
