"""What a claim about the GIL is, what an experiment gets, and what it says."""

from __future__ import annotations

import math
from collections.abc import Callable

from attrs import field, frozen

from gilcmp.comparison import Cell
from gilcmp.estimate import Estimate
from gilcmp.findings import UNDECIDED
from gilcmp.pythons import Python
from gilcmp.verdict import Verdict

CONFIRMED, REFUTED = "confirmed", "refuted"
DIFFERS, CANNOT = "differs on this build", "cannot be tested here"
PARALLEL = 1.5  # speed-up of two workers from which they really ran side by side
WORDS = (CONFIRMED, REFUTED, DIFFERS, CANNOT)


class CannotTest(Exception):
    """An experiment cannot give an answer here; the message says why."""


class Unclear(CannotTest):
    """What was measured leaves the answer open: another try may give one."""


@frozen
class Figure:
    """A measured number, with its unit and, where there is one, its 95 % interval."""

    name: str
    value: float
    unit: str = ""
    low: float = math.nan
    high: float = math.nan

    @classmethod
    def of(cls, name: str, value: Estimate, unit: str = "") -> Figure:
        """Make one of an estimate."""
        return cls(name, value.value, unit, value.low, value.high)


@frozen
class Outcome:
    """What an experiment found: one of `WORDS` with the reason, and the figures."""

    verdict: Verdict
    figures: tuple[Figure, ...] = ()


@frozen
class Conditions:
    """What an experiment may use.

    Attributes
    ----------
    seconds : float
        How long it may take, about.
    cpus : float
        CPUs that this process may really use.
    gil : bool
        Whether the GIL is on.
    pythons : tuple of Python
        Other interpreters that were named.
    """

    seconds: float
    cpus: float
    gil: bool
    pythons: tuple[Python, ...] = ()

    @property
    def threads(self) -> int:
        """How many threads fill the CPUs, at least 2."""
        return max(2, int(self.cpus))

    def need_two_cpus(self) -> None:
        """Give up where nothing can run in parallel anyway."""
        if self.cpus < 2:
            raise CannotTest(f"it needs 2 CPUs, and this process may use {self.cpus:g}")

    def conclude(self, holds: bool, reason: str, *figures: Figure) -> Outcome:
        """Return the outcome: what fails to hold while the GIL is off differs because of that."""
        word = CONFIRMED if holds else REFUTED if self.gil else DIFFERS
        return Outcome(Verdict(word, reason), figures)


@frozen
class Claim:
    """A sentence that people are told about the GIL, and the experiment that tests it.

    Attributes
    ----------
    name, sentence, experiment : str
        What it is called, what it says, what is done to test it.
    run : callable
        The experiment.
    seconds : float
        How long it takes, about.
    note : str
        What one should know beside the figures.
    """

    name: str
    sentence: str
    experiment: str
    run: Callable[[Conditions], Outcome] = field(eq=False, repr=False)
    seconds: float
    note: str = ""


def settled(cell: Cell) -> Cell:
    """Return the cell; give up where it was starved, too noisy or not measured."""
    if cell.verdict.word in (*UNDECIDED, "not measured"):
        where = f"{cell.implementation}, {cell.strategy} x {cell.workers}"
        raise Unclear(f"{where} was {cell.verdict.word}: {cell.verdict.reason}")
    return cell


def above(value: Estimate, limit: float) -> bool:
    """Tell whether an estimate is at or above a limit; give up where its interval leaves that open."""
    if value.value < limit <= value.high:
        raise Unclear(f"{value} may be below {limit} or above: a longer budget or a quieter machine may tell")
    return value.value >= limit


def count_down(n: int) -> int:
    """Count down to 0 in plain Python: work that is nothing but bytecode."""
    while n > 0:
        n -= 1
    return n
