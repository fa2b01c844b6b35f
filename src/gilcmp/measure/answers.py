"""Whether a user's function does in every call what it did in the first: its arguments, and its answers."""

from __future__ import annotations

import math
import pickle
import sys
from collections.abc import AsyncGenerator, Coroutine, Generator, Iterator, Sequence
from typing import Any

LARGEST = 2**24  # bytes of tasks, or of answers, that are looked at
MOST = 10_000  # items of a container that are looked at
CLOSE = 1e-9  # relative; sums in another order, as by the threads of BLAS, are the same answer

PLAIN = (int, float, complex, str, bytes, bool, type(None))


def refuse_iterators(tasks: Sequence[Any]) -> None:
    """Refuse tasks that the first call would use up."""
    for number, task in enumerate(tasks):
        if isinstance(task, Iterator):
            raise TypeError(
                f"tasks[{number}] is a {type(task).__name__}, which the first call uses up: "
                "give a list of what it yields, or open it in the function"
            )


def refuse_lazy(parts: Sequence[Any]) -> None:
    """Refuse answers whose work is still to be done: the figures would be those of a call that does nothing."""
    coroutines = [part for part in parts if isinstance(part, Coroutine)]
    for coroutine in coroutines:
        coroutine.close()  # or Python warns that it was never awaited
    if coroutines:
        raise TypeError("the function returns a coroutine and does not run it: pass an async function instead")
    for part in parts:
        if isinstance(part, Generator | AsyncGenerator | map | filter | zip):
            raise TypeError(
                f"the function returns a {type(part).__name__}, whose work is done only when it is gone through: "
                "return a list of it"
            )


class Untouched:
    """The tasks as they were, to see whether calls change them."""

    def __init__(self, tasks: Sequence[Any]) -> None:
        self._tasks = tasks
        self._before: list[bytes] = []
        left = LARGEST
        for task in tasks:
            try:
                data = pickle.dumps(task)
            except Exception:  # whatever a __reduce__ raises: what cannot be copied is not looked at
                data = b""
            left -= len(data)
            if left < 0:
                break
            self._before.append(data)

    def check(self) -> None:
        """Raise ValueError where one has changed: further calls would do other work than the first."""
        for number, (before, task) in enumerate(zip(self._before, self._tasks, strict=False)):
            if before and _changed(before, task):
                raise ValueError(
                    f"the function changes its argument, tasks[{number}]: later calls would do other work than the "
                    "first; let it work on a copy"
                )


def _changed(before: bytes, task: Any) -> bool:
    try:
        # ours, of this moment: nothing from outside
        return pickle.dumps(task) != before and same(pickle.loads(before), task) is False  # noqa: S301
    except Exception:  # whatever a __reduce__ raises
        return False


def small(parts: Sequence[Any]) -> bool:
    """Tell whether answers may be kept."""
    return sum(map(sys.getsizeof, parts)) <= LARGEST


def same(one: Any, other: Any) -> bool | None:
    """Tell whether two answers are the same, but for rounding; None where that cannot be told."""
    if one is other:
        return True
    if isinstance(one, PLAIN) or isinstance(other, PLAIN):
        return _same_plain(one, other)
    if type(one) is not type(other):
        return None
    if isinstance(one, list | tuple):
        return _all(one, other) if len(one) == len(other) else False
    if isinstance(one, dict):
        return _all([one[key] for key in one], [other[key] for key in one]) if one.keys() == other.keys() else False
    if type(one).__module__ == "numpy" and hasattr(one, "dtype"):
        return _same_array(one, other)
    try:
        return True if pickle.dumps(one) == pickle.dumps(other) else None
    except Exception:  # whatever a __reduce__ raises
        return None


def _same_plain(one: Any, other: Any) -> bool | None:
    if not (isinstance(one, PLAIN) and isinstance(other, PLAIN)):
        return None
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=CLOSE) or (math.isnan(one) and math.isnan(other))
    return bool(one == other)


def _all(ones: Sequence[Any], others: Sequence[Any]) -> bool | None:
    told = [same(one, other) for one, other in zip(ones[:MOST], others[:MOST], strict=True)]
    return False if False in told else None if None in told or len(ones) > MOST else True


def _same_array(one: Any, other: Any) -> bool | None:
    import numpy as np

    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.dtype.kind in "fc":
        return bool(np.allclose(one, other, rtol=CLOSE, atol=0, equal_nan=True))
    return None if one.dtype.hasobject else bool(np.array_equal(one, other))
