"""The report's charts, with Bokeh: a reader can point at values and zoom."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bokeh.models import (
    BoxZoomTool,
    ColumnDataSource,
    FactorRange,
    FixedTicker,
    HoverTool,
    PanTool,
    Range1d,
    ResetTool,
    SaveTool,
)
from bokeh.plotting import figure

from gilcmp.show import series, words

if TYPE_CHECKING:
    from gilcmp.comparison import Cell, Comparison
    from gilcmp.probe import Probe
    from gilcmp.threshold import Threshold

GREY = "#777777"  # legible on white and on black
HEIGHT = 300
ROW = 26  # pixels of a bar with its gap


def chart_text(text: str) -> str:
    """Return text for a chart's labels: Bokeh would take $$ for mathematics, and fetch what draws that."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    for mark in ("$$", r"\[", r"\("):
        shown = shown.replace(mark, "\N{ZERO WIDTH SPACE}".join(mark))
    return shown


def labels(names: Sequence[str], most: int = 30) -> dict[str, str]:
    """Return a label for each name: short, and no two the same, since Bokeh puts rows with one label into one."""
    found: dict[str, str] = {}
    for name in dict.fromkeys(names):
        shown = chart_text(name)
        if len(shown) > most:
            shown = f"{shown[: most - 11]}...{shown[-8:]}"
        label, number = shown, 1
        while label in found.values():
            number += 1
            label = f"{shown} ({number})"
        found[name] = label
    return found


def _range(start: float, end: float) -> Any:
    return Range1d(start=start, end=end)


def _figure(height: int = HEIGHT, tools: Sequence[Any] = (), **settings: Any) -> Any:
    """Return an empty chart without anything that tells light from dark: the page sets that."""
    plot = figure(
        height=height,
        sizing_mode="stretch_width",
        tools=[PanTool(), BoxZoomTool(), ResetTool(), SaveTool(), *tools],
        active_drag=None,  # on a phone a finger scrolls the page
        toolbar_location="below",
        background_fill_alpha=0,
        border_fill_alpha=0,
        outline_line_color=None,
        **settings,
    )
    plot.toolbar.logo = None
    plot.toolbar.autohide = True
    for axis in (plot.xaxis, plot.yaxis):
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_font_size = axis.major_label_text_font_size = "13px"
        axis.minor_tick_line_color = None
        axis.axis_line_color = axis.major_tick_line_color = GREY
        axis.axis_label_text_color = axis.major_label_text_color = GREY
    plot.grid.grid_line_color = GREY
    plot.grid.grid_line_alpha = 0.25
    return plot


def speedup_chart(panel: series.Panel, cpus: float) -> Any:
    """Speed-up against workers."""
    numbers = sorted({n for line in panel.lines for n in line.workers})
    wide = numbers[-1] > 16
    highest = max(
        max((h for line in panel.lines for h in line.high if math.isfinite(h)), default=1.0),
        max((v for line in panel.lines for v in line.value), default=1.0),
        max(panel.ceiling[1], default=1.0),
        min(float(panel.most), cpus),
    )
    plot = _figure(
        y_range=_range(0, 1.08 * highest),
        x_axis_type="log" if wide else "linear",
        x_axis_label="workers",
        y_axis_label="speed-up",
    )
    plot.xaxis.ticker = FixedTicker(ticks=numbers)
    corners = sorted({1.0, min(float(panel.most), cpus), float(panel.most)})
    plot.line(corners, [min(n, cpus) for n in corners], color=GREY, line_dash="dotted", line_width=2)
    if panel.ceiling[0]:
        plot.line(*map(list, panel.ceiling), color=GREY, line_dash="dashed", line_width=2)
    marked = []
    for line in panel.lines:
        data = ColumnDataSource(
            {
                "workers": line.workers,
                "value": line.value,
                "low": line.low,
                "high": line.high,
                "name": [chart_text(line.name)] * len(line.workers),
                "verdict": [chart_text(word) for word in line.verdicts],
            }
        )
        plot.varea(x="workers", y1="low", y2="high", source=data, color=line.colour, alpha=0.2)
        plot.line("workers", "value", source=data, color=line.colour, line_width=2)
        marked.append(
            plot.scatter("workers", "value", source=data, marker=line.marker, size=9, color=line.colour)
        )
    plot.add_tools(
        HoverTool(
            renderers=marked,
            tooltips=[
                ("implementation", "@name"),
                ("workers", "@workers"),
                ("speed-up", "@value{0.00} [@low{0.00}, @high{0.00}]"),
                ("verdict", "@verdict"),
            ],
        )
    )
    return plot


