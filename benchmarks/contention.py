"""How far `gilcmp contention` can be trusted, against ground truth, and what looking costs.

    python benchmarks/contention.py truth [--runs 3] [--seconds 1.5] [--only NAME ...]
    python benchmarks/contention.py sweep [--runs 5]
    python benchmarks/contention.py cost [--runs 30]
    python benchmarks/contention.py pauses

``truth``: programs in which two threads share one thing, and the same with a thing for each thread. A preloaded library
(parking_truth.c, compiled for it) times all that the threads sleep and yield. Where the truth is at least 5 % of the
threads' time, the object's type and the line must be named; where nothing is shared, nothing. Printed is also
which part of the truth was attributed.

``sweep``: five programs in which one known thing is in the way without a lock or with one, and five in which none is.

``cost``: the same work in two threads with and without the watcher, in turns.

``pauses``: pauses of the whole world of known length, made by gc.collect in another thread, and what was seen of them.

Needs a free-threaded CPython 3.13 or later, Linux, and a C compiler.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ENOUGH = 0.05  # of the threads' time: what must be named

# name: what is shared, the types that may be named (empty: nothing is contended there by design), and the line
# that wants it
PROGRAMS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "list.append": ("x = []", "x.append(1)", ("list",)),
    "list item": ("x = [0] * 8", "x[3] = 1", ("list",)),
    "dict": ("x = {}", "x['a'] = i", ("dict",)),
    "Counter": ("from collections import Counter\nx = Counter()", "x['a'] += 1",
                ("Counter", "dict", "collections.Counter")),
    "defaultdict": ("from collections import defaultdict\nx = defaultdict(int)", "x['a'] += 1",
                    ("defaultdict", "collections.defaultdict", "dict")),
    "set": ("x = set()", "x.add(i & 7)", ("set",)),
    "deque": ("from collections import deque\nx = deque(maxlen=100)", "x.append(1)", ("collections.deque", "deque")),
    "attribute": ("class C: pass\nx = C()\nx.n = 0", "x.n += 1", ("C", "dict")),
    # what is contended there are the counts of the integers, which one thread makes and another one lets go of
    "slot": ("class C:\n    __slots__ = ('n',)\nx = C()\nx.n = 0", "x.n += 1", ("C", "the queues of reference counts")),
    # all classes share one lock: threads that write to a class each contend as well
    "class attribute": ("class x: n = 0", "x.n = i", ("type", "dict", "the type cache", "x")),
    "Lock": ("import threading\nx = threading.Lock()", "with x: pass", ("_thread.lock",)),
    "Lock, held": ("import threading\nx = threading.Lock()", "with x: sum(range(100))", ("_thread.lock",)),
    "RLock": ("import threading\nx = threading.RLock()", "with x: pass", ("_thread.RLock",)),
    "Queue": ("import queue\nx = queue.Queue()", "x.put(1); x.get()", ("_thread.lock",)),
    "SimpleQueue": ("import queue\nx = queue.SimpleQueue()", "x.put(1); x.get()", ("_queue.SimpleQueue",)),
    "BytesIO": ("import io\nx = io.BytesIO()", "x.seek(0); x.write(b'abc')", ("_io.BytesIO",)),
    "StringIO": ("import io\nx = io.StringIO()", "x.seek(0); x.write('abc')", ("_io.StringIO",)),
    "BufferedWriter": ("import os\nx = open(os.devnull, 'wb')", "x.write(b'abc')", ("_io.BufferedWriter",)),
    "random": ("import random\nx = random.Random(1)", "x.random()", ("Random", "random.Random", "_random.Random")),
    "itertools": ("import itertools\nx = itertools.count()", "next(x)", ("itertools.count",)),
    "logging": ("import logging\nx = logging.Logger('x')\nx.addHandler(logging.NullHandler())\nimport io\n"
                "x.addHandler(logging.StreamHandler(io.StringIO()))", "x.warning('hello')",
                ("_thread.RLock", "_io.StringIO", "dict", "StreamHandler", "Logger", "list", "set")),
    "json": ("import json\nx = {'a': [1, 2, 3]}", "json.dumps(x)", ("dict", "list")),
    "re": ("import re", "re.sub('a', 'b', 'cab')", ("dict",)),
    "hashlib": ("import hashlib\nx = hashlib.sha256()", "x.update(b'abc')",
                ("_hashlib.HASH", "HASH", "_sha2.SHA256Type")),
    "sort": ("x = list(range(1000))", "x.sort()", ("list",)),
    "bytearray": ("x = bytearray(8)", "x[3] = 1", ("bytearray",)),
    "weakref": ("import weakref\nclass C: pass\nx = C()", "weakref.ref(x)", ("the weak references' locks",)),
    "ContextVar": ("import contextvars\nx = contextvars.ContextVar('x')", "x.set(1)", ()),
    # without the lock CPython 3.14.7 itself crashes: a generator is not made for two threads
    "generator, locked": ("import threading\nx = threading.Lock()\ndef g():\n    while True: yield 1\ng = g()",
                          "with x: next(g)", ("_thread.lock",)),
    "NumPy array": ("import numpy\nx = numpy.zeros(8)", "x[3] = 1.0", ()),
    "instance dict": ("class C: pass\nx = C()\nx.__dict__['a'] = 1", "x.a = i; x.b = i", ("C", "dict")),
    "StringIO in print": ("import io\nx = io.StringIO()", "print('a', file=x)", ("_io.StringIO",)),
}  # fmt: skip


def program(name: str) -> str:
    """Return the program's source: its work is the one line that is looked for."""
    setup, work, _ = PROGRAMS[name]
    return f"{setup}\n\ndef work():\n    for i in range(100):\n        {work}\n"


