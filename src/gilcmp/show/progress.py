"""A progress bar that does not disturb what is measured."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

PAUSE = 0.2  # seconds between two looks of the bar, drawn between cells


class Silent:
    """No progress bar."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: object) -> None:
        return None


class ProgressBar:
    """What is being measured and the time left, on standard error.

    It is drawn between cells, from the measuring thread: rich's own refresh thread would ask for the GIL in
    the middle of a cell.
    """

    def __init__(self) -> None:
        self._bar = Progress(
            BarColumn(bar_width=20),
            TextColumn("{task.fields[left]:>3.0f} s left  {task.description}", markup=False),
            console=Console(stderr=True),
            auto_refresh=False,
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=1.0, left=0.0)
        self._drawn = 0.0

    def __enter__(self) -> ProgressBar:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def say(self, sentence: str) -> None:
        """Print a sentence above the bar."""
        self._bar.console.print(sentence, markup=False, highlight=False)

    def __call__(self, now: Any) -> None:
        """Draw, unless that was done a moment ago."""
        if time.perf_counter() - self._drawn < PAUSE and now.done < 1:
            return
        self._bar.update(self._task, completed=now.done, description=now.what, left=now.left)
        self._bar.refresh()
        self._drawn = time.perf_counter()
