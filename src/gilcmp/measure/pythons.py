"""Other interpreters: found, asked whether they have this gilcmp, and run side by side with this one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from attrs import frozen

from gilcmp._version import __version__
from gilcmp.base.checks import Duration, duration
from gilcmp.base.child import Child, answer
from gilcmp.judge.comparison import Comparison
from gilcmp.judge.diff import in_plain_python
from gilcmp.measure.jobs import calibrated_sizes
from gilcmp.measure.request import KernelWork, Request
from gilcmp.measure.session import Progress, Session
from gilcmp.saved.run import from_json, to_json
from gilcmp.show import words
from gilcmp.show.model import Section, Table, Value, columns, section

ANSWER_TIMEOUT = 120.0  # seconds in which an interpreter must start and describe itself
_ASK = (
    "import sys\n"
    "sys.path[:] = [folder for folder in sys.path if folder]\n"  # not the current one; below 3.11 there is no -P
    "import json, platform, sysconfig\n"
    "try:\n"
    "    import gilcmp\n"
    "    found = gilcmp.__version__\n"
    "except ImportError as error:\n"
    "    found = None\n"
    "print(json.dumps([platform.python_version(), bool(sysconfig.get_config_var('Py_GIL_DISABLED')), found]))"
)


class PythonError(ValueError):
    """An interpreter cannot be used; the message says why, and what to do."""


@frozen
class Python:
    """An interpreter that has this gilcmp.

    Attributes
    ----------
    path : str
        Its executable.
    version : str
        Its version.
    free_threaded : bool
        Whether it is a free-threaded build.
    """

    path: str
    version: str
    free_threaded: bool

    @property
    def name(self) -> str:
        """Its version, with a t where it is free-threaded."""
        return self.version + "t" * self.free_threaded


def this_python() -> Python:
    """Return the interpreter that this runs on."""
    return find_python(sys.executable)


def find_python(wanted: str) -> Python:
    """Find an interpreter by name or path, and check that it can run this gilcmp.

    Raises
    ------
    PythonError
        Where there is none, or it has no gilcmp, or another one.
    """
    path = shutil.which(wanted)
    if path is None:
        raise PythonError(f"python {wanted!r} not found: give the path of an interpreter, or a name on PATH")
    try:
        done = subprocess.run(  # noqa: S603  # what the user asked for
            [path, "-c", _ASK], capture_output=True, text=True, timeout=ANSWER_TIMEOUT, check=True
        )
        version, free_threaded, installed = json.loads(done.stdout.splitlines()[-1])
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise PythonError(f"python {wanted!r} does not run: {last[:200]}") from None
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        raise PythonError(f"python {wanted!r} is no interpreter that gilcmp can use: {error}") from None
    install = f"install it there, from the clone of this version: {path} -m pip install ."
    if installed is None:
        raise PythonError(f"python {wanted!r} ({version}) has no gilcmp: {install}")
    if installed != __version__:
        raise PythonError(f"python {wanted!r} ({version}) has gilcmp {installed}, this is {__version__}: {install}")
    return Python(path, version, free_threaded)


class _RemoteSession:
    """A session in an interpreter of its own, which measures a round when it is told to."""

    def __init__(self, python: Python, request: Mapping[str, Any]) -> None:
        self.python = python
        self.result: dict[str, Any] | None = None
        self._child = Child("-m", "gilcmp.measure.pythons", python=python.path)
        self._child.tell(request)

    def tell(self, word: str) -> None:
        """Say what to do: "round", or "next" for the next kernel."""
        self._child.tell(word)

    def ready(self) -> bool:
        """Wait until it is ready for a round; False when it has come to its end."""
        said = self._child.answer()
        if said == "ready":
            return True
        self.result = said or {"error": "it died without a word"}
        return False

    def finish(self) -> None:
        """Let it end after the round that it is in, and take what it has."""
        self._child.finish()
        while self.result is None and self.ready():
            pass

    def close(self) -> None:
        """End it, whatever it does."""
        self._child.close()


def compare_pythons(
    pythons: Sequence[Python],
    work: str | Sequence[str],
    *,
    budget: Duration = 30.0,
    progress: Callable[[Progress], None] | None = None,
    elsewhere: Mapping[str, Any] | None = None,
    **arguments: Any,
) -> list[tuple[Python, Comparison]]:
    """Run the same comparison in several interpreters, in turn, round by round.

    So any drift of the machine affects all of them alike.

    Parameters
    ----------
    pythons : sequence of Python
        Which.
    work : str or sequence of str
        Kernels, or one function as ``package.module:function``.
    budget : float
        Seconds for the rounds of all of them together; starting up is not in it.
    progress : callable, optional
        Called before each round.
    elsewhere : mapping of str to object, optional
        Arguments that are others in all interpreters but the first, such as fewer strategies.
    **arguments
        Further ones of `gilcmp.compare` that JSON can express.

    Returns
    -------
    list of (Python, Comparison)
        In the order given.

    Raises
    ------
    PythonError
        When a session fails in one of them.
    """
    budget = duration("budget", budget, 1e-6, 1e6)
    kernels = [work] if isinstance(work, str) else list(work)
    # where a function is looked for: beside the script, or in the current folder, as python -m does
    path = [*sys.path[:1], str(Path.cwd())]
    request = {"work": kernels, "path": path, **arguments}
    if not any(":" in name for name in kernels):
        request["sizes"] = _sizes_here(kernels, arguments)  # one for all, or neither times nor files could be compared
    children: list[_RemoteSession] = []
    try:
        for python in pythons:
            if progress is not None:
                progress(Progress(f"starting {python.name}", 0.0, budget))
            children.append(_RemoteSession(python, {**request, **(elsewhere or {})} if children else request))
            children[-1].ready()
        began = time.perf_counter()
        groups = 1 if any(":" in name for name in kernels) else len(kernels)
        try:
            for group in range(1, groups + 1):
                _rounds(children, began + budget * group / groups, began, budget, progress)
        except KeyboardInterrupt as error:
            error.comparisons = _results(children, interrupted=True)  # type: ignore[attr-defined]
            raise
        return _results(children)
    finally:
        for child in children:
            child.close()


def _sizes_here(kernels: Sequence[str], arguments: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Return the sizes that suit this interpreter."""
    try:
        request = Request.of(kernels, cpus=1, **arguments)
    except (ValueError, TypeError) as error:
        raise PythonError(str(error)) from None
    works = [work for work in request.works if isinstance(work, KernelWork)]
    return {work.kernel.name: calibrated_sizes(work, request.seed) for work in works}


