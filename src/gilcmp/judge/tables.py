"""Comparisons as sections of tables and sentences."""

from __future__ import annotations

from collections.abc import Sequence

from gilcmp.base.median import middle
from gilcmp.judge.cell import Cell, by_kernel, control
from gilcmp.judge.estimate import median
from gilcmp.saved.run import Run
from gilcmp.show import words
from gilcmp.show.model import Section, Sentence, Table, Value, columns, section


def comparison_sections(cells: Sequence[Cell], run: Run, findings: Sequence[str]) -> list[Section]:
    """Return a table for each kernel, then what was found, and how it was measured."""
    sections = []
    for kernel, rows in by_kernel(cells).items():
        sections.append(section(_heading(kernel, rows), _table(rows), *_control(cells, kernel)))
    starts = [f"{pool.strategy} x {pool.workers} {words.seconds(pool.startup)}" for pool in run.pools]
    parts = [Sentence(f"Start-up (not part of a speed-up): {', '.join(starts)}.", "dim")] * bool(starts)
    prices: dict[str, list[float]] = {}
    for pool in run.pools:
        if pool.hand_over is not None:
            prices.setdefault(pool.strategy, []).append(pool.hand_over)
    handing = ", ".join(f"{strategy} {words.seconds(middle(price))}" for strategy, price in prices.items())
    parts += [Sentence(f"Handing over an empty task: {handing}.", "dim")] * bool(handing)
    sizes = {pool.strategy: pool.memory for pool in run.pools if pool.memory is not None}
    weights = ", ".join(f"{strategy} {words.data(size)}" for strategy, size in sizes.items())
    parts += [Sentence(f"Memory that a worker takes: {weights}.", "dim")] * bool(weights)
    parts += [Sentence(sentence, "dim") for sentence in sending(cells)]
    parts += [Sentence(sentence) for sentence in findings]
    parts += [Sentence(f"Note: {note}.", "strong") for note in run.notes]
    parts.append(Sentence(_reading(cells, run)))
    if not run.complete:
        parts.append(Sentence("Incomplete: the measuring ended early; what was finished is shown.", "strong"))
    return [*sections, section("", *parts)]


def sending(cells: Sequence[Cell]) -> list[str]:
    """Say what it costs to send a user's tasks, of each strategy that does."""
    said: dict[tuple[str, str], str] = {}
    for cell in cells:
        record = cell.record
        if record.sending is None or (cell.implementation, cell.strategy) in said:
            continue
        alone = median([seen.wall / cell.serial_record.work for seen in cell.serial_record.rounds]).value
        size = ""
        if record.bytes_out is not None and record.bytes_back is not None:
            size = f" ({words.data(record.bytes_out)} out, {words.data(record.bytes_back)} back)"
        several = len({each.implementation for each in cells}) > 1
        name = f"{cell.implementation}, {cell.strategy}" if several else cell.strategy
        said[cell.implementation, cell.strategy] = (
            f"{name}: sending a task and its answer takes {words.seconds(record.sending)}{size}, doing it "
            f"{words.seconds(alone)}."
        )
    return list(said.values())


def _heading(kernel: str, cells: Sequence[Cell]) -> str:
    sizes = dict.fromkeys(f"{cell.size:,}" for cell in cells if cell.size is not None)
    size = f", size {' / '.join(sizes)}" if sizes else ""
    return f"{kernel}{size} (time per {cells[0].unit})"


def _table(cells: Sequence[Cell]) -> Table:
    titles = columns("implementation", "strategy", ">n", ">time/unit", "speed-up [95 %]", ">eff.", ">CPUs", "verdict")
    return Table(titles, tuple(map(_row, cells)), repeats=1, spaced=True)


def _row(cell: Cell) -> tuple[str | Value, ...]:
    verdict = cell.verdict.shown()
    return (
        cell.implementation,
        cell.strategy,
        str(cell.workers),
        words.seconds(cell.time.value),
        words.number(cell.speedup.value) if cell.is_serial else words.estimate(cell.speedup),
        words.percent(cell.efficiency.value),
        words.number(cell.cores.value),
        Value(verdict.text, verdict.tone, cell.error or verdict.hint),
    )


def _control(cells: Sequence[Cell], kernel: str) -> list[Sentence]:
    ratio = control(cells, kernel)
    if ratio is None:
        return []
    return [
        Sentence(
            f"Control, one thread: cython_nogil takes {words.estimate(ratio)} times as long as cython_gil; the same "
            "machine code, so it should be 1."
        )
    ]


def _reading(cells: Sequence[Cell], run: Run) -> str:
    environment = run.environment
    rounds = max((len(cell.rounds) for cell in cells), default=0)
    quiet = [len(cell.quiet) for cell in cells if not cell.error]
    cores = environment.cpus_physical
    shared = cores is not None and cores < environment.cpus_logical  # two such CPUs are worth less than two cores
    cpu = environment.cpu + f", hardware threads of {words.counted(cores or 0, 'core')}" * shared
    blas = run.settings.blas_threads
    kept = f" BLAS was kept to {words.counted(blas, 'thread')}." if blas is not None else ""
    return (
        f"{environment.interpreter}, {environment.cpus:g} of {environment.cpus_logical} CPUs ({cpu}); "
        f"{words.counted(rounds, 'round')}, of which {min(quiet, default=0)} to {max(quiet, default=0)} were quiet "
        f"enough to count.{kept} n: workers; eff.: speed-up / workers that can run at once; CPUs: kept busy on average."
    )


def verdict_table(cells: Sequence[Cell], kernel: str) -> Table:
    """Return the cells of a kernel with the reasons of their verdicts."""
    titles = columns(
        "cell", "strategy", ">time per unit", ">speed-up", ">efficiency", ">CPUs busy", "verdict", "reason"
    )
    rows = tuple(
        (
            cell.implementation,
            cell.place,
            words.seconds(cell.time.value),
            words.estimate(cell.speedup),
            words.percent(cell.efficiency.value),
            words.number(cell.cores.value),
            cell.verdict.shown(),
            cell.error or cell.verdict.reason,
        )
        for cell in cells
        if cell.kernel == kernel
    )
    return Table(titles, rows, kernel)
