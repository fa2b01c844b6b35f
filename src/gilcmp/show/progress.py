"""A progress bar, and results as they come, that do not disturb what is measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from gilcmp.show.model import Section
from gilcmp.show.text import render

PAUSE = 0.2  # seconds between two looks of the bar, drawn between cells
FILLING = 2.0  # seconds between two looks of the results: each is judged anew, in some 20 ms


class Silent:
    """No progress bar."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: object) -> None:
        return None


class ProgressBar:
    """What is being measured, the time left and the results so far, on standard error.

    It is drawn between cells, from the measuring thread: rich's own refresh thread would ask for the GIL in
    the middle of a cell.
    """

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._bar = Progress(
            BarColumn(bar_width=20),
            TextColumn("{task.fields[left]:>3.0f} s left  {task.description}", markup=False),
            auto_refresh=False,
            console=console,
        )
        self._task = self._bar.add_task("starting", total=1.0, left=0.0)
        self._live = Live(self._bar, console=console, auto_refresh=False, transient=True)
        self._results: Callable[[int], Sequence[Section]] | None = None
        self._table: RenderableType | None = None
        self._drawn = self._filled = 0.0

    def __enter__(self) -> ProgressBar:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def say(self, sentence: str) -> None:
        """Print a sentence above the bar."""
        self._live.console.print(sentence, markup=False, highlight=False)

    def fill(self, results: Callable[[int], Sequence[Section]]) -> None:
        """Show what this returns for a width, from now on every two seconds."""
        self._results = results
        self._filled = -FILLING

    def __call__(self, now: Any) -> None:
        """Draw, unless that was done a moment ago."""
        moment = time.perf_counter()
        if moment - self._drawn < PAUSE and now.done < 1:
            return
        self._bar.update(self._task, completed=now.done, description=now.what, left=now.left)
        if self._results is not None and moment - self._filled > FILLING:
            self._table = render(self._results(self._live.console.width), self._live.console.width)
            self._filled = time.perf_counter()
        shown = self._bar if self._table is None else Group(self._table, Text(), self._bar)
        self._live.update(shown, refresh=True)
        self._drawn = time.perf_counter()
