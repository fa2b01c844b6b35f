"""For test suites: ground truth about the GIL, and assertions that a call releases it.

What the measured interval decides fails or passes. On a machine that is too busy for one, the assertions try again and
then skip the test with the reason (pytest and unittest both know `unittest.SkipTest`) rather than fail falsely;
`on_busy` and pytest's option ``--gil-busy`` choose otherwise.
"""

from __future__ import annotations

import json
import os
import sys
import sysconfig
from collections.abc import Callable
from typing import Any, Literal
from unittest import SkipTest

from gilcmp.base.checks import Duration, duration
from gilcmp.base.child import ChildError, ask
from gilcmp.measure.clocks import mark, measured
from gilcmp.measure.machine import gil_enabled
from gilcmp.probing.probe import BIAS, LOST, MIN_SAMPLES, SHARED_PACE, pace_here, probe
from gilcmp.probing.probe_result import Probe
from gilcmp.show import words
from gilcmp.testing import busy
from gilcmp.watch._gil import Sampler, now

OnBusy = Literal["skip", "fail", "xfail"]

TRIES = 3
HOW = (
    "What computes without Python objects can release it: in Cython `with nogil:`, in C Py_BEGIN_ALLOW_THREADS … "
    "Py_END_ALLOW_THREADS, in pybind11 py::call_guard<py::gil_scoped_release>(), in nanobind "
    "nb::call_guard<nb::gil_scoped_release>(), in PyO3 Python::detach (allow_threads before 0.26)."
)


def assert_releases_gil(
    func: Callable[..., Any],
    /,
    *args: Any,
    at_least: float = 0.9,
    budget: Duration = 0.5,
    on_busy: OnBusy | None = None,
    **kwargs: Any,
) -> Probe:
    """Assert that a call has the GIL released for a share of its time.

    On a free-threaded build: that the thread is detached for that share. A call that stays attached keeps no other
    thread from running Python code, but a garbage collection has to wait for its end, and stops all others meanwhile.

    Parameters
    ----------
    func : callable
        What to call, with the other arguments.
    at_least : float
        The share of the call's time, 0 to 1. It counts as reached unless the measured interval lies below.
    budget : float or str
        Seconds of a try, or a text such as "500ms".
    on_busy : {"skip", "fail", "xfail"}, optional
        What to do where the machine was too busy to say, three times over; pytest's option ``--gil-busy`` says it for
        all, and "skip" is what is done otherwise.
    **kwargs
        `setup`, `teardown`, `calls` and `raises` are those of `gilcmp.probe`; others are passed to `func`.

    Returns
    -------
    Probe
        What was measured.

    Raises
    ------
    AssertionError
        With what was measured, and how it is mended.
    unittest.SkipTest
        Where nothing could be said.
    """
    __tracebackhide__ = True
    if not 0 <= at_least <= 1:
        raise ValueError(f"at_least must be from 0 to 1, got {at_least}")
    result = decided(func, args, kwargs, budget, on_busy)
    if 1 - result.held.low < at_least:
        raise AssertionError(
            f"{_released(result.name, 1 - result.held.value)} (at most {1 - result.held.low:.1%}), "
            f"it should for at least {at_least:.0%}. {_waited(result)}{HOW}"
        )
    return result


def assert_max_stall(
    func: Callable[..., Any],
    /,
    *args: Any,
    seconds: Duration,
    budget: Duration = 0.5,
    on_busy: OnBusy | None = None,
    **kwargs: Any,
) -> Probe:
    """Assert that no thread that asks for the GIL during a call waits longer than `seconds`.

    The 99th percentile of the waits counts: the longest one may be the machine's. Other arguments and errors are those
    of `assert_releases_gil`. On a free-threaded build there is no lock to wait for, so the test is skipped.

    Parameters
    ----------
    seconds : float or str
        The limit, or a text such as "20ms". Whoever asks Python code for the lock gets it after a switch interval
        (5 ms, if `sys.setswitchinterval` was not called), and a busy system may add some milliseconds. So limits below
        twice that interval fail for any code that computes with the lock; well-behaved code keeps 20 ms.
    """
    __tracebackhide__ = True
    limit = duration("seconds", seconds, 1e-6, 1e6)
    if not gil_enabled():
        raise SkipTest("without a GIL nobody waits for it; assert_releases_gil tells whether the call detaches")
    for _ in range(TRIES):
        result = decided(func, args, kwargs, budget, on_busy)
        if result.stall.p99 <= limit:
            return result
    if not result.stall.n:
        busy.give_up(
            f"cannot tell how long {result.name} makes others wait: nobody asked for the GIL during it", on_busy
        )
    raise AssertionError(
        f"{result.name} made others wait {result.stall.p99:.6f} s for the GIL (99th percentile of "
        f"{result.stall.n} waits), it should be at most {limit} s; it held the lock for {result.held.value:.1%} of its "
        f"{words.seconds(result.time)}. {HOW}"
    )


