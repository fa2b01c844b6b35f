"""`advise`: measure a function under each way that can run it, and recommend one."""

from __future__ import annotations

import contextlib
import inspect
import json
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from attrs import evolve

from gilcmp.advising.advice import Advice, Option, Way
from gilcmp.advising.scaling import CPUS, break_even, predicted, shortest_task
from gilcmp.base.calls import name_of
from gilcmp.base.checks import Duration, duration
from gilcmp.judge.cell import Cell
from gilcmp.judge.comparison import Comparison
from gilcmp.judge.estimate import UNKNOWN, Estimate
from gilcmp.judge.ratios import ratio_of_medians
from gilcmp.judge.verdict import MIN_ROUNDS, UNDECIDED
from gilcmp.measure.compare import compare
from gilcmp.measure.cpus import usable_cpus
from gilcmp.measure.pythons import compare_pythons, find_python, this_python
from gilcmp.measure.session import Progress
from gilcmp.measure.strategies import strategies
from gilcmp.probing.probe import probe
from gilcmp.probing.probe_result import Probe
from gilcmp.saved.environment import Environment
from gilcmp.saved.observation import WAITING
from gilcmp.show import words

BUDGET = 20.0  # seconds
PROBING = 0.1  # of the budget
LONGEST_PROBE = 2.0  # seconds
CLOSE = 0.9  # of the best speed-up: a way that costs less is preferred from here on
SMALL_HOLD = 0.2  # share of its time from which on a call that holds the GIL keeps threads from scaling
#: What a way costs besides what is measured: the first of equals is taken.
CHEAPEST_FIRST = ("asyncio", "threads", "interpreters", "processes", "dask")


