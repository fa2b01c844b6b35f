"""How right `gilcmp.monitor` and `gilcmp attach` are, what they cost, and how other tools see the same program.

    python benchmarks/monitor.py tools      # an extension that holds for 1, 4 and 15 s: four tools side by side
    python benchmarks/monitor.py lines      # is the line right? programs whose lines are known
    python benchmarks/monitor.py watchdog   # 1000 holds in a row: when is each reported?
    python benchmarks/monitor.py quiet      # a busy program that hands over: is it ever reported?
    python benchmarks/monitor.py long       # a million threads and ten thousand forks: memory
    python benchmarks/monitor.py cost       # what it takes, and whether the program is slower

`tools` needs gilknocker and py-spy (`pip install --group peers`), and uses what of them is there.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import psutil

import gilcmp
from gilcmp.judge.estimate import median_in_time
from gilcmp.watch import _gil

ROOT = Path(__file__).parent


def rest(seconds):
    """Wait without the lock."""
    _gil.release_gil(seconds) if seconds < 0.01 else time.sleep(seconds)


# ---- tools: the same program, four ways -----------------------------------------------------------------------------

HOLDER = """
import sys, threading, time
from gilcmp.watch import _gil

seconds, wanted = float(sys.argv[1]), sys.argv[2]
metric = None
if wanted == "gilknocker":
    from gilknocker import KnockKnock
    metric = KnockKnock(1000)
    metric.start()
if wanted == "monitor":
    import gilcmp
    monitor = gilcmp.monitor().start()
time.sleep(0.2)  # the others begin

def extension():
    _gil.hold_gil(seconds)

def idle(stop):
    while not stop.wait(0.01):
        pass

stop = threading.Event()
thread = threading.Thread(target=idle, args=(stop,))
thread.start()
print("up", flush=True)
sys.stdin.readline()
if metric is not None:
    metric.reset_contention_metric()
if wanted == "monitor":
    before = monitor.read()
extension()
if metric is not None:
    time.sleep(0.02)  # it gets the lock now, and counts
    print(f"{metric.contention_metric:.3f}")
if wanted == "monitor":
    after = monitor.read()
    print(f"{(after.held - before.held) / (after.watched - before.watched):.3f} {after.longest_hold.seconds:.3f}")
print("done", flush=True)
stop.set()
thread.join()
"""


def started(seconds, wanted):
    """Start the program that holds; it waits for a line."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(seconds), wanted], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    if child.stdout.readline() != "up\n":
        raise RuntimeError(f"{wanted}: it did not start")
    return child


def go(child):
    child.stdin.write("\n")
    child.stdin.flush()


def by_gilknocker(seconds):
    """Return the share held as gilknocker tells it, and no longest hold."""
    child = started(seconds, "gilknocker")
    go(child)
    share = float(child.stdout.readline())
    child.communicate()
    return share, None


def by_monitor(seconds):
    child = started(seconds, "monitor")
    go(child)
    share, longest = map(float, child.stdout.readline().split())
    child.communicate()
    return share, longest


def by_attach(seconds):
    from gilcmp.monitoring.attach import Attached

    child = started(seconds, "attach")
    with Attached(child.pid) as attached:
        go(child)
        attached.look_for(0.02)
        before = attached.read()
        attached.look_for(seconds - 0.1)
        after = attached.read()
        attached.look_for(0.3)
        longest = attached.read().longest_hold
    child.communicate()
    return (after.held - before.held) / (after.watched - before.watched), longest.seconds if longest else None


