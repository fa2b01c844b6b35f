"""Lists of statements: those that come with gilcmp, one a library, and TOML files of a user's own."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from platform import python_version
from typing import Any

from attrs import frozen

#: What a document can say of a statement
SAYS = ("releases", "holds", "partly", "silent")
FOLDER = files("gilcmp.surveying") / "libraries"


class AtlasError(ValueError):
    """A list of statements cannot be read; the message names the place."""


@frozen
class Documented:
    """What a library's documents or its source say.

    Attributes
    ----------
    says : str
        One of `SAYS`: that it releases the GIL, holds it, does either for a part, or nothing.
    where : str
        Which document, or which place in the source.
    note : str
        Where it was measured otherwise: what the source says about that.
    """

    says: str = "silent"
    where: str = ""
    note: str = ""


@frozen
class Listed:
    """A statement of a list.

    Attributes
    ----------
    group, setup, statement, size : str
        Its group, the code that is run once before, the code, and how large its input is.
    documented : Documented
        What is said of it.
    """

    group: str
    setup: str
    statement: str
    size: str
    documented: Documented


@frozen
class Library:
    """A list of statements.

    Attributes
    ----------
    name, title : str
        What the list is called in a command, and above its table.
    distribution : str
        What is to be installed for it; nothing for the standard library, and lists without one.
    requires : tuple of str
        What else is, for its statements.
    statements : tuple of Listed
        In the order of the list.
    """

    name: str
    title: str
    distribution: str
    requires: tuple[str, ...]
    statements: tuple[Listed, ...]

    @property
    def version(self) -> str | None:
        """Which version is installed: of Python for the standard library; None: it is not."""
        if self.name == "stdlib":
            return python_version()
        if not self.distribution:
            return ""
        try:
            return version(self.distribution)
        except PackageNotFoundError:
            return None


@lru_cache
def shipped() -> tuple[str, ...]:
    """Return the names of the lists that come with gilcmp; the standard library and NumPy first."""
    names = {Path(entry.name).stem for entry in FOLDER.iterdir() if entry.name.endswith(".toml")}
    return ("stdlib", "numpy", *sorted(names - {"stdlib", "numpy"}))


def read_list(source: str | os.PathLike[str]) -> Library:
    """Read a list, by its name or its path; AtlasError says what is wrong with it."""
    name = os.fspath(source)
    if name in shipped():
        text = (FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    else:
        try:
            text = Path(name).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise AtlasError(f"{name}: not UTF-8 at byte {error.start}") from None
        except FileNotFoundError:
            raise AtlasError(f"source must be {', '.join(shipped())} or a TOML file, got {name!r}") from None
    try:
        body = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise AtlasError(f"{name}: not TOML: {error}") from None
    return _library(name, body)


def _library(name: str, body: Mapping[str, Any]) -> Library:
    _only(name, body, ("title", "distribution", "requires", "group"))
    groups = body.get("group")
    if not isinstance(groups, list) or not groups:
        raise AtlasError(f"{name}: must have an array of tables [[group]]")
    requires = body.get("requires", [])
    if not isinstance(requires, list) or not all(isinstance(each, str) for each in requires):
        raise AtlasError(f"{name}: requires must be a list of texts")
    statements = [
        listed for number, table in enumerate(groups) for listed in _group(f"{name}: group[{number}]", number, table)
    ]
    title = _text(f"{name}: ", body, "title", name)
    return Library(name, title, _text(f"{name}: ", body, "distribution", ""), tuple(requires), tuple(statements))


def _group(where: str, number: int, table: Any) -> list[Listed]:
    if not isinstance(table, dict):
        raise AtlasError(f"{where} must be a table, got {type(table).__name__}")
    _only(where, table, ("name", "setup", "statements", "size", "says", "where"))
    name = _text(f"{where}.", table, "name", f"group {number}")
    setup = _text(f"{where}.", table, "setup", "")
    statements = table.get("statements")
    if not isinstance(statements, list) or not statements:
        raise AtlasError(f"{where}.statements must be a list of at least one statement")
    shared = {key: table[key] for key in ("size", "says", "where") if key in table}
    return [_listed(f"{where}.statements[{place}]", name, setup, shared, each) for place, each in enumerate(statements)]


def _listed(where: str, group: str, setup: str, shared: Mapping[str, Any], entry: Any) -> Listed:
    """Make a statement of a text, or of a table that says more of it than its group does."""
    if isinstance(entry, str):
        entry = {"run": entry}
    if not isinstance(entry, dict) or "run" not in entry:
        raise AtlasError(f"{where} must be text, or a table with run, got {type(entry).__name__}")
    _only(where, entry, ("run", "size", "says", "where", "note"))
    table = {**shared, **entry}
    statement, size, says, place, note = (
        _text(f"{where}.", table, key, default)
        for key, default in (("run", ""), ("size", ""), ("says", "silent"), ("where", ""), ("note", ""))
    )
    if not statement.strip():
        raise AtlasError(f"{where} must not be empty")
    if says not in SAYS:
        raise AtlasError(f"{where}.says must be one of {', '.join(SAYS)}, got {says!r}")
    return Listed(group, setup, statement, size, Documented(says, place, note))


def _text(where: str, table: Mapping[str, Any], key: str, default: str) -> str:
    value = table.get(key, default)
    if not isinstance(value, str):
        raise AtlasError(f"{where}{key} must be text, got {type(value).__name__}")
    return value


def _only(where: str, table: Mapping[str, Any], known: tuple[str, ...]) -> None:
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise AtlasError(f"{where} has no {unknown[0]!r}: only {', '.join(known[:-1])} and {known[-1]}")
