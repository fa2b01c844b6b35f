"""What the claims about sharing have in common: the same source, run once for all threads or once for each."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import frozen

from gilcmp.base.calls import execute
from gilcmp.experiments.claim import CONFIRMED, REFUTED, Conditions, Figure, Outcome, Unclear, above
from gilcmp.judge.estimate import Estimate, median_in_time
from gilcmp.judge.verdict import Verdict
from gilcmp.measure.crew import Crew, call_together

SLICE = 0.02  # seconds that all threads work at once
FEWEST = 9  # rounds
FREE = 1.15  # times as slow as with nothing shared, up to which sharing costs nothing to speak of

# The end of each claim's script, which has made `made`.
COMPARED = """
def seconds(works):
    threads = [threading.Thread(target=work, args=(300,)) for work in works]
    began = time.perf_counter()
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    return time.perf_counter() - began

gil = getattr(sys, "_is_gil_enabled", lambda: True)()
print("Python", sys.version.split()[0], "GIL on:", gil)
one, other = made(), made()
print(f"each its own: {2 * seconds([one]) / seconds([one, other]):.2f} times the work of one thread")
print(f"shared:       {2 * seconds([one]) / seconds([one, one]):.2f} times")
"""


@frozen
class Shared:
    """How much work two threads do, of that of one: sharing what the source makes, each with its own; and the loss."""

    together: Estimate
    apart: Estimate
    loss: Estimate


def measure(source: str, conditions: Conditions) -> Shared:
    """Run ``work()`` of a source in two threads, all with the names of one run of the source, and each with its own.

    Raises
    ------
    CannotTest
        Where there is a GIL, or only one CPU.
    Unclear
        Where threads that share nothing do not run in parallel either: the machine is busy.
    """
    conditions.need_no_gil()
    conditions.need_two_cpus()
    costs: dict[str, list[float]] = {"together": [], "apart": [], "alone": []}
    with conditions.undisturbed(), Crew(2, pinned=True) as crew:
        one = _made(source)
        own = crew.run([partial(_made, source)] * 2)  # made by the thread that uses it
        ways = {"together": [one, one], "apart": own, "alone": own[:1]}
        for _ in range(max(FEWEST, int(conditions.seconds / (3 * SLICE)))):
            for way in random.sample(list(ways), len(ways)):
                spent = call_together(crew, [(work, (), {}) for work in ways[way]], SLICE)
                costs[way].append(sum(seconds for seconds, _ in spent) / sum(calls for _, calls in spent))
    together, apart, alone = costs["together"], costs["apart"], costs["alone"]
    found = Shared(
        median_in_time([2 * a / b for a, b in zip(alone, together, strict=True)]),
        median_in_time([2 * a / b for a, b in zip(alone, apart, strict=True)]),
        median_in_time([a / b for a, b in zip(together, apart, strict=True)]),
    )
    if found.apart.low < 1.5:
        raise Unclear(f"threads that share nothing did only {found.apart} times the work of one")
    return found


def _made(source: str) -> Callable[[], Any]:
    names: dict[str, Any] = {"__name__": "shared"}
    execute(source, "<claim>", names)
    work: Callable[[], Any] = names["work"]
    return work


def runs_in_parallel(source: str, what: str, conditions: Conditions) -> Outcome:
    """Test whether two threads that share what the source makes do clearly more than one."""
    found = measure(source, conditions)
    holds = above(found.together, 1.5)
    return _outcome(
        found, holds, f"two threads {what} did {found.together} times the work of one; each with its own {found.apart}"
    )


def costs_nothing(source: str, what: str, conditions: Conditions) -> Outcome:
    """Test whether sharing what the source makes is as fast as not to share it."""
    found = measure(source, conditions)
    holds = not above(found.loss, FREE)
    return _outcome(found, holds, f"{what} took {found.loss} times as long as with a copy for each thread")


def _outcome(found: Shared, holds: bool, reason: str) -> Outcome:
    figures = (
        Figure.of("work of two threads that share, of one", found.together, "x", "they share", "work of two threads"),
        Figure.of(
            "work of two threads with their own, of one", found.apart, "x", "each its own", "work of two threads"
        ),
        Figure.of("time when shared, of that when not", found.loss, "x"),
    )
    return Outcome(Verdict(CONFIRMED if holds else REFUTED, reason), figures)
