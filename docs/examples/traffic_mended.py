"""What a web server's log says, worked out by several threads: requests, errors, slow pages, and a sample to look at.

    python traffic_mended.py [--threads N] [--lines N]

The log is made up, the same one each time. This is traffic.py of docs/howto/not-faster.md, mended: each thread counts
in a report of its own, and the reports are added up at the end.
"""

from __future__ import annotations

import argparse
import random
import threading
import time
from collections import Counter

PAGES = ("/", "/login", "/search", "/item", "/basket", "/pay", "/help", "/static/logo.png")
AGENTS = ("Firefox", "Chrome", "Safari", "Edge", "curl", "bot")
CHUNK = 500  # lines that a thread takes at a time

# Milliseconds up to which an answer is fast, fine, slow: 12.5, 50.5, 250.5; longer ones are very slow.
BAND_NAMES = ("fast", "fine", "slow", "very slow")


# ---- the log -------------------------------------------------------------------------------------------------------


def made_up_log(lines: int, seed: int = 7) -> list[str]:
    """Return the lines of a log."""
    source = random.Random(seed)
    log = []
    for number in range(lines):
        page = source.choices(PAGES, (30, 8, 20, 22, 9, 4, 2, 5))[0]
        query = f"?q={source.randrange(500)}" if page == "/search" else ""
        status = source.choices((200, 304, 404, 500), (88, 6, 4, 2))[0]
        took = source.lognormvariate(2.5, 1.0)
        size = source.randrange(200, 60_000)
        agent = source.choice(AGENTS)
        address = f"10.{source.randrange(4)}.{source.randrange(256)}.{source.randrange(256)}"
        asked = f'{address} {number // 100 % 86400} "GET {page}{query} HTTP/1.1"'
        log.append(f'{asked} {status} {size} {took:.2f} "{agent}/1.{number % 40}"')
    return log


# ---- a request -----------------------------------------------------------------------------------------------------


class Request:
    """One line of the log."""

    __slots__ = ("address", "agent", "page", "second", "size", "status", "took")

    def __init__(self, line: str) -> None:
        before, request, after, agent, _ = line.split('"')
        self.address, second = before.split()
        self.second = int(second)
        self.page = request.split()[1].partition("?")[0]
        status, size, took = after.split()
        self.status, self.size, self.took = int(status), int(size), float(took)
        self.agent = agent.partition("/")[0]

    @property
    def network(self) -> str:
        """The network that it came from."""
        return ".".join(self.address.split(".")[:2])

    @property
    def band(self) -> int:
        """How fast the answer was, as a number."""
        return (self.took > 12.5) + (self.took > 50.5) + (self.took > 250.5)


# ---- what is counted -----------------------------------------------------------------------------------------------


class Report:
    """What one thread has found in its requests so far."""

    def __init__(self, seed: int = 1) -> None:
        self.chance = random.Random(seed)
        self.requests: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.networks: Counter[str] = Counter()
        self.agents: Counter[str] = Counter()
        self.bands: Counter[int] = Counter()
        self.bytes = 0
        self.slowest: list[tuple[float, str]] = []
        self.sample: list[Request] = []

    def add(self, request: Request) -> None:
        """Count a request."""
        self.requests[request.page] += 1
        if request.status >= 400:
            self.errors[request.page] += 1
        self.networks[request.network] += 1
        self.agents[request.agent] += 1
        self.bands[request.band] += 1
        self.bytes += request.size
        if request.band == 3:
            self.slowest.append((request.took, request.page))
        if self.chance.random() < 0.001:
            self.sample.append(request)

    def merge(self, other: Report) -> None:
        """Add what another thread has found."""
        self.requests += other.requests
        self.errors += other.errors
        self.networks += other.networks
        self.agents += other.agents
        self.bands += other.bands
        self.bytes += other.bytes
        self.slowest += other.slowest
        self.sample += other.sample

    def lines(self) -> list[str]:
        """Return what there is to say, for people."""
        total = self.requests.total()
        said = [f"{total:,} requests, {self.bytes / 1e6:,.1f} MB"]
        for page, count in self.requests.most_common():
            errors = self.errors[page]
            said.append(f"  {page:20} {count:8,} {100 * errors / count:5.1f} % errors")
        for band, name in enumerate(BAND_NAMES):
            said.append(f"  {name:20} {100 * self.bands[band] / total:5.1f} %")
        said.append("networks: " + ", ".join(f"{name} {count:,}" for name, count in self.networks.most_common(4)))
        said.append("agents: " + ", ".join(f"{name} {count:,}" for name, count in self.agents.most_common(6)))
        worst = sorted(self.slowest, reverse=True)[:3]
        said.append("slowest: " + ", ".join(f"{page} {took:.0f} ms" for took, page in worst))
        return said


# ---- the threads ---------------------------------------------------------------------------------------------------


class Work:
    """The lines that are still to be done, a chunk at a time."""

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.next = 0
        self.lock = threading.Lock()

    def take(self) -> list[str]:
        """Return the next lines; none when all are done."""
        with self.lock:
            start = self.next
            self.next += CHUNK
        return self.log[start : start + CHUNK]


def look_through(work: Work, report: Report) -> None:
    """Go through lines until there are none left."""
    while lines := work.take():
        for line in lines:
            report.add(Request(line))


def analysed(log: list[str], threads: int) -> Report:
    """Return what is in the log, worked out by so many threads."""
    work, reports = Work(log), [Report(seed) for seed in range(threads)]
    started = [threading.Thread(target=look_through, args=(work, report)) for report in reports]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    for other in reports[1:]:
        reports[0].merge(other)
    return reports[0]


def main() -> None:
    """Read the command line, and print what is in the log and how long that took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--lines", type=int, default=200_000)
    arguments = parser.parse_args()
    log = made_up_log(arguments.lines)
    began = time.perf_counter()
    report = analysed(log, arguments.threads)
    took = time.perf_counter() - began
    print("\n".join(report.lines()))
    print(f"threads {arguments.threads}: {took:.2f} s, {arguments.lines / took:,.0f} lines a second")


if __name__ == "__main__":
    main()
