"""What one cell did in one round, as it is saved."""

from __future__ import annotations

from attrs import field, frozen, validators

from gilcmp.base.checks import between

WAITING = 0.4  # CPUs kept busy, per CPU that could have been, below which workers mostly wait

SECONDS_MAX = 1e9  # 30 years: what is beyond is no measurement


@frozen
class Observation:
    """What one cell did in one round; times in seconds.

    Attributes
    ----------
    round : int
        The round's number, from 1.
    wall : float
        From the first task handed out to the last answer back.
    cpu : float
        CPU time of all workers together.
    run_delay : float or None
        Time the workers were ready to run and had no core, all together; None where the system does not say.
    blocked : float
        Time the workers waited for something other than a core, all together: the GIL, another lock, I/O.
        It includes the run delay where that is not known.
    harness : float
        CPU time that this process used besides the tasks: handing them out, collecting the answers.
    foreign : float
        CPUs that everything else on the machine kept busy, on average over the whole round.
    serial : float or None
        Wall time that the serial cell takes for the same work, measured just before and just after; None where the
        round has one turn of it for all, and in runs saved before this was done.
    granted : float or None
        Share of their best speed of late at which reference loops in as many threads ran just before and just after,
        the smaller of the two; None where it was not measured: for one worker, and where one ran at a time.
    """

    round: int = field(validator=between(1, 2**63))
    wall: float = field(validator=between(1e-9, SECONDS_MAX))
    cpu: float = field(validator=between(0, SECONDS_MAX))
    run_delay: float | None = field(validator=validators.optional(between(0, SECONDS_MAX)))
    blocked: float = field(validator=between(0, SECONDS_MAX))
    harness: float = field(validator=between(0, SECONDS_MAX))
    foreign: float = field(validator=between(0, SECONDS_MAX))
    serial: float | None = field(default=None, validator=validators.optional(between(1e-9, SECONDS_MAX)))
    granted: float | None = field(default=None, validator=validators.optional(between(0, 1.001)))

    @property
    def cores(self) -> float:
        """How many CPUs the workers kept busy, on average."""
        return self.cpu / self.wall


@frozen
class TaskSpan:
    """One task of a cell: which worker did it (0, 1, …), and from when to when, in seconds since the cell began."""

    worker: int = field(validator=between(0, 2**31))
    start: float = field(validator=between(0, SECONDS_MAX))
    end: float = field(validator=between(0, SECONDS_MAX))
