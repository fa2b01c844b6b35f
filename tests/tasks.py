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
