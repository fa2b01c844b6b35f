"""The atlas: a list of statements, each probed, to see which of them release the GIL."""

from __future__ import annotations

import gc
import io
import os
import tomllib
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

from attrs import asdict, frozen

from gilcmp.base.calls import execute, statement_function
from gilcmp.base.checks import Duration, duration
from gilcmp.measure.machine import environment
from gilcmp.probing.probe import probe
from gilcmp.probing.probe_result import TONES, WORDS, Probe, held_share
from gilcmp.saved.environment import Environment
from gilcmp.saved.kept import Kept, flat
from gilcmp.show import words
from gilcmp.show.model import Cell, Column, Section, Table, columns, section

#: The lists that come with gilcmp
SHIPPED = ("stdlib", "numpy")
FEW = 12  # statements that fit on a screen
BUDGET = 0.3  # seconds for each statement


class AtlasError(ValueError):
    """A list of statements cannot be read; the message names the place."""


@frozen
class Entry:
    """A statement with what the probe said of it, or with the error that it raised."""

    group: str
    statement: str
    probe: Probe | None
    error: str | None


@frozen
class Atlas(Kept):
    """All entries of a list, and where they were measured."""

    FORMAT: ClassVar[str] = "gilcmp atlas"

    title: str
    environment: Environment
    entries: tuple[Entry, ...]

    def records(self) -> list[dict[str, object]]:
        """Return its entries."""
        return [flat(asdict(entry)) for entry in self]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, statement: str) -> Entry:
        for entry in self.entries:
            if entry.statement == statement:
                return entry
        raise KeyError(f"no statement {statement!r} in the atlas")

    def sections(self) -> list[Section]:
        """Return what is shown of it: a table for each group."""
        groups = dict.fromkeys(entry.group for entry in self)
        tables = [section("", self._table(group)) for group in groups]
        return [section(self.title), *tables, section("", self._reading())]

    def overview(self, width: int = 80) -> list[Section]:
        """Return how many statements of each group have which verdict, and those that block others for longest."""
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
            f"{statement.splitlines()[-1]} ({words.seconds(waited)})"
            for waited, statement in sorted(blocking, key=lambda pair: -pair[0])[:3]
        )
        parts = [f"Others wait longest for: {longest}."] * bool(longest)
        errors = [f"{entry.statement}: {entry.error}" for entry in self if entry.error]
        return [
            section(self.title, *parts),
            section("", Table(titles, tuple(rows))),
            section("", *errors, self._reading()),
        ]

    def _table(self, group: str) -> Table:
        titles = columns("statement", ">time", ">held", ">usable", "verdict")
        return Table(titles, tuple(_row(entry) for entry in self if entry.group == group), group, code=True)

    def _reading(self) -> str:
        """Describe the machine, and count the statements by verdict."""
        where = self.environment
        counted = [entry.probe.verdict.word for entry in self if entry.probe]
        counts = "; ".join(f"{counted.count(word)} {word}" for word in dict.fromkeys(sorted(counted)))
        errors = len(self) - len(counted)
        return f"{where.interpreter}, {where.cpu}, {where.system}. {counts}; {words.counted(errors, 'error')}."


def _row(entry: Entry) -> tuple[Cell, ...]:
    if entry.probe is None:
        return entry.statement, "", "", "", entry.error or ""
    probed = entry.probe
    return (
        entry.statement,
        words.seconds(probed.time),
        held_share(probed),
        words.percent(probed.usable),
        probed.verdict.shown(TONES),
    )


@frozen
class _Group:
    name: str
    setup: str
    statements: tuple[str, ...]