def shares_chart(cells: Sequence[Cell]) -> Any:
    """Where the time of each cell's workers went, as stacked bars."""
    shown = [(cell, shares) for cell in cells if (shares := cell.time_shares) is not None]
    label = labels([cell.implementation for cell, _ in shown])
    rows = [(label[cell.implementation], chart_text(series.where(cell))) for cell, _ in shown]
    plot = _figure(
        height=70 + ROW * len(rows),
        y_range=FactorRange(factors=rows[::-1], group_padding=0.4, range_padding=0.02),
        x_range=_range(0, 100),
        x_axis_label="% of the workers' time",
    )
    left = [0.0] * len(rows)
    for attribute, name, colour in series.SHARES:
        values = [100 * getattr(shares, attribute) for _, shares in shown]
        right = [start + value for start, value in zip(left, values, strict=True)]
        data = ColumnDataSource(
            {
                "row": rows,
                "left": left,
                "right": right,
                "value": values,
                "cell": [" ".join(row) for row in rows],
                "name": [name] * len(rows),
            }
        )
        bars = plot.hbar(y="row", left="left", right="right", height=0.72, source=data, color=colour)
        plot.add_tools(
            HoverTool(renderers=[bars], tooltips=[("cell", "@cell"), ("", "@name: @value{0.0} %")])
        )
        left = right
    plot.ygrid.grid_line_color = None
    _group_labels(plot)
    return plot


def _group_labels(plot: Any) -> None:
    plot.yaxis.group_text_font_size = "13px"
    plot.yaxis.group_text_color = GREY
    plot.yaxis.group_label_orientation = "horizontal"
    plot.yaxis.separator_line_color = None


def time_chart(comparison: Comparison, kernel: str) -> Any:
    """Time per unit of work of every implementation, done serially, on a logarithmic scale."""
    cells = [cell for cell in comparison if cell.kernel == kernel and cell.is_serial and cell.time.n]
    chosen = series.looks(series.implementations(comparison))
    label = labels([cell.implementation for cell in cells])
    names = [label[cell.implementation] for cell in cells]
    data = ColumnDataSource(
        {
            "name": names,
            "value": [cell.time.value for cell in cells],
            "low": [_known(cell.time.low, cell.time.value) for cell in cells],
            "high": [_known(cell.time.high, cell.time.value) for cell in cells],
            "colour": [chosen[cell.implementation][0] for cell in cells],
            "marker": [chosen[cell.implementation][1] for cell in cells],
            "text": [words.seconds(cell.time.value) for cell in cells],
        }
    )
    values = [
        value for cell in cells for value in (cell.time.value, cell.time.low, cell.time.high) if value > 0
    ]
    ticks = _decades(min(values, default=1e-9), max(values, default=1.0))
    plot = _figure(
        height=80 + 34 * len(names),
        y_range=FactorRange(factors=names[::-1], range_padding=0.1),
        x_axis_type="log",
        x_range=_range(ticks[0], ticks[-1]),
    )
    plot.xaxis.ticker = FixedTicker(ticks=ticks)
    plot.xaxis.major_label_overrides = {tick: _decade(tick) for tick in ticks}
    plot.segment("low", "name", "high", "name", source=data, color="colour", line_width=2)
    marks = plot.scatter("value", "name", source=data, marker="marker", size=11, color="colour")
    plot.add_tools(
        HoverTool(renderers=[marks], tooltips=[("implementation", "@name"), ("time per unit", "@text")])
    )
    return plot


def _known(value: float, otherwise: float) -> float:
    return otherwise if math.isnan(value) else value


