"""The command line: parse, call the API, show, save; no logic of its own.

Exit codes: 0 fine, 1 a requested check failed, 2 wrong usage or bad input, 3 the machine was
too busy for a verdict, 130 interrupted.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

import click

from gilcmp._version import __version__
from gilcmp.cli.about import env, list_
from gilcmp.cli.advise import advise
from gilcmp.cli.attach import attach
from gilcmp.cli.claims import claims, threshold
from gilcmp.cli.compare import compare
from gilcmp.cli.contention import contention
from gilcmp.cli.files import diff, report
from gilcmp.cli.fleet import fleet
from gilcmp.cli.output import INTERRUPTED, complain, tell_of_the_gil
from gilcmp.cli.probe import atlas, probe
from gilcmp.cli.timeline import timeline


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit; errors are one line on standard error."""
    try:
        code = cli.main(arguments, prog_name="gilcmp", standalone_mode=False)
        if not callable(code):
            sys.stdout.flush()
    except click.ClickException as error:
        code = complain(error.format_message())
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("gilcmp: interrupted", err=True)
        code = INTERRUPTED
    except BrokenPipeError:  # "gilcmp … | head": the reader has gone, which is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:
        code = complain(str(error))
    if callable(code):
        # `timeline` or `contention`: a user's program, whose errors and exits must not be taken for gilcmp's
        code()
        sys.exit(0)
    tell_of_the_gil()
    if code == INTERRUPTED and _is_kept_alive():
        # A thread that is in the middle of a long task cannot be stopped, but the process can exit without it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def _is_kept_alive() -> bool:
    """Whether the interpreter would wait for another thread at its exit."""
    others = (thread for thread in threading.enumerate() if thread is not threading.current_thread())
    return any(not thread.daemon for thread in others)


FIRST_STEPS = """\
gilcmp measures what the GIL costs and what releasing it
buys, on this machine and this Python.

Start here:
  gilcmp compare            what threads and processes do
                            for ready-made work, in 30 s
  gilcmp claims             what people say about the GIL,
                            tested here, in 90 s
Your own code:
  gilcmp probe "f(x)" -s "from mine import f, x"
                            does this call release the GIL?
  gilcmp compare "f(x)" -s "from mine import f, x"
                            do threads or processes help?
  gilcmp advise "f(x)" -s "from mine import f, x"
                            which of them, and why?
  gilcmp contention "f(x)" -s "from mine import f, x"
                            on what do threads wait?
  gilcmp timeline script.py
                            which thread holds the GIL?
  gilcmp attach PID         and of a process that runs?

All commands: gilcmp --help; one: gilcmp COMMAND --help"""


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@click.version_option(__version__, prog_name="gilcmp", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Measure what the GIL costs and what releasing it buys, on this machine and this Python."""
    if os.environ.get("GILCMP_ISA"):  # report a wrong value before anything is measured
        try:
            importlib.import_module("gilcmp._kernels")
        except ValueError as error:
            raise click.UsageError(str(error)) from None
    if context.invoked_subcommand is None:
        click.echo(FIRST_STEPS)


COMMANDS = (
    compare, probe, advise, contention, claims, threshold, atlas, timeline, attach, fleet, diff, report, list_, env,
)  # fmt: skip
for command in COMMANDS:
    cli.add_command(command)
