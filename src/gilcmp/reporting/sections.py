"""The sections of a report: what was found, then each result in charts and tables, then where it was measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from attrs import evolve

from gilcmp.experiments.results import Claims
from gilcmp.judge.cell import by_kernel
from gilcmp.judge.charts import overlaid_charts, runs_chart, shares_chart, speedup_panels, tasks_chart, time_chart
from gilcmp.judge.comparison import Comparison
from gilcmp.judge.diff import Diff, diff, in_plain_python
from gilcmp.judge.differences import cell_table, environment_table, reading, without_partner
from gilcmp.judge.tables import verdict_table
from gilcmp.probing.probe_result import Probe, probes_chart
from gilcmp.probing.threshold import Threshold
from gilcmp.saved.environment import Environment
from gilcmp.saved.environment import environment_table as described
from gilcmp.show.model import Chart, Part, Section, Sentence, Table, section
from gilcmp.show.views import Shown

Result = TypeVar("Result")
Named = tuple[str, Result]  # a result, and the name of its file


def report_sections(
    runs: Sequence[Named[Comparison]],
    claims: Sequence[Named[Claims]],
    probes: Sequence[Probe],
    thresholds: Sequence[Threshold],
    others: Sequence[Named[Shown]] = (),
) -> list[Section]:
    """Return the sections, from the top."""
    sections = []
    findings: list[str] = []
    runs = _renamed(runs)
    if len(runs) > 1:
        side_by_side = _named_diff(runs)
        findings += in_plain_python(runs)
        findings += [f"{run.name} against {side_by_side.names[0]}: {reading(run)}" for run in side_by_side.runs]
        findings += side_by_side.findings
        sections.append(_side_by_side(runs, side_by_side))
    findings += [_prefixed(name, sentence, runs) for name, run in runs for sentence in run.findings]
    sections += _together([(name, run_sections(run)) for name, run in runs])
    for name, suite in claims:
        findings += [_prefixed(name, sentence, claims) for sentence in suite.findings]
        about = "What people are told about the GIL, tested by experiments on this machine."
        sections.append(section(_prefixed(name, "Claims", claims), about, *suite.charts(), *suite.tables()))
    if probes:
        findings += [f"{probe.name} {probe.verdict.word}: {probe.verdict.reason}." for probe in probes]
        sections.append(section("Probe: who holds the GIL, and who has to wait", probes_chart(probes)))
    for threshold in thresholds:
        findings += threshold.findings
        title = "Threshold: from which size releasing the GIL pays"
        sections.append(section(title, *threshold.sections()[0].parts, threshold.charts()[0]))
    for name, result in others:
        parts = [part for shown in result.sections() for part in ((shown.title,) * bool(shown.title) + shown.parts)]
        sections.append(section(f"{type(result).__name__}: {name}", *result.charts(), *parts))
    top = section("What was found", *(Sentence(sentence, "strong") for sentence in findings))
    return [top, *sections, _environments(runs, claims)]


def _renamed(runs: Sequence[Named[Comparison]]) -> Sequence[Named[Comparison]]:
    """Name runs by what tells them apart: their Pythons, their machines, or both; else by their files."""
    wheres = [run.environment for _, run in runs]
    for names in (
        [where.python_name for where in wheres],
        [f"{where.cpu_name} ({where.cpus:g} CPUs)" for where in wheres],
        [f"{where.python_name} on {where.cpu_name} ({where.cpus:g} CPUs)" for where in wheres],
    ):
        if len(set(names)) == len(runs):
            return [(name, run) for name, (_, run) in zip(names, runs, strict=True)]
    return runs


def _together(runs: Sequence[Named[Sequence[Section]]]) -> list[Section]:
    """Put what the runs have to show of one kind into one section, each under its name."""
    if len(runs) < 2:
        return [each for _, sections in runs for each in sections]
    together = []
    for alike in zip(*(sections for _, sections in runs), strict=True):
        parts: list[Part] = []
        for (name, _), each in zip(runs, alike, strict=True):
            told = [part for part in each.parts if part not in parts]  # what explains the charts is said once
            parts += [evolve(part, title=f"{name}: {part.title}") if isinstance(part, Chart | Table) else part
                      for part in told]  # fmt: skip
        together.append(section(alike[0].title, *parts))
    return together


def _prefixed(name: str, text: str, results: Sequence[object]) -> str:
    return f"{name}: {text}" if len(results) > 1 else text


def run_sections(run: Comparison) -> list[Section]:
    """Return the sections of one comparison."""
    cpus = run.environment.cpus
    waits = "All workers' time together. Threads that take turns wait for the GIL while one of them runs."
    if not run.environment.run_delay:
        waits += " This system does not tell who waits for a core: that is in the waiting."
    names = list(by_kernel(run.cells))
    tasks = _charts(tasks_chart(run.cells, name, cpus) for name in names)
    about_tasks = (
        "The latest round; each bar is a task. Bars of threads that share the GIL lie side by side and take as many "
        "times as long; bars that run in parallel end early."
        if tasks
        else "The file does not tell: it was saved before the tasks of a round were kept."
    )
    return [
        section(
            "Speed-up against workers",
            "How many times as fast as one after the other. The shaded bands are 95 % intervals.",
            f"This process could use {cpus:g} CPUs: more than that no speed-up can be.",
            *(panel.chart for panel in speedup_panels(run.cells, cpus)),
        ),
        section("Where the time went", waits, *_charts(shares_chart(run.cells, name) for name in names)),
        section(
            "Time per unit of work",
            "One thread, no strategy; each step of the scale is ten times the one before.",
            *_charts(time_chart(run.cells, name) for name in names),
        ),
        section("One round, task by task", about_tasks, *tasks),
        section("Verdicts and their reasons", *(verdict_table(run.cells, name) for name in names)),
    ]


def _charts(charts: Iterable[Chart | None]) -> list[Chart]:
    return [chart for chart in charts if chart is not None]


def _named_diff(runs: Sequence[Named[Comparison]]) -> Diff:
    """Lay the runs side by side under their names."""
    difference = diff(*(run for _, run in runs))
    names = tuple(name for name, _ in runs)
    named = tuple(evolve(run, name=name) for run, name in zip(difference.runs, names[1:], strict=True))
    return evolve(difference, names=names, runs=named)


def _side_by_side(runs: Sequence[Named[Comparison]], difference: Diff) -> Section:
    first = difference.names[0]
    sentences = []
    for run in difference.runs:
        sentences += without_partner(first, run)
    cells = [(name, run.cells) for name, run in runs]
    tables = [evolve(environment_table(difference.names, difference.environment), title="what differs")]
    tables += [evolve(cell_table(run), title=f"{run.name} against {first}") for run in difference.runs]
    charts = _charts(runs_chart(cells, name) for name in by_kernel(runs[0][1].cells))
    cpus = max(run.environment.cpus for _, run in runs)
    return section("Runs side by side", *sentences, *overlaid_charts(cells, cpus), *charts, *tables)


def _environments(runs: Sequence[Named[Comparison]], claims: Sequence[Named[Claims]]) -> Section:
    """Describe where it was measured; results from the same environment are grouped."""
    groups: list[tuple[Environment, list[str]]] = []
    results = [(f"{name} ({run.run.created})", run.environment) for name, run in runs]
    results += [(name, suite.environment) for name, suite in claims]
    for name, environment in results:
        alike = evolve(environment, load=None)  # which is always another one
        names = next((names for group, names in groups if evolve(group, load=None) == alike), None)
        if names is None:
            groups.append((environment, [name]))
        else:
            names.append(name)
    tables = [evolve(described(environment), title=", ".join(names)) for environment, names in groups]
    return section("Environment and raw data", *tables)
