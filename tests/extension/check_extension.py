"""The tests that an author of the extension would write; which of them must fail is in their names.

pytest does not collect this file by itself: `tests/test_extension.py` and `benchmarks/busy_suite.py` run it.
"""

from importlib import import_module
from importlib.util import find_spec

import pytest

from gilcmp.testing import assert_max_stall, assert_releases_gil

WORK = 4_000_000  # 4 ms or so
LANGUAGES = [name for name in ("in_c", "in_cython", "in_pybind11") if find_spec(name)]


@pytest.fixture
def extension_module(request):
    return import_module(request.param)


def each(function):
    """Run a test for each of the three."""
    return pytest.mark.parametrize("extension_module", LANGUAGES, indirect=True)(function)


@each
def test_assertion_passes(extension_module):
    assert_releases_gil(extension_module.releases, WORK, budget="200ms")


@each
def test_assertion_fails(extension_module):
    assert_releases_gil(extension_module.forgets, WORK, budget="200ms")


@each
@pytest.mark.releases_gil
def test_marker_passes(extension_module):
    extension_module.releases(10 * WORK)


@each
@pytest.mark.releases_gil
def test_marker_fails(extension_module):
    extension_module.forgets(10 * WORK)


def test_stall_passes():
    assert_max_stall(import_module("in_c").releases, 10 * WORK, seconds="20ms", budget="300ms")


def test_stall_fails():
    assert_max_stall(import_module("in_c").forgets, 10 * WORK, seconds="20ms", budget="300ms")
