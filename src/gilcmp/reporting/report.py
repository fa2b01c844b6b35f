"""The report: saved runs, claims, probes and thresholds in one HTML file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

from attrs import field, frozen

from gilcmp._version import __version__
from gilcmp.advising.advice import Advice
from gilcmp.base.files import replace_file
from gilcmp.contending.result import Contention
from gilcmp.experiments.results import FORMAT as CLAIMS
from gilcmp.experiments.results import Claims, read_claims
from gilcmp.judge.comparison import Comparison
from gilcmp.judge.diff import Diff
from gilcmp.monitoring.figures import Figures
from gilcmp.probing.probe_result import Probe
from gilcmp.probing.threshold import Threshold
from gilcmp.probing.timeline import Timeline
from gilcmp.probing.trace import FORMAT as TIMELINE
from gilcmp.reporting.sections import report_sections
from gilcmp.saved.benchmark_files import is_benchmark_file, run_from_benchmarks
from gilcmp.saved.kept import read_kept
from gilcmp.saved.reading import ResultError, parsed, read_text, structured
from gilcmp.saved.run import FORMAT as RUN
from gilcmp.saved.run import from_json, to_json
from gilcmp.show.html import Download, page
from gilcmp.show.views import Shown
from gilcmp.surveying.atlas import Atlas
from gilcmp.surveying.changes import AtlasDiff

Source: TypeAlias = "str | os.PathLike[str] | Comparison | Claims | Probe | Threshold | Atlas | Timeline | Diff"


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
    others : tuple of (str, Atlas, Timeline or Diff)
        Names and results of other kinds.
    raw : tuple of (str, str)
        File names and contents, to be downloaded.
    """

    runs: tuple[tuple[str, Comparison], ...] = ()
    claims: tuple[tuple[str, Claims], ...] = ()
    probes: tuple[Probe, ...] = ()
    thresholds: tuple[Threshold, ...] = ()
    others: tuple[tuple[str, Shown], ...] = ()
    raw: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def to_html(self) -> str:
        """Return the report as one HTML document (needs ``gilcmp[report]``)."""
        sections = report_sections(self.runs, self.claims, self.probes, self.thresholds, self.others)
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
    *sources : path, Comparison, Claims, Probe, Threshold, Atlas, Timeline or Diff
        What to report on: results, or files as their `save`, the commands with ``-o`` or ``--json``, and
        pytest-benchmark write them.
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


NAMES: dict[type, str] = {
    Comparison: "run", Claims: "claims", Probe: "probe", Threshold: "threshold", Atlas: "atlas", Timeline: "timeline",
    Diff: "diff", Contention: "contention", Figures: "figures", Advice: "advice",
}  # fmt: skip


def read_report(sources: Iterable[Source]) -> Report:
    """Read the sources of a report; see `report`."""
    found: list[tuple[str, Any]] = []
    raw: list[tuple[str, str]] = []
    for number, source in enumerate(sources, 1):
        if isinstance(source, str | os.PathLike):
            name, text = Path(source).name, read_text(source)
            result = _read(text, os.fspath(source))
            found += [(name, each) for each in (result if isinstance(result, list) else [result])]
            raw.append((name, text))
        elif type(source) in NAMES:
            kind = NAMES[type(source)]
            found.append((f"{kind} {number}", source))
            if isinstance(source, Comparison | Claims):
                text = to_json(source.run) if isinstance(source, Comparison) else source.to_json()
                raw.append((f"{kind}-{number}.json", text))
        else:
            kinds = ", ".join(kind.__name__ for kind in NAMES)
            raise TypeError(f"source must be a path or one of {kinds}, got {type(source).__name__}")
    if not found:
        raise ValueError("nothing to report on: give at least one saved run, claims, probe or threshold")

    def those(*kinds: type) -> tuple[tuple[str, Any], ...]:
        return tuple((name, result) for name, result in found if isinstance(result, kinds))

    return Report(
        runs=those(Comparison),
        claims=those(Claims),
        probes=tuple(probe for _, probe in those(Probe)),
        thresholds=tuple(threshold for _, threshold in those(Threshold)),
        others=those(Atlas, AtlasDiff, Timeline, Diff, Contention, Figures, Advice),
        raw=tuple(raw),
    )


def load(path: str | os.PathLike[str]) -> Any:
    """Load what gilcmp has saved.

    Parameters
    ----------
    path : path-like
        A file as `compare`, `claims`, `probe`, `threshold`, `atlas`, `timeline`, `diff`, `contention` and `monitor`
        save their results, the commands with ``-o`` and ``--json``, or pytest-benchmark.

    Returns
    -------
    Comparison, Claims, Probe, Threshold, Atlas, AtlasDiff, Timeline, Diff, Contention, Figures, or a list
        Whichever it is; of a command's ``--json`` with several probes or atlases, a list of them.

    Raises
    ------
    ResultError
        For another file, or a broken or newer one; the message names the place.
    OSError
        For a file that cannot be read.
    """
    source = os.fspath(path)
    return loaded_text(read_text(path), source)


def loaded_text(text: str, source: str) -> Any:
    """Return the result that a text holds, as `load` does of a file; `source`: what to call it in errors."""
    result = _read(text, source)
    return result[0] if isinstance(result, list) and len(result) == 1 else result


def _read(text: str, source: str) -> Any:
    """Read a file of any kind that gilcmp writes."""
    body = parsed(text, source)
    for fits, read in _KINDS:
        if fits(body):
            return read(body, text, source)
    raise ResultError(
        f"{source}: neither a saved run nor claims, probes, a threshold, an atlas, a timeline, a diff, a contention "
        "or a monitor's figures of gilcmp's"
    )


def _format(name: str) -> Callable[[Any], bool]:
    return lambda body: isinstance(body, dict) and body.get("format") == name


def _is_probes(body: Any) -> bool:
    return isinstance(body, list) and bool(body) and all(isinstance(entry, dict) and "stall" in entry for entry in body)


def _is_atlases(body: Any) -> bool:
    return isinstance(body, list) and bool(body) and all(isinstance(each, dict) and "entries" in each for each in body)


def _is_threshold(body: Any) -> bool:
    return isinstance(body, dict) and {"parallel_from", "points"} <= body.keys()


def _is_timeline(body: Any) -> bool:
    about = body.get("otherData") if isinstance(body, dict) else None
    return isinstance(about, dict) and about.get("format") == TIMELINE


KEPT = (Probe, Threshold, Atlas, AtlasDiff, Diff, Contention, Figures, Advice)

_KINDS: tuple[tuple[Callable[[Any], bool], Callable[[Any, str, str], Any]], ...] = (
    (_format(RUN), lambda body, text, source: Comparison(from_json(text, source))),
    (_format(CLAIMS), lambda body, text, source: read_claims(text, source)),
    *((_format(kind.FORMAT), lambda body, _, source, kind=kind: read_kept(kind, body, source)) for kind in KEPT),
    (_is_timeline, lambda body, _, source: Timeline.of_trace(body, source)),
    (is_benchmark_file, lambda body, text, source: Comparison(run_from_benchmarks(body, source)[0])),
    (
        _is_probes,
        lambda body, text, source: structured(body, list[Probe], "probes", source, null_is_nan=True),
    ),
    (
        _is_atlases,
        lambda body, text, source: structured(body, list[Atlas], "atlases", source, null_is_nan=True),
    ),
    (
        _is_threshold,
        lambda body, text, source: structured(body, Threshold, "threshold", source, null_is_nan=True),
    ),
)
