"""The kernels that wait, as a blocking function and as a coroutine."""

from __future__ import annotations

import urllib.request
from urllib.parse import urlsplit

FETCH_LATENCY = 0.005  # seconds after which the kernel's server answers


def fetch_blocking(url: str, start: int, stop: int) -> int:
    """Fetch a page for each number of a range, one after the other, with urllib.

    Parameters
    ----------
    url : str
        Where from; the number is appended.
    start, stop : int
        The range.

    Returns
    -------
    int
        Bytes of all the answers together.
    """
    total = 0
    for number in range(start, stop):
        with urllib.request.urlopen(f"{url}{number}", timeout=30) as answer:  # noqa: S310  # our own server
            total += len(answer.read())
    return total


async def fetch_coroutine(url: str, start: int, stop: int) -> int:
    """Fetch a page for each number of a range, one after the other, as a coroutine.

    Parameters and answer are those of `fetch_blocking`. The standard library has no HTTP client for asyncio; a
    request and an answer of HTTP/1.0 (RFC 1945) are a few lines.
    """
    import asyncio

    where = urlsplit(url)
    total = 0
    for number in range(start, stop):
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        try:
            writer.write(f"GET {where.path}{number} HTTP/1.0\r\nHost: {where.netloc}\r\n\r\n".encode())
            answer = await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()
        total += len(answer.partition(b"\r\n\r\n")[2])
    return total
