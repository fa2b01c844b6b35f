"""Tables of lines of code objects, as they were copied from a program."""

from __future__ import annotations

from attrs import field, frozen


@frozen
class LineTable:
    """Which line an offset into a function's bytecode belongs to.

    The format is the same from CPython 3.11 to 3.15 (PEP 626), so this interpreter reads that of any program.

    Attributes
    ----------
    table : bytes
        What the code's `co_linetable` was.
    first_line : int
        Its `co_firstlineno`.
    """

    table: bytes
    first_line: int
    _lines: list[tuple[int, int, int | None]] = field(init=False)

    @_lines.default
    def _read(self) -> list[tuple[int, int, int | None]]:
        code = (lambda: None).__code__.replace(co_linetable=self.table, co_firstlineno=self.first_line)
        return list(code.co_lines())

    def line_at(self, offset: int) -> int:
        """Return the number of the line; 0: it has none."""
        return next((line or 0 for start, end, line in self._lines if start <= offset < end), 0)
