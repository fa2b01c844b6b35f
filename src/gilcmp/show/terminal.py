"""Comparisons, lists and environments as text: plain, complete at 80 columns, ASCII."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from io import StringIO
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gilcmp.environment import Environment
from gilcmp.show import words

if TYPE_CHECKING:
    from gilcmp.atlas import Atlas, Entry
    from gilcmp.comparison import Cell, Comparison
    from gilcmp.probe import Probe

STYLES = {
    "scales": "green",
    "partial": "yellow",
    "GIL-bound": "red",
    "slower": "red",
    "starved": "magenta",
    "too noisy": "magenta",
}
HEADINGS = ("implementation", "strategy", "n", "time/unit", "speed-up [95 %]", "eff.", "CPUs", "verdict")
NARROW = 80


def safe_text(text: str, style: str = "") -> Text:
    """Return text as it stands, with what a terminal would act on spelt out: names come from files as well."""
    return Text("".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text), style=style)


def comparison_text(comparison: Comparison, width: int | None = None) -> str:
    """Return a comparison as plain text."""
    return plain(render(comparison), width=width or NARROW)


def plain(*things: RenderableType, width: int = NARROW) -> str:
    """Return what rich would print, without colours."""
    file = StringIO()
    Console(file=file, width=width, color_system=None, legacy_windows=False).print(*things)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def render(comparison: Comparison) -> RenderableType:
    """Return a comparison for a rich console."""
    parts: list[RenderableType] = []
    for kernel in dict.fromkeys(cell.kernel for cell in comparison):
        cells = [cell for cell in comparison if cell.kernel == kernel]
        parts.append(_heading(kernel, cells))
        parts.append(_table(cells))
        control = comparison.control(kernel)
        if control is not None:
            parts.append(
                safe_text(
                    f"Control, one thread: cython_nogil takes {words.estimate(control)} times as long as cython_gil; "
                    "the same machine code, so it should be 1."
                )
            )
        parts.append(Text())
    parts.append(_pools(comparison))
    parts += [safe_text(sentence) for sentence in comparison.findings]
    parts.append(safe_text(_reading(comparison)))
    if not comparison.complete:
        parts.append(safe_text("Incomplete: the measuring ended early; what was finished is shown.", "bold"))
    return Group(*parts)


def _heading(kernel: str, cells: Sequence[Cell]) -> Text:
    sizes = dict.fromkeys(f"{cell.size:,}" for cell in cells if cell.size is not None)
    size = f", size {' / '.join(sizes)}" if sizes else ""
    return safe_text(f"{kernel}{size} (time per {cells[0].unit})", style="bold")


def _table(cells: Sequence[Cell]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    for heading in HEADINGS:
        right = heading in ("n", "time/unit", "eff.", "CPUs")
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    before = None
    for cell in cells:
        if before not in (None, cell.implementation):
            table.add_row()
        table.add_row(*_row(cell, first=cell.implementation != before))
        before = cell.implementation
    return table


def _row(cell: Cell, *, first: bool) -> list[Text]:
    verdict = cell.verdict
    word = verdict.word
    row = [
        cell.implementation if first else "",
        cell.strategy,
        str(cell.workers),
        words.seconds(cell.time.value),
        words.estimate(cell.speedup) if not cell.is_serial else words.number(cell.speedup.value),
        words.percent(cell.efficiency.value),
        words.number(cell.cores.value),
    ]
    return [*map(safe_text, row), safe_text(word, style=STYLES.get(word, ""))]


def _pools(comparison: Comparison) -> RenderableType:
    starts = [
        f"{pool.strategy} x {pool.workers} {words.seconds(pool.startup)}" for pool in comparison.run.pools
    ]
    return safe_text(f"Start-up (not part of a speed-up): {', '.join(starts)}.", "dim") if starts else Text()


def _reading(comparison: Comparison) -> str:
    environment = comparison.environment
    rounds = max((len(cell.rounds) for cell in comparison), default=0)
    quiet = [len(cell.quiet) for cell in comparison if not cell.error]
    gil = "on" if environment.gil_enabled else "off"
    return (
        f"{environment.implementation} {environment.python}, GIL {gil}, {environment.cpus:g} of "
        f"{environment.cpus_logical} CPUs ({environment.cpu}); {rounds} rounds, of which {min(quiet, default=0)} to "
        f"{max(quiet, default=0)} were quiet enough to count. n: workers; eff.: speed-up / workers that can run at "
        "once; CPUs: kept busy on average."
    )


def pairs(rows: Iterable[tuple[str, str]]) -> Table:
    """Return names and values in two columns."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(safe_text(name), safe_text(value))
    return table


def environment_rows(environment: Environment) -> list[tuple[str, str]]:
    """Return what `gilcmp env` shows."""
    quota = "none" if environment.cpu_quota is None else f"{environment.cpu_quota:g} CPUs"
    build = "free-threaded" if environment.free_threaded else "with GIL"
    return [
        (
            "Python",
            f"{environment.implementation} {environment.python} ({build}), {environment.python_compiler}",
        ),
        ("build", environment.python_build),
        (
            "GIL now",
            ("on" if environment.gil_enabled else "off")
            + (f", turned on by {environment.gil_culprit}" if environment.gil_culprit else ""),
        ),
        ("switch interval", words.seconds(environment.switch_interval)),
        ("kernels built by", f"{environment.extension_compiler} {environment.extension_flags}"),
        ("instruction set", f"{environment.extension_isa} (GILCMP_ISA pins it)"),
        ("CPU", environment.cpu),
        ("CPUs", f"{environment.cpus_logical} logical, {environment.cpus_physical or '?'} cores"),
        (
            "CPUs allowed",
            f"{environment.cpus_allowed} by affinity, quota {quota}: {environment.cpus:g} usable",
        ),
        ("load", " ".join(f"{value:.2f}" for value in environment.load)),
        ("run delay", "known (schedstat)" if environment.run_delay else "not told by this system"),
        ("processes start by", environment.start_method),
        ("memory", f"{environment.memory / 2**30:.1f} GiB"),
        ("system", f"{environment.system}, {environment.machine}"),
        ("packages", ", ".join(f"{name} {version}" for name, version in environment.packages.items())),
    ]


