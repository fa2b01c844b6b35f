"""The pytest plugin; nothing is loaded until it is used.

It offers the fixtures `gil_probe` and `gil_comparison`, the markers `releases_gil` and `gil_comparison`, and adds
to pytest-benchmark's files what pytest-benchmark does not know about the interpreter.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gilcmp.testing import BUSY_CHOICES

if TYPE_CHECKING:
    from gilcmp.judge.cell import Cell
    from gilcmp.judge.comparison import Comparison
    from gilcmp.probing.probe_result import Probe
    from gilcmp.testing.assertions import Watched
    from gilcmp.testing.suites import Suite

# What was measured for each test function: a Comparison, or the exception that ended it
MEASURED = pytest.StashKey["dict[str, Comparison | BaseException]"]()
INTERRUPTED = pytest.StashKey["dict[str, Comparison]"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what to do on a machine that is too busy to say."""
    parser.getgroup("gilcmp").addoption(
        "--gil-busy",
        choices=BUSY_CHOICES,
        default="skip",
        help="what gilcmp's assertions and marker do where the machine is too busy to say (default: skip)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known."""
    config.addinivalue_line(
        "markers",
        "releases_gil(at_least=0.9, on_busy=None): fail unless the test has the GIL released for that share of its "
        "time; on_busy (skip, fail or xfail; --gil-busy for all): what to do where the machine is too busy to say",
    )
    config.addinivalue_line(
        "markers",
        "gil_comparison(work, *, tasks, workers=2, strategies=('serial', 'threads', 'processes'), budget=10.0, …): "
        "what the fixture gil_comparison measures, with the arguments of gilcmp.compare; the test runs once a cell",
    )
    config.stash[MEASURED] = {}
    on_busy = config.getoption("gil_busy")
    if on_busy != "skip":
        from gilcmp.testing import busy

        busy.default = on_busy


def pytest_unconfigure(config: pytest.Config) -> None:
    """Undo that: there may be another session in this process."""
    if config.getoption("gil_busy") != "skip":
        from gilcmp.testing import busy

        busy.default = "skip"


# ---- the probe ------------------------------------------------------------------------------------------------


@pytest.fixture
def gil_probe() -> Callable[..., Probe]:
    """`gilcmp.probe`, which tries again, and then skips the test, where the machine is too busy to say."""
    from gilcmp.testing.assertions import decided

    def probe(func: Callable[..., Any], /, *args: Any, budget: float = 0.5, **kwargs: Any) -> Probe:
        __tracebackhide__ = True
        return decided(func, args, kwargs, budget)

    return probe


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    """Watch a test that is marked with `releases_gil`, from its call to its return."""
    marker = pyfuncitem.get_closest_marker("releases_gil")
    if marker is None:
        return (yield)
    asked = _asked(marker)
    from gilcmp.testing.assertions import Watched

    with Watched() as watched:
        result = yield
    _require(watched, pyfuncitem, asked)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Watch a marked method of a `unittest.TestCase` likewise: unittest calls it, not pytest."""
    marker = item.get_closest_marker("releases_gil")
    if marker is not None and isinstance(item, pytest.Function) and _is_unittest(item):
        if inspect.iscoroutinefunction(item.obj):
            raise pytest.UsageError(f"{item.nodeid}: releases_gil cannot watch a coroutine that unittest runs")
        item.obj = _watched(item.obj, item, _asked(marker))
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Report a test that was skipped for a busy machine at its own line."""
    line = _own_line(item, call)  # pytest itself forgets where unittest.SkipTest was raised
    report = yield
    if line is not None and report.skipped and isinstance(report.longrepr, tuple):
        report.longrepr = (str(item.path), line, report.longrepr[2])
    return report


def _own_line(item: pytest.Item, call: pytest.CallInfo[None]) -> int | None:
    """Return the line of the test from which gilcmp skipped it, or where it begins; None: it did not."""
    if call.excinfo is None or not call.excinfo.traceback:
        return None
    entries = call.excinfo.traceback
    if Path(entries[-1].path).parent != Path(__file__).parent:
        return None
    own = [entry.lineno + 1 for entry in entries if entry.path == item.path]
    return own[-1] if own else (item.location[1] or 0) + 1


def _require(watched: Watched, item: pytest.Function, asked: Mapping[str, Any]) -> None:
    """Fail a test by what was seen of it, with the paragraph alone: there is nothing to be seen in a traceback."""
    try:
        watched.require(name=item.name, **asked)
    except AssertionError as error:
        path, line, _ = item.location
        reason = f"{path}:{(line or 0) + 1}: {error}"
    else:
        return
    pytest.fail(reason, pytrace=False)  # out here, or pytest would tell of both


def _is_unittest(item: pytest.Function) -> bool:
    import unittest

    return item.cls is not None and issubclass(item.cls, unittest.TestCase)


def _watched(method: Callable[[], object], item: pytest.Function, asked: Mapping[str, Any]) -> Callable[[], None]:
    from gilcmp.testing.assertions import Watched

    @functools.wraps(method)
    def call() -> None:
        with Watched() as watched:
            method()
        _require(watched, item, asked)

    return call


def _asked(marker: pytest.Mark) -> dict[str, Any]:
    """Return the arguments of a marker."""

    def values(at_least: Any = 0.9, on_busy: Any = None) -> dict[str, Any]:
        return {"at_least": at_least, "on_busy": on_busy}

    try:
        asked = values(*marker.args, **marker.kwargs)
    except TypeError:
        raise pytest.UsageError(f"releases_gil takes at_least and on_busy alone, got {marker}") from None
    at_least, on_busy = asked["at_least"], asked["on_busy"]
    if not isinstance(at_least, int | float) or not 0 <= at_least <= 1:
        raise pytest.UsageError(f"releases_gil: at_least must be from 0 to 1, got {at_least!r}")
    if on_busy not in (None, *BUSY_CHOICES):
        raise pytest.UsageError(f"releases_gil: on_busy must be skip, fail or xfail, got {on_busy!r}")
    return asked


# ---- comparisons ----------------------------------------------------------------------------------------------


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test that asks for `gil_comparison` run once a cell."""
    if "gil_comparison" in metafunc.fixturenames:
        cells = _suite(metafunc.definition).cells
        names = ["-".join(map(str, key)) for key in cells]
        metafunc.parametrize("gil_comparison", list(cells), ids=names, indirect=True)


def _suite(node: pytest.Item) -> Suite:
    marker = node.get_closest_marker("gil_comparison")
    if marker is None:
        raise pytest.UsageError(
            f"{node.nodeid}: the fixture gil_comparison needs to be told what to measure: "
            "@pytest.mark.gil_comparison(function, tasks=…, workers=…)"
        )
    from gilcmp.testing.suites import plan

    try:
        return plan(*marker.args, **marker.kwargs)
    except (TypeError, ValueError) as error:
        raise pytest.UsageError(f"{node.nodeid}: gil_comparison: {error}") from None


@pytest.fixture
def gil_comparison(request: pytest.FixtureRequest) -> Cell:
    """One cell of the comparison that the marker `gil_comparison` describes, and a row in pytest-benchmark's table.

    The cells of all tests that ask for it are measured together, in turns, when the first of them runs.
    """
    from gilcmp.testing.suites import Clock, replay

    config = request.config
    shown = config.pluginmanager.hasplugin("benchmark")
    if shown and "benchmark" in request.fixturenames:
        raise pytest.UsageError(f"{request.node.nodeid}: gil_comparison fills the fixture benchmark by itself")
    if shown and config.getoption("benchmark_skip", default=False):
        pytest.skip("--benchmark-skip")
    reason = _suite(request.node).cells[request.param]
    if reason:
        pytest.skip(reason)
    # with xdist pytest-benchmark measures nothing either: the processes would measure each other
    quick = config.getoption("benchmark_disable", default=False) or "PYTEST_XDIST_WORKER" in os.environ
    comparison = _measured(request, quick=quick)[_function(request.node)]
    if isinstance(comparison, BaseException):
        raise comparison
    cell: Cell = comparison[request.param]
    if cell.error and not cell.rounds:
        pytest.fail(cell.error, pytrace=False)
    if shown:
        clock = Clock()
        asked = request.node.get_closest_marker("benchmark")
        # the nearest marker is the one that counts
        marker = pytest.mark.benchmark(**{**(asked.kwargs if asked else {}), "timer": clock})
        request.node.add_marker(marker, append=False)
        replay(cell, clock, request.getfixturevalue("benchmark"))
    return cell


def _function(node: pytest.Item) -> str:
    return node.nodeid.partition("[")[0]


def _measured(request: pytest.FixtureRequest, *, quick: bool) -> Mapping[str, Comparison | BaseException]:
    """Measure what all tests of the session ask for, when the first one does."""
    from gilcmp.testing.suites import measure_suites

    measured = request.config.stash[MEASURED]
    if not measured:
        suites = {
            _function(item): _suite(item)
            for item in request.session.items
            if "gil_comparison" in getattr(item, "fixturenames", ()) and not item.get_closest_marker("skip")
        }
        try:
            measured.update(measure_suites(suites, quick=quick))
        except KeyboardInterrupt as error:
            request.config.stash[INTERRUPTED] = getattr(error, "comparisons", {})
            raise
    return measured


@pytest.hookimpl(trylast=True)  # below pytest-benchmark's table
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Show speed-ups and verdicts, which pytest-benchmark's table has not, and what there is of them after Ctrl-C."""
    if "free-threading" in sys.version:
        from gilcmp.measure.machine import gil_warning

        warning = gil_warning()
        if warning:
            terminalreporter.write_line(f"gilcmp: {warning}", yellow=True)
    for name, comparison in (config.stash[MEASURED] | config.stash.get(INTERRUPTED, {})).items():
        if not isinstance(comparison, BaseException) and comparison.cells:
            from gilcmp.show.text import plain

            width = terminalreporter._tw.fullwidth
            whole = name in config.stash.get(INTERRUPTED, {}) or not config.pluginmanager.hasplugin("benchmark")
            terminalreporter.section(f"gil_comparison: {name}")
            terminalreporter.write_line(str(comparison) if whole else plain(comparison.overview(width), width))


@pytest.hookimpl(optionalhook=True)  # called by pytest-benchmark only
def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Add what the interpreter and the build are to pytest-benchmark's files."""
    from attrs import asdict

    from gilcmp.measure.machine import environment

    described = asdict(environment())
    del described["load"]  # two runs would always differ in it, and pytest-benchmark warns of differences
    machine_info["gilcmp"] = described
