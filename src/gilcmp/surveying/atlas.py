"""The atlas: a list of statements, each probed, to see which of them release the GIL, and whether two threads help."""

from __future__ import annotations

import gc
import io
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from datetime import date
from functools import partial
from itertools import groupby
from typing import Any, ClassVar, TypeVar

from attrs import asdict, frozen

from gilcmp.base.calls import execute, statement_function
from gilcmp.base.checks import Duration, duration
from gilcmp.judge.estimate import UNKNOWN, Estimate
from gilcmp.judge.verdict import TONES as SCALING_TONES
from gilcmp.judge.verdict import UNDECIDED
from gilcmp.measure.cpus import usable_cpus
from gilcmp.measure.machine import environment
from gilcmp.probing.probe import probe
from gilcmp.probing.probe_result import OPEN, TONES, WORDS, Probe, held_share
from gilcmp.saved.environment import Environment
from gilcmp.saved.kept import Kept, flat
from gilcmp.show import words
from gilcmp.show.model import Cell, Column, Section, Table, Value, columns, section
from gilcmp.surveying.lists import AtlasError, Documented, Library, Listed, read_list
from gilcmp.surveying.scaling import THREADS, Scaling, TwoThreads

FEW = 12  # statements that fit on a screen
BUDGET = 0.3  # seconds for each statement to be probed
PAIRED = 4  # times as long for two threads, and one, in turns
ATTEMPTS = 3  # with twice the time each, where the figures did not decide
MOSTLY = 0.5  # share held below which two threads would get more done, were the GIL all that is in their way
SAID = {"releases": "releases", "releases partly": "partly"}  # what a verdict says in the words of a document
YES, NO = "yes", "no"
NOTHING_SAID = Documented()

Measured = TypeVar("Measured", Probe, Scaling)


@frozen
class Entry:
    """A statement with what was measured, or with the error that it raised.

    Attributes
    ----------
    group, statement : str
        The group of its list, and the code.
    probe : Probe or None
        What it does to the GIL; None where it raised.
    error : str or None
        What it raised.
    scaling : Scaling or None
        How much two threads of it get done; None where that was not asked for.
    documented : Documented
        What its library says about it.
    setup, size : str
        What is run once before, and how large the input is.
    """

    group: str
    statement: str
    probe: Probe | None
    error: str | None
    scaling: Scaling | None = None
    documented: Documented = NOTHING_SAID
    setup: str = ""
    size: str = ""

    @property
    def measured(self) -> str | None:
        """What was measured, in the words of a document; None: it was not, or not for sure."""
        return said_of(self.probe)

    @property
    def disagrees(self) -> bool:
        """Whether something else is documented than was measured."""
        return self.documented.says != "silent" and self.measured not in (None, self.documented.says)

    @property
    def blocked_otherwise(self) -> bool:
        """Whether it surely lets go of the GIL for most of its time, and yet two threads of it get no more done."""
        if self.probe is None or self.scaling is None or self.measured not in ("releases", "partly"):
            return False
        return self.probe.held.high < MOSTLY and self.scaling.verdict in ("no gain", "slower")


