"""Measure what the GIL costs and what releasing it buys, on this machine and this Python.

Examples
--------
>>> import gilcmp
>>> c = gilcmp.compare("mandelbrot", workers=[1, 2])  # doctest: +SKIP
>>> print(c)  # doctest: +SKIP
"""

from importlib import import_module

from gilcmp._version import __version__

# The public names, by the module that defines them; it is imported on first access to one of them (PEP 562).
# `__init__.pyi` lists the same for type checkers, and stubtest compares the two.
_HOMES = {
    "gilcmp.compute.kernel": ("Kernel",),
    "gilcmp.compute.registry": ("kernels",),
    "gilcmp.saved.environment": ("Environment",),
    "gilcmp.saved.reading": ("ResultError",),
    "gilcmp.judge.estimate": ("Estimate",),
    "gilcmp.judge.verdict": ("Verdict",),
    "gilcmp.judge.cell": ("Cell",),
    "gilcmp.judge.comparison": ("Comparison",),
    "gilcmp.judge.diff": ("Diff", "diff"),
    "gilcmp.measure.machine": ("environment",),
    "gilcmp.measure.request": ("default_workers",),
    "gilcmp.measure.jobs": ("WrongAnswer",),
    "gilcmp.measure.executors": ("PoolError",),
    "gilcmp.measure.strategies": ("Strategy", "strategies"),
    "gilcmp.measure.session": ("Progress",),
    "gilcmp.measure.compare": ("compare",),
    "gilcmp.measure.pythons": ("Python", "PythonError", "compare_pythons", "find_python", "this_python"),
    "gilcmp.probing.probe_result": ("Probe", "Stall"),
    "gilcmp.probing.probe": ("probe",),
    "gilcmp.probing.timeline": ("Timeline", "timeline"),
    "gilcmp.probing.threshold": ("Threshold", "threshold"),
    "gilcmp.surveying.lists": ("AtlasError",),
    "gilcmp.surveying.atlas": ("Atlas", "atlas"),
    "gilcmp.surveying.changes": ("AtlasDiff", "compare_atlases"),
    "gilcmp.contending.result": ("Contention",),
    "gilcmp.contending.running": ("Watching", "contention"),
    "gilcmp.monitoring.figures": ("Figures", "LongOne"),
    "gilcmp.monitoring.monitor": ("Monitor", "monitor"),
    "gilcmp.monitoring.remote": ("AttachError",),
    "gilcmp.monitoring.attach": ("attach",),
    "gilcmp.advising.advice": ("Advice", "Option"),
    "gilcmp.advising.advise": ("advise",),
    "gilcmp.experiments.results": ("Claims",),
    "gilcmp.experiments.suite": ("claims",),
    "gilcmp.reporting.report": ("load", "report"),
    "gilcmp.hosts.running": ("Fleet", "fleet"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["__version__", *_HOME_OF]  # noqa: PLE0604  # they are strings


def __getattr__(name):
    if name not in _HOME_OF:
        raise AttributeError(f"module 'gilcmp' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME_OF[name]), name)
    return value


def __dir__():
    return sorted({*globals(), *__all__})
