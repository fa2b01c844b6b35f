"""Running one command of gilcmp's on each host of a Dask cluster, and gathering what it saves."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from gilcmp.base.checks import Duration, duration
from gilcmp.base.child import python_command, run_group
from gilcmp.base.files import replace_file
from gilcmp.judge.comparison import Comparison
from gilcmp.judge.diff import Diff, diff
from gilcmp.measure.on_dask import no_dask
from gilcmp.reporting.report import loaded_text
from gilcmp.saved.reading import ResultError, parsed
from gilcmp.show import words
from gilcmp.show.model import Section, Sentence, Table, columns, section
from gilcmp.show.views import Shown

COMMANDS = ("compare", "probe", "claims", "threshold", "contention", "advise")
TIMEOUT = 600.0  # seconds that a host has
LOOK = 0.5  # seconds between two looks at what has come
TOO_BUSY = 3  # the exit code of a command that the machine was too busy for
NOTES = ".gilcmp-fleet"  # the file beside the results that tells of what command they are
WORDS = 300  # characters of what a failed command said


@frozen
class Fleet(Shown):
    """What the hosts of a cluster measured.

    Attributes
    ----------
    command : tuple of str
        The command that ran on each.
    results : mapping of str to result
        What it saved, by host: as `gilcmp.load` returns it.
    failed : mapping of str to str
        The hosts without a result, and why.
    busy : tuple of str
        The hosts that were too busy to say anything; their results are kept all the same.
    """

    command: tuple[str, ...]
    results: Mapping[str, Any]
    failed: Mapping[str, str]
    busy: tuple[str, ...] = field(default=())

    def diff(self) -> Diff | None:
        """Return the hosts side by side, each against the first; None for fewer than two comparisons."""
        runs = [result for result in self.results.values() if isinstance(result, Comparison)]
        names = [name for name, result in self.results.items() if isinstance(result, Comparison)]
        return diff(*runs, names=names) if len(runs) > 1 else None

    def sections(self) -> list[Section]:
        """Return what is shown of it: the hosts side by side, and those without a result."""
        return self._sections(complete=True)

    def overview(self, width: int = 80) -> list[Section]:
        """Return what was found, and which hosts are odd."""
        return self._sections(complete=False)

    def _sections(self, *, complete: bool) -> list[Section]:
        hosts = words.counted(len(self.results) + len(self.failed), "host")
        said = f"gilcmp {' '.join(self.command)} on {hosts}: {len(self.results)} answered"
        shown = [section("", Sentence(f"{said}.", "strong"))]
        laid = self.diff()
        if laid is not None:
            shown += laid.sections() if complete else laid.overview()
        else:
            for name, result in self.results.items():
                shown.append(section(name))
                for each in result if isinstance(result, list) else [result]:  # of several probes
                    shown += each.sections() if complete else each.overview()
        if self.failed:
            rows = tuple((name, reason) for name, reason in sorted(self.failed.items()))
            shown.append(section("", Table(columns("host", "why it has no result"), rows)))
        if self.busy:
            shown.append(section("", Sentence(f"Too busy to say: {', '.join(self.busy)}.")))
        return shown


def measure_here(arguments: Sequence[str], seconds: float) -> dict[str, Any]:
    """Run a command of gilcmp's in a process of its own, on a worker; return what it saved, or why it did not."""
    quiet = [] if arguments[0] == "probe" else ["-q"]  # it has no progress bar
    command = python_command("-m", "gilcmp", *arguments, "--json", "-", *quiet)
    try:
        done = run_group(command, limit=seconds, stdout=subprocess.PIPE)
    except subprocess.TimeoutExpired:
        return {"error": f"it took longer than {seconds:g} s"}
    if done.returncode not in (0, TOO_BUSY) or not done.stdout:
        return {"error": " ".join(done.stderr.split())[-WORDS:] or f"exit code {done.returncode}"}
    return {"text": done.stdout, "busy": done.returncode == TOO_BUSY}


def fleet(
    cluster: Any,
    command: str | Sequence[str] = "compare",
    *,
    folder: str | os.PathLike[str] | None = None,
    timeout: Duration = TIMEOUT,
    progress: Callable[[str, str], None] | None = None,
) -> Fleet:
    """Run the same command on each host of a Dask cluster, one process a host, and lay the results side by side.

    gilcmp has to be installed on each host, in the workers' environment. The command runs in a process of its own,
    started by one worker of the host; the cluster should have nothing else to do. A host that dies, cannot be reached,
    or takes too long is listed with the reason, and the others are kept.

    Parameters
    ----------
    cluster : distributed.Client or str
        A client, or a scheduler's address.
    command : str or sequence of str
        What to run, without ``gilcmp``: "compare mandelbrot --budget 20s".
    folder : path-like, optional
        Where each host's result is saved, as ``HOST.json``. Hosts that have a file there already are not measured
        again, unless they were too busy.
    timeout : float or str
        Seconds that a host has.
    progress : callable, optional
        Called with a host's name and what happened to it.

    Returns
    -------
    Fleet
        The results, and the hosts without one; printing it shows them.

    Raises
    ------
    ImportError
        Where Dask is not installed.
    ValueError
        For a command that saves nothing, and for a folder with the results of another command.
    OSError
        For a cluster that does not answer, or a folder that cannot be written.
    """
    reason = no_dask()
    if reason is not None:
        raise ImportError(reason)
    arguments = tuple(command.split() if isinstance(command, str) else command)
    if not arguments or arguments[0] not in COMMANDS:
        raise ValueError(f"command must begin with one of {', '.join(COMMANDS)}, got {' '.join(arguments)!r}")
    seconds = duration("timeout", timeout, 1, 86400)
    kept = {} if folder is None else _kept(Path(folder), arguments)
    tell = progress or (lambda host, what: None)
    distributed: Any = importlib.import_module("distributed")
    client = distributed.Client(cluster, timeout=10) if isinstance(cluster, str) else cluster
    found = Fleet(arguments, {}, {}, ())
    for host, text in kept.items():
        found = _with(found, host, {"text": text}, None)
    try:
        for host, answer in _answers(client, arguments, seconds, kept, tell):
            found = _with(found, host, answer, folder)
    except BaseException as error:  # Ctrl-C: what has come is kept
        with contextlib.suppress(Exception):
            error.fleet = found  # type: ignore[attr-defined]
        raise
    finally:
        if isinstance(cluster, str):
            client.close(timeout=5)
    return found


