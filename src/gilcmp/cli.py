"""The command line: parse, call the API, show, save; no logic of its own.

Exit codes: 0 fine, 1 a check that was asked for did not hold, 2 wrong usage or bad input, 3 the machine was
too busy to say, 130 interrupted.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import re
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import click

from gilcmp._version import __version__

# The kernels of a comparison without arguments: compute-bound, numeric and not. Both are chains of dependent steps,
# so that two hardware threads of one core hardly get in each other's way (pi, say, is limited by the multiplier).
DEFAULT_KERNELS = ("mandelbrot", "levenshtein")
DEFAULT_BUDGET = 30.0
INTERRUPTED = 130
DURATION_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "": 1.0, "m": 60.0}


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit; errors are one line on standard error."""
    try:
        code = cli.main(arguments, prog_name="gilcmp", standalone_mode=False)
        if not callable(code):
            sys.stdout.flush()
    except click.ClickException as error:
        code = _complain(error.format_message())
    except click.exceptions.Abort:
        code = INTERRUPTED
    except BrokenPipeError:  # "gilcmp … | head": nobody reads on, and that is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:
        code = _complain(str(error))
    if callable(code):
        # `timeline`: another's program, whose errors and exits are not to be taken for gilcmp's
        code()
        sys.exit(0)
    if code == INTERRUPTED and threading.active_count() > 1:
        # A thread that is in the middle of a long task cannot be stopped; leaving without it can.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def _complain(message: str) -> int:
    one_line = " ".join(message.split())
    click.echo(f"gilcmp: {one_line}", err=True)
    return 2


# click's types are generic for type checkers only
_ParamType: Any = click.ParamType


class Duration(_ParamType):
    """Seconds, written as 20, 20s, 500ms or 2m."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds."""
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)(us|ms|s|m|)", value, re.ASCII)
        seconds = float(found[1]) * DURATION_UNITS[found[2]] if found else 0.0
        if not 0 < seconds <= 1e6:
            self.fail(f"must be a time such as 20s, 500ms or 2m, got {value!r}", param, ctx)
        return seconds


