"""The report: saved runs, claims, probes and thresholds in one HTML file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

from attrs import field, frozen

from gilcmp.benchmark_files import is_benchmark_file, run_from_benchmarks
from gilcmp.claims.suite import FORMAT as CLAIMS
from gilcmp.claims.suite import Claims, read_claims
from gilcmp.comparison import Comparison
from gilcmp.probe import Probe
from gilcmp.results import FORMAT as RUN
from gilcmp.results import ResultError, from_json, parsed, read_text, replace_file, structured, to_json
from gilcmp.threshold import Threshold

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
    from gilcmp.show.html import report_html

    check_output(output, sources)
    replace_file(output, report_html(read_report(sources)))


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
            found = _read(text, os.fspath(source))
            raw.append((name, text))
            if isinstance(found, Comparison):
                runs.append((name, found))
            elif isinstance(found, Claims):
                claims.append((name, found))
            elif isinstance(found, Threshold):
                thresholds.append(found)
            else:
                probes += found
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
            found: Comparison | Claims | Threshold | list[Probe] = read(body, text, source)
            return found
    raise ResultError(
        f"{source}: neither a saved run nor claims, probes or a threshold (gilcmp compare -o, claims -o, probe --json, "
        "threshold --json)"
    )


def _format(name: str) -> Callable[[Any], bool]:
    return lambda body: isinstance(body, dict) and body.get("format") == name


def _is_probes(body: Any) -> bool:
    return (
        isinstance(body, list)
        and bool(body)
        and all(isinstance(one, dict) and "stall" in one for one in body)
    )


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
