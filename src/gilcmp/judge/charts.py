"""Comparisons as charts: speed-up against workers, where the time went, time per unit, and the tasks of a round."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from attrs import evolve, frozen

from gilcmp.judge.cell import Cell, by_kernel
from gilcmp.show import words
from gilcmp.show.model import Axis, Bars, Chart, Curve, Dots, Mark, Table, Value, columns

# Okabe and Ito's palette, safe for colour-blind readers; implementations not in OWN take the next free colours
PALETTE = ("#E69F00", "#009E73", "#0072B2", "#D55E00", "#CC79A7", "#56B4E9", "#8C6D31", "#7F7F7F")
MARKERS = ("o", "s", "^", "D", "v", "h", "*", "P")
OWN = {"python": 0, "numpy": 1, "cython_gil": 2, "cython_nogil": 3}
SHARES = (
    ("on_cpu", "on a CPU", "#0072B2"),
    ("no_core", "waiting for a core", "#CC79A7"),
    ("blocked", "waiting for the GIL (or a lock, or I/O)", "#E69F00"),
    ("idle", "nothing left to do", "#BBBBBB"),
)
MANY = 16  # workers above which their axis is logarithmic


def styles(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return a colour and a marker for each implementation."""
    others = [name for name in dict.fromkeys(names) if name not in OWN]
    numbers = OWN | {name: len(OWN) + number % (len(PALETTE) - len(OWN)) for number, name in enumerate(others)}
    return {name: (PALETTE[numbers[name]], MARKERS[numbers[name]]) for name in dict.fromkeys(names)}


def row_height(rows: int) -> float:
    """Inches of a chart with so many rows."""
    return 0.8 + 0.26 * rows


def _chosen(cells: Sequence[Cell]) -> dict[str, tuple[str, str]]:
    return styles([cell.implementation for cell in cells])


# ---- speed-up against workers ----


@frozen
class Panel:
    """The chart of one kernel under one strategy."""

    kernel: str
    strategy: str
    chart: Chart


def speedup_panels(cells: Sequence[Cell], cpus: float) -> list[Panel]:
    """Return a chart of speed-up against workers for each kernel and strategy."""
    look = _chosen(cells)
    panels = []
    for kernel, all_cells in by_kernel(cells).items():
        parallel = [cell for cell in all_cells if not cell.is_serial and cell.speedup.n]
        for strategy in dict.fromkeys(cell.strategy for cell in parallel):
            best = [] if strategy.startswith("processes") else best_of_processes(parallel)
            chosen = [cell for cell in parallel if cell.strategy == strategy]
            panels.append(Panel(kernel, strategy, _speedups(f"{kernel}: {strategy}", chosen, best, look, cpus)))
    return panels


def best_of_processes(cells: Sequence[Cell]) -> list[tuple[int, float]]:
    """Return the best speed-up of processes, which share no lock, by workers."""
    best: dict[int, float] = {}
    for cell in cells:
        if cell.strategy.startswith("processes"):
            best[cell.workers] = max(cell.speedup.value, best.get(cell.workers, -math.inf))
    return sorted(best.items())


DASHES = ("solid", "dashed", "dotted")


def overlaid_charts(runs: Sequence[tuple[str, Sequence[Cell]]], cpus: float) -> list[Chart]:
    """Return the speed-up in threads against workers, of several runs over one another, for each kernel."""
    look = styles([cell.implementation for _, cells in runs for cell in cells])
    charts = []
    for kernel in by_kernel(runs[0][1]):
        marks: list[Mark] = []
        rows = []
        numbers: set[int] = set()
        for number, (name, cells) in enumerate(runs):
            threads = [
                cell for cell in cells if cell.kernel == kernel and cell.strategy == "threads" and cell.speedup.n
            ]
            for implementation in dict.fromkeys(cell.implementation for cell in threads):
                line = _line(threads, implementation)
                curve = _curve(f"{implementation}, {name}", line, look[implementation])
                marks.append(evolve(curve, dash=DASHES[number % len(DASHES)]))
                numbers |= {cell.workers for cell in line}
                rows += [
                    (implementation, name, str(cell.workers), words.estimate(cell.speedup), cell.verdict.shown())
                    for cell in line
                ]
        if len(numbers) < 2:
            continue
        title = f"{kernel}: threads"
        charts.append(
            Chart(
                title,
                f"Line chart of the speed-up of {title} against 1 to {max(numbers)} workers, in {len(runs)} runs.",
                _workers_axis(numbers),
                Axis("speed-up", low=0),
                (_ideal(numbers, cpus), *marks),
                table=Table(columns("implementation", "run", ">workers", "speed-up", "verdict"), tuple(rows), title),
            )
        )
    return charts


