"""gilcmp's own Python processes: they run no code from the current folder, and communicate in JSON."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def python_command(*arguments: str, python: str = sys.executable, x_options: bool = True) -> list[str]:
    """Return the command that runs Python with these arguments, as safely as this interpreter itself was started.

    The current folder is not searched for modules (``-P``): it may be a download, or hold a ``json.py`` of its own.
    The child ignores what this interpreter was told to ignore (``-I``, ``-E``, ``-s``). Only this interpreter
    itself gets its ``-X`` options, if wanted: another one may not know them.
    """
    options = ["-I"] if sys.flags.isolated else ["-P"]
    if not sys.flags.isolated:
        options += ["-E"] * bool(sys.flags.ignore_environment) + ["-s"] * bool(sys.flags.no_user_site)
    if python == sys.executable and x_options:
        for name, value in sys._xoptions.items():
            options += ["-X", name if value is True else f"{name}={value}"]
    return [python, *options, *arguments]


def main_is_a_file() -> bool:
    """Tell whether the program is a file, which other processes can import; a notebook and standard input are none."""
    path = getattr(sys.modules["__main__"], "__file__", None)
    return path is not None and os.path.isfile(path)  # noqa: PTH113  # a path that was given may be bytes


@contextlib.contextmanager
def safe_workers() -> Iterator[None]:
    """Let the processes that `multiprocessing` starts meanwhile leave the current folder alone as well.

    Before they import the program, they take over its `sys.path`; until then ``-c`` has them search the current folder.
    A program from standard input calls itself a file named "<stdin>", which they would look for.
    """
    from multiprocessing import util

    main = sys.modules["__main__"]
    with contextlib.ExitStack() as afterwards:
        if hasattr(main, "__file__") and not main_is_a_file():
            afterwards.callback(setattr, main, "__file__", main.__file__)
            del main.__file__
        afterwards.enter_context(_without_current_folder(util))
        yield


@contextlib.contextmanager
def _without_current_folder(util: Any) -> Iterator[None]:
    flags = getattr(util, "_args_from_interpreter_flags", None)
    if flags is None or sys.flags.safe_path:
        yield
        return
    util._args_from_interpreter_flags = lambda: [*flags(), "-P"]
    try:
        yield
    finally:
        util._args_from_interpreter_flags = flags


class ChildError(RuntimeError):
    """A child interpreter failed, or took too long; the message holds its last word."""


def ask(
    *arguments: str,
    python: str = sys.executable,
    timeout: float,
    env: Mapping[str, str] | None = None,
    x_options: bool = True,
) -> Any:
    """Run Python with these arguments to its end, and return the JSON that it printed.

    `env` and `x_options`: its environment, if another one, and whether it gets this interpreter's ``-X`` options.

    Raises
    ------
    ChildError
        Where it failed, took longer than so many seconds, or printed something else.
    """
    try:
        done = subprocess.run(  # noqa: S603  # our own module, in an interpreter that was checked
            python_command(*arguments, python=python, x_options=x_options),
            capture_output=True, text=True, timeout=timeout, check=False, env=env,
        )  # fmt: skip
    except subprocess.TimeoutExpired:  # killed; what it had started ends with it, since its pipes do
        raise ChildError(f"it took longer than {timeout:.0f} s") from None
    except OSError as error:
        raise ChildError(str(error)) from None
    if done.returncode == -signal.SIGINT:
        raise KeyboardInterrupt  # Ctrl-C goes to both, and what it raises here may have been lost in a callback
    if done.returncode:
        raise ChildError((done.stderr.strip().splitlines() or ["no reason given"])[-1])
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise ChildError(f"it printed {done.stdout[:60]!r} instead of JSON") from None


def run_group(
    command: Sequence[str], *, limit: float, saving: float = 0.0, **settings: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return what it said; with it ends all that it has started.

    When it takes longer than `limit` seconds, or Ctrl-C is pressed, it is interrupted and has `saving` seconds to save
    what it has; then all are killed. `settings` are further ones of `subprocess.Popen`.

    Raises
    ------
    OSError
        Where it does not start.
    subprocess.TimeoutExpired
        Where it took longer.
    """
    with _interrupts_heard():
        running = subprocess.Popen(  # noqa: S603  # the caller's
            command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace",
            start_new_session=True, **settings,
        )  # fmt: skip
    with running:
        try:
            out, err = running.communicate(timeout=limit)
        except BaseException:
            _end_group(running, saving)
            raise
    return subprocess.CompletedProcess(command, running.returncode, out, err)


@contextlib.contextmanager
def _interrupts_heard() -> Iterator[None]:
    """Let what is started meanwhile hear SIGINT: programs in the background ignore it, and so would it."""
    ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    if not ignored or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: None)  # ignored as before, but no longer inherited
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _end_group(running: subprocess.Popen[str], saving: float) -> None:
    if os.name == "nt":
        running.kill()
        return
    with contextlib.suppress(OSError):
        if saving:
            os.killpg(running.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(timeout=saving)  # not for its output: what it has started may keep that open
        os.killpg(running.pid, signal.SIGKILL)


class Child:
    """A Python process of ours that reads and answers lines of JSON; it ends when its input does.

    It has a session of its own: Ctrl-C reaches only the parent, which lets it end and keeps its results.
    """

    def __init__(self, *arguments: str, python: str = sys.executable) -> None:
        self._owner = os.getpid()
        self._process = subprocess.Popen(  # noqa: S603  # as for `ask`
            python_command(*arguments, python=python),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )

    def tell(self, message: Any) -> None:
        """Tell it something."""
        assert self._process.stdin is not None  # noqa: S101  # for the type checker
        with contextlib.suppress(BrokenPipeError):  # what became of it is read from its output
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def answer(self) -> Any:
        """Wait for its next line; None when it has come to its end."""
        assert self._process.stdout is not None  # noqa: S101
        line = self._process.stdout.readline()
        return json.loads(line) if line.strip() else None

    def finish(self) -> None:
        """Close its input so that it ends; its remaining output can still be read."""
        assert self._process.stdin is not None  # noqa: S101
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def close(self, patience: float = 10.0) -> None:
        """End it, whatever it does, within so many seconds; in a forked child it is left to the parent."""
        if self._owner != os.getpid():
            return
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def answer(message: Any, file: int = 1) -> None:
    """Answer from the child: write a line of JSON at once, to standard output or another descriptor."""
    with (
        contextlib.suppress(BrokenPipeError),  # whoever asked is gone already
        open(file, "w", encoding="utf-8", closefd=False) as out,  # a descriptor
    ):
        out.write(json.dumps(message) + "\n")
