"""The package as a whole: what importing it loads, its public names, its documentation."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import gilcmp

PACKAGE = Path(gilcmp.__file__).parent
MODULES = sorted(
    ".".join(("gilcmp", *path.relative_to(PACKAGE).with_suffix("").parts))
    for path in PACKAGE.rglob("*.py")
    if path.stem not in ("__init__", "__main__")
)
# The one module that is nothing without its extra; all others import theirs when they draw.
OF_AN_EXTRA = {"gilcmp.show.html_charts": "bokeh"}


def python(code, *options):
    return subprocess.run(
        [sys.executable, "-W", "error", *options, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("module", [*MODULES, "gilcmp.show", "gilcmp"])
def test_each_module_can_be_imported_alone(module):
    if module in OF_AN_EXTRA:
        pytest.importorskip(OF_AN_EXTRA[module])
    done = python(f"import {module}", "-I")
    assert (done.returncode, done.stderr) == (0, "")


def test_importing_gilcmp_stays_light():
    heavy = [
        "numpy",
        "rich",
        "matplotlib",
        "bokeh",
        "click",
        "psutil",
        "cattrs",
        "threadpoolctl",
        "datetime",
        "decimal",
    ]
    done = python(f"import sys, gilcmp; print([name for name in {heavy!r} if name in sys.modules])")
    assert done.stdout.strip() == "[]", done.stderr


def test_public_names_are_all_there_and_documented():
    for name in gilcmp.__all__:
        thing = getattr(gilcmp, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert inspect.getdoc(thing), name


def test_functions_with_the_name_of_their_module_stay_functions():
    """Importing gilcmp.compare the module must not hide gilcmp.compare the function."""
    done = python(
        "import gilcmp, gilcmp.cli, gilcmp.compare, gilcmp.kernels\n"
        "assert callable(gilcmp.compare), gilcmp.compare\n"
        "assert gilcmp.kernels['dot'].name == 'dot'\n"
    )
    assert done.stderr == ""


def test_typed_marker_and_stub_are_installed():
    assert (PACKAGE / "py.typed").exists()
    assert (PACKAGE / "_kernels.pyi").exists()


def test_numpy_is_not_needed_for_the_rest():
    done = python(
        "import sys\n"
        "sys.modules['numpy'] = None\n"
        "import gilcmp\n"
        "c = gilcmp.compare('pi', size='small', budget=0.2, workers=1, strategies='threads')\n"
        "print(sorted({cell.implementation for cell in c}))\n"
        "try:\n"
        "    gilcmp.compare('pi', implementations='numpy')\n"
        "except ValueError as error:\n"
        "    print(error)\n"
    )
    assert done.stdout.splitlines()[0] == "['cython_gil', 'cython_nogil', 'python']", done.stderr
    assert "'numpy' is not available" in done.stdout
