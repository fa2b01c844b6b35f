"""The cells of a comparison while they are measured, and the order in which a round runs them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from attrs import define, evolve, field

from gilcmp.judge.verdict import MIN_ROUNDS, ONE_AT_A_TIME, got_its_cpus, is_quiet
from gilcmp.measure.gauge import Gauge
from gilcmp.measure.jobs import BATCHES_PER_WORKER, PASSES, PASSES_OF_PROCESSES, Job
from gilcmp.measure.lock import LockWaits
from gilcmp.measure.strategies import Strategy
from gilcmp.saved.observation import Observation, TaskSpan
from gilcmp.saved.run import CellRecord


@define
class RunningCell:
    """One cell while it is measured: its job, where it runs, and what was observed so far.

    `readings` are the gauge's by round, for as many threads as the cell wants CPUs: the worse of before and after it.
    """

    job: Job
    strategy: Strategy
    workers: int
    cpus: float = 1.0
    shares_gil: bool = False
    gauge: Gauge | None = None
    readings: dict[int, float] = field(factory=dict)
    most_cores: float = 0.0
    gil_held: float | None = None
    gil_waited: float | None = None
    lock_waits: LockWaits | None = None
    threads: set[int] = field(factory=set)
    sending: float | None = None
    bytes_back: int | None = None
    took: float | None = None
    own_repeats: int | None = None
    error: str | None = None
    seen: list[Observation] = field(factory=list)
    latest: list[TaskSpan] = field(factory=list)

    @property
    def name(self) -> str:
        """What to call it in messages."""
        return f"{self.job.name}, {self.strategy.name} x {self.workers}"

    @property
    def batches(self) -> int | None:
        """How many batches of a kernel's tasks are handed over; None: as many as there are tasks."""
        alone = self.is_serial or self.strategy.coroutines  # these hand nothing over
        return None if alone else BATCHES_PER_WORKER * self.workers

    @property
    def wants(self) -> int:
        """How many CPUs its workers keep busy at once, if they get them: one where they wait or take turns.

        Once there are readings it stays as it is: the most CPUs that were ever busy can only grow.
        """
        return min(self.workers, int(self.cpus)) if self.most_cores > ONE_AT_A_TIME else 1

    @property
    def quiet(self) -> int:
        """How many of its rounds count."""
        return sum(is_quiet(seen, self.workers, self.cpus) and got_its_cpus(seen) for seen in self.observations)

    @property
    def observations(self) -> list[Observation]:
        """What was observed, with the share of its CPUs that the machine gave, as far as is known by now."""
        if self.gauge is None or not self.readings:
            return list(self.seen)
        shares = {number: self.gauge.share(reading, self.wants) for number, reading in self.readings.items()}
        return [evolve(seen, granted=shares.get(seen.round)) for seen in self.seen]

    @property
    def is_serial(self) -> bool:
        """Whether it is the cell that the others of its implementation are divided by."""
        return self.strategy.name == "serial"

    def is_serial_of(self, other: RunningCell) -> bool:
        """Tell whether it is the cell that `other` is divided by."""
        return self.is_serial and self.job is other.job

    @property
    def passes(self) -> int:
        """How often the cell does what the serial cell does once, so that starting the workers counts for little."""
        if self.is_serial or not self.job.fine or not self.job.batched:
            return 1
        return PASSES_OF_PROCESSES if self.strategy.isolated else PASSES

    @property
    def repeats(self) -> int:
        """How often it does its list of tasks in a round; fewer times than the serial cell where sending takes long."""
        return self.job.repeats * self.passes if self.own_repeats is None else self.own_repeats

    @property
    def calls(self) -> int:
        """How often a user's function is called in a round."""
        return 0 if self.job.batched else len(self.job.tasks) * self.repeats

    @property
    def pass_time(self) -> float:
        """Seconds that one pass through the tasks is expected to take, with sending them."""
        return len(self.job.tasks) * (self.sending or 0.0) + self.job.seconds / min(self.workers, max(1.0, self.cpus))

    @property
    def keeps_place(self) -> bool:
        """Whether each worker stays on a CPU of its own during a task: what calls nobody needs no others."""
        return self.job.batched and self.workers <= self.cpus

    def record(self) -> CellRecord:
        """Return what is saved of it."""
        job = self.job
        return CellRecord(
            kernel=job.kernel,
            implementation=job.implementation,
            strategy=self.strategy.name,
            workers=self.workers,
            kernel_version=job.version,
            size=job.size,
            unit=job.unit,
            work=job.work * self.repeats,
            tasks=len(job.tasks),
            repeats=self.repeats,
            shares_gil=self.shares_gil,
            error=self.error,
            rounds=self.observations,
            latest=self.latest,
            gil_held=self.gil_held,
            gil_waited=self.gil_waited,
            lock_waits=None if self.lock_waits is None else self.lock_waits.share,
            stopped=None if self.lock_waits is None else self.lock_waits.stopped,
            waits_at=None if self.lock_waits is None else self.lock_waits.at,
            handed=job.handed(self.batches, self.repeats),
            sending=self.sending,
            bytes_out=round(sum(job.sizes) / len(job.sizes)) if self.strategy.isolated and job.sizes else None,
            bytes_back=self.bytes_back,
        )


