"""``gilcmp diff`` and ``gilcmp report``: what saved files tell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gilcmp.cli.arguments import details_option, example, need_writable
from gilcmp.cli.output import show_result

if TYPE_CHECKING:
    from gilcmp.saved.kept import Kept
    from gilcmp.surveying.atlas import Atlas


@click.command(
    short_help="Lay saved runs side by side.", epilog=example("gilcmp diff laptop.json server.json --fail-below 0.95")
)
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
@details_option
def diff(files: tuple[str, ...], form: str, fail_below: float | None, details: bool) -> int:
    """Lay saved runs side by side: what differs between the machines, and how each cell compares with the first run.

    Two atlases: which functions changed.
    """
    from gilcmp.judge.diff import diff as lay_side_by_side
    from gilcmp.judge.differences import key_name
    from gilcmp.saved.reading import ResultError

    atlases = [_atlases(name) for name in files]
    if any(atlases):
        return _diff_atlases(files, atlases, form, fail_below, details)
    try:
        difference = lay_side_by_side(*files) if files else None
    except (ValueError, ResultError) as error:
        raise click.UsageError(str(error)) from None
    if difference is None:
        raise click.UsageError("nothing to compare: give at least two saved runs")
    _show_difference(difference, form, details, "All cells and what differs between the machines: --details")
    worse = difference.below(fail_below) if fail_below is not None else []
    for run, cell, what in worse:
        click.echo(f"gilcmp: {run}: {key_name(cell.key)} {what}", err=True)
    return 1 if worse else 0


def _show_difference(difference: Kept, form: str, details: bool, further: str) -> None:
    if form == "table":
        show_result(difference, details=details, further=[further])
    else:
        write = {"markdown": difference.to_markdown, "csv": difference.to_csv, "json": difference.to_json}[form]
        click.echo(write(), nl=False)


def _atlases(name: str) -> list[Atlas]:
    """Return the atlases of a file; none where it holds something else, of which others will say what it is."""
    from gilcmp.reporting.report import load
    from gilcmp.saved.reading import ResultError
    from gilcmp.surveying.atlas import Atlas

    if not Path(name).is_file():  # a pipe can be read once only
        return []
    try:
        found = load(name)
    except (ValueError, ResultError, OSError):
        return []
    each = found if isinstance(found, list) else [found]
    return each if isinstance(each[0], Atlas) else []


def _diff_atlases(
    files: tuple[str, ...], atlases: list[list[Atlas]], form: str, fail_below: float | None, details: bool
) -> int:
    from gilcmp.surveying.changes import compare_atlases

    if fail_below is not None:
        raise click.UsageError("--fail-below is for saved runs, not for atlases")
    if len(files) != 2 or not all(atlases):
        raise click.UsageError(f"an atlas is laid beside one other atlas, got {', '.join(files)}")
    _show_difference(compare_atlases(*atlases), form, details, "")
    return 0


@click.command(
    short_help="Put saved runs, claims and probes into one HTML file.",
    epilog=example("gilcmp report run.json claims.json -o report.html"),
)
@click.argument("files", nargs=-1, metavar="FILE.json ...")
@click.option("-o", "--output", required=True, metavar="FILE", help="The report, one HTML file; -: to standard output.")
def report(files: tuple[str, ...], output: str) -> None:
    """Put saved runs, claims, probes and thresholds into one HTML file that needs no network."""
    from gilcmp.base.files import replace_file
    from gilcmp.reporting.report import check_output, read_report
    from gilcmp.saved.reading import ResultError

    need_writable(output)
    try:
        check_output(output, files)
        text = read_report(files).to_html()
    except (ValueError, ResultError, ImportError) as error:
        raise click.UsageError(str(error)) from None
    if output == "-":
        click.echo(text, nl=False)
        return
    replace_file(output, text)
    click.echo(f"{output}: {len(text.encode()) / 1e6:.2f} MB")