def line_of(name: str) -> int:
    """Return the number of the line that wants the shared thing."""
    return program(name).splitlines().index("    for i in range(100):") + 2


# ---- one program, in a process of its own --------------------------------------------------------------------------


def child(arguments: argparse.Namespace) -> None:
    """Run a program in two threads, watched, and print what was seen beside the truth."""
    from gilcmp.contending.running import PACE, _concluded  # the benchmark of this very function
    from gilcmp.judge.estimate import Estimate
    from gilcmp.measure.crew import Crew
    from gilcmp.watch import _gil
    from gilcmp.watch.waits import LIBRARY, read

    truth = ctypes.CDLL(arguments.library)
    source = program(arguments.child)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "shared.py")
        path.write_text(source)

        def made() -> Callable[[], None]:
            space: dict[str, Any] = {"__name__": "shared", "__file__": str(path)}
            exec(compile(source, str(path), "exec"), space)  # noqa: S102
            work: Callable[[], None] = space["work"]
            return work

        with Crew(2, pinned=True) as crew:
            works = crew.run([made, made]) if arguments.private else [made()] * 2
            for _ in range(2):  # warm: caches of types, attributes and bytecode
                crew.run([lambda work=work: _gil.call_for(work, (), {}, 0.1, 10**9) for work in works])
            numbers = crew.run([threading.get_native_id] * 2)

            def measured(work: Callable[[], None]) -> tuple[int, int, float]:
                values = [ctypes.c_int64(), ctypes.c_int64(), ctypes.c_uint64(), ctypes.c_int64()]
                number = threading.get_native_id()
                references = [ctypes.byref(value) for value in values]
                truth.truth_take(ctypes.c_int64(number), *references)
                _, took = _gil.call_for(work, (), {}, arguments.seconds, 10**9)
                truth.truth_take(ctypes.c_int64(number), *references)
                return values[0].value, values[1].value, took

            watcher = _gil.Contention(PACE, LIBRARY.encode(), without_caller=True)
            watcher.count(False)
            spent = crew.run([lambda work=work: measured(work) for work in works], lambda: watcher.count(True))
            watcher.count(False)
            data = watcher.stop()
        assert data is not None
        seen = read(data, set(numbers))
        roots = works[0].__globals__  # type: ignore[attr-defined]
        nothing = Estimate(float("nan"), float("nan"), float("nan"), 0)
        found = _concluded(
            arguments.child, seen, 2, nothing, {k: v for k, v in roots.items() if not k.startswith("__")}
        )
    total = sum(took for _, _, took in spent)
    print(
        json.dumps(
            {
                "parked": sum(parked for parked, _, _ in spent) / 1e9 / total,
                "yielded": sum(yielded for _, yielded, _ in spent) / 1e9 / total,
                "locks": [
                    {
                        "type": lock.type,
                        "name": lock.name,
                        "line": lock.line,
                        "share": lock.share,
                        "spinning": lock.spinning,
                        "parked": lock.parked,
                    }
                    for lock in found.locks
                ],
                "shares": dict(found.shares),
            }
        )
    )


