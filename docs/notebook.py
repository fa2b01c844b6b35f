"""Run the tutorial anew and save it as a notebook with what it measured: ``nox -s docs`` does so.

    python docs/notebook.py [--output FILE] [--timeout SECONDS]

The text is docs/tutorial.md; the notebook is docs/tutorial.ipynb, which the site shows.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent


def converted() -> nbformat.NotebookNode:
    """Return the tutorial as a notebook, each cell under a name that stays the same."""
    notebook = jupytext.read(HERE / "tutorial.md")
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    notebook.metadata.pop("jupytext", None)
    return notebook


def main() -> None:
    """Convert, run and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=HERE / "tutorial.ipynb", help="default: docs/tutorial.ipynb")
    parser.add_argument("--timeout", type=int, default=300, help="seconds for a cell, default: 300")
    arguments = parser.parse_args()
    notebook = converted()
    NotebookClient(notebook, timeout=arguments.timeout, kernel_name="python3").execute(cwd=str(HERE))
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # the moments at which each cell ran
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata.pop("language_info", None)  # the version of Python stands in the first output
    nbformat.write(notebook, arguments.output)


if __name__ == "__main__":
    main()
