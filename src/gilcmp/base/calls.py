"""What users want called: their callables and what to call them; statements, as `timeit` takes them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

#: A function, its positional arguments and its keyword arguments
Call: TypeAlias = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


def name_of(func: Callable[..., Any], *, short: bool = False) -> str:
    """Return what to call a callable: module.name, without the module for builtins and for what the program defines.

    `short`: its name alone.
    """
    while isinstance(func, functools.partial):
        func = func.func
    name = getattr(func, "__qualname__", None) or type(func).__name__
    if short or name.startswith("pybind11_"):  # a method of a record that pybind11 keeps of it
        name = getattr(func, "__name__", name)
    module = getattr(func, "__module__", None)
    return name if short or module in (None, "__main__", "builtins") else f"{module}.{name}"


def execute(code: str, name: str, namespace: dict[str, Any]) -> None:
    """Run code in a namespace: setups of the user's own, as timeit does."""
    exec(compile(code, name, "exec"), namespace)  # noqa: S102


def statement_function(statement: str, namespace: dict[str, Any], parameter: str = "") -> Callable[..., Any]:
    """Compile a statement to a function that runs it in a namespace; SyntaxError as from Python.

    `parameter`: the name of its argument, if it has one.
    """
    compile(statement, "<statement>", "exec")  # so that an error tells of the statement as it was given
    body = "\n".join(f"    {line}" for line in statement.splitlines() or ["pass"])
    execute(f"def statement({parameter}):\n{body}", "<statement>", namespace)
    function: Callable[..., Any] = namespace["statement"]
    return function


class Statement:
    """A statement with what is run once before it, in every process that it is sent to.

    Parameters
    ----------
    text : str
        The statement.
    setup : sequence of str
        Code that makes its names.
    parameter : str
        The name of its argument, if it has one.
    """

    def __init__(self, text: str, setup: Sequence[str] = (), parameter: str = "") -> None:
        self.text, self.setup, self.parameter = text, tuple(setup), parameter
        self.__name__ = self.__qualname__ = text
        self.__module__ = "__main__"  # its names are those of a program, not of this module
        namespace: dict[str, Any] = {"__name__": "__main__"}
        for code in self.setup:
            execute(code, "<setup>", namespace)
        self.function = statement_function(text, namespace, parameter)

    def __call__(self, *arguments: Any) -> Any:
        """Run it."""
        return self.function(*arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return Statement, (self.text, self.setup, self.parameter)
