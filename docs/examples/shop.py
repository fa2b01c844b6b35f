"""A small web shop of threads, in which one request in a hundred stalls all the others.

    python shop.py --port 8000            # serve
    python shop.py --port 8000 --load     # send requests for ten seconds, and say how long the answers took

This is the service that docs/howto/service.md looks into.
"""

from __future__ import annotations

import argparse
import http.client
import os
import random
import statistics
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CLIENTS = 4
PRICES = [random.random() for _ in range(900_000)]


def item(number: int) -> str:
    """Return the page of an item."""
    return "\n".join(f"<p>{number} costs {price:.2f}</p>" for price in PRICES[number : number + 50])


def best_offers() -> str:
    """Return the page of the cheapest items: it sorts all of them, in C, with the lock held."""
    return "\n".join(f"<p>{price:.2f}</p>" for price in sorted(PRICES)[:10])


class Shop(BaseHTTPRequestHandler):
    """Answers requests, each in a thread of its own."""

    def do_GET(self) -> None:
        """Answer one."""
        time.sleep(0.005)  # the database
        number = int(self.path[1:])
        page = best_offers() if number % 100 == 0 else item(number)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(page.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def load(port: int, seconds: float) -> None:
    """Send requests, and print how long the answers took."""
    took: list[float] = []
    end = time.monotonic() + seconds

    def client(first: int) -> None:
        number = first
        while time.monotonic() < end:
            began = time.perf_counter()
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("GET", f"/{number % 10_000}")
            connection.getresponse().read()
            connection.close()
            took.append(time.perf_counter() - began)
            number += CLIENTS

    clients = [threading.Thread(target=client, args=(first,)) for first in range(CLIENTS)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    parts = statistics.quantiles(took, n=100)
    print(
        f"{len(took)} answers: half of them within {1000 * parts[49]:.0f} ms, 95 % within {1000 * parts[94]:.0f} ms, "
        f"the slowest after {1000 * max(took):.0f} ms"
    )


def main() -> None:
    """Serve, or send requests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--load", action="store_true")
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    if given.load:
        load(given.port, given.seconds)
        return
    server = ThreadingHTTPServer(("127.0.0.1", given.port), Shop)
    print(f"process {os.getpid()} serves on port {server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
