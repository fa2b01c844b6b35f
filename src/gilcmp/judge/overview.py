"""What a comparison found, on one screen: sentences first, a row an implementation, a bar each."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gilcmp.base.median import middle
from gilcmp.judge.cell import Cell, by_kernel
from gilcmp.judge.estimate import Estimate
from gilcmp.judge.findings import first_sentences, not_measured
from gilcmp.judge.tables import sending
from gilcmp.judge.verdict import MIN_ROUNDS, UNDECIDED
from gilcmp.saved.run import Run
from gilcmp.show import words
from gilcmp.show.model import Column, Section, Sentence, Table, Value, section

MOST_ROWS = 16  # of a table, so that all fits on one screen
SHORTEST, LONGEST = 6, 20  # characters of a bar
FIGURES = len("1.93x 1.91-1.95 ")
QUIET_MACHINE = 0.1  # CPUs that others may keep busy on a machine that is called quiet


def overview(cells: Sequence[Cell], run: Run, width: int) -> list[Section]:
    """Return what fits on a screen of so many columns and 24 lines: what was found, its figures, and the machine."""
    if not any(cell.rounds for cell in cells):
        where = run.environment.interpreter
        return [section("", *not_measured(cells), f"Nothing was measured before it ended. {where}.")]
    first = first_sentences(cells, run.environment.cpus)
    sections = [section("", *first)] if first else []
    chosen = _chosen(cells, run.environment.cpus, width)
    unanswered: dict[str, list[str]] = {}
    for kernel, mine in by_kernel(cells).items():
        rows = {name: [cell for cell in mine if cell.implementation == name] for name in _implementations(mine)}
        for name, row in list(rows.items()):
            shown = [cell for cell in row if (cell.strategy, cell.workers) in chosen]
            if not shown:
                del rows[name]
            open_ = [cell for cell in shown if cell.verdict.word in UNDECIDED]
            if open_ and all(_failed(cell) or cell in open_ for cell in shown):
                unanswered.setdefault(kernel, []).append(name)
                del rows[name]
        if rows:
            sections.append(section("", _table(kernel, rows, chosen, width)))
    parts = []
    if unanswered:
        names = "; ".join(k if [k] == found else f"{k} ({', '.join(found)})" for k, found in unanswered.items())
        why = ", ".join(word for word in UNDECIDED if any(cell.verdict == word for cell in cells))
        parts.append(Sentence(f"Without an answer ({why}): {names}."))
    parts += [Sentence(sentence) for sentence in _reasons(cells, chosen)]
    parts += [Sentence(sentence, "dim") for sentence in sending(cells)]
    parts += [Sentence(f"Note: {note}.", "strong") for note in run.notes]
    parts += [Sentence(sentence) for sentence in not_measured(cells)]
    parts.append(Sentence(f"{machine(cells, run)}{_open_cells(cells)}"))
    if not run.complete:
        parts.append(Sentence("Incomplete: the measuring ended early; what was finished is shown.", "strong"))
    return [*sections, section("", *parts)]


def machine(cells: Sequence[Cell], run: Run) -> str:
    """Say in one sentence where it was measured, for how long, and how quiet it was."""
    where = run.environment
    gil = f", turned on by {where.gil_culprit}" if where.gil_culprit else ""
    busy = foreign(cells)
    if busy is None:
        state = "nothing was measured"
    elif busy <= QUIET_MACHINE:
        state = "the machine was quiet"
    else:
        state = f"other work kept {busy:.1f} of them busy"
    budget = f"{run.settings.budget:g} s"
    return f"{where.interpreter}{gil}, {words.counted(round(where.cpus), 'CPU')} ({where.cpu_name}), {budget}; {state}."


def foreign(cells: Sequence[Cell]) -> float | None:
    """Return how many CPUs everything else kept busy, in the median over all that was observed."""
    seen = [observation.foreign for cell in cells for observation in cell.rounds]
    return middle(seen) if seen else None


def _open_cells(cells: Sequence[Cell]) -> str:
    unclear = sum(not cell.error and cell.verdict.word in UNDECIDED for cell in cells)
    if not unclear:
        return ""
    rounds = max(len(cell.rounds) for cell in cells)
    if rounds < MIN_ROUNDS:
        fit = words.counted(rounds, "round")
        return f" {fit} fitted into the budget, and an interval needs {MIN_ROUNDS}: a longer --budget gives answers."
    return f" {unclear} of {len(cells)} cells gave no clear answer: a longer budget or a quieter machine may."


def _implementations(cells: Sequence[Cell]) -> list[str]:
    return list(dict.fromkeys(cell.implementation for cell in cells))


def _chosen(cells: Sequence[Cell], cpus: float, width: int) -> list[tuple[str, int]]:
    """Choose the columns: each strategy at the workers that can run at once, and more where there is room."""
    places: dict[str, list[int]] = {}
    for cell in cells:
        if cell.workers > 1 and cell.workers not in places.setdefault(cell.strategy, []):
            places[cell.strategy].append(cell.workers)
    failed = {name for name in places if all(_failed(cell) for cell in cells if cell.strategy == name)}
    places = {strategy: numbers for strategy, numbers in places.items() if strategy not in failed}
    best = []
    for strategy, numbers in places.items():
        if numbers:
            best.append((strategy, max((n for n in numbers if n <= cpus), default=min(numbers))))
    every = [(strategy, n) for strategy, numbers in places.items() for n in sorted(numbers)]
    if _is_long(cells):
        return every if len(every) <= MOST_ROWS // len(by_kernel(cells)) else best
    return every if _bar(cells, every, width) >= SHORTEST else best


def _is_long(cells: Sequence[Cell]) -> bool:
    """Whether each kernel has one implementation, such as a user's function: then strategies are the rows."""
    return all(len(_implementations(mine)) == 1 for mine in by_kernel(cells).values())


