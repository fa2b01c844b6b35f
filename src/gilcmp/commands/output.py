"""Where results go: the terminal, a file, and one line on standard error for what failed."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

INTERRUPTED = 130


def terminal() -> Any:
    """Return rich's console for standard output; rich is loaded when something is shown."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)


@contextlib.contextmanager
def measuring(output: str | None, *, quiet: bool) -> Iterator[Any]:
    """Show the progress; where standard output is for the results, measured code prints to standard error."""
    with contextlib.ExitStack() as until_measured:
        if output == "-":
            until_measured.enter_context(_printing_to_stderr())
        yield until_measured.enter_context(_progress(silent=quiet or output == "-"))


@contextlib.contextmanager
def _printing_to_stderr() -> Iterator[None]:
    with contextlib.ExitStack() as afterwards:
        # the file descriptor as well: it is what native code and worker processes write to
        with contextlib.suppress(OSError, AttributeError):  # closed, or not there at all
            stdout, stderr = sys.stdout.fileno(), sys.stderr.fileno()
            kept = os.dup(stdout)
            afterwards.callback(os.close, kept)
            afterwards.callback(os.dup2, kept, stdout)
            os.dup2(stderr, stdout)
        afterwards.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield


def _progress(*, silent: bool) -> Any:
    from gilcmp.show.progress import ProgressBar, Silent

    return Silent() if silent or not (sys.stdout.isatty() and sys.stderr.isatty()) else ProgressBar()


def complain(message: str) -> int:
    """Say on one line what is wrong; the exit code for that."""
    one_line = " ".join(message.split())
    click.echo(f"gilcmp: {one_line}", err=True)
    return 2


def failed(error: BaseException) -> int:
    """Say what ended the measuring: one line, after the traceback of a task's own exception. The exit code."""
    if isinstance(error, KeyboardInterrupt):
        click.echo("gilcmp: interrupted", err=True)
        return INTERRUPTED
    notes = getattr(error, "__notes__", [])
    if notes:
        traceback.print_exception(error, limit=-3)
    return complain(
        f"{type(error).__name__}: {error} ({'; '.join(notes)})"
        if notes
        else str(error) or type(error).__name__
    )


def save(write: Callable[[str | Path], object], output: str) -> int:
    """Save; where that fails after all (a full disk, say), try to keep it somewhere else. The exit code."""
    try:
        write(output)
    except OSError as error:
        endings = "".join(Path(output).suffixes[-2:]) if output.endswith(".gz") else Path(output).suffix
        kept = Path(tempfile.gettempdir()) / f"gilcmp-{os.getpid()}{endings or '.json'}"
        try:
            write(kept)
        except OSError:
            return complain(f"could not save to {output!r}: {error}; nor to {str(kept)!r}")
        return complain(f"could not save to {output!r}: {error}; it is kept in {str(kept)!r}")
    return 0


def write_json(data: Any, output: str) -> int:
    """Save as JSON, or print it where ``output`` is ``-``; the exit code."""
    from gilcmp.results import replace_file, without_nan

    text = json.dumps(without_nan(data), indent=1)
    if output == "-":
        click.echo(text)
        return 0
    return save(lambda path: replace_file(path, text + "\n"), output)
