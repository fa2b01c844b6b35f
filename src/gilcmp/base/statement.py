"""Statements of a user's, as `timeit` takes them, made into functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


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
        namespace: dict[str, Any] = {"__name__": "__main__"}
        for code in self.setup:
            execute(code, "<setup>", namespace)
        self.function = statement_function(text, namespace, parameter)

    def __call__(self, *arguments: Any) -> Any:
        """Run it."""
        return self.function(*arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return Statement, (self.text, self.setup, self.parameter)
