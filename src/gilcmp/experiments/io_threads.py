"""Threads that wait."""

from __future__ import annotations

from functools import partial

from gilcmp.compute.loopback import LoopbackServer
from gilcmp.compute.waiting import fetch_blocking
from gilcmp.experiments.claim import Claim, Conditions, Figure, Outcome, above, settled
from gilcmp.measure.compare import compare

LATENCY = 0.03  # seconds until the server answers
FETCHES = 5
A_GAIN = 2.0  # speed-up of five fetches from which it is a help


def fetch(url: str, number: int) -> int:
    """Fetch one page with urllib."""
    return fetch_blocking(url, number, number + 1)


def _run(conditions: Conditions) -> Outcome:
    with LoopbackServer(LATENCY) as server:
        comparison = compare(
            {"urllib": partial(fetch, server.url)},
            tasks=range(FETCHES),
            strategies="threads",
            workers=FETCHES,
            budget=max(0.2, conditions.seconds - 0.5),
        )
    cell = settled(comparison["threads", FETCHES])
    return conditions.conclude(
        above(cell.speedup, A_GAIN),
        f"{FETCHES} threads fetched {cell.speedup.value:.1f} times as fast as one after the other",
        Figure.of(f"speed-up of {FETCHES} threads", cell.speedup, "x"),
        Figure("a fetch, one after the other", comparison["serial"].time.value, "s"),
        Figure.of("CPUs kept busy", cell.cores),
    )


CLAIM = Claim(
    "io-threads",
    "For I/O, threads help.",
    "Five fetches with urllib from a server on the loopback that answers after 30 ms: in a row, and in threads.",
    _run,
    seconds=4.0,
    why="A thread releases the lock before it waits for a socket, a file or a sleep, and asks for it again "
    "afterwards. Five waits then pass side by side.",
    unsaid="It does not follow that what is done with the answers runs in parallel: parsing them usually holds "
    "the lock.",
    code="""import threading, time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import urlopen

class Slow(BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(0.2)
        self.send_response(200)
        self.end_headers()
    def log_message(self, *arguments): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
threading.Thread(target=server.serve_forever, daemon=True).start()
fetch = lambda _: urlopen(f"http://127.0.0.1:{server.server_port}").read()
began = time.perf_counter()
for number in range(5): fetch(number)
print(f"five fetches in a row:     {time.perf_counter() - began:.2f} s")
began = time.perf_counter()
with ThreadPoolExecutor(5) as pool: list(pool.map(fetch, range(5)))
print(f"five fetches in 5 threads: {time.perf_counter() - began:.2f} s")
""",
)
