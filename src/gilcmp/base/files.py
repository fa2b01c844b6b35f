"""Files that are replaced as a whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise OSError if `path` cannot be written: asked before the measuring, not after."""
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a directory")
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(f"{target} is not writable")
    if not _is_special(target):
        _temporary(target).touch(exist_ok=False)
        _temporary(target).unlink()


def replace_file(path: str | os.PathLike[str], text: str) -> None:
    """Write a text so that `path` is either the old file or the whole new one; packed where its name ends with .gz."""
    data = text.encode()
    if os.fspath(path).lower().endswith(".gz"):
        import gzip

        data = gzip.compress(data, mtime=0)
    with replacing(path) as file:
        file.write(data)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Return a file to write to, which takes the place of `path` when all is written."""
    target = Path(path).resolve()  # what a link points to is replaced, not the link
    if _is_special(target):  # a device or a pipe is written to, not replaced
        with target.open("wb") as file:
            yield file
        return
    temporary = _temporary(target)
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(OSError):  # there was none before, or it is somebody else's
            shutil.copymode(target, temporary)
        temporary.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _is_special(target: Path) -> bool:
    return target.exists() and not target.is_file()


def _temporary(target: Path) -> Path:
    return target.with_name(f".{target.name}.{os.getpid()}.tmp")