def advise(
    func: Callable[..., Any],
    *,
    tasks: Iterable[Any] | int | None = None,
    star: bool = False,
    workers: int | None = None,
    budget: Duration = BUDGET,
    pythons: Iterable[str] = (),
    dask: str | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Advice:
    """Recommend how to run a function's tasks: in threads, processes, interpreters, by asyncio, or one after the other.

    The call is probed, and its tasks are done under each way that can run them, in turns, round by round. What the
    figures do not decide is said to be undecided.

    Parameters
    ----------
    func : callable
        What is to be run; a coroutine function is run by asyncio.
    tasks : iterable or int, optional
        Its arguments, one call each; a number means that many calls without arguments.
    star : bool
        Whether each task is a tuple of arguments.
    workers : int, optional
        How many workers; by default as many as CPUs can be used, and at least 2.
    budget : float or str
        Seconds that it may take in all, about.
    pythons : iterable of str
        Other interpreters that have this gilcmp, by name or path, such as a free-threaded build: threads are tried
        there as well. `func` must then be a function of a module, and `tasks` what JSON can express.
    dask : str, optional
        Try Dask as well: "local" for a cluster of its own on this machine, or the address of a scheduler whose workers
        are on this machine, with one thread each.
    progress : callable, optional
        Called before each cell with a `Progress`.

    Returns
    -------
    Advice
        The recommendation, with its reason and figures; printing it shows them.

    Raises
    ------
    TypeError, ValueError
        For arguments that are not allowed.
    PythonError
        For an interpreter that is not there, has no gilcmp, or where the function fails.
    Exception
        Whatever `func` raises.
    """
    if not callable(func):
        raise TypeError(f"func must be callable, got {type(func).__name__}")
    seconds = duration("budget", budget, 1.0, 3600)
    given = tasks if tasks is None or isinstance(tasks, int) else list(tasks)
    others = [pythons] if isinstance(pythons, str) else list(pythons)
    named = _named(func, given) if others else ""
    places = [this_python(), *map(find_python, others)] if others else []
    asynchronous = inspect.iscoroutinefunction(func)
    found = None if asynchronous else _probed(func, given, star=star, seconds=seconds)
    if dask is not None and asynchronous:
        raise ValueError("dask runs functions, and func is a coroutine function")
    n = workers or max(2, math.floor(usable_cpus()))
    ways = ["asyncio"] if asynchronous else ["threads", "processes"]
    if not asynchronous and strategies["interpreters"].unavailable is None:
        ways.append("interpreters")
    if dask is not None:
        ways.append("dask" if dask == "local" else f"dask:{dask}")
    left = seconds * (1 - PROBING)
    arguments: dict[str, Any] = {"tasks": given, "star": star, "strategies": ways, "workers": n}
    try:
        if others:
            less = {"strategies": ways[:1]}
            each = compare_pythons(places, named, budget=left, progress=progress, elsewhere=less, **arguments)
            here, *there = (comparison for _, comparison in each)
        else:
            here, there = compare(func, budget=left, progress=progress, **arguments), []
    except KeyboardInterrupt as error:  # what was measured until then is concluded from, if anything was
        with contextlib.suppress(Exception):
            until = [each for _, each in error.comparisons] if others else [error.comparison]  # type: ignore[attr-defined]
            error.advice = concluded(until[0], found, name_of(func), until[1:])  # type: ignore[attr-defined]
        raise
    return concluded(here, found, name_of(func), there)


def _named(func: Callable[..., Any], tasks: Any) -> str:
    """Return the name by which other interpreters find a function: ``package.module:function``."""
    module, name = getattr(func, "__module__", None), getattr(func, "__qualname__", "?")
    if module in (None, "__main__") or not name.isidentifier():
        raise ValueError(f"with pythons, func must be a function of a module, got {module}.{name}: others import it")
    try:
        json.dumps(tasks)
    except TypeError as error:
        raise ValueError(f"with pythons, tasks must be a number, or what JSON can express: {error}") from None
    return f"{module}:{name}"


def _probed(func: Callable[..., Any], tasks: Any, *, star: bool, seconds: float) -> Probe | None:
    """Probe a call with the first of its tasks."""
    arguments: tuple[Any, ...] = ()
    if isinstance(tasks, list):
        if not tasks:
            raise ValueError("tasks must not be empty")
        arguments = tuple(tasks[0]) if star else (tasks[0],)
    return probe(func, *arguments, budget=min(LONGEST_PROBE, seconds * PROBING))


# ---- what the figures say --------------------------------------------------------------------------------------------


def concluded(result: Comparison, found: Probe | None, name: str, elsewhere: Sequence[Comparison] = ()) -> Advice:
    """Recommend a way, by what was measured here and in other interpreters."""
    serial = _serial(result)
    # without a GIL it is the share for which the thread was attached, which keeps nobody out
    held = UNKNOWN if found is None or not result.environment.gil_enabled else found.held
    cells = [cell for cell in result if not cell.is_serial]
    here = result.environment
    measured = [_option(cell, serial, held, here) for cell in cells]
    for other in elsewhere:
        measured += [_option_elsewhere(cell, serial, other) for cell in other if not cell.is_serial]
    options = sorted(measured, key=_by_gain)
    waits = _waits(serial)
    way, reason = _recommended(options, serial, held, waits)
    advice = Advice(
        name,
        here.interpreter,
        here.cpus,
        way,
        reason,
        serial.time.value,
        held,
        math.nan if found is None else found.longest_hold,
        waits,
        tuple(options),
        (),
        (*(cell.error for cell in cells if cell.error), *map(_task_elsewhere, elsewhere)),
    )
    return evolve(advice, changes=tuple(_changes(advice, gil=here.gil_enabled)))


def _by_gain(option: Option) -> float:
    return math.inf if math.isnan(option.speedup.value) else -option.speedup.value


def _option(cell: Cell, serial: Cell, held: Estimate, where: Environment) -> Option:
    here = min(cell.workers, where.cpus)
    cost = cell.record.sending if cell.record.sending is not None else cell.hand_over
    speedup = cell.speedup
    lock = held if cell.strategy == "threads" and where.gil_enabled else UNKNOWN
    name = cell.strategy.partition(":")[0]  # without Dask's address
    unpredicted = _mostly_waits(serial) or name == "dask"  # whose further CPUs are those of other machines
    return Option(
        name,
        cell.workers,
        speedup,
        cell.verdict.word,
        cell.error or cell.verdict.reason,
        cell.startup,
        cell.hand_over,
        cell.record.sending,
        cell.memory,
        _pays_from(cell, serial, speedup),
        shortest_task(cost, here) if cost is not None else math.nan,
        {} if unpredicted else {str(cpus): predicted(speedup, here, lock, cpus) for cpus in CPUS},
    )


def _option_elsewhere(cell: Cell, serial: Cell, there: Comparison) -> Option:
    """Return a way in another interpreter, with its speed-up over the serial tasks in this one."""
    alone = _serial(there)
    option = _option(cell, alone, UNKNOWN, there.environment)
    enough = min(len(cell.times), len(serial.times)) >= MIN_ROUNDS
    speedup = ratio_of_medians(cell.times, serial.times) if enough else UNKNOWN
    faster = serial.time.value / alone.time.value
    return evolve(
        option,
        speedup=speedup,
        tasks=_pays_from(cell, serial, speedup),
        predicted={cpus: each.scaled(faster) for cpus, each in option.predicted.items()} if enough else {},
        python=there.environment.python_name,
    )


def _pays_from(cell: Cell, serial: Cell, speedup: Estimate) -> float:
    """Return from how many tasks on it pays to start a cell's workers."""
    task = serial.time.value
    return break_even(cell.startup or 0.0, task, task / speedup.value) if speedup.n else math.nan


def _serial(result: Comparison) -> Cell:
    (serial,) = (cell for cell in result if cell.is_serial)
    return serial


def _task_elsewhere(there: Comparison) -> str:
    where = there.environment
    culprit = f"; {where.gil_culprit} turned the GIL on" if where.gil_culprit else ""
    return f"{where.interpreter}: a task takes {words.seconds(_serial(there).time.value)} there{culprit}"


def _waits(serial: Cell) -> float:
    """Share of its time for which a task is on no CPU, and waits for something."""
    shares = serial.time_shares
    return math.nan if shares is None else shares.blocked


def _mostly_waits(serial: Cell) -> bool:
    return _waits(serial) > 1 - WAITING


def _recommended(options: Sequence[Option], serial: Cell, held: Estimate, waits: float) -> tuple[Way, str]:
    gains = [option for option in options if option.pays]
    open_ = [option for option in options if option.verdict in UNDECIDED]
    if not gains:
        late = [option for option in options if "left of the budget" in option.reason]
        if late:
            return "not decided", f"{late[0].reason}: a longer --budget"
        if open_:
            told = ", ".join(f"{option.place} x {option.workers} {option.verdict}" for option in open_)
            return (
                "not decided",
                f"the figures do not carry an answer ({told}): a longer --budget, or a quieter machine",
            )
        return "leave it as it is", _why_not(options, serial, held)
    best = gains[0]
    enough = [option for option in gains if option.speedup.value >= CLOSE * best.speedup.value]
    chosen = min(enough, key=lambda option: (option.python is not None, CHEAPEST_FIRST.index(option.strategy)))
    # one without an interval may be anything
    unclear = next((option for option in open_ if not option.speedup.high <= best.speedup.value), None)
    if unclear is not None:
        return (
            "not decided",
            f"by {chosen.place} the gain is {words.estimate(chosen.speedup)}, and {unclear.place} may gain more "
            f"({unclear.verdict}): a longer --budget, or a quieter machine",
        )
    way: Way = "another interpreter" if chosen.python else chosen.strategy  # type: ignore[assignment]  # one of those asked for
    return way, _why(chosen, options, held, waits)


def _why(chosen: Option, options: Sequence[Option], held: Estimate, waits: float) -> str:
    those = f"{chosen.workers} {chosen.place}" if chosen.python else str(chosen.workers)
    gain = f"{those} do it {words.estimate(chosen.speedup)} times as fast"
    because = ""
    if waits > 1 - WAITING:
        because = f", since a task waits for {words.percent(waits)} of its time"
    elif chosen.strategy == "threads" and held.high < SMALL_HOLD:
        because = f", since a task holds the GIL for only {words.percent(held.value)} of its time"
    elif (chosen.python or chosen.strategy in ("processes", "interpreters")) and held.low > SMALL_HOLD:
        because = (
            f"; threads are kept from it by the GIL, which a task holds for {words.percent(held.value)} of its time"
        )
    others = [option for option in options if option.place != chosen.place and option.speedup.n]
    beside = "; ".join(f"{option.place} {words.estimate(option.speedup)}" for option in others)
    return f"{gain}{because}" + (f" ({beside})" if beside else "")


def _why_not(options: Sequence[Option], serial: Cell, held: Estimate) -> str:
    parts = []
    for option in options:
        if option.verdict == "not measured":
            parts.append(f"{option.place} could not be measured: {' '.join(option.reason.split())[:120]}")
        elif option.sending is not None and option.sending > 0.3 * serial.time.value:
            parts.append(
                f"sending a task and its answer to {option.place} takes {words.seconds(option.sending)}, doing it "
                f"{words.seconds(serial.time.value)}"
            )
        elif option.place == "threads" and held.low > SMALL_HOLD:
            parts.append(f"a task holds the GIL for {words.percent(held.value)} of its time, so threads take turns")
        else:
            parts.append(f"nothing is gained by {option.place} ({words.estimate(option.speedup)})")
    return "; ".join(parts) or "nothing else could run it"


def _changes(advice: Advice, *, gil: bool) -> list[str]:
    changes = []
    chosen = advice.chosen
    for option in advice.options:
        if option is not chosen and option.verdict == "not measured":
            changes.append(f"{option.place} could not be measured: {' '.join(option.reason.split())[:200]}")
    if chosen is not None and math.isfinite(chosen.tasks) and chosen.tasks > 1:
        changes.append(
            f"fewer than {words.counted(int(chosen.tasks), 'task')}: starting the workers would not be paid back"
        )
    if chosen is not None and math.isfinite(chosen.length) and chosen.length > 1e-5:
        changes.append(f"tasks shorter than {words.seconds(chosen.length)}: handing one over costs as much as it gains")
    if advice.held.low > SMALL_HOLD and gil and not any(option.python for option in advice.options):
        changes.append(
            f"a free-threaded build: the GIL, held for {words.percent(advice.held.value)} of a task's time, would not "
            "be in the way; what else threads share would be. With gilcmp installed there, --python measures it"
        )
    if advice.way == "another interpreter":
        changes.append("a module that turns the GIL on when it is imported there: it would be named below")
    distributed = next(
        (option for option in advice.options if option.strategy == "dask" and (option.sending or option.hand_over)),
        None,
    )
    if distributed is not None and not advice.waits > 1 - WAITING:
        changes.append(_more_machines(advice.task, distributed))
    elif advice.way == "processes":
        changes.append(
            "more than one machine: Dask hands out tasks as processes are given them (--dask local tries it)"
        )
    if advice.way == "threads" and advice.waits > 1 - WAITING:
        changes.append("thousands of tasks that wait at once: asyncio, with coroutines, needs no thread for each")
    return changes


def _more_machines(task: float, distributed: Option) -> str:
    """Tell what a scheduler's pace allows: it hands out one task after the other, wherever the workers are."""
    pace = distributed.sending or distributed.hand_over or math.nan
    takes = f"more than one machine: Dask takes {words.seconds(pace)} here to hand a task out and its answer back"
    busy = math.floor(task / pace)
    if busy < 2:
        return f"{takes}, which is too long for tasks of {words.seconds(task)}"
    return f"{takes}, so about {busy} CPUs are kept busy with tasks of {words.seconds(task)}"
