"""From observations and estimates to one word, and the reason for it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from attrs import frozen

from gilcmp.base.median import middle
from gilcmp.judge.estimate import FEWEST, Estimate, median, median_in_time, serial_fraction
from gilcmp.saved.observation import WAITING, Observation
from gilcmp.show.model import Value
from gilcmp.show.words import counted

# Every threshold that decides a verdict, in one place. A word is given where its region holds the whole interval.
GRANTED = 0.85  # share of their best speed that reference loops reach in a round that counts
MIN_ROUNDS = FEWEST  # fewer have no interval
QUIET = 0.05  # of the CPUs that a cell could have used, the share that others may take in a round that counts
SCALES = 0.85  # efficiency from which a cell "scales"
NO_GAIN = 1.15  # speed-up up to which there is "no gain"
SLOWER = 0.95  # speed-up below which a cell is "slower"
IMPOSSIBLE = 1.1  # efficiency from which on the measurement itself is at fault
ONE_AT_A_TIME = 1.2  # CPUs that threads keep busy when only one runs at a time, with some slack
CONTENDED = 0.1  # share of the threads' time in waits for locks from which they are the reason
TAKING_TURNS = 0.25  # share of the workers' time that is blocked, at least, when they take turns
SATURATED = 0.8  # share of the time for which the GIL is held when threads queue for it
FOR_THE_GIL = 0.5  # share of the workers' waiting that is for the GIL, from which on they queue for it
MORE_CPU_TIME = 1.15  # times the CPU time of the serial cell, from which on the CPUs themselves were slower
HANDING = 0.02  # share of the time spent handing over empty tasks, above which the reason names it
THREADS_OF_ITS_OWN = 0.25  # CPUs kept busy besides the workers, from which on the call has threads of its own

TONES = {
    "scales": "good",
    "partial": "fair",
    "faster": "fair",
    "GIL-bound": "bad",
    "serialised": "bad",
    "slower": "bad",
    "no gain": "bad",
    "starved": "open",
    "too noisy": "open",
    "not measured": "open",
}
WORDS = ("baseline", *TONES)
GAINS = ("scales", "partial", "faster")  # words for what surely gains
UNDECIDED = ("starved", "too noisy")  # words that leave the question open


# All words of verdicts: on cells, of the probe, and on claims; a type checker finds others.
Word: TypeAlias = Literal[
    "baseline", "scales", "partial", "faster", "GIL-bound", "serialised", "slower", "no gain", "starved", "too noisy",
    "not measured",
    "releases", "releases partly", "holds, yields", "holds, blocks", "holds, briefly", "holds", "no GIL",
    "too short to say",
    "confirmed", "refuted", "differs on this build", "cannot be tested here",
]  # fmt: skip


@frozen(eq=False)
class Verdict:
    """One of `WORDS`, and the reason in a sentence.

    Compares equal to its word, so that ``cell.verdict == "scales"`` reads as it is meant, and to every verdict of the
    same word.
    """

    word: Word
    reason: str

    def __str__(self) -> str:
        return self.word

    def shown(self, tones: Mapping[str, str] = TONES) -> Value:
        """Return the word for a table, in the tone that it has, with the reason as its hint."""
        return Value(self.word, tones.get(self.word, ""), self.reason)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Verdict):
            return self.word == other.word
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
    gil_held : float or None
        Share of the time for which some thread held the GIL in a run of the cell that was not timed; None: not known.
    gil_waited : float or None
        Share of the workers' waiting in that run that was for the GIL; None: not known.
    lock_waits, stopped : float, float
        Shares of the threads' time, where there is no GIL, that went into waiting for locks, and into pauses of the
        world.
    waits_at : str
        What most of that waiting was for.
    scale : float
        Work of the cell in a round, as a multiple of the serial cell's.
    hand_over : float
        Seconds to hand over as many empty tasks as the cell has in a round; NaN: not known.
    """

    workers: int
    cpus: float
    shares_gil: bool
    unit: str = "workers"
    gil_held: float | None = None
    gil_waited: float | None = None
    lock_waits: float = 0.0
    stopped: float = 0.0
    waits_at: str = ""
    scale: float = 1.0
    hand_over: float = math.nan

    def ideal(self, serial: Sequence[Observation]) -> float:
        """Return the largest possible speed-up: all workers if they mostly wait, else those that can run at once."""
        if serial and middle([partner.cores for partner in serial]) < WAITING:
            return float(self.workers)
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
    """Tell whether others left the workers the CPUs that they could have used, but for a small share.

    The CPUs that others used decide, not how long the cell's own threads waited for a core. That wait is long when they
    share a core, and choosing rounds by it would keep only those in which they did not.
    """
    wanted = min(workers, cpus)
    return wanted + observation.foreign - cpus <= QUIET * wanted


def got_its_cpus(observation: Observation) -> bool:
    """Tell whether reference loops just before and after ran about as fast as they ever do, if there were any."""
    return observation.granted is None or observation.granted >= GRANTED


