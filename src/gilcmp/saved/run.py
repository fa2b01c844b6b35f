"""The schema of a saved run: environment, settings, cells, and every round raw; saving and loading it."""

from __future__ import annotations

import json
import os
from typing import Any

from attrs import field, frozen, validators

from gilcmp.base.checks import between
from gilcmp.base.files import replace_file
from gilcmp.saved.environment import Environment
from gilcmp.saved.observation import SECONDS_MAX, Observation, TaskSpan
from gilcmp.saved.reading import ResultError, parsed, shortened, structured, to_plain

FORMAT = "gilcmp run"

SCHEMA = 1

_count = between(1, 2**31)

_seconds = between(0, SECONDS_MAX)


def _name(instance: object, attribute: Any, value: str) -> None:
    if not value:
        raise ValueError(f"{attribute.name} must not be empty")


@frozen
class Settings:
    """What was asked for.

    Attributes
    ----------
    budget : float
        Seconds that the run was allowed to take.
    seed : int
        Seed of the inputs and of the order of the cells.
    size : str or int or None
        The size that was asked for; None: calibrated for each implementation.
    blas_threads : int or None
        Threads that BLAS was kept to; None: it was left alone, or the run was saved before this was kept.
    """

    budget: float = field(validator=_seconds)
    seed: int
    size: str | int | None
    blas_threads: int | None = field(default=None, validator=validators.optional(_count))


@frozen
class PoolStart:
    """What the workers of one strategy cost besides what they compute.

    Attributes
    ----------
    strategy, workers : str, int
        Which they are.
    startup : float
        Seconds until all were ready; never part of a speed-up.
    hand_over : float or None
        Seconds to hand an empty task over and get its answer, when many follow each other; None in runs saved before
        this was measured.
    memory : int or None
        Bytes of memory that a worker takes; None where the system does not tell, and in runs saved before this was
        measured.
    """

    strategy: str = field(validator=_name)
    workers: int = field(validator=_count)
    startup: float = field(validator=_seconds)
    hand_over: float | None = field(default=None, validator=validators.optional(_seconds))
    memory: int | None = field(default=None, validator=validators.optional(between(0, 2**63)))


