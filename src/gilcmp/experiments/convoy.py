"""An I/O thread beside busy ones."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeAlias

from gilcmp.base.child import ChildError, answer, ask
from gilcmp.base.median import middle
from gilcmp.experiments.claim import CannotTest, Claim, Conditions, Figure, Outcome, Unclear
from gilcmp.probing.probe import switch_interval
from gilcmp.watch import _gil

STOP = b"stop"
REPEATS = 3
NATIVE, LOOP = "a native thread that releases", "one Python loop"
# its name, what each busy thread does, how many there are, and the switch interval in seconds
Case: TypeAlias = tuple[str, Callable[[threading.Event], None] | None, int, float]
STARVES = 0.2  # share of the requests beside a native thread, below which the I/O thread is starved


def _run(conditions: Conditions) -> Outcome:
    judged: list[Case] = [
        (NATIVE, _native, 1, 0.005),
        (LOOP, _loop, 1, 0.005),
    ]
    shown: list[Case] = [
        ("nothing", None, 0, 0.005),
        ("two Python loops", _loop, 2, 0.005),
        ("one Python loop, switch interval 0.5 ms", _loop, 1, 0.0005),
        ("two Python loops, switch interval 0.5 ms", _loop, 2, 0.0005),
    ]
    seen: dict[str, list[dict[str, float]]] = {name: [] for name, *_ in (*judged, *shown)}
    length = max(0.2, conditions.seconds / (REPEATS * len(judged) + len(shown)) - 0.25)
    for cases in (*[judged] * REPEATS, shown):
        with conditions.undisturbed():
            for name, busy, threads, interval in cases:
                with switch_interval(interval), _busy(busy, threads):
                    seen[name].append(_echo(length))
    figures = []
    for name, repeats in seen.items():
        rate, p50, p99 = (middle([repeat[key] for repeat in repeats]) for key in ("rate", "p50", "p99"))
        figures += [
            Figure(f"requests beside {name}", rate, "/s", row=f"beside {name}", column="requests"),
            Figure(f"latency beside {name}, median", p50, "s", row=f"beside {name}", column="latency, median"),
            Figure(f"latency beside {name}, 99 %", p99, "s", row=f"beside {name}", column="99 %"),
        ]
    natives, loops = ([repeat["rate"] for repeat in seen[name]] for name in (NATIVE, LOOP))
    starved = [loop < STARVES * native for native, loop in zip(natives, loops, strict=True)]
    rates = f"{middle(natives):,.0f} requests/s beside a native thread, {middle(loops):,.0f} beside one Python loop"
    if any(starved) and not all(starved):
        raise Unclear(f"{rates}, but the {REPEATS} repeats disagree")
    return conditions.conclude(all(starved), rates, *figures)


def _native(over: threading.Event) -> None:
    while not over.is_set():
        _gil.release_gil(0.01)


def _loop(over: threading.Event) -> None:
    while not over.is_set():
        pass


@contextlib.contextmanager
def _busy(target: Callable[[threading.Event], None] | None, number: int) -> Iterator[None]:
    over = threading.Event()
    threads = [threading.Thread(target=target, args=(over,), name="gilcmp busy") for _ in range(number) if target]
    try:
        for thread in threads:
            thread.start()
        yield
    finally:
        over.set()
        for thread in threads:
            if thread.ident is not None:
                thread.join()


def _echo(seconds: float) -> dict[str, float]:
    """Answer datagrams in a thread of this process, and return what a client in another one saw."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def echo() -> None:
            with contextlib.suppress(OSError):  # an interrupt may close the socket first
                while True:
                    data, sender = server.recvfrom(64)
                    if data == STOP:
                        return
                    server.sendto(data, sender)

        thread = threading.Thread(target=echo, name="gilcmp echo")
        try:
            thread.start()
            port = str(server.getsockname()[1])
            seen: dict[str, float] = ask("-m", "gilcmp.experiments.convoy", port, str(seconds), timeout=30 + seconds)
        except ChildError as error:
            raise CannotTest(f"the client failed: {error}") from None
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closer:
                closer.sendto(STOP, server.getsockname())
            if thread.ident is not None:
                thread.join()
    return seen


def _client(port: int, seconds: float) -> None:
    """Send a datagram, wait for its echo, and so on; print requests a second and latencies (s)."""
    took = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(2.0)
        client.connect(("127.0.0.1", port))
        began = time.perf_counter()
        while (sent := time.perf_counter()) < began + seconds:
            client.send(b"ping")
            client.recv(64)
            took.append(time.perf_counter() - sent)
    ordered = sorted(took)
    n = len(ordered)
    answer({"rate": n / sum(took), "p50": ordered[n // 2], "p99": ordered[min(n - 1, n * 99 // 100)]})


CLAIM = Claim(
    "convoy",
    "One busy thread starves an I/O thread beside it.",
    "A UDP echo on the loopback beside nothing, a native thread, one and two Python loops.",
    _run,
    seconds=6.0,
    why="A thread that comes back from I/O needs the lock, and a busy thread hands it over only after a "
    "switch interval of 5 ms. That is paid for each request.",
    unsaid="It does not follow for a busy thread that runs C code with the lock released: that one is not in the way.",
    code="""import socket, threading, time

def requests_in_a_second():
    here, there = socket.socketpair()
    def echo():
        while data := there.recv(1): there.send(data)
    thread = threading.Thread(target=echo)
    thread.start()
    done, end = 0, time.perf_counter() + 1
    while time.perf_counter() < end:
        here.send(b"x"); here.recv(1); done += 1
    here.close(); thread.join()
    return done

print(f"{requests_in_a_second():7,} requests a second beside nothing")
over = threading.Event()
def spin():
    while not over.is_set(): pass
threading.Thread(target=spin).start()
print(f"{requests_in_a_second():7,} requests a second beside one busy loop")
over.set()
""",
)

if __name__ == "__main__":
    _client(int(sys.argv[1]), float(sys.argv[2]))
