"""Plan the cells of a comparison, run the rounds, return what was found."""

from __future__ import annotations

import contextlib
import gc
import math
import multiprocessing
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from attrs import define, evolve, field, frozen

from gilcmp._version import __version__
from gilcmp.accounting import Bystanders, Observation, TaskSpan, observe, task_spans
from gilcmp.comparison import Comparison
from gilcmp.environment import environment
from gilcmp.jobs import Job
from gilcmp.request import DEFAULT_STRATEGIES, Check, Request, Work
from gilcmp.results import CellRecord, PoolStart, Run, Settings
from gilcmp.strategies import Pool, PoolError, Strategy, strategies
from gilcmp.verdict import is_quiet

ENOUGH = 24  # quiet rounds of a cell after which more would hardly narrow its interval
# BLAS libraries that a worker process loads by itself read these; in this process threadpoolctl tells them.
ONE_BLAS_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"), "1")


@frozen
class Progress:
    """How far a comparison is: what is being done, the share done (0 to 1), and the seconds left."""

    what: str
    done: float
    left: float


@define
class _Plan:
    """One cell on its way: its job, where it runs, and what was observed so far."""

    job: Job
    strategy: Strategy
    workers: int
    shares_gil: bool = False
    error: str | None = None
    seen: list[Observation] = field(factory=list)
    latest: list[TaskSpan] = field(factory=list)

    @property
    def name(self) -> str:
        return f"{self.job.kernel}, {self.job.implementation}, {self.strategy.name} x {self.workers}"

    def record(self) -> CellRecord:
        job = self.job
        return CellRecord(
            kernel=job.kernel,
            implementation=job.implementation,
            strategy=self.strategy.name,
            workers=self.workers,
            kernel_version=job.version,
            size=job.size,
            unit=job.unit,
            work=job.work * job.repeats,
            tasks=len(job.tasks),
            repeats=job.repeats,
            shares_gil=self.shares_gil,
            error=self.error,
            rounds=list(self.seen),
            latest=self.latest,
        )


