"""Measure what the GIL costs and what releasing it buys, on this machine and this Python.

Examples
--------
>>> import gilcmp
>>> c = gilcmp.compare("mandelbrot", workers=[1, 2])  # doctest: +SKIP
>>> print(c)  # doctest: +SKIP
"""

from gilcmp._version import __version__
from gilcmp.compare import Progress, compare
from gilcmp.comparison import Cell, Comparison, load
from gilcmp.environment import Environment, environment
from gilcmp.estimate import Estimate
from gilcmp.jobs import WrongAnswer
from gilcmp.kernels import Kernel, kernels
from gilcmp.probe import Probe, Stall, probe
from gilcmp.request import default_workers
from gilcmp.results import ResultError
from gilcmp.strategies import PoolError, Strategy, strategies
from gilcmp.verdict import Verdict

__all__ = [
    "Cell",
    "Comparison",
    "Environment",
    "Estimate",
    "Kernel",
    "PoolError",
    "Probe",
    "Progress",
    "ResultError",
    "Stall",
    "Strategy",
    "Verdict",
    "WrongAnswer",
    "__version__",
    "compare",
    "default_workers",
    "environment",
    "kernels",
    "load",
    "probe",
    "strategies",
]