def _with(found: Fleet, host: str, answer: Mapping[str, Any], folder: str | os.PathLike[str] | None) -> Fleet:
    """Return what was found with one more host, which is saved as well."""
    reason = answer.get("error")
    if reason is None:
        try:
            result = loaded_text(answer["text"], host)
        except ResultError as error:
            reason = str(error)
    if reason is not None:
        return evolve(found, failed={**found.failed, host: reason})
    unsaved = found.failed
    busy = (*found.busy, host) if answer.get("busy") else found.busy
    if folder is not None:
        try:
            replace_file(_file(folder, host), answer["text"])
            before = _noted(Path(folder))
            now = [name for name in before if name != host] + [host] * (busy != found.busy)
            if now != before:
                _note(folder, found.command, now)
        except OSError as error:  # its result is shown all the same
            unsaved = {**unsaved, f"{host} (not saved)": str(error)}
    results = dict(sorted({**found.results, host: result}.items()))
    return evolve(found, results=results, failed=unsaved, busy=busy)


def _stem(host: str) -> str:
    return re.sub(r"[^\w.-]", "_", host)


def _file(folder: str | os.PathLike[str], host: str) -> Path:
    return Path(folder, f"{_stem(host)}.json")


def _note(folder: str | os.PathLike[str], command: Sequence[str], busy: Sequence[str]) -> None:
    """Note beside the results what command they are of, and which of the hosts were too busy."""
    replace_file(Path(folder, NOTES), json.dumps({"command": list(command), "busy": list(busy)}) + "\n")


def _noted(folder: Path, command: Sequence[str] | None = None) -> list[str]:
    """Return which hosts a folder's notes tell to have been too busy; ValueError where they are of another command."""
    path = folder / NOTES
    if not path.exists():
        return []
    notes = parsed(path.read_text(encoding="utf-8"), str(path))
    try:
        before, busy = list(notes["command"]), list(notes["busy"])
    except (TypeError, KeyError) as error:
        raise ResultError(f"{path}: not what gilcmp fleet writes") from error
    if command is not None and before != list(command):
        raise ValueError(f"folder {folder} has the results of {' '.join(before)!r}: give another one")
    return busy


def _kept(folder: Path, command: Sequence[str]) -> dict[str, str]:
    """Return what an earlier run of the command has saved in the folder, by host; those that were too busy: nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    busy = _noted(folder, command)
    _note(folder, command, busy)
    files = {path.stem: path for path in sorted(folder.glob("*.json"))}
    return {host: path.read_text(encoding="utf-8") for host, path in files.items() if host not in map(_stem, busy)}


def _answers(
    client: Any, arguments: Sequence[str], seconds: float, kept: Mapping[str, str], tell: Callable[[str, str], None]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Ask one worker of each host, all hosts at once, and return their answers as they come."""
    waiting = {}
    chosen = _one_worker_each(client)
    for host, address in chosen.items():
        if _stem(host) in kept:
            tell(host, "was measured before")
            continue
        waiting[host] = client.submit(
            measure_here, list(arguments), seconds, workers=[address], allow_other_workers=False, pure=False, retries=0
        )
        tell(host, "begins")
    end = time.monotonic() + seconds + 30
    while waiting and time.monotonic() < end:
        for host, future in list(waiting.items()):
            if future.done():
                del waiting[host]
                answer = _answer(future)
                tell(host, answer.get("error", "is done"))
                yield host, answer
        here = set(client.scheduler_info(n_workers=-1)["workers"])
        lost = client.status != "running"  # then no worker is seen any more, whatever they do
        for host in [host for host in waiting if lost or chosen[host] not in here]:
            waiting.pop(host).cancel()
            tell(host, "has gone")
            yield host, {"error": f"the {'scheduler' if lost else 'worker that measured'} is gone"}
        time.sleep(LOOK)
    for host, future in waiting.items():
        future.cancel()
        tell(host, "does not answer")
        yield host, {"error": f"it has not answered within {seconds + 30:g} s"}


def _one_worker_each(client: Any) -> dict[str, str]:
    """Return the address of one worker of each host."""
    chosen: dict[str, str] = {}
    for address, worker in client.scheduler_info(n_workers=-1)["workers"].items():
        chosen.setdefault(worker["host"], address)
    return chosen


def _answer(future: Any) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = future.result(timeout=10)
    except Exception as error:  # whatever the cluster says of a worker that died
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:WORDS]}"}
    return answer
