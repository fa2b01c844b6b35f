"""Where workers begin their tasks: each on a CPU of its own, and free to leave it."""

from __future__ import annotations

import os

import pytest

from gilcmp.measure import placement
from gilcmp.measure.pool import Pool
from gilcmp.measure.strategies import strategies

needs_affinity = pytest.mark.skipif(not placement.PLACES, reason="no sched_setaffinity on this system")


def test_cores_come_before_their_second_threads():
    cores = {0: "0,4", 1: "1,5", 4: "0,4", 5: "1,5", 6: "6"}
    assert placement.in_order(frozenset(cores), cores.__getitem__) == [0, 1, 6, 4, 5]
    assert sorted(placement.in_order(frozenset({0, 1}))) == [0, 1]


@pytest.fixture
def moves(monkeypatch):
    """What was asked of the system, in a thread of its own: (CPUs, …)."""
    asked = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {2, 3}, raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, cpus: asked.append(set(cpus)), raising=False)
    monkeypatch.setattr(placement, "PLACES", True)
    monkeypatch.setattr(placement, "in_order", sorted)
    yield asked
    placement.settle(0, 1)


@pytest.mark.parametrize(("number", "cpu"), [(0, 2), (1, 3), (2, 2)])
def test_a_worker_moves_to_its_cpu_and_has_all_of_them_again(moves, number, cpu):
    placement.settle(number, 3)
    with placement.placed(keep=False):
        assert moves == [{cpu}, {2, 3}]
    assert moves == [{cpu}, {2, 3}]


def test_a_worker_may_keep_its_cpu_until_the_task_ends_or_fails(moves):
    placement.settle(1, 3)
    seen = []

    def fail():
        with placement.placed(keep=True):
            seen.extend(moves)
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert seen == [{3}]
    assert moves == [{3}, {2, 3}]


@pytest.mark.parametrize("keep", [True, False])
def test_who_is_alone_or_no_worker_is_left_to_the_system(moves, keep):
    with placement.placed(keep=keep):
        pass
    placement.settle(0, 1)
    with placement.placed(keep=keep):
        pass
    assert moves == []


def test_a_cpu_that_was_taken_offline_ends_nothing(moves, monkeypatch):
    def refuse(pid, cpus):
        moves.append(set(cpus))
        if cpus == {2}:
            raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    placement.settle(0, 2)
    with placement.placed(keep=False):
        pass
    assert moves == [{2}, {2, 3}]


# as text: an interpreter of its own cannot import a test
TASK = (
    "(__import__('gilcmp.measure.placement', fromlist=['x']).own_number(), __import__('os').sched_getaffinity(0), "
    "__import__('threading').get_native_id(), __import__('os').getpid())"
)


@needs_affinity
@pytest.mark.parametrize("name", ["threads", "processes", "processes-spawn", "interpreters"])
@pytest.mark.parametrize("workers", [1, 3])
def test_workers_are_numbered_and_keep_their_mask(name, workers):
    if strategies[name].unavailable:
        pytest.skip(strategies[name].unavailable)
    pool = Pool.open(strategies[name], workers)
    try:
        for _ in range(20):  # until each has had a task
            samples, *_ = pool.run(eval, [TASK] * 30)
            numbers = {(native, process): number for number, _, native, process in (s.part for s in samples)}
            assert {frozenset(mask) for _, mask, _, _ in (s.part for s in samples)} == {
                frozenset(os.sched_getaffinity(0))
            }
            if len(numbers) == workers:
                break
        assert set(numbers.values()) <= ({None} if workers == 1 else {0, 1, 2})
        assert len(set(numbers.values())) == len(numbers)
    finally:
        pool.close()
