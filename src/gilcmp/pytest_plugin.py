"""The pytest plugin: the fixture `gil_probe` and the marker `releases_gil`; nothing is loaded until they are used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from gilcmp.probe import Probe


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        "releases_gil(at_least=0.9): fail unless the test has the GIL released for that share of its time; "
        "skip where the machine is too busy to say",
    )


@pytest.fixture
def gil_probe() -> Callable[..., Probe]:
    """`gilcmp.probe`, which tries again, and then skips the test, where the machine is too busy to say."""
    from gilcmp.testing import decided

    def probe(func: Callable[..., Any], /, *args: Any, budget: float = 0.5, **kwargs: Any) -> Probe:
        return decided(func, args, kwargs, budget)

    return probe


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    """Watch a test that is marked with `releases_gil`, from its call to its return."""
    marker = pyfuncitem.get_closest_marker("releases_gil")
    if marker is None:
        return (yield)
    at_least = _at_least(marker)
    from gilcmp.testing import Watched

    with Watched() as watched:
        result = yield
    watched.require(at_least, pyfuncitem.name)
    return result


def _at_least(marker: pytest.Mark) -> float:
    def value(at_least: float = 0.9) -> float:
        return at_least

    try:
        at_least = value(*marker.args, **marker.kwargs)
    except TypeError:
        raise pytest.UsageError(f"releases_gil takes at_least alone, got {marker}") from None
    if not isinstance(at_least, int | float) or not 0 <= at_least <= 1:
        raise pytest.UsageError(f"releases_gil: at_least must be from 0 to 1, got {at_least!r}")
    return at_least
