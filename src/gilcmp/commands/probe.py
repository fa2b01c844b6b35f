"""``gilcmp probe`` and ``gilcmp atlas``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from gilcmp.commands.arguments import Duration, imported_function, json_option, need_writable, quiet_option
from gilcmp.commands.output import complain, failed, measuring, terminal, write_json


@click.command(short_help="Measure for how much of its time a statement holds the GIL.")
@click.argument("statements", nargs=-1, metavar="STATEMENT ...")
@click.option(
    "-s", "--setup", multiple=True, metavar="CODE", help="Run once before, as in timeit; repeatable."
)
@click.option(
    "-m", "functions", multiple=True, metavar="PKG.MOD:FUNC", help="Probe a function without arguments."
)
@click.option("--budget", type=Duration(), default=0.5, help="Time for each, default: 500ms.")
@json_option
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
    _need_budget(budget)
    need_writable(output)
    code = 0
    found = []
    with measuring(output, quiet=True):
        calls = {statement: _statement(statement, setup) for statement in statements}
        calls |= {name: imported_function((name,)) for name in functions}
        for name, call in calls.items():
            try:
                found.append(evolve(measure(call, budget=budget), name=name))
            except KeyboardInterrupt as error:
                code = failed(error)
                break
            except (Exception, SystemExit) as error:  # whatever a stranger's code raises: the others go on
                what = str(error) if type(error) is RuntimeError else f"{type(error).__name__}: {error}"
                code = complain(f"{name}: {what}")
    if not found:
        return code
    if output is not None:
        code = write_json([asdict(one) for one in found], output) or code
    elif len(calls) == 1:
        click.echo(str(found[0]))
    else:
        terminal().print(probe_table(found))
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


def _need_budget(budget: float) -> None:
    if not 0.01 <= budget <= 3600:
        raise click.UsageError(f"--budget must be from 10ms to 1 hour, got {budget} s")


@click.command()
@click.argument("sources", nargs=-1, metavar="[stdlib | numpy | FILE.toml] ...")
@click.option("--budget", type=Duration(), default=0.3, help="Time for each statement, default: 300ms.")
@json_option
@click.option("--markdown", is_flag=True, help="As Markdown, for documents.")
@quiet_option
def atlas(sources: tuple[str, ...], budget: float, output: str | None, markdown: bool, quiet: bool) -> int:
    """Probe lists of statements: which of them release the GIL. Without arguments: the standard library."""
    from attrs import asdict

    from gilcmp.atlas import AtlasError
    from gilcmp.atlas import atlas as measure
    from gilcmp.compare import Progress
    from gilcmp.show.terminal import atlas_markdown, render_atlas

    need_writable(output)
    _need_budget(budget)
    code = 0
    found = []
    with measuring(output, quiet=quiet or markdown) as bar:

        def tell(statement: str, done: int, total: int) -> None:
            if bar is not None:
                bar(Progress(statement.splitlines()[0], done / total, (total - done) * budget))

        for source in sources or ("stdlib",):
            try:
                found.append(measure(source, budget=budget, progress=tell))
            except KeyboardInterrupt as error:
                code = failed(error)
                found += [error.atlas] if hasattr(error, "atlas") else []
                break
            except (AtlasError, RuntimeError, OSError) as error:  # the other lists go on
                code = complain(str(error))
    if output is not None and found:
        code = write_json([asdict(one) for one in found], output) or code
    for one in found if output is None else ():
        if markdown:
            click.echo(atlas_markdown(one))
        else:
            terminal().print(render_atlas(one))
    return code
