"""Reading saved files: JSON from a file or a pipe, decoded strictly; every error names the file and the place in it."""

from __future__ import annotations

import json
import math
import os
import stat
import zlib
from functools import cache
from typing import Any, get_origin

LARGEST_FILE = 500 * 10**6  # bytes that are read of a file

GZIP = b"\x1f\x8b"  # what such a file begins with

PIPE_PATIENCE = 10.0  # seconds in which something must come out of a pipe


class ResultError(ValueError):
    """A file is not a run that this gilcmp can read; the message names the place in it."""


@cache
def _converter(*, null_is_nan: bool = False) -> Any:
    from cattrs import Converter
    from cattrs.cols import list_structure_factory

    converter: Any = Converter()

    # cattrs converts by calling the type: int("3") and float(True) would pass for numbers
    def strict(*kinds: type) -> Any:
        def structure(value: Any, target: Any) -> Any:
            if value is None and null_is_nan and float in kinds:
                return math.nan
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                raise TypeError(f"expected {kinds[0].__name__}, got {shortened(value)}")
            if isinstance(value, int) and float not in kinds and not -(2**63) <= value < 2**64:
                raise ValueError(f"expected an integer of 64 bits, got {shortened(value)}")
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
    def only_lists(target: Any, converter: Any) -> Any:
        structure_list = list_structure_factory(target, converter)

        def structure(value: Any, target: Any) -> Any:
            if not isinstance(value, list):
                raise TypeError(f"expected list, got {shortened(value)}")
            return structure_list(value, target)

        return structure

    converter.register_structure_hook_factory(_is_list, only_lists)
    return converter


def _is_list(target: Any) -> bool:
    return get_origin(target) is list


def shortened(value: Any) -> str:
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
        raise ValueError(f"expected a finite number, got {shortened(value)}")
    return number


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


def read_text(path: str | os.PathLike[str]) -> str:
    """Read a file of at most `LARGEST_FILE` bytes, or what comes out of a pipe.

    Raises
    ------
    ResultError
        For a file that is not text or too long, or a pipe that stays silent.
    OSError
        For what cannot be read.
    """
    source = os.fspath(path)
    try:
        # otherwise opening a pipe without a writer would block
        number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError as error:  # a null byte in the path
        raise ResultError(f"path must be a file's, got {source!r}: {error}") from None
    with os.fdopen(number, "rb") as file:
        is_pipe = stat.S_ISFIFO(os.fstat(number).st_mode)
        data = _read_pipe(number, source) if is_pipe else file.read(LARGEST_FILE + 1)
    if data[:2] == GZIP:
        data = _unpacked(data, source)
    if len(data) > LARGEST_FILE:
        raise ResultError(f"{source}: over {LARGEST_FILE // 10**6} MB: no saved run of gilcmp's is so long")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ResultError(f"{source}: not JSON: not UTF-8 at byte {error.start}") from None


def _unpacked(data: bytes, source: str) -> bytes:
    """Return what a gzip file holds, or a little more than may be read of it."""
    unpacking = zlib.decompressobj(31)
    try:
        return unpacking.decompress(data, LARGEST_FILE + 1)
    except zlib.error as error:
        raise ResultError(f"{source}: broken gzip file: {error}") from None


def _read_pipe(number: int, source: str) -> bytes:
    """Read a pipe to its end, if that comes: its writer may need a while to begin, and between two pieces."""
    import select

    data = b""
    while len(data) <= LARGEST_FILE:
        piece = _read_now(number)
        if piece is None or not (piece or data):  # not yet: nobody has it open for writing, or nothing was written
            ready, _, _ = select.select([number], [], [], PIPE_PATIENCE)
            if not ready:
                raise ResultError(f"{source}: nothing came out of this pipe for {PIPE_PATIENCE:.0f} s")
            piece = _read_now(number)
        if piece == b"":
            break
        data += piece or b""
    return data


def _read_now(number: int) -> bytes | None:
    """Read what is there: no bytes at the end, None if nothing has come yet."""
    try:
        return os.read(number, 2**20)
    except BlockingIOError:
        return None


def without_nan(data: Any) -> Any:
    """Return the same with null for NaN and infinity, which JSON does not have."""
    if isinstance(data, dict):
        return {key: without_nan(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [without_nan(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
