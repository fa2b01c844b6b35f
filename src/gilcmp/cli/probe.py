"""``gilcmp probe`` and ``gilcmp atlas``."""

from __future__ import annotations

import click

from gilcmp.cli.arguments import (
    Duration,
    called,
    details_option,
    example,
    hint,
    imported_function,
    json_option,
    need_writable,
    quiet_option,
)
from gilcmp.cli.output import complain, failed, measuring, show, show_result, write_json


@click.command(
    short_help="Measure for how much of its time a statement holds the GIL.",
    epilog=example('gilcmp probe "zlib.compress(data)" -s "import zlib; data = bytes(10**7)"'),
)
@click.argument("statements", nargs=-1, metavar="STATEMENT ...")
@click.option("-s", "--setup", multiple=True, metavar="CODE", help="Run once before, as in timeit; repeatable.")
@click.option("-m", "functions", multiple=True, metavar="PKG.MOD:FUNC", help="Probe a function without arguments.")
@click.option("--budget", type=Duration(), default=0.5, help="Time for each, default: 500ms.")
@click.option("--calls", "once", type=click.IntRange(1, 10**9), help="Call it so often and no more, such as once.")
@json_option
def probe(
    statements: tuple[str, ...],
    setup: tuple[str, ...],
    functions: tuple[str, ...],
    budget: float,
    once: int | None,
    output: str | None,
) -> int:
    """Measure for how much of its time a statement holds the GIL, and how long it makes others wait."""
    from attrs import asdict, evolve

    from gilcmp.base.calls import Statement
    from gilcmp.probing.probe import probe as measure
    from gilcmp.probing.probe_result import OPEN, probe_table
    from gilcmp.show.model import section

    if not statements and not functions:
        raise click.UsageError("nothing to probe: give a statement, or a function with -m")
    _need_budget(budget)
    need_writable(output)
    code = 0
    probes = []
    with measuring(output, quiet=True):
        # the function itself: another call in between would count as held
        calls = {
            statement: made.function if isinstance(made := called(statement, setup), Statement) else made
            for statement in statements
        }
        calls |= {name: imported_function(name) for name in functions}
        for name, call in calls.items():
            try:
                probes.append(evolve(measure(call, budget=budget, calls=once), name=name))
            except KeyboardInterrupt as error:
                code = failed(error)
                break
            except (Exception, SystemExit) as error:  # user code can raise anything: go on with the others
                reason = str(error) if type(error) is RuntimeError else f"{type(error).__name__}: {error}"
                notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
                code = complain(f"{name}: {reason}{hint(error)}{notes}")
    if not probes:
        return code
    if output is not None:
        code = write_json([asdict(probe) for probe in probes], output) or code
    elif len(calls) == 1:
        show(probes[0].sections())
    else:
        show([section("", probe_table(probes))])
    return code or (3 if all(probe.verdict.word in OPEN for probe in probes) else 0)


def _need_budget(budget: float) -> None:
    if not 0.01 <= budget <= 3600:
        raise click.UsageError(f"--budget must be from 10ms to 1 hour, got {budget} s")


