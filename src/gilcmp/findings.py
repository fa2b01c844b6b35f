"""What a comparison found, in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gilcmp.environment import Environment
from gilcmp.estimate import Estimate
from gilcmp.verdict import Verdict

UNDECIDED = ("starved", "too noisy")  # verdicts that leave the question open


class CellLike(Protocol):
    """What the sentences need to know of a cell."""

    kernel: str
    implementation: str
    strategy: str
    workers: int
    error: str | None

    @property
    def speedup(self) -> Estimate:
        """Its speed-up."""
        ...

    @property
    def verdict(self) -> Verdict:
        """Its verdict."""
        ...


def findings(cells: Sequence[CellLike], environment: Environment) -> list[str]:
    """Say in a few sentences what the cells show; starved and noisy ones are only counted."""
    told: list[str] = []
    for kernel in dict.fromkeys(cell.kernel for cell in cells):
        mine = [cell for cell in cells if cell.kernel == kernel]
        sentences = _twins(mine, environment.cpus) or _best(mine, environment.cpus)
        if sentences:
            told.append(f"{kernel}: {' '.join(sentences)}")
    unsaid = [cell for cell in cells if not cell.error and cell.verdict.word in UNDECIDED]
    if unsaid:
        starved = sum(cell.verdict.word == "starved" for cell in unsaid)
        told.append(
            f"{len(unsaid)} of {len(cells)} cells have no clear answer ({starved} starved: other work took the "
            "CPUs). A quieter machine or a longer budget would give one."
        )
    failed = {cell.error for cell in cells if cell.error}
    told += [f"Not measured everywhere: {error}" for error in sorted(failed)]
    if environment.free_threaded:
        told.append(
            f"This is a free-threaded build; its GIL was {'on' if environment.gil_enabled else 'off'}."
        )
    return told


def _at(cells: Sequence[CellLike], implementation: str, strategy: str, workers: int) -> CellLike | None:
    for cell in cells:
        key = (cell.implementation, cell.strategy.partition("-")[0], cell.workers)
        if key == (implementation, strategy, workers):
            return cell if cell.speedup.n and cell.verdict.word not in UNDECIDED else None
    return None


def _twins(cells: Sequence[CellLike], cpus: float) -> list[str]:
    """Compare the twins, whose machine code is the same, at the largest number of workers that fits the CPUs."""
    fitting = [cell.workers for cell in cells if 1 < cell.workers <= cpus]
    if not fitting:
        return []
    workers = max(fitting)
    free, held = (_at(cells, name, "threads", workers) for name in ("cython_nogil", "cython_gil"))
    if free is None or held is None:
        return []
    sentences = [
        f"{workers} threads ran cython_nogil {_times(free)} as fast as one and cython_gil {_times(held)}: "
        "the same machine code, with and without the GIL."
    ]
    plain = _at(cells, "python", "threads", workers)
    if plain is not None:
        sentences.append(f"Plain Python got {_times(plain)}.")
    processes = _at(cells, "cython_gil", "processes", workers)
    if processes is not None and processes.verdict == "scales" and held.verdict in ("GIL-bound", "slower"):
        sentences.append(
            f"{workers} processes ran cython_gil {_times(processes)}: only the lock was in the way."
        )
    elif processes is not None:
        sentences.append(f"{workers} processes ran cython_gil {_times(processes)}.")
    return sentences


def _best(cells: Sequence[CellLike], cpus: float) -> list[str]:
    """Say, per implementation, which strategy helped most."""
    sentences = []
    for implementation in dict.fromkeys(cell.implementation for cell in cells):
        clear = [
            cell
            for cell in cells
            if cell.implementation == implementation
            and cell.workers > 1
            and cell.speedup.n
            and cell.verdict.word not in UNDECIDED
        ]
        if not clear:
            continue
        best = max(clear, key=lambda cell: cell.speedup.value)
        if best.speedup.low > 1:
            sentences.append(
                f"{implementation} ran fastest under {best.strategy} x {best.workers}: {_times(best)} as fast as "
                "serial."
            )
        else:
            sentences.append(f"Nothing made {implementation} faster than serial.")
        bound = [cell for cell in clear if cell.verdict == "GIL-bound"]
        if bound:
            sentences.append("Its threads waited for the GIL.")
    return sentences


def _times(cell: CellLike) -> str:
    return f"{cell.speedup.value:.2f}x"
