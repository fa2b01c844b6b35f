"""``gilcmp compare``."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from gilcmp.cli.arguments import (
    NAMED,
    Counts,
    Duration,
    Names,
    called,
    details_option,
    example,
    find_interpreters,
    need_writable,
    quiet_option,
)
from gilcmp.cli.output import failed, measuring, save, show, show_result

# The kernels of a comparison without arguments: compute-bound, numeric and not. Both are chains of dependent steps,
# so that two hardware threads of one core hardly get in each other's way (pi, say, is limited by the multiplier).
DEFAULT_KERNELS = ("mandelbrot", "levenshtein")
DEFAULT_BUDGET = 30.0
DETAILS = "All cells, with more figures: --details"
NEXT = 'Your own code: gilcmp compare "f(x)" -s "from mine import f; x = 1"'


def _further(work: tuple[str, ...], outputs: Sequence[str]) -> list[str]:
    """Return what may be asked next, a line each, so that a command can be copied."""
    names = " ".join(map(shlex.quote, outputs))
    sent = f"To send it: gilcmp report {names} -o report.html"
    if not outputs:
        sent = "To save and send it: -o run.json, then gilcmp report run.json -o report.html"
    return [DETAILS, sent] + [NEXT] * (not work)


@click.command(
    short_help="Run kernels or a function of your own under each strategy.",
    epilog=example("gilcmp compare mandelbrot --workers 1,2 --budget 10s"),
)
@click.argument("work", nargs=-1, metavar="[KERNEL ... | PACKAGE.MODULE:FUNCTION ... | STATEMENT ...]")
@click.option("-s", "--setup", multiple=True, metavar="CODE", help="Run once before, for statements; repeatable.")
@click.option("--impl", "implementations", type=Names(), multiple=True, help="Implementations, default: all.")
@click.option(
    "--strategy",
    "strategies",
    type=Names(),
    multiple=True,
    help="Strategies, default: serial,threads,processes.",
)
@click.option("--workers", type=Counts(), help="Such as 1,2,4; default: up to the usable CPUs, and twice those.")
@click.option("--size", help="small, medium, large or a number; default: calibrated.")
@click.option("--tasks", type=click.IntRange(1, 10**7), help="Number of tasks (for a function: of calls).")
@click.option("--max-calls", type=click.IntRange(1), help="Call a function so often at most, in all cells together.")
@click.option("--blas-threads", type=click.IntRange(1, 4096), help="Threads of BLAS; default: 1 for kernels.")
@click.option("--budget", type=Duration(), default=DEFAULT_BUDGET, help="Time for it all, default: 30s.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Seed of the inputs, default: 0.")
@click.option("-o", "--output", "--json", "output", metavar="FILE", help="Save the run; -: to standard output.")
@click.option(
    "--python",
    "pythons",
    multiple=True,
    metavar="PYTHON",
    help="Another interpreter to compare in, round by round beside this one; repeatable.",
)
@details_option
@quiet_option
def compare(
    work: tuple[str, ...],
    setup: tuple[str, ...],
    implementations: tuple[list[str], ...],
    strategies: tuple[list[str], ...],
    workers: list[int] | None,
    size: str | None,
    tasks: int | None,
    max_calls: int | None,
    blas_threads: int | None,
    budget: float,
    seed: int,
    output: str | None,
    pythons: tuple[str, ...],
    details: bool,
    quiet: bool,
) -> int:
    """Compare kernels, or a function of your own, under each strategy.

    Without arguments: mandelbrot and levenshtein, in 30 seconds. With --python and -o, a file is saved for each
    interpreter: FILE with its version before the suffix.
    """
    from gilcmp.judge.verdict import UNDECIDED
    from gilcmp.measure.request import DEFAULT_STRATEGIES
    from gilcmp.measure.session import Session

    to_stdout = output == "-"
    need_writable(output)
    settings: dict[str, Any] = {
        "implementations": [name for names in implementations for name in names] or None,
        "strategies": [name for names in strategies for name in names] or list(DEFAULT_STRATEGIES),
        "workers": workers,
        "size": size,
        "tasks": tasks,
        "seed": seed,
        "max_calls": max_calls,
        "blas_threads": blas_threads,
    }
    if pythons and (setup or not all(word.isidentifier() or re.fullmatch(NAMED, word) for word in work)):
        raise click.UsageError("other interpreters compare kernels and package.module:function, no statements")
    if pythons:
        return _compare_pythons(
            list(work or DEFAULT_KERNELS), pythons, budget, settings, output, details=details, quiet=quiet
        )
    with measuring(output, quiet=quiet) as progress:
        subject: Any = list(work or DEFAULT_KERNELS)
        if setup or not all(word.isidentifier() for word in work):
            kernels = [word for word in work if word.isidentifier() and not setup]
            if kernels:
                raise click.UsageError(f"kernels are compared by themselves, got {kernels[0]!r} with functions")
            short = [word.rpartition(":")[2] if re.fullmatch(NAMED, word) else word for word in work]
            names = short if len(set(short)) == len(short) else work
            subject = {name: called(word, setup) for name, word in zip(names, work, strict=True)}
        try:
            session = Session(subject, _telling_calls(progress, quiet=quiet), budget=budget, **settings)
        except (ValueError, TypeError) as error:
            raise click.UsageError(str(error)) from None
        failure: BaseException | None = None
        if progress is not None:
            progress.fill(lambda width: session.comparison().overview(width)[:-1])  # what is final: the tables
            _warn_of_neighbours(budget, progress)
        try:
            result = _measure(session)
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            failure, result = error, session.comparison()
    if result.cells or failure is None:
        _show_run(result, to_stdout=to_stdout, details=details, further=_further(work, [output] if output else []))
    code = 0 if failure is None else failed(failure)
    if result.cells and output is not None and not to_stdout:
        code = save(result.save, output) or code
    words = {cell.verdict.word for cell in result if not cell.is_serial and not cell.error}
    return 3 if code == 0 and words and words <= set(UNDECIDED) else code


def _compare_pythons(
    work: list[str],
    pythons: tuple[str, ...],
    budget: float,
    settings: dict[str, Any],
    output: str | None,
    *,
    details: bool,
    quiet: bool,
) -> int:
    """Compare in several interpreters, show one table, save a file for each."""
    from gilcmp.measure.pythons import PythonError, compare_pythons, python_overview, python_sections
    from gilcmp.saved.run import to_json
    from gilcmp.show.model import section

    code = 0
    with measuring(output, quiet=quiet) as progress:
        try:
            comparisons = compare_pythons(
                find_interpreters(pythons), work, budget=budget, progress=progress, **settings
            )
        except PythonError as error:
            raise click.UsageError(str(error)) from None
        except KeyboardInterrupt as error:
            code, comparisons = failed(error), getattr(error, "comparisons", [])
    if output == "-":
        click.echo(json.dumps([json.loads(to_json(comparison.run)) for _, comparison in comparisons], indent=1))
    paths = []
    if output not in (None, "-"):
        target = Path(str(output))
        paths = [str(target.with_stem(f"{target.stem}-{python.name}")) for python, _ in comparisons]
    further = _further(tuple(work), paths)
    if output != "-" and comparisons:
        show(python_sections(comparisons) if details else [*python_overview(comparisons), section("", *further)])
    for path, (_, comparison) in zip(paths, comparisons, strict=False):
        code = save(comparison.save, path) or code
    return code


def _telling_calls(progress: Any, *, quiet: bool) -> Callable[[Any], None]:
    """Return the progress, which also says how often a user's functions are going to be called."""

    def tell(now: Any) -> None:
        if now.calls is not None and not quiet:
            said = f"your code is going to be called about {now.calls:,} times; --max-calls allows fewer"
            if progress is None:
                click.echo(said, err=True)
            else:
                progress.say(said)
        if progress is not None:
            progress(now)

    return tell


def _measure(session: Any) -> Any:
    return session.measure()


def _warn_of_neighbours(budget: float, progress: Any) -> None:
    """Say before it is measured if others have the CPUs, where that takes no time to speak of."""
    from gilcmp.measure.cpus import usable_cpus
    from gilcmp.measure.neighbours import LOOK, busy_neighbours, warning

    if budget < 10 * LOOK:
        return
    told = warning(busy_neighbours(), usable_cpus())
    if told:
        progress.say(told)


def _show_run(result: Any, *, to_stdout: bool, details: bool, further: Sequence[str]) -> None:
    if to_stdout:
        from gilcmp.saved.run import to_json

        click.echo(to_json(result.run), nl=False)
        return
    show_result(result, details=details, further=further)
