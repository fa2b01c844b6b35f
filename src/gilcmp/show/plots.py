"""Pictures with matplotlib: of comparisons, probes, thresholds and timelines."""

from __future__ import annotations

import base64
import io
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gilcmp.results import replacing
from gilcmp.show import series

if TYPE_CHECKING:
    from gilcmp.comparison import Comparison
    from gilcmp.probe import Probe
    from gilcmp.threshold import Threshold
    from gilcmp.timeline import Timeline

MOST_SPANS = 5000  # of a timeline: more cannot be told apart, and make the file large
MARKERS = {
    "circle": "o", "square": "s", "triangle": "^", "diamond": "D",
    "inverted_triangle": "v", "hex": "h", "star": "*", "plus": "P",
}  # fmt: skip


def need_matplotlib() -> None:
    """Raise ImportError, which says what to install, where there is no matplotlib."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ImportError('pictures need matplotlib: pip install "gilcmp[report]"') from None


def _figure(width: float, height: float) -> Any:
    """Return a figure that belongs to nobody: pyplot, with its windows and its list of figures, is left alone."""
    need_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", dpi=120)
    FigureCanvasAgg(figure)
    return figure


def _tidy(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)


def _plain(text: str) -> str:
    """Return text without what matplotlib would take for mathematics."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text).replace("$", r"\$")


def plot_comparison(comparison: Comparison) -> Any:
    """Draw speed-up against workers: a row for each kernel, a column for each strategy."""
    panels = series.panels(comparison)
    kernels = list(dict.fromkeys(panel.kernel for panel in panels))
    strategies = list(dict.fromkeys(panel.strategy for panel in panels))
    if not panels:
        figure = _figure(6, 1.5)
        figure.text(0.5, 0.5, "no speed-up was measured", ha="center", va="center")
        return figure
    figure = _figure(1.6 + 3.4 * len(strategies), 0.7 + 3.0 * len(kernels))
    grid = figure.subplots(len(kernels), len(strategies), squeeze=False, sharey="row")
    legend: dict[str, Any] = {}
    for row, kernel in zip(grid, kernels, strict=True):
        for axes, strategy in zip(row, strategies, strict=True):
            panel = next((p for p in panels if (p.kernel, p.strategy) == (kernel, strategy)), None)
            if panel is None:
                axes.set_visible(False)
                continue
            legend |= _draw_panel(axes, panel, comparison.environment.cpus)
            axes.set_title(_plain(f"{kernel}: {strategy}"), fontsize=10, loc="left")
        row[0].set_ylabel("speed-up")
    for axes in grid[-1]:
        axes.set_xlabel("workers")
    figure.legend(legend.values(), legend.keys(), loc="outside right upper", frameon=False, fontsize=9)
    return figure


def _draw_panel(axes: Any, panel: series.Panel, cpus: float) -> dict[str, Any]:
    _tidy(axes)
    legend = {}
    # the ideal ends at the CPUs there are
    corners = sorted({1.0, min(float(panel.most), cpus), float(panel.most)})
    (legend["ideal"],) = axes.plot(
        corners, [min(n, cpus) for n in corners], color="#555555", linestyle=":", linewidth=1.2
    )
    for line in panel.lines:
        (drawn,) = axes.plot(
            line.workers,
            line.value,
            color=line.colour,
            marker=MARKERS[line.marker],
            markersize=5,
            linewidth=1.6,
        )
        axes.fill_between(line.workers, line.low, line.high, color=line.colour, alpha=0.18, linewidth=0)
        legend[_plain(line.name)] = drawn
    if panel.ceiling[0]:
        (legend["best of the processes"],) = axes.plot(
            *panel.ceiling, color="#555555", linestyle="--", linewidth=1.2
        )
    numbers = sorted({n for line in panel.lines for n in line.workers})
    if len(numbers) > 1 and numbers[-1] > 16:
        axes.set_xscale("log", base=2)
    axes.set_xticks(numbers, [str(n) for n in numbers])
    axes.minorticks_off()
    axes.set_ylim(bottom=0, top=1.05 * max(axes.get_ylim()[1], *corners[:1]))
    return legend


def plot_probe(found: Probe) -> Any:
    """Draw what share of a call the GIL is held, and how long others wait for it."""
    figure = _figure(7, 2.4)
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    held = found.held.value
    rest = max(0.0, 1 - held - found.others)
    parts = (
        ("held by the call", held, series.HELD),
        ("by others", found.others, series.WAITED),
        ("free", rest, series.AWAY),
    )
    start = 0.0
    for name, share, colour in parts:
        if share > 0:
            left.barh([0], [share], left=start, color=colour, label=f"{name}: {100 * share:.1f} %")
            start += share
    left.errorbar(
        [held],
        [0],
        xerr=[[max(0, held - found.held.low)], [max(0, found.held.high - held)]],
        color="black",
        capsize=3,
    )
    left.set(xlim=(0, 1), yticks=[], ylim=(-0.6, 1.6))
    left.set_xticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    left.legend(loc="upper left", frameon=False, fontsize=9)
    left.set_title(_plain(f"{_short(found.name)}: {found.verdict.word}"), fontsize=10, loc="left")
    left.spines[["top", "right", "left"]].set_visible(False)
    names = ("median", "99 %", "longest")
    waits = [max(value, 1e-9) * 1e6 for value in (found.stall.p50, found.stall.p99, found.stall.max)]
    right.barh(names, [0 if math.isnan(w) else w for w in waits], color=series.RAN)
    right.set_xscale("log")
    right.set_xlabel("us that others wait")
    right.invert_yaxis()
    _tidy(right)
    return figure


