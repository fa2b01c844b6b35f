"""The report as one HTML file: no network, light and dark, a table for every chart.

Texts come from files and are not to be trusted: Jinja escapes whatever gets into the page, data for the charts travels
as compressed base64, and a content security policy keeps the page from asking anybody for anything.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from typing import Any

from attrs import evolve, frozen

from gilcmp._version import __version__
from gilcmp.environment import Environment
from gilcmp.report import Report
from gilcmp.show import series
from gilcmp.show.claims import threshold_answers
from gilcmp.show.diff import what_the_lock_changed
from gilcmp.show.html_sections import Chart, Table, diff_of_runs, sections
from gilcmp.show.terminal import environment_rows

LARGEST = 1_900_000  # bytes of a report; raw data that would make it larger is left out, and the page says so


@frozen
class Download:
    """Raw data: a file's name, its compressed content as a data URI, or why it is not there."""

    name: str
    uri: str
    missing: str = ""


def need_bokeh() -> None:
    """Raise ImportError, which says what to install, where there is no Bokeh."""
    try:
        import bokeh  # noqa: F401
        import jinja2  # noqa: F401
    except ImportError:
        raise ImportError('a report needs Bokeh: pip install "gilcmp[report]"') from None


def report_html(report: Report) -> str:
    """Return a report as one HTML document."""
    need_bokeh()
    import jinja2
    from markupsafe import Markup

    parts = list(sections(report))
    items = [_json_item(chart) for section in parts for chart in section.charts]
    loader = jinja2.PackageLoader("gilcmp.show", ".")
    views = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True)
    template = views.get_template("report.html.jinja")

    def page(downloads: Sequence[Download]) -> str:
        text: str = template.render(
            title=_title(report),
            version=__version__,
            findings=_findings(report),
            sections=parts,
            environments=_environments(report),
            downloads=downloads,
            library=Markup(_packed(_library())),  # noqa: S704  # base64
            items=Markup(_packed(json.dumps(items))),  # noqa: S704
            shapes=SHAPES,
        )
        # a lone surrogate, which JSON can hold, is no text
        return text.encode("utf-8", "replace").decode()

    without = len(page([]).encode())
    downloads: list[Download] = []
    for name, text in report.raw:
        data = "data:application/gzip;base64," + _packed(text)
        if without + sum(len(one.uri) for one in downloads) + len(data) > LARGEST:
            downloads.append(Download(name, "", "left out: the report would be larger than 2 MB"))
        else:
            downloads.append(Download(name, data))
    return page(downloads)


def _json_item(chart: Chart) -> Any:
    from bokeh.core.types import ID
    from bokeh.embed import json_item

    return json_item(chart.item, ID(chart.id))


def _packed(text: str) -> str:
    """Return text as base64 of its gzip, for the browser to unpack."""
    return base64.b64encode(gzip.compress(text.encode("utf-8", "replace"), 9, mtime=0)).decode()


def _library() -> str:
    from bokeh.resources import Resources

    return "\n".join(Resources(mode="inline", components=["bokeh"], log_level="error").js_raw)


# what a legend draws, in a box of 16 x 16
SHAPES = {
    "circle": '<circle cx="8" cy="8" r="5"/>',
    "square": '<rect x="3.5" y="3.5" width="9" height="9"/>',
    "triangle": '<path d="M8 2.5 13.5 13h-11z"/>',
    "diamond": '<path d="M8 2 13 8 8 14 3 8z"/>',
    "inverted_triangle": '<path d="M8 13.5 13.5 3h-11z"/>',
    "hex": '<path d="M5 3h6l3 5-3 5H5L2 8z"/>',
    "star": '<path d="M8 1.5 9.8 6.2h4.9l-4 3 1.6 4.8L8 11.2 3.700 14l1.6-4.8-4-3h4.9z"/>',
    "plus": '<path d="M6 2h4v4h4v4h-4v4H6v-4H2V6h4z"/>',
    "bar": '<rect x="1" y="3" width="14" height="10"/>',
    "dotted": '<path d="M0 8h16" fill="none" stroke="currentColor" stroke-width="2.500" stroke-dasharray="2 2.500"/>',
    "dashed": '<path d="M0 8h16" fill="none" stroke="currentColor" stroke-width="2.500" stroke-dasharray="6 3"/>',
}


def _title(report: Report) -> str:
    names = [kernel for _, run in report.runs for kernel in series.kernels(run)]
    names = list(dict.fromkeys(names))
    if not names:
        return "What the GIL costs"
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return f"What the GIL costs: {shown}"


def _findings(report: Report) -> list[str]:
    """Say what was found, in sentences."""
    told: list[str] = []
    several = len(report.runs) > 1
    for name, run in report.runs:
        told += [f"{name}: {sentence}" if several else sentence for sentence in run.findings]
    if several:
        told += what_the_lock_changed(diff_of_runs(report))
    for name, claims in report.claims:
        counted = [result.verdict.word for result in claims]
        counts = ", ".join(f"{counted.count(word)} {word}" for word in dict.fromkeys(counted))
        told.append(f"Claims about the GIL{f' ({name})' if len(report.claims) > 1 else ''}: {counts}.")
    for probe in report.probes:
        told.append(f"{probe.name} {probe.verdict.word}: {probe.verdict.reason}.")
    for found in report.thresholds:
        answers = dict(threshold_answers(found))
        question = f"{found.workers} threads beat one"
        told.append(f"{found.name}: {question} {answers[question]}.")
    return told


def _environments(report: Report) -> list[Table]:
    """Where it was measured; what was measured in the same environment stands together."""
    found: list[tuple[Environment, list[str]]] = []
    for name, environment, created in (
        *((name, run.environment, run.run.created) for name, run in report.runs),
        *((name, claims.environment, "") for name, claims in report.claims),
    ):
        told = f"{name} ({created})" if created else name
        names = next((names for one, names in found if _comparable(one) == _comparable(environment)), None)
        if names is None:
            found.append((environment, [told]))
        else:
            names.append(told)
    return [Table(", ".join(names), (), tuple(environment_rows(one))) for one, names in found]


def _comparable(environment: Environment) -> Environment:
    return evolve(environment, load=(0.0, 0.0, 0.0))  # always another one
