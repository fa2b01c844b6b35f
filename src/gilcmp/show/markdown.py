"""Sections as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gilcmp.show.model import Section, Sentence, Table, Value
from gilcmp.show.words import printable


def markdown(sections: Sequence[Section]) -> str:
    """Return sections as Markdown: the first heading of level 2, the others of level 3."""
    blocks: list[str] = []
    level = "##"
    for section in sections:
        if section.title:
            blocks.append(f"{level} {cell(section.title)}")
            level = "###"
        for part in section.parts:
            if isinstance(part, Sentence):
                blocks.append(cell(part.whole))
            elif isinstance(part, Table):
                blocks += [f"### {cell(part.title)}"] * bool(part.title)
                blocks.append("\n".join(_table(part)))
    return "\n\n".join(blocks) + "\n"


def cell(text: str) -> str:
    """Return text for a cell of a table, escaped so that it shows literally."""
    for plain, safe in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("*", "\\*"), ("\n", " ")):
        text = text.replace(plain, safe)
    return printable(text)


def _code(text: str) -> str:
    text = printable(text.replace("|", "\\|").replace("\n", " ; "))
    return f"`{text.replace('`', chr(39))}`"


def _table(table: Table) -> Iterator[str]:
    yield f"| {' | '.join(cell(column.title) for column in table.columns)} |"
    yield f"| {' | '.join('--:' if column.right else '---' for column in table.columns)} |"
    for row in table.rows:
        first, *rest = (value.text if isinstance(value, Value) else value for value in row)
        name = _code(first) if table.code else cell(first)
        yield f"| {' | '.join([name, *map(cell, rest)])} |"
