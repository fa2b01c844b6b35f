"""Many libraries, each measured in a virtual environment of its own: what is installed for one disturbs no other."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import distribution
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

from attrs import asdict, frozen

from gilcmp._version import __version__
from gilcmp.base.child import run_group
from gilcmp.base.files import check_writable, replace_file
from gilcmp.saved.kept import csv_text
from gilcmp.saved.reading import ResultError, parsed, read_text, structured, without_nan
from gilcmp.surveying.atlas import ATTEMPTS, BUDGET, PAIRED, Atlas
from gilcmp.surveying.lists import AtlasError, Library, read_list, shipped
from gilcmp.surveying.scaling import limit_own_threads

INSTALLING = 1800.0  # seconds in which a library must be installed
STARTING = 300.0  # in which its environment starts and imports
SAVING = 20.0  # that it has to save what it has, when it is interrupted
WHEELS = ("--only-binary", ":all:")  # options of pip: nothing is built
FAILED = "failed.json"
ALL_JSON, ALL_CSV = "atlas.json", "atlas.csv"


@frozen
class Outcome:
    """What became of a library: its atlas, or the reason why there is none; `kept`: it was measured before."""

    name: str
    atlas: Atlas | None
    reason: str = ""
    kept: bool = False


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Take SIGTERM for Ctrl-C: what was started must end, and what was measured is kept."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def survey(
    names: Sequence[str] = (),
    *,
    folder: str | os.PathLike[str],
    python: str = sys.executable,
    budget: float = BUDGET,
    from_source: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Outcome]:
    """Measure libraries, each in a virtual environment of its own, and keep what was measured in a folder.

    Parameters
    ----------
    names : sequence of str
        Which of the lists that come with gilcmp; none: all.
    folder : path
        Where a file for each library is kept, and ``atlas.json`` and ``atlas.csv`` with all of them. A library whose
        file is there is not measured again: what was interrupted is continued.
    python : str
        The interpreter that the environments are made from.
    budget : float
        Seconds for each statement to be probed.
    from_source : bool
        Build what has no wheel for the interpreter, which may take an hour for one library; otherwise it is one that
        cannot be installed.
    progress : callable, optional
        Called with what is done now, how many libraries are finished, and how many there are.

    Returns
    -------
    list of Outcome
        In the order of the names. One that cannot be installed or measured has a reason, and the rest goes on.

    Raises
    ------
    AtlasError
        For a name without a list, and where gilcmp cannot be built for the interpreter.
    ResultError, OSError
        For a file of the folder that is something else, or cannot be read or written; before anything is installed.
    KeyboardInterrupt
        What was finished is kept; the library that was being measured is in ``NAME.partial.json``, as far as it came.
    """
    wanted = list(dict.fromkeys(names)) or list(shipped())
    libraries = [read_list(name) for name in wanted]
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    check_writable(place / ALL_JSON)
    kept = {library.name: _kept(place, library.name) for library in libraries}  # before anything is installed
    failures_in(place)
    outcomes: list[Outcome] = []
    try:
        with _terminated_as_interrupted(), tempfile.TemporaryDirectory(prefix="gilcmp-atlas-") as temporary:
            wheel = ""
            for library in libraries:
                outcome = kept[library.name]
                if outcome is None:
                    if progress is not None:
                        progress(library.name, len(outcomes), len(libraries))
                    wheel = wheel or _wheel(python, Path(temporary))
                    first = [wheel] if from_source else [*WHEELS, wheel]
                    outcome = _measured(library, place, python, first, Path(temporary), budget)
                outcomes.append(outcome)
    finally:
        with contextlib.suppress(ResultError, OSError):  # not in place of what is on its way
            write_all(place, [atlas for _, atlas in atlases_in(place)])
    return outcomes


def _kept(folder: Path, name: str) -> Outcome | None:
    path = folder / f"{name}.json"
    return Outcome(name, _atlas_of(path), kept=True) if path.exists() else None


def _atlas_of(path: Path) -> Atlas:
    found = structured(parsed(read_text(path), str(path)), list[Atlas], "atlases", str(path), null_is_nan=True)
    if len(found) != 1:
        raise ResultError(f"{path}: not an atlas of one library")
    atlas: Atlas = found[0]
    return atlas


def atlases_in(folder: str | os.PathLike[str]) -> Iterator[tuple[str, Atlas]]:
    """Read the libraries' files of a folder, in the order in which gilcmp lists them."""
    for name in shipped():
        path = Path(folder) / f"{name}.json"
        if path.exists():
            yield name, _atlas_of(path)


