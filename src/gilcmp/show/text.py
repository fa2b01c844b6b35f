"""Sections as text for terminals: complete at 80 columns, and without colours where there are none."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from io import StringIO
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from gilcmp.show.model import Chart, Column, Part, Section, Sentence, Table, Value
from gilcmp.show.words import printable

NARROW = 80
STYLES = {"good": "green", "fair": "yellow", "bad": "red", "open": "magenta", "strong": "bold", "dim": "dim"}


def show(sections: Sequence[Section], *, stderr: bool = False) -> None:
    """Print sections to the terminal."""
    console = Console(highlight=False, soft_wrap=False, stderr=stderr, force_jupyter=False)
    if console.is_terminal:
        console.print(render(sections, console.width))
    else:  # without the spaces at the ends of lines with which a terminal is filled
        print(plain(sections, console.width), file=sys.stderr if stderr else sys.stdout)


def terminal_width() -> int:
    """Return how many columns the terminal has."""
    return Console().width


def plain(sections: Sequence[Section], width: int = NARROW) -> str:
    """Return sections as text without colours."""
    file = StringIO()
    # in a notebook rich would display what it is to return as a string
    console = Console(file=file, width=width, color_system=None, legacy_windows=False, force_jupyter=False)
    console.print(render(sections, width))
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def render(sections: Sequence[Section], width: int) -> RenderableType:
    """Return sections for a rich console of so many columns, an empty line between two."""
    lines: list[RenderableType] = []
    for number, section in enumerate(sections):
        if number:
            lines.append(Text())
        if section.title:
            lines.append(_styled(section.title, "strong"))
        lines += [_part(part, width) for part in section.parts if not isinstance(part, Chart)]
    return Group(*lines)


def _part(part: Part, width: int) -> RenderableType:
    if isinstance(part, Sentence):
        text = _styled(part.text, part.tone)
        if part.lead is not None:
            text = Text.assemble(_styled(part.lead.text, part.lead.tone), ": ", text)
        return Padding(text, (0, 0, 0, part.indent)) if part.indent else text
    if isinstance(part, Table):
        table = _table(part, width) if _fits(part, width) else _stacked(part)
        return Padding(table, (0, 0, 0, part.indent)) if part.indent else table
    raise TypeError(f"part must be a sentence or a table, got {type(part).__name__}")


def _styled(text: str, tone: str) -> Text:
    return Text(printable(text), style=STYLES.get(tone, ""))


def _table(table: Table, width: int) -> RichTable:
    gap = 1 if table.has_head else 2
    drawn = RichTable(box=None, padding=(0, gap, 0, 0), pad_edge=False, header_style="dim", show_header=table.has_head)
    widths = _widths(table, _room(table, width))
    for number, column in enumerate(table.columns):
        title = table.title if table.title and number == 0 else column.title
        drawn.add_column(_styled(title, ""), width=widths[number], **_settings(column))
    for changed, row in table.shown_rows():
        if changed and table.spaced:
            drawn.add_row()
        drawn.add_row(*(_styled(value.text, value.tone) for value in row))
    return drawn


def _stacked(table: Table) -> RenderableType:
    """Return a table that is too wide as sentences, one a row: numbers with the titles of their columns."""
    lines = []
    for row in table.rows:
        parts = []
        for column, value in zip(table.columns, row, strict=True):
            shown = _styled(value.text, value.tone) if isinstance(value, Value) else _styled(value, "")
            title = f"{column.title} " if column.right and column.title else ""
            parts += [_styled(title, "dim") + shown] if shown.plain else []
        lines.append(Padding(Text(", ").join(parts), (0, 0, 0, 2)))
    return Group(*([_styled(table.title, "")] if table.title else []), *lines)


def _room(table: Table, width: int) -> int:
    return width - table.indent - (1 if table.has_head else 2) * (len(table.columns) - 1)


def _fits(table: Table, width: int) -> bool:
    """Whether a table can be drawn without breaking a word."""
    shortest, _ = _needed(table)
    return sum(shortest) <= _room(table, width)


def _needed(table: Table) -> tuple[list[int], list[int]]:
    """Return what each column needs where its words wrap, and where they do not."""
    shortest, longest = [], []
    for number, column in enumerate(table.columns):
        title = table.title if table.title and number == 0 else column.title
        values = (row[number] for row in table.rows)
        texts = [title, *(value.text if isinstance(value, Value) else value for value in values)]
        longest.append(max(map(len, texts)))
        # numbers stay with their units
        words = [*title.split(), *(word for text in texts[1:] for word in ([text] if column.right else text.split()))]
        shortest.append(max(map(len, words), default=0) if column.wraps else longest[-1])
    return shortest, longest


def _widths(table: Table, room: int) -> Sequence[int | None]:
    """Return widths of columns in which no word is broken; None each where rich may choose."""
    shortest, longest = _needed(table)
    if sum(longest) <= room or sum(shortest) > room:
        return [None] * len(table.columns)
    # the widest columns give up what is missing
    fitting = [
        widths
        for most in range(1, room + 1)
        if sum(widths := [max(low, min(high, most)) for low, high in zip(shortest, longest, strict=True)]) <= room
    ]
    return fitting[-1]


def _settings(column: Column) -> dict[str, Any]:
    return {
        "justify": "right" if column.right else "left",
        "overflow": "fold",
        "no_wrap": not column.wraps,
    }
