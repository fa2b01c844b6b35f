"""What the kernels accept: one set of checks, and one wording of the errors, for every implementation.

The compiled kernels check the same conditions in C, which costs nanoseconds, and call these functions only to
say what is wrong.
"""

from __future__ import annotations

import operator
import re
from typing import Any, TypeAlias

Duration: TypeAlias = float | str  # seconds, or text such as "500ms"
Exceptions: TypeAlias = type[BaseException] | tuple[type[BaseException], ...]
DURATION_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "": 1.0, "m": 60.0}

# struct's letters for what the kernels take, in words; a buffer without a format holds unsigned bytes
FORMATS = {"B": "uint8", "i": "int32", "f": "float32", "d": "float64"}


def integer(name: str, value: Any, low: int, high: int) -> int:
    """Return `value` as an int in low..high; TypeError or ValueError say what is allowed."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {type(value).__name__}") from None
    if not low <= number <= high:
        raise ValueError(f"{name} must be from {low} to {high}, got {number}")
    return number


def seconds_in(text: str) -> float | None:
    """Return the seconds that "20", "20s", "500ms", "200us" or "2m" stand for; None for other text."""
    parts = re.fullmatch(r"(\d+(?:\.\d+)?)(us|ms|s|m|)", text, re.ASCII)
    return float(parts[1]) * DURATION_UNITS[parts[2]] if parts else None


def duration(name: str, value: Any, low: float, high: float) -> float:
    """Return `value` as seconds in low..high; TypeError or ValueError say what is allowed."""
    seconds = seconds_in(value) if isinstance(value, str) else value
    if seconds is None:
        raise ValueError(f"{name} must be seconds, or a time such as '20s', '500ms' or '2m', got {value!r}")
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        raise TypeError(f"{name} must be a number of seconds, or a time such as '500ms', got {value!r}")
    if not low * (1 - 1e-9) <= seconds <= high:  # "100us" is 0.000099999…
        raise ValueError(f"{name} must be from {low:g} to {high:g} seconds, got {value}")
    return float(seconds)


def exceptions(name: str, value: Any) -> tuple[type[BaseException], ...]:
    """Return exception types as a tuple; TypeError says what is allowed."""
    kinds = value if isinstance(value, tuple) else (value,)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise TypeError(f"{name} must be an exception type or a tuple of them, got {kind!r}")
    return kinds


def between(low: float, below: float) -> Any:
    """Return an attrs validator: the number must be at least `low` and less than `below`."""

    def check(instance: object, attribute: Any, value: float) -> None:
        if not low <= value < below:
            raise ValueError(f"{attribute.name} must be at least {low:g} and below {below:g}, got {value:g}")

    return check


def span(start: Any, stop: Any, high: int) -> tuple[int, int]:
    """Return (start, stop) of a half-open range inside 0..high."""
    first = integer("start", start, 0, high)
    return first, integer("stop", stop, first, high)


def array(name: str, value: Any, fmt: str, ndim: int, *, writable: bool = False) -> Any:
    """Return a memoryview of `value` (typed Any, since its shape is known).

    TypeError or ValueError say what the kernel needs instead.
    """
    try:
        view = memoryview(value)
    except TypeError:
        raise TypeError(f"{name} must support the buffer protocol, got {type(value).__name__}") from None
    kind = view.format.lstrip("@=")
    if kind == "l" and view.itemsize == 4:  # where a C long has 32 bits, int32 arrays may call themselves long
        kind = "i"
    if kind != fmt:
        raise TypeError(f"{name} must hold {FORMATS[fmt]} (format {fmt!r}), got format {view.format!r}")
    if view.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimension{'s' * (ndim > 1)}, got {view.ndim}")
    if not view.c_contiguous:
        raise ValueError(f"{name} must be C-contiguous, got strides {view.strides} for shape {view.shape}")
    if writable and view.readonly:
        raise ValueError(f"{name} must be writable, got a read-only {type(value).__name__}")
    return view


def same_length(a: Any, b: Any) -> None:
    """Raise ValueError unless the vectors `a` and `b` are equally long."""
    if a.shape != b.shape:
        raise ValueError(f"a and b must have the same length, got {a.shape[0]} and {b.shape[0]}")


def block(out: Any, first_row: Any, height: int) -> int:
    """Return `first_row` of a block of rows `out` that must lie inside an image of `height` rows."""
    rows = out.shape[0]
    if rows > height:
        raise ValueError(f"out must have at most {height} rows (the image's height), got {rows}")
    return integer("first_row", first_row, 0, height - rows)


def image_block(image: Any, out: Any, first_row: Any) -> int:
    """Return `first_row` of a block of rows `out` that is filtered from `image`."""
    if image.shape[1] != out.shape[1]:
        raise ValueError(f"image and out must have the same width, got {image.shape[1]} and {out.shape[1]}")
    return block(out, first_row, image.shape[0])
