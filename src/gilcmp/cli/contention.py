"""``gilcmp contention``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import click

from gilcmp.cli.arguments import (
    Duration,
    called,
    details_option,
    example,
    hint,
    json_option,
    need_writable,
    quiet_option,
)
from gilcmp.cli.output import complain, failed, measuring, save, show_result
from gilcmp.cli.timeline import Options, record


@click.command(
    short_help="Find out on which object, at which line, threads wait for each other.",
    epilog=example('gilcmp contention "results.append(1)" -s "results = []"'),
)
@click.argument("what", metavar="STATEMENT | PKG.MOD:FUNC | SCRIPT.py[:FUNC]")
@click.argument("arguments", nargs=-1, metavar="[-- ARGUMENT ...]")
@click.option("-s", "--setup", multiple=True, metavar="CODE", help="Run once before, as in timeit; repeatable.")
@click.option("--threads", type=click.IntRange(2, 256), help="How many; default: as many as CPUs, at least 2.")
@click.option("--budget", type=Duration(), default=6.0, help="Time for it, without the sweep; default: 6s.")
@click.option(
    "--isolate/--no-isolate",
    default=None,
    help="Give threads copies of what they share, or do not; default: where no lock explains what is lost.",
)
@json_option
@details_option
@quiet_option
def contention(
    what: str,
    arguments: tuple[str, ...],
    setup: tuple[str, ...],
    threads: int | None,
    budget: float,
    isolate: bool | None,
    output: str | None,
    details: bool,
    quiet: bool,
) -> int | Callable[[], None]:
    """Call something in one and in several threads, and find out on which object, at which line, they wait.

    SCRIPT.py without a function is run as a program, with its own threads, and watched; what was found goes to standard
    error.
    """
    from gilcmp.contending.running import contention as measure
    from gilcmp.measure.session import Progress

    need_writable(output)
    if what.endswith(".py") and not setup:
        return _program(what, arguments, output, details=details, given=(threads, isolate))
    if arguments:
        raise click.UsageError(
            f"only a program takes arguments, got {arguments[0]!r}: contention SCRIPT.py -- ARGUMENT"
        )
    if not 0.1 <= budget <= 3600:
        raise click.UsageError(f"--budget must be from 100ms to 1 hour, got {budget} s")
    function = called(what, setup)
    try:
        with measuring(output, quiet=quiet) as bar:

            def tell(step: str, done: float) -> None:
                if bar is not None:
                    bar(Progress(step, done, (1 - done) * budget))

            found = measure(function, threads=threads, budget=budget, isolate=isolate, progress=tell)
    except KeyboardInterrupt as error:
        return failed(error)
    except (Exception, SystemExit) as error:  # user code can raise anything
        reason = str(error) if type(error) is RuntimeError else f"{type(error).__name__}: {error}"
        return complain(f"{what}: {reason}{hint(error)}")
    if output == "-":
        click.echo(found.to_json(), nl=False)
        return 0
    if output is not None:
        return save(found.save, output)
    show_result(found, details=details, further=["All figures: --details; as a file: --json FILE"])
    return 0


def _program(
    script: str, arguments: tuple[str, ...], output: str | None, *, details: bool, given: tuple[object, ...]
) -> Callable[[], None]:
    """Return what runs a program and watches it."""
    from gilcmp.contending.running import Watching
    from gilcmp.probing.program import ProgramError, check

    if any(option is not None for option in given):
        raise click.UsageError(f"a program has threads of its own: --threads and --isolate need {script}:FUNCTION")
    if output == "-":
        raise click.UsageError("--json - would mix with the output of the program: give a file")
    try:
        check(script, module=False)
    except ProgramError as error:
        raise click.UsageError(str(error)) from None
    outputs = () if output is None else (output,)
    options = Options(outputs=outputs, details=details)
    return partial(record, partial(Watching, name=script), script, arguments, module=False, options=options)