def _short(text: str, most: int = 48) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def plot_threshold(found: Threshold) -> Any:
    """Draw what threads make of a call, by its size, and the share of it that a release costs."""
    figure = _figure(6.4, 4.8)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    for axes, values, colour, label in (
        (
            upper,
            [p.speedup for p in found.points],
            series.COLOURS["cython_nogil"],
            f"speed-up of {found.workers} threads",
        ),
        (
            lower,
            [p.overhead.scaled(100) for p in found.points],
            series.COLOURS["cython_gil"],
            "a release costs, %",
        ),
    ):
        sizes = [point.size for point in found.points]
        axes.plot(sizes, [v.value for v in values], color=colour, marker="o", markersize=4)
        axes.fill_between(
            sizes, [v.low for v in values], [v.high for v in values], color=colour, alpha=0.18, linewidth=0
        )
        axes.set_ylabel(label)
        _tidy(axes)
    upper.axhline(1, color="#555555", linestyle=":", linewidth=1.2)
    lower.axhline(5, color="#555555", linestyle=":", linewidth=1.2)
    upper.set_xscale("log")
    lower.set_xlabel("size of a call")
    for axes, size in ((upper, found.parallel_from), (lower, found.cheap_from)):
        if math.isfinite(size.value):
            axes.axvline(size.value, color="#555555", linestyle="--", linewidth=1)
            axes.annotate(
                f" from {size.value:,.0f}", (size.value, 0.04), xycoords=("data", "axes fraction"), fontsize=9
            )
    upper.set_title(_plain(_short(found.name)), fontsize=10, loc="left")
    return figure


def plot_timeline(found: Timeline, start: float | None, end: float | None) -> Any:
    """Draw a track for each thread."""
    import numpy as np

    from gilcmp.timeline import HOLDS, NOBODY, RUNS, WAITS

    spans = found.spans
    lowest = 0.0 if start is None else float(start)
    highest = max(found.seconds, lowest + 1e-6) if end is None else float(end)
    if not lowest < highest:
        raise ValueError(f"end must be after start, got {lowest} to {highest}")
    drawn = spans[(spans["doing"] != 3) & (spans["end"] > lowest * 1e9) & (spans["start"] < highest * 1e9)]
    drawn = drawn[np.argsort(drawn["start"], kind="stable")]
    if len(drawn) > MOST_SPANS:
        highest = float(drawn["start"][MOST_SPANS]) / 1e9
        drawn = drawn[:MOST_SPANS]
    # "blocked" is the empty stretch of a track
    kinds = (
        (HOLDS, "holds the GIL" if found.gil else "attached", series.HELD),
        (WAITS, "waits for the GIL" if found.gil else "stopped with the world", series.WAITED),
        (RUNS, "runs, or could, without it" if found.gil else "runs, or could, detached", series.RAN),
        (4, "does not hold it" if found.gil else "detached", series.AWAY),
    )
    threads = [n for n in range(len(found.threads)) if n in drawn["thread"]] or [0]
    figure = _figure(10, 1.2 + 0.42 * len(threads))
    axes = figure.subplots()
    unit, name = (1e3, "ms") if highest - lowest < 1 else (1.0, "s")
    for row, number in enumerate(threads):
        for doing, label, colour in kinds:
            own = drawn[(drawn["thread"] == number) & (drawn["doing"] == doing)]
            if len(own):
                bars = np.column_stack([own["start"] / 1e9 * unit, (own["end"] - own["start"]) / 1e9 * unit])
                axes.broken_barh(bars, (row - 0.36, 0.72), facecolors=colour, linewidth=0, label=label)
    unseen = drawn[drawn["thread"] == NOBODY]
    for one in unseen:
        axes.axvspan(one["start"] / 1e9 * unit, one["end"] / 1e9 * unit, color="#EEEEEE", label="not seen")
    axes.set_yticks(range(len(threads)), [_plain(_short(found.threads[n].name, 32)) for n in threads])
    axes.set_ylim(len(threads) - 0.4, -0.6)
    axes.set_xlim(lowest * unit, highest * unit)
    axes.set_xlabel(f"{name} since the recording began")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    drawn_handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    order = [*(label for _, label, _ in kinds), "not seen"]
    handles = {label: drawn_handles[label] for label in order if label in drawn_handles}
    if handles:
        figure.legend(
            handles.values(), handles.keys(), loc="outside upper center", ncols=5, frameon=False, fontsize=9
        )
    return figure


def save_figure(figure: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure in the format that the name's ending says; as `replacing` does."""
    with replacing(path) as file:
        metadata = {"Date": None} if Path(path).suffix.lower() == ".svg" else None
        figure.savefig(file, format=Path(path).suffix[1:].lower(), metadata=metadata)


def png_element(figure: Any, alternative: str) -> str:
    """Return a figure as an HTML element, for notebooks."""
    from html import escape

    file = io.BytesIO()
    figure.savefig(file, format="png")
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img alt="{escape(alternative, quote=True)}" src="data:image/png;base64,{data}" style="max-width: 100%">'
