"""Measure what the GIL costs and what releasing it buys, on this machine and this Python.

Examples
--------
>>> import gilcmp
>>> c = gilcmp.compare("mandelbrot", workers=[1, 2])  # doctest: +SKIP
>>> print(c)  # doctest: +SKIP
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from gilcmp._version import __version__

if TYPE_CHECKING:
    from gilcmp.atlas import Atlas, AtlasError, atlas
    from gilcmp.claims.suite import Claims, claims
    from gilcmp.compare import Progress, compare
    from gilcmp.comparison import Cell, Comparison, load
    from gilcmp.diff import Diff, diff
    from gilcmp.environment import Environment, environment
    from gilcmp.estimate import Estimate
    from gilcmp.jobs import WrongAnswer
    from gilcmp.kernels import Kernel, kernels
    from gilcmp.probe import Probe, Stall, probe
    from gilcmp.pythons import Python, PythonError, compare_pythons, find_python, this_python
    from gilcmp.report import report
    from gilcmp.request import default_workers
    from gilcmp.results import ResultError
    from gilcmp.strategies import PoolError, Strategy, strategies
    from gilcmp.threshold import Threshold, threshold
    from gilcmp.timeline import Timeline, timeline
    from gilcmp.verdict import Verdict

__all__ = [
    "Atlas",
    "AtlasError",
    "Cell",
    "Claims",
    "Comparison",
    "Diff",
    "Environment",
    "Estimate",
    "Kernel",
    "PoolError",
    "Probe",
    "Progress",
    "Python",
    "PythonError",
    "ResultError",
    "Stall",
    "Strategy",
    "Threshold",
    "Timeline",
    "Verdict",
    "WrongAnswer",
    "__version__",
    "atlas",
    "claims",
    "compare",
    "compare_pythons",
    "default_workers",
    "diff",
    "environment",
    "find_python",
    "kernels",
    "load",
    "probe",
    "report",
    "strategies",
    "this_python",
    "threshold",
    "timeline",
]

# Where each public name lives; it is imported from there when it is first asked for.
_HOMES = {
    "Atlas": "gilcmp.atlas",
    "AtlasError": "gilcmp.atlas",
    "Cell": "gilcmp.comparison",
    "Claims": "gilcmp.claims.suite",
    "Comparison": "gilcmp.comparison",
    "Diff": "gilcmp.diff",
    "Environment": "gilcmp.environment",
    "Estimate": "gilcmp.estimate",
    "Kernel": "gilcmp.kernels",
    "PoolError": "gilcmp.strategies",
    "Probe": "gilcmp.probe",
    "Progress": "gilcmp.compare",
    "Python": "gilcmp.pythons",
    "PythonError": "gilcmp.pythons",
    "ResultError": "gilcmp.results",
    "Stall": "gilcmp.probe",
    "Strategy": "gilcmp.strategies",
    "Threshold": "gilcmp.threshold",
    "Timeline": "gilcmp.timeline",
    "Verdict": "gilcmp.verdict",
    "WrongAnswer": "gilcmp.jobs",
    "atlas": "gilcmp.atlas",
    "claims": "gilcmp.claims.suite",
    "compare": "gilcmp.compare",
    "compare_pythons": "gilcmp.pythons",
    "default_workers": "gilcmp.request",
    "diff": "gilcmp.diff",
    "environment": "gilcmp.environment",
    "find_python": "gilcmp.pythons",
    "kernels": "gilcmp.kernels",
    "load": "gilcmp.comparison",
    "probe": "gilcmp.probe",
    "report": "gilcmp.report",
    "strategies": "gilcmp.strategies",
    "this_python": "gilcmp.pythons",
    "threshold": "gilcmp.threshold",
    "timeline": "gilcmp.timeline",
}


class _Package(ModuleType):
    """The package: public names on demand, and functions that are not hidden by the modules they are named after.

    The import system binds each submodule to its package. gilcmp.compare and gilcmp.kernels are to be the function
    and the mapping all the same, whether their modules have been imported or not.
    """

    def __getattr__(self, name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'gilcmp' has no attribute {name!r}")
        value = getattr(import_module(_HOMES[name]), name)
        self.__dict__[name] = value
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *_HOMES})


sys.modules[__name__].__class__ = _Package
