"""What a comparison found, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from gilcmp.judge.cell import Cell, by_kernel
from gilcmp.judge.verdict import GAINS, UNDECIDED
from gilcmp.saved.environment import Environment


def findings(cells: Sequence[Cell], environment: Environment) -> list[str]:
    """Say in a few sentences what the cells show; starved and noisy ones are only counted."""
    sentences: list[str] = []
    for kernel, mine in by_kernel(cells).items():
        said = _twins(mine, environment.cpus) or _best(mine) or _without_figures(mine)
        if said:
            sentences.append(f"{kernel}: {' '.join(said)}")
    unsaid = [cell for cell in cells if not cell.error and cell.verdict.word in UNDECIDED]
    if unsaid:
        starved = sum(cell.verdict.word == "starved" for cell in unsaid)
        sentences.append(
            f"{len(unsaid)} of {len(cells)} cells {'has' if len(unsaid) == 1 else 'have'} no clear answer "
            f"({starved} starved: other work took the "
            "CPUs). A quieter machine or a longer budget would give one."
        )
    sentences += not_measured(cells)
    if environment.free_threaded:
        sentences.append(f"This is a free-threaded build; its GIL was {'on' if environment.gil_enabled else 'off'}.")
    return sentences


def first_sentences(cells: Sequence[Cell], cpus: float) -> list[str]:
    """Say what was found in as few sentences as there can be: what holds for several kernels is said once."""
    kernels = by_kernel(cells)
    together = _twins_of_all(list(kernels.values()), cpus)
    if together:
        return [together]
    said = {kernel: _twins(mine, cpus) or _best(mine) or _without_figures(mine) for kernel, mine in kernels.items()}
    same: dict[str, list[str]] = {}
    for kernel, sentences in said.items():
        same.setdefault(" ".join(sentences), []).append(kernel)
    alone = list(kernels) == list(dict.fromkeys(cell.implementation for cell in cells))  # a user's function
    return [text if alone else f"{', '.join(names)}: {text}" for text, names in same.items() if text]


def not_measured(cells: Sequence[Cell]) -> list[str]:
    """Say why some cells could not be measured."""
    failed = {cell.error for cell in cells if cell.error}
    return [f"Not measured everywhere: {error}" for error in sorted(failed)]


def _at(cells: Sequence[Cell], implementation: str, strategy: str, workers: int) -> Cell | None:
    for cell in cells:
        key = (cell.implementation, cell.strategy.partition("-")[0], cell.workers)
        if key == (implementation, strategy, workers):
            return cell if cell.is_clear else None
    return None


def _twins(cells: Sequence[Cell], cpus: float) -> list[str]:
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
        + ("the same machine code, with and without the GIL." if held.gil_enabled else "there is no GIL to hold.")
    ]
    plain = _at(cells, "python", "threads", workers)
    if plain is not None:
        sentences.append(f"Plain Python got {_times(plain)}.")
    processes = _at(cells, "cython_gil", "processes", workers)
    if processes is not None and processes.verdict == "scales" and held.verdict in ("GIL-bound", "slower"):
        sentences.append(f"{workers} processes ran cython_gil {_times(processes)}: only the lock was in the way.")
    elif processes is not None:
        sentences.append(f"{workers} processes ran cython_gil {_times(processes)}.")
    return sentences


def _twins_of_all(kernels: Sequence[Sequence[Cell]], cpus: float) -> str:
    """Compare the twins of several kernels in one sentence, and processes with them; empty where one has no answer."""
    fitting = {cell.workers for cells in kernels for cell in cells if 1 < cell.workers <= cpus}
    if not fitting:
        return ""
    workers = max(fitting)

    def all_of(implementation: str, strategy: str) -> list[Cell]:
        found = [_at(cells, implementation, strategy, workers) for cells in kernels]
        clear = [cell for cell in found if cell is not None]
        return clear if len(clear) == len(kernels) else []

    free, held = all_of("cython_nogil", "threads"), all_of("cython_gil", "threads")
    if not free or not held:
        return ""
    differs = all(cell.verdict in GAINS for cell in free) and not any(cell.verdict in GAINS for cell in held)
    plain, processes = all_of("python", "threads"), all_of("cython_gil", "processes")
    said = f"plain Python ran {_times(*plain)} as fast as in one, " if plain else ""
    if held[0].gil_enabled:
        said += (
            f"{'and machine code' if plain else 'machine code ran'} {_times(*held)} where it kept the GIL (cython_gil) "
        )
        said += f"{'but' if differs else 'and'} {_times(*free)} where it released it (cython_nogil)"
        said += "." if plain else ", as fast as in one."
    else:
        said += (
            f"machine code {_times(*held)} (cython_gil) and {_times(*free)} (cython_nogil): there is no GIL to hold."
        )
    if processes:
        said += f" In {workers} processes, cython_gil ran {_times(*processes)} as fast."
    return f"In {workers} threads, {said}"


def _best(cells: Sequence[Cell]) -> list[str]:
    """Say which strategy helped each implementation most; say that nothing helped only if every cell is clear."""
    sentences = []
    queued: dict[str, list[str]] = {"GIL-bound": [], "serialised": []}
    for implementation in dict.fromkeys(cell.implementation for cell in cells):
        parallel = [
            cell for cell in cells if cell.implementation == implementation and cell.workers > 1 and not cell.error
        ]
        clear = [cell for cell in parallel if cell.is_clear]
        if not clear:
            continue
        best = max(clear, key=lambda cell: cell.speedup.value)
        if best.verdict.word in GAINS:
            sentences.append(f"{implementation} ran fastest under {best.place}: {_times(best)} as fast as serial.")
        elif len(clear) == len(parallel):
            sentences.append(f"Nothing made {implementation} faster than serial.")
        for word, names in queued.items():
            if any(cell.verdict == word for cell in clear):
                names.append(implementation)
    for word, lock in (
        ("GIL-bound", "waited for the GIL"),
        ("serialised", "took turns, and not for the GIL"),
    ):
        if queued[word]:
            sentences.append(f"The threads of {', '.join(queued[word])} {lock}.")
    return sentences


def _without_figures(cells: Sequence[Cell]) -> list[str]:
    """Say what the accounting knows where no speed-up could be measured."""
    names = dict.fromkeys(cell.implementation for cell in cells if cell.took_turns)
    if not names:
        return []
    return [f"The threads of {', '.join(names)} took turns; what that costs could not be measured."]


def _times(*cells: Cell) -> str:
    """Say how many times as fast one cell, or several, ran: 1.98x, 1.60x to 1.98x, at least 1.60x."""
    if any(cell.verdict == "faster" for cell in cells):
        return f"at least {min(cell.speedup.low for cell in cells):.2f}x"
    low, high = (f"{end(cell.speedup.value for cell in cells):.2f}x" for end in (min, max))
    return low if low == high else f"{low} to {high}"