def _speedups(
    title: str,
    cells: Sequence[Cell],
    best: Sequence[tuple[int, float]],
    look: dict[str, tuple[str, str]],
    cpus: float,
) -> Chart:
    numbers = {cell.workers for cell in cells}
    marks = [_ideal(numbers, cpus)]
    rows = []
    for name in dict.fromkeys(cell.implementation for cell in cells):
        line = _line(cells, name)
        marks.append(_curve(name, line, look[name]))
        rows += [
            (name, str(cell.workers), words.number(cell.speedup.value), _interval(cell), cell.verdict.shown())
            for cell in line
        ]
    if best:
        ceiling = "best of the processes"
        steps, values = zip(*best, strict=True)
        marks.append(Curve(ceiling, tuple(map(float, steps)), values, dash="dashed"))
        rows += [(ceiling, str(n), words.number(value), "", Value("")) for n, value in best]
    highest = max(y for mark in marks for y in (*mark.y, *mark.high) if math.isfinite(y))
    best_of_each = ", ".join(f"{mark.name} {max(mark.y):.2f}" for mark in marks if mark.marker)
    return Chart(
        title,
        f"Line chart of the speed-up of {title} against 1 to {max(numbers)} workers. Best: {best_of_each}.",
        _workers_axis(numbers),
        Axis("speed-up", low=0, high=1.08 * highest),
        tuple(marks),
        table=Table(columns("implementation", ">workers", ">speed-up", "95 % interval", "verdict"), tuple(rows), title),
    )


def _line(cells: Sequence[Cell], implementation: str) -> list[Cell]:
    """Return the cells of an implementation by rising workers."""
    return sorted((cell for cell in cells if cell.implementation == implementation), key=lambda cell: cell.workers)


def _ideal(workers: Collection[int], cpus: float) -> Curve:
    """Return the ideal speed-up for up to so many workers; it ends at the CPUs there are."""
    most = float(max(workers))
    corners = sorted({1.0, min(most, cpus), most})
    return Curve("ideal", tuple(corners), tuple(min(n, cpus) for n in corners), dash="dotted")


def _workers_axis(workers: Collection[int]) -> Axis:
    ticks = tuple((float(n), str(n)) for n in sorted(workers))
    return Axis("workers", log=max(workers) > MANY, ticks=ticks)


def _curve(name: str, cells: Sequence[Cell], style: tuple[str, str]) -> Curve:
    return Curve(
        name,
        tuple(float(cell.workers) for cell in cells),
        tuple(cell.speedup.value for cell in cells),
        style[0],
        tuple(cell.speedup.low for cell in cells),
        tuple(cell.speedup.high for cell in cells),
        style[1],
        hints=tuple(f"{name}, {cell.place}: {words.estimate(cell.speedup)}, {cell.verdict.word}" for cell in cells),
    )


def _interval(cell: Cell) -> str:
    return f"{words.number(cell.speedup.low)} to {words.number(cell.speedup.high)}"


# ---- where the time went ----


