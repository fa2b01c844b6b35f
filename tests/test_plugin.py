"""The pytest plugin, in test suites of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy  # noqa: F401  # pytester forgets modules that its tests were the first to import; NumPy loads only once
import pytest

import gilcmp
from conftest import busy_machine

pytest_plugins = ["pytester"]
QUICK = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")  # to import hypothesis takes half a second
needs_gil = pytest.mark.skipif(not gilcmp.environment().gil_enabled, reason="without a GIL nothing is held")


def outcomes(pytester, text, *options):
    pytester.makepyfile(text)
    # in a process: coverage of the outer run and its plugins stay out of it
    return pytester.runpytest_subprocess(*QUICK, "-p", "no:benchmark", "-W", "error", *options)


def test_nothing_is_loaded_until_used(pytester):
    result = outcomes(
        pytester,
        """
        import sys
        def test_light():
            loaded = [name for name in sys.modules if name.startswith("gilcmp.")]
            assert sorted(loaded) == ["gilcmp._version", "gilcmp.testing", "gilcmp.testing.plugin"], loaded
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
    if not counted.get("failed"):
        busy_machine("test_bad was skipped as well")
    result.stdout.fnmatch_lines(["*test_bad released the GIL for *, it should for at least 50%*"])


@needs_gil
def test_the_marker_watches_methods_of_unittest_as_well(pytester):
    result = outcomes(
        pytester,
        """
        import unittest
        import pytest
        from gilcmp.testing import hold_gil, release_gil

        class Tests(unittest.TestCase):
            def setUp(self):
                hold_gil(0.2)

            @pytest.mark.releases_gil(at_least=0.5)
            def test_good(self):
                release_gil(0.1)

            @pytest.mark.releases_gil(at_least=0.5)
            def test_bad(self):
                hold_gil(0.1)

        class Others(unittest.IsolatedAsyncioTestCase):
            @pytest.mark.releases_gil
            async def test_coroutine(self):
                pass
        """,
    )
    counted = result.parseoutcomes()
    assert counted.get("passed", 0) + counted.get("skipped", 0) + counted.get("failed", 0) == 3
    assert "FAILED *test_good*" not in result.stdout.str()
    result.stdout.fnmatch_lines(["*releases_gil cannot watch a coroutine that unittest runs*"])
    if counted.get("failed") < 2:
        busy_machine("test_bad was skipped as well")
    result.stdout.fnmatch_lines(["*test_bad released the GIL for *, it should for at least 50%*"])


@needs_gil
def test_the_marker_counts_the_threads_that_a_test_starts(pytester):
    result = outcomes(
        pytester,
        """
        import threading
        import pytest
        from gilcmp.testing import hold_gil, release_gil

        def work_in_a_thread(work):
            thread = threading.Thread(target=work, args=(0.2,))
            thread.start()
            thread.join()

        @pytest.mark.releases_gil
        def test_good():
            work_in_a_thread(release_gil)

        @pytest.mark.releases_gil
        def test_bad():
            work_in_a_thread(hold_gil)
        """,
    )
    assert "FAILED *test_good*" not in result.stdout.str()
    if not result.parseoutcomes().get("failed"):
        busy_machine("test_bad was skipped as well")
    result.stdout.fnmatch_lines(["*.py:14: test_bad released the GIL for *, it should for at least 90%*"])


SHORT = """
    import unittest
    import pytest
    from gilcmp.testing import assert_releases_gil

    @pytest.mark.releases_gil
    def test_short():
        pass

    class Tests(unittest.TestCase):
        @pytest.mark.releases_gil
        def test_method(self):
            pass

    def test_assertion(monkeypatch):
        monkeypatch.setattr("gilcmp.probing.probe.MIN_SAMPLES", 10**9)
        assert_releases_gil(len, "", budget=0.02)
    """


@pytest.mark.parametrize(
    ("options", "outcome"), [((), "skipped"), (("--gil-busy=fail",), "failed"), (("--gil-busy=xfail",), "xfailed")]
)
def test_what_cannot_be_told_is_reported_at_the_tests_own_line(pytester, options, outcome):
    result = outcomes(pytester, SHORT, "-rs", *options)
    result.assert_outcomes(**{outcome: 3})
    if outcome == "skipped":
        for line in (5, 10, 16):
            result.stdout.fnmatch_lines([f"SKIPPED*.py:{line}: cannot tell whether *"])


