"""What the cells of a comparison do: a function, its tasks, how much work they are, and what must come out."""

from __future__ import annotations

import importlib
import inspect
import math
import os
import pickle
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any

from attrs import define, field

from gilcmp.base.child import main_is_a_file
from gilcmp.compute.kernel import TWINS, Kernel
from gilcmp.compute.registry import TaskCall, await_task, kernels
from gilcmp.measure.answers import Untouched, refuse_lazy, same, small
from gilcmp.measure.request import MAX_HANDED_OVER, FunctionWork, KernelWork

# What the serial cell is calibrated to, in seconds: long compared with handing it over, yet short enough for many
# rounds, and for a cell and its serial partner to see the same machine, whose speed changes in bursts of 0.3 to 2 s.
SHORTEST, LONGEST = 0.006, 0.012
FINE = 0.025  # longest serial cell, in seconds, that has a turn before and after each other cell
# Batches of a kernel's tasks per worker: handing one over costs a process some 0.15 ms, and a thread 0.04.
BATCHES_PER_WORKER = 2
PASSES, PASSES_OF_PROCESSES = 2, 4  # of a kernel's tasks, where the serial cell does one in its turn
PIECES = 64  # of which NumPy checks one
OURS = (__name__, "asyncio.runners", "asyncio.base_events")  # modules of frames between a user's function and us


class WrongAnswer(RuntimeError):
    """A cell's answer is not the reference's."""


async def _await_batch(function: Callable[[Any], Any], batch: Sequence[Any]) -> list[Any]:
    return [await function(task) for task in batch]


