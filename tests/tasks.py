"""Tasks for the tests: importable, so that worker processes can be sent them."""

from __future__ import annotations

import os
import signal
import threading


def double(x):
    return 2 * x


def bare():
    return 42


def fails_on_three(x):
    if x == 3:
        raise LookupError("three is not allowed")
    return x


def fails_in_a_worker(parent):
    if os.getpid() != parent:
        raise LookupError("not here")
    return parent


def dies_in_a_worker(parent):
    if os.getpid() != parent:
        os.kill(os.getpid(), signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    return parent


def stops_in_a_worker(parent):
    if os.getpid() != parent:
        os.kill(os.getpid(), signal.SIGSTOP)
    return parent


def lock_in_a_worker(parent):
    """An answer that cannot be sent back."""
    return threading.Lock() if os.getpid() != parent else parent


def prints():
    """By Python, and as native code does."""
    print("printed")
    os.write(1, b"written\n")


def who(task):
    return os.getpid(), threading.get_ident()


def interrupts(x):
    raise KeyboardInterrupt


def add(a, b):
    return a + b


def raises_type_error(x):
    """With a message like that of a wrong call, which it is not."""
    return add(x)


class Adder:
    def __init__(self, number):
        self.number = number

    def to(self, other):
        return self.number + other


async def pause(seconds):
    import asyncio

    await asyncio.sleep(seconds)
    return seconds


def runner(function, tasks, workers):
    """The simplest one: one after the other."""
    return [function(task) for task in tasks]


def sharing_runner(function, tasks, workers):
    """One that does equal tasks once."""
    answers = {}
    for task in tasks:
        if task not in answers:
            answers[task] = function(task)
    return [answers[task] for task in tasks]


def careless_runner(function, tasks, workers):
    """One that loses an answer."""
    return [function(task) for task in tasks][1:]


class Mapper:
    """Something with a map."""

    def __init__(self, workers):
        self.closed = False

    def map(self, function, tasks):
        return map(function, tasks)

    def close(self):
        Mapper.closed = True
