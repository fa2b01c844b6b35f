"""Run the tutorial anew and save it as a notebook with what it measured: ``nox -s docs`` does so.

The text is docs/tutorial.md; the notebook is docs/tutorial.ipynb, which the site shows.
"""

from __future__ import annotations

from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
TIMEOUT = 300  # seconds for a cell


def converted() -> nbformat.NotebookNode:
    """Return the tutorial as a notebook, each cell under a name that stays the same."""
    notebook = jupytext.read(HERE / "tutorial.md")
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    notebook.metadata.pop("jupytext", None)
    return notebook


def main() -> None:
    """Convert, run and save."""
    notebook = converted()
    NotebookClient(notebook, timeout=TIMEOUT, kernel_name="python3").execute(cwd=str(HERE))
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # the moments at which each cell ran
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata.pop("language_info", None)  # the version of Python stands in the first output
    nbformat.write(notebook, HERE / "tutorial.ipynb")


if __name__ == "__main__":
    main()
