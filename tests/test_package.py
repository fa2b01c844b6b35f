"""The package as a whole: what importing it loads, its public names, its documentation."""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import gilcmp

PACKAGE = Path(gilcmp.__file__).parent
MODULES = sorted(
    ".".join(("gilcmp", *path.relative_to(PACKAGE).with_suffix("").parts))
    for path in PACKAGE.rglob("*.py")
    if path.stem not in ("__init__", "__main__")
)
# what an extra brings, where it is not installed
EXTRAS = {"prometheus": "prometheus_client", "opentelemetry": "opentelemetry", "dask": "distributed"}
MODULES = [name for name in MODULES if find_spec(EXTRAS.get(name.removeprefix("gilcmp.monitoring."), "gilcmp"))]


def python(code, *options):
    return subprocess.run(
        [sys.executable, "-W", "error", *options, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


IMPORT_EACH = """
import os
import attrs, cattrs, click, numpy, psutil, rich  # only what is ours has to be imported each time
for name in {names!r}:
    child = os.fork()
    if not child:
        __import__(name)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, name
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process of its own for each would take a minute")
def test_each_module_can_be_imported_alone():
    """Each in a process of its own that has imported nothing else: no module counts on another to be there."""
    done = python(IMPORT_EACH.format(names=[*MODULES, "gilcmp.show", "gilcmp"]), "-I")
    assert (done.returncode, done.stderr) == (0, "")


def test_importing_gilcmp_stays_light():
    heavy = [
        "numpy",
        "rich",
        "matplotlib",
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


def test_no_module_hides_a_public_name():
    """Importing every module binds each to the package: none may be called like a public function."""
    done = python(
        f"import importlib, gilcmp, types\n"
        f"for name in {MODULES!r}: importlib.import_module(name)\n"
        "assert not [name for name in gilcmp.__all__ if isinstance(getattr(gilcmp, name), types.ModuleType)]\n"
        "assert gilcmp.kernels['dot'].name == 'dot'\n"
    )
    assert done.stderr == ""


def test_the_list_for_type_checkers_is_the_same():
    """`__init__.pyi` names each public name and the module it lives in, as `__init__.py` does."""
    listed = {
        alias.asname: node.module
        for node in ast.parse((PACKAGE / "__init__.pyi").read_text()).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert listed == {"__version__": "gilcmp._version", **gilcmp._HOME_OF}


def test_typed_marker_and_stub_are_installed():
    assert (PACKAGE / "py.typed").exists()
    assert (PACKAGE / "_kernels.pyi").exists()


def test_nothing_else_is_imported_before_ctrl_c_is_looked_after():
    before = "import sys, os, importlib; before = set(sys.modules)"
    code = f"{before}; import gilcmp.__main__; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert set(done.stdout.split()) <= {"gilcmp", "gilcmp._version", "gilcmp.__main__"}
