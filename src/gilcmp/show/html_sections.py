"""The sections of the report: what is told, drawn and tabled of each result, before any HTML."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from attrs import evolve, field, frozen

from gilcmp.comparison import Cell, Comparison
from gilcmp.diff import diff
from gilcmp.report import Report
from gilcmp.show import series, words
from gilcmp.show.claims import THRESHOLD_HEADINGS, figure, threshold_answers, threshold_points
from gilcmp.show.diff import HEADINGS as DIFF_HEADINGS
from gilcmp.show.diff import cell_row, reading, without_partner


@frozen
class Table:
    """A table: its caption, headings and rows; the first cell of a row is its heading."""

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@frozen
class Chart:
    """A chart: its heading, what it shows in words, the figure, and the table with the same figures."""

    id: str
    title: str
    alternative: str
    table: Table
    item: Any = field(repr=False)


@frozen
class Key:
    """An entry of a legend."""

    name: str
    colour: str
    shape: str  # a marker's name, or "dotted", "dashed", "bar"


@frozen
class Section:
    """A part of the report: heading, sentences, a legend, charts, further tables, and some that are folded up."""

    id: str
    title: str
    sentences: tuple[str, ...] = ()
    legend: tuple[Key, ...] = ()
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()
    folded: tuple[Table, ...] = ()


def sections(report: Report) -> Iterable[Section]:
    """Yield the parts of the report, from the top."""
    if len(report.runs) > 1:
        yield _side_by_side(report)
    for number, (name, run) in enumerate(report.runs, 1):
        prefix = f"{name}: " if len(report.runs) > 1 else ""
        yield _speedups(run, f"speed-up-{number}", prefix)
        yield _shares(run, f"time-{number}", prefix)
        yield _times(run, f"unit-{number}", prefix)
        yield _gantt(run, f"tasks-{number}", prefix)
        yield _verdicts(run, f"verdicts-{number}", prefix)
    for number, (name, claims) in enumerate(report.claims, 1):
        yield _claims(claims, f"claims-{number}", f"{name}: " if len(report.claims) > 1 else "")
    if report.probes:
        yield _probes(report)
    for number, found in enumerate(report.thresholds, 1):
        yield _threshold(found, f"threshold-{number}")


def _keys(comparison: Comparison) -> tuple[Key, ...]:
    looks = series.looks(series.implementations(comparison))
    return tuple(Key(name, *look) for name, look in looks.items())


def _speedups(run: Comparison, name: str, prefix: str) -> Section:
    from gilcmp.show.html_charts import speedup_chart

    charts = []
    for number, panel in enumerate(series.panels(run)):
        rows = [
            (line.name, str(n), words.number(value), f"{words.number(low)} to {words.number(high)}", verdict)
            for line in panel.lines
            for n, value, low, high, verdict in zip(
                line.workers, line.value, line.low, line.high, line.verdicts, strict=True
            )
        ]
        if panel.ceiling[0]:
            rows += [
                ("best of the processes", str(n), words.number(value), "", "")
                for n, value in zip(*panel.ceiling, strict=True)
            ]
        best = ", ".join(f"{line.name} {max(line.value):.2f}" for line in panel.lines)
        title = f"{panel.kernel}: {panel.strategy}"
        charts.append(
            Chart(
                f"{name}-{number}",
                title,
                f"Line chart of the speed-up of {title} against 1 to {panel.most} workers. Best: {best}.",
                Table(
                    title, ("implementation", "workers", "speed-up", "95 % interval", "verdict"), tuple(rows)
                ),
                speedup_chart(panel, run.environment.cpus),
            )
        )
    return Section(
        name,
        f"{prefix}Speed-up against workers",
        (
            "How many times as fast as one after the other. The shaded bands are 95 % intervals.",
            f"This process could use {run.environment.cpus:g} CPUs: more than that no speed-up can be.",
        ),
        (*_keys(run), Key("ideal", "", "dotted"), Key("best that processes reach", "", "dashed")),
        tuple(charts),
    )


def _shares(run: Comparison, name: str, prefix: str) -> Section:
    from gilcmp.show.html_charts import shares_chart

    charts = []
    for number, kernel in enumerate(series.kernels(run)):
        cells = [cell for cell in run if cell.kernel == kernel and cell.time_shares is not None]
        if not cells:
            continue
        rows = [(cell.implementation, series.where(cell), *_percentages(cell)) for cell in cells]
        headings = ("implementation", "strategy", *(label for _, label, _ in series.SHARES))
        worst = max(cells, key=lambda cell: cell.time_shares.blocked if cell.time_shares else 0)
        blocked = worst.time_shares.blocked if worst.time_shares else 0
        charts.append(
            Chart(
                f"{name}-{number}",
                kernel,
                f"Stacked bars: where the workers' time went in {len(cells)} cells of {kernel}. Most waiting for the "
                f"GIL or a lock: {worst.implementation}, {series.where(worst)}, {100 * blocked:.0f} %.",
                Table(kernel, headings, tuple(rows)),
                shares_chart(cells),
            )
        )
    told = "All workers' time together. Threads that take turns wait for the GIL while one of them runs."
    if not run.environment.run_delay:
        told += " This system does not tell who waits for a core: that is in the waiting."
    legend = tuple(Key(label, colour, "bar") for _, label, colour in series.SHARES)
    return Section(name, f"{prefix}Where the time went", (told,), legend, tuple(charts))


def _percentages(cell: Cell) -> list[str]:
    return [f"{100 * getattr(cell.time_shares, attribute):.0f} %" for attribute, _, _ in series.SHARES]


def _times(run: Comparison, name: str, prefix: str) -> Section:
    from gilcmp.show.html_charts import time_chart

    charts = []
    for number, kernel in enumerate(series.kernels(run)):
        cells = [cell for cell in run if cell.kernel == kernel and cell.is_serial and cell.time.n]
        if not cells:
            continue
        unit = cells[0].unit
        rows = [
            (
                cell.implementation,
                words.seconds(cell.time.value),
                f"{words.seconds(cell.time.low)} to {words.seconds(cell.time.high)}",
            )
            for cell in cells
        ]
        told = ", ".join(f"{cell.implementation} {words.seconds(cell.time.value)}" for cell in cells)
        charts.append(
            Chart(
                f"{name}-{number}",
                f"{kernel}: time per {unit}",
                f"Dot chart on a logarithmic scale: time per {unit} of {kernel} in one thread: {told}.",
                Table(f"{kernel}: time per {unit}", ("implementation", "time", "95 % interval"), tuple(rows)),
                time_chart(run, kernel),
            )
        )
    return Section(
        name,
        f"{prefix}Time per unit of work",
        ("One thread, no strategy; each step of the scale is ten times the one before.",),
        (),
        tuple(charts),
    )


def _gantt(run: Comparison, name: str, prefix: str) -> Section:
    from gilcmp.show.html_charts import gantt_chart

    looks = series.looks(series.implementations(run))
    charts = []
    for number, kernel in enumerate(series.kernels(run)):
        cells = series.gantt_cells(run, kernel)
        if not cells:
            continue
        rows = []
        for cell in cells:
            for worker in sorted({task.worker for task in cell.record.latest}):
                own = [task for task in cell.record.latest if task.worker == worker]
                busy = sum(task.end - task.start for task in own)
                last = words.seconds(max(task.end for task in own))
                row = (
                    cell.implementation,
                    series.where(cell),
                    str(worker + 1),
                    str(len(own)),
                    words.seconds(busy),
                    last,
                )
                rows.append(row)
        headings = ("implementation", "strategy", "worker", "tasks", "in tasks", "last one ended after")
        charts.append(
            Chart(
                f"{name}-{number}",
                kernel,
                f"Gantt chart: who did which task of {kernel} when, in {len(cells)} cells of the latest round.",
                Table(kernel, headings, tuple(rows)),
                gantt_chart(cells, looks),
            )
        )
    if charts:
        told = (
            "The latest round; each bar is a task. Bars of threads that share the GIL lie side by side and take as "
            "many times as long; bars that run in parallel end early."
        )
    else:
        told = "The file does not tell: it was saved before the tasks of a round were kept."
    return Section(name, f"{prefix}One round, task by task", (told,), (), tuple(charts))


def _verdicts(run: Comparison, name: str, prefix: str) -> Section:
    headings = (
        "cell",
        "strategy",
        "time per unit",
        "speed-up",
        "efficiency",
        "CPUs busy",
        "verdict",
        "reason",
    )
    tables = []
    for kernel in series.kernels(run):
        rows = tuple(
            (
                cell.implementation,
                series.where(cell),
                words.seconds(cell.time.value),
                words.estimate(cell.speedup),
                words.percent(cell.efficiency.value),
                words.number(cell.cores.value),
                cell.verdict.word,
                cell.error or cell.verdict.reason,
            )
            for cell in run
            if cell.kernel == kernel
        )
        tables.append(Table(kernel, headings, rows))
    return Section(name, f"{prefix}Verdicts and their reasons", tables=tuple(tables))


def _claims(claims: Any, name: str, prefix: str) -> Section:
    rows = tuple(
        (result.name, result.sentence, result.python, result.verdict.word, result.verdict.reason)
        for result in claims
    )
    figures = tuple(
        (result.name, result.python, one.name, figure(one)) for result in claims for one in result.figures
    )
    return Section(
        name,
        f"{prefix}Claims",
        ("What people are told about the GIL, tested by experiments on this machine.",),
        tables=(Table("claims", ("claim", "what people are told", "Python", "verdict", "reason"), rows),),
        folded=(Table("the claims' figures", ("claim", "Python", "figure", "value"), figures),),
    )


def _probes(report: Report) -> Section:
    from gilcmp.show.html_charts import probe_chart

    rows = tuple(
        (
            probe.name,
            words.seconds(probe.time),
            f"{100 * probe.held.value:.1f} % [{100 * probe.held.low:.1f}, {100 * probe.held.high:.1f}]",
            words.seconds(probe.longest_hold),
            words.percent(probe.usable),
            " / ".join(words.seconds(value) for value in (probe.stall.p50, probe.stall.p99, probe.stall.max)),
            probe.verdict.word,
            probe.verdict.reason,
        )
        for probe in report.probes
    )
    headings = (
        "call",
        "time",
        "held",
        "longest hold",
        "releases usable",
        "others wait (median / 99 % / longest)",
        "verdict",
        "reason",
    )
    held = ", ".join(f"{probe.name} {100 * probe.held.value:.0f} %" for probe in report.probes[:8])
    chart = Chart(
        "probe-0",
        "Share of the call's time in which it holds the GIL",
        f"Bar chart: share of the time in which a call holds the GIL: {held}.",
        Table("probes", headings, rows),
        probe_chart(report.probes),
    )
    return Section("probe", "Probe: who holds the GIL, and who has to wait", charts=(chart,))


def _threshold(found: Any, name: str) -> Section:
    from gilcmp.show.html_charts import threshold_chart

    headings = (*THRESHOLD_HEADINGS[:-1], f"{found.workers} threads")
    chart = Chart(
        f"{name}-0",
        found.name,
        f"Line chart: speed-up of {found.workers} threads against the size of a call, from "
        f"{found.points[0].size if found.points else 0:,} to {found.points[-1].size if found.points else 0:,}.",
        Table(found.name, headings, tuple(threshold_points(found))),
        threshold_chart(found),
    )
    answers = tuple(f"{question}: {answer}." for question, answer in threshold_answers(found))
    title = "Threshold: from which size releasing the GIL pays"
    return Section(name, title, answers, charts=(chart,))


def diff_of_runs(report: Report) -> Any:
    """Lay the runs side by side under the names of their files."""
    found = diff(*(run for _, run in report.runs))
    names = [name for name, _ in report.runs]
    runs = tuple(evolve(run, name=name) for run, name in zip(found.runs, names[1:], strict=True))
    return evolve(found, names=tuple(names), runs=runs)


def _side_by_side(report: Report) -> Section:
    from gilcmp.show.html_charts import runs_chart

    found = diff_of_runs(report)
    names = [name for name, _ in report.runs]
    charts = []
    for number, kernel in enumerate(series.kernels(report.runs[0][1])):
        keys = [cell.record.key for cell in report.runs[0][1] if cell.kernel == kernel and cell.workers > 1]
        if not keys:
            continue
        rows = tuple(
            (key[1], f"{key[2]} {series.TIMES} {key[3]}", *(_speedup_of(run, key) for _, run in report.runs))
            for key in keys
        )
        charts.append(
            Chart(
                f"runs-{number}",
                kernel,
                f"Dot chart: speed-up of {len(keys)} cells of {kernel} in {len(names)} runs.",
                Table(kernel, ("implementation", "strategy", *names), rows),
                runs_chart(report.runs, kernel),
            )
        )
    tables = [
        Table(
            "what differs",
            ("environment", *names),
            tuple((one.name, *one.values) for one in found.environment),
        )
    ]
    told = []
    for run in found.runs:
        tables.append(Table(f"{run.name} against {names[0]}", DIFF_HEADINGS, tuple(map(cell_row, run.cells))))
        told += [f"{run.name} against {names[0]}: {reading(run)}", *without_partner(names[0], run)]
    colours = [*series.COLOURS.values(), *series.FURTHER]
    markers = [*series.MARKERS.values(), *series.FURTHER_MARKERS]
    legend = tuple(
        Key(name, colours[number % len(colours)], markers[number % len(markers)])
        for number, name in enumerate(names)
    )
    return Section("runs", "Runs side by side", tuple(told), legend, tuple(charts), tuple(tables))


def _speedup_of(run: Comparison, key: tuple[str, str, str, int]) -> str:
    cell = next((cell for cell in run if cell.record.key == key), None)
    return "" if cell is None or math.isnan(cell.speedup.value) else words.estimate(cell.speedup)
