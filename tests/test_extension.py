"""An extension that is written three times, in C, in Cython and with pybind11, and the suite of its author."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import gilcmp
from conftest import busy_machine


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    for tool in ("setuptools", "Cython", "pybind11"):  # `nox -s libraries` has them
        pytest.importorskip(tool)
    folder = tmp_path_factory.mktemp("built")
    shutil.copytree(Path(__file__).parent / "extension", folder, dirs_exist_ok=True)
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace", "--parallel", "3"],
        cwd=folder, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.skipif(not gilcmp.environment().gil_enabled, reason="without a GIL nothing is held")
def test_its_suite_finds_what_forgets_to_release(built):
    report = built / "report.xml"
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:benchmark", f"--junitxml={report}",
         "check_extension.py"],
        cwd=built, capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314  # our own pytest wrote it
        outcome = next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed")
        found[case.get("name")] = outcome
    assert len(found) == 14
    for name, outcome in found.items():
        assert outcome in ("failure" if "_fails" in name else "passed", "skipped"), name
    if all(outcome == "skipped" for outcome in found.values()):
        busy_machine("none of its tests was decided")
