"""``gilcmp claims`` and ``gilcmp threshold``."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

import click

from gilcmp.cli.arguments import (
    Duration,
    called,
    details_option,
    example,
    find_interpreters,
    hint,
    json_option,
    need_writable,
    quiet_option,
)
from gilcmp.cli.output import complain, failed, measuring, save, show, show_result, write_json

MORE = ("All figures: --details; one claim: gilcmp claims NAME, as a script: --code",)


@click.command(
    short_help="Test what people are told about the GIL, by experiments.",
    epilog=example("gilcmp claims cpu-threads io-threads"),
)
@click.argument("names", nargs=-1, metavar="[CLAIM ...]")
@click.option("--budget", type=Duration(), help="Time for these claims together, default: 90s for all.")
@click.option("--python", "pythons", multiple=True, metavar="PYTHON", help="Another interpreter; repeatable.")
@click.option("--expect", metavar="FILE", help='TOML such as cpu-threads = "confirmed"; exit code 1 if one differs.')
@click.option("-o", "--output", "--json", "output", metavar="FILE", help="Save as JSON; -: to standard output.")
@click.option("--code", is_flag=True, help="Test nothing: print each as a short script to run and to change.")
@details_option
@quiet_option
def claims(
    names: tuple[str, ...],
    budget: float | None,
    pythons: tuple[str, ...],
    expect: str | None,
    output: str | None,
    code: bool,
    details: bool,
    quiet: bool,
) -> int:
    """Test what people are told about the GIL, by experiments on this machine. Without arguments: all of it.

    The claims: one-at-a-time, cpu-threads, contention, io-threads, asyncio-io, processes, native-release,
    release-threshold, refcounts, convoy, stalls, free-threading, subinterpreters; of free-threaded builds, left out
    where none is at hand: shared-list, shared-dict, shared-counter, one-lock, shared-constants, shared-function,
    gil-turned-on.
    """
    from gilcmp.experiments.results import Claims
    from gilcmp.experiments.suite import CLAIMS, read_expected
    from gilcmp.experiments.suite import claims as measure
    from gilcmp.measure.machine import environment
    from gilcmp.saved.reading import ResultError

    if code:
        return _print_code(names)
    to_stdout = output == "-"
    need_writable(output)
    try:
        expected = read_expected(expect) if expect is not None else {}
    except (ResultError, OSError) as error:
        raise click.UsageError(str(error)) from None
    others = find_interpreters(pythons)[1:] if pythons else []
    exit_code = 0
    with measuring(output, quiet=quiet) as progress:
        try:
            results = measure(
                names or None, budget=budget, pythons=others, progress=progress, finished=_filling(progress)
            )
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        except KeyboardInterrupt as error:
            exit_code, results = failed(error), getattr(error, "claims", Claims((), environment()))
    if to_stdout:
        click.echo(results.to_json(), nl=False)
    else:
        show_result(results, details=details, further=MORE if len(results) > 1 else ())
    if output is not None and not to_stdout:
        exit_code = save(results.save, output) or exit_code
    here = {result.name: result.verdict.word for result in reversed(results)}
    for name in expected.keys() & here.keys():
        if here[name] != expected[name]:
            click.echo(f"gilcmp: {name} is {here[name]}, expected {expected[name]}", err=True)
            exit_code = exit_code or 1
    missing = [name for name in expected if name not in here and (not names or name in names)]
    if missing and exit_code == 0:
        click.echo(f"gilcmp: not tested: {', '.join(name for name in CLAIMS if name in missing)}", err=True)
        exit_code = 1
    return exit_code


def _filling(progress: Any) -> Callable[[Any], None] | None:
    """Return what shows the claims that are through, where there is a progress bar."""
    if progress is None:
        return None
    return lambda results: progress.fill(results.overview if len(results) > 1 else lambda _: results.sections()[:1])


def _print_code(names: tuple[str, ...]) -> int:
    """Print claims as scripts, with what they show and what they do not."""
    from gilcmp.experiments.suite import chosen_claims

    try:
        wanted = chosen_claims(names or None)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    for number, claim in enumerate(wanted):
        about = (claim.sentence, f"Why: {claim.why}", f"What this does not say: {claim.unsaid}")
        text = "\n#\n".join(textwrap.fill(part, 78, initial_indent="# ", subsequent_indent="# ") for part in about)
        click.echo("\n\n" * (number > 0) + f"{text}\n\n{claim.code}", nl=False)
    return 0


@click.command(
    short_help="Find from which size of a call releasing the GIL pays.",
    epilog=example('gilcmp threshold "zlib.compress(memoryview(data)[:n])" -s "import zlib; data = bytes(10**8)"'),
)
@click.argument("work", metavar="KERNEL | PACKAGE.MODULE:FUNCTION | STATEMENT")
@click.option("-s", "--setup", multiple=True, metavar="CODE", help="Run once before, for a statement; repeatable.")
@click.option("--holds", metavar="WORK", help="A function, or statement, that does the same and keeps the GIL.")
@click.option("--workers", type=click.IntRange(2, 4096), default=2, help="Threads, default: 2.")
@click.option("--budget", type=Duration(), default=12.0, help="Time for it all, default: 12s.")
@json_option
@quiet_option
def threshold(
    work: str,
    setup: tuple[str, ...],
    holds: str | None,
    workers: int,
    budget: float,
    output: str | None,
    quiet: bool,
) -> int:
    """Find from which size of a call releasing the GIL pays: of a kernel, of function(size), of a statement with n."""
    from attrs import asdict

    from gilcmp.probing.threshold import threshold as measure

    need_writable(output)
    code = 0
    result = None
    with measuring(output, quiet=quiet) as progress:
        subject: Any = work if work.isidentifier() and not setup else called(work, setup, "n")
        partner = called(holds, setup, "n") if holds is not None else None
        try:
            result = measure(subject, holds=partner, workers=workers, budget=budget, progress=progress)
        except (ValueError, TypeError, RuntimeError) as error:
            raise click.UsageError(str(error)) from None
        except KeyboardInterrupt as error:
            code, result = failed(error), getattr(error, "threshold", None)
        except Exception as error:  # what the user's code raises
            code = complain(f"{work}: {type(error).__name__}: {error}{hint(error)}")
    if result is None:
        return code
    if output is not None:
        code = write_json(asdict(result), output) or code
    else:
        show(result.sections())
    answered = any(point.speedup.n for point in result.points) or (result.reason and not result.points)
    return code or (0 if answered else 3)
