"""The native watchers beside forks, signals, ending threads and garbage collection, from eight threads at once.

    python benchmarks/stress.py [--rounds 100000] [--seed 0] [--no-forks]

Each round one thread does one thing at random with the watchers that it keeps, or with the process. At the end: what
was done; whether threads, descriptors and memory are as before; whether a Python loop takes as long as before; exit
code 1 if anything hung, failed or was left. A round that takes more than a minute is a hang: the stacks of all threads
are printed, and the program ends.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter

import psutil

import gilcmp
from gilcmp.watch import _gil

THREADS = 8
HANG = 60.0  # seconds
KEPT = 4  # watchers that a thread has at a time
MEGABYTE = 2**20


def make(numbers: random.Random) -> object:
    pace = numbers.choice([0.0, 1e-6, 1e-4, 1e-3, 10.0])
    kind = numbers.randrange(4)
    if kind == 0:
        return _gil.Sampler(pace, numbers.choice([1e-3, 1.0]))
    if kind == 1:
        return _gil.Waiter(max(pace, 1e-6), 100)
    if kind == 2:
        return _gil.Recorder(max(pace, 5e-6), 100)
    return gilcmp.timeline(keep=100).__enter__()


def end(watcher: object) -> None:
    if isinstance(watcher, gilcmp.Timeline):
        watcher.__exit__()
    else:
        watcher.stop()


def in_child(kept: list[object]) -> int:
    """What a forked child does: its parent's watchers are not its own, and it can have some."""
    for watcher in kept:
        if not isinstance(watcher, gilcmp.Timeline) and watcher.stop() is not None:
            return 1
    kept.clear()
    own = [_gil.Sampler(0.0, 1.0), _gil.Recorder(1e-4, 10), _gil.Waiter(1e-4, 10)]
    return int(any(watcher.stop() is None for watcher in own))


class Stress:
    """What the threads share: the counts, and what went wrong."""

    def __init__(self, rounds: int, seed: int, *, forks: bool) -> None:
        self.left, self.seed, self.forks = rounds, seed, forks
        self.done: Counter[str] = Counter()
        self.failures: list[str] = []
        self.lock = threading.Lock()
        # Starting a process polls all others (multiprocessing.process._cleanup): it may take the exit status from
        # a join in another thread, which then reads 255.
        self.one_process = threading.Lock()
        self.since = dict.fromkeys(range(THREADS), time.monotonic())

    def take(self) -> bool:
        with self.lock:
            self.left -= 1
            return self.left >= 0

    def thread(self, number: int) -> None:
        numbers = random.Random(self.seed * 1000 + number)
        kept: list[object] = []
        while self.take() and not self.failures:
            self.since[number] = time.monotonic()
            try:
                what = self.round(numbers, kept)
            except Exception as error:
                self.failures.append(f"thread {number}: {type(error).__name__}: {error}")
                break
            with self.lock:
                self.done[what] += 1
        for watcher in kept:
            end(watcher)
        self.since.pop(number)

    def round(self, numbers: random.Random, kept: list[object]) -> str:  # noqa: PLR0912  # a list of things to do
        chance = numbers.random()
        if chance < 0.40:
            if len(kept) >= KEPT:
                end(kept.pop(numbers.randrange(KEPT)))
            kept.append(make(numbers))
            return "start"
        if chance < 0.62:
            if kept:
                end(kept.pop(numbers.randrange(len(kept))))
            return "stop"
        if chance < 0.70:
            if kept:
                cycle = [kept.pop()]  # dropped without being stopped, in a cycle
                cycle.append(cycle)
            return "drop"
        if chance < 0.76:
            _gil.pause_all()
            _gil.resume_all()
            return "pause"
        if chance < 0.80:
            gc.collect()
            return "collect"
        if chance < 0.85:
            os.kill(os.getpid(), signal.SIGUSR1)
            return "signal"
        if chance < 0.91:
            thread = threading.Thread(target=lambda: kept.append(make(numbers)))  # it ends, its watcher goes on
            thread.start()
            thread.join()
            while len(kept) > KEPT:
                end(kept.pop(0))
            return "thread"
        if chance < 0.96 or not self.forks:
            (_gil.release_gil if numbers.random() < 0.5 else _gil.hold_gil)(numbers.random() * 1e-3)
            return "work"
        if chance < 0.995:
            return self.fork(numbers, kept)
        if chance < 0.9985:
            subprocess.run([sys.executable, "-S", "-E", "-c", ""], check=True, timeout=HANG)
            return "subprocess"
        method = numbers.choice(multiprocessing.get_all_start_methods())
        with self.one_process:
            process = multiprocessing.get_context(method).Process(target=int)
            process.start()
            process.join(HANG)
        code = process.exitcode
        if code != 0:
            raise RuntimeError(f"a process started by {method} ended with {code}")
        process.close()  # its file would stay open until the object is freed, which without a GIL may be later
        return f"process ({method})"

    def fork(self, numbers: random.Random, kept: list[object]) -> str:
        execute = numbers.random() < 0.2
        child = os.fork()
        if child == 0:
            try:
                faulthandler.dump_traceback_later(HANG, exit=True)
                if execute:
                    os.execv("/bin/true", ["true"])  # noqa: S606  # exec is the point
                os._exit(in_child(kept))
            finally:
                os._exit(3)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code:
            raise RuntimeError(f"a forked child ended with {code}")
        return "fork and exec" if execute else "fork"


