"""What the arguments of several commands have in common: their types, and checks that name what is wrong."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import click

DURATION_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "": 1.0, "m": 60.0}

# click's types are generic for type checkers only
_ParamType: Any = click.ParamType


json_option = click.option("--json", "output", metavar="FILE", help="As JSON; -: to standard output.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="No progress bar.")


class Duration(_ParamType):
    """Seconds, written as 20, 20s, 500ms or 2m."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds."""
        if isinstance(value, float):
            return value
        parts = re.fullmatch(r"(\d+(?:\.\d+)?)(us|ms|s|m|)", value, re.ASCII)
        seconds = float(parts[1]) * DURATION_UNITS[parts[2]] if parts else 0.0
        if not 0 < seconds <= 1e6:
            self.fail(f"must be a time such as 20s, 500ms or 2m, got {value!r}", param, ctx)
        return seconds


class Counts(_ParamType):
    """Numbers of workers, written as 1,2,4."""

    name = "n,n,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        """Return the numbers."""
        words = [word.strip() for word in value.split(",")]
        if not all(re.fullmatch(r"\d{1,4}", word, re.ASCII) and int(word) >= 1 for word in words):
            self.fail(f"must be numbers from 1 such as 1,2,4, got {value!r}", param, ctx)
        return [int(word) for word in words]


class Names(_ParamType):
    """Names, separated by commas."""

    name = "name,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        """Return the names."""
        return [word.strip() for word in value.split(",") if word.strip()]


def imported_function(work: tuple[str, ...]) -> Callable[..., Any]:
    """Import the function that is named as package.module:function."""
    if len(work) != 1:
        raise click.UsageError(f"one function at a time, got {' '.join(work)}")
    module, _, path = work[0].partition(":")
    if not module or not path:
        raise click.UsageError(f"a function is named package.module:function, got {work[0]!r}")
    sys.path.insert(0, str(Path.cwd()))  # as python -m does
    try:
        function: Any = importlib.import_module(module)
        for name in path.split("."):
            function = getattr(function, name)
    except (Exception, SystemExit) as error:  # importing a user's module can raise anything
        raise click.UsageError(f"{work[0]}: {type(error).__name__}: {error}") from None
    if not callable(function):
        raise click.UsageError(f"{work[0]} must be callable, got {type(function).__name__}")
    return cast("Callable[..., Any]", function)


def find_interpreters(wanted: tuple[str, ...]) -> list[Any]:
    """Return this interpreter and the others, each once."""
    from gilcmp.measure.pythons import PythonError, find_python, this_python

    try:
        pythons = {python.path: python for python in (this_python(), *map(find_python, wanted))}
    except PythonError as error:
        raise click.UsageError(str(error)) from None
    return list(pythons.values())


def need_writable(output: str | None) -> None:
    """Refuse a file that cannot be written before anything is measured for it."""
    from gilcmp.base.files import check_writable

    if output in (None, "-"):
        return
    try:
        check_writable(output)
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{output!r} cannot be written: {getattr(error, 'strerror', None) or error}") from None