def _name_width(cells: Sequence[Cell]) -> int:
    return max(len(name) for cell in cells for name in (cell.implementation, cell.kernel)) + 1


def _bar(cells: Sequence[Cell], chosen: Sequence[tuple[str, int]], width: int) -> int:
    """Return how long a bar may be where the chosen ones are the columns."""
    shown = [cell for cell in cells if (cell.strategy, cell.workers) in chosen and not _failed(cell)]
    words_width = max([len(cell.verdict.word) for cell in shown], default=0)
    return (width - _name_width(cells)) // max(1, len(chosen)) - FIGURES - 1 - words_width - 1


def _table(kernel: str, rows: dict[str, list[Cell]], chosen: Sequence[tuple[str, int]], width: int) -> Table:
    """Return a table of a kernel: implementations by strategies, or a row each where that is too wide."""
    cells = [cell for row in rows.values() for cell in row]
    shown = {(cell.implementation, cell.strategy, cell.workers): cell for cell in cells}
    top = max(
        [2.0]
        + [min(cell.workers, cell.speedup.value / cell.efficiency.value) for cell in shown.values() if cell.speedup.n
           and (cell.strategy, cell.workers) in chosen]
    )  # fmt: skip
    length = _bar(cells, chosen, width)
    if _is_long(cells) or length < SHORTEST:
        names = {(name, *place): f"{place[0]} x {place[1]}" for name in rows for place in chosen}
        if len(rows) > 1:
            names = {key: f"{key[0]}, {place}" for key, place in names.items()}
        label = max([len(kernel), *map(len, names.values())]) + 1
        length = max(SHORTEST, min(LONGEST, width - label - FIGURES - 14))
        titles = (Column(kernel), Column(_scale(length, top), wraps=False), Column(""))
        long = tuple(
            (name, *_figures(shown[key], length, top))
            for key, name in names.items()
            if key in shown and not _failed(shown[key])
        )
        return Table(titles, long)
    length = min(LONGEST, length)
    heads = [Column(f"{kernel:{_name_width(cells) - 1}}", wraps=False)]
    for strategy, workers in chosen:
        heads += (Column(f"{strategy} x {workers}", wraps=False), Column("", wraps=False))
    lines: list[tuple[str | Value, ...]] = []
    for name in rows:
        line: list[str | Value] = [name]
        for place in chosen:
            cell = shown.get((name, *place))
            line += _figures(cell, length, top) if cell is not None else ("", "")
        lines.append(tuple(line))
    return Table(tuple(heads), tuple(lines))


def _scale(length: int, top: float) -> str:
    """Return the head above long bars: where 1x and the most there can be are."""
    one = round(length / top)
    return f"{'':{FIGURES}}{'1x':>{one}}{f'{top:g}x':>{length - one}}"


def _figures(cell: Cell, length: int, top: float) -> tuple[str, Value]:
    """Return the speed-up with its interval in short, a bar for it, and the verdict."""
    verdict = cell.verdict.shown()
    if _failed(cell):  # the reason stands below
        return "-", Value("", hint=cell.error or "")
    shown = Value(verdict.text, verdict.tone, cell.error or verdict.hint)
    if not cell.speedup.n:
        return f"{'-':<{FIGURES + length}}", shown
    return f"{_short(cell.speedup)} {words.bar(cell.speedup.value, top, length)}", shown


def _failed(cell: Cell) -> bool:
    return cell.error is not None and not cell.rounds


def _short(value: Estimate) -> str:
    """Return a value and its interval: 1.93x 1.91-1.95."""
    interval = "" if math.isnan(value.low) else f" {value.low:.2f}-{value.high:.2f}"
    return f"{value.value:.2f}x{interval}".ljust(FIGURES - 1)


def _reasons(cells: Sequence[Cell], chosen: Sequence[tuple[str, int]]) -> list[str]:
    """Return the reasons of the verdicts where there are few, as for one function of the user's."""
    shown = [cell for cell in cells if (cell.strategy, cell.workers) in chosen and not cell.error]
    if len(shown) > 4:
        return []
    several = len({cell.implementation for cell in shown}) > 1
    places: dict[str, list[str]] = {}
    for cell in shown:
        name = f"{cell.implementation}, {cell.place}" if several else cell.place
        places.setdefault(cell.verdict.reason, []).append(name)
    return [f"{'; '.join(names)}: {reason}." for reason, names in places.items()]
