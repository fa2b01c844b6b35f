"""An HTTP server on the loopback, in a process of its own: ``python -m gilcmp.loopback SECONDS``.

It ends when its standard input does, so that it never outlives whoever started it, however that one ended.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import subprocess
import sys
from functools import lru_cache
from types import TracebackType

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
        self._owner = os.getpid()
        self._process = subprocess.Popen(  # noqa: S603  # our own module
            [sys.executable, "-m", "gilcmp.loopback", str(latency)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is not for it: it ends when its input does
        )
        assert self._process.stdout is not None  # noqa: S101  # for the type checker
        port = self._process.stdout.readline().strip()
        if not port:
            self.close()
            raise RuntimeError("the server on the loopback did not start")
        self.url = f"http://127.0.0.1:{port}/"

    def close(self) -> None:
        """Let the server end, and wait for it."""
        if self._owner != os.getpid():  # a fork has inherited it, the parent still needs it
            return
        end_process(self._process)

    def __enter__(self) -> LoopbackServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def end_process(process: subprocess.Popen[str], patience: float = 10.0) -> None:
    """Close the pipes of a process, which tells ours to end; kill it if it has not within so many seconds."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@lru_cache
def shared_server(latency: float) -> LoopbackServer:
    """Return this process's server of a latency; it ends with the process."""
    server = LoopbackServer(latency)
    atexit.register(server.close)
    return server


async def _serve(latency: float) -> None:
    body = b"x" * 1024
    answer = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(latency)
            writer.write(answer)
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=1024)
    try:
        os.write(1, b"%d\n" % server.sockets[0].getsockname()[1])
    except BrokenPipeError:  # whoever started it is gone already
        return
    # a thread waits for the end of the input: pipes are no files for every platform's event loop
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    with contextlib.suppress(
        KeyboardInterrupt
    ):  # Ctrl-C goes to the whole group; the parent closes the input
        asyncio.run(_serve(float(sys.argv[1])))
