"""Types of the native part of the probe; what it does is documented in `_gil.pyx`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypedDict, TypeVar, type_check_only

_T = TypeVar("_T")

@type_check_only
class Counts(TypedDict):
    samples: int
    held: float
    other: float
    free: float
    dropped: float
    longest_hold: float
    hand_overs: int
    switches: int
    segments: list[tuple[float, float]]
    releases: list[float]
    n_releases: int

@type_check_only
class ThreadRecord(TypedDict):
    id: int
    ident: int
    native_id: int
    began: int
    ended: int
    spent: list[int]
    longest_hold: int
    holds: int
    cpu: int | None
    run_delay: int | None

@type_check_only
class Recording(TypedDict):
    began: int
    ended: int
    looks: int
    unseen: int
    free: int
    watched: int
    hand_overs: int | None
    hand_overs_seen: int
    tells_states: bool
    tells_waits: bool
    threads: list[ThreadRecord]
    lines: list[tuple[int, tuple[str, int, str] | None, tuple[str, int, str] | None, int, int, int]]
    spans: bytes
    n_spans: int
    clocks: bytes
    n_clocks: int

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
    raises: type[BaseException] | tuple[type[BaseException], ...] = (),
) -> tuple[int, float]: ...
def now() -> int: ...
def pause_all() -> None: ...
def resume_all() -> None: ...

class Sampler:
    def __init__(
        self,
        pace: float,
        longest: float,
        without_delays: bool = False,
        with_younger: bool = False,
        marked: bool = False,
    ) -> None: ...
    def call(self, function: Callable[..., _T], args: Sequence[Any], kwargs: Mapping[str, Any]) -> _T: ...
    def stop(self) -> Counts | None: ...

class Waiter:
    def __init__(self, pause: float, capacity: int) -> None: ...
    def stop(self) -> list[tuple[int, int, int, float]] | None: ...

class Recorder:
    def __init__(self, pace: float, capacity: int, library: bytes = b"") -> None: ...
    def peek(self) -> Recording: ...
    def stop(self) -> Recording | None: ...

class Alarm:
    def __init__(self, seconds: float, function: Callable[[], object]) -> None: ...
    def cancel(self) -> None: ...

class Counter:
    @property
    def value(self) -> int: ...
    def holding(self) -> None: ...
    def plain(self, times: int) -> None: ...
    def atomic(self, times: int) -> None: ...
    def locked(self, times: int) -> None: ...

@type_check_only
class SeenPlace(TypedDict):
    doing: int
    lock: int
    object: int
    kind: int
    name: str
    inner: tuple[int, int] | None
    outer: tuple[int, int] | None
    owner: tuple[int, int] | None
    spent: int
    looks: int
    longest: int
    free_looks: int
    untimed: int
    threads: int

@type_check_only
class SeenThread(TypedDict):
    id: int
    ident: int
    native_id: int
    spent: list[int]
    cpu: int | None
    run_delay: int | None
    system: int | None

@type_check_only
class SeenContention(TypedDict):
    began: int
    ended: int
    watched: int
    unseen: int
    looks: int
    stopped: int
    pauses: int
    longest_pause: int
    collecting: int
    no_frame: int
    no_lock: int
    lost: int
    cpu: int
    tells_states: bool
    tells_locks: bool
    tells_world: bool
    threads: list[SeenThread]
    places: list[SeenPlace]
    # of each: file, name, first line, table of lines, and whether it sleeps to be told something
    functions: list[tuple[str, str, int, bytes, bool]]

class Contention:
    def __init__(self, pace: float, library: bytes, without_caller: bool = False) -> None: ...
    def watch_only(self, numbers: Iterable[int]) -> None: ...
    def count(self, counting: bool) -> None: ...
    def stop(self) -> SeenContention | None: ...

@type_check_only
class MonitoredSums(TypedDict):
    held: int
    waited: int
    asleep: int
    cpu: int | None
    run_delay: int | None

@type_check_only
class MonitoredThread(MonitoredSums):
    id: int
    ident: int
    native_id: int

@type_check_only
class MonitoredHistogram(TypedDict):
    n: int
    total: int
    buckets: list[int]

@type_check_only
class MonitoredEvent(TypedDict):
    kind: int
    began: int
    ended: int
    ident: int
    native_id: int
    inner: tuple[str, int, str] | None
    outer: tuple[str, int, str] | None
    no_core: int
    waiting: int
    reported: int

@type_check_only
class Monitored(TypedDict):
    began: int
    ended: int
    looks: int
    watched: int
    unseen: int
    held: int
    waited: int
    asleep: int
    hand_overs: int
    stopped: int
    pauses: int
    longest_pause: int
    cpu: int
    n_threads: int
    reports: int
    suppressed: int
    failed: int
    holds: MonitoredHistogram
    waits: MonitoredHistogram
    threads: list[MonitoredThread]
    gone: MonitoredSums
    lines: list[tuple[int, tuple[str, int, str] | None, tuple[str, int, str] | None, int, int, int]]
    rest: tuple[int, int, int]
    n_events: int
    events: list[MonitoredEvent]
    now: MonitoredEvent | None
    tells_states: bool
    tells_waits: bool
    tells_locks: bool
    tells_world: bool

class Monitor:
    def __init__(
        self,
        pace: float,
        hold: float,
        wait: float,
        every: float,
        file: int,
        library: bytes,
        call: Callable[[], object] | None = None,
    ) -> None: ...
    def read(self) -> Monitored: ...
    def stop(self) -> None: ...
    def abandon(self) -> None: ...

def why_no_locks() -> str | None: ...
