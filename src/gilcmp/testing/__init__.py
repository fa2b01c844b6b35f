"""For test suites: ground truth about the GIL, assertions that a call releases it, and the pytest plugin."""

from importlib import import_module

BUSY_CHOICES = ("skip", "fail", "xfail")  # what may be done where the machine is too busy to say

_HOMES = {
    "gilcmp.testing.assertions": ("Watched", "assert_import_keeps_gil_off", "assert_max_stall", "assert_releases_gil"),
    "gilcmp.watch._gil": ("hold_gil", "release_gil"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [*_HOME_OF]  # noqa: PLE0604  # they are strings


# The plugin is in this package too, and pytest loads it into every session: the assertions are imported when used.
def __getattr__(name):
    if name not in _HOME_OF:
        raise AttributeError(f"module 'gilcmp.testing' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)
