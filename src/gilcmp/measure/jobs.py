"""What the cells of a comparison do: a function, its tasks, how much work they are, and what must come out."""

from __future__ import annotations

import inspect
import math
import os
import pickle
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Sequence
from functools import lru_cache, partial
from typing import Any

from attrs import define, field

from gilcmp.compute.kernel import TWINS, Kernel
from gilcmp.compute.registry import TaskCall, await_task, kernels
from gilcmp.measure.request import FunctionWork, KernelWork

# What the serial cell is calibrated to, in seconds: long compared with handing it over, yet short enough for many
# rounds, and for a cell and its serial partner to see the same machine, whose speed changes in bursts of 0.3 to 2 s.
SHORTEST, LONGEST = 0.006, 0.012
FINE = 0.025  # longest serial cell, in seconds, that has a turn before and after each other cell
# Batches of a kernel's tasks per worker: handing one over costs a process some 0.15 ms, and a thread 0.04.
BATCHES_PER_WORKER = 2
PASSES, PASSES_OF_PROCESSES = 2, 4  # of a kernel's tasks, where the serial cell does one in its turn
# Tasks of a user's that are handed over one by one in a round: each costs a pool some 0.1 ms, and a function
# that takes nanoseconds would otherwise be handed over a million times.
MAX_HANDED_OVER = 500
PIECES = 64  # of which NumPy checks one


class WrongAnswer(RuntimeError):
    """A cell's answer is not the reference's."""


async def _await_batch(function: Callable[[Any], Any], batch: Sequence[Any]) -> list[Any]:
    return [await function(task) for task in batch]


class _Loop:
    """An event loop for the coroutines that a thread runs one after the other; it is closed when the thread ends."""

    def __init__(self) -> None:
        import asyncio

        self.runner = asyncio.Runner()

    def __del__(self) -> None:
        self.runner.close()


_local = threading.local()


def _run_coroutine(function: Callable[[Any], Any], task: Any) -> Any:
    """Run a coroutine function by itself, as every strategy but asyncio does: one loop for all tasks of a worker.

    A loop for each task would make the strategy asyncio look faster by what it costs to open one.
    """
    if getattr(_local, "process", None) != os.getpid():  # a fork inherits what belongs to its parent's loop
        _local.process, _local.loop = os.getpid(), _Loop()
    return _local.loop.runner.run(function(task))


def _do_batch(function: Callable[[Any], Any], batch: Sequence[Any]) -> list[Any]:
    if isinstance(function, TaskCall):
        return function.batch(batch)
    return [function(task) for task in batch]


