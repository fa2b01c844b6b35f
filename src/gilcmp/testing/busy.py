"""What an assertion does where the machine was too busy to say."""

from __future__ import annotations

from typing import NoReturn
from unittest import SkipTest

from gilcmp.testing import BUSY_CHOICES

default = "skip"  # pytest's option --gil-busy sets it


def chosen(on_busy: str | None) -> str:
    """Return what is to be done: what was asked for, or else what pytest's option says.

    Raises
    ------
    ValueError
        For another choice.
    """
    if on_busy not in (None, *BUSY_CHOICES):
        raise ValueError(f"on_busy must be {', '.join(BUSY_CHOICES[:-1])} or {BUSY_CHOICES[-1]}, got {on_busy!r}")
    return default if on_busy is None else on_busy


def give_up(reason: str, on_busy: str | None = None) -> NoReturn:
    """Skip the test, fail it, or let it fail as expected (pytest only)."""
    __tracebackhide__ = True
    how = chosen(on_busy)
    if how == "fail":
        raise AssertionError(reason)
    if how == "xfail":
        import pytest

        pytest.xfail(reason)
    raise SkipTest(reason)