def shares_chart(cells: Sequence[Cell], kernel: str) -> Chart | None:
    """Return where the time of each cell's workers went, as stacked bars; None without any."""
    shown = [(cell, shares) for cell in cells if cell.kernel == kernel and (shares := cell.time_shares) is not None]
    if not shown:
        return None
    labels = _labels([cell for cell, _ in shown])
    left = [0.0] * len(shown)
    marks = []
    for attribute, name, colour in SHARES:
        parts = [100 * getattr(shares, attribute) for _, shares in shown]
        right = [start + part for start, part in zip(left, parts, strict=True)]
        hints = (
            f"{cell.implementation}, {cell.place}: {name} {part:.1f} %"
            for (cell, _), part in zip(shown, parts, strict=True)
        )
        marks.append(Bars(name, tuple(range(len(shown))), tuple(left), tuple(right), colour, tuple(hints)))
        left = right
    worst, most = max(shown, key=lambda pair: pair[1].blocked)
    rows = tuple(
        (cell.implementation, cell.place, *(f"{100 * getattr(shares, name):.0f} %" for name, _, _ in SHARES))
        for cell, shares in shown
    )
    return Chart(
        kernel,
        f"Stacked bars: where the workers' time went in {words.counted(len(shown), 'cell')} of {kernel}. Most waiting "
        f"for the GIL or a lock: {worst.implementation}, {worst.place}, {100 * most.blocked:.0f} %.",
        Axis("% of the workers' time", low=0, high=100),
        Axis(),
        tuple(marks),
        labels,
        Table(columns("implementation", "strategy", *(f">{label}" for _, label, _ in SHARES)), rows, kernel),
        height=row_height(len(shown)) + 0.4,
    )


def _labels(cells: Sequence[Cell]) -> tuple[str, ...]:
    """Return a label for each cell's row; only the first row of an implementation names it."""
    before = ""
    labels = []
    for cell in cells:
        labels.append(cell.place if cell.implementation == before else f"{cell.implementation}  {cell.place}")
        before = cell.implementation
    return tuple(labels)


# ---- time per unit of work ----


def time_chart(cells: Sequence[Cell], kernel: str) -> Chart | None:
    """Return the time per unit of work of every implementation, one after the other; None without any."""
    shown = [cell for cell in cells if cell.kernel == kernel and cell.is_serial and cell.time.n]
    if not shown:
        return None
    look = _chosen(cells)
    marks = []
    for row, cell in enumerate(shown):
        time = cell.time
        low, high = (time.value if math.isnan(end) else end for end in (time.low, time.high))
        hint = f"{cell.implementation}: {words.seconds(time.value)}"
        style = look[cell.implementation]
        marks.append(Dots("", (float(row),), (time.value,), (low,), (high,), *style, hints=(hint,)))
    ends = [end for mark in marks for end in (*mark.low, *mark.high)]
    times = ", ".join(mark.hints[0] for mark in marks)
    title = f"{kernel}: time per {shown[0].unit}"
    rows = tuple(
        (
            cell.implementation,
            words.seconds(cell.time.value),
            f"{words.seconds(cell.time.low)} to {words.seconds(cell.time.high)}",
        )
        for cell in shown
    )
    return Chart(
        title,
        f"Dot chart on a logarithmic scale: time per {shown[0].unit} of {kernel} in one thread: {times}.",
        _decades(min(ends), max(ends)),
        Axis(),
        tuple(marks),
        tuple(cell.implementation for cell in shown),
        Table(columns("implementation", ">time", "95 % interval"), rows, title),
        legend=False,
        height=row_height(len(shown)),
    )


def _decades(low: float, high: float) -> Axis:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    powers = [10.0**power for power in range(first, max(last, first + 1) + 1)]
    ticks = tuple((power, words.seconds(power).replace(".00", "").replace(".0", "")) for power in powers)
    return Axis("", log=True, low=powers[0], high=powers[-1], ticks=ticks)


# ---- the tasks of a round ----