@define
class Job:
    """One implementation of what is compared, with the list of tasks that each of its cells does.

    Attributes
    ----------
    kernel, implementation : str
        Their names.
    function : callable
        Does one task: ``function(task)``.
    tasks : sequence
        The tasks.
    version : int
        The kernel's; 0 for a function of the user's.
    size : int or None
        The kernel's size; None for a function of the user's.
    unit : str
        The unit of work.
    work : int
        Units of work in one pass through the tasks.
    repeats : int
        How often a cell does the list in a round.
    batched : bool
        Whether repeats are handed over in batches, or one by one: a kernel's tasks are batched until they are
        long enough, a user's are handed over as they are, whatever that costs.
    coroutine : callable or None
        The same as a coroutine function, where it is one.
    verify : callable
        ``verify(parts of one pass)`` raises WrongAnswer.
    fine : bool
        Whether the serial cell takes at most `FINE` seconds.
    """

    kernel: str
    implementation: str
    function: Callable[[Any], Any]
    tasks: Sequence[Any]
    version: int
    size: int | None
    unit: str
    work: int
    verify: Callable[[Sequence[Any]], None]
    batched: bool
    repeats: int = 1
    coroutine: Callable[[Any], Any] | None = None
    fine: bool = False
    unsendable: str | None = field(default=None)

    def round_work(
        self, *, coroutine: bool = False, batches: int | None = None, passes: int = 1
    ) -> tuple[Callable[[Any], Any], Sequence[Any]]:
        """Return the function (or the coroutine function) and the tasks of a round, in so many batches at most.

        `passes`: how often the cell does what the serial cell does once.

        Without repeats, batch j of n holds the tasks j, j + n, j + 2 n …, so that uneven tasks even out. With repeats
        each of these is followed by its neighbours, so that a worker streams through the inputs as in a single pass.
        """
        function = self.coroutine if coroutine and self.coroutine is not None else self.function
        if not self.batched:
            return function, list(self.tasks) * self.repeats
        listed = [[self.tasks[number] for number in batch] for batch in self._batches(batches, passes)]
        return partial(_await_batch if coroutine else _do_batch, function), listed

    def handed(self, batches: int | None) -> int:
        """Return how much is handed over in a round: batches, or a user's tasks."""
        n = len(self.tasks)
        return min(batches or n, n) if self.batched else n * self.repeats

    def _batches(self, batches: int | None, passes: int) -> list[list[int]]:
        """Return the numbers of the tasks of each batch."""
        n = len(self.tasks)
        lists = [[(j + k) % n for k in range(self.repeats * passes)] for j in range(n)]
        if batches is None or batches >= n:
            return lists
        return [[number for listed in lists[first::batches] for number in listed] for first in range(batches)]

    def check(self, answers: Sequence[Any], *, batches: int | None = None, passes: int = 1) -> None:
        """Check the answers of a round, pass by pass: the k-th answers to all tasks are pass k."""
        n = len(self.tasks)
        if not self.batched:
            for first in range(0, len(answers), n):
                self.verify(list(answers[first : first + n]))
            return
        of_task: list[list[Any]] = [[] for _ in range(n)]
        for numbers, parts in zip(self._batches(batches, passes), answers, strict=True):
            for number, part in zip(numbers, parts, strict=True):
                of_task[number].append(part)
        for parts in zip(*of_task, strict=True):
            self.verify(list(parts))

    def time_once(self) -> float:
        """Do one pass in the calling thread, check it, and return its seconds."""
        try:
            start = time.perf_counter()
            parts = [self.function(task) for task in self.tasks]
            seconds = time.perf_counter() - start
            if not self.batched:
                _refuse_lazy(parts)
            self.verify(list(parts))
        except Exception as error:
            error.add_note(f"gilcmp: raised in the cell {self.kernel}, {self.implementation}, serial x 1")
            raise
        return seconds

    def calibrate(self) -> None:
        """Set `repeats` so that a round of the serial cell takes at least `SHORTEST` seconds."""
        seconds = self.time_once()
        if seconds < 1.0:  # what takes long needs no second look, and may take very long
            seconds = min(seconds, self.time_once())
        self.repeats = 1 if seconds >= SHORTEST else math.ceil(SHORTEST / max(seconds, 1e-7))
        if not self.batched:
            self.repeats = min(self.repeats, max(1, MAX_HANDED_OVER // len(self.tasks)))
        self.fine = seconds * self.repeats <= FINE

    def find_unsendable(self) -> None:
        """Note why another process could not be given the function or its tasks."""
        try:
            pickle.dumps((self.function, self.tasks))
        except Exception as error:  # whatever a __reduce__ raises
            self.unsendable = f"cannot be sent to another process: {error}"


def make_jobs(work: KernelWork | FunctionWork, seed: int, n_tasks: int) -> list[Job]:
    """Make the calibrated jobs of what is asked for, one an implementation.

    Parameters
    ----------
    work : KernelWork or FunctionWork
        What is asked for.
    seed : int
        Seed of a kernel's inputs.
    n_tasks : int
        How many tasks.
    """
    if isinstance(work, FunctionWork):
        return _function_jobs(work, n_tasks)
    return _kernel_jobs(work, seed, n_tasks)


def _kernel_jobs(work: KernelWork, seed: int, n_tasks: int) -> list[Job]:
    """Make the calibrated jobs of a kernel, one an implementation.

    Without a `size`, each implementation gets its own, so that a pass takes `SHORTEST` to `LONGEST` seconds.
    """
    kernel, size = work.kernel, work.size
    jobs: list[Job] = []
    sizes: dict[str, int] = {}
    for name in work.implementations:
        _check_small(kernel, name, seed)
        if size is not None:
            n = size
        elif TWINS.get(name) in sizes:
            n = sizes[TWINS[name]]
        else:
            n = _calibrated_size(kernel, name, seed)
        sizes[name] = n
        kernel.inputs(n, seed)  # made before the clock runs
        job = Job(
            kernel=kernel.name,
            implementation=name,
            function=TaskCall(kernel.name, name, n, seed),
            tasks=kernel.split(n, n_tasks),
            version=kernel.version,
            size=n,
            unit=kernel.unit,
            work=kernel.work(n),
            verify=_verifier(kernel, name, n, seed),
            batched=True,
            coroutine=partial(await_task, kernel.name, name, n, seed) if kernel.is_coroutine(name) else None,
        )
        job.calibrate()
        jobs.append(job)
    for job in jobs:  # the control compares the twins: they do the same, whatever noise said
        twin = next((other for other in jobs if other.implementation == TWINS.get(job.implementation)), None)
        if twin is not None:
            job.repeats = twin.repeats
    return jobs


def _calibrated_size(kernel: Kernel, implementation: str, seed: int) -> int:
    """Return the largest size whose serial pass takes at most `LONGEST` seconds, within the kernel's limit.

    Only 16 times powers of the square root of 2 are tried: a coarse grid, so that two runs on similar machines
    get the same sizes and can be laid side by side.
    """

    def seconds(size: int) -> float:
        kernel.inputs(size, seed)  # made before the clock runs
        start = time.perf_counter()
        kernel.run(implementation, size, seed)
        return time.perf_counter() - start

    step = 0
    while step > SMALLEST and seconds(_grid(step)) > LONGEST:
        step -= 1
    while _grid(step + 2) < kernel.largest and seconds(_grid(step)) * 4 <= LONGEST:
        step += 2  # at most four times the work
    while _grid(step + 1) < kernel.largest and seconds(_grid(step + 1)) <= LONGEST:
        step += 1
    return kernel.largest if _grid(step + 1) >= kernel.largest else _grid(step)


SMALLEST = -4  # the step to size 4


def _grid(step: int) -> int:
    return round(16 * 2 ** (step / 2))


def _check_small(kernel: Kernel, implementation: str, seed: int) -> None:
    """Check an implementation against the reference (plain Python), at a size that takes Python milliseconds."""
    _compare_answers(
        kernel,
        implementation,
        kernel.run(implementation, "small", seed),
        kernel.run(kernel.reference, "small", seed),
    )


def _verifier(kernel: Kernel, implementation: str, size: int, seed: int) -> Callable[[Sequence[Any]], None]:
    """Return the check of a cell's answers, against that of the compiled kernel in one task.

    A compiled kernel itself is judged by NumPy, on one of its pieces: NumPy would take seconds for the whole, and plain
    Python minutes.
    """
    if implementation.startswith("cython"):
        pieces = kernel.split(size, PIECES)
        piece = pieces[len(pieces) // 2]
        _compare_answers(
            kernel,
            implementation,
            kernel.run_task(implementation, size, seed, piece),
            kernel.run_task("numpy", size, seed, piece),
        )
    judge = "cython_nogil" if "cython_nogil" in kernel.implementations else kernel.reference
    reference = _reference(kernel.name, judge, size, seed)

    def verify(parts: Sequence[Any]) -> None:
        _compare_answers(kernel, implementation, kernel.combine(parts, size), reference)

    return verify


@lru_cache(maxsize=64)
def _reference(name: str, judge: str, size: int, seed: int) -> Any:
    return kernels[name].run(judge, size, seed)


def _compare_answers(kernel: Kernel, implementation: str, answer: Any, reference: Any) -> None:
    if not kernel.same(answer, reference):
        raise WrongAnswer(f"{kernel.name}, {implementation}: the answer is {answer!r}, it should be {reference!r}")


def _call_without_task(function: Callable[[], Any], task: Any) -> Any:
    return function()


def _function_jobs(work: FunctionWork, n_tasks: int) -> list[Job]:
    """Make the calibrated jobs of functions of the user's: each task is one call."""
    tasks: Sequence[Any] = [None] * n_tasks if work.tasks is None else work.tasks
    title = " / ".join(work.functions)
    jobs = []
    for name, function in work.functions.items():
        call = partial(_call_without_task, function) if work.tasks is None else function
        coroutine = call if inspect.iscoroutinefunction(function) else None
        job = Job(
            kernel=title,
            implementation=name,
            function=partial(_run_coroutine, call) if coroutine else call,
            coroutine=coroutine,
            tasks=tasks,
            version=0,
            size=None,
            unit="task",
            work=len(tasks),
            verify=partial(_verify_with, work.check, name),
            batched=False,
        )
        job.calibrate()
        job.find_unsendable()
        jobs.append(job)
    return jobs


def _refuse_lazy(parts: Sequence[Any]) -> None:
    """Refuse answers whose work is still to be done: the figures would be those of a call that does nothing."""
    coroutines = [part for part in parts if isinstance(part, Coroutine)]
    for coroutine in coroutines:
        coroutine.close()  # or Python warns that it was never awaited
    if coroutines:
        raise TypeError("the function returns a coroutine and does not run it: pass an async function instead")
    for part in parts:
        if isinstance(part, Generator | AsyncGenerator | map | filter | zip):
            raise TypeError(
                f"the function returns a {type(part).__name__}, whose work is done only when it is gone through: "
                "return a list of it"
            )


def _verify_with(check: Callable[[Sequence[Any]], bool] | None, name: str, parts: Sequence[Any]) -> None:
    if check is not None and not check(list(parts)):
        raise WrongAnswer(f"{name}: check() says that the answers are wrong")
