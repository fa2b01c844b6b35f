"""What is kept still while cells are measured: the garbage collector, and the threads of BLAS."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator

# BLAS libraries that a worker process loads by itself read these; in this process threadpoolctl tells them.
BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


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
    """Keep BLAS to so many threads; None: leave it alone. A call that used all CPUs would leave none to the others."""
    if limit is None:
        yield
        return
    names = (*BLAS_THREADS, "KMP_DUPLICATE_LIB_OK")  # the last one is set by importing threadpoolctl
    before = {name: os.environ.get(name) for name in names}
    import numpy  # noqa: F401  # its BLAS is found only once it is loaded
    from threadpoolctl import threadpool_limits

    os.environ.update(dict.fromkeys(BLAS_THREADS, str(limit)))
    try:
        with threadpool_limits(limit, user_api="blas"):
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
