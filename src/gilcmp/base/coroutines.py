"""Running a coroutine from code that is none."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any


def run_coroutine(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end: in a thread of its own where a loop runs in this one already, as in a notebook."""
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1, thread_name_prefix="gilcmp loop") as thread:
        return thread.submit(asyncio.run, coroutine).result()
