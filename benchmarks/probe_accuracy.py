"""How exact the probe is, beside its peers: ``python benchmarks/probe_accuracy.py`` (pip install . --group peers).

Ground truth is native code that holds the GIL for a known share of each period and measures that share with the
clock (`gilcmp.watch._gil.alternate`). gilcmp gets 0.5 s a case. Peers get 3 s each, in a process of their own, at their
best settings; those that are not installed, or fail here, are named. What each costs is the time that a fixed
amount of work takes beside it, over the time without, alternating.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import gilcmp
from gilcmp.base.median import middle
from gilcmp.probing.probe import best_pace
from gilcmp.watch import _gil

PERIODS = (40e-6, 1e-3, 10e-3)
DUTIES = (0.0, 0.10, 0.25, 0.50, 0.75, 0.90, 1.0)
OURS, THEIRS = 0.5, 3.0
PEERS = ("gilknocker", "gil_load", "py-spy", "profiling.sampling")


class Truth:
    """Alternates, and notes what the share of each call really was."""

    def __init__(self, period: float, duty: float, once: float) -> None:
        self.arguments = (duty * period, (1 - duty) * period, once)
        self.shares: list[float] = []

    def __call__(self) -> None:
        self.shares.append(_gil.alternate(*self.arguments))


def ours() -> list[dict[str, float]]:
    """Probe every case."""
    rows = []
    for period in PERIODS:
        for duty in DUTIES:
            truth = Truth(period, duty, 0.05)
            found = gilcmp.probe(truth, budget=OURS)
            # the first call sets the scale, `found.calls` were watched; beside the later ones others ask for the lock
            watched = truth.shares[1 : 1 + found.calls]
            rows.append(
                {"period": period, "duty": duty, "truth": sum(watched) / len(watched), "held": found.held.value,
                 "low": found.held.low, "high": found.held.high}
            )  # fmt: skip
    return rows


# ---- peers, each in a process of its own ----


def child(peer: str, period: float, duty: float, seconds: float) -> None:
    """Alternate beside a peer that lives in this process, and print truth and figure as JSON."""
    truth = Truth(period, duty, seconds)
    figure = None
    if peer == "gilknocker":
        import gilknocker

        knocker = gilknocker.KnockKnock(100, 10, 1000)  # of the settings tried, the one nearest to the truth
        knocker.start()
        truth()
        figure = knocker.contention_metric
        knocker.stop()
    elif peer == "gil_load":
        import gil_load

        gil_load.init()
        gil_load.start(av_sample_interval=50e-6)
        truth()
        gil_load.stop()
        figure = float(gil_load.get()[0]["held"])
    else:  # one that looks in from outside
        print("ready", flush=True)
        truth()
    print(json.dumps({"truth": truth.shares[0], "figure": figure}))


def work(amount: int) -> None:
    """Do a fixed amount of work, half of it with the GIL released, and print the seconds it took."""
    from gilcmp import _kernels

    began = time.perf_counter()
    for _ in range(amount):
        _kernels.count_gil(400_000)
        _kernels.count_nogil(400_000)
    print(time.perf_counter() - began)


def command(peer: str, *arguments: str) -> list[str]:
    """Return the command that runs this file beside a peer."""
    module = ["-m", "gil_load"] if peer == "gil_load" else []
    return [sys.executable, *module, str(Path(__file__).resolve()), *arguments]


def from_inside(peer: str, period: float, duty: float) -> tuple[float, float]:
    done = subprocess.run(
        command(peer, "--child", peer, str(period), str(duty), str(THEIRS)),
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["failed"])[-1])
    result = json.loads(done.stdout.splitlines()[-1])
    return result["truth"], result["figure"]


def from_outside(peer: str, period: float, duty: float) -> tuple[float, float]:
    """Let py-spy or profiling.sampling look at a child, counting only what has the GIL."""
    arguments = ["--child", "outside", str(period), str(duty), str(THEIRS + 1)]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "samples"
        process = subprocess.Popen(command("", *arguments), stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        tool = outside_tool(peer, process.pid, THEIRS, str(out))
        try:
            done = subprocess.run(tool, capture_output=True, text=True, timeout=60, check=False)
            rest = process.communicate(timeout=60)[0]
        finally:
            process.kill()
        if done.returncode or not out.exists():
            raise RuntimeError((done.stderr.strip().splitlines() or ["no samples"])[-1])
        samples = sum(int(line.rsplit(" ", 1)[1]) for line in out.read_text().splitlines() if line.strip())
    # py-spy says nothing of looks at which nobody had the lock: there the rate asked for has to do
    told = re.search(r"Captured ([\d,]+) samples", done.stdout)
    looks = int(told[1].replace(",", "")) if told else 500 * THEIRS
    return json.loads(rest.splitlines()[-1])["truth"], samples / looks


def outside_tool(peer: str, pid: int, seconds: float, out: str) -> list[str]:
    """Return the command that looks into a process from outside and writes collapsed stacks."""
    if peer == "py-spy":
        options = ["record", "--gil", "-r", "500", "-f", "raw", "-o", out, "-d", str(int(seconds))]
        return [py_spy(), *options, "-p", str(pid)]
    options = ["attach", "--mode", "gil", "-r", "10000", "--collapsed", "-o", out, "-d", str(int(seconds))]
    return [sys.executable, "-m", "profiling.sampling", *options, str(pid)]


def available(peer: str) -> str | None:
    """Say why a peer cannot be measured here; None where it can."""
    try:
        if peer in ("gilknocker", "gil_load"):
            from_inside(peer, 1e-3, 0.5)
        elif peer == "profiling.sampling" and sys.version_info < (3, 15):
            return "from Python 3.15 on"
        else:
            from_outside(peer, 1e-3, 0.5)
    except subprocess.TimeoutExpired:
        return "it hung"
    except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
        return str(error)
    return None


def worst_error(measure: Callable[[str, float, float], tuple[float, float]], peer: str, period: float) -> str:
    """Return the worst error of a peer over the duties, in points; a case in which it fails is worse than any."""
    errors = []
    for duty in DUTIES:
        try:
            truth, figure = measure(peer, period, duty)
        except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
            return f"{'hung' if isinstance(error, subprocess.TimeoutExpired) else 'failed':>11}"
        errors.append(abs(figure - truth) * 100)
    return f"{max(errors):11.2f}"


def slowdown(tool: str) -> float:
    """What a tool costs a program: the time of fixed work beside it over the time without, median."""
    return cost_inside(tool) if tool in ("gilcmp", "gilknocker", "gil_load") else cost_outside(tool)


def cost_inside(tool: str) -> float:
    """Switch a tool of this process on and off, every 15 ms of work."""
    done = subprocess.run(command(tool, "--cost", tool), capture_output=True, text=True, timeout=120, check=False)
    return float(done.stdout.split()[-1]) if done.returncode == 0 and done.stdout else float("nan")


def cost_inside_child(tool: str) -> None:
    ratios = []
    for _ in range(150):
        before = stroke()
        stop = start_inside(tool)
        beside = stroke()
        stop()
        ratios.append(2 * beside / (before + stroke()))
    print(middle(ratios))


def stroke() -> float:
    from gilcmp import _kernels

    began = time.perf_counter()
    for _ in range(60):
        _kernels.count_gil(100_000)
        _kernels.count_nogil(100_000)
    return time.perf_counter() - began


def start_inside(tool: str) -> Callable[[], object]:
    """Start a tool in this process, and return what stops it."""
    if tool == "gilcmp":
        return _gil.Sampler(best_pace(), 5.0).stop
    if tool == "gilknocker":
        import gilknocker

        knocker = gilknocker.KnockKnock(100, 10, 1000)  # of the settings tried, the one nearest to the truth
        knocker.start()
        return knocker.stop
    import gil_load

    gil_load.init()
    gil_load.start(av_sample_interval=50e-6)
    return gil_load.stop


def cost_outside(tool: str, triples: int = 15) -> float:
    """Time of a fixed amount of work beside a tool over the time without, median.

    Each is between two without, so that a slow drift of the machine's speed falls out.
    """
    ratios = []
    for _ in range(triples):
        before, beside, after = (timed_work(which) for which in ("", tool, ""))
        ratios.append(2 * beside / (before + after))
    return middle(ratios)


def timed_work(tool: str) -> float:
    done = subprocess.run(
        command(tool, "--work", tool or "none"), capture_output=True, text=True, timeout=60, check=True
    )
    return float(done.stdout.split()[-1])


def work_beside(tool: str) -> None:
    """Let a tool that looks in from outside attach to this process (or not), then do the work."""
    if tool == "none":
        return work(800)
    command_line = outside_tool(tool, os.getpid(), 60, os.devnull)
    watching = subprocess.Popen(command_line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(1)  # until it has attached
    work(800)
    return watching.kill()


def py_spy() -> str:
    """Return py-spy's path: beside this interpreter, or on the path."""
    here = Path(sys.executable).parent / "py-spy"
    return str(here) if here.exists() else "py-spy"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--cost", help=argparse.SUPPRESS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--peers", default=",".join(PEERS), help="which peers; empty: gilcmp alone")
    arguments = parser.parse_args()
    if arguments.child:
        peer, period, duty, seconds = arguments.child
        return child(peer, float(period), float(duty), float(seconds))
    if arguments.cost:
        return cost_inside_child(arguments.cost)
    if arguments.work:
        return work_beside(arguments.work)

    rows = ours()
    print(f"gilcmp, {OURS} s a case (points of the held share):")
    print("  period    duty   truth    held  error  interval holds the truth")
    for row in rows:
        error = 100 * (row["held"] - row["truth"])
        holds = "yes" if row["low"] <= row["truth"] <= row["high"] else "NO"
        case = f"{row['period'] * 1e3:6.2f} ms {row['duty']:4.0%}"
        print(f"  {case}  {row['truth']:.4f}  {row['held']:.4f}  {error:+5.2f}  {holds}")
    errors = [abs(row["held"] - row["truth"]) * 100 for row in rows]
    print(f"  median error {middle(errors):.2f}, worst {max(errors):.2f} points")

    print(f"\nworst error by period, in points, and what it costs (peers: {THEIRS:.0f} s a case):")
    print("                      " + "".join(f"{period * 1e3:8.2f} ms" for period in PERIODS) + "   slowdown")
    worst = [max(abs(r["held"] - r["truth"]) * 100 for r in rows if r["period"] == period) for period in PERIODS]
    print("  gilcmp              " + "".join(f"{value:11.2f}" for value in worst) + f"   {slowdown('gilcmp'):.3f}x")
    for peer in filter(None, arguments.peers.split(",")):
        reason = available(peer)
        if reason:
            print(f"  {peer:20}not measured: {reason}")
            continue
        measure = from_inside if peer in ("gilknocker", "gil_load") else from_outside
        columns = [worst_error(measure, peer, period) for period in PERIODS]
        print(f"  {peer:20}" + "".join(columns) + f"   {slowdown(peer):.3f}x", flush=True)
    return None


if __name__ == "__main__":
    main()
