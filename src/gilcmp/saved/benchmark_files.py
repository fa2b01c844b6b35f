"""pytest-benchmark's JSON files, read as runs: what gilcmp's fixture put in, and anybody else's benchmarks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from attrs import evolve

from gilcmp.base.median import middle
from gilcmp.saved.environment import Environment
from gilcmp.saved.observation import Observation
from gilcmp.saved.reading import ResultError, structured
from gilcmp.saved.run import CellRecord, Run, Settings

# A benchmark may have a million rounds: the medians of this many blocks of neighbours say as much
BLOCKS = 200
NO_ROUNDS = "saved without its rounds: use --benchmark-json, or --benchmark-save-data"
SHORTEST = 1e-9  # seconds; stands for a round that pytest-benchmark timed as 0


def is_benchmark_file(body: Any) -> bool:
    """Tell whether this is a pytest-benchmark file, not a saved run, by the keys that it always has."""
    return isinstance(body, dict) and "format" not in body and "benchmarks" in body and "machine_info" in body


def run_from_benchmarks(body: Mapping[str, Any], source: str) -> tuple[Run, frozenset[str]]:
    """Read a pytest-benchmark file as a run.

    Parameters
    ----------
    body : mapping
        The parsed JSON.
    source : str
        What to call it in an error.

    Returns
    -------
    run : Run
        A cell for each benchmark: gilcmp's as they were measured, others as serial cells of their own.
    unknown : frozenset of str
        Fields of its environment that the file does not tell.

    Raises
    ------
    ResultError
        For a broken file.
    """
    machine = body["machine_info"]
    if not isinstance(machine, dict) or not isinstance(body["benchmarks"], list):
        raise ResultError(
            f"{source}: not a pytest-benchmark file: machine_info and benchmarks are not what they are there"
        )
    environment, unknown = _environment(machine, source)
    cells: dict[tuple[str, str, str, int], CellRecord] = {}
    for number, benchmark in enumerate(body["benchmarks"]):
        place = f"{source}: benchmarks[{number}]"
        name = benchmark.get("fullname") if isinstance(benchmark, dict) else None
        if not isinstance(name, str) or not name:
            raise ResultError(f"{place} must be a benchmark with a fullname")
        for record in _records(benchmark, place):
            known = cells.get(record.key)
            if known is not None and known != record:  # another test of the same function
                record = evolve(record, kernel=f"{record.kernel} ({name.partition('[')[0]})")  # noqa: PLW2901
            cells.setdefault(record.key, record)
    if not cells:
        raise ResultError(f"{source}: it holds no benchmark")
    run = Run(
        gilcmp=str(environment.packages.get("gilcmp", "")),
        created=str(body.get("datetime", "")),
        complete=True,
        environment=environment,
        settings=Settings(budget=0.0, seed=0, size=None),
        pools=[],
        cells=list(cells.values()),
    )
    return run, unknown


def _records(benchmark: Mapping[str, Any], place: str) -> Iterator[CellRecord]:
    extra = benchmark.get("extra_info")
    ours = extra.get("gilcmp") if isinstance(extra, dict) else None
    if isinstance(ours, dict):
        for name in ("serial", "cell"):
            yield structured(ours.get(name), CellRecord, f"extra_info.gilcmp.{name}", place)
        return
    stats = benchmark.get("stats")
    data = stats.get("data") if isinstance(stats, dict) else None
    if data is not None and not (
        isinstance(data, list) and all(isinstance(value, int | float) and 0 <= value < 1e9 for value in data)
    ):
        raise ResultError(f"{place}.stats.data must be a list of seconds")
    yield CellRecord(
        kernel=benchmark["fullname"],
        implementation="benchmark",
        strategy="serial",
        workers=1,
        kernel_version=0,
        size=None,
        unit="round",
        work=1,
        tasks=1,
        repeats=1,
        shares_gil=False,
        error=None if data else NO_ROUNDS,
        rounds=[_observation(number, seconds) for number, seconds in enumerate(_blocks(data or []), 1)],
    )


def _blocks(data: Sequence[float]) -> list[float]:
    edges = [len(data) * i // BLOCKS for i in range(BLOCKS + 1)]
    if len(data) <= BLOCKS:
        return list(data)
    return [middle(data[start:stop]) for start, stop in pairwise(edges)]


def _observation(number: int, seconds: float) -> Observation:
    """Return a round of which only the wall time is known: it is taken to have had its CPU."""
    wall = max(float(seconds), SHORTEST)
    return Observation(round=number, wall=wall, cpu=wall, run_delay=None, blocked=0.0, harness=0.0, foreign=0.0)


def _environment(machine: Mapping[str, Any], source: str) -> tuple[Environment, frozenset[str]]:
    ours = machine.get("gilcmp")
    if isinstance(ours, dict):  # added by gilcmp's plugin; the load is left out there, since it always differs
        fields = {"load": None, **ours}
        return structured(fields, Environment, "machine_info.gilcmp", source), frozenset(fields.keys() - ours.keys())

    def text(name: str) -> str:
        value = machine.get(name, "")
        return " ".join(map(str, value)) if isinstance(value, list) else str(value)

    cpu = machine.get("cpu")
    cpu = cpu if isinstance(cpu, dict) else {}
    count = cpu.get("count")
    count = count if isinstance(count, int) and count > 0 else 1
    fields = {
        "python": text("python_version"),
        "implementation": text("python_implementation"),
        "python_build": text("python_build"),
        "python_compiler": text("python_compiler"),
        "cpu": str(cpu.get("brand_raw", "")),
        "cpus_logical": count,
        "system": f"{text('system')} {text('release')}",
        "machine": text("machine"),
    }
    made_up: dict[str, Any] = {
        "free_threaded": False,
        "gil_enabled": True,
        "switch_interval": 0.005,
        "extension_compiler": "",
        "extension_flags": "",
        "cpus_allowed": count,
        "cpus_physical": None,
        "cpu_quota": None,
        "load": None,
        "memory": None,
        "run_delay": False,
        "start_method": "",
        "packages": {},
    }
    return Environment(**fields, **made_up), frozenset(made_up)