def _rounds(
    children: Sequence[_RemoteSession],
    deadline: float,
    began: float,
    budget: float,
    progress: Callable[[Progress], None] | None,
) -> None:
    """Let the children take turns with a kernel until the deadline: A B, B A, A B and so on."""
    order = list(children)
    while True:
        for child in order:
            if child.result is not None:
                continue
            if progress is not None:
                elapsed = time.perf_counter() - began
                progress(Progress(child.python.name, min(1.0, elapsed / budget), max(0.0, budget - elapsed)))
            child.tell("round")
            child.ready()
        order.reverse()
        if time.perf_counter() >= deadline or all(child.result is not None for child in children):
            break
    for child in children:
        if child.result is None:
            child.tell("next")
            child.ready()


def _results(children: Sequence[_RemoteSession], *, interrupted: bool = False) -> list[tuple[Python, Comparison]]:
    results = []
    for child in children:
        child.finish()
        result = child.result or {}
        if "error" in result and not interrupted:
            raise PythonError(f"{child.python.path}: {result['error']}")
        if "run" in result:
            results.append((child.python, Comparison(from_json(result["run"], child.python.path))))
    return results


def python_sections(compared: Sequence[tuple[Python, Comparison]]) -> list[Section]:
    """Return the same comparison in several interpreters as one table, a cell's rows beside each other."""
    sections = []
    for kernel in dict.fromkeys(cell.kernel for cell in compared[0][1]):
        rows: list[tuple[str | Value, ...]] = []
        for key in dict.fromkeys(
            cell.record.key for _, comparison in compared for cell in comparison if cell.kernel == kernel
        ):
            for python, comparison in compared:
                for cell in comparison:
                    if cell.record.key == key:
                        speedup = "1.00" if cell.is_serial else words.estimate(cell.speedup)
                        time = words.seconds(cell.time.value)
                        rows.append((*key[1:3], str(key[3]), python.name, time, speedup, cell.verdict.shown()))
        titles = columns("implementation", "strategy", ">n", "python", ">time/unit", "speed-up [95 %]", "verdict")
        sections.append(section(kernel, Table(titles, tuple(rows), repeats=3)))
    return [*sections, section("", *_said_of(compared))]


def _said_of(compared: Sequence[tuple[Python, Comparison]]) -> list[str]:
    """Say how the interpreters compare, and which they are."""
    sentences = in_plain_python([(python.name, comparison) for python, comparison in compared])
    for python, comparison in compared:
        where = comparison.environment
        rounds = max((len(cell.rounds) for cell in comparison), default=0)
        gil = "on" if where.gil_enabled else "off"
        culprit = f"; {where.gil_culprit} turned the GIL on" if where.gil_culprit else ""
        sentences.append(f"{python.name}: GIL {gil}, {words.counted(rounds, 'round')}, {python.path}{culprit}")
    return sentences


def python_overview(compared: Sequence[tuple[Python, Comparison]]) -> list[Section]:
    """Return what fits on a screen: what was found, and how each interpreter's threads did."""
    rows: list[tuple[str | Value, ...]] = []
    cells = [cell for _, comparison in compared for cell in comparison]
    wanted = [cell for cell in cells if cell.strategy == "threads"] or cells
    cpus = max(comparison.environment.cpus for _, comparison in compared)
    workers = max((cell.workers for cell in wanted if cell.workers <= cpus), default=1)
    chosen = [cell.record.key for cell in wanted if cell.workers == workers]
    for key in dict.fromkeys(chosen):
        row: list[str | Value] = [f"{key[0]} {key[1]}" * (key[0] != key[1]) or key[0]]
        for _, comparison in compared:
            cell = next((cell for cell in comparison if cell.record.key == key), None)
            row += ["-", ""] if cell is None else [words.estimate(cell.speedup), cell.verdict.shown()]
        rows.append(tuple(row))
    strategy = wanted[0].strategy if wanted else ""
    titles = columns(f"{strategy} x {workers}", *(title for python, _ in compared for title in (python.name, "")))
    return [section("", *_said_of(compared)), section("", Table(titles, tuple(rows)))]


def _measure() -> None:
    """Measure what the parent asks for; what the work prints goes to standard error."""
    lines = map(json.loads, sys.stdin)
    tell = partial(answer, file=os.dup(1))
    os.dup2(2, 1)

    def gate() -> bool:
        tell("ready")
        return next(lines, None) == "round"

    request = next(lines)
    work: Any = request.pop("work")
    path = request.pop("path")
    try:
        if any(":" in name for name in work):
            sys.path[:0] = path
            module, _, name = work[0].partition(":")
            work = getattr(__import__(module, fromlist=[name]), name)
        session = Session(work, gate=gate, budget=1e6, **request)
        tell({"run": to_json(session.measure().run)})
    except Exception as error:
        tell({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    _measure()
