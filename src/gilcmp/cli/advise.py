"""``gilcmp advise``."""

from __future__ import annotations

import re

import click

from gilcmp.cli.arguments import (
    NAMED,
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


@click.command(
    short_help="Threads, processes, asyncio or nothing of it: what suits this function?",
    epilog=example('gilcmp advise "f(x)" -s "from mine import f, x"'),
)
@click.argument("what", metavar="STATEMENT | PKG.MOD:FUNC")
@click.option("-s", "--setup", multiple=True, metavar="CODE", help="Run once before, as in timeit; repeatable.")
@click.option("--tasks", type=click.IntRange(1, 10**7), help="How many calls there are; default: 16 or more.")
@click.option("--workers", type=click.IntRange(2, 4096), help="How many; default: as many as CPUs, at least 2.")
@click.option("--budget", type=Duration(), default=20.0, help="Time for it, about; default: 20s.")
@click.option(
    "--python",
    "pythons",
    multiple=True,
    metavar="PYTHON",
    help="Try threads in this interpreter as well; repeatable.",
)
@click.option("--dask", metavar="local | ADDRESS", help="Try Dask as well: a cluster of its own here, or a scheduler.")
@json_option
@details_option
@quiet_option
def advise(
    what: str,
    setup: tuple[str, ...],
    tasks: int | None,
    workers: int | None,
    budget: float,
    pythons: tuple[str, ...],
    dask: str | None,
    output: str | None,
    details: bool,
    quiet: bool,
) -> int:
    """Measure a function or a statement in threads, processes and whatever else can run it, and recommend one way.

    Exit code 3 where the figures do not decide.
    """
    from gilcmp.advising.advise import advise as ask
    from gilcmp.measure.on_dask import no_dask
    from gilcmp.measure.pythons import PythonError

    need_writable(output)
    if not 1 <= budget <= 3600:
        raise click.UsageError(f"--budget must be from 1s to 1 hour, got {budget:g} s")
    if pythons and (setup or not re.fullmatch(NAMED, what)):
        raise click.UsageError("other interpreters are given package.module:function, no statements")
    if dask is not None and no_dask() is not None:
        raise click.UsageError(f"--dask {no_dask()}")
    function = called(what, setup)
    try:
        with measuring(output, quiet=quiet) as progress:
            found = ask(
                function, tasks=tasks, workers=workers, budget=budget, pythons=pythons, dask=dask, progress=progress
            )
    except PythonError as error:
        raise click.UsageError(str(error)) from None
    except KeyboardInterrupt as error:
        told = getattr(error, "advice", None)
        if told is not None:
            show_result(told, details=details)
            if output not in (None, "-"):
                save(told.save, output)
        return failed(error)
    except (Exception, SystemExit) as error:  # user code can raise anything
        return complain(f"{what}: {type(error).__name__}: {error}{hint(error)}")
    if output == "-":
        click.echo(found.to_json(), nl=False)
    else:
        show_result(found, details=details, further=["As a file: --json FILE; every cell: gilcmp compare --details"])
    code = save(found.save, output) if output not in (None, "-") else 0
    return code or (3 if found.way == "not decided" else 0)
