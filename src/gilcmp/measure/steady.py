"""What is kept still while cells are measured: the garbage collector, and the threads of BLAS."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Iterator
from typing import Any

# BLAS libraries that a worker process has yet to load read these; of loaded ones threadpoolctl sets the limit.
BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
_limits: list[int | None] = []  # of this process, as for BLAS itself; the last one holds


@contextlib.contextmanager
def frozen_garbage() -> Iterator[None]:
    """Keep the garbage collector, which runs in the cells as usual, away from objects that existed before."""
    gc.collect()
    mine = gc.get_freeze_count() < 1000  # more were frozen by the user; 3.12 itself begins with some hundred
    if mine:
        gc.freeze()
    try:
        yield
    finally:
        if mine:
            gc.unfreeze()


@contextlib.contextmanager
def few_blas_threads(limit: int | None) -> Iterator[None]:
    """Keep BLAS to so many threads; None: leave it alone. A call that used all CPUs would leave none to the others.

    The environment stays as it is: another thread may be starting a program, which reads it.
    """
    if limit is None:
        yield
        return
    import numpy  # noqa: F401  # its BLAS is found only once it is loaded

    _limits.append(limit)
    try:
        with _threadpoolctl().threadpool_limits(limit, user_api="blas"):
            yield
    finally:
        _limits.pop()


def blas_limit() -> int | None:
    """Return what BLAS is kept to at the moment, for the workers."""
    return _limits[-1] if _limits else None


def keep_blas_to(limit: int | None) -> None:
    """Keep BLAS to so many threads for as long as this process lives, that of a worker; None: leave it alone."""
    if limit is None:
        return
    os.environ.update(dict.fromkeys(BLAS_THREADS, str(limit)))  # no other thread runs yet
    if "numpy" in sys.modules:  # by the script of the user, or forked with it
        _threadpoolctl().threadpool_limits(limit, user_api="blas")


def _threadpoolctl() -> Any:
    """Import threadpoolctl, which switches off a check of Intel's OpenMP; that is for its users to do."""
    name = "KMP_DUPLICATE_LIB_OK"
    fresh = "threadpoolctl" not in sys.modules and name not in os.environ
    import threadpoolctl

    if fresh:
        os.environ.pop(name, None)
    return threadpoolctl
