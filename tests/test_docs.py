"""What the documents say works: every command and example in README and the how-to pages is run."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import pytest

import gilcmp
from gilcmp.judge import verdict
from gilcmp.saved.run import save_run

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
WORDS = (ROOT / "docs/reference/words.md").read_text(encoding="utf-8")
PAGES = "\n".join([README, *(page.read_text(encoding="utf-8") for page in sorted(ROOT.glob("docs/howto/*.md")))])
COMMANDS = list(dict.fromkeys(re.findall(r"^\$ (gilcmp .*?)(?:\s+#.*)?$", PAGES, re.MULTILINE)))
# "python3.13t" stands for a free-threaded interpreter with gilcmp, which not every machine has
COMMANDS = [command for command in COMMANDS if "--python" not in command]
EXAMPLES = [textwrap.dedent(code) for code in re.findall(r"^ *```python\n(.*?)^ *```", PAGES, re.DOTALL | re.MULTILINE)]
LIBRARIES = ("lxml", "pandas", "PIL")  # `nox -s libraries` installs them


@pytest.fixture(scope="module")
def started(tmp_path_factory, run):
    """Start all commands and examples, three at a time; one after the other they take most of a minute."""
    claims = gilcmp.claims("refcounts", budget=0.1)
    # A copy: pytest changes the environment before and after each test, and what is started in another thread meanwhile
    # would be given memory that has been freed ("Bad address").
    surroundings = dict(os.environ)

    def start(arguments, folder):
        words = [sys.executable, *arguments]
        return folder, subprocess.run(
            words, capture_output=True, text=True, timeout=100, check=False, cwd=folder, env=surroundings
        )

    with ThreadPoolExecutor(3) as threads:
        found = {}
        for command in COMMANDS:
            folder = tmp_path_factory.mktemp("command")
            found[command] = threads.submit(start, prepared_command(command, folder, run, claims), folder)
        for number in range(len(EXAMPLES)):
            folder = tmp_path_factory.mktemp("example")
            found[number] = threads.submit(start, prepared_example(number, folder), folder)
        yield lambda what: found[what].result()
        threads.shutdown(cancel_futures=True)


def prepared_command(command, folder, run, claims):
    # a process that is there: that of these tests
    words = shlex.split(re.sub(r"attach \d+ --duration \w+", f"attach {os.getpid()} --duration 300ms", command))[1:]
    match words[0]:
        case "atlas":  # the whole list takes minutes; tests/test_atlas.py runs every statement once
            (folder / "mine.toml").write_text("[[group]]\nstatements = ['sum(range(1000))']")
            words[1] = "mine.toml"
        case "diff":
            for name in words[1:]:
                save_run(run, folder / name)
        case "report":
            for name in words[1:]:
                if name != "claims.json" and name.endswith(".json"):
                    save_run(run, folder / name)
            claims.save(folder / "claims.json")
        case "timeline":
            for name in ("script.py", "service.py"):
                (folder / name).write_text("print('done')")
        case "claims":  # the whole list takes 80 seconds; tests/test_claims.py runs nearly all of them
            words += ["refcounts"]
        case "threshold" | "contention" | "advise":
            words += ["--budget", "1s"]
        case "compare":
            words += ["--budget", "300ms"]
            if words[1].isidentifier() and "--size" not in words:
                words += ["--size", "small"]  # the time goes into calibrating otherwise
    return ["-m", "gilcmp", *words]


def prepared_example(number, folder):
    example = re.sub(r"budget=\"?\d+s?\"?", "budget=1", EXAMPLES[number])
    if "main()\n" in example and "threading" in example:
        example = example.replace("time.sleep(3)", "time.sleep(0.5)")
    script = folder / "example.py"
    if "gil_comparison" in example:
        script.write_text(example)
        return ["-m", "pytest", "-p", "no:cacheprovider", "-W", "error", str(script)]
    calls = "".join(f"\n{name}()" for name in re.findall(r"^def (test_\w+)", example, re.MULTILINE))
    script.write_text(f"import unittest\ntry:\n{textwrap.indent(example + calls, '    ')}\n"
                      "except unittest.SkipTest as busy:\n    print(busy)\n" if calls else example)  # fmt: skip
    return ["-W", "error", str(script)]


def need_libraries(text):
    for name in LIBRARIES:
        if name in text:
            pytest.importorskip(name)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_work(command, started):
    words = shlex.split(command)[1:]
    if words[0] == "report":
        pytest.importorskip("matplotlib")
    need_libraries(command)
    _, done = started(command)
    if words[0] == "attach" and done.returncode == 2:
        pytest.skip(done.stderr)  # an older Python, one without a GIL, or a system that lets nobody look
    assert done.returncode in (0, 3), done.stderr
    assert done.stdout or "-o" in words


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_examples_work(number, started):
    need_libraries(EXAMPLES[number])
    folder, done = started(number)
    assert done.returncode == 0, done.stdout + done.stderr
    if number == 0:
        assert "threads x 2" in done.stdout
        assert json.loads((folder / "run.json").read_text())["complete"]


def test_there_are_commands():
    assert {command.split()[1] for command in COMMANDS} == {
        "compare", "list", "env", "probe", "atlas", "claims", "threshold", "diff", "timeline", "report",
        "contention", "attach", "advise",
    }  # fmt: skip


def test_there_are_examples():
    assert len(EXAMPLES) == 8


def test_readme_is_short_and_every_page_is_on_the_site():
    assert len(README.splitlines()) <= 150
    named = " ".join(page.read_text() for page in [*ROOT.glob("docs/**/index.md"), ROOT / "docs" / "atlas.md"])
    for page in ROOT.glob("docs/**/*.md"):
        there = re.search(rf"^(?:howto/|reference/|atlas/)?{page.stem}$", named, re.MULTILINE)
        assert there or page.name == "index.md", page


def test_every_public_name_has_its_place_in_the_reference():
    from gilcmp import testing

    reference = (ROOT / "docs/reference/api.md").read_text()
    documented = set(
        re.findall(r"^\.\. (?:auto)?(?!current)(?:data|function|class|exception):: (\w+)$", reference, re.MULTILINE)
    )
    assert documented == {*gilcmp.__all__, *testing.__all__} - {"__version__"}


def test_the_notebook_is_the_tutorial():
    """`nox -s docs` makes the one from the other; an edit of the text alone would not be seen on the site."""
    notebook = json.loads((ROOT / "docs/tutorial.ipynb").read_text())
    text = (ROOT / "docs/tutorial.md").read_text()
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        assert source in text, source[:200]
    codes = re.findall(r"```\{code-cell\} ipython3\n(.*?)\n?```", text, re.DOTALL)
    assert codes == ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_no_link_between_the_documents_is_dead():
    found = []
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        prose = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
        found += [(document, link) for link in re.findall(r"\]\(([^):#]+)\)", prose)]
    assert len(found) > 10
    assert [link for document, link in found if not (document.parent / link).exists()] == []


def test_every_verdict_and_kernel_is_explained():
    for word in (*verdict.WORDS, *gilcmp.kernels):
        assert f"| `{word}` |" in WORDS + (ROOT / "docs/kernels.md").read_text(), word
    for word in (*import_module("gilcmp.probing.probe_result").WORDS, *import_module("gilcmp.experiments.claim").WORDS):
        assert f"`{word}`" in WORDS, word


def test_ci_runs_the_test_command_of_the_readme():
    command = re.search(r"<!-- test command -->\n```console\n\$ (.*)\n", README)
    assert command
    assert "pytest" in command[1]
    assert "<!-- test command -->" in (ROOT / ".ci/run").read_text()


def test_ci_runs_a_test_again_that_found_the_machine_busy_in_the_one_job_that_could_run_it(tmp_path):
    jobs = {"3.14.0": (False, "busy machine: no core"), "3.13.5": (True, "without a GIL nobody has it")}
    for i, (python, (free_threaded, reason)) in enumerate(jobs.items()):
        job = {"python": python, "free_threaded": free_threaded, "tests": {"one": reason, "other": ""}}
        (tmp_path / f"{i}.json").write_text(json.dumps(job))
    command = [sys.executable, ROOT / ".ci/skipped-everywhere", tmp_path]
    assert subprocess.run([*command, "--busy"], capture_output=True, text=True, timeout=60, check=True).stdout == "one"
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "skipped in every one: 1" in told


def test_the_changelog_and_the_package_know_each_other():
    assert "## Unreleased" in (ROOT / "CHANGELOG.md").read_text() or gilcmp.__version__ in README
    assert re.fullmatch(r"\d+\.\d+\.\d+", gilcmp.__version__)
