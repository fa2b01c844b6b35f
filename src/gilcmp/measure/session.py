"""One comparison being measured: its pools, its cells, its rounds; and several in turns."""

from __future__ import annotations

import contextlib
import gc
import math
import multiprocessing
import os
import pickle
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from attrs import define, evolve, frozen

from gilcmp._version import __version__
from gilcmp.judge.comparison import Comparison
from gilcmp.judge.verdict import GRANTED, MIN_ROUNDS
from gilcmp.measure.clocks import observe, task_spans
from gilcmp.measure.cpus import Bystanders
from gilcmp.measure.executors import PoolError
from gilcmp.measure.gauge import Gauge
from gilcmp.measure.jobs import make_jobs
from gilcmp.measure.lock import GilUse
from gilcmp.measure.machine import environment
from gilcmp.measure.pool import Pool
from gilcmp.measure.request import SENT, FunctionWork, KernelWork, Request, Work
from gilcmp.measure.running import COMFORTABLE, RunningCell, in_need, note, orders
from gilcmp.measure.steady import few_blas_threads, frozen_garbage
from gilcmp.measure.strategies import Strategy, strategies
from gilcmp.saved.observation import Observation
from gilcmp.saved.run import PoolStart, Run, Settings
from gilcmp.show import words

LIGHT = 100_000  # bytes of a task: it takes no time to send fewer
SOON = 0.5  # seconds that sending may take whatever the budget is: a pass of each cell is always measured, if it can be
LOOKED_AT = 0.02  # seconds, at least, for which the GIL is looked at while several workers run
TURN = 0.1  # seconds into which the passes of a turn should fit where tasks are sent
ENOUGH = 24  # quiet rounds of a cell after which more would hardly narrow its interval


@frozen
class Progress:
    """How far a comparison is: what is being done, the share done (0 to 1), and the seconds left.

    `calls`: how often the user's functions will be called, about; told once, before the rounds.
    """

    what: str
    done: float
    left: float
    calls: int | None = None


