"""What can go wrong, on purpose: broken files, Ctrl-C at any moment, a machine that refuses.

    python benchmarks/faults.py files [--mutants 1000000]   # mutated saved files as text, HTML and whole reports
    python benchmarks/faults.py interrupts [--moments 200]  # Ctrl-C at so many moments of each command

Only clear errors are allowed: a ResultError that names the file; an exit code that the command line documents, without
a traceback, with what was measured saved, and no process left. Exit code 1 and the first cases that were otherwise if
not.
"""

from __future__ import annotations

import argparse
import copy
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

import psutil

import gilcmp
from gilcmp.reporting.report import read_report
from gilcmp.saved.reading import ResultError, without_nan
from gilcmp.saved.run import to_json

# ---- files ----

VALUES = [
    None, True, False, 0, 1, -1, 2, 0.5, -0.0, 1e308, -1e308, 5e-324, 1e9, 1e10, 2**31, 2**63, 2**64, -(2**63), 10**400,
    "", "x", "serial", "threads", "processes", "\u0000", "\x1b[31m", "<script>", "|", "=1+1", "\ud800", "a" * 10_000,
    [], [[]], {}, {"x": 1}, [None], [0] * 100,
]  # fmt: skip


def places(body: object, path: tuple = ()) -> list[tuple]:
    """Every place in parsed JSON."""
    found = [path] if path else []
    pairs = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    for key, value in pairs:
        found += places(value, (*path, key))
    return found


def mutate(body: object, where: list[tuple], numbers: random.Random) -> None:
    """Change one place: another value, away with it, twice, or a value from elsewhere."""
    path = numbers.choice(where)
    at = body
    try:
        for step in path[:-1]:
            at = at[step]
        chance = numbers.random()
        if chance < 0.15:
            del at[path[-1]]
        elif chance < 0.25 and isinstance(at, list):
            at.append(copy.deepcopy(at[path[-1]]))
        elif chance < 0.35 and isinstance(at[path[-1]], int | float):
            at[path[-1]] *= numbers.choice([-1, 0, 2, 1e-9, 1e9])
        else:
            at[path[-1]] = copy.deepcopy(numbers.choice(VALUES))  # it may be changed in its turn
    except (KeyError, IndexError, TypeError, OverflowError):
        return  # an earlier change took the place away


def garble(text: str, numbers: random.Random) -> bytes:
    """Change bytes of the file itself."""
    data = bytearray(text.encode("utf-8", "surrogatepass"))
    for _ in range(numbers.randint(1, 4)):
        at = numbers.randrange(len(data))
        chance = numbers.random()
        if chance < 0.5:
            data[at] = numbers.randrange(256)
        elif chance < 0.75:
            del data[at : at + numbers.randint(1, 40)]
        else:
            data[at:at] = bytes(numbers.randrange(256) for _ in range(numbers.randint(1, 8)))
    return bytes(data)


def shown(path: Path, count: int) -> str:
    """Read a file and show it as text, every tenth as HTML, every fiftieth in a whole report; what became of it."""
    try:
        found = read_report([path])
    except ResultError as error:
        return "refused" if str(path) in str(error) else f"refused without its name: {error}"
    things = [*(one for _, one in (*found.runs, *found.claims)), *found.probes, *found.thresholds]
    for thing in things:
        str(thing)
        if count % 10 == 0:
            thing._repr_html_()
    if count % 50 == 0:
        for _, comparison in found.runs:
            gilcmp.diff(comparison, comparison)
        found.to_html()
        return "shown in a whole report"
    return "shown"


def mutants(number: int, seed: int, sources: dict[str, str]) -> tuple[Counter, list[str]]:
    """Make so many mutants of the saved files and show each; what became of them, and what went wrong."""
    numbers = random.Random(seed)
    outcomes, wrong = Counter(), []
    parsed = {name: (text, json.loads(text)) for name, text in sources.items()}
    where = {name: places(body) for name, (_, body) in parsed.items()}
    with tempfile.TemporaryDirectory() as folder:
        for count in range(number):
            name = numbers.choice(list(sources))
            text, _ = parsed[name]
            if numbers.random() < 0.2:
                data = garble(text, numbers)
            else:
                body = json.loads(text)
                for _ in range(numbers.choice([1, 1, 1, 2, 5])):
                    mutate(body, where[name], numbers)
                data = json.dumps(body).encode()
            path = Path(folder, name)
            path.write_bytes(data)
            try:
                outcome = shown(path, count)
                outcomes[outcome] += 1
                if outcome.startswith("refused w"):
                    wrong.append(outcome)
            except BaseException as error:
                wrong.append(f"seed {seed}, mutant {count}: {type(error).__name__}: {error}")
                Path(tempfile.gettempdir(), f"gilcmp-mutant-{seed}-{count}-{name}").write_bytes(data)
                if len(wrong) > 5:
                    break
    return outcomes, wrong


def small_sources() -> dict[str, str]:
    """A saved file of each kind, measured now and small, so that a million of them can be tried."""
    from attrs import asdict

    run = gilcmp.compare(
        "count", size="small", budget=0.5, workers=2, strategies="threads", implementations="cython_nogil"
    )
    short = json.loads(to_json(run.run))
    for cell in short["cells"]:
        cell["rounds"], cell["latest"] = cell["rounds"][:7], cell["latest"][:3]
    claims = gilcmp.claims(["refcounts"], budget=1.0)
    probe = gilcmp.probe(len, [], budget=0.05)
    return {
        "run.json": json.dumps(short),
        "claims.json": claims.to_json(),
        "probe.json": json.dumps(without_nan([asdict(probe)])),
    }


