"""Sections as HTML: for notebooks, and as a page of its own that needs no network and runs no script.

Texts come from files and are not to be trusted: every one of them goes through `escape`, and a content security policy
keeps the page from running or asking for anything.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from itertools import groupby
from string import Template

from attrs import frozen

from gilcmp.show.model import Cell, Chart, Part, Section, Sentence, Table, Value

LARGEST = 1_900_000  # bytes of a page; raw data that would make it larger is left out, and the page says so
LONG = 36  # a value of more characters may wrap


def element(name: str, inside: str, **attributes: str) -> str:
    """Return an element; `inside` is HTML, the attributes' values are text (those that are empty are left out)."""
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items() if value
    )
    return f"<{name}{pairs}>{inside}</{name}>"


def _value(value: Cell, tag: str, scope: str = "") -> str:
    shown = value if isinstance(value, Value) else Value(value)
    inside = escape(shown.text)
    if shown.tone:
        inside = element("span", inside, class_=f"tone-{shown.tone}")
    return element(tag, inside, title=shown.hint, scope=scope, class_="long" * (len(shown.text) > LONG))


def table_html(table: Table, caption: str = "") -> str:
    """Return a table; each row's first value is its heading."""
    head = "".join(element("th", escape(column.title), scope="col") for column in table.columns)
    rows = [
        element("tr", _value(first, "th", "row") + "".join(_value(value, "td") for value in rest))
        for first, *rest in table.rows
    ]
    parts = [element("caption", escape(caption))] * bool(caption)
    parts += [element("thead", element("tr", head))] * table.has_head
    return element("table", "".join([*parts, element("tbody", "".join(rows))]))


def notebook(sections: Iterable[Section], charts: Sequence[Chart]) -> str:
    """Return sections as HTML, with their picture where matplotlib is there to draw it."""
    lines = []
    for section in sections:
        if section.title:
            lines.append(element("p", element("strong", escape(section.title))))
        for part in section.parts:
            if isinstance(part, Table):
                lines.append(table_html(part, part.title))
            elif isinstance(part, Sentence):
                lines.append(element("p", escape(part.whole)))
    return "".join(lines) + _picture(charts)


def _picture(charts: Sequence[Chart]) -> str:
    if not charts:
        return ""
    from gilcmp.show.figure import figure, png

    try:
        data = base64.b64encode(png(figure(charts))).decode()
    except ImportError:
        return ""
    alternative = escape(" ".join(chart.alternative for chart in charts))
    return f'<img alt="{alternative}" src="data:image/png;base64,{data}" style="max-width: 100%">'


# ---- a page of its own ----------------------------------------------------------------------------------------


@frozen
class Download:
    """Raw data that a page carries: the name of the file, and its content."""

    name: str
    text: str


def page(title: str, sections: Sequence[Section], downloads: Sequence[Download], footer: str) -> str:
    """Return a page. The last section also offers the downloads, as far as they fit into `LARGEST` bytes."""
    from gilcmp.show.figure import need_matplotlib

    need_matplotlib()
    contents = "".join(
        f'<li><a href="#section-{number}">{escape(part.title)}</a></li>' for number, part in enumerate(sections, 1)
    )
    body = [_section(section, f"section-{number}") for number, section in enumerate(sections, 1)]
    frame = Template(files("gilcmp.show").joinpath("page.html").read_text(encoding="utf-8"))

    def filled(links: str) -> str:
        text = frame.substitute(
            title=escape(title), contents=contents, body="\n".join(body) + links, footer=escape(footer)
        )
        return text.encode("utf-8", "replace").decode()  # a lone surrogate, which JSON can hold, is no text

    return filled(_links(downloads, LARGEST - len(filled("").encode())))


def _links(downloads: Sequence[Download], room: int) -> str:
    lines = []
    for download in downloads:
        data = base64.b64encode(gzip.compress(download.text.encode("utf-8", "replace"), 9, mtime=0)).decode()
        room -= len(data)
        if room < 0:
            lines.append(element("li", escape(f"{download.name}: left out: the report would be larger than 2 MB")))
        else:
            uri = f"data:application/gzip;base64,{data}"
            lines.append(
                element(
                    "li",
                    element("a", escape(f"{download.name}.gz"), download=f"{download.name}.gz", href=uri),
                )
            )
    return "<h3>Raw data</h3>" + element("ul", "".join(lines)) if lines else ""


def _section(section: Section, name: str) -> str:
    lines = [element("h2", escape(section.title), id=name)]
    number = 0
    for kind, parts in groupby(section.parts, key=type):
        if kind is Chart:
            charts = []
            for chart in parts:
                if isinstance(chart, Chart):
                    number += 1
                    charts.append(_chart(chart, f"{name}-chart-{number}"))
            lines.append(element("div", "".join(charts), class_="charts"))
        elif kind is Sentence:
            lines += _sentences(parts)
        else:
            lines += [_scrolled(part) for part in parts if isinstance(part, Table)]
    return element("section", "\n".join(lines), aria_labelledby=name)


def _sentences(parts: Iterable[Part]) -> list[str]:
    """Return paragraphs; those of tone "strong" are what was found: a list."""
    lines = []
    for strong, sentences in groupby(parts, key=lambda part: isinstance(part, Sentence) and part.tone == "strong"):
        texts = [escape(part.whole) for part in sentences if isinstance(part, Sentence)]
        if strong:
            lines.append(element("ul", "".join(element("li", text) for text in texts), class_="findings"))
        else:
            lines += [element("p", text) for text in texts]
    return lines


def _scrolled(table: Table) -> str:
    title = table.title or "figures"
    inside = element(
        "div",
        table_html(table, title),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label=f"Table: {title}",
    )
    return _folded(title.capitalize(), inside) if table.folded else inside


def _folded(title: str, inside: str) -> str:
    return element("details", element("summary", escape(title)) + inside)


def _chart(chart: Chart, name: str) -> str:
    from gilcmp.show.figure import svg

    picture = element("div", svg(chart, name), class_="chart", id=name, role="img", aria_label=chart.alternative)
    caption = ""
    if chart.table is not None:
        caption = element("figcaption", _folded("The figures as a table", _scrolled(chart.table)))
    return element("figure", element("h3", escape(chart.title)) + picture + caption)
