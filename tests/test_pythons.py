"""Other interpreters: found, checked, and run beside this one. No timing decides anything here."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import venv
from pathlib import Path

import pytest

import gilcmp
from gilcmp.cli import main as cli
from gilcmp.judge.verdict import MIN_ROUNDS
from gilcmp.measure.pythons import Python, PythonError, compare_pythons, find_python, this_python

pytestmark = pytest.mark.usefixtures("no_child_is_left")

SETTINGS = {"implementations": ["python"], "strategies": ["threads"], "workers": [2], "size": "small"}


def twins():
    """This interpreter twice, under two names: any machine has it."""
    here = this_python()
    return [here, Python(here.path, here.version + "+", here.free_threaded)]


def script(path, text):
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_this_one_is_found():
    here = find_python(sys.executable)
    assert here.version == gilcmp.environment().python
    assert here.name.endswith("t") == gilcmp.environment().free_threaded


def test_what_is_not_there():
    with pytest.raises(PythonError, match=r"python 'python9\.99' not found"):
        find_python("python9.99")


def test_one_without_gilcmp_says_how_to_install_it(tmp_path):
    venv.create(tmp_path / "empty", with_pip=False)
    folder = "Scripts" if os.name == "nt" else "bin"
    path = str(tmp_path / "empty" / folder / Path(sys.executable).name)
    with pytest.raises(PythonError) as error:
        find_python(path)
    assert f"{path} -m pip install ." in str(error.value)


@pytest.mark.skipif(os.name == "nt", reason="needs shell scripts")
def test_strange_interpreters(tmp_path):
    other = script(tmp_path / "other", '#!/bin/sh\necho \'["3.13.1", false, "0.0.1"]\'\n')
    with pytest.raises(PythonError, match=r"has gilcmp 0\.0\.1, this is .*: install it there"):
        find_python(other)
    broken = script(tmp_path / "broken", "#!/bin/sh\necho 'no such library' >&2; exit 1\n")
    with pytest.raises(PythonError, match="does not run: no such library"):
        find_python(broken)
    silly = script(tmp_path / "silly", "#!/bin/sh\necho hello\n")
    with pytest.raises(PythonError, match="is no interpreter that gilcmp can use"):
        find_python(silly)


def test_they_take_turns_over_the_same_cells():
    found = compare_pythons(twins(), ["count", "pi"], budget=0.6, **SETTINGS)
    assert [python.name for python, _ in found] == [python.name for python in twins()]
    one, other = (comparison for _, comparison in found)
    assert [cell.record.key for cell in one] == [cell.record.key for cell in other]
    assert {cell.kernel for cell in one} == {"count", "pi"}
    for left, right in zip(one, other, strict=True):
        one_began, other_began = ([seen.round for seen in cell.rounds][:MIN_ROUNDS] for cell in (left, right))
        assert one_began == other_began != []


def test_all_of_them_do_the_same_size():
    """Each would calibrate another: neither the table nor the saved files could be compared."""
    settings = {name: value for name, value in SETTINGS.items() if name != "size"}
    found = compare_pythons(twins(), ["count", "pi"], budget=0.4, **settings)
    sizes = [{cell.record.key: cell.size for cell in comparison} for _, comparison in found]
    assert sizes[0] == sizes[1]
    assert not any("another size" in cell.refused for cell in gilcmp.diff(*(run for _, run in found)).runs[0].cells)


def test_an_error_in_one_of_them_is_told():
    with pytest.raises(PythonError, match="implementation must be one of"):
        compare_pythons(twins(), "count", budget=0.2, implementations=["nope"])


@pytest.mark.skipif(os.name == "nt", reason="needs shell scripts")
def test_one_that_dies_is_told(tmp_path):
    mute = script(tmp_path / "mute", "#!/bin/sh\nexit 1\n")
    with pytest.raises(PythonError, match="died without a word"):
        compare_pythons([this_python(), Python(mute, "3.x", False)], "count", budget=0.2, **SETTINGS)


def test_ctrl_c_keeps_the_rounds():
    def interrupt(progress):
        if progress.done > 0.3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stop:
        compare_pythons(twins(), "count", budget=2.0, progress=interrupt, **SETTINGS)
    found = stop.value.comparisons
    assert len(found) == 2
    assert all(len(cell.rounds) >= 1 for _, comparison in found for cell in comparison)


def test_the_command_shows_one_table_and_saves_a_file_each(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("gilcmp.cli.compare.find_interpreters", lambda wanted: twins())
    with pytest.raises(SystemExit) as stop:
        cli.main(["compare", "count", "--impl", "python", "--strategy", "threads", "--workers", "2", "--size",
                  "small", "--budget", "400ms", "--python", "whatever", "-o", str(tmp_path / "run.json")])  # fmt: skip
    assert stop.value.code == 0
    out = capsys.readouterr().out
    for python in twins():
        assert python.name in out
        assert gilcmp.load(tmp_path / f"run-{python.name}.json").complete


def test_the_command_names_what_is_missing():
    done = subprocess.run(
        [sys.executable, "-m", "gilcmp", "compare", "count", "--python", "python9.99"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "python 'python9.99' not found" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_claims_in_another_interpreter():
    (here, there) = gilcmp.claims("refcounts", budget=0.2, pythons=twins()[1:])
    assert here.name == there.name == "refcounts"
    assert {type(figure) for figure in there.figures} == {type(here.figures[0])}
    json.loads(gilcmp.Claims([here, there], gilcmp.environment()).to_json())
