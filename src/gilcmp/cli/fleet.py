"""``gilcmp fleet``."""

from __future__ import annotations

from pathlib import Path

import click

from gilcmp.cli.arguments import Duration, details_option, example, quiet_option
from gilcmp.cli.output import complain, failed, show_result


@click.command(
    context_settings={"ignore_unknown_options": True},
    short_help="Run a command on every host of a Dask cluster, and lay the hosts side by side.",
    epilog=example("gilcmp fleet tcp://scheduler:8786 -o hosts -- compare mandelbrot --budget 20s"),
)
@click.argument("scheduler")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND [ARGUMENT ...]]")
@click.option(
    "-o", "--output", "folder", metavar="FOLDER", help="Save each host's result there, and skip those that it has."
)
@click.option("--timeout", type=Duration(), default=600.0, help="Time that a host has; default: 600s.")
@details_option
@quiet_option
def fleet(
    scheduler: str, command: tuple[str, ...], folder: str | None, timeout: float, details: bool, quiet: bool
) -> int:
    """Run compare (or probe, claims, threshold, contention, advise) once on each host, in a process of its own.

    gilcmp has to be installed on the hosts. A host that dies or does not answer is listed with the reason. Exit code 1
    where some have no result, 2 where none has.
    """
    from gilcmp.hosts.running import fleet as measure

    if folder is not None and Path(folder).exists() and not Path(folder).is_dir():
        raise click.UsageError(f"{folder!r} is no folder")

    def tell(host: str, what: str) -> None:
        if not quiet:
            click.echo(f"gilcmp: {host}: {what}", err=True)

    try:
        found = measure(scheduler, command or ("compare",), folder=folder, timeout=timeout, progress=tell)
    except KeyboardInterrupt as error:
        if getattr(error, "fleet", None) is not None and error.fleet.results:  # type: ignore[attr-defined]
            show_result(error.fleet, details=details)  # type: ignore[attr-defined]
        return failed(error)
    except (ValueError, TypeError) as error:
        raise click.UsageError(str(error)) from None
    except (ImportError, OSError) as error:
        return complain(f"{scheduler}: {error}")
    show_result(
        found, details=details, further=[f"Each host's result: {folder}" if folder else "To save them: -o FOLDER"]
    )
    return 2 if not found.results else 1 if found.failed else 0