def test_a_short_test_is_skipped_with_the_reason(pytester):
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


def test_a_wrong_marker_is_told(pytester):
    wrong = ("at_least=2", "'much'", "least=1", "0.5, 0.6", "0.5, 'skip', 1", "on_busy='ignore'")
    tests = "".join(
        f"""
        @pytest.mark.releases_gil({arguments})
        def test_{number}():
            pass
        """
        for number, arguments in enumerate(wrong)
    )
    result = outcomes(pytester, f"""
        import pytest
        {tests}""")  # fmt: skip
    counted = result.parseoutcomes()
    assert "passed" not in counted
    assert counted.get("failed", 0) + counted.get("errors", 0) == len(wrong)
    assert result.stdout.str().count("releases_gil takes") >= len(wrong), result.stdout.str()


# ---- comparisons in somebody's test suite ----

SUITE = """
    import pytest
    import time

    def work(n):
        time.sleep(n)

    @pytest.mark.gil_comparison(work, tasks=[0.002] * 4, workers=[1, 2], strategies="threads", budget=0.2)
    def test_work(gil_comparison):
        assert gil_comparison.implementation == "work"
        assert gil_comparison.rounds
"""
ROWS = ["work-serial-1", "work-threads-1", "work-threads-2"]


def benchmarked(pytester, text, *options):
    pytester.makepyfile(text)
    return pytester.runpytest_subprocess(*QUICK, "-W", "error", *options)


def test_a_comparison_gives_a_row_a_cell(pytester):
    path = pytester.path / "rows.json"
    result = benchmarked(pytester, SUITE, f"--benchmark-json={path}")
    result.assert_outcomes(passed=3)
    for row in ROWS:
        result.stdout.fnmatch_lines([f"test_work[[]{row}[]] *"])
    saved = json.loads(path.read_text())
    assert [one["param"] for one in saved["benchmarks"]] == ROWS
    result.stdout.fnmatch_lines(["*Legend:*", "*gil_comparison: *test_work*", "*threads x 2*"])
    for one in saved["benchmarks"]:
        told = one["extra_info"]
        record = told["gilcmp"]["cell"]
        assert one["group"] == "work"
        assert (told["strategy"], str(told["workers"])) == tuple(one["param"].split("-")[1:])
        walls = [seen["wall"] / record["repeats"] for seen in record["rounds"]]
        # the replayed durations are those that were measured, but for what adding up on a clock rounds
        assert all(min(abs(x - wall) for wall in walls) < 1e-9 for x in one["stats"]["data"])
        assert told["verdict"]
    about = saved["machine_info"]["gilcmp"]
    for name in (
        "gil_enabled",
        "free_threaded",
        "switch_interval",
        "cpus_allowed",
        "cpu_quota",
        "extension_isa",
    ):
        assert name in about
    (run,) = gilcmp.diff(path, path).runs
    assert {cell.key for cell in run.cells} == {
        ("work", "work", "serial", 1), ("work", "work", "threads", 1), ("work", "work", "threads", 2)
    }  # fmt: skip


def test_a_comparison_works_without_pytest_benchmark(pytester):
    result = benchmarked(pytester, SUITE, "-p", "no:benchmark")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*gil_comparison: *::test_work*", "work (time per task)"])


def test_a_comparison_is_quick_where_benchmarks_are_disabled(pytester):
    text = SUITE.replace("budget=0.2", "budget=3600.0")
    benchmarked(pytester, text, "--benchmark-disable", "-k", "threads-2").assert_outcomes(passed=1, deselected=2)
    benchmarked(pytester, text, "--benchmark-skip").assert_outcomes(skipped=3)