def _decades(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [10.0**power for power in range(first, max(last, first + 1) + 1)]


def _decade(value: float) -> str:
    return words.seconds(value).replace(".00", "").replace(".0", "")


def gantt_chart(cells: Sequence[Cell], looks: dict[str, tuple[str, str]]) -> Any:
    """The tasks of one round: who did which when."""
    rows: list[tuple[str, str]] = []
    columns: dict[str, list[Any]] = {
        name: [] for name in ("row", "left", "right", "colour", "task", "cell", "took")
    }
    label = labels([cell.implementation for cell in cells])
    for cell in cells:
        workers = sorted({task.worker for task in cell.record.latest})
        own = {
            worker: (label[cell.implementation], chart_text(f"{cell.strategy}, worker {worker + 1}"))
            for worker in workers
        }
        rows += own.values()
        for number, task in enumerate(cell.record.latest, 1):
            for name, value in (
                ("row", own[task.worker]),
                ("left", 1e3 * task.start),
                ("right", 1e3 * max(task.end, task.start)),
                ("colour", looks[cell.implementation][0]),
                ("task", number),
                ("cell", f"{chart_text(cell.implementation)}, {chart_text(series.where(cell))}"),
                ("took", words.seconds(task.end - task.start)),
            ):
                columns[name].append(value)
    plot = _figure(
        height=70 + ROW * len(rows),
        y_range=FactorRange(factors=rows[::-1], group_padding=0.5, range_padding=0.02),
        x_range=_range(0, 1.02 * max(columns["right"], default=1.0)),
        x_axis_label="ms since the cell began",
    )
    bars = plot.hbar(
        y="row",
        left="left",
        right="right",
        height=0.7,
        source=ColumnDataSource(columns),
        fill_color="colour",
        fill_alpha=0.75,
        line_color="colour",
        line_width=1,
    )
    tips = [("cell", "@cell"), ("task", "@task"), ("from", "@left{0.00} ms"), ("took", "@took")]
    plot.add_tools(HoverTool(renderers=[bars], tooltips=tips))
    plot.ygrid.grid_line_color = None
    _group_labels(plot)
    return plot


def probe_chart(probes: Sequence[Probe]) -> Any:
    """What share of each call the GIL is held."""
    # two calls of one name are two calls
    names = list(labels([f"{number}. {one.name}" for number, one in enumerate(probes, 1)], 34).values())
    plot = _figure(
        height=70 + 32 * len(names),
        y_range=FactorRange(factors=names[::-1], range_padding=0.05),
        x_range=_range(0, 100),
        x_axis_label="% of the call's time in which it holds the GIL",
    )
    data = ColumnDataSource(
        {
            "name": names,
            "value": [100 * one.held.value for one in probes],
            "stall": [words.seconds(one.stall.p99) for one in probes],
            "verdict": [chart_text(one.verdict.word) for one in probes],
        }
    )
    bars = plot.hbar(y="name", right="value", height=0.7, source=data, color=series.HELD)
    tips = [
        ("", "@name"),
        ("held", "@value{0.0} %"),
        ("others wait (99 %)", "@stall"),
        ("verdict", "@verdict"),
    ]
    plot.add_tools(HoverTool(renderers=[bars], tooltips=tips))
    plot.ygrid.grid_line_color = None
    return plot


def threshold_chart(found: Threshold) -> Any:
    """What threads make of a call, by its size."""
    points = [point for point in found.points if point.speedup.n]
    data = ColumnDataSource(
        {
            "size": [point.size for point in points],
            "value": [point.speedup.value for point in points],
            "low": [point.speedup.low for point in points],
            "high": [point.speedup.high for point in points],
            "time": [words.seconds(point.time.value) for point in points],
        }
    )
    plot = _figure(
        x_axis_type="log", x_axis_label="size of a call", y_axis_label=f"speed-up of {found.workers} threads"
    )
    plot.xaxis.ticker.num_minor_ticks = 0
    colour = series.COLOURS["cython_nogil"]
    if points:
        sizes = [points[0].size, points[-1].size]
        plot.line(sizes, [1, 1], color=GREY, line_dash="dotted", line_width=2)
    plot.varea(x="size", y1="low", y2="high", source=data, color=colour, alpha=0.2)
    plot.line("size", "value", source=data, color=colour, line_width=2)
    marks = plot.scatter("size", "value", source=data, size=8, color=colour)
    tips = [
        ("size", "@size{0,0}"),
        ("speed-up", "@value{0.00} [@low{0.00}, @high{0.00}]"),
        ("a call", "@time"),
    ]
    plot.add_tools(HoverTool(renderers=[marks], tooltips=tips))
    return plot


def runs_chart(runs: Sequence[tuple[str, Comparison]], kernel: str) -> Any:
    """Speed-up of the same cells in several runs."""
    keys = [
        cell.record.key
        for cell in runs[0][1]
        if cell.kernel == kernel and not cell.is_serial and cell.workers > 1
    ]
    label = labels([key[1] for key in keys])
    rows = [(label[key[1]], chart_text(f"{key[2]} {series.TIMES} {key[3]}")) for key in keys]
    plot = _figure(
        height=80 + ROW * max(1, len(rows)),
        y_range=FactorRange(factors=rows[::-1], group_padding=0.4, range_padding=0.02),
        x_axis_label="speed-up",
    )
    colours = [*series.COLOURS.values(), *series.FURTHER]
    markers = [*series.MARKERS.values(), *series.FURTHER_MARKERS]
    for number, (name, run) in enumerate(runs):
        cells = {cell.record.key: cell for cell in run}
        own = [
            (row, cells[key].speedup)
            for key, row in zip(keys, rows, strict=True)
            if key in cells and cells[key].speedup.n
        ]
        shift = 0.5 * ((number + 0.5) / len(runs) - 0.5)
        data = ColumnDataSource(
            {
                "row": [(*row, shift) for row, _ in own],
                "value": [value.value for _, value in own],
                "low": [_known(value.low, value.value) for _, value in own],
                "high": [_known(value.high, value.value) for _, value in own],
                "run": [chart_text(name)] * len(own),
                "cell": [" ".join(row) for row, _ in own],
            }
        )
        colour = colours[number % len(colours)]
        plot.segment("low", "row", "high", "row", source=data, color=colour, line_width=2)
        marks = plot.scatter(
            "value", "row", source=data, marker=markers[number % len(markers)], size=9, color=colour
        )
        tips = [("run", "@run"), ("cell", "@cell"), ("speed-up", "@value{0.00} [@low{0.00}, @high{0.00}]")]
        plot.add_tools(HoverTool(renderers=[marks], tooltips=tips))
    plot.x_range.start = 0
    _group_labels(plot)
    return plot
