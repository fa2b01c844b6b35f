"""``gilcmp list`` and ``gilcmp env``: what can be measured, and on what."""

from __future__ import annotations

import click

from gilcmp.commands.arguments import json_option, need_writable
from gilcmp.commands.output import terminal, write_json


@click.command("list", short_help="List kernels, implementations and strategies.")
@json_option
def list_(output: str | None) -> int:
    """List kernels, implementations and strategies, and why one is not available."""
    from gilcmp.kernels import ALL_SOURCES, kernels, unavailable
    from gilcmp.strategies import strategies

    need_writable(output)
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
        return write_json(data, output)
    from gilcmp.show.terminal import listing

    screen = terminal()
    screen.print(
        listing("kernels", ((k.name, f"{k.summary} ({k.regime}): {k.shows}") for k in kernels.values()))
    )
    screen.print(
        listing(
            "implementations",
            ((n, f"not available: {w}" if w else "available") for n, w in implementations.items()),
        )
    )
    screen.print(
        listing(
            "strategies",
            (
                (s.name, f"not available: {s.unavailable}" if s.unavailable else s.summary)
                for s in strategies.values()
            ),
        )
    )
    return 0


@click.command(short_help="Show what would be measured on: interpreter, GIL, CPUs.")
@json_option
def env(output: str | None) -> int:
    """Show what would be measured on: interpreter, GIL, build, CPUs that may really be used."""
    from attrs import asdict

    from gilcmp.environment import environment
    from gilcmp.show.terminal import environment_rows, pairs

    need_writable(output)
    found = environment()
    if output is not None:
        return write_json(asdict(found), output)
    terminal().print(pairs(environment_rows(found)))
    return 0
