"""Running a script or a module as `python` itself would, for `gilcmp timeline`.

The program gets a `__main__`, `sys.argv` and `sys.path` of its own; its exceptions and exits leave `run` as they are.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib.machinery
import io
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import Any, cast


class ProgramError(ValueError):
    """There is nothing to run; the message says why."""


def check(name: str, *, module: bool) -> None:
    """Raise ProgramError if there is no such script or module: before anything is recorded."""
    if module:
        import importlib.util

        sys.path[0:0] = [str(Path.cwd())]
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError, AttributeError) as error:
            raise ProgramError(f"{name}: {error}") from None
        finally:
            del sys.path[0]
        if spec is None:
            raise ProgramError(f"no module named {name!r}")
    elif not Path(name).exists():
        raise ProgramError(f"no such file: {name!r}")
    elif Path(name).is_file():
        try:
            with Path(name).open("rb"):
                pass
        except OSError as error:
            raise ProgramError(f"{name}: {error.strerror}") from None


def load(name: str, *, module: bool) -> CodeType | None:
    """Return a script's code, or None for what is not one file; SyntaxError is raised before anything is recorded."""
    if module or Path(name).is_dir() or _is_importable_archive(name):
        return None
    return _code(str(Path(name).absolute()))


def run(name: str, arguments: Sequence[str], *, module: bool, code: CodeType | None = None) -> None:
    """Run a script (a file, a folder or a zip file with a `__main__.py`) or a module, as `__main__`.

    `code` is what `load` returned.
    """
    main = ModuleType("__main__")
    main.__dict__["__builtins__"] = builtins
    sys.argv[:] = [name, *arguments]
    # what Python put there for gilcmp itself; with -P or -I it put nothing
    first = 0 if sys.flags.safe_path else 1
    if module:
        sys.path[:first] = [] if sys.flags.safe_path else [str(Path.cwd())]
        sys.modules["__main__"] = main
        runpy._run_module_as_main(name)  # type: ignore[attr-defined]  # what python -m calls
        return
    if code is None:
        sys.path[:first] = [str(Path(name).absolute())]
        sys.modules["__main__"] = main
        runpy._run_module_as_main("__main__", alter_argv=False)  # type: ignore[attr-defined]
        return
    path = str(Path(name).absolute())
    sys.path[:first] = [] if sys.flags.safe_path else [str(Path(name).resolve().parent)]
    kind: Any = importlib.machinery.SourceFileLoader
    if name.endswith(".pyc"):
        kind = importlib.machinery.SourcelessFileLoader
    main.__dict__.update(
        __file__=path,
        __doc__=None,
        __package__=None,
        __spec__=None,
        __loader__=kind("__main__", path),
    )
    if sys.version_info < (3, 15):
        main.__dict__["__cached__"] = None
    sys.modules["__main__"] = main
    exec(code, main.__dict__)  # noqa: S102  # what was asked for


def _is_importable_archive(name: str) -> bool:
    import zipfile

    return not name.endswith((".py", ".pyc")) and zipfile.is_zipfile(name)


def _code(path: str) -> CodeType:
    with io.open_code(path) as file:
        if path.endswith(".pyc"):
            import pkgutil

            code = pkgutil.read_code(file)
            if code is None:
                raise ImportError(f"{path}: made by another version of Python")
            return cast("CodeType", code)
        compiled: CodeType = compile(file.read(), path, "exec", dont_inherit=True)
        return compiled


def hide_frames() -> None:
    """Make tracebacks show the program's own frames only, even if it has replaced `sys.excepthook`."""
    shown = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        theirs = _own(trace)
        shown(kind, error.with_traceback(theirs), theirs)

    sys.excepthook = hook


def leave_interrupted() -> None:
    """Make Python end by SIGINT, as after an uncaught KeyboardInterrupt: an `eval` since then makes it forget.

    Python remembers how the latest `eval` of a string ended.
    """

    def interrupt() -> None:
        raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        eval("interrupt()", {"interrupt": interrupt})  # noqa: S307  # a text of ours


def _own(trace: TracebackType | None) -> TracebackType | None:
    """Return the part of a traceback that begins behind this module's last frame."""
    theirs, here = trace, trace
    while here is not None:
        if here.tb_frame.f_code.co_filename == __file__:
            theirs = here.tb_next
        here = here.tb_next
    return theirs