def assert_import_keeps_gil_off(module: str) -> None:
    """Assert that a fresh free-threaded interpreter still has its GIL off when a module has been imported.

    An extension module that does not say that it needs no GIL turns it on for the whole process, with a warning.

    Parameters
    ----------
    module : str
        Its full name; it is looked for where this process looks.

    Raises
    ------
    AssertionError
        With the module that turned it on, which may be another one that this one imports.
    unittest.SkipTest
        On a build that cannot run without a GIL.
    """
    __tracebackhide__ = True
    if not module:
        raise ValueError(f"module must be the name of a module, got {module!r}")
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise SkipTest("this interpreter cannot run without a GIL: a free-threaded build can")
    code = (
        "import importlib, json, sys, warnings\n"
        "sys.path[:], name = json.loads(sys.argv[1])\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        "    try: importlib.import_module(name); error = None\n"
        "    except BaseException as failed: error = f'{type(failed).__name__}: {failed}'\n"
        "told = [str(each.message) for each in caught if 'GIL' in str(each.message)]\n"
        "print(json.dumps([error, sys._is_gil_enabled(), told]))"
    )
    settings = {name: value for name, value in os.environ.items() if name != "PYTHON_GIL"}
    try:
        error, enabled, told = ask(
            "-c", code, json.dumps([sys.path, module]), timeout=120, env=settings, x_options=False
        )
    except ChildError as failed:
        raise AssertionError(f"a fresh interpreter could not import {module}: {failed}") from None
    if error:
        raise AssertionError(f"a fresh interpreter could not import {module}: {error}")
    if enabled:
        raise AssertionError(
            f"importing {module} turned the GIL on{': ' + told[0] if told else ''}. A module says that it needs none "
            "by Py_mod_gil = Py_MOD_GIL_NOT_USED in C, `# cython: freethreading_compatible=True` in Cython, "
            "py::mod_gil_not_used() in pybind11, FREE_THREADED in nanobind's nanobind_add_module, and gil_used = false "
            "in PyO3's #[pymodule]."
        )


def _nothing(task: None) -> None:
    """Do nothing: only the clocks are read."""


class Watched:
    """Watches the calling thread, and those that start meanwhile, while a block runs once, such as a test's body."""

    def __enter__(self) -> Watched:
        pace = pace_here(0.1)
        # one that sleeps looks at the thread's own clocks, and leaves out what it waited for a core
        self._spins = pace != SHARED_PACE
        self._sampler = Sampler(pace, 1.0, without_delays=not self._spins, with_younger=True)
        mark()
        self._began = now()
        return self

    def __exit__(self, *error: object) -> None:
        # time waiting for a core says nothing about the block, whatever the lock's state meanwhile
        delay = measured(_nothing, None).run_delay or 0
        self._waited = delay / max(now() - self._began, 1) if self._spins else 0.0
        self.counts = self._sampler.stop()

    def require(self, at_least: float, name: str, on_busy: OnBusy | None = None) -> None:
        """Raise AssertionError unless the GIL was released for that share of the block's time.

        What was seen decides where it can: too much was held even if all that was not seen had been released, or enough
        was released even if all of that had been held. Otherwise the share in what was seen decides, if most was seen.
        """
        __tracebackhide__ = True
        busy.chosen(on_busy)
        counts = self.counts
        if counts is None:  # forked away from the sampler
            return
        held, dropped = counts["held"], counts["dropped"]
        seen = held + counts["other"] + counts["free"]
        if counts["samples"] >= MIN_SAMPLES and seen > 0 and self._waited <= LOST:
            released = 1 - held / seen
            low, high = 1 - (held + dropped) / (seen + dropped), 1 - held / (seen + dropped)
            if high + BIAS < at_least:
                raise AssertionError(
                    f"{_released(name, released)} ({words.seconds(seen)} seen), it should for at least {at_least:.0%}; "
                    f"the longest hold was {words.seconds(counts['longest_hold'])}. {HOW}"
                )
            if low + BIAS >= at_least or (released + BIAS >= at_least and dropped <= LOST * (seen + dropped)):
                return
        busy.give_up(
            f"cannot tell whether {name} releases the GIL: {counts['samples']} looks in {seen * 1e3:.1f} ms, "
            f"{dropped * 1e3:.1f} ms unseen",
            on_busy,
        )


def _released(name: str, share: float) -> str:
    did = "released the GIL" if gil_enabled() else "was detached"
    return f"{name} {did} for {share:.1%} of its time"


def _waited(result: Probe) -> str:
    if not result.stall.n or not gil_enabled():
        return ""
    return (
        f"Threads that asked for it meanwhile waited {words.seconds(result.stall.p50)} (median), "
        f"{words.seconds(result.stall.p99)} (99 %). "
    )


def decided(
    func: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    budget: Duration,
    on_busy: OnBusy | None = None,
) -> Probe:
    """Probe until the share held is known, or give up after three tries."""
    __tracebackhide__ = True
    busy.chosen(on_busy)  # what is misspelt is told although it is not needed this time
    for _ in range(TRIES):
        result = probe(func, *args, budget=budget, **kwargs)
        if result.verdict not in ("starved", "too short to say") or kwargs.get("calls") is not None:
            break
    if result.verdict in ("starved", "too short to say"):
        busy.give_up(f"cannot tell whether {result.name} releases the GIL: {result.verdict.reason}", on_busy)
    return result
