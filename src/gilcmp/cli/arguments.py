"""What the arguments of several commands have in common: their types, and checks that name what is wrong."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import click

from gilcmp.base.checks import seconds_in

NAMED = r"[\w./-]+:[\w.]+"  # package.module:function, or script.py:function

# click's types are generic for type checkers only
_ParamType: Any = click.ParamType


json_option = click.option("--json", "output", metavar="FILE", help="As JSON; -: to standard output.")
details_option = click.option("--details", is_flag=True, help="Show all figures, not only one screen of them.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="No progress bar.")


def example(command: str) -> str:
    """Return what stands below a command's help: an example on a line of its own."""
    return f"\b\nExample:\n  {command}"


class Duration(_ParamType):
    """Seconds, written as 20, 20s, 500ms or 2m."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds."""
        if isinstance(value, float):
            return value
        seconds = seconds_in(value) or 0.0
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


def called(text: str, setup: tuple[str, ...] = (), parameter: str = "") -> Callable[..., Any]:
    """Return what a user wants called: package.module:function, script.py:function, script.py, or a statement.

    What is imported is looked for in the current folder as well, as python -m and timeit do.

    Parameters
    ----------
    text : str
        What it is.
    setup : tuple of str
        Code to run before, for a statement.
    parameter : str
        The name that a statement has for its argument, if it gets one.
    """
    from gilcmp.base.calls import Statement

    place, _, path = text.partition(":")
    if not setup and place.endswith(".py") and not text.endswith(":"):
        return _function_of_script(Path(place), path)
    if not setup and re.fullmatch(NAMED, text):
        return _imported(text, place, path)
    sys.path.insert(0, str(Path.cwd()))
    try:
        return Statement(text, setup, parameter)
    except (Exception, SystemExit) as error:
        raise click.UsageError(f"{text!r}: {type(error).__name__}: {error}") from None


def imported_function(text: str) -> Callable[..., Any]:
    """Import the function that is named as package.module:function, or as script.py:function."""
    module, _, path = text.partition(":")
    if not module or not path:
        raise click.UsageError(f"a function is named package.module:function, got {text!r}")
    return called(text) if module.endswith(".py") else _imported(text, module, path)


def _imported(text: str, module: str, path: str) -> Callable[..., Any]:
    sys.path.insert(0, str(Path.cwd()))  # as python -m does
    try:
        function: Any = importlib.import_module(module)
        for name in path.split("."):
            function = getattr(function, name)
    except (Exception, SystemExit) as error:  # importing a user's module can raise anything
        raise click.UsageError(f"{text}: {type(error).__name__}: {error}") from None
    if not callable(function):
        raise click.UsageError(f"{text} must be callable, got {type(function).__name__}")
    return cast("Callable[..., Any]", function)


def _function_of_script(script: Path, path: str) -> Callable[..., Any]:
    """Import a script, which is no part of a package, and return its function; `main`, if none is named."""
    if not script.is_file():
        raise click.UsageError(f"{str(script)!r} is no file")
    if not script.stem.isidentifier():
        raise click.UsageError(f"{str(script)!r} cannot be imported by other processes: its name is no module's")
    if not path and not re.search(r"^(async )?def main\b|^main\b", script.read_text(errors="replace"), re.MULTILINE):
        raise click.UsageError(f"{str(script)!r} has no function main: name one, as {script}:function")
    sys.path.insert(0, str(script.resolve().parent))  # where worker processes look for it too
    return _imported(f"{script}:{path or 'main'}", script.stem, path or "main")


def hint(error: BaseException) -> str:
    """Return what may help with an error of a statement, to be added to it."""
    if isinstance(error, TypeError) and "required positional argument" in str(error):
        return ' (with arguments: "f(x)" -s "from module import f; x = 1")'
    if isinstance(error, NameError) and getattr(error, "name", None):
        return f" (-s makes names: -s 'from module import {error.name}')"
    return ""


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
