"""What a comparison found: its cells with their estimates and verdicts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from attrs import frozen

from gilcmp.accounting import Observation
from gilcmp.environment import Environment
from gilcmp.estimate import Estimate, median, serial_fraction
from gilcmp.findings import findings
from gilcmp.results import CellRecord, Run, load_run, save_run
from gilcmp.verdict import Judgement, Situation, Verdict, judge, judge_serial


@frozen
class TimeShares:
    """Where the time of a cell's workers went, as shares of all of it that add up to 1.

    Attributes
    ----------
    on_cpu : float
        On a CPU.
    no_core : float
        Ready to run, with no core to run on; 0 where the system does not tell.
    blocked : float
        Waiting for something else, with work to do: the GIL, another lock, I/O.
    idle : float
        With nothing left to do, while others were still at work.
    """

    on_cpu: float
    no_core: float
    blocked: float
    idle: float


class Cell:
    """One implementation x strategy x workers, and what was measured of it.

    Attributes
    ----------
    kernel, implementation, strategy : str
        What was run, how it is written, and how its tasks were run.
    workers : int
        How many workers it had.
    size : int or None
        The kernel's size; None for a function of the user's.
    error : str or None
        Why it could not be measured (further).
    startup : float or None
        Seconds until its workers were ready.
    rounds : sequence of Observation
        Everything that was observed, quiet or not.
    record, serial_record : CellRecord
        The raw data of this cell, and of the serial one that it is divided by.
    gil_enabled : bool
        Whether the interpreter's GIL was on.
    """

    def __init__(self, record: CellRecord, serial: CellRecord, run: Run) -> None:
        self.record = record
        self.kernel = record.kernel
        self.implementation = record.implementation
        self.strategy = record.strategy
        self.workers = record.workers
        self.size = record.size
        self.unit = record.unit
        self.error = record.error
        self.rounds: Sequence[Observation] = record.rounds
        self.serial_record = serial
        self.gil_enabled = run.environment.gil_enabled
        self._cpus = run.environment.cpus
        self.startup = next(
            (p.startup for p in run.pools if (p.strategy, p.workers) == (record.strategy, record.workers)),
            None,
        )

    @property
    def is_serial(self) -> bool:
        """Whether this is the cell that the others of its implementation are divided by."""
        return self.record.key == self.serial_record.key

    @cached_property
    def _judgement(self) -> Judgement:
        if self.is_serial:
            return judge_serial(self.rounds, self._cpus)
        unit = {"threads": "threads", "processes": "processes"}.get(
            self.strategy.partition("-")[0], "workers"
        )
        at = Situation(self.workers, self._cpus, self.record.shares_gil, unit)
        return judge(self.rounds, self.serial_record.rounds, at)

    @property
    def speedup(self) -> Estimate:
        """Serial wall time over this cell's, same round, same tasks; NaN where no round was quiet enough."""
        return self._judgement.speedup

    @property
    def efficiency(self) -> Estimate:
        """Speed-up per worker that can really run at once."""
        return self._judgement.efficiency

    @property
    def verdict(self) -> Verdict:
        """The verdict, with its reason."""
        if self.error and not self.rounds:
            return Verdict("not measured", self.error)
        return self._judgement.verdict

    @cached_property
    def time(self) -> Estimate:
        """Seconds of wall time for one unit of work, over the quiet rounds."""
        return median([seen.wall / self.record.work for seen in self.quiet])

    @cached_property
    def cores(self) -> Estimate:
        """CPUs that the workers kept busy, over the quiet rounds."""
        return median([seen.cores for seen in self.quiet])

    @cached_property
    def run_delay(self) -> Estimate:
        """Time waiting for a core, all workers together, as a share of the wall time; over all rounds."""
        return median([seen.run_delay / seen.wall for seen in self.rounds if seen.run_delay is not None])

    @cached_property
    def blocked(self) -> Estimate:
        """Time blocked, as a share of all workers' time; over the quiet rounds."""
        return median([seen.blocked / seen.wall / self.workers for seen in self.quiet])

    @cached_property
    def time_shares(self) -> TimeShares | None:
        """Where the workers' time went, over the quiet rounds, or over all where none was quiet; None without any."""
        rounds = self.quiet or self.rounds
        if not rounds:
            return None
        parts = (
            sum(seen.cpu for seen in rounds),
            sum(seen.run_delay or 0.0 for seen in rounds),
            sum(seen.blocked for seen in rounds),
        )
        # clocks of different kinds: their sum may exceed the time there was by some per mille
        whole = max(self.workers * sum(seen.wall for seen in rounds), sum(parts))
        on_cpu, no_core, blocked = (part / whole for part in parts)
        return TimeShares(on_cpu, no_core, blocked, max(0.0, 1.0 - on_cpu - no_core - blocked))

    @property
    def quiet(self) -> Sequence[Observation]:
        """What was observed in the rounds in which this cell and its serial partner got the CPUs they wanted."""
        return self._judgement.quiet

    @property
    def serial_rounds(self) -> Sequence[Observation]:
        """What was observed of the serial cell that this one is divided by."""
        return self.serial_record.rounds

    @property
    def serial_fraction(self) -> float | None:
        """Karp and Flatt's serial fraction; None for one worker, or where nothing quiet was measured."""
        parallel = min(self.workers, self._cpus)
        if parallel < 2 or not self.speedup.n:
            return None
        return serial_fraction(self.speedup.value, round(parallel))

    def __repr__(self) -> str:
        where = f"{self.kernel}, {self.implementation}, {self.strategy} x {self.workers}"
        return f"<Cell {where}: {self.speedup}, {self.verdict}>"