def tasks_chart(cells: Sequence[Cell], kernel: str, cpus: float) -> Chart | None:
    """Return which worker did which task of the latest round, and when; None where the file does not say."""
    shown = _cells_with_tasks(cells, kernel, cpus)
    if not shown:
        return None
    look = _chosen(cells)
    labels: list[str] = []
    rows = []
    marks = []
    for cell in shown:
        where: dict[int, int] = {}
        for worker in sorted({task.worker for task in cell.record.latest}):
            where[worker] = len(labels)
            labels.append(f"{cell.implementation} " * (not worker) + f"{cell.strategy}, worker {worker + 1}")
            done = [task for task in cell.record.latest if task.worker == worker]
            busy, last = sum(task.end - task.start for task in done), max(task.end for task in done)
            row = (str(worker + 1), str(len(done)), words.seconds(busy), words.seconds(last))
            rows.append((cell.implementation, cell.place, *row))
        tasks = cell.record.latest
        hints = (
            f"{cell.implementation}, {cell.place}, task {number}: from {words.seconds(task.start)}, took "
            f"{words.seconds(task.end - task.start)}"
            for number, task in enumerate(tasks, 1)
        )
        marks.append(
            Bars(
                cell.implementation,
                tuple(where[task.worker] for task in tasks),
                tuple(1e3 * task.start for task in tasks),
                tuple(1e3 * max(task.end, task.start) for task in tasks),
                look[cell.implementation][0],
                tuple(hints),
            )
        )
    titles = columns("implementation", "strategy", ">worker", ">tasks", ">in tasks", ">last one ended after")
    return Chart(
        kernel,
        f"Gantt chart: who did which task of {kernel} when, in {words.counted(len(shown), 'cell')} of the latest "
        "round.",
        Axis("ms since the cell began", low=0),
        Axis(),
        tuple(marks),
        tuple(labels),
        Table(titles, tuple(rows), kernel),
        legend=False,
        height=row_height(len(labels)),
    )


def _cells_with_tasks(cells: Sequence[Cell], kernel: str, cpus: float) -> list[Cell]:
    """Return, of each implementation and strategy, the cell with most workers that fit the CPUs."""
    chosen: dict[tuple[str, str], Cell] = {}
    for cell in cells:
        if cell.kernel != kernel or cell.is_serial or not cell.record.latest:
            continue
        best = chosen.get((cell.implementation, cell.strategy))
        if best is None or best.workers < cell.workers <= max(1, cpus):
            chosen[cell.implementation, cell.strategy] = cell
    return list(chosen.values())


# ---- several runs ----


def runs_chart(runs: Sequence[tuple[str, Sequence[Cell]]], kernel: str) -> Chart | None:
    """Return the speed-ups of the first run's cells in several runs; None without any."""
    keys = [cell.record.key for cell in runs[0][1] if cell.kernel == kernel and cell.workers > 1]
    if not keys:
        return None
    by_key = [{cell.record.key: cell for cell in cells} for _, cells in runs]
    marks = []
    for number, ((name, _), cells) in enumerate(zip(runs, by_key, strict=True)):
        shift = 0.5 * ((number + 0.5) / len(runs) - 0.5)
        shown = [(row, cells[key]) for row, key in enumerate(keys) if key in cells and cells[key].speedup.n]
        speedups = [cell.speedup for _, cell in shown]
        marks.append(
            Dots(
                name,
                tuple(row + shift for row, _ in shown),
                tuple(speedup.value for speedup in speedups),
                tuple(speedup.value if math.isnan(speedup.low) else speedup.low for speedup in speedups),
                tuple(speedup.value if math.isnan(speedup.high) else speedup.high for speedup in speedups),
                PALETTE[number % len(PALETTE)],
                MARKERS[number % len(MARKERS)],
                tuple(
                    f"{name}: {cell.implementation}, {cell.place}: {words.estimate(cell.speedup)}" for _, cell in shown
                ),
            )
        )
    rows = tuple((key[1], f"{key[2]} x {key[3]}", *(_speedup(cells.get(key)) for cells in by_key)) for key in keys)
    return Chart(
        kernel,
        f"Dot chart: speed-up of {words.counted(len(keys), 'cell')} of {kernel} in {len(runs)} runs.",
        Axis("speed-up", low=0),
        Axis(),
        tuple(marks),
        _labels([cell for cell in runs[0][1] if cell.kernel == kernel and cell.workers > 1]),
        Table(columns("implementation", "strategy", *(name for name, _ in runs)), rows, kernel),
        height=row_height(len(keys)) + 0.3,
    )


def _speedup(cell: Cell | None) -> str:
    return "" if cell is None or math.isnan(cell.speedup.value) else words.estimate(cell.speedup)
