"""One way to do each developer task: ``nox -s tests | lint | bench | package``."""

import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path

import nox

nox.options.sessions = ["lint", "tests"]
nox.options.error_on_missing_interpreters = False
PYTHONS = ["3.11", "3.12", "3.13", "3.13t", "3.14", "3.14t", "3.15", "3.15t"]


@nox.session(python=PYTHONS)
def tests(session):
    session.install(".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def lint(session):
    session.install("-e", ".[lint]")
    session.run("ruff", "format", "--check")
    session.run("ruff", "check")
    session.run("mypy")
    session.run("lint-imports")


@nox.session
def bench(session):
    session.install(".[test]")
    session.run("pytest", "benchmarks", *session.posargs)


@nox.session
def package(session):
    """Build the sdist, the wheel from it, look into both, and run the tests against the installed wheel."""
    session.install("build")
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build")
    (sdist,), (wheel,) = Path("dist").glob("*.tar.gz"), Path("dist").glob("*.whl")
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    for wanted in (
        "src/gilcmp/_kernels.pyx",
        "src/gilcmp/_kernels.h",
        "src/gilcmp/_kernels_loops.h",
        "src/gilcmp/py.typed",
        "tests/conftest.py",
    ):
        assert wanted in names, f"{wanted} is not in the sdist"
    with zipfile.ZipFile(wheel) as archive:
        inside = archive.namelist()
    assert not [name for name in inside if name.endswith((".pyx", ".c", ".h"))], "sources in the wheel"
    assert {"gilcmp/py.typed", "gilcmp/_kernels.pyi", "gilcmp/show/terminal.py"} <= set(inside)
    assert wheel.stat().st_size < 2**20, "the wheel is over 1 MB"
    session.install(f"{wheel}[test]")
    with tempfile.TemporaryDirectory() as elsewhere, tarfile.open(sdist) as archive:
        archive.extractall(elsewhere, filter="data")
        (root,) = Path(elsewhere).iterdir()
        session.chdir(root)
        # what depends on how it is packed; the whole suite against a wheel is run by .ci/testing-suite
        session.run(
            "pytest",
            *(f"tests/test_{name}.py" for name in ("package", "native", "kernels", "strategies", "show")),
        )