def ratio(cell: Observation, partner: Observation, scale: float) -> float:
    """Return the speed-up of a cell in one round: by the serial turns beside it, or by that of the round.

    `scale`: how many times the work of the serial cell it does.
    """
    return (scale * partner.wall if cell.serial is None else cell.serial) / cell.wall


def take_turns(observation: Observation, workers: int) -> bool:
    """Tell whether one worker at a time was on a CPU, while the others waited for something else than a core."""
    blocked = observation.blocked / (observation.wall * workers)
    return workers > 1 and observation.cores <= ONE_AT_A_TIME and blocked >= TAKING_TURNS


def judge(observations: Sequence[Observation], serial: Sequence[Observation], situation: Situation) -> Judgement:
    """Judge a cell by its own and its serial partner's observations, paired by round.

    Only quiet rounds count: a speed-up that was measured while another program had the core says nothing about the
    code. Where enough of them got all that the CPUs can give, only these do; a machine whose host never gives more than
    now is judged as it is.
    """
    partners = {observation.round: observation for observation in serial}
    pairs = [(cell, partners[cell.round]) for cell in observations if cell.round in partners]
    quiet = tuple(
        cell
        for cell, partner in pairs
        if is_quiet(cell, situation.workers, situation.cpus) and is_quiet(partner, 1, situation.cpus)
    )
    undisturbed = tuple(filter(got_its_cpus, quiet))
    if len(undisturbed) >= MIN_ROUNDS:
        quiet = undisturbed
    chosen = [partners[cell.round] for cell in quiet]
    ratios = [ratio(cell, partner, situation.scale) for cell, partner in zip(quiet, chosen, strict=True)]
    speedup = median_in_time(ratios)
    efficiency = speedup.scaled(1 / situation.ideal(chosen))
    if len(quiet) < MIN_ROUNDS:
        verdict = _too_few(observations, quiet, situation)
    else:
        verdict = _word(speedup, quiet, chosen, situation)
    if verdict.word == "starved":  # never a number that looks like a finding
        speedup = efficiency = median([])
    return Judgement(speedup, efficiency, verdict, quiet)


def judge_serial(observations: Sequence[Observation], cpus: float) -> Judgement:
    """Judge the serial cell, which the others are divided by."""
    quiet = tuple(observation for observation in observations if is_quiet(observation, 1, cpus))
    itself = Estimate(1.0, 1.0, 1.0, len(quiet)) if quiet else median([])
    if len(quiet) < MIN_ROUNDS:
        verdict = _too_few(observations, quiet, Situation(1, cpus, shares_gil=False))
    else:
        verdict = Verdict("baseline", "the other rows are divided by this one, round by round")
    return Judgement(itself, itself, verdict, quiet)


def _too_few(observations: Sequence[Observation], quiet: Sequence[Observation], situation: Situation) -> Verdict:
    total = len(observations)
    if total < MIN_ROUNDS:
        rounds = counted(total, "round")
        return Verdict("too noisy", f"{rounds} cannot give an interval: at least {MIN_ROUNDS} can")
    busy = middle([observation.foreign for observation in observations])
    if 2 * len(quiet) >= total:
        return Verdict(
            "starved", f"{len(quiet)} of {total} rounds counted, and {MIN_ROUNDS} are needed: a longer budget"
        )
    quiet_ones = f"only {len(quiet)} of {total} rounds counted" if quiet else f"none of {total} rounds counted"
    return Verdict("starved", f"{quiet_ones}: other work kept {busy:.1f} of {situation.cpus:g} CPUs busy")


def _word(
    speedup: Estimate, quiet: Sequence[Observation], partners: Sequence[Observation], situation: Situation
) -> Verdict:
    """Choose the word whose whole region holds the whole interval."""
    workers, unit, ideal = situation.workers, situation.unit, situation.ideal(partners)
    cores = middle([cell.cores for cell in quiet])
    if workers == 1:
        if speedup.high < SLOWER:
            return Verdict("slower", f"one worker: handing tasks over costs {1 / speedup.value - 1:.0%}")
        return Verdict("baseline", "one worker: what the strategy itself costs")
    if ideal < 2:
        cpus = f"{situation.cpus:g} CPU{'s' * (situation.cpus != 1)}"
        return Verdict("starved", f"this process may use {cpus}: two workers cannot run at once")
    if speedup.low > IMPOSSIBLE * ideal or cores > IMPOSSIBLE * situation.cpus:
        return Verdict(
            "too noisy",
            f"the measurement is at fault: {speedup.value:.2f}x with {cores:.2f} CPUs busy, where {ideal:g}x and "
            f"{situation.cpus:g} CPUs are the most there can be",
        )
    # The CPU accounting alone shows that only one worker ran at a time, however much the ratios scatter.
    in_turns = situation.shares_gil and 2 * sum(take_turns(cell, workers) for cell in quiet) > len(quiet)
    alone = middle([partner.cores for partner in partners])
    if in_turns and speedup.low > NO_GAIN and WAITING <= alone <= cores + 0.2:
        # one at a time, and yet faster: the serial cell was slow by itself, by a bad place in memory, say
        return Verdict(
            "too noisy",
            f"the measurement is at fault: {speedup.value:.2f}x, while one of the {unit} ran at a time "
            f"({cores:.2f} CPUs busy); the serial cell was slow by itself",
        )
    if speedup.high < SLOWER:
        if in_turns:
            return Verdict("slower", f"the {unit} took turns ({cores:.2f} CPUs busy), and that costs")
        return Verdict("slower", _where_it_went(quiet, partners, situation, ideal))
    if (in_turns and speedup.value <= NO_GAIN) or speedup.high <= NO_GAIN:
        if situation.shares_gil and (in_turns or (situation.gil_held or 0) >= SATURATED):
            return _in_turns(cores, situation)
        if speedup.low >= SLOWER:
            return Verdict("no gain", _where_it_went(quiet, partners, situation, ideal))
    if speedup.low > NO_GAIN:
        return _faster(speedup, quiet, partners, situation, ideal)
    return Verdict("too noisy", f"between {speedup.low:.2f}x and {speedup.high:.2f}x: a longer budget may tell")