@click.command(
    short_help="Probe the functions of libraries: which of them release the GIL, and help in two threads.",
    epilog=example("gilcmp atlas numpy --json numpy.json"),
)
@click.argument("sources", nargs=-1, metavar="[LIBRARY | FILE.toml] ...")
@click.option("--installed", is_flag=True, help="All libraries with a list that are installed here.")
@click.option(
    "--survey", "folder", metavar="FOLDER", help="Each library in a virtual environment of its own; continues."
)
@click.option("--python", metavar="PYTHON", help="With --survey: the interpreter of the environments.")
@click.option("--from-source", is_flag=True, help="With --survey: build what has no wheel, which may take an hour.")
@click.option("--budget", type=Duration(), default=0.3, help="Time for each statement, default: 300ms.")
@click.option("--no-threads", is_flag=True, help="Do not measure two threads, which takes most of the time.")
@json_option
@click.option("--markdown", is_flag=True, help="As Markdown, for documents.")
@details_option
@quiet_option
def atlas(
    sources: tuple[str, ...],
    installed: bool,
    folder: str | None,
    python: str | None,
    from_source: bool,
    budget: float,
    no_threads: bool,
    output: str | None,
    markdown: bool,
    details: bool,
    quiet: bool,
) -> int:
    """Probe lists of statements: which of them release the GIL, and whether two threads of them get more done.

    A list is that of a library that comes with gilcmp, or a file of your own; without arguments: the standard library.
    """
    from attrs import asdict

    from gilcmp.measure.session import Progress
    from gilcmp.surveying.atlas import atlas as measure
    from gilcmp.surveying.lists import AtlasError, read_list, shipped

    need_writable(output)
    _need_budget(budget)
    if python is not None and folder is None:
        raise click.UsageError("--python needs --survey FOLDER: its environments are made from that interpreter")
    if from_source and folder is None:
        raise click.UsageError("--from-source needs --survey FOLDER: only its environments are installed")
    if folder is not None:
        if installed or output is not None or markdown or details or no_threads:
            raise click.UsageError("--survey goes with libraries, --python, --from-source, --budget and -q only")
        return _survey(sources, folder, python, from_source=from_source, budget=budget, quiet=quiet)
    if installed:
        sources += tuple(name for name in shipped() if read_list(name).version is not None)
    code = 0
    atlases = []
    with measuring(output, quiet=quiet or markdown) as bar:

        def tell(statement: str, done: int, total: int) -> None:
            if bar is not None:
                left = (total - done) * budget * (1 if no_threads else 5)
                bar(Progress(statement.splitlines()[0], done / total, left))

        for source in dict.fromkeys(sources or ("stdlib",)):
            try:
                atlases.append(measure(source, budget=budget, threads=not no_threads, progress=tell))
            except KeyboardInterrupt as error:
                code = failed(error)
                atlases += [error.atlas] if hasattr(error, "atlas") else []
                break
            except (AtlasError, RuntimeError, OSError) as error:  # the other lists go on
                code = complain(str(error))
    if output is not None and atlases:
        code = write_json([asdict(atlas) for atlas in atlases], output) or code
    for atlas in atlases if output is None else ():
        if markdown:
            click.echo(atlas.to_markdown())
        else:
            show_result(atlas, details=details, further=["All statements: --details; as a file: --json FILE"])
    return code


def _survey(
    names: tuple[str, ...], folder: str, python: str | None, *, from_source: bool, budget: float, quiet: bool
) -> int:
    """Measure libraries in environments of their own; what was finished is in the folder, whatever happens."""
    import shutil
    import sys

    from gilcmp.measure.session import Progress
    from gilcmp.saved.reading import ResultError
    from gilcmp.surveying.lists import AtlasError, read_list, shipped
    from gilcmp.surveying.survey import ALL_CSV, ALL_JSON, survey

    unknown = [name for name in names if name not in shipped()]
    if unknown:
        raise click.UsageError(f"--survey: no list {unknown[0]!r}: {', '.join(shipped())}")
    path = sys.executable if python is None else shutil.which(python)
    if path is None:
        raise click.UsageError(f"--python {python!r} not found: give the path of an interpreter, or a name on PATH")
    with measuring(None, quiet=quiet) as bar:
        wanted = list(dict.fromkeys(names)) or shipped()

        def tell(name: str, done: int, total: int) -> None:
            if bar is not None:
                statements = sum(len(read_list(each).statements) for each in wanted[done:])
                bar(Progress(name, done / total, statements * budget * 5))

        try:
            outcomes = survey(names, folder=folder, python=path, budget=budget, from_source=from_source, progress=tell)
        except (AtlasError, ResultError, OSError) as error:
            return complain(str(error))
        except KeyboardInterrupt as error:
            return failed(error)
    for outcome in outcomes:
        if outcome.atlas is None:
            complain(f"{outcome.name}: {outcome.reason}")
    if not from_source and any(outcome.atlas is None for outcome in outcomes):
        complain("what has no wheel for this Python was not built: --from-source does")
    done = [outcome.atlas for outcome in outcomes if outcome.atlas is not None]
    kept = sum(outcome.kept for outcome in outcomes)
    before = f" ({kept} measured before)" if kept else ""
    found = f"{len(done)} of {len(outcomes)} libraries{before}, {sum(map(len, done))} statements"
    click.echo(f"{found}: {folder}/{ALL_JSON} and {ALL_CSV}")
    return 0 if len(done) == len(outcomes) else 2
