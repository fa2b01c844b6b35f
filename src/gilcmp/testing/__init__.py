"""For test suites: ground truth about the GIL, assertions that a call releases it, and the pytest plugin."""

from importlib import import_module

__all__ = [
    "Watched",
    "assert_import_keeps_gil_off",
    "assert_max_stall",
    "assert_releases_gil",
    "hold_gil",
    "release_gil",
]


# The plugin is in this package too, and pytest loads it into every session: the assertions are imported when used.
def __getattr__(name):
    if name not in __all__:
        raise AttributeError(f"module 'gilcmp.testing' has no attribute {name!r}")
    return getattr(import_module("gilcmp.testing.assertions"), name)