@frozen
class Atlas(Kept):
    """All entries of a list, and where they were measured.

    Attributes
    ----------
    title : str
        Of the list.
    environment : Environment
        Where it was measured.
    entries : tuple of Entry
        In the order of the list.
    library, version : str
        What was measured, as it is called where it is installed from, and its version; empty for a list that says none.
    reference : Estimate
        How much two threads of native code that shares nothing get done here, times one: the best there can be.
    measured : str
        The day on which it was: 2026-11-26.
    """

    FORMAT: ClassVar[str] = "gilcmp atlas"

    title: str
    environment: Environment
    entries: tuple[Entry, ...]
    library: str = ""
    version: str = ""
    reference: Estimate = UNKNOWN
    measured: str = ""

    def records(self) -> list[dict[str, object]]:
        """Return its entries: a record each, whose fields stay the same from version to version."""
        where = self.environment
        known = {
            "library": self.library, "library_version": self.version, "python": where.interpreter,
            "gil_turned_on_by": where.gil_culprit or "", "cpu": where.cpu, "cpus": where.cpus_allowed,
            "system": where.system, "measured": self.measured,
        }  # fmt: skip
        return [{**known, **_record(entry)} for entry in self]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, statement: str) -> Entry:
        for entry in self.entries:
            if entry.statement == statement:
                return entry
        raise KeyError(f"no statement {statement!r} in the atlas")

    @property
    def findings(self) -> list[str]:
        """What was measured otherwise than it is documented, and what scales otherwise than its release tells."""
        said = [
            f"{first_line(entry.statement)}: {entry.documented.says} by {entry.documented.where or 'its documents'}, "
            f"measured: {entry.measured}{f' ({entry.documented.note})' if entry.documented.note else ''}"
            for entry in self if entry.disagrees
        ]  # fmt: skip
        said += [
            f"{first_line(entry.statement)}: holds {held_share(entry.probe)}, and two threads do "
            f"{entry.scaling.verdict.reason}"
            for entry in self if entry.blocked_otherwise and entry.scaling and entry.probe
        ]  # fmt: skip
        return [f"{text}." for text in said]

    def sections(self) -> list[Section]:
        """Return what is shown of it: what was found, and a table for each group."""
        groups = dict.fromkeys(entry.group for entry in self)
        tables = [section("", self._table(group)) for group in groups]
        return [section(self._heading(), *self._turned_on(), *self.findings), *tables, section("", self._reading())]

    def overview(self, width: int = 80) -> list[Section]:
        """Return what was found, how many statements have which verdict, and those that block others for longest."""
        if len(self) <= FEW:
            return self.sections()
        heads = [word for word in WORDS if any(entry.probe and entry.probe.verdict == word for entry in self)]
        rows = []
        for group in dict.fromkeys(entry.group for entry in self):
            found: list[str] = [entry.probe.verdict.word for entry in self if entry.group == group and entry.probe]
            rows.append((group, str(len(found)), *(str(found.count(head) or "-") for head in heads)))
        titles = (Column("", wraps=False), *columns(">statements", *(f">{head}" for head in heads)))
        blocking = [(entry.probe.stall.p99, entry.statement) for entry in self
                    if entry.probe and entry.probe.verdict == "holds, blocks"]  # fmt: skip
        longest = "; ".join(
            f"{first_line(statement)} ({words.seconds(waited)})"
            for waited, statement in sorted(blocking, key=lambda pair: -pair[0])[:3]
        )
        parts = [*self._turned_on(), *self.findings[:3]]
        parts += [f"Others wait longest for: {longest}."] * bool(longest)
        errors = [f"{entry.statement}: {entry.error}" for entry in self if entry.error]
        return [
            section(self._heading(), *parts),
            section("", Table(titles, tuple(rows))),
            section("", *errors, self._reading()),
        ]

    def _heading(self) -> str:
        version = f" {self.version}" if self.version else ""
        return f"{self.title}{version}"

    def _turned_on(self) -> list[str]:
        culprit = self.environment.gil_culprit
        return [f"The GIL was turned on by {culprit}."] if culprit else []

    def _table(self, group: str) -> Table:
        """Return the table of a group; what is documented has a column where anything is."""
        entries = [entry for entry in self if entry.group == group]
        said = any(entry.documented.says != "silent" for entry in entries)
        titles = columns("statement", ">time", ">held", "verdict", ">two threads", *["documented"] * said)
        rows = tuple(_row(entry)[: len(titles)] for entry in entries)
        return Table(titles, rows, group, code=True)

    def _reading(self) -> str:
        """Describe the machine, and count the statements by verdict."""
        where = self.environment
        counted = [entry.probe.verdict.word for entry in self if entry.probe]
        counts = "; ".join(f"{counted.count(word)} {word}" for word in dict.fromkeys(sorted(counted)))
        errors = sum(1 for entry in self if entry.error)
        best = f" Two threads of native code that shares nothing: {self.reference.value:.2f}x."
        return (
            f"{where.interpreter}, {where.cpu_name}, {where.system}. {counts}; {words.counted(errors, 'error')}."
            f"{best if self.reference.n else ''}"
        )


