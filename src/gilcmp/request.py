"""What a comparison is asked for, checked: every error about an argument comes from here, before the measuring."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from attrs import frozen

from gilcmp._checks import integer
from gilcmp.jobs import Job, function_jobs, implementation_names, kernel_jobs
from gilcmp.kernels import Kernel, kernels
from gilcmp.strategies import Strategy, resolve

DEFAULT_STRATEGIES = ("serial", "threads", "processes")
TASKS_PER_WORKER = 4  # so that uneven tasks even out
MIN_TASKS = 16
MAX_TASKS = 10**7
MAX_KERNEL_TASKS = 10_000  # handing over more takes longer than any round should

Work: TypeAlias = (
    str | Kernel | Callable[..., Any] | Mapping[str, Callable[..., Any]] | Sequence[str | Kernel]
)
Check: TypeAlias = Callable[[Sequence[Any]], bool]


@frozen
class Request:
    """The checked arguments of a comparison.

    Attributes
    ----------
    groups : list of callable
        Each makes the calibrated jobs of one kernel, or of the user's functions.
    strategies : list of Strategy
        Which are measured beside serial.
    workers : list of int
        How many each of them gets, rising.
    budget : float
        Seconds.
    seed : int
        Seed of the inputs and of the order of the cells.
    size : str or int or None
        The size asked for.
    """

    groups: list[Callable[[], list[Job]]]
    strategies: list[Strategy]
    workers: list[int]
    budget: float
    seed: int
    size: str | int | None

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
        budget: float = 10.0,
        seed: int = 0,
        check: Check | None = None,
    ) -> Request:
        """Check the arguments of `gilcmp.compare`, which documents them, on a machine with so many CPUs."""
        counts = worker_counts(workers, cpus)
        seed = integer("seed", seed, 0, 2**63 - 1)
        n_tasks = max(MIN_TASKS, TASKS_PER_WORKER * counts[-1])
        if isinstance(tasks, int):
            tasks = n_tasks = integer("tasks", tasks, 1, MAX_TASKS)
        chosen = [implementations] if isinstance(implementations, str) else implementations
        names = None if chosen is None else list(chosen)
        if callable(work):
            work = {getattr(work, "__name__", type(work).__name__): work}
        if isinstance(work, Mapping):
            _no_kernel_arguments(names, size)
            groups: list[Callable[[], list[Job]]] = [
                partial(function_jobs, _functions(work), tasks, check, n_tasks)
            ]
        else:
            if check is not None:
                raise ValueError("check is for functions: kernels check themselves")
            if tasks is not None and not isinstance(tasks, int):
                raise TypeError(f"for a kernel, tasks must be how many, got {type(tasks).__name__}")
            groups = []
            if isinstance(tasks, int):
                integer("tasks", tasks, 1, MAX_KERNEL_TASKS)
            if names is not None and not names:
                raise ValueError("implementations must name at least one, got none")
            for kernel in _kernels(work):
                number = None if size is None else kernel.size(size)
                used = implementation_names(kernel, names)
                groups.append(partial(kernel_jobs, kernel, used, number, seed, n_tasks))
        return cls(
            groups=groups,
            strategies=[strategy for strategy in resolve(strategies) if strategy.name != "serial"],
            workers=counts,
            budget=_seconds("budget", budget),
            seed=seed,
            size=size,
        )


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
    return sorted({integer("workers", one, 1, 4096) for one in listed})


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


def _kernels(work: Any) -> list[Kernel]:
    if isinstance(work, str | Kernel):
        work = [work]
    if not isinstance(work, Iterable):
        raise TypeError(f"work must be a kernel's name or callable, got {work!r}")
    chosen = []
    for one in work:
        kernel = kernels.get(one) if isinstance(one, str) else one
        if not isinstance(kernel, Kernel):
            raise ValueError(f"kernel must be one of {', '.join(kernels)}, got {one!r}")
        if kernel in chosen:
            raise ValueError(f"kernels must not repeat, got {kernel.name!r} twice")
        chosen.append(kernel)
    if not chosen:
        raise ValueError("work must name at least one kernel, got none")
    return chosen


def _seconds(name: str, value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number of seconds, got {value!r}")
    if not 0 < value <= 1e6:
        raise ValueError(f"{name} must be above 0 and at most 1e6 seconds, got {value}")
    return float(value)
