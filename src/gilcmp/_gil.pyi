"""Types of the native part of the probe; what it does is documented in `_gil.pyx`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

class Counts(TypedDict):
    samples: int
    held: float
    other: float
    free: float
    dropped: float
    longest_hold: float
    hand_overs: int
    segments: list[tuple[float, float]]
    releases: list[float]
    n_releases: int

def hold_gil(seconds: float) -> None: ...
def release_gil(seconds: float) -> None: ...
def alternate(held: float, released: float, seconds: float) -> float: ...
def why_not() -> str | None: ...
def call_for(
    function: Callable[..., object],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    seconds: float,
    limit: int,
) -> tuple[int, float]: ...
def now() -> int: ...

class Sampler:
    def __init__(self, pace: float, longest: float) -> None: ...
    def stop(self) -> Counts | None: ...

class Waiter:
    def __init__(self, pause: float, capacity: int) -> None: ...
    def stop(self) -> list[tuple[int, float]] | None: ...
