"""Charts as pictures, with matplotlib: figures for scripts and notebooks, SVG with hints for pages."""

from __future__ import annotations

import io
import math
import os
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from gilcmp.base.files import replacing
from gilcmp.show.model import Axis, Bars, Chart, Curve, Dots, Mark

# In a page these two follow its light or dark scheme; see `svg`
INK, GRID = "#1d2129", "#d5d9e0"
HINTED = 1000  # bars of one kind up to which each can be pointed at


def need_matplotlib() -> None:
    """Raise ImportError, which says what to install, where there is no matplotlib."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ImportError(
            "pictures need matplotlib, which the extra gilcmp[report] brings: pip install matplotlib"
        ) from None


def figure(charts: Sequence[Chart | None], columns: int = 1) -> Any:
    """Draw charts in a grid; where there is None a place stays empty."""
    return _Drawing(charts, columns).figure


def _shown_by_notebooks(figure_class: Any) -> Any:
    """Return a class of figures that a notebook displays: it knows only those of pyplot by itself."""
    return type("Picture", (figure_class,), {"_repr_png_": png})


def png(picture: Any) -> bytes:
    """Return a figure as a PNG file."""
    file = io.BytesIO()
    picture.savefig(file, format="png")
    return file.getvalue()


def save(picture: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure in the format that the name's ending says; the file is replaced as a whole or not at all."""
    with replacing(path) as file:
        metadata = {"Date": None} if Path(path).suffix.lower() == ".svg" else None
        picture.savefig(file, format=Path(path).suffix[1:].lower(), metadata=metadata)


def svg(chart: Chart, name: str) -> str:
    """Return a chart as an SVG element for a page: with hints, and in the page's own colours for text and lines."""
    import matplotlib

    drawing = _Drawing([chart], 1)
    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "gilcmp"}):
        drawing.figure.savefig(file, format="svg", transparent=True)  # the page's ground, light or dark
    text = file.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], count=1, flags=re.DOTALL)
    for mark, hint in drawing.hints.items():
        text = text.replace(f'<g id="{mark}">', f'<g id="{mark}" class="mark"><title>{escape(hint)}</title>', 1)
    # every chart counts its elements from 1: in a page they would get in each other's way
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    return text.replace(INK, "var(--text)").replace(GRID, "var(--line)")