def _faster(
    speedup: Estimate,
    quiet: Sequence[Observation],
    partners: Sequence[Observation],
    situation: Situation,
    ideal: float,
) -> Verdict:
    """Say how much of the ideal a cell reaches that surely gains, if the interval tells."""
    scales = SCALES * ideal
    if speedup.high < scales:
        return Verdict("partial", _where_it_went(quiet, partners, situation, ideal))
    if speedup.low < scales:
        return Verdict("faster", f"at least {speedup.low:.2f}x; whether it reaches {scales:.2f}x and scales is open")
    wanted = min(situation.workers, situation.cpus)
    cores = middle([cell.cores for cell in quiet])
    if cores < 0.5 * wanted:
        share = sum(cell.blocked for cell in quiet) / sum(cell.wall for cell in quiet) / situation.workers
        return Verdict("scales", f"the {situation.unit} waited side by side, {share:.0%} of the time")
    return Verdict("scales", f"{cores:.2f} of {wanted:g} CPUs were busy with it")


def _in_turns(cores: float, situation: Situation) -> Verdict:
    """Say which lock made the workers take turns: the GIL, if they were seen to wait for it, or it to be held."""
    busy = f"one of the {situation.unit} ran at a time ({cores:.2f} CPUs busy)"
    if situation.gil_held is None:
        return Verdict("serialised", f"{busy}; whether they waited for the GIL was not looked at")
    held, waited = situation.gil_held, situation.gil_waited
    seen = f"the GIL was held {held:.0%} of the time"
    if waited is not None:
        seen += f", and {waited:.0%} of their waiting was for it"
    if held >= SATURATED or (waited or 0) >= FOR_THE_GIL:
        return Verdict("GIL-bound", f"{busy}: {seen}")
    return Verdict("serialised", f"{busy}: {seen}; they waited for another lock, a queue, a connection")


def _contended(situation: Situation) -> str:
    """Say what threads without a GIL waited for."""
    said = f"at least {situation.lock_waits:.0%} of the {situation.unit}' time went into waiting for locks"
    if situation.waits_at and situation.lock_waits:
        said += f", most of it for that of a {situation.waits_at}"
    if situation.stopped >= 0.01:
        said += f"; they were stopped with the whole world {situation.stopped:.0%} of it"
    return f"{said} (gilcmp contention says more)"


def _where_it_went(
    quiet: Sequence[Observation], partners: Sequence[Observation], situation: Situation, ideal: float
) -> str:
    """Say why a cell gained less than it could: its own threads, slower CPUs, waiting, work that ran in one place."""
    pairs = list(zip(quiet, partners, strict=True))
    speedup = middle([ratio(cell, partner, situation.scale) for cell, partner in pairs])
    besides = middle([partner.harness / partner.wall for partner in partners])
    if besides >= THREADS_OF_ITS_OWN:
        return f"one after the other it keeps {besides:.2f} further CPUs busy: the call has threads of its own"
    if situation.lock_waits + situation.stopped >= CONTENDED:
        return _contended(situation)
    dearer = middle([cell.cpu / partner.cpu / situation.scale if partner.cpu else math.nan for cell, partner in pairs])
    if dearer >= MORE_CPU_TIME:
        return (
            f"the same tasks took {dearer:.2f}x the CPU time that they take one after the other: "
            "shared memory, caches or cores, or the price of handing them over"
        )
    time = sum(cell.wall for cell in quiet) * situation.workers
    on_cpu, blocked = (sum(getattr(cell, name) for cell in quiet) / time for name in ("cpu", "blocked"))
    handing = situation.hand_over / middle([cell.wall for cell in quiet])
    if handing > HANDING:
        return f"handing the tasks over takes up to {min(handing, 1):.0%} of the time: longer tasks would gain more"
    waited = f"the {situation.unit} were on a CPU {on_cpu:.0%} and blocked {blocked:.0%} of the time"
    fraction = serial_fraction(speedup, max(2, round(ideal)))
    return f"{waited}; {fraction:.0%} of the work behaves as serial" if 0 <= fraction <= 1 else waited
