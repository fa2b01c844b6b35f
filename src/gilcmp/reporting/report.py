"""The report: saved runs, claims, probes and thresholds in one HTML file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

from attrs import field, frozen

from gilcmp._version import __version__
from gilcmp.base.files import replace_file
from gilcmp.experiments.results import FORMAT as CLAIMS
from gilcmp.experiments.results import Claims, read_claims
from gilcmp.judge.comparison import Comparison
from gilcmp.probing.probe_result import Probe
from gilcmp.probing.threshold import Threshold
from gilcmp.reporting.sections import report_sections
from gilcmp.saved.benchmark_files import is_benchmark_file, run_from_benchmarks
from gilcmp.saved.reading import ResultError, parsed, read_text, structured
from gilcmp.saved.run import FORMAT as RUN
from gilcmp.saved.run import from_json, to_json
from gilcmp.show.html import Download, page

Source: TypeAlias = "str | os.PathLike[str] | Comparison | Claims | Probe | Threshold"


@frozen
class Report:
    """What goes into a report.

    Attributes
    ----------
    runs, claims : tuple of (str, object)
        Names and results.
    probes : tuple of Probe
        Probes.
    thresholds : tuple of Threshold
        Thresholds.
    raw : tuple of (str, str)
        File names and contents, to be downloaded.
    """

    runs: tuple[tuple[str, Comparison], ...] = ()
    claims: tuple[tuple[str, Claims], ...] = ()
    probes: tuple[Probe, ...] = ()
    thresholds: tuple[Threshold, ...] = ()
    raw: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def to_html(self) -> str:
        """Return the report as one HTML document (needs ``gilcmp[report]``)."""
        sections = report_sections(self.runs, self.claims, self.probes, self.thresholds)
        return page(
            _title([cell.kernel for _, run in self.runs for cell in run]),
            sections,
            [Download(name, text) for name, text in self.raw],
            f"Made by gilcmp {__version__}. Absolute figures vary from machine to machine, and on a shared one from "
            "minute to minute; the ratios, measured side by side, are what counts.",
        )


def _title(kernels: Iterable[str]) -> str:
    names = list(dict.fromkeys(kernels))
    if not names:
        return "What the GIL costs"
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return f"What the GIL costs: {shown}"


def report(*sources: Source, output: str | os.PathLike[str]) -> None:
    """Write a report as one HTML file that needs no network (needs ``gilcmp[report]``).

    Parameters
    ----------
    *sources : path, Comparison, Claims, Probe or Threshold
        What to report on: results, or files as ``gilcmp compare -o``, ``claims -o``, ``probe --json``, ``threshold
        --json`` and pytest-benchmark write them.
    output : path-like
        The file; it is replaced as a whole or not at all.

    Raises
    ------
    ValueError, TypeError
        For no source, one of another kind, or an output that is a source.
    ResultError, OSError
        For a file that is none of these, or cannot be read or written.
    ImportError
        Where the extra is missing.
    """
    check_output(output, sources)
    replace_file(output, read_report(sources).to_html())


def check_output(output: str | os.PathLike[str], sources: Iterable[Source]) -> None:
    """Raise ValueError where the report would replace a file that it is made of."""
    for source in sources:
        if isinstance(source, str | os.PathLike) and Path(output).resolve() == Path(source).resolve():
            raise ValueError(f"output must not be one of the sources, got {os.fspath(output)!r}")


def read_report(sources: Iterable[Source]) -> Report:
    """Read the sources of a report; see `report`."""
    runs: list[tuple[str, Comparison]] = []
    claims: list[tuple[str, Claims]] = []
    probes: list[Probe] = []
    thresholds: list[Threshold] = []
    raw: list[tuple[str, str]] = []
    for number, source in enumerate(sources, 1):
        if isinstance(source, Comparison):
            runs.append((f"run {number}", source))
            raw.append((f"run-{number}.json", to_json(source.run)))
        elif isinstance(source, Claims):
            claims.append((f"claims {number}", source))
            raw.append((f"claims-{number}.json", source.to_json()))
        elif isinstance(source, Probe):
            probes.append(source)
        elif isinstance(source, Threshold):
            thresholds.append(source)
        elif isinstance(source, str | os.PathLike):
            name, text = Path(source).name, read_text(source)
            result = _read(text, os.fspath(source))
            raw.append((name, text))
            if isinstance(result, Comparison):
                runs.append((name, result))
            elif isinstance(result, Claims):
                claims.append((name, result))
            elif isinstance(result, Threshold):
                thresholds.append(result)
            else:
                probes += result
        else:
            kinds = "a path, a Comparison, Claims, a Probe or a Threshold"
            raise TypeError(f"source must be {kinds}, got {type(source).__name__}")
    if not (runs or claims or probes or thresholds):
        raise ValueError("nothing to report on: give at least one saved run, claims, probe or threshold")
    return Report(tuple(runs), tuple(claims), tuple(probes), tuple(thresholds), tuple(raw))


def _read(text: str, source: str) -> Comparison | Claims | Threshold | list[Probe]:
    """Read a file of any kind that gilcmp writes."""
    body = parsed(text, source)
    for fits, read in _KINDS:
        if fits(body):
            result: Comparison | Claims | Threshold | list[Probe] = read(body, text, source)
            return result
    raise ResultError(
        f"{source}: neither a saved run nor claims, probes or a threshold (gilcmp compare -o, claims -o, probe --json, "
        "threshold --json)"
    )


def _format(name: str) -> Callable[[Any], bool]:
    return lambda body: isinstance(body, dict) and body.get("format") == name


def _is_probes(body: Any) -> bool:
    return isinstance(body, list) and bool(body) and all(isinstance(entry, dict) and "stall" in entry for entry in body)


def _is_threshold(body: Any) -> bool:
    return isinstance(body, dict) and {"parallel_from", "points"} <= body.keys()


_KINDS: tuple[tuple[Callable[[Any], bool], Callable[[Any, str, str], Any]], ...] = (
    (_format(RUN), lambda body, text, source: Comparison(from_json(text, source))),
    (_format(CLAIMS), lambda body, text, source: read_claims(text, source)),
    (is_benchmark_file, lambda body, text, source: Comparison(run_from_benchmarks(body, source)[0])),
    (
        _is_probes,
        lambda body, text, source: structured(body, list[Probe], "probes", source, null_is_nan=True),
    ),
    (
        _is_threshold,
        lambda body, text, source: structured(body, Threshold, "threshold", source, null_is_nan=True),
    ),
)