def run_child(library: Path, name: str, seconds: float, *, private: bool) -> dict[str, Any]:
    """Run a program in a process with the library preloaded."""
    command = [sys.executable, __file__, "truth", "--child", name, "--library", str(library), "--seconds", str(seconds)]
    done = subprocess.run(
        [*command, *(["--private"] if private else [])],
        env={**os.environ, "LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if done.returncode:
        raise SystemExit(f"{name}: ended with {done.returncode}: {done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def truth(arguments: argparse.Namespace) -> None:
    """Compare what was seen with the truth, for all programs."""
    from rich.console import Console
    from rich.table import Table

    if arguments.child:
        child(arguments)
        return
    table = Table(
        "program", "truth parked", "yielded", "seen asleep", "spinning", "attributed", "named", "private: named"
    )
    wanted = rightly = private_named = private_runs = 0
    parts = []
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "parking_truth.so")
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, HERE / "parking_truth.c", "-ldl"], check=True)
        for name in arguments.only or PROGRAMS:
            types = PROGRAMS[name][2]
            runs = [run_child(library, name, arguments.seconds, private=False) for _ in range(arguments.runs)]
            own = [run_child(library, name, arguments.seconds, private=True) for _ in range(arguments.runs)]
            named = []
            for run in runs:
                real = run["parked"] + run["yielded"]
                seen = sum(lock["share"] for lock in run["locks"])
                if real >= ENOUGH:
                    best = run["locks"][0] if run["locks"] else {"type": "nothing", "line": 0}
                    right = best["type"] in types and best["line"] == line_of(name)
                    wanted += 1
                    rightly += right
                    named.append("right" if right else f"{best['type']}:{best['line'] - line_of(name):+d}")
                    parts.append(seen / real)
                else:
                    named.append("(below 5 %)")
            # where even they wait by the truth, naming it is right
            idle = [run for run in own if run["parked"] + run["yielded"] < ENOUGH]
            false = [lock["type"] for run in idle for lock in run["locks"][:1] if lock["share"] >= 0.02]
            private_named += len(false)
            private_runs += len(idle)

            def middle(get: Callable[[dict[str, Any]], float], of: list[dict[str, Any]] = runs) -> float:
                return statistics.median(map(get, of))

            real = middle(lambda run: run["parked"] + run["yielded"])
            seen = middle(lambda run: sum(lock["share"] for lock in run["locks"]))
            table.add_row(
                name,
                f"{middle(lambda run: run['parked']):.1%}",
                f"{middle(lambda run: run['yielded']):.1%}",
                f"{middle(lambda run: sum(lock['parked'] for lock in run['locks'])):.1%}",
                f"{middle(lambda run: sum(lock['spinning'] for lock in run['locks'])):.1%}",
                f"{seen / real:.2f}" if real >= ENOUGH else "-",
                ", ".join(dict.fromkeys(named)),
                ", ".join(dict.fromkeys(false)) or "nothing",
            )
    Console(width=150).print(table)
    print(f"named rightly: {rightly} of {wanted} runs in which at least {ENOUGH:.0%} went there; ", end="")
    print(f"with a thing for each thread, and less than that, something was named in {private_named} of {private_runs}")
    if parts:
        print(
            f"part of the truth that was attributed: median {statistics.median(parts):.2f}, "
            f"{min(parts):.2f} to {max(parts):.2f}"
        )


# ---- the sweep -----------------------------------------------------------------------------------------------------

SWEEPS = """
import logging, threading

def argument(items):
    for _ in range(100):
        items.append(1)
    del items[:]

TABLE = {"a": 0.5}

def a_global():
    total = 0.0
    for _ in range(100):
        TABLE["a"] = total
    return None

class Counter:
    def __init__(self):
        self.n = 0
    def count(self):
        for _ in range(100):
            self.n += 1

def closure():
    results = []
    def work():
        for _ in range(100):
            results.append(1)
        del results[:]
    return work

log = logging.getLogger("benchmark of gilcmp")
log.propagate = False
log.addHandler(logging.NullHandler())

def a_logger():
    for _ in range(20):
        log.warning("hello")

# ---- and without

def private_list(n):
    items = []
    for i in range(n):
        items.append(i)

def arithmetic(n):
    x = 0.5
    for i in range(n):
        x = x * 1.1 % 1.7

LIMIT = 50

def small_global():
    n = 0
    for _ in range(200):
        n += LIMIT

def calls(n):
    for _ in range(n):
        abs(n)

def closure_unused():
    limit = 1000
    def work():
        n = limit
        for i in range(100):
            n -= i
    return work
"""


