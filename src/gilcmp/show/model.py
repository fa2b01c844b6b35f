"""What a result hands over to be drawn: sections of sentences, tables and charts. Data only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from attrs import frozen

#: What a colour would mean; every view has its own colours, and none says anything by colour alone.
TONES = ("", "good", "fair", "bad", "open", "strong", "dim")


@frozen
class Value:
    """A value in a table.

    Attributes
    ----------
    text : str
        What is shown.
    tone : str
        One of `TONES`.
    hint : str
        More about it, for views in which it can be pointed at.
    """

    text: str
    tone: str = ""
    hint: str = ""


Cell: TypeAlias = str | Value


@frozen
class Column:
    """A column of a table: its title, whether it is set to the right (numbers), and whether its text may wrap."""

    title: str
    right: bool = False
    wraps: bool = True


def columns(*titles: str) -> tuple[Column, ...]:
    """Return columns; a title that begins with ">" makes its column right-aligned."""
    return tuple(Column(title.removeprefix(">"), right=title.startswith(">")) for title in titles)


@frozen
class Table:
    """A table; the first value of a row names it.

    Attributes
    ----------
    columns : tuple of Column
        Without any title the table has no head.
    rows : tuple of tuple of str or Value
        As many values each as there are columns.
    title : str
        The caption; in text it replaces the first column's title.
    repeats : int
        In text, the values of this many leading columns show only in rows where they change.
    spaced : bool
        Text has an empty line where they change.
    code : bool
        Whether the first column is code.
    folded : bool
        Whether a page shows it collapsed.
    indent : int
        Characters to the left of it, as text.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""
    repeats: int = 0
    spaced: bool = False
    code: bool = False
    folded: bool = False
    indent: int = 0

    @property
    def has_head(self) -> bool:
        """Whether any column has a title."""
        return any(column.title for column in self.columns)

    def shown_rows(self) -> Iterator[tuple[bool, list[Value]]]:
        """Yield, for text, whether the leading values of a row changed, and the row without those that repeat."""
        before: list[Value] | None = None
        for row in self.rows:
            values = [value if isinstance(value, Value) else Value(value) for value in row]
            leading = values[: self.repeats]
            changed = leading != before
            yield (
                changed and before is not None,
                values if changed else [Value("")] * self.repeats + values[self.repeats :],
            )
            before = leading


def pairs(rows: Iterable[tuple[str, Cell]], indent: int = 0) -> Table:
    """Return a table of names and values, without a head."""
    return Table((Column("", wraps=False), Column("")), tuple(rows), indent=indent)


@frozen
class Sentence:
    """A sentence, which a value may lead: ``confirmed: because ...``."""

    text: str
    tone: str = ""
    lead: Value | None = None
    indent: int = 0

    @property
    def whole(self) -> str:
        """The sentence with what leads it."""
        return f"{self.lead.text}: {self.text}" if self.lead is not None else self.text


@frozen
class Axis:
    """An axis: its title, whether it is logarithmic, its ends, and its ticks with their labels (empty: as it comes)."""

    title: str = ""
    log: bool = False
    low: float | None = None
    high: float | None = None
    ticks: tuple[tuple[float, str], ...] = ()


@frozen
class Curve:
    """Points joined by a line, with a band around them.

    Attributes
    ----------
    name : str
        For the legend.
    x, y : tuple of float
        The points.
    colour : str
        ``#RRGGBB``, or empty for that of the text.
    low, high : tuple of float
        The band; empty: none. NaN where it is not known.
    marker : str
        A name of matplotlib's markers; empty: none.
    dash : str
        ``solid``, ``dashed`` or ``dotted``.
    hints : tuple of str
        The tooltip of each point.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    colour: str = ""
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    marker: str = ""
    dash: str = "solid"
    hints: tuple[str, ...] = ()


@frozen
class Bars:
    """Bars in the rows of a chart: `row`, `start` and `end` of each; `error` is the interval of the last bar's end."""

    name: str
    row: tuple[int, ...]
    start: tuple[float, ...]
    end: tuple[float, ...]
    colour: str
    hints: tuple[str, ...] = ()
    error: tuple[float, float] | None = None


@frozen
class Dots:
    """Values in the rows of a chart, each with its interval."""

    name: str
    row: tuple[float, ...]
    value: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    colour: str
    marker: str
    hints: tuple[str, ...] = ()


@frozen
class Stretch:
    """A stretch of the horizontal axis, over all rows; without an end a line with a note."""

    start: float
    end: float | None = None
    name: str = ""
    note: str = ""


Mark: TypeAlias = Curve | Bars | Dots | Stretch


@frozen
class Chart:
    """A chart, and the table with the same figures.

    Attributes
    ----------
    title : str
        Its heading.
    alternative : str
        What it shows, for those who cannot see it.
    x, y : Axis
        The axes.
    marks : tuple
        What is drawn.
    rows : tuple of str
        Labels of the rows, from the top; empty: the vertical axis is numeric.
    table : Table or None
        The figures.
    legend : bool
        Whether the marks' names are shown.
    width, height : float
        Inches.
    """

    title: str
    alternative: str
    x: Axis
    y: Axis
    marks: tuple[Mark, ...]
    rows: tuple[str, ...] = ()
    table: Table | None = None
    legend: bool = True
    width: float = 4.8
    height: float = 3.0


Part: TypeAlias = Sentence | Table | Chart


@frozen
class Section:
    """A heading, which may be empty, and what stands under it."""

    title: str
    parts: tuple[Part, ...]


def section(title: str, *parts: Part | str) -> Section:
    """Return a section; text stands for a sentence."""
    return Section(title, tuple(Sentence(part) if isinstance(part, str) else part for part in parts))
