"""The schema of a saved run: environment, settings, cells, and every round raw; saving, loading, validation."""

from __future__ import annotations

import contextlib
import json
import math
import operator
import os
import shutil
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import IO, Any

from attrs import field, frozen

from gilcmp._checks import between
from gilcmp.accounting import SECONDS_MAX, Observation, TaskSpan
from gilcmp.environment import Environment

FORMAT = "gilcmp run"
SCHEMA = 1


class ResultError(ValueError):
    """A file is not a run that this gilcmp can read; the message names the place in it."""


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
    """

    budget: float = field(validator=_seconds)
    seed: int
    size: str | int | None


@frozen
class PoolStart:
    """How long the workers of one strategy took to get ready, in seconds; never part of a speed-up."""

    strategy: str = field(validator=_name)
    workers: int = field(validator=_count)
    startup: float = field(validator=_seconds)


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
    """

    gilcmp: str
    created: str
    complete: bool
    environment: Environment
    settings: Settings
    pools: list[PoolStart]
    cells: list[CellRecord] = field()

    @cells.validator
    def _cells_belong_together(self, attribute: Any, cells: list[CellRecord]) -> None:
        keys = [cell.key for cell in cells]
        for key in keys:
            if keys.count(key) > 1:
                raise ValueError(f"'cells' must differ, got {key} twice")
            if (key[0], key[1], "serial", 1) not in keys:
                raise ValueError(f"'cells' must have a serial cell for {key[0]!r}, {key[1]!r}")
        for cell in cells:
            numbers = [observation.round for observation in cell.rounds]
            if numbers != sorted(set(numbers)):
                raise ValueError(f"'rounds' of {cell.key} must have rising numbers, got {numbers[:20]}")


@cache
def _converter(*, null_is_nan: bool = False) -> Any:
    from cattrs import Converter

    converter = Converter()

    # cattrs converts by calling the type: int("3") and float(True) would pass for numbers
    def strict(*kinds: type) -> Any:
        def structure(value: Any, target: Any) -> Any:
            if value is None and null_is_nan and float in kinds:
                return math.nan
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                raise TypeError(f"expected {kinds[0].__name__}, got {_shortened(value)}")
            if isinstance(value, int) and float not in kinds and not -(2**63) <= value < 2**64:
                raise ValueError(f"expected an integer of 64 bits, got {_shortened(value)}")
            return _float(value) if float in kinds else value

        return structure

    for target, kinds in {bool: (bool,), int: (int,), float: (float, int), str: (str,)}.items():
        converter.register_structure_hook(target, strict(*kinds))

    def size(value: Any, target: Any) -> Any:
        if value is None:
            return None
        return strict(str, int)(value, target)

    converter.register_structure_hook(str | int | None, size)

    # it also takes whatever can be iterated over for a list
    def only_lists(structure: Any) -> Any:
        def checked(value: Any, target: Any) -> Any:
            if not isinstance(value, list):
                raise TypeError(f"expected list, got {_shortened(value)}")
            return structure(value, target)

        return checked

    for lists in (list[TaskSpan], list[Observation], list[CellRecord], list[PoolStart]):
        structure_list = only_lists(converter.get_structure_hook(lists))
        converter.register_structure_hook_func(partial(operator.eq, lists), structure_list)
    return converter


def _shortened(value: Any) -> str:
    """Show at most 60 characters of a value; a number too long to be written out is shown by its kind."""
    try:
        text = repr(value)
    except ValueError:
        return f"a very large {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."


def _float(value: Any) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"expected a finite number, got {_shortened(value)}")
    return number


def to_json(run: Run) -> str:
    """Write a run as JSON."""
    body = _converter().unstructure(run)
    return json.dumps({"format": FORMAT, "schema": SCHEMA, **body}, indent=1, allow_nan=False) + "\n"


def parsed(text: str, source: str) -> Any:
    """Parse JSON; ResultError says why it is none."""

    def reject(word: str) -> float:
        raise ValueError(f"{word} is not a JSON number")

    try:
        return json.loads(text, parse_constant=reject)
    except RecursionError:
        raise ResultError(f"{source}: not JSON: nested too deeply") from None
    except ValueError as error:
        raise ResultError(f"{source}: not JSON: {error}") from None


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
        raise ResultError(f'{source}: "schema" must be a number from 1 to {SCHEMA}, got {_shortened(schema)}')
    if schema > SCHEMA:
        raise ResultError(
            f"{source}: written by a newer gilcmp (schema {_shortened(schema)}, this one reads up to {SCHEMA}): upgrade"
        )
    run: Run = structured(body, Run, "run", source)
    return run


def structured(body: Any, kind: Any, place: str, source: str, *, null_is_nan: bool = False) -> Any:
    """Make an object of an attrs class out of parsed JSON; ResultError says where it does not fit.

    `null_is_nan`: numbers that were unknown were written as null, see `without_nan`.
    """
    from cattrs import BaseValidationError, transform_error

    try:
        return _converter(null_is_nan=null_is_nan).structure(body, kind)
    except (BaseValidationError, ValueError, TypeError) as error:
        places = transform_error(error, path=place, format_exception=_in_words)
        more = f" (and {len(places) - 1} more)" if len(places) > 1 else ""
        raise ResultError(f"{source}: {places[0]}{more}") from None


def to_plain(thing: Any) -> Any:
    """Return an object of an attrs class as what JSON knows."""
    return _converter().unstructure(thing)


def _in_words(error: BaseException, expected: type | None) -> str:
    if isinstance(error, KeyError):
        return f"required field {error} is missing"
    text = str(error.args[0]) if error.args else type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."


def load_run(path: str | os.PathLike[str]) -> Run:
    """Read a saved run; ResultError says what is wrong with a file, OSError why it cannot be read."""
    return from_json(read_text(path), os.fspath(path))


def read_text(path: str | os.PathLike[str]) -> str:
    """Read a file; ResultError says that it is no text, OSError why it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ResultError(f"{os.fspath(path)}: not JSON: not UTF-8 at byte {error.start}") from None
    except ValueError as error:  # a null byte in the path
        raise ResultError(f"path must be a file's, got {os.fspath(path)!r}: {error}") from None


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise OSError if `path` cannot be written: asked before the measuring, not after."""
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a directory")
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(f"{target} is not writable")
    if not _is_special(target):
        _temporary(target).touch(exist_ok=False)
        _temporary(target).unlink()


def save_run(run: Run, path: str | os.PathLike[str]) -> None:
    """Write a run as JSON, as `replace_file` does."""
    replace_file(path, to_json(run))


def replace_file(path: str | os.PathLike[str], text: str) -> None:
    """Write a text so that `path` is either the old file or the whole new one, whatever happens meanwhile."""
    with replacing(path) as file:
        file.write(text.encode())


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Return a file to write to, which takes the place of `path` when all is written."""
    target = Path(path).resolve()  # what a link points to is replaced, not the link
    if _is_special(target):  # a device or a pipe is written to, not replaced
        with target.open("wb") as file:
            yield file
        return
    temporary = _temporary(target)
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(OSError):  # there was none before, or it is somebody else's
            shutil.copymode(target, temporary)
        temporary.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def without_nan(data: Any) -> Any:
    """Return the same with null for NaN and infinity, which JSON does not have."""
    if isinstance(data, dict):
        return {key: without_nan(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [without_nan(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def _is_special(target: Path) -> bool:
    return target.exists() and not target.is_file()


def _temporary(target: Path) -> Path:
    return target.with_name(f".{target.name}.{os.getpid()}.tmp")
