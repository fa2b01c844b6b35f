"""From observations and estimates to one word, and the reason for it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from attrs import field, frozen

from gilcmp.accounting import Observation
from gilcmp.estimate import Estimate, median, middle, serial_fraction

# Every threshold that decides a verdict, in one place.
MIN_ROUNDS = 5  # fewer cannot give a 95 % interval: even the range of 5 covers the median in 94 % of cases
QUIET = 0.05  # share of the usable CPUs that may be missing in a round that counts
SCALES = 0.85  # efficiency from which a cell "scales"
NO_GAIN = 1.15  # speed-up up to which there is none to speak of
SLOWER = 0.95  # speed-up below which the whole interval must lie for "slower"
ONE_AT_A_TIME = 1.2  # CPUs that threads keep busy when only one runs at a time, with some slack
TAKING_TURNS = 0.25  # share of the workers' time that is blocked, at least, when they take turns
WIDE = 0.3  # width, as a share of the value, beyond which an interval from no gain to some is no answer
MORE_CPU_TIME = 1.15  # times the CPU time of the serial cell, from which on the CPUs themselves were slower

WORDS = ("baseline", "scales", "partial", "GIL-bound", "slower", "starved", "too noisy", "not measured")


@frozen
class Verdict:
    """One of `WORDS`, and the reason in a sentence.

    Compares equal to its word, so that ``cell.verdict == "scales"`` reads as it is meant.
    """

    word: str
    reason: str = field(repr=True)

    def __str__(self) -> str:
        return self.word

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Verdict):
            return (self.word, self.reason) == (other.word, other.reason)
        return self.word == other if isinstance(other, str) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.word)


@frozen
class Situation:
    """What the verdict on a cell depends on besides its observations.

    Attributes
    ----------
    workers : int
        Workers of the cell.
    cpus : float
        CPUs that the process may really use.
    shares_gil : bool
        Whether the workers are threads of one interpreter whose GIL is on.
    unit : str
        What to call the workers, plural: threads, processes, workers.
    """

    workers: int
    cpus: float
    shares_gil: bool
    unit: str = "workers"

    @property
    def parallel(self) -> float:
        """How many workers can really run at once."""
        return min(self.workers, self.cpus)


@frozen
class Judgement:
    """What the observations of a cell say.

    Attributes
    ----------
    speedup, efficiency : Estimate
        Over the quiet rounds.
    verdict : Verdict
        The word and its reason.
    quiet : tuple of Observation
        The cell's observations in quiet rounds.
    """

    speedup: Estimate
    efficiency: Estimate
    verdict: Verdict
    quiet: tuple[Observation, ...]


def is_quiet(observation: Observation, workers: int, cpus: float) -> bool:
    """Tell whether the workers got the CPUs they could have used, but for a small share."""
    return observation.missing_cores(cpus, workers) <= QUIET * min(workers, cpus)


def take_turns(observation: Observation, workers: int) -> bool:
    """Tell whether one worker at a time was on a CPU, while the others waited for something else than a core."""
    blocked = observation.blocked / (observation.wall * workers)
    return workers > 1 and observation.cores <= ONE_AT_A_TIME and blocked >= TAKING_TURNS


def judge(observations: Sequence[Observation], serial: Sequence[Observation], at: Situation) -> Judgement:
    """Judge a cell by its own and its serial partner's observations, paired by round.

    Only quiet rounds count, those in which both got the CPUs they could have used: a speed-up that was
    measured while another program had the core says nothing about the code.
    """
    partners = {observation.round: observation for observation in serial}
    pairs = [(cell, partners[cell.round]) for cell in observations if cell.round in partners]
    quiet = tuple(
        cell
        for cell, partner in pairs
        if is_quiet(cell, at.workers, at.cpus) and is_quiet(partner, 1, at.cpus)
    )
    if len(quiet) < MIN_ROUNDS:
        # A thread that is woken up on the core of another waits there for a while even if other cores are
        # idle. While nothing else used the CPUs, that is the price of the strategy, not of the neighbours.
        alone = tuple(cell for cell, _ in pairs if cell.foreign <= QUIET * at.cpus)
        quiet = max(quiet, alone, key=len)
    speedup = median([partners[cell.round].wall / cell.wall for cell in quiet])
    efficiency = speedup.scaled(1 / at.parallel)
    if len(quiet) < MIN_ROUNDS:
        verdict = _too_few(observations, quiet, at)
    else:
        verdict = _word(speedup, quiet, [partners[cell.round] for cell in quiet], at)
    if verdict.word == "starved":  # never a number that looks like a finding
        speedup = efficiency = median([])
    return Judgement(speedup, efficiency, verdict, quiet)


def judge_serial(observations: Sequence[Observation], cpus: float) -> Judgement:
    """Judge the serial cell, which the others are divided by."""
    quiet = tuple(observation for observation in observations if is_quiet(observation, 1, cpus))
    one = Estimate(1.0, 1.0, 1.0, len(quiet)) if quiet else median([])
    if len(quiet) < MIN_ROUNDS:
        verdict = _too_few(observations, quiet, Situation(1, cpus, shares_gil=False))
    else:
        verdict = Verdict("baseline", "the other rows are divided by this one, round by round")
    return Judgement(one, one, verdict, quiet)


def _too_few(observations: Sequence[Observation], quiet: Sequence[Observation], at: Situation) -> Verdict:
    total = len(observations)
    if total - len(quiet) > len(quiet) or total >= MIN_ROUNDS:
        missing = middle([observation.missing_cores(at.cpus, at.workers) for observation in observations])
        return Verdict(
            "starved",
            f"only {len(quiet)} of {total} rounds were quiet: other work took the CPUs "
            f"(this cell missed {missing:.1f} of them on average)",
        )
    return Verdict(
        "too noisy", f"{total} round{'s' * (total != 1)} cannot give an interval: at least {MIN_ROUNDS} can"
    )


def _word(
    speedup: Estimate, quiet: Sequence[Observation], partners: Sequence[Observation], at: Situation
) -> Verdict:
    if at.workers > 1 and at.cpus < 2:
        return Verdict("starved", f"this process may use {at.cpus:g} CPU: two workers cannot run at once")
    time = sum(cell.wall for cell in quiet) * at.workers
    on_cpu = sum(cell.cpu for cell in quiet) / time
    blocked = sum(cell.blocked for cell in quiet) / time
    cores = middle([cell.cores for cell in quiet])
    if at.workers == 1:
        if speedup.high < SLOWER:
            return Verdict("slower", f"one worker: handing tasks over costs {1 / speedup.value - 1:.0%}")
        return Verdict("baseline", "one worker: what the strategy itself costs")
    if at.shares_gil and 2 * sum(take_turns(cell, at.workers) for cell in quiet) > len(quiet):
        # The accounting alone says it, however much the ratios scatter: there was never more than one at work.
        if speedup.high < SLOWER:
            return Verdict(
                "slower", f"the {at.unit} took turns with the GIL ({cores:.2f} CPUs busy), and that costs"
            )
        if speedup.value <= NO_GAIN:
            return Verdict(
                "GIL-bound",
                f"one of the {at.unit} ran at a time ({cores:.2f} CPUs busy), the others waited for the lock",
            )
    if speedup.low <= NO_GAIN < speedup.high and speedup.high - speedup.low > WIDE * speedup.value:
        return Verdict(
            "too noisy", f"between {speedup.low:.2f}x and {speedup.high:.2f}x: a longer budget may tell"
        )
    if speedup.high < SLOWER:
        return Verdict("slower", _where_it_went(quiet, partners, at, on_cpu, blocked))
    if speedup.value >= SCALES * at.parallel:
        if on_cpu * at.workers < 0.5 * at.parallel:
            return Verdict("scales", f"the {at.unit} waited side by side, {blocked:.0%} of the time")
        return Verdict("scales", f"{cores:.2f} of {at.parallel:g} CPUs were busy with it")
    return Verdict("partial", _where_it_went(quiet, partners, at, on_cpu, blocked))


def _where_it_went(
    quiet: Sequence[Observation],
    partners: Sequence[Observation],
    at: Situation,
    on_cpu: float,
    blocked: float,
) -> str:
    """Say why a cell gained less than it could: slower CPUs, waiting, or work that ran in one place."""
    speedup = middle([partner.wall / cell.wall for cell, partner in zip(quiet, partners, strict=True)])
    dearer = middle(
        [
            cell.cpu / partner.cpu if partner.cpu else math.nan
            for cell, partner in zip(quiet, partners, strict=True)
        ]
    )
    if dearer >= MORE_CPU_TIME:
        return (
            f"the same tasks took {dearer:.2f}x the CPU time that they take one after the other: "
            "shared memory, caches or cores, or the price of handing them over"
        )
    fraction = serial_fraction(speedup, max(2, round(at.parallel)))
    waited = f"the {at.unit} were on a CPU {on_cpu:.0%} and blocked {blocked:.0%} of the time"
    if 0 <= fraction <= 1:
        return f"{waited}; {fraction:.0%} of the work behaves as serial"
    return waited
