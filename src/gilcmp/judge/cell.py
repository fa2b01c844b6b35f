"""One cell of a comparison, with its estimates and its verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

from attrs import frozen

from gilcmp.judge.estimate import Estimate, median, serial_fraction
from gilcmp.judge.verdict import UNDECIDED, Judgement, Situation, Verdict, judge, judge_serial, take_turns
from gilcmp.saved.observation import Observation
from gilcmp.saved.run import CellRecord, PoolStart, Run


@frozen
class TimeShares:
    """Where the time of a cell's workers went, as shares of all of it that add up to 1.

    Attributes
    ----------
    on_cpu : float
        On a CPU.
    no_core : float
        Ready to run, with no core to run on; 0 where the system does not report it.
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
        Why it could not be measured, or not to the end.
    startup : float or None
        Seconds until its workers were ready.
    hand_over : float or None
        Seconds to hand an empty task over to its workers and get the answer.
    memory : int or None
        Bytes of memory that one of its workers takes.
    rounds : sequence of Observation
        Everything that was observed, quiet or not.
    record, serial_record : CellRecord
        The raw data of this cell, and of the serial one that it is divided by.
    gil_enabled : bool
        Whether the interpreter's GIL was on.
    """

    def __init__(self, record: CellRecord, serial: CellRecord, run: Run, start: PoolStart | None) -> None:
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
        self.startup = None if start is None else start.startup
        self.hand_over = None if start is None else start.hand_over
        self.memory = None if start is None else start.memory

    @property
    def is_serial(self) -> bool:
        """Whether this is the cell that the others of its implementation are divided by."""
        return self.record.key == self.serial_record.key

    @property
    def scale(self) -> float:
        """How many times the work of the serial cell it does in a round."""
        return self.record.work / self.serial_record.work

    @cached_property
    def _judgement(self) -> Judgement:
        if self.is_serial:
            return judge_serial(self.rounds, self._cpus)
        unit = {"threads": "threads", "processes": "processes"}.get(self.strategy.partition("-")[0], "workers")
        situation = Situation(
            self.workers,
            self._cpus,
            self.record.shares_gil,
            unit,
            self.record.gil_held,
            self.record.gil_waited,
            scale=self.scale,
            lock_waits=self.record.lock_waits or 0.0,
            stopped=self.record.stopped or 0.0,
            waits_at=self.record.waits_at or "",
            hand_over=(self.record.sending or self.hand_over or math.nan) * (self.record.handed or math.nan),
        )
        return judge(self.rounds, self.serial_record.rounds, situation)

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

    @property
    def is_clear(self) -> bool:
        """Whether it has a speed-up and an answer."""
        return bool(self.speedup.n) and self.verdict.word not in UNDECIDED

    @cached_property
    def times(self) -> Sequence[float]:
        """Seconds of wall time for one unit of work in each quiet round."""
        return [seen.wall / self.record.work for seen in self.quiet]

    @cached_property
    def time(self) -> Estimate:
        """Seconds of wall time for one unit of work, over the quiet rounds."""
        return median(self.times)

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
    def took_turns(self) -> bool:
        """Whether its threads took turns in most rounds, quiet or not, which the CPU accounting tells at any load."""
        # where the system reports no run delay, waiting for a core looks like blocking
        told = [seen for seen in self.rounds if seen.run_delay is not None]
        turns = sum(take_turns(seen, self.workers) for seen in told)
        return self.record.shares_gil and len(told) > 1 and 2 * turns > len(told)

    @property
    def serial_rounds(self) -> Sequence[Observation]:
        """What was observed of the serial cell that this one is divided by."""
        return self.serial_record.rounds

    @property
    def serial_fraction(self) -> float | None:
        """Karp and Flatt's serial fraction; None for one worker, where nothing quiet was measured, or for no share."""
        parallel = min(self.workers, self._cpus)
        if parallel < 2 or not self.speedup.n:
            return None
        fraction = serial_fraction(self.speedup.value, round(parallel))
        return fraction if 0 <= fraction <= 1 else None

    @property
    def place(self) -> str:
        """Its strategy and workers: threads x 2."""
        return f"{self.strategy} x {self.workers}"

    def __repr__(self) -> str:
        return f"<Cell {self.kernel}, {self.implementation}, {self.place}: {self.speedup}, {self.verdict}>"


def by_kernel(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    """Return the cells of each kernel, in order."""
    kernels: dict[str, list[Cell]] = {}
    for cell in cells:
        kernels.setdefault(cell.kernel, []).append(cell)
    return kernels


def control(cells: Sequence[Cell], kernel: str) -> Estimate | None:
    """Single-thread time of `cython_nogil` over that of `cython_gil`, round by round: should be 1.

    None where the two were not measured together, or never in a quiet round.
    """
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