COMFORTABLE = 8  # quiet rounds that a cell has before it may sit out
AHEAD = 3  # and so many more than the cell that has the fewest
ALL_AGAIN = 4  # of so many pairs of rounds, one has all cells


def orders(cells: Sequence[RunningCell], seed: int) -> Iterator[list[RunningCell]]:
    """Yield the order of turns for each round: shuffled, then the same reversed (ABBA), and so on.

    The cells of an implementation stay together, since the machine may change its speed within a second, and each is
    divided by their serial one. Where that is quick, it has a turn before and after each of the others.
    """
    shuffler = random.Random(seed)
    groups: dict[str, list[RunningCell]] = {}
    for cell in cells:
        groups.setdefault(cell.job.implementation, []).append(cell)
    while True:
        shuffled = list(groups.values())
        shuffler.shuffle(shuffled)
        order = []
        for serial, *others in shuffled:
            if serial.job.fine and others:
                order += [serial, *(turn for cell in shuffler.sample(others, len(others)) for turn in (cell, serial))]
            else:
                order += shuffler.sample([serial, *others], 1 + len(others))
        yield order
        yield order[::-1]


def in_need(order: Sequence[RunningCell], number: int) -> list[RunningCell]:
    """Return the turns of a round, without the cells that can do with fewer rounds than others.

    Cells that need one CPU, whose times hardly scatter, sit every other pair of rounds out where others need several
    at once; cells that are ahead of others by their quiet rounds sit most rounds out. What a cell needs and how many
    quiet rounds it has depends on what comes from outside, not on what was measured: this chooses no values.
    """
    pair = (number - 1) // 2  # orders come in mirrored pairs
    quiet = {id(cell): cell.quiet for cell in order if not cell.is_serial and not cell.error}
    if pair % ALL_AGAIN == 0 or not quiet:
        return list(order)
    enough = max(COMFORTABLE, min(quiet.values()) + AHEAD)
    often = MIN_ROUNDS if pair % 2 and any(cell.wants > 1 for cell in order) else enough
    return [cell for cell in order if quiet.get(id(cell), 0) < (enough if cell.wants > 1 else often)]


def note(turns: Sequence[tuple[RunningCell, Observation]], foreign: float) -> None:
    """Record the observations of a round's turns, during which others kept `foreign` CPUs busy.

    A serial cell that had several turns is noted as their mean. Any other cell is noted with the serial time of the
    same work, if there was a turn of the serial cell on both sides.
    """
    serial_turns: dict[int, tuple[RunningCell, list[Observation]]] = {}
    for number, (cell, observation) in enumerate(turns):
        if cell.is_serial:
            serial_turns.setdefault(id(cell), (cell, []))[1].append(observation)
            continue
        beside = [seen for other, seen in turns[max(0, number - 1) : number + 2] if other.is_serial_of(cell)]
        scale = cell.repeats / cell.job.repeats
        serial = scale * (beside[0].wall + beside[1].wall) / 2 if len(beside) == 2 else None
        cell.seen.append(evolve(observation, foreign=foreign, serial=serial))
    for cell, seen_in_turns in serial_turns.values():
        cell.seen.append(evolve(_mean(seen_in_turns), foreign=foreign))


def _mean(observations: Sequence[Observation]) -> Observation:
    """Return the mean of what was observed in several turns of a round."""
    if len(observations) == 1:
        return observations[0]
    sums = {
        name: sum(getattr(seen, name) for seen in observations) / len(observations)
        for name in ("wall", "cpu", "blocked", "harness")
    }
    delays = [seen.run_delay for seen in observations if seen.run_delay is not None]
    delay = sum(delays) / len(delays) if len(delays) == len(observations) else None
    return evolve(observations[0], run_delay=delay, **sums)
