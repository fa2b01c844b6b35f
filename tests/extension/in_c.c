/* The same work as in_cython.pyx and in_pybind11.cpp, in plain C: once with the GIL released, once without. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

static uint32_t work(long n)
{
    uint32_t value = 1;
    for (long i = 0; i < n; i++)
        value = value * 1664525u + 1013904223u;
    return value;
}

static PyObject *releases(PyObject *self, PyObject *args)
{
    long n;
    uint32_t value;
    (void)self;
    if (!PyArg_ParseTuple(args, "l", &n))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    value = work(n);
    Py_END_ALLOW_THREADS
    return PyLong_FromUnsignedLong(value);
}

static PyObject *forgets(PyObject *self, PyObject *args)
{
    long n;
    (void)self;
    if (!PyArg_ParseTuple(args, "l", &n))
        return NULL;
    return PyLong_FromUnsignedLong(work(n));
}

static PyMethodDef methods[] = {
    {"releases", releases, METH_VARARGS, NULL},
    {"forgets", forgets, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef_Slot slots[] = {
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "in_c", NULL, 0, methods, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_in_c(void)
{
    return PyModuleDef_Init(&module);
}