def compare(
    work: Work,
    *,
    tasks: Iterable[Any] | int | None = None,
    implementations: str | Iterable[str] | None = None,
    strategies: Any = DEFAULT_STRATEGIES,
    workers: int | Iterable[int] | None = None,
    size: str | int | None = None,
    budget: float = 10.0,
    seed: int = 0,
    check: Check | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Comparison:
    """Measure what each strategy makes of some work.

    Every cell (implementation x strategy x workers) does the same list of tasks. Rounds run all cells in
    shuffled, mirrored order; a speed-up is the median, over the rounds in which the cells got the CPUs they
    wanted, of the serial cell's wall time over the cell's own, in the same round.

    Parameters
    ----------
    work : str, Kernel, callable, mapping of str to callable, or sequence of kernels
        A kernel's name (see `gilcmp.kernels`), several of them, or functions of your own. For processes a
        function must be importable by them: lambdas and closures give an error for those cells alone.
    tasks : iterable or int, optional
        For functions: the arguments, one call each; a number means so many calls without an argument. For
        kernels: into how many tasks the work is split.
    implementations : str or iterable of str, optional
        For kernels: which of their implementations; by default all that are available.
    strategies : str, callable, Strategy, mapping of str to callable, or an iterable of these
        Names of `gilcmp.strategies`, or executor factories: ``factory(workers)`` returns a
        `concurrent.futures.Executor`. The serial cells are always measured.
    workers : int or iterable of int, optional
        How many; by default 1, 2, 4, … up to the CPUs this process may use, and twice those.
    size : str or int, optional
        For kernels: ``small``, ``medium``, ``large`` or a number; by default it is calibrated for each
        implementation so that a cell takes 20 to 100 ms.
    budget : float
        Seconds that it may take in all. What is begun is finished, and at least one round is measured.
    seed : int
        Seed of the kernels' inputs and of the order of the cells.
    check : callable, optional
        For functions: ``check(answers)`` gets the answers of a pass in the order of the tasks and returns
        whether they are right. Kernels check themselves.
    progress : callable, optional
        Called before each cell with a `Progress`.

    Returns
    -------
    Comparison
        The cells, with their estimates and verdicts.

    Raises
    ------
    ValueError, TypeError
        For arguments that are not allowed.
    WrongAnswer
        When a cell's answer is not the reference's.
    Exception
        What a task raises, with a note that names the cell. Whatever ends the measuring early, Ctrl-C
        included, carries the finished rounds as its attribute ``comparison``.
    """
    return Session(
        work,
        progress,
        tasks=tasks,
        implementations=implementations,
        strategies=strategies,
        workers=workers,
        size=size,
        budget=budget,
        seed=seed,
        check=check,
    ).measure()


class Session:
    """One comparison being measured.

    Parameters
    ----------
    work, **arguments
        Those of `compare`.
    progress : callable or None
        Called before each cell.
    gate : callable or None
        Called before each round of a kernel, in place of the budget: may take its time, and returns whether there is
        to be another one. Sessions in several interpreters take turns by it.
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
        self._pools: dict[tuple[str, int], Pool] = {}
        self._pool_errors: dict[tuple[str, int], str] = {}
        self._startups: list[PoolStart] = []
        self._plans: list[_Plan] = []
        self._complete = False
        self._created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())

    def measure(self) -> Comparison:
        """Measure everything and return it."""
        (found,) = measure_together([self])
        if isinstance(found, BaseException):
            raise found
        return found

    def begin(self) -> list[_Group]:
        """Open the pools, calibrate, and return what is to be measured."""
        self._began = time.perf_counter()
        self._open_pools()
        groups = [self._group(make_jobs) for make_jobs in self._request.groups]
        # what is left of the budget, shared evenly
        left = max(0.0, self._deadline - time.perf_counter())
        for group in groups:
            group.share = left / len(groups)
        return groups

    def end(self, error: BaseException | None = None) -> Comparison | BaseException:
        """Close the pools; return what was measured, or the error that ended it, with what was measured until then."""
        self._complete = error is None
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
                settings=Settings(self._request.budget, self._request.seed, self._request.size),
                pools=self._startups,
                cells=[plan.record() for plan in self._plans],
            )
        )

    @property
    def _deadline(self) -> float:
        return self._began + self._request.budget

    def _tell(self, what: str) -> None:
        if self._progress is not None:
            elapsed = time.perf_counter() - self._began
            done = (
                1.0
                if what == "done"
                else min(1.0, elapsed / self._request.budget if self._request.budget else 1.0)
            )
            self._progress(Progress(what, done, max(0.0, (1 - done) * self._request.budget)))

    def _open_pools(self) -> None:
        # processes first: a fork copies the threads' locks, and while there are no threads there is no harm
        order = sorted(
            self._request.strategies, key=lambda strategy: not strategy.name.startswith("processes")
        )
        for strategy in order:
            for workers in self._request.workers:
                self._tell(f"starting {strategy.name} x {workers}")
                self._open_pool(strategy, workers)
        self._pools["serial", 1] = Pool.open(strategies["serial"], 1)

    def _open_pool(self, strategy: Strategy, workers: int) -> None:
        key = strategy.name, workers
        try:
            pool = self._pools[key] = Pool.open(strategy, workers)
        except PoolError as error:
            self._pools.pop(key, None)
            self._pool_errors[key] = f"{strategy.name} x {workers}: {error}"
            return
        if not any((start.strategy, start.workers) == key for start in self._startups):
            self._startups.append(PoolStart(*key, pool.startup))

    def _close_pools(self, *, at_once: bool) -> None:
        for pool in self._pools.values():
            pool.close(at_once=at_once)
        self._pools.clear()

    def _group(self, make_jobs: Callable[[], list[Job]]) -> _Group:
        """Calibrate a kernel's cells and run each for a first time."""
        self._tell("calibrating")
        plans = []
        for job in make_jobs():
            plans.append(_Plan(job, strategies["serial"], 1))
            plans += [
                _Plan(job, strategy, n)
                for strategy in self._request.strategies
                for n in self._request.workers
            ]
        self._plans += plans
        # The imports of the kernels are over: what they did to the GIL of a free-threaded build shows now.
        self._environment = evolve(environment(), load=self._environment.load)
        for plan in plans:
            key = plan.strategy.name, plan.workers
            plan.error = self._pool_errors.get(key) or (
                plan.job.unsendable if plan.strategy.isolated else None
            )
            if plan.strategy.coroutines and plan.job.coroutine is None:
                plan.error = (
                    f"{plan.strategy.name} runs coroutine functions, and {plan.job.implementation} is none"
                )
        deadline = time.perf_counter() + (self._deadline - time.perf_counter()) / len(self._request.groups)
        slow = False
        for plan in plans:  # a first time for every cell, unless that alone would take the budget
            if not slow:
                before = time.perf_counter()
                self._once(plan, 1)
                took = time.perf_counter() - before
                slow = took > 0.5 and time.perf_counter() + took * len(plans) > deadline
        return _Group(self, plans, _orders(plans, self._request.seed))

    def round(self, order: Sequence[_Plan], number: int) -> None:
        """Run every cell once; a round that does not end counts for none of them."""
        bystanders = Bystanders()
        seen = [(plan, observation) for plan in order if (observation := self._once(plan, number))]
        foreign = bystanders.lap()
        for plan, observation in seen:
            plan.seen.append(evolve(observation, foreign=foreign))

    def _once(self, plan: _Plan, number: int) -> Observation | None:
        if plan.error:
            return None
        key = plan.strategy.name, plan.workers
        self._tell(plan.name)
        gc.collect()
        try:
            work = plan.job.round_work(coroutine=plan.strategy.coroutines)
            samples, start, end, process_cpu = self._pools[key].run(*work)
        except PoolError as error:
            plan.error = f"{plan.name}: {error}"
            if "died" in str(error):  # the others of this pool get a new one
                self._pools.pop(key).close(at_once=True)
                self._open_pool(plan.strategy, plan.workers)
                for other in self._plans:
                    if (other.strategy.name, other.workers) == key:
                        other.error = other.error or self._pool_errors.get(key)
            return None
        except Exception as error:
            if plan.strategy.name == "interpreters" and isinstance(error, ImportError):
                # not every extension loads beside the main interpreter: that is a result, not a failure
                plan.error = f"{plan.name}: {' '.join(str(error).split())[:200]}"
                return None
            error.add_note(f"gilcmp: raised in the cell {plan.name}")
            raise
        try:
            plan.job.check([sample.part for sample in samples])
        except Exception as error:
            error.add_note(f"gilcmp: found in the cell {plan.name}")
            raise
        here = all(sample.process == os.getpid() for sample in samples)
        apart = plan.strategy.isolated or plan.strategy.coroutines
        plan.shares_gil = here and not apart and self._environment.gil_enabled
        plan.latest = task_spans(samples, start)
        return observe(samples, start, end, process_cpu, round_number=number)

    def enough(self, plans: Sequence[_Plan]) -> bool:
        """Tell whether further rounds of these cells would hardly narrow their intervals."""
        cpus = self._environment.cpus
        return all(
            plan.error or sum(is_quiet(seen, plan.workers, cpus) for seen in plan.seen) >= ENOUGH
            for plan in plans
        )


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
    _plans: Sequence[_Plan]
    _orders: Iterator[list[_Plan]]
    share: float = 0.0
    spent: float = 0.0
    number: int = 0
    done: bool = False

    def round(self) -> None:
        """Measure one more round."""
        self.number += 1
        before = time.perf_counter()
        self.session.round(next(self._orders), self.number)
        took = time.perf_counter() - before
        self.spent += took
        enough = self.number >= ENOUGH and self.session.enough(self._plans)
        self.done = self.spent + took > self.share or enough


def measure_together(sessions: Sequence[Session]) -> list[Comparison | BaseException]:
    """Measure several comparisons, and the kernels of each, in turns: a round here and a round there.

    So each sees the machine over the whole time, and two runs of the same differ by no more than their intervals say; a
    kernel measured in one go would know only how fast the machine was in those seconds.

    Returns
    -------
    list of Comparison or Exception
        For each session what was measured, or the error that ended it, which ends no other.
    """
    found: dict[int, Comparison | BaseException] = {}
    with _one_blas_thread(), _frozen_garbage():
        try:
            groups: list[_Group] = []
            for session in sessions:
                try:
                    groups += session.begin()
                except Exception as error:
                    found[id(session)] = session.end(error)
            while groups:
                # the one that had least of what it may have
                group = min(groups, key=lambda one: one.spent / one.share if one.share else math.inf)
                try:
                    _advance(group)
                except Exception as error:
                    found[id(group.session)] = group.session.end(error)
                groups = [one for one in groups if not one.done and id(one.session) not in found]
        except BaseException as error:  # Ctrl-C ends them all
            for session in reversed(sessions):
                if id(session) not in found:
                    found[id(session)] = session.end(error)
            raise
        for session in sessions:
            if id(session) not in found:
                found[id(session)] = session.end()
    return [found[id(session)] for session in sessions]


def _advance(group: _Group) -> None:
    gate = group.session.gate
    if gate is None:
        group.round()
        return
    while gate():  # who grants the rounds takes one kernel after the other
        group.round()
    group.done = True


def _orders(plans: Sequence[_Plan], seed: int) -> Iterator[list[_Plan]]:
    """Yield the order of the cells for each round: shuffled, then the same backwards (ABBA), and so on.

    What drifts steadily over two such rounds adds as much to a ratio in the one as it takes off in the other.
    The cells of an implementation stay together, since the machine may change its speed within a second, and
    each is divided by their serial one.
    """
    shuffler = random.Random(seed)
    groups: dict[str, list[_Plan]] = {}
    for plan in plans:
        groups.setdefault(plan.job.implementation, []).append(plan)
    while True:
        shuffled = list(groups.values())
        shuffler.shuffle(shuffled)
        order = [plan for group in shuffled for plan in shuffler.sample(group, len(group))]
        yield order
        yield order[::-1]


@contextlib.contextmanager
def _frozen_garbage() -> Iterator[None]:
    """Keep the collector, which runs in the cells as it does in life, away from what was there before."""
    gc.collect()
    mine = gc.get_freeze_count() < 1000  # more were frozen by the user; 3.12 itself begins with some hundred
    if mine:
        gc.freeze()
    try:
        yield
    finally:
        if mine:
            gc.unfreeze()


@contextlib.contextmanager
def _one_blas_thread() -> Iterator[None]:
    """Keep BLAS to one thread: a serial cell that used all cores would leave nothing to compare."""
    from threadpoolctl import threadpool_limits

    with contextlib.suppress(ImportError):
        import numpy  # noqa: F401  # its BLAS must be loaded to be told
    before = {name: os.environ.get(name) for name in ONE_BLAS_THREAD}
    os.environ.update(ONE_BLAS_THREAD)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