def atlas(
    source: str | os.PathLike[str],
    *,
    budget: Duration = BUDGET,
    progress: Callable[[str, int, int], None] | None = None,
) -> Atlas:
    """Probe every statement of a list.

    Parameters
    ----------
    source : str or path
        ``stdlib``, ``numpy``, or a TOML file of your own: an array of tables ``group``, each with a ``name``, a
        ``setup`` that is run once before, and ``statements``.
    budget : float
        Seconds for each statement.
    progress : callable, optional
        Called before each statement with it, how many are done, and how many there are.

    Returns
    -------
    Atlas
        The entries in the order of the list. One that raises shows its error, and the rest goes on.

    Raises
    ------
    AtlasError
        For what is not such a list; the message names the place.
    OSError
        For a file that cannot be read.
    KeyboardInterrupt
        Its attribute `atlas` holds the entries that were done, if any were.
    """
    budget = duration("budget", budget, 0.01, 3600)
    title, groups = _read(source)
    total = sum(len(group.statements) for group in groups)
    entries: list[Entry] = []
    try:
        for group in groups:
            namespace: dict[str, Any] = {"__name__": "__main__"}
            broken = _run(partial(execute, group.setup, "<setup>", namespace))
            for statement in group.statements:
                if progress is not None:
                    progress(statement, len(entries), total)
                entries.append(_entry(group.name, statement, namespace, broken, budget))
            _run(partial(clear, namespace))
    except KeyboardInterrupt as error:
        if entries:  # what was probed is kept
            error.atlas = Atlas(title, environment(), tuple(entries))  # type: ignore[attr-defined]
        raise
    return Atlas(title, environment(), tuple(entries))


def clear(namespace: dict[str, Any]) -> None:
    """Drop what a setup opened: files, sockets, folders; it has no other place to close them."""
    namespace.clear()
    gc.collect()


def _entry(group: str, statement: str, namespace: dict[str, Any], broken: str | None, budget: float) -> Entry:
    probes: list[Probe] = []
    error = broken or _run(lambda: probes.append(probe(statement_function(statement, namespace), budget=budget)))
    return Entry(group, statement, probes[0] if probes else None, error)


def _run(action: Callable[[], None]) -> str | None:
    """Run the user's code without output; return what it raised."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            action()
        except Exception as error:
            return " ".join(f"{type(error).__name__}: {error}".split())
    return None


def _read(source: str | os.PathLike[str]) -> tuple[str, list[_Group]]:
    name = os.fspath(source)
    if name in SHIPPED:
        text = (files("gilcmp.probing") / f"atlas_{name}.toml").read_text(encoding="utf-8")
    else:
        try:
            text = Path(name).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise AtlasError(f"{name}: not UTF-8 at byte {error.start}") from None
        except FileNotFoundError:
            raise AtlasError(f"source must be {', '.join(SHIPPED)} or a TOML file, got {name!r}") from None
    try:
        body = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise AtlasError(f"{name}: not TOML: {error}") from None
    groups = body.get("group")
    if not isinstance(groups, list) or not groups:
        raise AtlasError(f"{name}: must have an array of tables [[group]]")
    return str(body.get("title", name)), [_group(name, number, table) for number, table in enumerate(groups)]


def _group(source: str, number: int, table: Any) -> _Group:
    where = f"{source}: group[{number}]"
    if not isinstance(table, dict):
        raise AtlasError(f"{where} must be a table, got {type(table).__name__}")
    name, setup, statements = (
        table.get("name", f"group {number}"),
        table.get("setup", ""),
        table.get("statements"),
    )
    for key, value in (("name", name), ("setup", setup)):
        if not isinstance(value, str):
            raise AtlasError(f"{where}.{key} must be text, got {type(value).__name__}")
    if not isinstance(statements, list) or not statements:
        raise AtlasError(f"{where}.statements must be a list of at least one statement")
    for place, statement in enumerate(statements):
        if not isinstance(statement, str):
            raise AtlasError(f"{where}.statements[{place}] must be text, got {type(statement).__name__}")
    unknown = sorted(set(table) - {"name", "setup", "statements"})
    if unknown:
        raise AtlasError(f"{where} has no {unknown[0]!r}: only name, setup and statements")
    return _Group(name, setup, tuple(statements))