def sweep(arguments: argparse.Namespace) -> None:
    """Let the sweep find known things, and nothing where nothing is shared."""
    from rich.console import Console
    from rich.table import Table

    from gilcmp.contending.isolation import isolate

    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "swept_programs.py").write_text(SWEEPS)
        sys.path.insert(0, folder)
        import swept_programs as programs  # type: ignore[import-not-found]

        cases: list[tuple[str, Callable[..., Any], tuple[Any, ...], str | None]] = [
            ("argument", programs.argument, ([],), "items"),
            ("global", programs.a_global, (), "TABLE"),
            ("attribute", programs.Counter().count, (), "Counter"),
            ("closure", programs.closure(), (), "results"),
            ("logger", programs.a_logger, (), "log"),
            ("private list", programs.private_list, (100,), None),
            ("arithmetic", programs.arithmetic, (200,), None),
            ("small global", programs.small_global, (), None),
            ("calls", programs.calls, (200,), None),
            ("closure of a number", programs.closure_unused(), (), None),
        ]
        table = Table("shared", "found rightly", "something else", "nothing", "times as slow")
        for name, function, args, wanted in cases:
            right = wrong = nothing = 0
            slow = []
            for _ in range(arguments.runs):
                found = isolate(function, args, {}, 2)
                culprits = [thing.name for thing in found.culprits]
                right += bool(culprits and culprits[0] == wanted)
                wrong += bool(culprits and culprits[0] != wanted)
                nothing += not culprits
                slow.append(found.shared.value)
            table.add_row(name, str(right), str(wrong), str(nothing), f"{statistics.median(slow):.2f}")
    Console(width=120).print(table)


# ---- what it costs -------------------------------------------------------------------------------------------------


def cost(arguments: argparse.Namespace) -> None:
    """Time the same work with and without the watcher, in turns."""
    from gilcmp.contending.running import PACE
    from gilcmp.judge.estimate import median_in_time
    from gilcmp.measure.crew import Crew
    from gilcmp.watch import _gil
    from gilcmp.watch.waits import LIBRARY

    sources = {
        "nothing shared": "def work():\n    x = 0\n    for i in range(1000):\n        x += i",
        "one list": "x = []\ndef work():\n    for i in range(1000):\n        x.append(i)\n    del x[:]",
        "one lock": "import threading\nx = threading.Lock()\n"
        "def work():\n    for i in range(300):\n        with x: pass",
    }
    for name, source in sources.items():
        space: dict[str, Any] = {}
        exec(source, space)  # noqa: S102
        for size in (1, 2):
            with Crew(size, pinned=size > 1) as crew:

                def rate(*, watched: bool) -> float:
                    watcher = _gil.Contention(PACE, LIBRARY.encode(), without_caller=True) if watched else None
                    spent = crew.run([lambda: _gil.call_for(space["work"], (), {}, 0.1, 10**9)] * size)  # noqa: B023
                    if watcher is not None:
                        watcher.stop()
                    return sum(n / seconds for n, seconds in spent)

                ratios = []
                for _ in range(arguments.runs):
                    first, second, third, fourth = (rate(watched=w) for w in (False, True, True, False))
                    ratios.append((first + fourth) / (second + third))
            print(
                f"{name}, {size} thread{'s' * (size > 1)}: {median_in_time(ratios)} times as slow while it is watched"
            )


def pauses(arguments: argparse.Namespace) -> None:
    """Compare pauses for the garbage collector with what was seen of them."""
    import gc

    import gilcmp

    gc.disable()
    kept = [[i] for i in range(300_000)]
    stop = threading.Event()

    def compute() -> None:
        while not stop.is_set():
            sum(range(10_000))

    others = [threading.Thread(target=compute) for _ in range(1)]
    for other in others:
        other.start()
    spent = 0.0
    with gilcmp.contention() as found:
        until = time.perf_counter() + 3
        while time.perf_counter() < until:
            began = time.perf_counter()
            gc.collect()
            spent += time.perf_counter() - began
            time.sleep(0.02)
    stop.set()
    for other in others:
        other.join()
    seen = found.result
    print(f"{len(kept)} lists; gc.collect took {spent / seen.seconds:.1%} of the time; seen: {seen.pauses}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for command, runs in ((truth, 3), (sweep, 5), (cost, 30), (pauses, 1)):
        sub = commands.add_parser(command.__name__)
        sub.set_defaults(run=command)
        sub.add_argument("--runs", type=int, default=runs)
        if command is truth:
            sub.add_argument("--seconds", type=float, default=1.5)
            sub.add_argument("--only", nargs="*", choices=PROGRAMS)
            sub.add_argument("--child", help=argparse.SUPPRESS)
            sub.add_argument("--library", help=argparse.SUPPRESS)
            sub.add_argument("--private", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
