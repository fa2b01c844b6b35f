"""The pytest plugin, in test suites of its own."""

from __future__ import annotations

import pytest

import gilcmp

pytest_plugins = ["pytester"]
needs_gil = pytest.mark.skipif(not gilcmp.environment().gil_enabled, reason="without a GIL nothing is held")


def outcomes(pytester, text, *options):
    pytester.makepyfile(text)
    # in a process: coverage of the outer run and its plugins stay out of it
    return pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "-p", "no:benchmark", "-W", "error", *options
    )


def test_nothing_is_loaded_until_used(pytester):
    result = outcomes(
        pytester,
        """
        import sys
        def test_light():
            loaded = [name for name in sys.modules if name.startswith("gilcmp.")]
            assert sorted(loaded) == ["gilcmp._version", "gilcmp.pytest_plugin"], loaded
            assert "numpy" not in sys.modules
        """,
    )
    result.assert_outcomes(passed=1)


@needs_gil
def test_the_marker_fails_what_holds_and_passes_what_releases(pytester):
    result = outcomes(
        pytester,
        """
        import pytest
        from gilcmp.testing import hold_gil, release_gil

        @pytest.mark.releases_gil
        def test_good():
            release_gil(0.1)

        @pytest.mark.releases_gil(at_least=0.5)
        def test_bad():
            hold_gil(0.1)

        @pytest.mark.releases_gil(at_least=0)
        def test_anything_goes():
            hold_gil(0.1)
        """,
    )
    counted = result.parseoutcomes()
    # on a starved machine any of them may be skipped, with the reason; none may come out wrong
    assert counted.get("passed", 0) + counted.get("skipped", 0) + counted.get("failed", 0) == 3
    assert "FAILED *test_good*" not in result.stdout.str()
    if counted.get("failed"):
        result.stdout.fnmatch_lines(["*test_bad released the GIL for *, it should for at least 50%*"])
    else:
        assert counted.get("skipped")


def test_a_short_test_is_skipped_with_the_reason(pytester):
    if not gilcmp.environment().gil_enabled:
        pytest.skip("without a GIL every test passes the marker")
    result = outcomes(
        pytester,
        """
        import pytest

        @pytest.mark.releases_gil
        def test_short():
            pass
        """,
        "-rs",
    )
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*cannot tell whether test_short releases the GIL*"])


def test_a_failing_test_still_fails_by_itself(pytester):
    result = outcomes(
        pytester,
        """
        import pytest

        @pytest.mark.releases_gil
        def test_wrong():
            assert False, "its own reason"
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*its own reason*"])


def test_the_fixture_probes(pytester):
    result = outcomes(
        pytester,
        """
        from gilcmp.testing import release_gil

        def test_probe(gil_probe):
            assert gil_probe(release_gil, 0.001, budget=0.2).calls >= 1
        """,
    )
    counted = result.parseoutcomes()
    assert counted.get("passed", 0) + counted.get("skipped", 0) == 1


@pytest.mark.parametrize("arguments", ["at_least=2", "'much'", "least=1", "0.5, 0.6"])
def test_a_wrong_marker_is_told(pytester, arguments):
    result = outcomes(
        pytester,
        f"""
        import pytest

        @pytest.mark.releases_gil({arguments})
        def test_any():
            pass
        """,
    )
    assert result.ret != 0
    assert "releases_gil" in result.stdout.str() + result.stderr.str()
