"""What an assertion does where the machine was too busy to say."""

from __future__ import annotations

from typing import NoReturn
from unittest import SkipTest

from gilcmp.testing import BUSY_CHOICES

default = "skip"  # pytest's option --gil-busy sets it


def give_up(reason: str, on_busy: str | None = None) -> NoReturn:
    """Skip the test, fail it, or let it fail as expected (pytest only)."""
    __tracebackhide__ = True
    how = default if on_busy is None else on_busy
    if how not in BUSY_CHOICES:
        raise ValueError(f"on_busy must be {', '.join(BUSY_CHOICES[:-1])} or {BUSY_CHOICES[-1]}, got {on_busy!r}")
    if how == "fail":
        raise AssertionError(reason)
    if how == "xfail":
        import pytest

        pytest.xfail(reason)
    raise SkipTest(reason)