def by_py_spy(seconds):
    """Return the share of py-spy's samples in which some thread had the lock; it stops the process for each."""
    child = started(seconds, "py-spy")
    go(child)
    time.sleep(0.05)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "stacks")
        rate, length = 100, max(1, round(seconds - 0.1))
        done = subprocess.run(
            ["py-spy", "record", "--gil", "--native", "-r", str(rate), "-d", str(length), "-f", "raw", "-o", str(path),
             "-p", str(child.pid)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        child.communicate()
        if done.returncode or not path.exists():
            raise RuntimeError(f"py-spy: {done.stderr.strip().splitlines()[-1:]}")
        counts = [int(line.rpartition(" ")[2]) for line in path.read_text().splitlines()]
    return sum(counts) / (rate * length), None


def tools():
    """Print the share held and the longest hold as each tool tells them; the truth is 1 and the seconds."""
    ways = {
        "gilknocker": by_gilknocker,
        "py-spy --gil": by_py_spy,
        "gilcmp.monitor": by_monitor,
        "gilcmp attach": by_attach,
    }
    print(f"{'held for':>9}", *(f"{name:>22}" for name in ways))
    for seconds in (1.0, 4.0, 15.0):
        row = []
        for name, way in ways.items():
            if name.startswith("py-spy") and shutil.which("py-spy") is None:
                row.append("not installed")
                continue
            try:
                share, longest = way(seconds)
            except (RuntimeError, ValueError) as error:
                row.append(str(error)[:22])
                continue
            row.append(f"{share:.1%}" + (f", longest {longest:.2f} s" if longest is not None else ""))
        print(f"{seconds:7.0f} s", *(f"{text:>22}" for text in row), flush=True)


# ---- lines ---------------------------------------------------------------------------------------------------------

PROGRAMS = """
import functools
hold, rest = _gil.hold_gil, _gil.release_gil

def first(): hold(0.003)
def second(): hold(0.001)
def two_functions(): first(); rest(0.003); second(); rest(0.003)

def inner(): hold(0.002)
def middle(): inner()
def outer(): middle(); rest(0.002)

def produce():
    for _ in range(3):
        yield hold(0.001)
def generators(): list(produce()); rest(0.002)

def key(x): hold(0.0005); return x
def from_c(): sorted(range(4), key=key); rest(0.002)

def comprehension(): [hold(0.001) for _ in range(3)]; rest(0.002)

def deeper(n): hold(0.002) if n == 0 else deeper(n - 1)
def recursion(): deeper(15); rest(0.002)

def bytecode():
    n = 0
    for i in range(20000): n += i
"""

#: Of each program: its functions that hold, with the share of the held time that each has.
TRUTH = {
    "two_functions": {"first": 0.75, "second": 0.25},
    "outer": {"inner": 1.0},
    "generators": {"produce": 1.0},
    "from_c": {"key": 1.0},
    "comprehension": {"comprehension": 1.0, "comprehension.<locals>.<listcomp>": 1.0},
    "recursion": {"deeper": 1.0},
    "bytecode": {"bytecode": 1.0},
}


def lines(seconds, pace):
    """Print, for each program, how many of the looks that name a line name a right one, and the shares by function."""
    namespace = {"_gil": _gil}
    with tempfile.NamedTemporaryFile("w", suffix=".py", delete=False) as file:
        file.write(PROGRAMS)
    exec(compile(PROGRAMS, file.name, "exec"), namespace)  # noqa: S102  # the text above
    total = right = named = 0
    worst = 0.0
    for program, truth in TRUTH.items():
        work = namespace[program]
        with gilcmp.monitor(pace=pace) as monitor:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                work()
        found = monitor.read()
        ours = [line for line in found.lines if line.line is not None and line.line.file == file.name]
        elsewhere = sum(line.looks for line in found.lines if line.line is not None and line not in ours)
        # what runs between two native calls is Python's own: any line of the program is right for that
        known = {*truth, program, "middle", "outer", "lines"}
        good = sum(line.looks for line in ours if line.line.function in known) + sum(
            line.looks for line in found.lines if line.line is not None and line.line.function == "lines"
        )
        all_named = sum(line.looks for line in ours) + elsewhere
        all_looks = sum(line.looks for line in found.lines)
        held = sum(line.held for line in ours if line.line.function in truth)
        shares = {name: sum(line.held for line in ours if line.line.function == name) / held for name in truth if held}
        if len(truth) == 2 and program == "two_functions":
            worst = max(worst, *(abs(shares[name] - share) for name, share in truth.items()))
        told = ", ".join(f"{name} {share:.1%}" for name, share in shares.items() if share)
        print(
            f"{program:14} {all_looks:6} looks, {all_named / all_looks:6.1%} name a line, "
            f"{good / all_named:7.2%} of these right; {told}",
            flush=True,
        )
        total, named, right = total + all_looks, named + all_named, right + good
    print(f"all: {named / total:.1%} of {total} looks name a line, {right / named:.2%} of these a right one")
    print(f"worst error of a share: {100 * worst:.1f} points")
    Path(file.name).unlink()


# ---- the watchdog --------------------------------------------------------------------------------------------------


def watchdog(times, limit):
    """Print how late the reports of so many holds came; each hold is native, and 60 ms longer than the limit.

    Another thread wants the lock all the time. The reports go through a pipe to a process that notes when they come.
    """
    reading, writing = os.pipe()
    late = []
    stop = threading.Event()

    def tick():
        while not stop.wait(0.001):
            pass

    other = threading.Thread(target=tick)
    other.start()
    code = (
        "import os, sys, time\n"
        "while chunk := os.read(int(sys.argv[1]), 65536):\n"
        "    now = time.monotonic_ns()\n"
        "    for line in chunk.splitlines():\n"
        "        if b'has held the GIL for' in line:\n"
        "            print(now, flush=True)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(reading)], pass_fds=[reading], stdout=subprocess.PIPE, text=True
    )
    os.close(reading)
    missed = 0
    with gilcmp.monitor(hold=limit, every=0, to=writing):
        os.close(writing)
        for _ in range(times):
            begun = time.monotonic_ns()
            _gil.hold_gil(limit + 0.06)
            time.sleep(0.002)
            late.append(begun)
        time.sleep(0.1)
    stop.set()
    other.join()
    out, _ = child.communicate(timeout=60)
    told = [int(line) for line in out.split()]
    delays = []
    for began, ended in zip(late, [*late[1:], 2**63], strict=True):
        mine = [when for when in told if began <= when < ended]
        missed += not mine
        if mine:
            delays.append((mine[0] - began) / 1e6 - limit * 1e3)
    within = sum(delay <= 20 for delay in delays)
    print(
        f"{times} holds of {1000 * (limit + 0.06):.0f} ms, limit {1000 * limit:.0f} ms: {len(told)} reports, {missed} "
        f"holds without one; {within} within 20 ms of the limit; median {statistics.median(delays):.1f} ms, longest "
        f"{max(delays):.1f} ms, earliest {min(delays):.1f} ms"
    )


def quiet(seconds, limit):
    """Run a busy program whose threads hand over, and print how often it was reported."""
    end = time.monotonic() + seconds

    def count():
        n = 0
        while time.monotonic() < end:
            n += 1

    def wait():
        while time.monotonic() < end:
            time.sleep(0.001)

    with gilcmp.monitor(hold=limit, every=0) as monitor:
        threads = [threading.Thread(target=work) for work in (count, count, wait, wait)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = monitor.read()
    longest = found.longest_hold
    print(
        f"{seconds:.0f} s: {found.hand_overs:,} hand-overs, {found.reports} reports of holds over {limit:g} s; longest "
        f"seen {longest.seconds if longest else 0:.3f} s"
    )


# ---- months --------------------------------------------------------------------------------------------------------


def long(threads, forks):
    """Start and end threads and fork, and print the process's memory now and then."""
    warnings.simplefilter("ignore", DeprecationWarning)
    process = psutil.Process()

    def told(what):
        gc.collect()
        memory = process.memory_info().rss / 1e6
        found = monitor.read()
        print(
            f"{what:>20}: {memory:7.2f} MB, {process.num_fds()} descriptors, {process.num_threads()} threads; "
            f"{len(found.lines)} lines, {len(found.threads)} threads in the figures",
            flush=True,
        )
        return memory

    with gilcmp.monitor(hold=1, on_hold=print) as monitor:
        for _ in range(2000):
            threading.Thread(target=int).start()
        told("after 2,000 threads")
        for part in range(1, 11):
            for _ in range(threads // 10):
                thread = threading.Thread(target=int)
                thread.start()
                thread.join()
            told(f"{part * threads // 10:,} threads")
        for part in range(1, 6):
            for _ in range(forks // 5):
                child = os.fork()
                if not child:
                    os._exit(0)
                os.waitpid(child, 0)
            told(f"{part * forks // 5:,} forks")


# ---- cost ----------------------------------------------------------------------------------------------------------


def cost(pairs):
    """Print the CPUs that watching takes, and how many times as long a program takes with it as without, in pairs."""

    def python():
        n = 0
        for i in range(10_000_000):
            n += i

    def native():
        for _ in range(500):
            _gil.hold_gil(0.0005)
            _gil.release_gil(0.0005)

    def two(work):
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    programs = {
        "one thread, bytecode": python,
        "two threads, bytecode": lambda: two(python),
        "two threads, native": lambda: two(native),
    }
    for name, work in programs.items():
        ratios, costs = [], []
        work()
        for number in range(pairs):
            times = {}
            for watched in (False, True, True, False) if number % 2 else (True, False, False, True):
                monitor = gilcmp.monitor(hold=10, to=None) if watched else contextlib.nullcontext()
                with monitor:
                    began = time.perf_counter()
                    work()
                    times[watched] = times.get(watched, 0) + time.perf_counter() - began
                    if watched:
                        costs.append(monitor.read().cost)
            ratios.append(times[True] / times[False])
        ratio = median_in_time(ratios)
        print(
            f"{name:24} {ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}] times as long; watching took "
            f"{statistics.median(costs):.2%} of a CPU",
            flush=True,
        )


def main():
    """Run one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["tools", "lines", "watchdog", "quiet", "long", "cost"])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--pace", default="2ms")
    parser.add_argument("--times", type=int, default=1000)
    parser.add_argument("--limit", type=float, default=0.1)
    parser.add_argument("--threads", type=int, default=10**6)
    parser.add_argument("--forks", type=int, default=10**4)
    parser.add_argument("--pairs", type=int, default=15)
    given = parser.parse_args()
    print(f"{gilcmp.environment().interpreter}, {gilcmp.environment().cpus:g} CPUs ({gilcmp.environment().cpu})")
    {
        "tools": tools,
        "lines": lambda: lines(given.seconds, given.pace),
        "watchdog": lambda: watchdog(given.times, given.limit),
        "quiet": lambda: quiet(given.seconds, given.limit),
        "long": lambda: long(given.threads, given.forks),
        "cost": lambda: cost(given.pairs),
    }[given.what]()


if __name__ == "__main__":
    main()