@frozen
class CellRecord:
    """One cell of a comparison and its observations.

    Attributes
    ----------
    kernel, implementation, strategy : str
        What was run, how it is written, and how its tasks were run.
    workers : int
        How many workers it had.
    kernel_version : int
        The kernel's version; 0 for a function of the user's.
    size : int or None
        The kernel's size; None for a function of the user's.
    unit : str
        The unit of work, singular.
    work : int
        Units of work that the cell does in a round.
    tasks, repeats : int
        Tasks in the list, and how often the cell does the list in a round.
    shares_gil : bool
        Whether the workers were threads of one interpreter whose GIL was on.
    error : str or None
        Why the cell has no further rounds.
    rounds : list of Observation
        What was observed.
    latest : list of TaskSpan
        Who did which task when, in the latest round; empty in runs saved before this was kept.
    gil_held : float or None
        Share of the time for which some thread held the GIL, in a run of the cell that was not timed; None where there
        is no GIL to share, it could not be watched, or the run was saved before it was.
    gil_waited : float or None
        Share of the workers' waiting in that run that was for the GIL; None where the system does not tell (Linux with
        glibc does), and as above.
    lock_waits : float or None
        Share of the threads' time, at least, in that run that went into waiting for locks, of objects or others,
        where there is no GIL; None where that was not seen.
    stopped : float or None
        Share of it in which they were stopped with the whole world; None as above.
    waits_at : str or None
        What most of the waiting was for: a type, and a line.
    handed : int or None
        Tasks, or batches of them, that are handed over in a round; None in runs saved before this was kept.
    sending : float or None
        Seconds to send a user's task and its answer, besides doing it; None where nothing is sent.
    bytes_out, bytes_back : int or None
        Bytes of a task, on average, and of an answer; None where nothing is sent, or it is not known.
    """

    kernel: str = field(validator=_name)
    implementation: str = field(validator=_name)
    strategy: str = field(validator=_name)
    workers: int = field(validator=_count)
    kernel_version: int = field(validator=between(0, 2**31))
    size: int | None
    unit: str
    work: int = field(validator=between(1, 2**63))
    tasks: int = field(validator=_count)
    repeats: int = field(validator=_count)
    shares_gil: bool
    error: str | None
    rounds: list[Observation]
    latest: list[TaskSpan] = field(factory=list)
    gil_held: float | None = field(default=None, validator=validators.optional(between(0, 1.001)))
    gil_waited: float | None = field(default=None, validator=validators.optional(between(0, 1.001)))
    lock_waits: float | None = field(default=None, validator=validators.optional(between(0, 1.001)))
    stopped: float | None = field(default=None, validator=validators.optional(between(0, 1.001)))
    waits_at: str | None = field(default=None, validator=validators.optional(validators.max_len(200)))
    handed: int | None = field(default=None, validator=validators.optional(_count))
    sending: float | None = field(default=None, validator=validators.optional(_seconds))
    bytes_out: int | None = field(default=None, validator=validators.optional(between(0, 2**63)))
    bytes_back: int | None = field(default=None, validator=validators.optional(between(0, 2**63)))

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What tells the cell from the others of its run."""
        return self.kernel, self.implementation, self.strategy, self.workers


@frozen
class Run:
    """One saved result.

    Attributes
    ----------
    gilcmp, created : str
        Version that measured it, and when (ISO 8601, UTC).
    complete : bool
        False where the measuring ended early.
    environment : Environment
        Where it was measured.
    settings : Settings
        What was asked for.
    pools : list of PoolStart
        Start-up times.
    cells : list of CellRecord
        What was measured.
    notes : list of str
        What is to be told of it besides.
    """

    gilcmp: str
    created: str
    complete: bool
    environment: Environment
    settings: Settings
    pools: list[PoolStart]
    cells: list[CellRecord] = field()
    notes: list[str] = field(factory=list)

    @cells.validator
    def _cells_belong_together(self, attribute: Any, cells: list[CellRecord]) -> None:
        keys = set()
        for cell in cells:
            if cell.key in keys:
                raise ValueError(f"'cells' must differ, got {cell.key} twice")
            keys.add(cell.key)
        for key in (cell.key for cell in cells):
            if (key[0], key[1], "serial", 1) not in keys:
                raise ValueError(f"'cells' must have a serial cell for {key[0]!r}, {key[1]!r}")
        for cell in cells:
            numbers = [observation.round for observation in cell.rounds]
            if numbers != sorted(set(numbers)):
                raise ValueError(f"'rounds' of {cell.key} must have rising numbers, got {numbers[:20]}")


def to_json(run: Run) -> str:
    """Write a run as JSON."""
    body = to_plain(run)
    return json.dumps({"format": FORMAT, "schema": SCHEMA, **body}, indent=1, allow_nan=False) + "\n"


def from_json(text: str, source: str) -> Run:
    """Read a run from JSON.

    Parameters
    ----------
    text : str
        The JSON.
    source : str
        What to call it in an error.

    Raises
    ------
    ResultError
        For what is not JSON, not a run, of a newer schema, or broken.
    """
    body = parsed(text, source)
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise ResultError(f'{source}: not a saved run: it has no "format": "{FORMAT}" at its top')
    schema = body.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise ResultError(f'{source}: "schema" must be a number from 1 to {SCHEMA}, got {shortened(schema)}')
    if schema > SCHEMA:
        raise ResultError(
            f"{source}: written by a newer gilcmp (schema {shortened(schema)}, this one reads up to {SCHEMA}): upgrade"
        )
    run: Run = structured(body, Run, "run", source)
    return run


def save_run(run: Run, path: str | os.PathLike[str]) -> None:
    """Write a run as JSON, as `replace_file` does."""
    replace_file(path, to_json(run))
