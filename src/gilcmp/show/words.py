"""Numbers and names as people read them."""

from __future__ import annotations

import math
from typing import Protocol

UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"), (1e-12, "ps"))


class HasInterval(Protocol):
    """A number with its interval, NaN where one is not known."""

    @property
    def value(self) -> float:
        """The number."""
        ...

    @property
    def low(self) -> float:
        """The lower end."""
        ...

    @property
    def high(self) -> float:
        """The upper end."""
        ...


def seconds(value: float) -> str:
    """Three digits and the unit that fits: 12.3 ms."""
    if math.isnan(value):
        return "-"
    if value < 0:
        return f"-{seconds(-value)}"
    scale, unit = next(((scale, unit) for scale, unit in UNITS if value >= 0.9995 * scale), UNITS[-1])
    number = value / scale
    return f"{number:.{0 if number >= 100 else 1 if number >= 10 else 2}f} {unit}"


def estimate(value: HasInterval) -> str:
    """A value and its interval: 1.93 [1.91, 1.95]."""
    if math.isnan(value.value):
        return "-"
    if math.isnan(value.low):
        return f"{value.value:.2f}"
    return f"{value.value:.2f} [{value.low:.2f}, {value.high:.2f}]"


def percent(value: float) -> str:
    """A share: 97 %."""
    return "-" if math.isnan(value) else f"{round(100 * value):d} %"


def number(value: float) -> str:
    """Two digits after the point."""
    return "-" if math.isnan(value) else f"{value:.2f}"


def data(size: int) -> str:
    """A number of bytes, in the decimal unit that fits: 10.0 MB."""
    for scale, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= scale:
            return f"{size / scale:.{0 if size >= 100 * scale else 1}f} {unit}"
    return f"{size} B"


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number and its noun, in the singular or the plural: 1 thread, 1,024 threads."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def bar(value: float, most: float, length: int) -> str:
    """A bar of so many characters, filled up to a value: ######.... for 0.6 of 1; none where that is unknown."""
    if math.isnan(value):
        return ""
    full = min(length, max(0, round(value / most * length)))
    return f"{'#' * full:.<{length}}"


def printable(text: str) -> str:
    """Return text with what a terminal would act on escaped: names come from files as well."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)