class Session:
    """One comparison being measured.

    Parameters
    ----------
    work, **arguments
        Those of `compare`.
    progress : callable or None
        Called before each cell.
    gate : callable or None
        Called before each round of a kernel, in place of the budget: it may block, and returns whether to measure
        another one. Sessions in several interpreters take turns by it.
    """

    def __init__(
        self,
        work: Work,
        progress: Callable[[Progress], None] | None = None,
        gate: Callable[[], bool] | None = None,
        **arguments: Any,
    ) -> None:
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            raise RuntimeError(
                "compare() was called while a worker process imports the main script: put what the script does "
                "under 'if __name__ == \"__main__\":'"
            )
        self._began = time.perf_counter()
        self._environment = environment()
        self._request = Request.of(work, cpus=self._environment.cpus, **arguments)
        self._progress = progress
        self.gate = gate
        self._gauge = Gauge()
        self._pools: dict[tuple[str, int], Pool] = {}
        self._pool_errors: dict[tuple[str, int], str] = {}
        self._startups: list[PoolStart] = []
        self._cells: list[RunningCell] = []
        self._notes: list[str] = []
        self._called: Counter[int] = Counter()
        self._complete = False
        self._created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())

    def measure(self) -> Comparison:
        """Measure everything and return it."""
        (result,) = measure_together([self])
        if isinstance(result, BaseException):
            raise result
        return result

    def begin(self) -> list[_Group]:
        """Open the pools, calibrate, and return what is to be measured."""
        self._began = time.perf_counter()
        self._open_pools()
        groups = [self._group(work) for work in self._request.works]
        # what is left of the budget, shared evenly; the workers end about as fast as they started
        ending = sum(start.startup for start in self._startups)
        left = max(0.0, self._deadline - ending - time.perf_counter())
        for group in groups:
            group.share = left / len(groups)
        return groups

    def end(self, error: BaseException | None = None) -> Comparison | BaseException:
        """Close the pools; return what was measured, or the error that ended it, with what was measured until then."""
        self._complete = error is None
        if self._complete:
            self._weigh_workers()
        self._close_pools(at_once=not self._complete)
        if error is None:
            self._tell("done")
            return self.comparison()
        with contextlib.suppress(Exception):  # an exception without room for an attribute goes without it
            error.comparison = self.comparison()  # type: ignore[attr-defined]
        return error

    def comparison(self) -> Comparison:
        """Return what has been measured so far."""
        return Comparison(
            Run(
                gilcmp=__version__,
                created=self._created,
                complete=self._complete,
                environment=self._environment,
                settings=Settings(
                    self._request.budget, self._request.seed, self._request.size, self._request.blas_threads
                ),
                pools=self._startups,
                cells=[cell.record() for cell in self._cells],
                notes=list(dict.fromkeys([*(note for cell in self._cells for note in cell.job.notes), *self._notes])),
            )
        )

    @property
    def _deadline(self) -> float:
        return self._began + self._request.budget

    @property
    def blas_threads(self) -> int | None:
        """How many threads BLAS may use meanwhile; None: as many as it does."""
        return self._request.blas_threads

    def may_call(self, turns: Sequence[RunningCell]) -> bool:
        """Tell whether these turns call no function more often than the user allows."""
        most = self._request.max_calls
        if most is None:
            return True
        wanted: Counter[int] = Counter()
        for cell in turns:
            wanted[id(cell.job)] += cell.calls
        return all(self._called[job] + calls <= most for job, calls in wanted.items())

    def _tell(self, what: str, calls: int | None = None) -> None:
        if self._progress is not None:
            elapsed = time.perf_counter() - self._began
            done = 1.0 if what == "done" else min(1.0, elapsed / self._request.budget if self._request.budget else 1.0)
            self._progress(Progress(what, done, max(0.0, (1 - done) * self._request.budget), calls))

    def _open_pools(self) -> None:
        # processes first: a fork copies locks that threads hold, and there are no threads yet
        order = sorted(self._request.strategies, key=lambda strategy: not strategy.name.startswith("processes"))
        for strategy in order:
            for workers in self._request.workers:
                self._tell(f"starting {strategy.name} x {workers}")
                self._open_pool(strategy, workers)
        self._pools["serial", 1] = Pool.open(strategies["serial"], 1)

    def _open_pool(self, strategy: Strategy, workers: int) -> None:
        key = strategy.name, workers
        try:
            pool = self._pools[key] = Pool.open(strategy, workers)
            if not any((start.strategy, start.workers) == key for start in self._startups):
                self._startups.append(PoolStart(*key, pool.startup, pool.hand_over()))
        except PoolError as error:
            if key in self._pools:
                self._pools.pop(key).close(at_once=True)
            self._pool_errors[key] = f"{strategy.name} x {workers}: {error}"
        else:
            return
        gc.collect()  # a half-opened pool holds file descriptors

    def _weigh_workers(self) -> None:
        """Note what memory the workers take, now that they have done everything."""
        self._startups = [
            evolve(start, memory=pool.memory()) if pool is not None else start
            for start in self._startups
            for pool in [self._pools.get((start.strategy, start.workers))]
        ]

    def _close_pools(self, *, at_once: bool) -> None:
        for pool in self._pools.values():
            pool.close(at_once=at_once)
        self._pools.clear()
        self._gauge.close()

    def _group(self, work: KernelWork | FunctionWork) -> _Group:
        """Calibrate a kernel's cells and run each for a first time."""
        self._tell("calibrating")
        cells = []
        cpus = self._environment.cpus
        for job in make_jobs(work, self._request.seed, self._request.n_tasks, self._request.most_handed):
            self._called[id(job)] += 2 * len(job.tasks)
            cells.append(RunningCell(job, strategies["serial"], 1, cpus))
            cells += [
                RunningCell(job, strategy, n, cpus, gauge=self._gauge)
                for strategy in self._request.strategies
                for n in self._request.workers
            ]
        self._cells += cells
        # The imports of the kernels are over: what they did to the GIL of a free-threaded build shows now.
        self._environment = evolve(environment(), load=self._environment.load)
        for cell in cells:
            key = cell.strategy.name, cell.workers
            cell.error = self._pool_errors.get(key) or (cell.job.unsendable if cell.strategy.isolated else None)
            if cell.strategy.coroutines and cell.job.coroutine is None:
                cell.error = f"{cell.strategy.name} runs coroutine functions, and {cell.job.implementation} is none"
        deadline = time.perf_counter() + (self._deadline - time.perf_counter()) / len(self._request.works)
        if isinstance(work, FunctionWork):
            self._plan_sending(cells, deadline)
        slow = False
        for cell in cells:  # a first time for every cell, unless that alone would take the budget
            if not slow and not (cell.sending and cell.pass_time > TURN):
                before = time.perf_counter()
                with GilUse(watch=cell.workers > 1 and cell.strategy.name == "threads") as gil:
                    blocked = self._some_time(cell)
                cell.lock_waits = gil.lock_waits(cell.threads)
                if cell.shares_gil:
                    cell.gil_held, waited = gil.held, gil.waited(cell.threads)
                    if waited is not None and blocked > 0:
                        cell.gil_waited = min(1.0, waited / blocked)
                took = cell.took = time.perf_counter() - before
                slow = took > 0.5 and time.perf_counter() + took * len(cells) > deadline
        if isinstance(work, FunctionWork):
            self._tell_calls(cells, deadline)
        return _Group(self, cells, orders(cells, self._request.seed))

    def _some_time(self, cell: RunningCell) -> float:
        """Run a cell, or a short one several times, and return how long its workers were blocked, in seconds."""
        blocked = 0.0
        once = cell.workers == 1 or self._request.max_calls is not None
        end = time.perf_counter() + LOOKED_AT
        while True:
            seen = self._once(cell, 1)
            blocked += seen.blocked if seen is not None else 0.0
            if once or seen is None or time.perf_counter() > end:
                return blocked

    def _plan_sending(self, cells: Sequence[RunningCell], deadline: float) -> None:
        """Measure what it takes to send a task, and let the cells do no more of that than fits."""
        costs: dict[tuple[int, str], tuple[float, int | None]] = {}
        planned = 0.0
        for cell in cells:
            if cell.error or not cell.strategy.sends:
                continue
            key = id(cell.job), cell.strategy.name
            if key not in costs:
                cost = self._sending(cell)
                if cost is None:
                    continue
                costs[key] = cost
            cell.sending, cell.bytes_back = costs[key]
            cell.own_repeats = max(1, min(cell.job.repeats, int(TURN / max(cell.pass_time, 1e-9))))
            if cell.pass_time <= TURN:
                continue
            planned += cell.pass_time
            if planned > SOON and time.perf_counter() + planned > deadline:
                planned -= cell.pass_time
                cell.error = (
                    f"{cell.name}: sending a task and its answer takes {words.seconds(cell.sending)}, and a pass of "
                    f"{len(cell.job.tasks)} tasks about {words.seconds(cell.pass_time)}: more than is left of the "
                    "budget"
                )

    def _sending(self, cell: RunningCell) -> tuple[float, int | None] | None:
        """Return the seconds to send a task of middling size and its answer, and the bytes of that; None: it failed."""
        job = cell.job
        middling = sorted(range(len(job.sizes)), key=job.sizes.__getitem__)[len(job.sizes) // 2] if job.sizes else 0
        function, tasks = job.round_work(sends=True, repeats=1)
        with self._failures_of(cell):
            self._called[id(job)] += SENT
            pool = self._pools[cell.strategy.name, cell.workers]
            light = not job.sizes or job.sizes[middling] < LIGHT
            seconds, sample = pool.send(function, tasks[middling], tasks, light=light)
            if sample.process == os.getpid() and not cell.strategy.isolated:
                return None  # a runner of the user's whose workers are here
            return seconds, len(pickle.dumps(sample.part)) if cell.strategy.isolated else None
        return None

    def _tell_calls(self, cells: Sequence[RunningCell], deadline: float) -> None:
        """Say how often the functions are going to be called, as far as it can be foreseen."""
        turns = next(orders(cells, 0))
        seconds = sum(cell.took or cell.pass_time * cell.repeats for cell in turns if not cell.error)
        per_round = sum(cell.calls for cell in turns if not cell.error)
        rounds = max(1.0, (deadline - time.perf_counter()) / max(seconds, 1e-6))
        calls = round(self._called.total() + per_round * rounds)
        most = self._request.max_calls
        self._tell("calling", calls if most is None else min(calls, most * len({id(cell.job) for cell in cells})))

    def round(self, order: Sequence[RunningCell], number: int) -> None:
        """Run the cells in turns; a round that does not end counts for none of them."""
        bystanders = Bystanders(set().union(*(pool.outside for pool in self._pools.values())))
        turns: list[tuple[RunningCell, Observation]] = []
        for cell in in_need(order, number):
            if cell.is_serial and turns and turns[-1][0] is cell:
                continue  # what should have stood between two turns of the serial cell was left out
            observation = self._turn(cell, number)
            if observation is not None:
                turns.append((cell, observation))
        note(turns, bystanders.lap())

    def _turn(self, cell: RunningCell, number: int) -> Observation | None:
        """Run a cell once, when the CPUs that it wants are there, and note whether they still were afterwards."""
        wants = cell.wants
        if wants < 2 or cell.error:
            return self._once(cell, number)
        # rounds come first: without six of them nothing can be said
        before = self._gauge.read(wants) if len(cell.seen) < MIN_ROUNDS else self._gauge.wait(wants)
        if before and self._gauge.share(before, wants) < GRANTED and len(cell.seen) >= COMFORTABLE:
            return None  # it would hardly count
        observation = self._once(cell, number)
        after = self._gauge.read(wants)
        if before and after and observation:
            cell.readings[number] = min(before, after)
        return observation

    def _once(self, cell: RunningCell, number: int) -> Observation | None:
        if cell.error:
            return None
        self._tell(cell.name)
        gc.collect()
        ran = None
        with self._failures_of(cell):
            work = cell.job.round_work(
                coroutine=cell.strategy.coroutines,
                batches=cell.batches,
                passes=cell.passes,
                sends=cell.strategy.sends,
                repeats=cell.own_repeats,
            )
            self._called[id(cell.job)] += cell.calls
            ran = self._pools[cell.strategy.name, cell.workers].run(*work, keep_place=cell.keeps_place)
        if ran is None:
            return None
        samples, start, end, process_cpu = ran
        parts = [sample.part for sample in samples]
        try:
            cell.job.check(parts, batches=cell.batches, passes=cell.passes)
        except Exception as error:
            error.add_note(f"gilcmp: found in the cell {cell.name}")
            raise
        other = f"{cell.name}: the answers differ from those of the first serial pass"
        if other not in self._notes and not cell.job.batched and cell.job.differs(parts):
            self._notes.append(other)
        here = all(sample.process == os.getpid() for sample in samples)
        apart = cell.strategy.isolated or cell.strategy.coroutines
        cell.shares_gil = here and not apart and self._environment.gil_enabled
        cell.latest = task_spans(samples, start)
        cell.threads = {sample.thread for sample in samples}
        observation = observe(samples, start, end, process_cpu, round_number=number)
        cell.most_cores = max(cell.most_cores, observation.cores)
        return observation

    @contextlib.contextmanager
    def _failures_of(self, cell: RunningCell) -> Iterator[None]:
        """Let a pool that fails be the error of its cells, and name the cell in what a task raises."""
        key = cell.strategy.name, cell.workers
        try:
            yield
        except PoolError as error:
            cell.error = f"{cell.name}: {error}"
            if error.workers_died:  # the others of this pool get a new one
                self._pools.pop(key).close(at_once=True)
                self._open_pool(cell.strategy, cell.workers)
                for other in self._cells:
                    if (other.strategy.name, other.workers) == key:
                        other.error = other.error or self._pool_errors.get(key)
        except Exception as error:
            if cell.strategy.name == "interpreters" and isinstance(error, ImportError):
                # not every extension loads beside the main interpreter: that is a result, not a failure
                cell.error = f"{cell.name}: {' '.join(str(error).split())[:200]}"
                return
            error.add_note(f"gilcmp: raised in the cell {cell.name}")
            raise

    def enough(self, cells: Sequence[RunningCell]) -> bool:
        """Tell whether further rounds of these cells would hardly narrow their intervals."""
        return all(cell.error or cell.quiet >= ENOUGH for cell in cells)


@define
class _Group:
    """The cells of one kernel, or of a user's functions, measured round by round.

    Attributes
    ----------
    share : float
        Seconds that its rounds may take.
    spent : float
        Seconds that they took.
    number : int
        How many there were.
    done : bool
        Whether the share is used up, or there were enough.
    """

    session: Session
    _cells: Sequence[RunningCell]
    _orders: Iterator[list[RunningCell]]
    share: float = 0.0
    spent: float = 0.0
    number: int = 0
    done: bool = False
    _next: list[RunningCell] | None = None

    def round(self) -> None:
        """Measure one more round."""
        order = self._next or next(self._orders)
        self.number += 1
        before = time.perf_counter()
        self.session.round(order, self.number)
        took = time.perf_counter() - before
        self.spent += took
        enough = self.number >= ENOUGH and self.session.enough(self._cells)
        self._next = next(self._orders)
        self.done = self.spent + took > self.share or enough or not self.session.may_call(self._next)


def measure_together(sessions: Sequence[Session]) -> list[Comparison | BaseException]:
    """Measure several comparisons, and the kernels of each, in turn, round by round.

    So each sees the machine over the whole time, and two equal runs differ by no more than their intervals say; a
    kernel measured in one go would see only how fast the machine was in those seconds.

    Returns
    -------
    list of Comparison or Exception
        For each session what was measured, or the error that ended it, which ends no other.
    """
    results: dict[int, Comparison | BaseException] = {}
    limits = [session.blas_threads for session in sessions if session.blas_threads is not None]
    with few_blas_threads(min(limits, default=None)), frozen_garbage():
        try:
            groups: list[_Group] = []
            for session in sessions:
                try:
                    groups += session.begin()
                except Exception as error:
                    results[id(session)] = session.end(error)
            while groups:
                # the group that has used least of its share
                group = min(
                    groups, key=lambda candidate: candidate.spent / candidate.share if candidate.share else math.inf
                )
                try:
                    _advance(group)
                except Exception as error:
                    results[id(group.session)] = group.session.end(error)
                groups = [
                    candidate for candidate in groups if not candidate.done and id(candidate.session) not in results
                ]
        except BaseException as error:  # Ctrl-C ends them all
            for session in reversed(sessions):
                if id(session) not in results:
                    results[id(session)] = session.end(error)
            raise
        for session in sessions:
            if id(session) not in results:
                results[id(session)] = session.end()
    return [results[id(session)] for session in sessions]


def _advance(group: _Group) -> None:
    gate = group.session.gate
    if gate is None:
        group.round()
        return
    while gate():  # who grants the rounds takes one kernel after the other
        group.round()
    group.done = True