def listing(title: str, rows: Iterable[tuple[str, str]]) -> RenderableType:
    """Return a titled list of names and what they are."""
    return Group(safe_text(title, style="bold"), Padding(pairs(rows), (0, 0, 1, 2)))


def probe_rows(found: Probe) -> list[tuple[str, str]]:
    """Return what is shown of a probe."""
    released = f"{words.number(found.hand_overs)} times a call"
    rows = [
        ("verdict", f"{found.verdict.word}: {found.verdict.reason}"),
        ("calls", f"{found.calls:,}, {words.seconds(found.time)} each"),
        ("held", f"{100 * found.held.value:.1f} % [{100 * found.held.low:.1f}, {100 * found.held.high:.1f}]"),
        ("longest hold", words.seconds(found.longest_hold)),
        (
            "released",
            released if math.isnan(found.usable) else f"{released}, {words.percent(found.usable)} usable",
        ),
        ("others wait", f"{_stall(found)} (median, 99 %, longest of {found.stall.n})"),
    ]
    if not math.isnan(found.reacquire):
        rows.append(("getting it back", f"{words.seconds(found.reacquire)} beside a busy Python thread"))
    if found.others > 0.01:
        rows.append(("others held it", words.percent(found.others)))
    return rows


def _stall(found: Probe) -> str:
    return ", ".join(words.seconds(value) for value in (found.stall.p50, found.stall.p99, found.stall.max))


def probe_text(found: Probe) -> str:
    """Return a probe as plain text."""
    return plain(safe_text(found.name, "bold"), pairs(probe_rows(found)))


def probe_table(probes: Sequence[Probe]) -> Table:
    """Return several probes as a table."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    for heading in ("statement", "time", "held", "usable", "stall (99 %)", "verdict"):
        table.add_column(
            heading, overflow="fold", justify="left" if heading in ("statement", "verdict") else "right"
        )
    for found in probes:
        values = (
            found.name,
            words.seconds(found.time),
            f"{100 * found.held.value:.1f} %",
            words.percent(found.usable),
            words.seconds(found.stall.p99),
            found.verdict.word,
        )
        table.add_row(*map(safe_text, values))
    return table


ATLAS_HEADINGS = ("statement", "time", "held", "usable", "verdict")


def atlas_row(entry: Entry) -> tuple[str, ...]:
    """Return what is shown of a statement."""
    if entry.probe is None:
        return (entry.statement, "", "", "", entry.error or "")
    found = entry.probe
    return (
        entry.statement,
        words.seconds(found.time),
        f"{100 * found.held.value:.1f} %",
        words.percent(found.usable),
        found.verdict.word,
    )


def render_atlas(found: Atlas) -> RenderableType:
    """Return an atlas for a rich console, a table a group."""
    parts: list[RenderableType] = [safe_text(found.title, "bold")]
    for group in dict.fromkeys(entry.group for entry in found):
        table = Table(
            box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim", title_justify="left"
        )
        for heading in (group, *ATLAS_HEADINGS[1:]):
            right = heading in ("time", "held", "usable")
            table.add_column(safe_text(heading), overflow="fold", justify="right" if right else "left")
        for entry in found:
            if entry.group == group:
                table.add_row(*map(safe_text, atlas_row(entry)))
        parts += [Text(), table]
    parts += [Text(), safe_text(atlas_reading(found))]
    return Group(*parts)


def atlas_reading(found: Atlas) -> str:
    """Say what an atlas was measured on, and how to read it."""
    environment = found.environment
    counted = [entry.probe.verdict.word for entry in found if entry.probe]
    counts = ", ".join(f"{word}: {counted.count(word)}" for word in dict.fromkeys(sorted(counted)))
    return (
        f"{environment.implementation} {environment.python}, GIL {'on' if environment.gil_enabled else 'off'}, "
        f"{environment.cpu}, {environment.system}. {counts}; errors: {len(found) - len(counted)}."
    )


def atlas_text(found: Atlas) -> str:
    """Return an atlas as plain text."""
    return plain(render_atlas(found))


def atlas_markdown(found: Atlas) -> str:
    """Return an atlas as Markdown."""
    lines = [f"## {found.title}", "", atlas_reading(found), ""]
    for group in dict.fromkeys(entry.group for entry in found):
        lines += [f"### {group}", "", f"| {' | '.join(ATLAS_HEADINGS)} |", "| --- | --: | --: | --: | --- |"]
        for entry in found:
            if entry.group == group:
                statement, *rest = (
                    cell.replace("|", "\\|").replace("\n", " ; ") for cell in atlas_row(entry)
                )
                lines.append(f"| `{statement}` | {' | '.join(rest)} |")
        lines.append("")
    return "\n".join(lines)
