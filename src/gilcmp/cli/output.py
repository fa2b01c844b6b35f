"""Where results go: the terminal, a file, and one line on standard error for what failed."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from gilcmp.show.model import Section

INTERRUPTED = 130
OURS = str(Path(__file__).parent.parent)


def show(sections: Sequence[Section], *, stderr: bool = False) -> None:
    """Show sections on the terminal; rich is loaded when something is shown."""
    from gilcmp.show import text

    text.show(sections, stderr=stderr)


def show_result(result: Any, *, details: bool, further: Sequence[str] = ()) -> None:
    """Show a result on one screen, with what may be asked next, or all of it."""
    from gilcmp.show import text
    from gilcmp.show.model import Sentence

    if details:
        return show(result.sections())
    sections = list(result.overview(text.terminal_width()))
    last = sections.pop()
    told = tuple(Sentence(line, "dim") for line in further)
    show([*sections, Section(last.title, (*last.parts, *told))])
    return None


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


def tell_of_the_gil() -> None:
    """Say on standard error if an import has turned the GIL of a free-threaded build on."""
    if "free-threading" not in sys.version:
        return  # without loading anything
    from gilcmp.measure.machine import gil_warning

    warning = gil_warning()
    if warning:
        click.echo(f"gilcmp: {warning}", err=True)


def complain(message: str) -> int:
    """Print on one line what is wrong; return the exit code."""
    one_line = " ".join(message.split())
    click.echo(f"gilcmp: {one_line}", err=True)
    return 2


def failed(error: BaseException) -> int:
    """Print on one line what ended the run, after the traceback of a task's own exception; return the exit code."""
    if isinstance(error, KeyboardInterrupt):
        click.echo("gilcmp: interrupted", err=True)
        return INTERRUPTED
    notes = getattr(error, "__notes__", [])
    if not notes:
        return complain(str(error) or type(error).__name__)
    theirs = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(OURS)]
    if theirs:  # of the user's code, not of what called it
        frames = "".join(traceback.format_list(theirs[-3:]))
        click.echo(f"Traceback (most recent call last):\n{frames}", nl=False, err=True)
    elif error.__cause__ is not None:  # raised in another process
        click.echo(str(error.__cause__).strip().strip('"'), err=True)
    return complain(f"{type(error).__name__}: {error} ({'; '.join(note.removeprefix('gilcmp: ') for note in notes)})")


def save(write: Callable[[str | Path], object], output: str) -> int:
    """Save; if that fails after all (a full disk, say), try to save elsewhere. Return the exit code."""
    try:
        write(output)
    except OSError as error:
        endings = "".join(Path(output).suffixes[-2:]) if output.endswith(".gz") else Path(output).suffix
        kept = None
        try:
            # under a name that nobody could guess and put a symlink at
            number, kept = tempfile.mkstemp(prefix="gilcmp-", suffix=endings or ".json")
            os.close(number)
            write(kept)
        except OSError:
            with contextlib.suppress(OSError, TypeError):
                os.unlink(kept)  # type: ignore[arg-type]  # noqa: PTH108
            return complain(f"could not save to {output!r}: {error}; nor to {tempfile.gettempdir()!r}")
        return complain(f"could not save to {output!r}: {error}; it is kept in {kept!r}")
    return 0


def write_json(data: Any, output: str) -> int:
    """Save as JSON, or print it where ``output`` is ``-``; the exit code."""
    from gilcmp.base.files import replace_file
    from gilcmp.saved.reading import without_nan

    text = json.dumps(without_nan(data), indent=1)
    if output == "-":
        click.echo(text)
        return 0
    return save(lambda path: replace_file(path, text + "\n"), output)