def said_of(probed: Probe | None) -> str | None:
    """Return what was measured in the words of a document; None where it is not known for sure, or there is no GIL."""
    if probed is None or probed.verdict in OPEN or probed.verdict == "no GIL":
        return None
    return SAID.get(probed.verdict.word, "holds")


def first_line(statement: str) -> str:
    """Return the line of a statement by which it is known."""
    return statement.splitlines()[-1]


def _record(entry: Entry) -> dict[str, object]:
    """Return the figures of an entry, flat, under names that stay."""
    probed, scaling, said = entry.probe, entry.scaling, entry.documented
    record: dict[str, object] = {
        "group": entry.group, "statement": entry.statement, "setup": entry.setup, "size": entry.size,
        "documented": said.says, "documented_where": said.where, "note": said.note, "error": entry.error,
    }  # fmt: skip
    if probed is not None:
        record |= {
            "verdict": probed.verdict.word, "reason": probed.verdict.reason, "time": probed.time,
            **flat({"held": asdict(probed.held)}), "longest_hold": probed.longest_hold,
            "hand_overs": probed.hand_overs, "usable": probed.usable, **flat({"stall": asdict(probed.stall)}),
        }  # fmt: skip
    if scaling is not None:
        record |= {
            "two_threads": scaling.verdict.word, **flat({"speedup": asdict(scaling.speedup)}),
            "cpus_of_one": scaling.cpus,
        }  # fmt: skip
    return {**record, "disagrees": YES if entry.disagrees else NO}


def _row(entry: Entry) -> tuple[Cell, ...]:
    said = Value(entry.documented.says, "bad" if entry.disagrees else "", entry.documented.where)
    if entry.probe is None:
        return entry.statement, "", "", entry.error or "", "", said
    probed = entry.probe
    return (
        entry.statement,
        words.seconds(probed.time),
        held_share(probed),
        probed.verdict.shown(TONES),
        _two_threads(entry),
        said,
    )


def _two_threads(entry: Entry) -> Cell:
    scaling = entry.scaling
    if scaling is None:
        return Value("failed", "open", entry.error) if entry.error else "-"
    return Value(scaling.figure, SCALING_TONES.get(scaling.verdict.word, ""), scaling.verdict.reason)


# ---- measuring -------------------------------------------------------------------------------------------------


def atlas(
    source: str | os.PathLike[str],
    *,
    budget: Duration = BUDGET,
    threads: bool = True,
    progress: Callable[[str, int, int], None] | None = None,
) -> Atlas:
    """Probe every statement of a list, and see whether two threads of it get more done than one.

    Parameters
    ----------
    source : str or path
        The name of a list that comes with gilcmp, such as ``stdlib``, ``numpy`` or ``pandas``, or a TOML file of your
        own: an array of tables ``group``, each with a ``name``, a ``setup`` that is run once before (and once in each
        of the two threads), and ``statements``. A statement is a text, or a table with ``run``, ``size``, and what is
        documented: ``says`` (releases, holds, partly or silent), ``where``, and a ``note``.
    budget : float or str
        Seconds for each statement to be probed. The two threads take four times as long; where the figures do not
        decide, a statement is measured again with more.
    threads : bool
        Whether to measure two threads.
    progress : callable, optional
        Called before each statement with it, how many are done, and how many there are.

    Returns
    -------
    Atlas
        The entries in the order of the list. One that raises shows its error, and the rest goes on.

    Raises
    ------
    AtlasError
        For what is not such a list, the message names the place; for a library that is not installed.
    OSError
        For a file that cannot be read.
    KeyboardInterrupt
        Its attribute `atlas` holds the entries that were done, if any were.
    """
    budget = duration("budget", budget, 0.01, 3600)
    if not isinstance(threads, bool):
        raise TypeError(f"threads must be True or False, got {type(threads).__name__}")
    library = read_list(source)
    if library.version is None:
        raise AtlasError(f"{library.name} is not installed: pip install {library.distribution}")
    survey = _Survey(library, budget, threads, progress)
    try:
        survey.measure()
    except KeyboardInterrupt as error:
        if survey.entries:  # what was probed is kept
            error.atlas = survey.result()  # type: ignore[attr-defined]
        raise
    return survey.result()


