"""``gilcmp attach``."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import click

from gilcmp.cli.arguments import Duration, details_option, example, need_writable, quiet_option
from gilcmp.cli.output import complain, save, show_result

STEP = 0.5  # seconds between two drawings


@click.command(
    short_help="Watch a running process from outside: who holds its GIL, in which line.",
    epilog=example("gilcmp attach 4711 --duration 10s"),
)
@click.argument("pid", type=click.IntRange(1, 2**31 - 1))
@click.option("--duration", type=Duration(), help="For how long; default: until Ctrl-C, or the process ends.")
@click.option("--pace", type=Duration(), default=0.002, help="Time between two looks; default: 2ms.")
@click.option(
    "-o", "--output", "--json", "output", metavar="FILE", help="Save as JSON (.json, .json.gz); -: to standard output."
)
@details_option
@quiet_option
def attach(pid: int, duration: float | None, pace: float, output: str | None, details: bool, quiet: bool) -> int:
    """Watch a process of CPython 3.13 or later: it is neither stopped nor slowed, and nothing has to be prepared in it.

    Needs the rights of a debugger: the same user where the system lets one read the other's memory, or root. Linux
    only.
    """
    from gilcmp.monitoring.attach import Attached
    from gilcmp.monitoring.remote import AttachError

    need_writable(output)
    if duration is not None and not 0.01 <= duration <= 10**7:
        raise click.UsageError(f"--duration must be from 10ms to 10000000 s, got {duration:g} s")
    if not 1e-4 <= pace <= 1:
        raise click.UsageError(f"--pace must be from 100us to 1 s, got {pace:g} s")
    try:
        attached = Attached(pid, pace)
    except AttachError as error:
        return complain(str(error))
    with attached:
        with contextlib.suppress(KeyboardInterrupt), _live(silent=quiet or output == "-") as draw:
            end = None if duration is None else time.monotonic() + duration
            while (left := STEP if end is None else end - time.monotonic()) > 0:
                if not attached.look_for(min(STEP, left)):
                    break
                draw(attached)
        found = attached.read()
    if attached.gone:
        complain(f"{attached.gone}, after {found.seconds:.1f} s")
    if output == "-":
        click.echo(found.to_json(), nl=False)
        return 0
    code = 0 if output is None else save(found.save, output)
    if not found.looks:
        return 2
    if not quiet or output is None:
        show_result(found, details=details, further=["All figures: --details; as a file: -o gil.json.gz"])
    return code


@contextlib.contextmanager
def _live(*, silent: bool) -> Iterator[Any]:
    """Show figures as they come, where somebody looks; what is drawn last is taken away."""
    if silent or not (sys.stdout.isatty() and sys.stderr.isatty()):
        yield lambda attached: None
        return
    from rich.console import Console
    from rich.live import Live

    from gilcmp.show.text import render

    console = Console(stderr=True)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield lambda attached: live.update(render(attached.read().overview(), console.width), refresh=True)
