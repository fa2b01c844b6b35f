"""Predicting how a speed-up goes on with more CPUs than there are here."""

from __future__ import annotations

import math

from gilcmp.judge.estimate import UNKNOWN, Estimate, serial_fraction

CPUS = (4, 16, 64)  # what is predicted for


def amdahl(serial: float, cpus: float) -> float:
    """Speed-up on so many CPUs of work with a serial share (Amdahl, AFIPS 1967)."""
    return cpus / (1 + serial * (cpus - 1))


def universal(serial: float, crosstalk: float, cpus: float) -> float:
    """Speed-up where workers also disturb each other pairwise (Gunther's universal scalability law, 2007)."""
    return cpus / (1 + serial * (cpus - 1) + crosstalk * cpus * (cpus - 1))


def serial_share(speedup: float, cpus: float) -> float:
    """Return the serial share that explains a measured speed-up (Karp and Flatt, CACM 33, 1990); from 0 to 1."""
    if cpus <= 1 or speedup <= 0:
        return math.nan
    return min(1.0, max(0.0, serial_fraction(speedup, cpus)))


def crosstalk(speedup: float, cpus: float, serial: float) -> float:
    """Return the crosstalk that explains what a serial share leaves of a slowdown."""
    if cpus <= 1 or speedup <= 0:
        return math.nan
    return max(0.0, (cpus / speedup - 1 - serial * (cpus - 1)) / (cpus * (cpus - 1)))


def predicted(measured: Estimate, here: float, known: Estimate, cpus: float) -> Estimate:
    """Predict a speed-up, with an interval.

    Parameters
    ----------
    measured : Estimate
        The speed-up that was measured here.
    here : float
        On so many CPUs.
    known : Estimate
        A serial share that is known otherwise, such as the share of its time for which a call holds the GIL; NaN: none.
    cpus : float
        What it is to be predicted for.

    Notes
    -----
    The serial share lies between what the measured speed-up asks for, at the ends of its interval, and what is known
    otherwise. What is slower than one CPU is explained by crosstalk as well: it grows with the workers.
    """
    ends = [value for value in (measured.low, measured.high) if not math.isnan(value)]
    if not ends or here <= 1:
        return UNKNOWN

    def goes_on(speedup: float) -> float:
        if speedup < 1:  # it gets in its own way
            return universal(1.0, crosstalk(speedup, here, 1.0), cpus)
        return amdahl(serial_share(speedup, here), cpus)

    curves = [goes_on(end) for end in ends]
    curves += [amdahl(share, cpus) for share in (known.low, known.high) if not math.isnan(share) and measured.high >= 1]
    value = goes_on(measured.value)
    return Estimate(value, min(*curves, value), max(*curves, value), measured.n)


def break_even(startup: float, serial: float, parallel: float) -> float:
    """Return from how many tasks on starting workers is paid back; infinity: never.

    `serial` and `parallel` are seconds a task takes in one worker, and in all of them together.
    """
    saved = serial - parallel
    return math.ceil(startup / saved) if saved > 0 else math.inf


def shortest_task(cost: float, speedup: float) -> float:
    """Return how long a task must be, at least, that `cost` seconds of handing it over are paid back by a speed-up."""
    return cost / (1 - 1 / speedup) if speedup > 1 else math.inf
