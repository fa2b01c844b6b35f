"""What the documents say works: every command and example in README is run."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import textwrap
from importlib import import_module
from pathlib import Path

import pytest

import gilcmp
from gilcmp import verdict
from gilcmp.results import save_run

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ (gilcmp .*?)(?:\s+#.*)?$", README, re.MULTILINE)


def run(arguments, cwd):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=100, check=False, cwd=cwd
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_work(command, tmp_path, request):
    words = shlex.split(command)[1:]
    if (
        words[0] == "atlas"
    ):  # the whole list takes half a minute; tests/test_atlas.py runs every statement once
        words += ["--budget", "10ms"]
    if words[0] == "diff":
        for name in words[1:]:
            save_run(request.getfixturevalue("run"), tmp_path / name)
    if words[0] == "claims":
        words += [
            "refcounts"
        ]  # the whole list takes 80 seconds; tests/test_claims.py runs nearly all of them
    if words[0] == "threshold":
        words += ["--budget", "1s"]
    if words[0] == "compare":
        words += ["--budget", "300ms"]
        if ":" not in words[1] and "--size" not in words:
            words += ["--size", "small"]  # the time goes into calibrating otherwise
    done = run(["-m", "gilcmp", *words], tmp_path)
    assert done.returncode in (0, 3), done.stderr
    assert done.stdout or "-o" in words


def test_there_are_commands():
    assert {command.split()[1] for command in COMMANDS} == {
        "compare", "list", "env", "probe", "atlas", "claims", "threshold", "diff",
    }  # fmt: skip


EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_examples_work(number, tmp_path):
    example = EXAMPLES[number].replace("budget=5", "budget=2").replace("budget=20", "budget=5")
    script = tmp_path / "example.py"
    if "gil_comparison" in example:
        script.write_text(example)
        done = run(["-m", "pytest", "-p", "no:cacheprovider", "-W", "error", str(script)], tmp_path)
        assert "3 passed" in done.stdout, done.stdout
        return
    calls = "".join(f"\n{name}()" for name in re.findall(r"^def (test_\w+)", example, re.MULTILINE))
    script.write_text(f"import unittest\ntry:\n{textwrap.indent(example + calls, '    ')}\n"
                      "except unittest.SkipTest as busy:\n    print(busy)\n" if calls else example)  # fmt: skip
    done = run(["-W", "error", str(script)], tmp_path)
    assert done.returncode == 0, done.stderr
    if number == 0:
        assert "cython_nogil" in done.stdout
        assert json.loads((tmp_path / "run.json").read_text())["complete"]


def test_there_are_examples():
    assert len(EXAMPLES) == 5


def test_every_verdict_and_kernel_is_explained():
    for word in (*verdict.WORDS, *gilcmp.kernels):
        assert f"| `{word}` |" in README, word
    for word in import_module("gilcmp.probe").WORDS:
        assert f"`{word}`" in README, word


def test_ci_runs_the_test_command_of_the_readme():
    command = re.search(r"<!-- test command -->\n```console\n\$ (.*)\n", README)
    assert command
    assert "pytest" in command[1]
    assert "<!-- test command -->" in (ROOT / ".ci/run").read_text()


def test_the_changelog_and_the_package_know_each_other():
    assert "## Unreleased" in (ROOT / "CHANGELOG.md").read_text() or gilcmp.__version__ in README
    assert re.fullmatch(r"\d+\.\d+\.\d+", gilcmp.__version__)