def files(number: int) -> int:
    sources = small_sources()
    began = time.monotonic()
    outcomes: Counter[str] = Counter()
    wrong = []
    share = min(number, 10_000)
    some = partial(mutants, share, sources=sources)
    with multiprocessing.get_context("spawn").Pool(os.cpu_count() or 1) as pool:
        for seen, lines in pool.imap_unordered(some, range(number // share)):
            outcomes += seen
            wrong += lines
            print(f"{sum(outcomes.values()):,} so far, {len(wrong)} wrong", file=sys.stderr, flush=True)
    told = ", ".join(f"{count:,} {word}" for word, count in sorted(outcomes.items()))
    print(f"{sum(outcomes.values()):,} mutated files in {time.monotonic() - began:.0f} s: {told}; {len(wrong)} wrong")
    print(*wrong[:10], sep="\n")
    return int(bool(wrong))


# ---- interrupts ----

COMMANDS = {
    "compare": ["compare", "count", "--budget", "1s", "--workers", "2", "-q"],
    "probe": ["probe", "sum(range(10000))", "len([])", "--budget", "300ms"],
    "claims": ["claims", "refcounts", "stalls", "--budget", "1s", "-q"],
    "threshold": ["threshold", "dot", "--budget", "1s", "-q"],
    "atlas": ["atlas", "numpy", "--budget", "10ms", "-q"],
    "timeline": ["timeline", "-q"],
}
SCRIPT = "import threading\nfor _ in range(8):\n    threading.Event().wait(0.1)\n"


def interrupts(moments: int, names: list[str], within: float) -> int:
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "script.py")
        script.write_text(SCRIPT)
        for name in names:
            arguments = COMMANDS[name]
            output = Path(folder, f"{name}.json")
            option = ["-o" if name in ("compare", "claims", "timeline") else "--json", str(output)]
            command = [sys.executable, "-m", "gilcmp", arguments[0], *option, *arguments[1:]]
            command += [str(script)] if name == "timeline" else []
            began = time.monotonic()
            subprocess.run(command, capture_output=True, check=False, timeout=120)
            length = min(time.monotonic() - began, within)
            outcomes: Counter[str] = Counter()
            for moment in range(moments):
                outcomes[interrupted(command, output, length * (moment + 0.5) / moments, name)] += 1
            wrong = {word: count for word, count in outcomes.items() if word.startswith("wrong")}
            bad += sum(wrong.values())
            told = ", ".join(f"{count} {word}" for word, count in sorted(outcomes.items()))
            print(f"{name}: {moments} moments of {length:.1f} s: {told}", flush=True)
    return int(bad > 0)


def interrupted(command: list[str], output: Path, after: float, name: str) -> str:
    """Press Ctrl-C for the whole group after so many seconds; return what became of it."""
    output.unlink(missing_ok=True)
    # a group of its own, as in a terminal; a job in a script's background would ignore Ctrl-C
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )  # fmt: skip
    time.sleep(after)
    try:
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    except ProcessLookupError:
        _, errors = process.communicate()
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return "wrong: it hangs"
    left = [p for p in psutil.process_iter(["pid"]) if _group(p) == process.pid]
    _, left = psutil.wait_procs(left, timeout=5)
    if left:
        os.killpg(process.pid, signal.SIGKILL)
        return f"wrong: {len(left)} processes are left"
    if "Traceback" in errors and "gilcmp" not in errors and "script.py" not in errors:
        return "before gilcmp (Python itself was starting)"
    importing = "runpy" in errors and f"gilcmp{os.sep}__main__.py" not in errors  # the package itself
    if "Fatal Python error: init" in errors or ("Traceback" in errors and importing):
        return "before gilcmp (Python itself was starting)"
    if "Traceback" in errors and name != "timeline":
        return f"wrong: a traceback: {' / '.join(errors.split())[-600:]}"
    if process.returncode not in (0, 3, 130, -signal.SIGINT):
        return f"wrong: exit code {process.returncode}: {errors.strip()[-200:]}"
    kept = output.exists()
    if kept:
        try:
            json.loads(output.read_text())
        except ValueError:
            return "wrong: a broken file"
    if process.returncode in (0, 3) and not kept:
        return "wrong: it ended as if complete, and saved nothing"
    return "saved" if kept else "nothing was measured yet"


def _group(process: psutil.Process) -> int:
    try:
        return os.getpgid(process.pid)
    except OSError:
        return -1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kind", choices=["files", "interrupts"])
    parser.add_argument("--mutants", type=int, default=10**6)
    parser.add_argument("--moments", type=int, default=200)
    parser.add_argument("--within", type=float, default=1e9, help="only the first so many seconds of each command")
    parser.add_argument("--command", choices=list(COMMANDS), action="append")
    arguments = parser.parse_args()
    if arguments.kind == "files":
        sys.exit(files(arguments.mutants))
    sys.exit(interrupts(arguments.moments, arguments.command or list(COMMANDS), arguments.within))
