"""Build the compiled kernels; everything else is in pyproject.toml."""

import gzip
import os
import shutil
import sys
import sysconfig
import tarfile
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.sdist import sdist
from setuptools.errors import CCompilerError, PlatformError

MSVC_FLAGS = ["/O2", "/std:c11"]
# No contraction: a fused multiply-add rounds once where Python and NumPy round twice, and the escape
# counts of mandelbrot would differ between CPUs.
# No debugging information, which some interpreters ask for: it would make the wheel four times as large.
GCC_FLAGS = ["-O3", "-ffp-contract=off", "-g0"]


NO_COMPILER = """\
gilcmp's kernels are compiled, and {what}.
Install what compiles Python extensions:
    Debian, Ubuntu   apt-get install gcc libc6-dev python3-dev
    Fedora           dnf install gcc python3-devel
    Alpine           apk add gcc musl-dev python3-dev
    macOS            xcode-select --install
    Windows          Build Tools for Visual Studio, with "Desktop development with C++"
or a wheel, which needs no compiler: pip install --only-binary=gilcmp gilcmp"""


class BuildExt(build_ext):
    """Add the flags of the compiler at hand, and keep them in the extension for ``gilcmp env``."""

    def finalize_options(self):
        """Compile the extensions side by side, where no other number is asked for."""
        super().finalize_options()
        if self.parallel is None:
            self.parallel = True  # as many as there are CPUs

    def run(self):
        """Build; where that fails for want of a compiler, say what to install."""
        try:
            super().run()
        except (CCompilerError, PlatformError) as error:
            command = (getattr(self.compiler, "compiler_so", None) or ["cl.exe"])[0]
            headers = Path(sysconfig.get_path("include"), "Python.h")
            if isinstance(error, PlatformError) or shutil.which(command) is None:
                raise SystemExit(NO_COMPILER.format(what=f"there is no C compiler here ({command})")) from error
            if not headers.exists():
                raise SystemExit(NO_COMPILER.format(what=f"Python's headers are not here ({headers})")) from error
            raise

    def build_extensions(self):
        """Compile with per-compiler flags."""
        flags = MSVC_FLAGS if self.compiler.compiler_type == "msvc" else GCC_FLAGS
        command = getattr(self.compiler, "compiler_so", None) or []
        inherited = [word for word in command[1:] if word[:2] in ("-O", "-m", "-f", "-D")]
        # "/" would be a path of the building machine: paths are nobody's business and spoil reproducibility
        shown = " ".join(word for word in [*inherited, *flags] if "/" not in word[1:])
        for extension in self.extensions:
            # for developers: warnings as errors, sanitizers
            extension.extra_compile_args = [*flags, *os.environ.get("GILCMP_CFLAGS", "").split()]
            extension.define_macros.append(("GILCMP_FLAGS", f'"{shown}"'))
            if sys.platform == "linux":
                # Cython's lock on 3.12 is then that of pthread: C11's would tie the wheel to glibc 2.34
                extension.define_macros.append(("__STDC_NO_THREADS__", "1"))
        super().build_extensions()


class Sdist(sdist):
    """Pack the same files to the same bytes, whenever and wherever, where SOURCE_DATE_EPOCH is set; wheels do so."""

    def make_archive(self, base_name, format, root_dir=None, base_dir=None, owner=None, group=None):  # noqa: A002
        """Make the archive, with the given time for every file, sorted, and nobody's name on them."""
        if format != "gztar" or "SOURCE_DATE_EPOCH" not in os.environ:
            return super().make_archive(base_name, format, root_dir, base_dir, owner, group)
        when = int(os.environ["SOURCE_DATE_EPOCH"])

        def anonymous(member):
            member.mtime, member.uid, member.gid, member.uname, member.gname = when, 0, 0, "", ""
            member.mode = 0o755 if member.mode & 0o100 else 0o644
            return member

        path = f"{base_name}.tar.gz"
        with (
            open(path, "wb") as file,  # noqa: PTH123
            gzip.GzipFile("", "wb", fileobj=file, mtime=when) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for name in sorted([base_dir, *map(str, Path(base_dir).rglob("*"))]):
                archive.add(name, recursive=False, filter=anonymous)
        return path


# The module's state in the module, not in C globals: own-GIL interpreters each need theirs.
# Likewise heap types in place of static ones, which all interpreters would share and each would take apart.
STATE = [("CYTHON_USE_MODULE_STATE", "1"), ("CYTHON_USE_TYPE_SPECS", "1")]

WATCHERS = (
    "lock",
    "watcher",
    "sampler",
    "recorder",
    "threads",
    "frames",
    "parking",
    "contention",
    "alarm",
    "lines",
    "monitor",
    "report",
)

setup(
    ext_modules=cythonize(
        [
            Extension(
                "gilcmp._kernels",
                ["src/gilcmp/_kernels.pyx"],
                depends=[*map(str, Path("src/gilcmp").glob("_kernels*.[hp]*"))],
                include_dirs=["src/gilcmp"],
                define_macros=[*STATE],
            ),
            Extension(
                "gilcmp.watch._gil",
                ["src/gilcmp/watch/_gil.pyx", *(f"src/gilcmp/watch/{name}.c" for name in WATCHERS)],
                depends=[
                    "src/gilcmp/watch/ground_truth.pxi",
                    *(f"src/gilcmp/watch/{name}.h" for name in (*WATCHERS, "counter")),
                ],
                include_dirs=["src/gilcmp/watch"],
                define_macros=[*STATE],
            ),
            Extension("gilcmp.experiments._unready", ["src/gilcmp/experiments/_unready.c"]),
        ],
        build_dir="build/cython",
        language_level=3,
    ),
    cmdclass={"build_ext": BuildExt, "sdist": Sdist},
)