class _Survey:
    """What is measured, and what has been."""

    def __init__(self, library: Library, budget: float, threads: bool, progress: Any) -> None:
        self.library, self.budget, self.threads, self.progress = library, budget, threads, progress
        self.entries: list[Entry] = []
        self.reference = UNKNOWN

    def result(self) -> Atlas:
        """Return what has been measured."""
        return Atlas(
            self.library.title,
            environment(),
            tuple(self.entries),
            self.library.distribution or ("Python" if self.library.name == "stdlib" else ""),
            self.library.version or "",
            self.reference,
            f"{date.today()}",
        )

    def measure(self) -> None:
        """Measure group after group."""
        if self.threads:
            self.reference = _reference(self.budget)
        for _, group in groupby(self.library.statements, key=lambda listed: (listed.group, listed.setup)):
            self._measure_group(list(group))

    def _measure_group(self, group: list[Listed]) -> None:
        setup = group[0].setup
        namespace: dict[str, Any] = {"__name__": "__main__"}
        broken = _run(partial(execute, setup, "<setup>", namespace))
        pair: TwoThreads | None = None
        unpaired = broken
        if self.threads and not broken and usable_cpus() >= THREADS:
            pairs: list[TwoThreads] = []
            unpaired = _run(lambda: pairs.append(TwoThreads(setup)))
            pair = pairs[0] if pairs else None
        try:
            for listed in group:
                if self.progress is not None:
                    self.progress(listed.statement, len(self.entries), len(self.library.statements))
                probed, error = self._probed(listed.statement, namespace) if not broken else (None, broken)
                scaling = None
                if probed is not None and self.threads:
                    problem = unpaired
                    if pair is not None:
                        scaling, problem = self._scaling(pair, listed.statement, probed)
                    error = f"in two threads: {problem}" if problem else None
                    if problem is not None and problem.startswith("TimeoutError"):  # the pair is of no more use
                        pair, unpaired = None, problem
                self.entries.append(
                    Entry(listed.group, listed.statement, probed, error, scaling, listed.documented, setup, listed.size)
                )
        finally:
            if pair is not None:
                _run(pair.close)
            _run(partial(clear, namespace))

    def _probed(self, statement: str, namespace: dict[str, Any]) -> tuple[Probe | None, str | None]:
        function = partial(statement_function, statement, namespace)
        return _until_decided(lambda seconds: probe(function(), budget=seconds), self.budget, OPEN)

    def _scaling(self, pair: TwoThreads, statement: str, probed: Probe) -> tuple[Scaling | None, str | None]:
        holds = said_of(probed) == "holds"

        def measure(seconds: float) -> Scaling:
            return pair.measure(statement, seconds, holds=holds, best=self.reference.low)

        return _until_decided(measure, PAIRED * self.budget, UNDECIDED)


def _until_decided(
    measure: Callable[[float], Measured], budget: float, undecided: tuple[str, ...]
) -> tuple[Measured | None, str | None]:
    """Measure, again with twice the time where the figures did not decide; return what was found or raised."""
    found: list[Measured] = []
    error = None
    for attempt in range(ATTEMPTS):
        error = _run(partial(lambda seconds: found.append(measure(seconds)), budget * 2**attempt))
        if error or found[-1].verdict not in undecided:
            break
    return (found[-1], None) if found else (None, error)


def _reference(budget: float) -> Estimate:
    """Measure native code that lets go of the GIL and shares nothing."""
    pair = TwoThreads("from gilcmp._kernels import pi_nogil")
    try:
        for attempt in range(ATTEMPTS):
            found = pair.measure("pi_nogil(0, 100_000, 1)", PAIRED * budget * 2**attempt)
            if found.verdict == "scales":
                break
    finally:
        pair.close()
    return found.speedup


def clear(namespace: dict[str, Any]) -> None:
    """Drop what a setup opened: files, sockets, folders; it has no other place to close them."""
    namespace.clear()
    gc.collect()


def _run(action: Callable[[], None]) -> str | None:
    """Run the user's code without output; return what it raised."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            action()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit, and a panic of Rust's, are errors of the statement
            return " ".join(f"{type(error).__name__}: {error}".split())
    return None
