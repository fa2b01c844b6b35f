"""``gilcmp timeline``."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import click

from gilcmp.cli.arguments import Duration, example, need_writable
from gilcmp.cli.output import complain, failed, save, show, tell_of_the_gil


@click.command(
    context_settings={"allow_interspersed_args": False, "ignore_unknown_options": False},
    short_help="Record which thread of a program holds the GIL when.",
    epilog=example("gilcmp timeline -o gil.json.gz script.py --its-own-option"),
)
@click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    metavar="FILE",
    help="Save a trace (.json, .json.gz) or a picture (.svg, .png, .pdf); repeatable.",
)
@click.option("--pace", type=Duration(), help="Time between two looks; default: what costs next to nothing.")
@click.option("--keep", type=click.IntRange(1, 10**9), default=10**6, help="Spans kept, the newest; default: 1000000.")
@click.option("--details", is_flag=True, help="Show all threads, not only those that held longest.")
@click.option("-q", "--quiet", is_flag=True, help="No summary.")
@click.option("--or-run", is_flag=True, help="Where nothing can be recorded, run the program all the same.")
@click.option("-m", "module", is_flag=True, help="PROGRAM is a module, as for python -m.")
@click.argument("program", metavar="PROGRAM")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[ARGUMENT ...]")
def timeline(
    outputs: tuple[str, ...],
    pace: float | None,
    keep: int,
    details: bool,
    quiet: bool,
    or_run: bool,
    module: bool,
    program: str,
    arguments: tuple[str, ...],
) -> Callable[[], None]:
    """Run a program and record which thread holds the GIL when; the summary goes to standard error.

    The program's output, exit code, exceptions, sys.argv and __main__ are as without it. Options stand before it.
    """
    from gilcmp.probing.program import check
    from gilcmp.probing.timeline import PICTURES, Timeline, check_target

    try:
        for output in outputs:
            check_target(output)
            need_writable(output)
            if output.lower().endswith(PICTURES):
                from gilcmp.show.figure import need_matplotlib

                need_matplotlib()
        check(program, module=module)
        recording = Timeline(pace=pace, keep=keep)
    except (ValueError, TypeError, ImportError) as error:
        raise click.UsageError(str(error)) from None
    return partial(
        record,
        recording,
        program,
        arguments,
        module=module,
        outputs=outputs,
        details=details,
        quiet=quiet,
        or_run=or_run,
    )


def record(
    recording: Any,
    name: str,
    arguments: tuple[str, ...],
    *,
    module: bool,
    outputs: tuple[str, ...],
    details: bool,
    quiet: bool,
    or_run: bool = False,
) -> None:
    """Run a program, and show and save the recording when it is over: after its own exit handlers."""
    from gilcmp.probing import program

    started_in = os.getpid()
    interrupted = False

    def finish() -> None:
        if os.getpid() != started_in:
            return  # a forked child leaves by this way as well
        while signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
            with contextlib.suppress(KeyboardInterrupt):  # from here on it would only lose what was seen
                signal.signal(signal.SIGINT, signal.SIG_IGN)
        recording.__exit__()
        for output in outputs:
            save(recording.save, output)
        if not quiet:
            show(recording.sections() if details else recording.overview(), stderr=True)
        tell_of_the_gil()
        if interrupted:
            program.leave_interrupted()

    outputs = tuple(map(os.path.abspath, outputs))  # the program may change its folder
    try:
        recording.__enter__()
        atexit.register(finish)  # the first to be registered is the last to run
    except KeyboardInterrupt as error:  # nothing has run yet
        sys.exit(failed(error))
    except (RuntimeError, MemoryError) as error:  # the GIL cannot be watched, or no thread started
        if not or_run:
            sys.exit(complain(f"{error}; gilcmp timeline --or-run runs the program without a recording"))
        complain(f"{error}: nothing is recorded")
    try:
        program.run(name, arguments, module=module)
    except KeyboardInterrupt:
        interrupted = True
        raise
    finally:
        program.hide_frames()
