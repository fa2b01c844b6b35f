"""The results of testing claims: data, saving, and how they are shown."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from attrs import asdict, frozen

from gilcmp._version import __version__
from gilcmp.base.files import replace_file
from gilcmp.experiments.claim import CANNOT, CONFIRMED, DIFFERS, REFUTED, Figure
from gilcmp.judge.charts import PALETTE, row_height
from gilcmp.judge.verdict import Verdict
from gilcmp.saved.environment import Environment
from gilcmp.saved.kept import csv_text, flat
from gilcmp.saved.reading import ResultError, parsed, structured, without_nan
from gilcmp.show.model import (
    Axis,
    Bars,
    Chart,
    Column,
    Dots,
    Part,
    Section,
    Sentence,
    Stretch,
    Table,
    Value,
    columns,
    section,
)  # fmt: skip
from gilcmp.show.views import Shown

FORMAT, SCHEMA = "gilcmp claims", 1
TONES = {CONFIRMED: "good", REFUTED: "bad", DIFFERS: "fair", CANNOT: "open"}


@frozen
class Result:
    """A claim, the interpreter it was tested in, and what came out.

    Attributes
    ----------
    name, sentence, experiment, note : str
        The claim's.
    python : str
        Version of the interpreter, with a t where it is free-threaded.
    verdict : Verdict
        ``confirmed``, ``refuted``, ``differs on this build`` or ``cannot be tested here``, with the reason.
    figures : tuple of Figure
        What was measured.
    seconds : float
        How long it took.
    """

    name: str
    sentence: str
    experiment: str
    note: str
    python: str
    verdict: Verdict
    figures: tuple[Figure, ...]
    seconds: float


@frozen
class _Saved:
    """What is read of a file."""

    environment: Environment
    results: list[Result]


class Claims(Sequence[Result], Shown):
    """The results of `claims`, in order; printing them shows a table with the figures.

    Attributes
    ----------
    environment : Environment
        Where they were tested.
    results : tuple of Result
        All of them.
    """

    def __init__(self, results: Iterable[Result], where: Environment) -> None:
        self.results = tuple(results)
        self.environment = where

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return next(result for result in self.results if result.name == key)
        return self.results[key]

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[Result]:
        return iter(self.results)

    @property
    def findings(self) -> list[str]:
        """How many came out how, in a sentence."""
        return [f"Claims about the GIL: {self._counts()}."]

    def _counts(self) -> str:
        words = [result.verdict.word for result in self]
        return ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))

    def sections(self) -> list[Section]:
        """Return what is shown of them: a section for each claim, then how many came out how."""
        several = len({result.python for result in self}) > 1
        sections = []
        for name, results in groupby(self, key=lambda result: result.name):
            sections.append(_claim_section(name, list(results), several=several))
        return [*sections, section("", self._summary())]

    def overview(self, width: int = 80) -> list[Section]:
        """Return a line for each claim, with its verdict in each interpreter; a single claim is shown whole."""
        claims = {name: list(results) for name, results in groupby(self, key=lambda result: result.name)}
        if len(claims) < 2:
            return self.sections()
        pythons = list(dict.fromkeys(result.python for result in self))
        titles = columns("claim", *(pythons if len(pythons) > 1 else [""]), "what people are told")
        rows = []
        for name, results in claims.items():
            verdicts = {result.python: result.verdict.shown(TONES) for result in results}
            if any(result.verdict != CANNOT for result in results):
                rows.append((name, *(verdicts.get(python, "") for python in pythons), results[0].sentence))
        reasons = []
        for result in self:
            if result.verdict != CONFIRMED:
                where = f" in {result.python}" if len(pythons) > 1 else ""
                reasons.append(f"{result.name} {result.verdict}{where}: {result.verdict.reason}.")
        return [section("", self._summary()), section("", Table(titles, tuple(rows))), section("", *reasons)]

    def _summary(self) -> str:
        where = self.environment
        took = sum(result.seconds for result in self)
        return (
            f"{self._counts() or 'nothing tested'}. {where.interpreter}, {where.cpus:g} of {where.cpus_logical} CPUs "
            f"({where.cpu_name}), {took:.0f} s."
        )

    def charts(self) -> list[Chart]:
        """Return a chart of each claim's figures that can be laid side by side."""
        charts = []
        for result in self:
            if result.python != self.results[0].python:
                continue  # its figures are in the table
            for unit in dict.fromkeys(figure.unit for figure in result.figures):
                alike = [figure for figure in result.figures if figure.unit == unit and not math.isnan(figure.value)]
                if unit in _AXES and len(alike) > 1:
                    charts.append(_bars(result.sentence, unit, alike))
        return charts

    def tables(self) -> list[Table]:
        """Return a table of the verdicts, and one of all figures."""
        verdicts = tuple(
            (result.name, result.sentence, result.python, result.verdict.shown(TONES), result.verdict.reason)
            for result in self
        )
        figures = tuple(
            (result.name, result.python, figure.name, figure.shown) for result in self for figure in result.figures
        )
        return [
            Table(columns("claim", "what people are told", "Python", "verdict", "reason"), verdicts, "claims"),
            Table(columns("claim", "Python", "figure", "value"), figures, "the claims' figures", folded=True),
        ]

    def to_json(self) -> str:
        """Write them as JSON."""
        body = {
            "format": FORMAT,
            "schema": SCHEMA,
            "gilcmp": __version__,
            "environment": asdict(self.environment),
            "results": [asdict(result) for result in self.results],
        }
        return json.dumps(without_nan(body), indent=1, allow_nan=False) + "\n"

    def to_csv(self) -> str:
        """Return their figures as CSV, each with its claim and verdict."""
        return csv_text(
            [
                {"claim": result.name, "python": result.python, "verdict": result.verdict.word, **flat(asdict(figure))}
                for result in self
                for figure in result.figures
            ]
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save them as JSON; the file is replaced as a whole or not at all."""
        replace_file(path, self.to_json())


_AXES = {"x": "times", "s": "seconds", "/s": "a second", "%": "%"}


def _bars(sentence: str, unit: str, figures: Sequence[Figure]) -> Chart:
    """Return figures of one unit as bars, each with its interval."""
    numbers = tuple(range(len(figures)))
    ends = tuple(figure.value for figure in figures)
    log = min(ends) > 0 and max(ends) > 30 * min(ends)
    start = min(ends) / 2 if log else 0.0
    names = tuple(figure.name for figure in figures)
    hints = tuple(f"{figure.name}: {figure.shown}" for figure in figures)
    marks: list[Bars | Dots | Stretch] = [Bars("", numbers, (start,) * len(figures), ends, PALETTE[2], hints)]
    known = [number for number in numbers if not math.isnan(figures[number].low)]
    if known:
        lows, highs = (tuple(getattr(figures[number], end) for number in known) for end in ("low", "high"))
        values = tuple(ends[number] for number in known)
        marks.append(Dots("95 %", tuple(map(float, known)), values, lows, highs, "#000000", "|"))
    if unit == "x":
        marks.append(Stretch(1.0, note="1x"))
    shown = "; ".join(hints[:8])
    axis = Axis(_AXES[unit], log=log, low=None if log else 0.0)
    return Chart(sentence, f"Bars: {shown}.", axis, Axis(), tuple(marks), names, legend=False, width=7.0,
                 height=row_height(len(figures)))  # fmt: skip


def _claim_section(name: str, results: Sequence[Result], *, several: bool) -> Section:
    first = results[0]
    about = [Sentence(text, "dim", indent=2) for text in (first.experiment, first.note) if text]
    parts: list[Part] = []
    for result in results:
        verdict = result.verdict.shown(TONES)
        lead = Value(f"{result.python}: {verdict.text}" if several else verdict.text, verdict.tone)
        parts.append(Sentence(result.verdict.reason, lead=lead, indent=2))
        parts += figure_tables(result.figures)
    return section(f"{name}: {first.sentence}", *about, *parts)


def figure_tables(figures: Sequence[Figure]) -> list[Table]:
    """Return figures as tables: those that share rows or columns in one, the others a line each."""
    tables: list[Table] = []
    lines = tuple((figure.name, figure.shown) for figure in figures if not figure.row)
    if lines:
        tables.append(Table((Column(""), Column("", wraps=False)), lines, indent=4))
    left = [figure for figure in figures if figure.row]
    while left:
        together = [left[0]]
        for figure in left[1:]:
            if any(figure.row == other.row or figure.column == other.column for other in together):
                together.append(figure)
        left = [figure for figure in left if figure not in together]
        rows, heads = (list(dict.fromkeys(getattr(f, name) for f in together)) for name in ("row", "column"))
        shown = {(figure.row, figure.column): figure.shown for figure in together}
        body = tuple((row, *(shown.get((row, head), "-") for head in heads)) for row in rows)
        tables.append(Table(columns("", *(f">{head}" for head in heads)), body, indent=4))
    return tables


def read_claims(text: str, source: str) -> Claims:
    """Read saved claims.

    Parameters
    ----------
    text : str
        JSON, as `Claims.to_json` writes it.
    source : str
        What to call it in an error.

    Raises
    ------
    ResultError
        For what is not JSON, not claims, of a newer schema, or broken.
    """
    body = parsed(text, source)
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise ResultError(f'{source}: not saved claims: it has no "format": "{FORMAT}" at its top')
    if body.get("schema") != SCHEMA:
        raise ResultError(f'{source}: "schema" must be {SCHEMA}, got {body.get("schema")!r}')
    saved = structured(body, _Saved, "claims", source, null_is_nan=True)
    return Claims(saved.results, saved.environment)
