"""Comparisons as HTML tables, for notebooks."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from gilcmp.show import words

if TYPE_CHECKING:
    from gilcmp.comparison import Comparison

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
    told = "".join(f"<p>{escape(sentence)}</p>" for sentence in comparison.findings)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>{told}"
