"""An HTTP server on the loopback, in a process of its own: ``python -m gilcmp.compute.loopback SECONDS``.

It ends when its standard input does, so that it never outlives whoever started it, however that one ended.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import sys
from functools import lru_cache
from types import TracebackType

from gilcmp.base.child import Child, answer

START_TIMEOUT = 30.0


class LoopbackServer:
    """A running HTTP server that answers each request after a set time.

    Parameters
    ----------
    latency : float
        Seconds until an answer.

    Attributes
    ----------
    url : str
        What to append a path to.
    """

    def __init__(self, latency: float) -> None:
        self._child = Child("-m", "gilcmp.compute.loopback", str(latency))
        port = self._child.answer()
        if port is None:
            self.close()
            raise RuntimeError("the server on the loopback did not start")
        self.url = f"http://127.0.0.1:{port}/"

    def close(self) -> None:
        """Let the server end, and wait for it; where a fork has inherited it, the parent still needs it."""
        self._child.close()

    def __enter__(self) -> LoopbackServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@lru_cache
def shared_server(latency: float) -> LoopbackServer:
    """Return this process's server of a latency; it ends with the process."""
    server = LoopbackServer(latency)
    atexit.register(server.close)
    return server


async def _serve(latency: float) -> None:
    body = b"x" * 1024
    response = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(latency)
            writer.write(response)
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=1024)
    answer(server.sockets[0].getsockname()[1])
    # a thread waits for the end of the input: not every platform's event loop can watch a pipe
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C goes to the whole group; the parent closes the input
        asyncio.run(_serve(float(sys.argv[1])))
