"""What the pictures show, picked out of the results, for matplotlib and for the report alike; nothing is computed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from gilcmp.comparison import Cell, Comparison

# Okabe and Ito's palette, which colour-blind people tell apart; what has no colour of its own takes the next one
COLOURS = {
    "python": "#E69F00",
    "numpy": "#009E73",
    "cython_gil": "#0072B2",
    "cython_nogil": "#D55E00",
}
FURTHER = ("#CC79A7", "#56B4E9", "#8C6D31", "#7F7F7F")
MARKERS = {"python": "circle", "numpy": "square", "cython_gil": "triangle", "cython_nogil": "diamond"}
FURTHER_MARKERS = ("inverted_triangle", "hex", "star", "plus")
SHARES = (
    ("on_cpu", "on a CPU", "#0072B2"),
    ("no_core", "waiting for a core", "#CC79A7"),
    ("blocked", "waiting for the GIL (or a lock, or I/O)", "#E69F00"),
    ("idle", "nothing left to do", "#BBBBBB"),
)
TIMES = "\N{MULTIPLICATION SIGN}"
HELD, WAITED, RAN, AWAY = "#D55E00", "#F0E442", "#0072B2", "#BBBBBB"


@frozen
class Line:
    """Speed-up of one implementation under one strategy, by rising number of workers."""

    name: str
    colour: str
    marker: str
    workers: tuple[int, ...]
    value: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    verdicts: tuple[str, ...]


@frozen
class Panel:
    """Speed-ups of one kernel under one strategy, and the ceiling that processes reach: (workers, speed-ups)."""

    kernel: str
    strategy: str
    lines: tuple[Line, ...]
    ceiling: tuple[tuple[int, ...], tuple[float, ...]]

    @property
    def most(self) -> int:
        """The largest number of workers."""
        return max((n for line in self.lines for n in line.workers), default=1)


def looks(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return a colour and a marker for each implementation."""
    found: dict[str, tuple[str, str]] = {}
    others = [name for name in names if name not in COLOURS]
    for name in names:
        if name in COLOURS:
            found[name] = COLOURS[name], MARKERS[name]
        else:
            number = others.index(name) % len(FURTHER)
            found[name] = FURTHER[number], FURTHER_MARKERS[number]
    return found


def implementations(comparison: Comparison) -> list[str]:
    """Return the names of the implementations, in order."""
    return list(dict.fromkeys(cell.implementation for cell in comparison))


def kernels(comparison: Comparison) -> list[str]:
    """Return the names of the kernels, in order."""
    return list(dict.fromkeys(cell.kernel for cell in comparison))


def panels(comparison: Comparison) -> list[Panel]:
    """Return the pictures of speed-up against workers: one for each kernel and strategy."""
    chosen = looks(implementations(comparison))
    found = []
    for kernel in kernels(comparison):
        cells = [cell for cell in comparison if cell.kernel == kernel and not cell.is_serial]
        for strategy in dict.fromkeys(cell.strategy for cell in cells):
            lines = []
            for name in dict.fromkeys(cell.implementation for cell in cells):
                own = [
                    c for c in cells if c.strategy == strategy and c.implementation == name and c.speedup.n
                ]
                if own:
                    lines.append(_line(name, chosen[name], sorted(own, key=lambda cell: cell.workers)))
            ceiling = ((), ()) if strategy.startswith("processes") else _ceiling(cells)
            if lines:
                found.append(Panel(kernel, strategy, tuple(lines), ceiling))
    return found


def _line(name: str, look: tuple[str, str], cells: Sequence[Cell]) -> Line:
    return Line(
        name,
        *look,
        tuple(cell.workers for cell in cells),
        tuple(cell.speedup.value for cell in cells),
        tuple(cell.speedup.low for cell in cells),
        tuple(cell.speedup.high for cell in cells),
        tuple(cell.verdict.word for cell in cells),
    )


def _ceiling(cells: Sequence[Cell]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The best speed-up that processes reach, by workers: they have no lock in common."""
    best: dict[int, float] = {}
    for cell in cells:
        if cell.strategy.startswith("processes") and cell.speedup.n:
            best[cell.workers] = max(cell.speedup.value, best.get(cell.workers, -math.inf))
    numbers = tuple(sorted(best))
    return numbers, tuple(best[n] for n in numbers)


def where(cell: Cell) -> str:
    """Return the strategy and its workers: threads x 2, with the sign for times."""
    return f"{cell.strategy} {TIMES} {cell.workers}"


def gantt_cells(comparison: Comparison, kernel: str) -> list[Cell]:
    """Return the cells whose tasks are shown: of each implementation and strategy those with most workers that fit."""
    found: dict[tuple[str, str], Cell] = {}
    for cell in comparison:
        if cell.kernel != kernel or cell.is_serial or not cell.record.latest:
            continue
        key = cell.implementation, cell.strategy
        best = found.get(key)
        fits = cell.workers <= max(1, comparison.environment.cpus)
        if best is None or (fits and cell.workers > best.workers):
            found[key] = cell
    return list(found.values())
