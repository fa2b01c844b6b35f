"""The advice: what was measured of each way, and which of them is recommended, with its reason."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, TypeAlias

from attrs import frozen

from gilcmp.judge.estimate import Estimate
from gilcmp.judge.verdict import GAINS, NO_GAIN
from gilcmp.saved.kept import Kept
from gilcmp.show import words
from gilcmp.show.model import Section, Sentence, Table, columns, section

Way: TypeAlias = Literal[
    "threads", "processes", "interpreters", "asyncio", "dask", "another interpreter", "leave it as it is", "not decided"
]

NAMES = {
    "threads": "threads",
    "processes": "processes",
    "interpreters": "interpreters (InterpreterPoolExecutor)",
    "asyncio": "asyncio",
    "dask": "Dask",
}


@frozen
class Option:
    """One way to run the tasks; times in seconds.

    Attributes
    ----------
    strategy, workers : str, int
        What it is, with how many workers.
    speedup : Estimate
        Over one task after the other; NaN where it was not measured.
    verdict, reason : str, str
        The word that the figures carry, and why.
    startup, hand_over : float or None
        To start the workers, and to hand an empty task over.
    sending : float or None
        To send one of these tasks and its answer, besides doing it; None where nothing is sent.
    memory : int or None
        Bytes that a worker takes.
    tasks : float
        From how many of these tasks on it pays to start the workers; infinity: never, NaN: not known.
    length : float
        How long a task must be, at least, to be worth handing over; NaN: not known.
    predicted : mapping of str to Estimate
        The speed-up on so many CPUs ("4", "16", "64"); predicted, not measured.
    python : str or None
        The other interpreter that it ran on, such as a free-threaded build. Its speed-up is over one task after the
        other in the interpreter that asks.
    """

    strategy: str
    workers: int
    speedup: Estimate
    verdict: str
    reason: str
    startup: float | None
    hand_over: float | None
    sending: float | None
    memory: int | None
    tasks: float
    length: float
    predicted: Mapping[str, Estimate]
    python: str | None = None

    @property
    def pays(self) -> bool:
        """Whether its verdict is one for a gain: the whole interval is."""
        return self.verdict in GAINS and (self.python is None or self.speedup.low > NO_GAIN)

    @property
    def place(self) -> str:
        """Its strategy, and where it ran if that was another interpreter."""
        return self.strategy if self.python is None else f"{self.strategy} on {self.python}"


@frozen
class Advice(Kept):
    """A recommendation for a function and its tasks.

    Attributes
    ----------
    name, python : str, str
        What it is for, and the interpreter.
    cpus : float
        CPUs that could be used.
    way : str
        "threads", "processes", "interpreters", "asyncio", "dask", "another interpreter", "leave it as it is", or "not
        decided" where the figures do not carry an answer.
    reason : str
        Why.
    task : float
        Seconds that a task takes by itself.
    held : Estimate
        Share of that time for which it holds the GIL; NaN where that was not seen.
    longest_hold : float
        The longest hold of a call, in seconds; NaN where that was not seen.
    waits : float
        Share of its time for which a task is on no CPU; NaN where that was not seen.
    options : tuple of Option
        What was measured, the best first.
    changes : tuple of str
        What would change the recommendation.
    notes : tuple of str
        What could not be measured, and why.
    """

    FORMAT: ClassVar[str] = "gilcmp advice"

    name: str
    python: str
    cpus: float
    way: Way
    reason: str
    task: float
    held: Estimate
    longest_hold: float
    waits: float
    options: tuple[Option, ...]
    changes: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def chosen(self) -> Option | None:
        """The option that is recommended; None where it is none of them."""
        elsewhere = self.way == "another interpreter"
        fits = (each for each in self.options if each.pays and (each.python is not None) == elsewhere)
        return next((each for each in fits if elsewhere or each.strategy == self.way), None)

    def records(self) -> Sequence[Mapping[str, object]]:
        """Return its options, a record each."""
        return [
            {
                "strategy": option.strategy, "python": option.python, "workers": option.workers,
                "speedup": option.speedup.value, "low": option.speedup.low, "high": option.speedup.high,
                "verdict": option.verdict, "startup": option.startup, "hand_over": option.hand_over,
                "sending": option.sending, "memory": option.memory, "tasks": option.tasks, "length": option.length,
                **{f"predicted_{cpus}": estimate.value for cpus, estimate in option.predicted.items()},
            }
            for option in self.options
        ]  # fmt: skip

    def sections(self) -> list[Section]:
        """Return what is shown of it."""
        said = [Sentence(f"{NAMES.get(self.way, self.way).capitalize()}: {self.reason}.", "strong")]
        shown = [section(self.name, *said)]
        if self.options:
            shown.append(section("", _measured(self.options)))
            if any(not math.isnan(each.value) for option in self.options for each in option.predicted.values()):
                shown.append(section("Predicted, not measured: the speed-up on more CPUs", _predicted(self.options)))
        if self.changes:
            shown.append(section("What would change it", *(Sentence(f"{each}.", indent=2) for each in self.changes)))
        shown.append(section("", *(Sentence(f"{note}.") for note in (*self.notes, _task(self)))))
        return shown


def _task(advice: Advice) -> str:
    held = "" if math.isnan(advice.held.value) else f"; it holds the GIL for {words.percent(advice.held.value)} of that"
    waits = "" if math.isnan(advice.waits) else f", and is on no CPU for {words.percent(advice.waits)}"
    return f"{advice.python}, {advice.cpus:g} CPUs: a task takes {words.seconds(advice.task)}{held}{waits}"


def _measured(options: Sequence[Option]) -> Table:
    titles = columns(
        "way", ">n", ">speed-up [95 %]", "verdict", ">start-up", ">a task", ">memory", ">pays from"
    )  # fmt: skip
    rows = []
    for option in options:
        per_task = option.sending if option.sending is not None else option.hand_over
        rows.append(
            (
                option.place,
                str(option.workers),
                words.estimate(option.speedup),
                option.verdict,
                _seconds(option.startup),
                _seconds(per_task),
                "-" if option.memory is None else words.data(option.memory),
                "-" if not option.pays or not math.isfinite(option.tasks) else words.counted(int(option.tasks), "task"),
            )
        )
    return Table(titles, tuple(rows))


def _predicted(options: Sequence[Option]) -> Table:
    cpus = next(list(option.predicted) for option in options if option.predicted)
    titles = columns("way", *(f">{n} CPUs" for n in cpus))
    rows = tuple(
        (option.place, *(words.estimate(option.predicted[n]) for n in cpus))
        for option in options
        if not all(math.isnan(each.value) for each in option.predicted.values())
    )
    return Table(titles, rows)


def _seconds(value: float | None) -> str:
    return "-" if value is None else words.seconds(value)