class _Loop:
    """An event loop for the coroutines that a thread runs one after the other; it is closed when the thread ends.

    Where a loop runs in that thread already, as in a notebook, ours has a thread of its own.
    """

    def __init__(self) -> None:
        import asyncio

        self._runner = asyncio.Runner()
        self._running = asyncio.get_running_loop
        self._thread: ThreadPoolExecutor | None = None

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end."""
        try:
            self._running()
        except RuntimeError:
            return self._runner.run(coroutine)
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="gilcmp loop")
        return self._thread.submit(self._runner.run, coroutine).result()

    def __del__(self) -> None:
        if self._thread is not None:
            self._thread.shutdown()
        self._runner.close()


_local = threading.local()


def _run_coroutine(function: Callable[[Any], Any], task: Any) -> Any:
    """Run a coroutine function by itself, as every strategy but asyncio does: one loop for all tasks of a worker.

    A loop for each task would make the strategy asyncio look faster by what it costs to open one.
    """
    if getattr(_local, "process", None) != os.getpid():  # a fork inherits what belongs to its parent's loop
        _local.process, _local.loop = os.getpid(), _Loop()
    return _local.loop.run(function(task))


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
    unsendable : str or None
        Why it cannot be sent to another process.
    sent : callable or None
        What is sent there in place of the function, if that is another one.
    sizes : sequence of int
        Bytes of each task when it is sent; empty where that is not known.
    seconds : float
        Seconds of a pass in the calling thread.
    answers : sequence or None
        Those of the first pass, where every pass must give the same.
    notes : list of str
        What is to be told of it.
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
    unsendable: str | None = None
    sent: Callable[[Any], Any] | None = None
    sizes: Sequence[int] = ()
    seconds: float = math.nan
    answers: Sequence[Any] | None = None
    notes: list[str] = field(factory=list)

    @property
    def name(self) -> str:
        """What to call it in messages."""
        return self.kernel if self.kernel == self.implementation else f"{self.kernel}, {self.implementation}"

    def round_work(
        self,
        *,
        coroutine: bool = False,
        batches: int | None = None,
        passes: int = 1,
        sends: bool = False,
        repeats: int | None = None,
    ) -> tuple[Callable[[Any], Any], Sequence[Any]]:
        """Return the function (or the coroutine function) and the tasks of a round, in so many batches at most.

        `passes`: how often the cell does what the serial cell does once. `sends`: whether they may be sent to another
        process. `repeats`: the cell's own, for a user's tasks.

        Without repeats, batch j of n holds the tasks j, j + n, j + 2 n …, so that uneven tasks even out. With repeats
        each of these is followed by its neighbours, so that a worker streams through the inputs as in a single pass.
        """
        function = self.coroutine if coroutine and self.coroutine is not None else self.function
        if not self.batched:
            return (self.sent or function) if sends else function, list(self.tasks) * (repeats or self.repeats)
        listed = [[self.tasks[number] for number in batch] for batch in self._batches(batches, passes)]
        return partial(_await_batch if coroutine else _do_batch, function), listed

    def handed(self, batches: int | None, repeats: int) -> int:
        """Return how much is handed over in a round: batches, or a user's tasks, so often."""
        n = len(self.tasks)
        return min(batches or n, n) if self.batched else n * repeats

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
        untouched = None if self.batched else Untouched(self.tasks)
        try:
            start = time.perf_counter()
            parts = [self.function(task) for task in self.tasks]
            seconds = time.perf_counter() - start
            if untouched is not None:
                refuse_lazy(parts)
                untouched.check()
            self.verify(list(parts))
        except Exception as error:
            self._explain(error)
            error.add_note(f"gilcmp: raised in the cell {self.name}, serial x 1")
            raise
        if not self.batched:
            self._compare(parts)
        return seconds

    def _explain(self, error: Exception) -> None:
        """Say what a call with other arguments than the function takes may have been meant to be."""
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_globals.get("__name__") in OURS:
            trace = trace.tb_next
        if self.batched or trace is not None or not isinstance(error, TypeError) or "argument" not in str(error):
            return
        if all(task is None for task in self.tasks):
            error.add_note(
                "gilcmp: tasks=[…] gives the arguments, one call each; "
                'in a shell: "f(x)" -s "from module import f; x = 1"'
            )
        elif any(isinstance(task, tuple | list) for task in self.tasks):
            error.add_note("gilcmp: each task is one argument; star=True makes several of a tuple")

    def _compare(self, parts: Sequence[Any]) -> None:
        """Keep the answers of the first pass; forget them where the second has others."""
        if math.isnan(self.seconds):
            self.answers = parts if small(parts) else None
        elif self.answers is not None and same(list(self.answers), list(parts)) is False:
            self.answers = None
            self.notes.append(
                f"{self.implementation} answers the same tasks differently from pass to pass; "
                "what it does may differ as well"
            )

    def differs(self, parts: Sequence[Any]) -> bool:
        """Tell whether the answers of a round are surely others than those of the first pass."""
        n = len(self.tasks)
        return self.answers is not None and same(list(self.answers), list(parts[:n])) is False

    def calibrate(self, most: int = MAX_HANDED_OVER) -> None:
        """Set `repeats` so that a round of the serial cell takes at least `SHORTEST` seconds.

        `most`: how many tasks of a user's a round has at most.
        """
        self.seconds = seconds = self.time_once()
        if seconds < 1.0:  # what takes long needs no second look, and may take very long
            self.seconds = seconds = min(seconds, self.time_once())
        self.repeats = 1 if seconds >= SHORTEST else math.ceil(SHORTEST / max(seconds, 1e-7))
        if not self.batched:
            self.repeats = min(self.repeats, max(1, most // len(self.tasks)))
        self.fine = seconds * self.repeats <= FINE

    def find_unsendable(self) -> None:
        """Note how much another process would get, or why it cannot be given the function or its tasks."""
        try:
            pickle.dumps(self.function)
            problem = "it is defined in __main__, which is no file" if _is_of_no_file(self.function) else None
        except Exception as error:  # whatever a __reduce__ raises
            problem = str(error)
        try:
            if problem is not None:
                self.sent = ByValue.of(self.function)
            self.sizes = [len(pickle.dumps(task)) for task in self.tasks]
        except ModuleNotFoundError:
            self.unsendable = f"cannot be sent to another process: {problem} (with cloudpickle installed it can be)"
        except Exception as error:  # as above
            self.unsendable = f"cannot be sent to another process: {error}"


def _is_of_no_file(function: Any) -> bool:
    """Tell whether a function is of a notebook or of standard input: other processes cannot import it by its name."""
    while isinstance(function, partial):
        function = next((argument for argument in function.args if callable(argument)), function.func)
    return getattr(function, "__module__", None) == "__main__" and not main_is_a_file()


class ByValue:
    """A function that other processes are given by value, as cloudpickle pickles it."""

    def __init__(self, function: Callable[[Any], Any], data: bytes) -> None:
        self._function, self._data = function, data

    @classmethod
    def of(cls, function: Callable[[Any], Any]) -> ByValue:
        """Make one; ModuleNotFoundError without cloudpickle."""
        cloudpickle = importlib.import_module("cloudpickle")
        return cls(function, cloudpickle.dumps(function))

    def __call__(self, task: Any) -> Any:
        """Do a task."""
        return self._function(task)

    def __reduce__(self) -> tuple[Any, ...]:
        return pickle.loads, (self._data,)


def make_jobs(
    work: KernelWork | FunctionWork, seed: int, n_tasks: int, most_handed: int = MAX_HANDED_OVER
) -> list[Job]:
    """Make the calibrated jobs of what is asked for, one an implementation.

    Parameters
    ----------
    work : KernelWork or FunctionWork
        What is asked for.
    seed : int
        Seed of a kernel's inputs.
    n_tasks : int
        How many tasks.
    most_handed : int
        How many tasks of a user's a round has at most.
    """
    if isinstance(work, FunctionWork):
        return _function_jobs(work, n_tasks, most_handed)
    return _kernel_jobs(work, seed, n_tasks)


def calibrated_sizes(work: KernelWork, seed: int) -> dict[str, int]:
    """Return the size of each implementation: as asked for, or so that a pass takes `SHORTEST` to `LONGEST` seconds."""
    sizes: dict[str, int] = {}
    for name in work.implementations:
        twin = TWINS.get(name)
        if work.size is not None:
            sizes[name] = work.size
        elif name in work.sizes:
            sizes[name] = work.sizes[name]
        elif twin in sizes:
            sizes[name] = sizes[twin]
        else:
            sizes[name] = _calibrated_size(work.kernel, name, seed)
    return sizes


def _kernel_jobs(work: KernelWork, seed: int, n_tasks: int) -> list[Job]:
    """Make the calibrated jobs of a kernel, one an implementation."""
    kernel = work.kernel
    jobs: list[Job] = []
    sizes = calibrated_sizes(work, seed)
    for name in work.implementations:
        _check_small(kernel, name, seed)
        n = sizes[name]
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


def _starred(function: Callable[..., Any], task: Sequence[Any]) -> Any:
    return function(*task)


def _function_jobs(work: FunctionWork, n_tasks: int, most_handed: int) -> list[Job]:
    """Make the calibrated jobs of functions of the user's: each task is one call."""
    tasks: Sequence[Any] = [None] * n_tasks if work.tasks is None else work.tasks
    title = " / ".join(work.functions)
    jobs = []
    for name, function in work.functions.items():
        call: Callable[[Any], Any] = function
        if work.tasks is None:
            call = partial(_call_without_task, function)
        elif work.star:
            call = partial(_starred, function)
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
        job.calibrate(most_handed)
        job.find_unsendable()
        jobs.append(job)
    return jobs


def _verify_with(check: Callable[[Sequence[Any]], bool] | None, name: str, parts: Sequence[Any]) -> None:
    if check is not None and not check(list(parts)):
        raise WrongAnswer(f"{name}: check() says that the answers are wrong")
