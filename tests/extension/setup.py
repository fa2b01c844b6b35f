"""Build the extension that is written three times; those whose tool is not installed are left out."""

from importlib.util import find_spec

from setuptools import Extension, setup

extensions = [Extension("in_c", ["in_c.c"])]
if find_spec("Cython"):
    from Cython.Build import cythonize

    extensions += cythonize([Extension("in_cython", ["in_cython.pyx"])])
if find_spec("pybind11"):
    from pybind11.setup_helpers import Pybind11Extension

    extensions.append(Pybind11Extension("in_pybind11", ["in_pybind11.cpp"], cxx_std=17))

setup(name="extension", py_modules=[], ext_modules=extensions, zip_safe=False)
