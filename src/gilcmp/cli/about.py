"""``gilcmp list`` and ``gilcmp env``: what can be measured, and on what."""

from __future__ import annotations

import click

from gilcmp.cli.arguments import example, json_option, need_writable
from gilcmp.cli.output import show, write_json


@click.command(
    "list", short_help="List kernels, implementations, strategies and claims.", epilog=example("gilcmp list")
)
@json_option
def list_(output: str | None) -> int:
    """List kernels, implementations, strategies and claims, and why one is not available."""
    from gilcmp.compute.kernel import ALL_SOURCES, unavailable
    from gilcmp.compute.registry import kernels
    from gilcmp.experiments.suite import CLAIMS
    from gilcmp.measure.strategies import strategies

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
                strategy.name: {"summary": strategy.summary, "unavailable": strategy.unavailable}
                for strategy in strategies.values()
            },
            "claims": {claim.name: claim.sentence for claim in CLAIMS.values()},
        }
        return write_json(data, output)
    from gilcmp.show.model import pairs, section

    lists = {
        "kernels": [
            (kernel.name, f"{kernel.summary} ({kernel.regime}): {kernel.shows}") for kernel in kernels.values()
        ],
        "implementations": [
            (name, f"not available: {why}" if why else "available") for name, why in implementations.items()
        ],
        "strategies": [
            (strategy.name, f"not available: {strategy.unavailable}" if strategy.unavailable else strategy.summary)
            for strategy in strategies.values()
        ],
        "claims": [(claim.name, claim.sentence) for claim in CLAIMS.values()],
    }
    show([section(title, pairs(rows, indent=2)) for title, rows in lists.items()])
    return 0


@click.command(short_help="Show what would be measured on: interpreter, GIL, CPUs.", epilog=example("gilcmp env"))
@json_option
def env(output: str | None) -> int:
    """Show what would be measured on: interpreter, GIL, build, CPUs that may really be used."""
    from attrs import asdict

    from gilcmp.measure.machine import environment
    from gilcmp.saved.environment import environment_table
    from gilcmp.show.model import section

    need_writable(output)
    described = environment()
    if output is not None:
        return write_json(asdict(described), output)
    show([section("", environment_table(described))])
    return 0
