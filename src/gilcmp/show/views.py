"""What every result gets by defining its sections and charts: text, Markdown, HTML for notebooks, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gilcmp.show.model import Chart, Section


class Shown:
    """A result that can be printed and shown in a notebook."""

    __slots__ = ()

    def sections(self) -> Sequence[Section]:
        """Return what is shown of it."""
        raise NotImplementedError

    def overview(self, width: int = 80) -> Sequence[Section]:
        """Return what is shown of it first, on a screen of so many columns: what was found."""
        return self.sections()

    def charts(self) -> Sequence[Chart]:
        """Return its pictures."""
        return ()

    def __str__(self) -> str:
        from gilcmp.show.text import plain

        return plain(self.sections())

    def to_markdown(self) -> str:
        """Return it as Markdown."""
        from gilcmp.show.markdown import markdown

        return markdown(self.sections())

    def _repr_html_(self) -> str:
        from gilcmp.show.html import notebook

        return notebook(self.sections(), self.charts())


class Drawn(Shown):
    """A result that has a picture as well."""

    __slots__ = ()

    def plot(self) -> Any:
        """Return a picture of it as a matplotlib figure (needs ``gilcmp[report]``)."""
        from gilcmp.show.figure import figure

        return figure(self.charts())