def test_the_benchmark_marker_goes_on_working(pytester):
    text = SUITE.replace("    def test_work", "    @pytest.mark.benchmark(group='mine')\n    def test_work")
    result = benchmarked(pytester, text)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*benchmark 'mine': 3 tests*"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (SUITE.splitlines()[7].strip(), "", "needs to be told what to measure"),
        ("workers=[1, 2]", "workers=0", "workers must be"),
        ("gil_comparison(work", "gil_comparison('mandel'", "work must be a kernel"),
        ("gil_comparison(work", "gil_comparison('pi', implementations='rust'", "implementation must be one of"),
        ('"threads"', '"thread"', "strategy must be one of"),
        ("budget=0.2", "budget=0", "budget must be"),
        ("(gil_comparison)", "(gil_comparison, benchmark)", "fills the fixture benchmark by itself"),
    ],
)  # fmt: skip
def test_wrong_use_of_a_comparison_is_told(pytester, old, new, message):
    assert old in SUITE
    pytester.makepyfile(SUITE.replace(old, new))
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")  # it comes to no measuring
    assert result.ret != 0
    assert message in result.stdout.str() + result.stderr.str()


@pytest.mark.parametrize("options", [(), ("-p", "no:benchmark")])
def test_ctrl_c_shows_what_was_measured(pytester, options):
    # deep in the measuring: hundreds of calls after the sizes were found, long before the budget is spent
    text = SUITE.replace("budget=0.2", "budget=60").replace(
        "    def work(n):\n",
        "    calls = iter(range(500))\n"
        "    def work(n):\n"
        "        if next(calls, None) is None:\n"
        "            raise KeyboardInterrupt\n",
    )
    assert "raise KeyboardInterrupt" in text
    result = benchmarked(pytester, text, *options)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*gil_comparison: *::test_work*", "work * serial *", "Incomplete: *"])


def test_what_cannot_be_measured_here_is_skipped_under_its_name(pytester, monkeypatch):
    text = SUITE.replace('"threads"', '["threads", "interpreters"]')
    result = benchmarked(pytester, text, "-rs", "-k", "interpreters-2")
    outcome = result.parseoutcomes()
    assert outcome["deselected"] == 4
    lacking = gilcmp.strategies["interpreters"].unavailable
    assert ("skipped" in outcome) == bool(lacking)
    if lacking:
        result.stdout.fnmatch_lines([f"*{lacking}*"])


def test_a_cell_that_cannot_be_measured_is_an_error_with_the_reason(pytester):
    text = SUITE.replace('"threads"', '"processes-spawn"').replace("(work,", "(stays,").replace("    def work", """\
    class Unsendable:
        def __call__(self, n):
            return n

        def __reduce__(self):
            raise TypeError("it stays here")

    stays = Unsendable()

    def work""", 1)  # fmt: skip
    result = benchmarked(pytester, text, "-k", "processes-spawn-2")
    result.assert_outcomes(errors=1, deselected=2)
    result.stdout.fnmatch_lines(["*cannot be sent to another process*"])


def test_what_is_skipped_is_not_measured(pytester):
    text = SUITE.replace("    def test_work", "    @pytest.mark.skip\n    def test_work").replace(
        "budget=0.2", "budget=3600"
    )
    text += """
    @pytest.mark.gil_comparison(work, tasks=[0.002] * 4, strategies="threads", budget=0.2)
    def test_other(gil_comparison):
        pass
"""
    benchmarked(pytester, text).assert_outcomes(passed=2, skipped=3)


def test_an_error_of_the_function_fails_each_cell_once(pytester):
    text = SUITE.replace("time.sleep(n)", "raise RuntimeError('its own')")
    result = benchmarked(pytester, text)
    result.assert_outcomes(errors=3)


def test_names_in_our_own_suite_are_the_kernels(request):
    benchmarks = request.config.rootpath / "benchmarks"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", str(benchmarks), "--collect-only", "-q", "-p", "no:cacheprovider"],
        capture_output=True, text=True, check=False, cwd=request.config.rootpath,
    )  # fmt: skip
    names = {line.rpartition("::")[2] for line in done.stdout.splitlines() if "::" in line}
    for name, kernel in gilcmp.kernels.items():
        for implementation in kernel.implementations:
            for cell in ("serial-1", "threads-2", "processes-2"):
                assert f"{name}[{implementation}-{cell}]" in names
