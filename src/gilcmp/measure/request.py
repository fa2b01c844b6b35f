"""The checked arguments of a comparison: every error about an argument is raised here, before the measuring."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeAlias

from attrs import frozen

from gilcmp.base.calls import name_of
from gilcmp.base.checks import Duration, duration, integer
from gilcmp.compute.kernel import Kernel, unavailable
from gilcmp.compute.registry import kernels
from gilcmp.measure.answers import refuse_iterators
from gilcmp.measure.strategies import Strategy, StrategyName, resolve

DEFAULT_STRATEGIES: tuple[StrategyName, ...] = ("serial", "threads", "processes")
TASKS_PER_WORKER = 4  # so that uneven tasks even out
MIN_TASKS = 16
MAX_TASKS = 10**7
# Tasks of a user's that are handed over one by one in a round: each costs a pool some 0.1 ms, and a function
# that takes nanoseconds would otherwise be handed over a million times.
MAX_HANDED_OVER = 500
SENT = 13  # calls, at most, by which a strategy's price of sending a task is measured
ROUNDS = 8  # that calls are shared among, if the user allows only so many
MAX_KERNEL_TASKS = 10_000  # handing over more takes longer than any round should

Work: TypeAlias = str | Kernel | Callable[..., Any] | Mapping[str, Callable[..., Any]] | Sequence[str | Kernel]
Check: TypeAlias = Callable[[Sequence[Any]], bool]


@frozen
class KernelWork:
    """A kernel that is asked for: which of its implementations, and its size (None: calibrated for each).

    `sizes`: those of its implementations that were calibrated elsewhere.
    """

    kernel: Kernel
    implementations: tuple[str, ...]
    size: int | None
    sizes: Mapping[str, int] = {}


@frozen
class FunctionWork:
    """Functions of the user's, by name.

    Attributes
    ----------
    functions : mapping of str to callable
        The functions.
    tasks : tuple or None
        Their arguments, one call each; None: they are called without one.
    check : callable or None
        ``check(answers)`` says whether they are right.
    star : bool
        Whether a task is a tuple of arguments.
    """

    functions: Mapping[str, Callable[..., Any]]
    tasks: tuple[Any, ...] | None
    check: Check | None
    star: bool = False


@frozen
class Request:
    """The checked arguments of a comparison.

    Attributes
    ----------
    works : tuple of KernelWork or FunctionWork
        What is compared.
    strategies : list of Strategy
        Which are measured beside serial.
    workers : list of int
        How many each of them gets, rising.
    n_tasks : int
        Into how many tasks a kernel's work is split, or how often functions without arguments are called.
    budget : float
        Seconds.
    seed : int
        Seed of the inputs and of the order of the cells.
    size : str or int or None
        The size asked for.
    max_calls : int or None
        How often a function may be called, all in all.
    blas_threads : int or None
        Threads that BLAS may use meanwhile; None: as many as it does by itself.
    """

    works: tuple[KernelWork | FunctionWork, ...]
    strategies: list[Strategy]
    workers: list[int]
    n_tasks: int
    budget: float
    seed: int
    size: str | int | None
    max_calls: int | None = None
    blas_threads: int | None = None

    @property
    def n_cells(self) -> int:
        """How many cells each implementation has."""
        return 1 + len(self.strategies) * len(self.workers)

    @property
    def most_handed(self) -> int:
        """How many tasks of a user's a round hands over at most."""
        if self.max_calls is None:
            return MAX_HANDED_OVER
        return min(MAX_HANDED_OVER, self.max_calls // (2 * self.n_cells * ROUNDS))

    @classmethod
    def of(
        cls,
        work: Any,
        *,
        cpus: float,
        tasks: Iterable[Any] | int | None = None,
        implementations: str | Iterable[str] | None = None,
        strategies: Any = DEFAULT_STRATEGIES,
        workers: int | Iterable[int] | None = None,
        size: str | int | None = None,
        budget: Duration = 10.0,
        seed: int = 0,
        check: Check | None = None,
        star: bool = False,
        max_calls: int | None = None,
        blas_threads: int | None = None,
        sizes: Mapping[str, Mapping[str, int]] | None = None,
    ) -> Request:
        """Check the arguments of `gilcmp.compare`, which documents them, on a machine with so many CPUs.

        `sizes`: of implementations, by kernel, where another interpreter has calibrated them.
        """
        counts = worker_counts(workers, cpus)
        seed = integer("seed", seed, 0, 2**63 - 1)
        n_tasks = max(MIN_TASKS, TASKS_PER_WORKER * counts[-1])
        if isinstance(tasks, int):
            tasks = n_tasks = integer("tasks", tasks, 1, MAX_TASKS)
        chosen = [implementations] if isinstance(implementations, str) else implementations
        names = None if chosen is None else list(chosen)
        if callable(work):
            work = {name_of(work, short=True): work}
        works: tuple[KernelWork | FunctionWork, ...]
        if isinstance(work, Mapping):
            _no_kernel_arguments(names, size)
            arguments = _arguments(tasks)
            _check_star(arguments, star=star)
            works = (FunctionWork(_functions(work), arguments, check, star),)
        else:
            if check is not None:
                raise ValueError("check is for functions: kernels check themselves")
            if star or max_calls is not None:
                raise ValueError("star and max_calls are for functions, not for kernels")
            blas_threads = 1 if blas_threads is None else blas_threads
            works = tuple(
                KernelWork(
                    kernel,
                    implementation_names(kernel, names),
                    None if size is None else kernel.size(size),
                    (sizes or {}).get(kernel.name, {}),
                )
                for kernel in _kernels(work, tasks, names)
            )
        request = cls(
            works=works,
            strategies=[strategy for strategy in resolve(strategies) if strategy.name != "serial"],
            workers=counts,
            n_tasks=n_tasks,
            budget=duration("budget", budget, 1e-6, 1e6),
            seed=seed,
            size=size,
            max_calls=None if max_calls is None else integer("max_calls", max_calls, 1, 2**63 - 1),
            blas_threads=None if blas_threads is None else integer("blas_threads", blas_threads, 1, 4096),
        )
        request.check_calls()
        return request

    def check_calls(self) -> None:
        """Raise ValueError where fewer calls are allowed than one pass in each cell takes."""
        if self.max_calls is None:
            return
        sent = SENT * sum(strategy.sends for strategy in self.strategies)
        for work in self.works:
            n = len(work.tasks or ()) or self.n_tasks if isinstance(work, FunctionWork) else 0
            needed = (2 + 2 * self.n_cells) * n + sent
            if self.max_calls < needed:
                raise ValueError(f"max_calls must allow a pass in each cell, at least {needed}, got {self.max_calls}")


def default_workers(cpus: float) -> list[int]:
    """Return 1, 2, 4, … up to the CPUs that may be used, those CPUs themselves, and twice as many."""
    whole = max(1, int(cpus))
    steps = {2**power for power in range(whole.bit_length())}
    return sorted(steps | {whole, 2 * whole})


def worker_counts(workers: int | Iterable[int] | None, cpus: float) -> list[int]:
    """Return the numbers of workers that a user asked for, rising; None: what suits so many CPUs."""
    if workers is None:
        return default_workers(cpus)
    listed = list(workers) if isinstance(workers, Iterable) else [workers]
    if not listed:
        raise ValueError("workers must hold at least one number, got none")
    return sorted({integer("workers", count, 1, 4096) for count in listed})


def _no_kernel_arguments(implementations: list[str] | None, size: str | int | None) -> None:
    for name, value in (("implementations", implementations), ("size", size)):
        if value is not None:
            raise ValueError(f"{name} is for kernels, not for functions, got {value!r}")


def _functions(work: Mapping[Any, Any]) -> dict[str, Callable[..., Any]]:
    if not work:
        raise ValueError("work must hold at least one function, got none")
    for name, function in work.items():
        if not callable(function):
            raise TypeError(f"work[{name!r}] must be callable, got {type(function).__name__}")
    return {str(name): function for name, function in work.items()}


def _arguments(tasks: Iterable[Any] | int | None) -> tuple[Any, ...] | None:
    if tasks is None or isinstance(tasks, int):
        return None
    arguments = tuple(tasks)
    if not arguments:
        raise ValueError("tasks must hold at least one task, got none")
    refuse_iterators(arguments)
    return arguments


def _check_star(arguments: tuple[Any, ...] | None, *, star: bool) -> None:
    if not star:
        return
    if arguments is None:
        raise ValueError("star=True needs tasks, each of them a tuple of arguments")
    for number, task in enumerate(arguments):
        if not isinstance(task, tuple | list):
            raise TypeError(f"with star=True, tasks[{number}] must be a tuple of arguments, got {type(task).__name__}")


def _kernels(work: Any, tasks: Any, implementations: Sequence[str] | None) -> list[Kernel]:
    """Return the named kernels, after checking the arguments that apply to all of them."""
    if tasks is not None and not isinstance(tasks, int):
        raise TypeError(f"for a kernel, tasks must be how many, got {type(tasks).__name__}")
    if tasks is not None:
        integer("tasks", tasks, 1, MAX_KERNEL_TASKS)
    if implementations is not None and not implementations:
        raise ValueError("implementations must name at least one, got none")
    if isinstance(work, str | Kernel):
        work = [work]
    if not isinstance(work, Iterable):
        raise TypeError(f"work must be a kernel's name or callable, got {work!r}")
    chosen = []
    for wanted in work:
        kernel = kernels.get(wanted) if isinstance(wanted, str) else wanted
        if not isinstance(kernel, Kernel):
            close = get_close_matches(wanted, kernels, 1) if isinstance(wanted, str) else []
            meant = f": did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"kernel must be one of {', '.join(kernels)}, got {wanted!r}{meant}")
        if kernel in chosen:
            raise ValueError(f"kernels must not repeat, got {kernel.name!r} twice")
        chosen.append(kernel)
    if not chosen:
        raise ValueError("work must name at least one kernel, got none")
    return chosen


def implementation_names(kernel: Kernel, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """Return the implementations that a user named, in the registry's order; None: all that are available."""
    if wanted is None:
        return tuple(name for name in kernel.implementations if unavailable(name) is None)
    for name in wanted:
        if name not in kernel.implementations:
            known = ", ".join(kernel.implementations)
            raise ValueError(f"implementation must be one of {known}, got {name!r}")
        reason = unavailable(name)
        if reason is not None:
            raise ValueError(f"implementation {name!r} is not available: {reason}")
        if wanted.count(name) > 1:
            raise ValueError(f"implementations must not repeat, got {name!r} twice")
    # in the registry's order, so that a twin comes after the one whose size it takes
    return tuple(name for name in kernel.implementations if name in wanted)
