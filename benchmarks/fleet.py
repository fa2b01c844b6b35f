"""What `gilcmp.fleet` itself costs a host, from 3 hosts to 1000: ``python benchmarks/fleet.py``.

The hosts are simulated: workers of Dask in this process, each with an address of its own in 127/8, whose measurement
is a file that is there already. What remains is the fleet's own: asking every host, gathering, saving, laying side by
side.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import resource
import tempfile
import threading
import time
from pathlib import Path

import dask
from distributed import Client, Scheduler, Worker

import gilcmp
from gilcmp.hosts import running
from gilcmp.show.text import plain

# what a worker does besides: a host has one, this process has a thousand, and would be busy with nothing else
IDLE = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "10 minutes",
    "distributed.admin.tick.interval": "10 minutes",  # each measures every 20 ms whether the event loop is late
    "distributed.admin.tick.limit": "1 hour",
    "distributed.scheduler.worker-ttl": None,
    "distributed.worker.use-file-locking": False,  # each worker would try the locks of all others
    "distributed.comm.timeouts.connect": "5 minutes",
    "distributed.comm.timeouts.tcp": "10 minutes",
    "distributed.worker.memory.terminate": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.monitor-interval": "10 minutes",
}


def simulated(text: str):
    """Return what stands for a host's measurement."""
    return lambda arguments, seconds: {"text": text, "busy": False}


async def hosts(n: int, address: list[str], ready: threading.Event, stop: threading.Event) -> None:
    """Run a scheduler and so many workers until told to stop."""
    async with Scheduler(port=0, host="127.0.0.1", dashboard_address=":0") as scheduler:
        workers = []
        for first in range(0, n, 50):
            batch = [
                Worker(scheduler.address, host=f"127.0.{1 + i // 250}.{1 + i % 250}", nthreads=1, dashboard=False)
                for i in range(first, min(n, first + 50))
            ]
            workers += await asyncio.gather(*batch)
        address.append(scheduler.address)
        ready.set()
        while not stop.is_set():
            await asyncio.sleep(0.05)
        await asyncio.gather(*(worker.close() for worker in workers))


def cost(n: int, text: str) -> tuple[float, float]:
    """Return the seconds that a fleet of so many hosts takes, and those of laying it side by side."""
    address: list[str] = []
    ready, stop = threading.Event(), threading.Event()
    serving = threading.Thread(target=lambda: asyncio.run(hosts(n, address, ready, stop)))
    serving.start()
    if not ready.wait(900):
        raise TimeoutError("the workers do not start")
    try:
        with Client(address[0], timeout=60) as client, tempfile.TemporaryDirectory() as folder:
            running.measure_here = simulated(text)
            began = time.perf_counter()
            found = gilcmp.fleet(client, "compare pi", folder=folder)
            gathered = time.perf_counter() - began
            assert len(found.results) == n, found.failed
            began = time.perf_counter()
            shown = plain(found.overview(), 80)  # as the command shows it
            assert f"{n} answered" in shown
            return gathered, time.perf_counter() - began
    finally:
        stop.set()
        serving.join()


def main() -> None:
    """Print a line for each number of hosts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("hosts", nargs="*", type=int, default=[3, 10, 100, 300, 1000])
    wanted = parser.parse_args().hosts
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # of those that are told to close
    dask.config.set(IDLE)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65536)), hard))
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        gilcmp.compare("pi", budget=2, workers=2).save(file.name)
        text = Path(file.name).read_text(encoding="utf-8")
    print("hosts  gathered  a host  side by side")
    for n in wanted:
        gathered, laid = cost(n, text)
        print(f"{n:5}  {gathered:6.2f} s  {gathered / n * 1e3:4.0f} ms  {laid:6.2f} s")


if __name__ == "__main__":
    main()