def loop_time() -> float:
    """CPU seconds of a Python loop, the best of ten: what slows the interpreter down for good shows here."""

    def once() -> float:
        began = time.thread_time()
        for _ in range(200_000):
            pass
        return time.thread_time() - began

    return min(once() for _ in range(10))


def settled(count: object, wanted: int) -> int:
    """Return a count when it has come down to what is wanted, or after ten seconds."""
    deadline = time.monotonic() + 10
    while count() > wanted and time.monotonic() < deadline:
        _gil.release_gil(1e-3)
    return count()


def open_files() -> int:
    """Count the open files, without those of objects that are free: without a GIL those may be freed later."""
    gc.collect()
    return psutil.Process().num_fds()


def run(rounds: int, seed: int, *, forks: bool) -> int:
    warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
    signal.signal(signal.SIGUSR1, lambda *_: None)
    this = psutil.Process()
    for method in multiprocessing.get_all_start_methods() if forks else ():  # what these start once stays
        process = multiprocessing.get_context(method).Process(target=int)
        process.start()
        process.join()
    Stress(200, seed, forks=forks).thread(0)
    gc.collect()
    threads, files, memory, speed = this.num_threads(), this.num_fds(), this.memory_info().rss, loop_time()
    stress = Stress(rounds, seed, forks=forks)
    began = time.monotonic()
    workers = [threading.Thread(target=stress.thread, args=(number,)) for number in range(THREADS)]
    for worker in workers:
        worker.start()
    told = 0
    while any(worker.is_alive() for worker in workers):
        if rounds - stress.left >= told + 10_000:
            told = rounds - stress.left
            print(f"{told:,} rounds in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        workers[0].join(0.2) if workers[0].is_alive() else next(w for w in workers if w.is_alive()).join(0.2)
        if any(time.monotonic() - since > HANG for since in list(stress.since.values())):
            print("hangs", dict(stress.done), flush=True)
            faulthandler.dump_traceback(all_threads=True)
            os._exit(1)
    gc.collect()
    took = time.monotonic() - began
    more_threads = settled(this.num_threads, threads) - threads
    more_files = settled(open_files, files) - files
    more_memory = (this.memory_info().rss - memory) / MEGABYTE
    slower = loop_time() / speed
    print(f"{sum(stress.done.values()):,} rounds in {took:.0f} s on Python {sys.version.split()[0]}:", end=" ")
    print(", ".join(f"{name} {count:,}" for name, count in sorted(stress.done.items())))
    print(
        f"threads {more_threads:+d}, descriptors {more_files:+d}, memory {more_memory:+.1f} MB, "
        f"a Python loop takes {slower:.2f} times as long; failures: {'; '.join(stress.failures) or 'none'}"
    )
    bad = stress.failures or more_threads > 0 or more_files > 0 or more_memory > 50 or slower > 10
    return 1 if bad else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-forks", action="store_true", help="neither forks nor other processes")
    arguments = parser.parse_args()
    sys.exit(run(arguments.rounds, arguments.seed, forks=not arguments.no_forks))
