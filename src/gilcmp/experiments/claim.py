"""What a claim about the GIL is, what an experiment gets, and what it says."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from attrs import field, frozen

from gilcmp.judge.cell import Cell
from gilcmp.judge.estimate import Estimate
from gilcmp.judge.verdict import NO_GAIN, UNDECIDED, Verdict, Word
from gilcmp.measure.cpus import Bystanders
from gilcmp.measure.pythons import Python
from gilcmp.show import words

CONFIRMED: Final = "confirmed"
REFUTED: Final = "refuted"
DIFFERS: Final = "differs on this build"
CANNOT: Final = "cannot be tested here"
DISTURBED = 0.25  # share of the CPUs that others may keep busy beside an experiment whose effects are large
PARALLEL = 1.5  # speed-up of two workers from which they really ran side by side
WORDS = (CONFIRMED, REFUTED, DIFFERS, CANNOT)


class CannotTest(Exception):
    """An experiment cannot give an answer here; the message says why."""


class Unclear(CannotTest):
    """What was measured leaves the answer open: another try may give one."""


@frozen
class Figure:
    """A measured number, with its unit and, where there is one, its 95 % interval.

    `row` and `column` say where it stands in a table of its claim's figures; empty: on a line of its own.
    """

    name: str
    value: float
    unit: str = ""
    low: float = math.nan
    high: float = math.nan
    row: str = ""
    column: str = ""

    @classmethod
    def of(cls, name: str, value: Estimate, unit: str = "", row: str = "", column: str = "") -> Figure:
        """Make one of an estimate."""
        return cls(name, value.value, unit, value.low, value.high, row, column)

    @property
    def shown(self) -> str:
        """The number with its unit and interval."""
        if math.isnan(self.value):
            return "-"
        unit = f" {self.unit}" if self.unit and self.unit not in ("s", "B", "x") else "x" * (self.unit == "x")
        if math.isnan(self.low) or math.isnan(self.high):
            return f"{self._number(self.value)}{unit}"
        return f"{self._number(self.value)}{unit} [{self._number(self.low)}, {self._number(self.high)}]"

    def _number(self, value: float) -> str:
        if self.unit == "s":
            return words.seconds(value)
        if self.unit == "B":
            return f"{value / 1024:,.1f} KiB"
        return f"{value:,.{0 if abs(value) >= 100 else 2}f}"


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

    def need_no_gil(self) -> None:
        """Give up where there is a GIL: what is said is about builds without."""
        if self.gil:
            raise CannotTest("it is about free-threaded builds: name one by --python PATH")

    @contextlib.contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Give up after a block in which other programs kept many of the CPUs busy: it has no rounds to choose from."""
        bystanders = Bystanders()
        yield
        foreign = bystanders.lap()
        if foreign > DISTURBED * self.cpus:
            raise Unclear(f"other work kept {foreign:.1f} of {self.cpus:g} CPUs busy meanwhile")

    def conclude(self, holds: bool, reason: str, *figures: Figure) -> Outcome:
        """Return the outcome: a claim that fails while the GIL is off differs because of that."""
        word: Word = CONFIRMED if holds else REFUTED if self.gil else DIFFERS
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
    why : str
        Why it is so.
    unsaid : str
        What does not follow from it.
    code : str
        A script of about ten lines that shows it: to run, and to change.
    free_threaded : bool
        Whether it is about builds without a GIL, and says nothing on others.
    """

    name: str
    sentence: str
    experiment: str
    run: Callable[[Conditions], Outcome] = field(eq=False, repr=False)
    seconds: float
    note: str = ""
    why: str = ""
    unsaid: str = ""
    code: str = ""
    free_threaded: bool = False


def settled(cell: Cell) -> Cell:
    """Return the cell; give up where it was starved, too noisy or not measured."""
    if cell.verdict.word in (*UNDECIDED, "not measured"):
        where = f"{cell.implementation}, {cell.strategy} x {cell.workers}"
        raise Unclear(f"{where} was {cell.verdict.word}: {cell.verdict.reason}")
    return cell


def above(value: Estimate, limit: float) -> bool:
    """Tell whether an estimate lies above a limit; give up where its interval leaves that open."""
    return any_above([value], limit)


def any_above(values: Sequence[Estimate], limit: float) -> bool:
    """Tell whether any of several estimates lies above a limit; give up where their intervals leave that open."""
    if any(value.low > limit for value in values):
        return True
    if all(value.high < limit for value in values):
        return False
    listed = " and ".join(map(str, values))
    raise Unclear(f"{listed} may be below {limit} or above: a longer budget or a quieter machine may tell")


def no_faster(cell: Cell) -> bool:
    """Tell whether a cell gained nothing; give up where that is open. The verdict uses the CPU accounting too."""
    return cell.verdict.word in ("GIL-bound", "serialised", "slower", "no gain") or not above(cell.speedup, NO_GAIN)


def count_down(n: int) -> int:
    """Count down to 0 in plain Python: work that is nothing but bytecode."""
    while n > 0:
        n -= 1
    return n
