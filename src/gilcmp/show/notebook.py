"""Results as HTML, for notebooks: tables, and their picture where the extra is there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from gilcmp.show import words

if TYPE_CHECKING:
    from gilcmp.atlas import Atlas
    from gilcmp.claims.suite import Claims
    from gilcmp.comparison import Comparison
    from gilcmp.diff import Diff
    from gilcmp.probe import Probe
    from gilcmp.threshold import Threshold
    from gilcmp.timeline import Timeline

HEADINGS = (
    "kernel",
    "implementation",
    "strategy",
    "workers",
    "time per unit",
    "speed-up",
    "efficiency",
    "CPUs busy",
    "verdict",
)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return an HTML table; without headings, each row's first cell is its heading."""
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = []
    for row in rows:
        first, *rest = (escape(value) for value in row)
        tag = "td" if headings else "th"
        body.append(f"<tr><{tag}>{first}</{tag}>{''.join(f'<td>{value}</td>' for value in rest)}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def paragraphs(sentences: Iterable[str]) -> str:
    """Return sentences as paragraphs."""
    return "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)


def _picture(result: Any, alternative: str) -> str:
    """Return the result's plot, or nothing where matplotlib is missing."""
    from gilcmp.show.plots import png_element

    try:
        return png_element(result.plot(), alternative)
    except ImportError:
        return ""


def comparison_html(comparison: Comparison) -> str:
    """Return a comparison as an HTML table; the reason stands behind each verdict when it is pointed at."""
    head = "".join(f"<th>{heading}</th>" for heading in HEADINGS)
    rows = []
    for cell in comparison:
        values = (
            cell.kernel,
            cell.implementation,
            cell.strategy,
            str(cell.workers),
            words.seconds(cell.time.value),
            words.estimate(cell.speedup),
            words.percent(cell.efficiency.value),
            words.number(cell.cores.value),
        )
        columns = "".join(f"<td>{escape(value)}</td>" for value in values)
        verdict = cell.verdict
        reason = escape(cell.error or verdict.reason, quote=True)
        rows.append(f'<tr>{columns}<td title="{reason}">{escape(verdict.word)}</td></tr>')
    return (
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        f"{paragraphs(comparison.findings)}{_picture(comparison, 'speed-up against workers')}"
    )


def probe_html(found: Probe) -> str:
    """Return a probe as HTML."""
    from gilcmp.show.terminal import probe_rows

    picture = _picture(found, "share of the time held")
    return f"<p><code>{escape(found.name)}</code></p>{table((), probe_rows(found))}{picture}"


def threshold_html(found: Threshold) -> str:
    """Return a threshold as HTML."""
    from gilcmp.show.claims import THRESHOLD_HEADINGS, threshold_answers, threshold_points

    return (
        f"<p><b>{escape(found.name)}</b></p>{table((), threshold_answers(found))}"
        f"{table(THRESHOLD_HEADINGS, threshold_points(found))}{_picture(found, 'speed-up by size of a call')}"
    )


def claims_html(found: Claims) -> str:
    """Return claims as HTML."""
    from gilcmp.show.claims import figure

    rows = [
        (
            result.name,
            result.sentence,
            result.python,
            f"{result.verdict.word}: {result.verdict.reason}",
            "; ".join(f"{one.name}: {figure(one)}" for one in result.figures),
        )
        for result in found
    ]
    return table(("claim", "what people are told", "Python", "verdict", "figures"), rows)


def diff_html(found: Diff) -> str:
    """Return runs side by side as HTML."""
    from gilcmp.show.diff import HEADINGS as CELL_HEADINGS
    from gilcmp.show.diff import cell_row, reading, what_the_lock_changed, without_partner

    parts = [paragraphs(what_the_lock_changed(found))]
    parts.append(table(("environment", *found.names), [(one.name, *one.values) for one in found.environment]))
    for run in found.runs:
        parts.append(f"<p><b>{escape(f'{run.name} against {found.names[0]}')}</b></p>")
        parts.append(table(CELL_HEADINGS, map(cell_row, run.cells)))
        parts.append(paragraphs([reading(run), *without_partner(found.names[0], run)]))
    return "".join(parts)


def atlas_html(found: Atlas) -> str:
    """Return an atlas as HTML."""
    from gilcmp.show.terminal import ATLAS_HEADINGS, atlas_reading, atlas_row

    return (
        f"<p><b>{escape(found.title)}</b></p>{table(ATLAS_HEADINGS, map(atlas_row, found))}"
        f"{paragraphs([atlas_reading(found)])}"
    )


def timeline_html(found: Timeline) -> str:
    """Return a timeline's summary as HTML."""
    from gilcmp.show.timeline import headings, rows, sentences

    picture = _picture(found, "who held the GIL when")
    return f"{table(headings(found), rows(found))}{paragraphs(sentences(found))}{picture}"
