"""What results that can be kept have in common: JSON that names its kind, and CSV for spreadsheets."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from attrs import asdict

from gilcmp._version import __version__
from gilcmp.base.files import replace_file
from gilcmp.saved.reading import ResultError, structured, without_nan
from gilcmp.show.views import Shown
from gilcmp.show.words import printable

if TYPE_CHECKING:
    from attrs import AttrsInstance

SCHEMA = 1

K = TypeVar("K", bound="Kept")


class Kept(Shown):
    """A result that can be saved: an attrs class with a name for its kind of file."""

    __slots__ = ()

    FORMAT: ClassVar[str]

    def records(self) -> Sequence[Mapping[str, object]]:
        """Return its figures, a record for each line of a table."""
        return [flat(self._fields())]

    def _fields(self) -> dict[str, Any]:
        return asdict(cast("AttrsInstance", self))  # each is an attrs class

    def to_csv(self) -> str:
        """Return its figures as CSV, with a head; nothing where a number is unknown."""
        return csv_text(self.records())

    def to_json(self) -> str:
        """Return it as JSON; null where a number is unknown."""
        body = {"format": self.FORMAT, "schema": SCHEMA, "gilcmp": __version__, **self._fields()}
        return json.dumps(without_nan(body), indent=1, allow_nan=False) + "\n"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save it; the file is replaced as a whole or not at all.

        Parameters
        ----------
        path : path-like
            ``.csv``: its figures as CSV; ``.md``: Markdown; any other ending: JSON, which `gilcmp.load` reads.
        """
        write = {".csv": self.to_csv, ".md": self.to_markdown}.get(Path(path).suffix.lower(), self.to_json)
        replace_file(path, write())


def read_kept(kind: type[K], body: Mapping[str, Any], source: str) -> K:
    """Make a result of parsed JSON, as `Kept.to_json` writes it; ResultError says what does not fit."""
    if body.get("schema") != SCHEMA:
        raise ResultError(f'{source}: "schema" must be {SCHEMA}, got {body.get("schema")!r}')
    result: K = structured(body, kind, kind.__name__.lower(), source, null_is_nan=True)
    return result


def flat(record: Mapping[str, Any]) -> dict[str, object]:
    """Return a record without records in it: ``held_low`` for ``{"held": {"low": …}}``."""
    fields: dict[str, object] = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            fields |= {f"{name}_{inner}": each for inner, each in flat(value).items()}
        else:
            fields[name] = value
    return fields


def csv_text(records: Sequence[Mapping[str, object]]) -> str:
    """Return records as CSV, with all their fields in the head."""
    fields = list(dict.fromkeys(field for record in records for field in record))
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(fields)
    for record in records:
        writer.writerow([csv_cell(record.get(field)) for field in fields])
    return out.getvalue()


def csv_cell(value: object) -> str:
    """Return a cell that no spreadsheet takes for a formula: names come from files as well."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = printable(str(value))
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
