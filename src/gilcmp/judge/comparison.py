"""The result of `compare`: its cells, and what was found."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from attrs import asdict

from gilcmp.judge.cell import Cell, by_kernel, control
from gilcmp.judge.charts import speedup_panels
from gilcmp.judge.estimate import Estimate
from gilcmp.judge.findings import findings
from gilcmp.judge.overview import overview
from gilcmp.judge.tables import comparison_sections
from gilcmp.saved.environment import Environment
from gilcmp.saved.kept import csv_text, flat
from gilcmp.saved.run import Run, save_run
from gilcmp.show.model import Chart, Section
from gilcmp.show.views import Drawn


class Comparison(Drawn):
    """The result of `compare`: a sequence of cells.

    ``comparison["threads", 4]`` is the one cell that matches all the given words: any of kernel,
    implementation, strategy and workers, in any order. Printing it shows the table; a notebook shows it as HTML.

    Attributes
    ----------
    run : Run
        The raw data, as it is saved.
    cells : tuple of Cell
        All cells.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        records = {record.key: record for record in run.cells}
        starts = {(pool.strategy, pool.workers): pool for pool in reversed(run.pools)}
        self.cells = tuple(
            Cell(
                record,
                records[record.kernel, record.implementation, "serial", 1],
                run,
                starts.get((record.strategy, record.workers)),
            )
            for record in run.cells
        )

    @property
    def environment(self) -> Environment:
        """Where it was measured."""
        return self.run.environment

    @property
    def complete(self) -> bool:
        """False where the measuring ended early, by Ctrl-C or an error."""
        return self.run.complete

    @property
    def findings(self) -> list[str]:
        """What was found, in sentences."""
        return findings(self.cells, self.environment)

    def control(self, kernel: str) -> Estimate | None:
        """Single-thread time of `cython_nogil` over that of `cython_gil`, round by round: should be 1.

        None where the two were not measured together, or never in a quiet round.
        """
        return control(self.cells, kernel)

    def __iter__(self) -> Iterator[Cell]:
        return iter(self.cells)

    def __len__(self) -> int:
        return len(self.cells)

    def __getitem__(self, key: str | int | tuple[str | int, ...]) -> Cell:
        words = key if isinstance(key, tuple) else (key,)
        named = [cell for cell in self.cells if all(word in cell.record.key for word in words)]
        if len(named) != 1:
            names = "; ".join(", ".join(map(str, cell.record.key)) for cell in named or self.cells)
            raise KeyError(f"{key!r} must name one cell, and names {len(named)} of: {names}")
        return named[0]

    def to_csv(self) -> str:
        """Return its cells as CSV; times in seconds, nothing where a number is unknown."""
        return csv_text([cell_record(cell) for cell in self.cells])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save the run as JSON; the file is replaced as a whole or not at all."""
        save_run(self.run, path)

    def __repr__(self) -> str:
        kernels = ", ".join(by_kernel(self.cells))
        return f"<Comparison of {kernels}: {len(self)} cells>"

    def sections(self) -> list[Section]:
        """Return what is shown of it: a table for each kernel, and what was found."""
        return comparison_sections(self.cells, self.run, self.findings)

    def overview(self, width: int = 80) -> list[Section]:
        """Return what fits on one screen: what was found, a row an implementation, the machine."""
        if self.cells and all(cell.workers == 1 for cell in self.cells):  # there is no speed-up to be shown
            return self.sections()
        return overview(self.cells, self.run, width)

    def charts(self) -> list[Chart]:
        """Return its pictures: speed-up against workers, for each kernel and strategy."""
        return [panel.chart for panel in speedup_panels(self.cells, self.environment.cpus)]

    def plot(self) -> Any:
        """Return the speed-up against workers as a matplotlib figure (needs ``gilcmp[report]``)."""
        from gilcmp.show.figure import figure

        panels = speedup_panels(self.cells, self.environment.cpus)
        places = {(panel.kernel, panel.strategy): panel.chart for panel in panels}
        kernels, strategies = (
            (list(dict.fromkeys(names)) for names in zip(*places, strict=True)) if places else ([], [])
        )
        charts = [places.get((kernel, strategy)) for kernel in kernels for strategy in strategies]
        return figure(charts, columns=max(1, len(strategies)))


def cell_record(cell: Cell) -> dict[str, object]:
    """Return the figures of a cell, for a line of a table."""
    figures = {
        "time": cell.time,
        "speedup": cell.speedup,
        "efficiency": cell.efficiency,
        "cpus": cell.cores,
        "run_delay": cell.run_delay,
        "blocked": cell.blocked,
    }
    return flat(
        {
            "kernel": cell.kernel,
            "implementation": cell.implementation,
            "strategy": cell.strategy,
            "workers": cell.workers,
            "size": cell.size,
            "unit": cell.unit,
            **{name: asdict(value) for name, value in figures.items()},
            "verdict": cell.verdict.word,
            "reason": cell.error or cell.verdict.reason,
            "startup": cell.startup,
            "hand_over": cell.hand_over,
            "memory": cell.memory,
            "sending": cell.record.sending,
            "bytes_out": cell.record.bytes_out,
            "bytes_back": cell.record.bytes_back,
        }
    )