def failures_in(folder: str | os.PathLike[str]) -> dict[str, str]:
    """Read which libraries of a folder could not be measured, with the reasons."""
    path = Path(folder) / FAILED
    reasons = parsed(read_text(path), str(path)) if path.exists() else {}
    if not isinstance(reasons, dict) or not all(isinstance(reason, str) for reason in reasons.values()):
        raise ResultError(f"{path}: must be a table of reasons")
    return reasons


def write_all(folder: Path, atlases: Sequence[Atlas]) -> None:
    """Write libraries into one JSON file of a folder, and one of CSV."""
    body = without_nan([asdict(atlas) for atlas in atlases])
    replace_file(folder / ALL_JSON, json.dumps(body, indent=1, allow_nan=False) + "\n")
    replace_file(folder / ALL_CSV, csv_text([record for atlas in atlases for record in atlas.records()]))


def _wheel(python: str, temporary: Path) -> str:
    """Build a wheel of this gilcmp for an interpreter, or say which released one it is."""
    told = distribution("gilcmp").read_text("direct_url.json")
    url = urlparse(json.loads(told)["url"]) if told else None
    source = url2pathname(url.path) if url is not None and url.scheme == "file" else ""
    if not source:
        return f"gilcmp=={__version__}"
    if source.endswith(".whl"):
        return source
    folder = temporary / "wheel"
    reason = _call([python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), source])
    if reason:
        raise AtlasError(f"gilcmp cannot be built for {python}: {reason}")
    return str(next(folder.glob("gilcmp-*.whl")))


def _measured(
    library: Library, place: Path, python: str, first: Sequence[str], temporary: Path, budget: float
) -> Outcome:
    """Install a library and measure it; its environment is gone afterwards."""
    venv = temporary / library.name
    own = str(venv / ("Scripts" if os.name == "nt" else "bin") / "python")
    to_install = [*first, *([library.distribution] if library.distribution else []), *library.requires]
    part = temporary / f"{library.name}.json"
    measuring = [own, "-m", "gilcmp", "atlas", library.name, "--quiet", "--budget", f"{budget * 1000:f}ms"]
    try:
        reason = (
            _call([python, "-m", "venv", str(venv)])
            or _call([own, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *to_install], venv)
            or _call([*measuring, "--json", str(part)], venv, longest(library, budget))
        )
        atlas = None if reason else _atlas_of(part)
    finally:
        shutil.rmtree(venv, ignore_errors=True)
        if part.exists():  # wholly, or until it was interrupted
            whole = sys.exception() is None and not reason
            shutil.copyfile(part, place / f"{library.name}{'' if whole else '.partial'}.json")
    reasons = failures_in(place)
    reasons.pop(library.name, None)
    if reason:
        reasons[library.name] = reason
    replace_file(place / FAILED, json.dumps(reasons, indent=1) + "\n")
    return Outcome(library.name, atlas, reason)


def longest(library: Library, budget: float) -> float:
    """Return for how long its statements may be measured at most: each until it is decided, and some that are long."""
    attempts: int = 2**ATTEMPTS - 1
    return STARTING + len(library.statements) * (10 + (1 + PAIRED) * attempts * budget)


def _call(command: Sequence[str], folder: Path | None = None, limit: float = INSTALLING) -> str:
    """Run a command to its end; return why it failed, in a line. On Ctrl-C it ends, with all that it has started."""
    environment = limit_own_threads()
    for name in ("PYTHONPATH", "PYTHONHOME"):
        environment.pop(name, None)
    try:
        done = run_group(command, limit=limit, saving=SAVING, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    except subprocess.TimeoutExpired:
        return f"not done after {limit / 60:.0f} minutes"
    if done.returncode == 0:
        return ""
    if done.returncode < 0:
        return f"ended by {signal.Signals(-done.returncode).name}"
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.upper().startswith("ERROR")]
    return (errors[:1] or lines[-1:] or [f"exit code {done.returncode}"])[0][:300]