class Comparison:
    """The result of `compare`: a sequence of cells.

    ``comparison["threads", 4]`` is the one cell to which all the given words apply: kernel, implementation,
    strategy, workers, in any order and number. Printing it shows the table; a notebook shows it as HTML.

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
        self.cells = tuple(
            Cell(record, records[record.kernel, record.implementation, "serial", 1], run)
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
        found = [cell for cell in self.cells if all(word in cell.record.key for word in words)]
        if len(found) != 1:
            names = "; ".join(", ".join(map(str, cell.record.key)) for cell in found or self.cells)
            raise KeyError(f"{key!r} must name one cell, and names {len(found)} of: {names}")
        return found[0]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save the run as JSON; the file is replaced as a whole or not at all."""
        save_run(self.run, path)

    def plot(self) -> Any:
        """Return the speed-up against workers as a matplotlib figure (needs ``gilcmp[report]``)."""
        from gilcmp.show.plots import plot_comparison

        return plot_comparison(self)

    def __repr__(self) -> str:
        kernels = ", ".join(dict.fromkeys(cell.kernel for cell in self.cells))
        return f"<Comparison of {kernels}: {len(self)} cells>"

    def __str__(self) -> str:
        from gilcmp.show.terminal import comparison_text

        return comparison_text(self)

    def _repr_html_(self) -> str:
        from gilcmp.show.notebook import comparison_html

        return comparison_html(self)


def control(cells: Sequence[Cell], kernel: str) -> Estimate | None:
    """Compare the single-thread times of the two Cython twins; see `Comparison.control`."""
    twins = {
        cell.implementation: {seen.round: seen.wall / cell.record.work for seen in cell.quiet}
        for cell in cells
        if cell.kernel == kernel and cell.is_serial
    }
    nogil, gil = twins.get("cython_nogil"), twins.get("cython_gil")
    if nogil is None or gil is None:
        return None
    ratios = [nogil[number] / gil[number] for number in nogil if number in gil]
    return median(ratios) if ratios else None


def load(path: str | os.PathLike[str]) -> Comparison:
    """Load a saved run.

    Raises
    ------
    ResultError
        For what is not a run, or a broken or newer one; the message names the place.
    OSError
        For a file that cannot be read.
    """
    return Comparison(load_run(path))