class Counts(_ParamType):
    """Numbers of workers, written as 1,2,4."""

    name = "n,n,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        """Return the numbers."""
        words = [word.strip() for word in value.split(",")]
        if not all(re.fullmatch(r"\d{1,4}", word, re.ASCII) and int(word) >= 1 for word in words):
            self.fail(f"must be numbers from 1 such as 1,2,4, got {value!r}", param, ctx)
        return [int(word) for word in words]


class Names(_ParamType):
    """Names, separated by commas."""

    name = "name,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        """Return the names."""
        return [word.strip() for word in value.split(",") if word.strip()]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gilcmp", message="%(prog)s %(version)s")
def cli() -> None:
    """Measure what the GIL costs and what releasing it buys, on this machine and this Python."""
    if os.environ.get("GILCMP_ISA"):  # what is pinned wrongly is told before anything is measured
        try:
            importlib.import_module("gilcmp._kernels")
        except ValueError as error:
            raise click.UsageError(str(error)) from None


@cli.command(short_help="Run kernels or a function of your own under each strategy.")
@click.argument("work", nargs=-1, metavar="[KERNEL ... | PACKAGE.MODULE:FUNCTION]")
@click.option("--impl", "implementations", type=Names(), multiple=True, help="Implementations, default: all.")
@click.option(
    "--strategy",
    "strategies",
    type=Names(),
    multiple=True,
    help="Strategies, default: serial,threads,processes.",
)
@click.option(
    "--workers", type=Counts(), help="Such as 1,2,4; default: up to the usable CPUs, and twice those."
)
@click.option("--size", help="small, medium, large or a number; default: calibrated.")
@click.option("--tasks", type=click.IntRange(1, 10**7), help="Number of tasks (for a function: of calls).")
@click.option("--budget", type=Duration(), default=DEFAULT_BUDGET, help="Time for it all, default: 30s.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, help="Seed of the inputs, default: 0.")
@click.option(
    "-o", "--output", "--json", "output", metavar="FILE", help="Save the run; -: to standard output."
)
@click.option(
    "--python",
    "pythons",
    multiple=True,
    metavar="PYTHON",
    help="Another interpreter to compare in, round by round beside this one; repeatable.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
def compare(
    work: tuple[str, ...],
    implementations: tuple[list[str], ...],
    strategies: tuple[list[str], ...],
    workers: list[int] | None,
    size: str | None,
    tasks: int | None,
    budget: float,
    seed: int,
    output: str | None,
    pythons: tuple[str, ...],
    quiet: bool,
) -> int:
    """Compare kernels, or a function of your own, under each strategy.

    Without arguments: mandelbrot and levenshtein, in 30 seconds. With --python and -o, a file is saved for each
    interpreter: FILE with its version before the suffix.
    """
    from gilcmp.compare import Session
    from gilcmp.request import DEFAULT_STRATEGIES

    to_stdout = output == "-"
    _check_target(output)
    settings: dict[str, Any] = {
        "implementations": [name for names in implementations for name in names] or None,
        "strategies": [name for names in strategies for name in names] or list(DEFAULT_STRATEGIES),
        "workers": workers,
        "size": size,
        "tasks": tasks,
        "seed": seed,
    }
    if pythons:
        return _compare_pythons(list(work or DEFAULT_KERNELS), pythons, budget, settings, output, quiet=quiet)
    with _measuring(output, quiet=quiet) as progress:
        subject: Any = _function(work) if any(":" in word for word in work) else list(work or DEFAULT_KERNELS)
        try:
            session = Session(subject, progress, budget=budget, **settings)
        except (ValueError, TypeError) as error:
            raise click.UsageError(str(error)) from None
        failure: BaseException | None = None
        try:
            result = _measure(session)
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            failure, result = error, session.comparison()
    if result.cells or failure is None:
        _show_run(result, to_stdout=to_stdout)
    code = 0 if failure is None else _failed(failure)
    if result.cells and output is not None and not to_stdout:
        code = _save(result.save, output) or code
    if code == 0 and not any(cell.speedup.n for cell in result if not cell.is_serial):
        starved = any(cell.verdict == "starved" for cell in result)
        return 3 if starved else 0
    return code


def _compare_pythons(
    work: list[str],
    pythons: tuple[str, ...],
    budget: float,
    settings: dict[str, Any],
    output: str | None,
    *,
    quiet: bool,
) -> int:
    """Compare in several interpreters, show one table, save a file for each."""
    from gilcmp.pythons import PythonError, compare_pythons
    from gilcmp.results import to_json
    from gilcmp.show.claims import render_pythons

    interpreters = _pythons(pythons)
    code = 0
    with _measuring(output, quiet=quiet) as progress:
        try:
            found = compare_pythons(interpreters, work, budget=budget, progress=progress, **settings)
        except PythonError as error:
            raise click.UsageError(str(error)) from None
        except KeyboardInterrupt as error:
            code, found = _failed(error), getattr(error, "comparisons", [])
    if output == "-":
        click.echo(json.dumps([json.loads(to_json(comparison.run)) for _, comparison in found], indent=1))
    elif found:
        _console().print(render_pythons(found))
    if output not in (None, "-"):
        target = Path(str(output))
        for python, comparison in found:
            code = _save(comparison.save, str(target.with_stem(f"{target.stem}-{python.name}"))) or code
    return code


def _pythons(wanted: tuple[str, ...]) -> list[Any]:
    """Return this interpreter and the others, each once."""
    from gilcmp.pythons import PythonError, find_python, this_python

    try:
        found = {python.path: python for python in (this_python(), *map(find_python, wanted))}
    except PythonError as error:
        raise click.UsageError(str(error)) from None
    return list(found.values())


@cli.command(short_help="Test what people are told about the GIL, by experiments.")
@click.argument("names", nargs=-1, metavar="[CLAIM ...]")
@click.option("--budget", type=Duration(), default=85.0, help="Time for all claims together, default: 85s.")
@click.option("--python", "pythons", multiple=True, metavar="PYTHON", help="Another interpreter; repeatable.")
@click.option(
    "--expect", metavar="FILE", help='TOML such as cpu-threads = "confirmed"; exit code 1 if one differs.'
)
@click.option(
    "-o", "--output", "--json", "output", metavar="FILE", help="Save as JSON; -: to standard output."
)
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
def claims(
    names: tuple[str, ...],
    budget: float,
    pythons: tuple[str, ...],
    expect: str | None,
    output: str | None,
    quiet: bool,
) -> int:
    """Test what people are told about the GIL, by experiments on this machine. Without arguments: all of it."""
    from gilcmp.claims.suite import CLAIMS, Claims, read_expected
    from gilcmp.claims.suite import claims as measure
    from gilcmp.environment import environment
    from gilcmp.results import ResultError
    from gilcmp.show.claims import render_claims

    to_stdout = output == "-"
    _check_target(output)
    try:
        expected = read_expected(expect) if expect is not None else {}
    except (ResultError, OSError) as error:
        raise click.UsageError(str(error)) from None
    others = _pythons(pythons)[1:] if pythons else []
    code = 0
    with _measuring(output, quiet=quiet) as progress:
        try:
            found = measure(names or None, budget=budget, pythons=others, progress=progress)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        except KeyboardInterrupt as error:
            code, found = _failed(error), getattr(error, "claims", Claims((), environment()))
    if to_stdout:
        click.echo(found.to_json(), nl=False)
    else:
        _console().print(render_claims(found))
    if output is not None and not to_stdout:
        code = _save(found.save, output) or code
    here = {result.name: result.verdict.word for result in reversed(found)}
    for name in expected.keys() & here.keys():
        if here[name] != expected[name]:
            click.echo(f"gilcmp: {name} is {here[name]}, expected {expected[name]}", err=True)
            code = code or 1
    missing = [name for name in expected if name not in here and (not names or name in names)]
    if missing and code == 0:
        click.echo(f"gilcmp: not tested: {', '.join(name for name in CLAIMS if name in missing)}", err=True)
        code = 1
    return code


@cli.command(short_help="Find from which size of a call releasing the GIL pays.")
@click.argument("work", metavar="KERNEL | PACKAGE.MODULE:FUNCTION")
@click.option("--holds", metavar="PKG.MOD:FUNC", help="A function that does the same and keeps the GIL.")
@click.option("--workers", type=click.IntRange(2, 4096), default=2, help="Threads, default: 2.")
@click.option("--budget", type=Duration(), default=12.0, help="Time for it all, default: 12s.")
@click.option("--json", "output", metavar="FILE", help="As JSON; -: to standard output.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
def threshold(
    work: str, holds: str | None, workers: int, budget: float, output: str | None, quiet: bool
) -> int:
    """Find from which size of a call releasing the GIL pays: of a kernel, or of function(size)."""
    from attrs import asdict

    from gilcmp.show.claims import render_threshold
    from gilcmp.threshold import threshold as measure

    _check_target(output)
    code = 0
    found = None
    with _measuring(output, quiet=quiet) as progress:
        subject: Any = _function((work,)) if ":" in work else work
        partner = _function((holds,)) if holds is not None else None
        try:
            found = measure(subject, holds=partner, workers=workers, budget=budget, progress=progress)
        except (ValueError, TypeError, RuntimeError) as error:
            raise click.UsageError(str(error)) from None
        except KeyboardInterrupt as error:
            code, found = _failed(error), getattr(error, "threshold", None)
    if found is None:
        return code
    if output is not None:
        code = _write(asdict(found), output) or code
    else:
        _console().print(render_threshold(found))
    return code or (0 if any(point.speedup.n for point in found.points) else 3)


@cli.command(short_help="Measure for how much of its time a statement holds the GIL.")
@click.argument("statements", nargs=-1, metavar="STATEMENT ...")
@click.option(
    "-s", "--setup", multiple=True, metavar="CODE", help="Run once before, as in timeit; repeatable."
)
@click.option(
    "-m", "functions", multiple=True, metavar="PKG.MOD:FUNC", help="Probe a function without arguments."
)
@click.option("--budget", type=Duration(), default=0.5, help="Time for each, default: 500ms.")
@click.option("--json", "output", metavar="FILE", help="As JSON; -: to standard output.")
def probe(
    statements: tuple[str, ...],
    setup: tuple[str, ...],
    functions: tuple[str, ...],
    budget: float,
    output: str | None,
) -> int:
    """Measure for how much of its time a statement holds the GIL, and how long it makes others wait."""
    from attrs import asdict, evolve

    from gilcmp.probe import probe as measure
    from gilcmp.show.terminal import probe_table

    if not statements and not functions:
        raise click.UsageError("nothing to probe: give a statement, or a function with -m")
    _check_probe_budget(budget)
    _check_target(output)
    code = 0
    found = []
    with _measuring(output, quiet=True):
        calls = {statement: _statement(statement, setup) for statement in statements}
        calls |= {name: _function((name,)) for name in functions}
        for name, call in calls.items():
            try:
                found.append(evolve(measure(call, budget=budget), name=name))
            except KeyboardInterrupt as error:
                code = _failed(error)
                break
            except (Exception, SystemExit) as error:  # whatever a stranger's code raises: the others go on
                what = str(error) if type(error) is RuntimeError else f"{type(error).__name__}: {error}"
                code = _complain(f"{name}: {what}")
    if not found:
        return code
    if output is not None:
        code = _write([asdict(one) for one in found], output) or code
    elif len(calls) == 1:
        click.echo(str(found[0]))
    else:
        _console().print(probe_table(found))
    return code or (3 if all(one.verdict == "starved" for one in found) else 0)


def _statement(statement: str, setup: tuple[str, ...]) -> Callable[..., Any]:
    """Compile a statement to a function in a namespace that the setup has filled."""
    from gilcmp.atlas import execute, statement_function

    namespace: dict[str, Any] = {"__name__": "__main__"}
    try:
        for code in setup:
            execute(code, "<setup>", namespace)
        return statement_function(statement, namespace)
    except (Exception, SystemExit) as error:
        raise click.UsageError(f"{statement!r}: {type(error).__name__}: {error}") from None


@cli.command()
@click.argument("sources", nargs=-1, metavar="[stdlib | numpy | FILE.toml] ...")
@click.option("--budget", type=Duration(), default=0.3, help="Time for each statement, default: 300ms.")
@click.option("--json", "output", metavar="FILE", help="As JSON; -: to standard output.")
@click.option("--markdown", is_flag=True, help="As Markdown, for documents.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
def atlas(sources: tuple[str, ...], budget: float, output: str | None, markdown: bool, quiet: bool) -> int:
    """Probe lists of statements: which of them release the GIL. Without arguments: the standard library."""
    from attrs import asdict

    from gilcmp.atlas import AtlasError
    from gilcmp.atlas import atlas as measure
    from gilcmp.compare import Progress
    from gilcmp.show.terminal import atlas_markdown, render_atlas

    _check_target(output)
    _check_probe_budget(budget)
    code = 0
    found = []
    with _measuring(output, quiet=quiet or markdown) as bar:

        def tell(statement: str, done: int, total: int) -> None:
            if bar is not None:
                bar(Progress(statement.splitlines()[0], done / total, (total - done) * budget))

        for source in sources or ("stdlib",):
            try:
                found.append(measure(source, budget=budget, progress=tell))
            except KeyboardInterrupt as error:
                code = _failed(error)
                found += [error.atlas] if hasattr(error, "atlas") else []
                break
            except (AtlasError, RuntimeError, OSError) as error:  # the other lists go on
                code = _complain(str(error))
    if output is not None and found:
        code = _write([asdict(one) for one in found], output) or code
    for one in found if output is None else ():
        if markdown:
            click.echo(atlas_markdown(one))
        else:
            _console().print(render_atlas(one))
    return code


@cli.command(short_help="Lay saved runs side by side.")
@click.argument("files", nargs=-1, metavar="A.json B.json [C.json ...]")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "markdown", "csv", "json"]),
    default="table",
    help="Default: table.",
)
@click.option(
    "--fail-below",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="RATIO",
    help="Exit code 1 when a cell surely does less than so much of the first run's work per second, or speed-up.",
)
def diff(files: tuple[str, ...], form: str, fail_below: float | None) -> int:
    """Lay saved runs side by side: what differs between the machines, and how each cell compares with the first run."""
    from gilcmp.diff import diff as lay_side_by_side
    from gilcmp.results import ResultError
    from gilcmp.show.diff import diff_csv, diff_json, diff_markdown, name, render_diff

    try:
        found = lay_side_by_side(*files) if files else None
    except (ValueError, ResultError) as error:
        raise click.UsageError(str(error)) from None
    if found is None:
        raise click.UsageError("nothing to compare: give at least two saved runs")
    if form == "table":
        _console().print(render_diff(found))
    else:
        write = {"markdown": diff_markdown, "csv": diff_csv, "json": diff_json}[form]
        click.echo(write(found), nl=False)
    worse = found.below(fail_below) if fail_below is not None else []
    for run, cell, what in worse:
        click.echo(f"gilcmp: {run}: {name(cell.key)} {what}", err=True)
    return 1 if worse else 0


@cli.command(
    context_settings={"allow_interspersed_args": False, "ignore_unknown_options": False},
    short_help="Record which thread of a program holds the GIL when.",
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
@click.option(
    "--keep", type=click.IntRange(1, 10**9), default=10**6, help="Spans kept, the newest; default: 1000000."
)
@click.option("-q", "--quiet", is_flag=True, help="No summary.")
@click.option("-m", "module", is_flag=True, help="PROGRAM is a module, as for python -m.")
@click.argument("program", metavar="PROGRAM")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[ARGUMENT ...]")
def timeline(
    outputs: tuple[str, ...],
    pace: float | None,
    keep: int,
    quiet: bool,
    module: bool,
    program: str,
    arguments: tuple[str, ...],
) -> Callable[[], None]:
    """Run a program and record which thread holds the GIL when; the summary goes to standard error.

    The program's output, exit code, exceptions, sys.argv and __main__ are as without it. Options stand before it.
    """
    from gilcmp.program import check
    from gilcmp.timeline import PICTURES, Timeline, check_target

    try:
        for output in outputs:
            check_target(output)
            _check_target(output)
            if output.lower().endswith(PICTURES):
                from gilcmp.show.plots import need_matplotlib

                need_matplotlib()
        check(program, module=module)
        recording = Timeline(pace=pace, keep=keep)
        from gilcmp import _gil

        reason = _gil.why_not()
    except (ValueError, TypeError, ImportError) as error:
        raise click.UsageError(str(error)) from None
    if reason is not None:
        raise click.UsageError(f"the GIL cannot be watched: {reason}")
    return partial(_record, recording, program, arguments, module=module, outputs=outputs, quiet=quiet)


def _record(
    recording: Any,
    name: str,
    arguments: tuple[str, ...],
    *,
    module: bool,
    outputs: tuple[str, ...],
    quiet: bool,
) -> None:
    """Run a program, and show and save the recording when it is over: after its own exit handlers."""
    from gilcmp import program

    started_in = os.getpid()
    interrupted = False

    def finish() -> None:
        if os.getpid() != started_in:
            return  # a forked child leaves by this way as well
        recording.__exit__()
        for output in outputs:
            _save(recording.save, output)
        if not quiet:
            from rich.console import Console

            from gilcmp.show.timeline import render_timeline

            Console(highlight=False, stderr=True).print(render_timeline(recording))
        if interrupted:
            program.leave_interrupted()

    atexit.register(finish)  # the first to be registered is the last to run
    outputs = tuple(map(os.path.abspath, outputs))  # the program may change its folder
    recording.__enter__()
    try:
        program.run(name, arguments, module=module)
    except KeyboardInterrupt:
        interrupted = True
        raise
    finally:
        program.hide_frames()


@cli.command(short_help="Put saved runs, claims and probes into one HTML file.")
@click.argument("files", nargs=-1, metavar="FILE.json ...")
@click.option(
    "-o", "--output", required=True, metavar="FILE", help="The report, one HTML file; -: to standard output."
)
def report(files: tuple[str, ...], output: str) -> None:
    """Put saved runs, claims, probes and thresholds into one HTML file that needs no network."""
    from gilcmp.report import check_output, read_report
    from gilcmp.results import ResultError, replace_file

    _check_target(output)
    try:
        check_output(output, files)
        from gilcmp.show.html import report_html

        text = report_html(read_report(files))
    except (ValueError, ResultError, ImportError) as error:
        raise click.UsageError(str(error)) from None
    if output == "-":
        click.echo(text, nl=False)
        return
    replace_file(output, text)
    click.echo(f"{output}: {len(text.encode()) / 1e6:.2f} MB")


@cli.command("list", short_help="List kernels, implementations and strategies.")
@click.option("--json", "output", metavar="FILE", help="As JSON; -: to standard output.")
def list_(output: str | None) -> int:
    """List kernels, implementations and strategies, and why one is not available."""
    from gilcmp.kernels import ALL_SOURCES, kernels, unavailable
    from gilcmp.strategies import strategies

    _check_target(output)
    implementations = {name: unavailable(name) for name in ALL_SOURCES}
    if output is not None:
        data = {
            "kernels": {
                kernel.name: {
                    "summary": kernel.summary,
                    "regime": kernel.regime,
                    "shows": kernel.shows,
                    "sizes": dict(kernel.sizes),
                    "size_means": kernel.size_means,
                    "unit": kernel.unit,
                    "version": kernel.version,
                }
                for kernel in kernels.values()
            },
            "implementations": {name: {"unavailable": why} for name, why in implementations.items()},
            "strategies": {
                one.name: {"summary": one.summary, "unavailable": one.unavailable}
                for one in strategies.values()
            },
        }
        return _write(data, output)
    from gilcmp.show.terminal import listing

    console = _console()
    console.print(
        listing("kernels", ((k.name, f"{k.summary} ({k.regime}): {k.shows}") for k in kernels.values()))
    )
    console.print(
        listing(
            "implementations",
            ((n, f"not available: {w}" if w else "available") for n, w in implementations.items()),
        )
    )
    console.print(
        listing(
            "strategies",
            (
                (s.name, f"not available: {s.unavailable}" if s.unavailable else s.summary)
                for s in strategies.values()
            ),
        )
    )
    return 0


@cli.command(short_help="Show what would be measured on: interpreter, GIL, CPUs.")
@click.option("--json", "output", metavar="FILE", help="As JSON; -: to standard output.")
def env(output: str | None) -> int:
    """Show what would be measured on: interpreter, GIL, build, CPUs that may really be used."""
    from attrs import asdict

    from gilcmp.environment import environment
    from gilcmp.show.terminal import environment_rows, pairs

    _check_target(output)
    found = environment()
    if output is not None:
        return _write(asdict(found), output)
    _console().print(pairs(environment_rows(found)))
    return 0


def _measure(session: Any) -> Any:
    return session.measure()


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)


def _progress(*, silent: bool) -> Any:
    from gilcmp.show.progress import ProgressBar, Silent

    return Silent() if silent or not (sys.stdout.isatty() and sys.stderr.isatty()) else ProgressBar()


@contextlib.contextmanager
def _measuring(output: str | None, *, quiet: bool) -> Iterator[Any]:
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


def _function(work: tuple[str, ...]) -> Callable[..., Any]:
    """Import the function that is named as package.module:function."""
    if len(work) != 1:
        raise click.UsageError(f"one function at a time, got {' '.join(work)}")
    module, _, path = work[0].partition(":")
    if not module or not path:
        raise click.UsageError(f"a function is named package.module:function, got {work[0]!r}")
    sys.path.insert(0, str(Path.cwd()))  # as python -m does
    try:
        found: Any = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
    except (Exception, SystemExit) as error:  # whatever importing a stranger's module raises
        raise click.UsageError(f"{work[0]}: {type(error).__name__}: {error}") from None
    if not callable(found):
        raise click.UsageError(f"{work[0]} must be callable, got {type(found).__name__}")
    function: Callable[..., Any] = found
    return function


def _check_probe_budget(budget: float) -> None:
    if not 0.01 <= budget <= 3600:
        raise click.UsageError(f"--budget must be from 10ms to 1 hour, got {budget} s")


def _check_target(output: str | None) -> None:
    from gilcmp.results import check_writable

    if output in (None, "-"):
        return
    try:
        check_writable(output)
    except (OSError, ValueError) as error:
        raise click.UsageError(
            f"{output!r} cannot be written: {getattr(error, 'strerror', None) or error}"
        ) from None


def _show_run(result: Any, *, to_stdout: bool) -> None:
    if to_stdout:
        from gilcmp.results import to_json

        click.echo(to_json(result.run), nl=False)
        return
    from gilcmp.show.terminal import render

    _console().print(render(result))


def _failed(error: BaseException) -> int:
    """Say what ended the measuring: one line, and for a task's own exception its traceback before that."""
    if isinstance(error, KeyboardInterrupt):
        click.echo("gilcmp: interrupted", err=True)
        return INTERRUPTED
    notes = getattr(error, "__notes__", [])
    if notes:
        traceback.print_exception(error, limit=-3)
    return _complain(
        f"{type(error).__name__}: {error} ({'; '.join(notes)})"
        if notes
        else str(error) or type(error).__name__
    )


def _save(save: Callable[[str | Path], object], output: str) -> int:
    """Save; where that fails after all (a full disk, say), try to keep it somewhere else."""
    try:
        save(output)
    except OSError as error:
        endings = "".join(Path(output).suffixes[-2:]) if output.endswith(".gz") else Path(output).suffix
        kept = Path(tempfile.gettempdir()) / f"gilcmp-{os.getpid()}{endings or '.json'}"
        try:
            save(kept)
        except OSError:
            return _complain(f"could not save to {output!r}: {error}; nor to {str(kept)!r}")
        return _complain(f"could not save to {output!r}: {error}; it is kept in {str(kept)!r}")
    return 0


def _write(data: Any, output: str) -> int:
    from gilcmp.results import replace_file, without_nan

    text = json.dumps(without_nan(data), indent=1)
    if output == "-":
        click.echo(text)
        return 0
    return _save(lambda path: replace_file(path, text + "\n"), output)
