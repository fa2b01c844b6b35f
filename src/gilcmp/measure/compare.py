"""`compare`: measure some work under each strategy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from gilcmp.base.checks import Duration
from gilcmp.judge.comparison import Comparison
from gilcmp.measure.request import DEFAULT_STRATEGIES, Check, Work
from gilcmp.measure.session import Progress, Session
from gilcmp.measure.strategies import Wanted


def compare(
    work: Work,
    *,
    tasks: Iterable[Any] | int | None = None,
    implementations: str | Iterable[str] | None = None,
    strategies: Wanted = DEFAULT_STRATEGIES,
    workers: int | Iterable[int] | None = None,
    size: str | int | None = None,
    budget: Duration = 10.0,
    seed: int = 0,
    check: Check | None = None,
    star: bool = False,
    max_calls: int | None = None,
    blas_threads: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Comparison:
    """Measure some work under each strategy.

    Every cell (implementation x strategy x workers) does the same list of tasks. Rounds run all cells in
    shuffled, mirrored order; a speed-up is the median, over the rounds in which the cells got the CPUs they
    wanted, of the serial cell's wall time over the cell's own, in the same round.

    Parameters
    ----------
    work : str, Kernel, callable, mapping of str to callable, or sequence of kernels
        A kernel's name (see `gilcmp.kernels`), several of them, or functions of your own. Processes get a function by
        its name; lambdas, closures, and functions of a notebook are sent by value, where cloudpickle is installed, and
        give an error for those cells alone, where it is not.
    tasks : iterable or int, optional
        For functions: the arguments, one call each; a number means that many calls without arguments. For
        kernels: into how many tasks the work is split.
    implementations : str or iterable of str, optional
        For kernels: which of their implementations; by default all that are available.
    strategies : str, callable, Strategy, mapping of str to callable, or an iterable of these
        Names of `gilcmp.strategies`, or factories: ``factory(workers)`` returns a `concurrent.futures.Executor`, a
        pool of multiprocessing, a `joblib.Parallel`, or anything else with ``map(function, tasks)``. One of three
        arguments is a runner itself: ``runner(function, tasks, workers)`` returns the answers. The serial cells are
        always measured.
    workers : int or iterable of int, optional
        How many; by default 1, 2, 4, … up to the CPUs this process may use, and twice those.
    size : str or int, optional
        For kernels: ``small``, ``medium``, ``large`` or a number; by default it is calibrated for each
        implementation so that a cell takes 20 to 100 ms.
    budget : float or str
        Seconds that it may take in all, or a text such as "20s". What is begun is finished, and at least one round is
        measured. Cells whose tasks would take longer to send than is left are not measured, and say so.
    seed : int
        Seed of the kernels' inputs and of the order of the cells.
    check : callable, optional
        For functions: ``check(answers)`` gets the answers of a pass in the order of the tasks and returns
        whether they are right. Kernels check themselves.
    star : bool
        For functions: each task is a tuple of arguments.
    max_calls : int, optional
        For functions: how often each may be called at most, in all cells together. By default the budget decides.
    blas_threads : int, optional
        How many threads NumPy's BLAS may use meanwhile. By default one for kernels, and as many as it takes by itself
        for functions, whose serial time is then what you are used to.
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
        star=star,
        max_calls=max_calls,
        blas_threads=blas_threads,
    ).measure()