class _Drawing:
    """A figure unknown to pyplot, which manages windows, and the hints of its marks."""

    def __init__(self, charts: Sequence[Chart | None], columns: int) -> None:
        need_matplotlib()
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        rows = [charts[first : first + columns] for first in range(0, len(charts), columns)]
        known = [chart for chart in charts if chart is not None]
        heights = [max((chart.height for chart in row if chart is not None), default=1.0) for row in rows]
        width = max((chart.width for chart in known), default=6.0) * columns
        self.hints: dict[str, str] = {}
        self._legend: dict[str, Any] = {}
        colours: Any = dict.fromkeys(
            ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK
        )
        with matplotlib.rc_context({**colours, "grid.color": GRID, "font.size": 9, "axes.titlesize": 10}):
            self.figure = _shown_by_notebooks(Figure)(
                figsize=(width, sum(heights) or 1.5), layout="constrained", dpi=120
            )
            FigureCanvasAgg(self.figure)
            if not known:
                self.figure.text(0.5, 0.5, "nothing was measured that could be drawn", ha="center", va="center")
                return
            grid = self.figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
            for places, row in zip(grid, rows, strict=True):
                for axes, chart in zip(places, [*row, *[None] * (columns - len(row))], strict=True):
                    if chart is None:
                        axes.set_visible(False)
                    else:
                        self._draw(axes, chart, title=len(known) > 1)
            if len(self._legend) > 1 and any(chart.legend for chart in known):
                # the sample and the gap beside a name are as wide as eight characters
                longest = max(map(len, self._legend)) + 8
                per_row = int(14 * width / longest)  # so many go into an inch
                self.figure.legend(
                    self._legend.values(),
                    self._legend.keys(),
                    loc="outside upper left",
                    ncols=min(max(1, per_row), len(self._legend)),
                    frameon=False,
                    fontsize=9,
                )

    def _draw(self, axes: Any, chart: Chart, *, title: bool) -> None:
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_axisbelow(True)
        axes.patch.set_alpha(0)
        if title:
            axes.set_title(plain(shortened(chart.title, 48)), loc="left")
        for mark in chart.marks:
            self._mark(axes, mark)
        if chart.rows:
            axes.spines["left"].set_visible(False)
            axes.tick_params(axis="y", length=0)
            axes.set_yticks(range(len(chart.rows)), [plain(shortened(row, 32)) for row in chart.rows])
            axes.set_ylim(len(chart.rows) - 0.4, -0.6)
        else:
            _scale(axes, "y", chart.y)
        _scale(axes, "x", chart.x)
        axes.grid(axis="x" if chart.rows else "both", linewidth=0.6)

    def _mark(self, axes: Any, mark: Mark) -> None:
        if isinstance(mark, Curve):
            self._curve(axes, mark)
        elif isinstance(mark, Bars):
            self._bars(axes, mark)
        elif isinstance(mark, Dots):
            self._dots(axes, mark)
        elif mark.end is None:
            axes.axvline(mark.start, color=INK, linestyle="--", linewidth=1)
            place = (mark.start, 0.04)
            axes.annotate(plain(f" {mark.note}"), place, xycoords=("data", "axes fraction"), fontsize=9)
        else:
            self._name(mark.name, axes.axvspan(mark.start, mark.end, color=GRID))

    def _curve(self, axes: Any, curve: Curve) -> None:
        colour = curve.colour or INK
        if curve.low:
            axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0)
        (drawn,) = axes.plot(
            curve.x, curve.y, color=colour, marker=curve.marker or None, markersize=5,
            linestyle={"dotted": ":", "dashed": "--"}.get(curve.dash, "-"), linewidth=1.6 if curve.marker else 1.2,
        )  # fmt: skip
        self._name(curve.name, drawn)
        for x, y, hint in zip(curve.x, curve.y, curve.hints, strict=False):
            self._hint(axes.plot([x], [y], color=colour, marker=curve.marker or "o", markersize=7)[0], hint)

    def _bars(self, axes: Any, bars: Bars) -> None:
        widths = [end - start for start, end in zip(bars.start, bars.end, strict=True)]
        if len(widths) > HINTED:  # one path for all of a row: a picture of ten thousand elements is of no use
            for row in sorted(set(bars.row)):
                pieces = [(s, w) for r, s, w in zip(bars.row, bars.start, widths, strict=True) if r == row]
                self._name(bars.name, axes.broken_barh(pieces, (row - 0.36, 0.72), facecolors=bars.colour, linewidth=0))
            return
        drawn = axes.barh(bars.row, widths, left=bars.start, height=0.72, color=bars.colour, linewidth=0)
        self._name(bars.name, drawn)
        for patch, hint in zip(drawn.patches, bars.hints, strict=False):
            self._hint(patch, hint)
        if bars.error is not None:
            end = bars.end[-1]
            reach = [[max(0.0, end - bars.error[0])], [max(0.0, bars.error[1] - end)]]
            axes.errorbar([end], [bars.row[-1]], xerr=reach, color=INK, capsize=3)

    def _dots(self, axes: Any, dots: Dots) -> None:
        axes.hlines(dots.row, dots.low, dots.high, color=dots.colour, linewidth=2)
        for number, (row, value) in enumerate(zip(dots.row, dots.value, strict=True)):
            (drawn,) = axes.plot([value], [row], color=dots.colour, marker=dots.marker, markersize=6, linestyle="")
            self._name(dots.name, drawn)
            if number < len(dots.hints):
                self._hint(drawn, dots.hints[number])

    def _name(self, name: str, drawn: Any) -> None:
        if name:
            self._legend.setdefault(plain(shortened(name)), drawn)

    def _hint(self, drawn: Any, hint: str) -> None:
        mark = f"hint-{len(self.hints)}"
        drawn.set_gid(mark)
        self.hints[mark] = hint


def _scale(axes: Any, which: str, axis: Axis) -> None:
    side = axes.xaxis if which == "x" else axes.yaxis
    if axis.log:
        axes.set(**{f"{which}scale": "log"})
    if axis.ticks:
        side.set_ticks([place for place, _ in axis.ticks], [label for _, label in axis.ticks])
    if axis.log or axis.ticks:
        from matplotlib.ticker import NullLocator

        side.set_minor_locator(NullLocator())
    ends = {key: end for key, end in (("min", axis.low), ("max", axis.high)) if end is not None and math.isfinite(end)}
    if ends:
        (axes.set_xlim if which == "x" else axes.set_ylim)(**{f"{which}{key}": end for key, end in ends.items()})
    side.set_label_text(plain(shortened(axis.title, 48)))


def plain(text: str) -> str:
    """Return text without what matplotlib would take for mathematics."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text).replace("$", r"\$")


def shortened(text: str, most: int = 40) -> str:
    """Return text of at most `most` characters; cut text keeps its end."""
    return text if len(text) <= most else f"{text[: most - 11]}...{text[-8:]}"
