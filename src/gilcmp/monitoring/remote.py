"""Reading another process's interpreter, without stopping it: CPython 3.13 and later say where things are.

The runtime begins with a table of offsets (``_Py_DebugOffsets``). It is found by the section ``.PyRuntime`` of the
interpreter's file. What is read may have been freed or changed meanwhile, so it is trusted only where it makes sense.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

COOKIE = b"xdebugpy"
SUPPORTED = ((3, 13), (3, 14), (3, 15))
FIRST_NATIVE_OWNER = 3  # frames with this owner or a higher one are the interpreter's own: they run no code
MOST_FRAMES = 64
VARIABLES = 16
LONGEST_TABLE = 65536
LONGEST_TEXT = 1000

# The names of the offsets, in their order; "size" stands at the beginning of each part.
_RUNTIME = ("size", "finalizing", "interpreters_head")
_INTERPRETER_13 = (
    "size", "id", "next", "threads_head", "gc", "imports_modules", "sysdict", "builtins", "ceval_gil", "gil",
    "gil_enabled", "gil_locked", "gil_holder",
)  # fmt: skip
_INTERPRETER_14 = (
    *_INTERPRETER_13[:4], "threads_main", *_INTERPRETER_13[4:], "code_object_generation", "tlbc_generation",
)  # fmt: skip
_THREAD_13 = (
    "size", "prev", "next", "interp", "current_frame", "thread_id", "native_thread_id", "datastack_chunk", "status",
)  # fmt: skip
_THREAD_15 = (
    *_THREAD_13[:5], "base_frame", "last_profiled_frame", "last_profiled_frame_seq", *_THREAD_13[5:], "holds_gil",
    "gil_requested", "current_exception", "exc_state",
)  # fmt: skip
_FRAME_13 = ("size", "previous", "executable", "instr_ptr", "localsplus", "owner")
_FRAME_14 = (*_FRAME_13, "stackpointer", "tlbc_index")
_CODE_13 = (
    "size", "filename", "name", "qualname", "linetable", "firstlineno", "argcount", "localsplusnames",
    "localspluskinds", "co_code_adaptive",
)  # fmt: skip
_CODE_14 = (*_CODE_13, "co_tlbc")
_OBJECT = ("size", "ob_type")
_TYPE = ("size", "tp_name")
_PARTS = {
    (3, 13): (("runtime", _RUNTIME), ("interpreter", _INTERPRETER_13), ("thread", _THREAD_13), ("frame", _FRAME_13),
              ("code", _CODE_13), ("object", _OBJECT), ("type", _TYPE)),
    (3, 14): (("runtime", _RUNTIME), ("interpreter", _INTERPRETER_14), ("thread", _THREAD_13), ("frame", _FRAME_14),
              ("code", _CODE_14), ("object", _OBJECT), ("type", _TYPE)),
    (3, 15): (("runtime", _RUNTIME), ("interpreter", _INTERPRETER_14), ("thread", _THREAD_15),
              ("error", ("exc_value",)), ("frame", _FRAME_14), ("code", _CODE_14), ("object", _OBJECT),
              ("type", _TYPE)),
}  # fmt: skip


class AttachError(RuntimeError):
    """A process cannot be watched; the message says why, and what can be done."""


class ProcessGone(Exception):
    """The process has ended, or runs another program."""


@frozen
class State:
    """What is read of a thread: where its state is, its identity and number, and its innermost frame."""

    address: int
    ident: int
    native_id: int
    frame: int


@frozen
class Code:
    """What is read of a function; it is copied, since the function may be freed."""

    file: str
    name: str
    first_line: int
    table: bytes
    address: int
    size: int


class Remote:
    """Another process's main interpreter.

    Parameters
    ----------
    pid : int
        The process's number.

    Raises
    ------
    AttachError
        Where it cannot be read.
    """

    def __init__(self, pid: int) -> None:
        if sys.platform != "linux":
            raise AttachError(f"only on Linux can another process be watched; this is {sys.platform}")
        self.pid = pid
        try:
            maps = Path(f"/proc/{pid}/maps").read_text(errors="replace")
        except FileNotFoundError:
            raise AttachError(f"there is no process {pid}") from None
        except ProcessLookupError:
            raise AttachError(f"process {pid} has ended") from None
        except PermissionError:
            raise AttachError(_why_not_allowed(pid)) from None
        if not maps:
            raise AttachError(f"process {pid} has no memory of its own: it is one of the kernel's, or has ended")
        address, file = _find_runtime(pid, maps)
        try:
            self._memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        except PermissionError:
            raise AttachError(_why_not_allowed(pid)) from None
        except FileNotFoundError:
            raise AttachError(f"process {pid} has ended") from None
        try:
            self._begin(address, file)
        except ProcessGone:
            self.close()
            raise AttachError(f"process {pid} has ended") from None
        except BaseException:
            self.close()
            raise

    def _begin(self, runtime: int, file: str) -> None:
        head = self.read(runtime, 24)
        if head[:8] != COOKIE:
            raise AttachError(
                f"{file} of process {self.pid} does not say where things are: it is older than 3.13, or no CPython"
            )
        version, self.is_free_threaded = struct.unpack("<QQ", head[8:])
        self.version = version >> 24 & 255, version >> 16 & 255
        if self.version not in SUPPORTED:
            known = " to ".join(f"{major}.{minor}" for major, minor in (SUPPORTED[0], SUPPORTED[-1]))
            raise AttachError(f"process {self.pid} runs Python {self.version[0]}.{self.version[1]}; known are {known}")
        self._offsets(runtime + 24)
        self.interpreter = self._word(runtime + self.at["runtime", "interpreters_head"])
        while self.interpreter and (after := self._word(self.interpreter + self.at["interpreter", "next"])):
            self.interpreter = after  # the newest comes first, the main one last
        if not self.interpreter:
            raise AttachError(f"the interpreter of process {self.pid} has not begun yet, or is about to end")
        self.gil = self._word(self.interpreter + self.at["interpreter", "ceval_gil"])
        embedded = self.at["interpreter", "gil"]
        self._holder = self.gil + self.at["interpreter", "gil_holder"] - embedded
        if self.at["interpreter", "gil_locked"] - self.at["interpreter", "gil_holder"] != 8 or not self.gil:
            raise AttachError(f"the lock of process {self.pid} does not look as it should")
        # "enabled" is the lock's first field there; its published offset is 0
        if self.is_free_threaded and not struct.unpack("<i", self.read(self.gil, 4))[0]:
            raise AttachError(
                f"process {self.pid} runs without a GIL, so nobody holds one; gilcmp.monitor in the program counts "
                "what it waits for"
            )
        self._codes: dict[tuple[int, int, int], Code] = {}
        self._code_type = 0

    def _offsets(self, address: int) -> None:
        parts = _PARTS[self.version]
        n = sum(len(names) for _, names in parts)
        words = iter(struct.unpack(f"<{n}Q", self.read(address, 8 * n)))
        self.at = {(part, name): next(words) for part, names in parts for name in names}
        if not 0 < self.at["thread", "size"] < 100000 or not 0 < self.at["frame", "size"] < 10000:
            raise AttachError(f"the offsets of process {self.pid} make no sense")
        self._thread_size = (
            max(self.at["thread", name] for name in ("next", "interp", "current_frame", "native_thread_id")) + 8
        )

    def close(self) -> None:
        """Let go of the process."""
        os.close(self._memory)

    # ---- memory ----

    def read(self, address: int, size: int) -> bytes:
        """Return memory; ProcessGone where the process has none any more, OSError where that address is not mapped."""
        found = os.pread(self._memory, size, address)
        if len(found) != size:
            if found == b"":
                raise ProcessGone
            raise OSError("not all of it is mapped")
        return found

    def _word(self, address: int) -> int:
        found: int = struct.unpack("<Q", self.read(address, 8))[0]
        return found

    # ---- the lock and the threads ----

    def lock(self) -> tuple[bool, int, int]:
        """Return whether the lock is taken, by whom (the address of its state), and the count of hand-overs."""
        holder, locked, turn = struct.unpack("<QixxxxQ", self.read(self._holder, 24))
        return locked == 1, holder, turn

    def state(self, address: int) -> State | None:
        """Return what is read of a thread; None where it makes no sense: the thread has ended."""
        try:
            copy = self.read(address, self._thread_size)
        except OSError:
            return None
        at = self.at

        def word(name: str) -> int:
            found: int = struct.unpack_from("<Q", copy, at["thread", name])[0]
            return found

        if word("interp") != self.interpreter:
            return None
        return State(address, word("thread_id"), word("native_thread_id"), word("current_frame"))

    def threads(self) -> Iterator[State]:
        """Walk along the interpreter's threads, which may end meanwhile."""
        address = self._word(self.interpreter + self.at["interpreter", "threads_head"])
        for _ in range(10000):
            state = self.state(address) if address else None
            if state is None:
                return
            yield state
            try:
                address = self._word(address + self.at["thread", "next"])
            except OSError:
                return

    # ---- lines ----

    def position(self, state: State) -> tuple[Code, int, int] | None:
        """Return the function that a thread is in, the offset into its bytecode, and its frame; None: not read."""
        address = state.frame
        for _ in range(MOST_FRAMES):
            if not address or address & 7:
                return None
            try:
                frame = self.read(address, self.at["frame", "owner"] + 8)
                previous, executable, instruction = (
                    struct.unpack_from("<Q", frame, self.at["frame", name])[0]
                    for name in ("previous", "executable", "instr_ptr")
                )
                if frame[self.at["frame", "owner"]] >= FIRST_NATIVE_OWNER:
                    address = previous
                    continue
                code = self._code(executable & ~3)
                begins = 0 if code is None else self._bytecode(code, executable & ~3, address)
            except OSError:
                return None
            if code is None:
                return None
            offset = instruction - begins
            return (code, max(0, offset), address) if -2 <= offset < code.size else None
        return None

    def variables(self, frame: int) -> bytes:
        """Return what a frame's first variables and operands refer to: they stay while a native call goes on."""
        try:
            return self.read(frame + self.at["frame", "localsplus"], 8 * VARIABLES)
        except OSError:
            return b""

    def _bytecode(self, code: Code, address: int, frame: int) -> int:
        """Return where the bytecode is that a frame runs: without a GIL each thread may have a copy."""
        if self.is_free_threaded and self.version > (3, 13):
            copy = struct.unpack("<i", self.read(frame + self.at["frame", "tlbc_index"], 4))[0]
            if copy > 0:
                return self._word(self._word(address + self.at["code", "co_tlbc"]) + 8 + 8 * copy)
        return code.address

    def _code(self, address: int) -> Code | None:
        at = self.at
        head = self.read(address, at["code", "co_code_adaptive"])
        kind = struct.unpack_from("<Q", head, at["object", "ob_type"])[0]
        if not self._code_type and self._text_at(self._word(kind + at["type", "tp_name"])) == "code":
            self._code_type = kind
        if kind != self._code_type:
            return None
        table = struct.unpack_from("<Q", head, at["code", "linetable"])[0]
        first_line = struct.unpack_from("<i", head, at["code", "firstlineno"])[0]
        key = address, table, first_line
        known = self._codes.get(key)
        if known is None:
            # an object of variable size: how many units of bytecode it has
            units = struct.unpack_from("<q", head, at["object", "size"])[0]
            file, name = (
                self._string(struct.unpack_from("<Q", head, at["code", part])[0]) for part in ("filename", "qualname")
            )
            if file is None or name is None or not 0 < units < 10**7:
                return None
            if len(self._codes) > 10000:
                self._codes.clear()
            known = Code(
                file, name, first_line, self._bytes(table), address + at["code", "co_code_adaptive"], 2 * units
            )
            self._codes[key] = known
        return known

    def _text_at(self, address: int) -> str:
        return self.read(address, 16).partition(b"\0")[0].decode("latin-1")

    def _string(self, address: int) -> str | None:
        """Return a str object's text: it is compact, as all are that the compiler makes."""
        head = self.at["object", "size"]  # then its length, its hash and its state
        length, _, state = struct.unpack("<qqI", self.read(address + head, 20))
        flags = state >> (8 if self.is_free_threaded and self.version > (3, 13) else 2)  # whether it is interned
        kind, compact, ascii_ = flags & 7, flags >> 3 & 1, flags >> 4 & 1
        if not compact or kind not in (1, 2, 4) or not length >= 0:
            return None
        size = kind * min(length, LONGEST_TEXT)
        begins = address + head + 24 + (0 if ascii_ else 16)
        encoding = {1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}[kind]
        return self.read(begins, size).decode(encoding, "replace") if size else ""

    def _bytes(self, address: int) -> bytes:
        head = self.at["object", "size"]
        size = struct.unpack("<q", self.read(address + head, 8))[0]
        if not 0 <= size <= LONGEST_TABLE:
            raise OSError("no table of lines")
        return self.read(address + head + 16, size) if size else b""


# ---- finding the runtime -------------------------------------------------------------------------------------------


def _find_runtime(pid: int, maps: str) -> tuple[int, str]:
    """Return where the runtime is in a process's memory, and the file that it comes from."""
    begins: dict[str, int] = {}
    for line in maps.splitlines():
        parts = line.split(maxsplit=5)
        if len(parts) == 6 and parts[5].startswith("/") and int(parts[2], 16) == 0:
            begins.setdefault(parts[5], int(parts[0].partition("-")[0], 16))
    # the interpreter is the program itself, or a library
    for file, begin in sorted(begins.items(), key=lambda entry: "python" not in Path(entry[0]).name.lower()):
        name = Path(file.removesuffix(" (deleted)")).name.lower()
        if "python" not in name and file != next(iter(begins)):
            continue
        try:
            place = _section(_opened(pid, file))
        except (OSError, struct.error):
            continue
        if place is not None:
            return begin + place, file
    raise AttachError(
        f"process {pid} runs no CPython 3.13 or later, as far as can be seen ({next(iter(begins), 'no file')})"
    )


def _opened(pid: int, file: str) -> Path:
    """Return a path to a file of a process's, which may be in a container."""
    inside = Path(f"/proc/{pid}/root{file}")
    if inside.exists():
        return inside
    return Path(f"/proc/{pid}/exe")  # it was replaced since it was started


def _section(file: Path) -> int | None:
    """Return where the section .PyRuntime is, from where the file is loaded to; None: it has none."""
    with file.open("rb") as opened:
        head = opened.read(64)
        if head[:4] != b"\x7fELF":
            return None
        if head[4:6] != b"\x02\x01":
            raise AttachError(
                f"{file.name} is of another architecture: only little-endian ones of 64 bits can be watched"
            )
        segments, sections = struct.unpack_from("<QQ", head, 32)
        segment_size, n_segments, section_size, n_sections, names = struct.unpack_from("<5H", head, 54)
        opened.seek(sections)
        table = [struct.unpack_from("<II4Q", opened.read(section_size)) for _ in range(n_sections)]
        opened.seek(table[names][4])
        texts = opened.read(table[names][5])
        opened.seek(segments)
        loaded = [struct.unpack_from("<II3Q", opened.read(segment_size)) for _ in range(n_segments)]
    base = min(address for kind, _, _, address, _ in loaded if kind == 1) & ~0xFFF
    for name, _, _, address, _, _ in table:
        if texts[name:].partition(b"\0")[0] == b".PyRuntime":
            return int(address - base)
    return None


def _why_not_allowed(pid: int) -> str:
    """Say what is missing to read a process's memory."""
    try:
        owner = Path(f"/proc/{pid}").stat().st_uid
    except (FileNotFoundError, ProcessLookupError):
        return f"process {pid} has ended"
    except OSError as error:  # the way to it is closed
        return f"/proc/{pid} cannot be read: {error.strerror}"
    if owner != os.geteuid():
        return f"process {pid} belongs to another user (number {owner}): run gilcmp attach as that user, or as root"
    try:
        scope = int(Path("/proc/sys/kernel/yama/ptrace_scope").read_text())
    except (OSError, ValueError):
        scope = 0
    if scope:
        return (
            "this system lets a process be read by its ancestors only: run as root, or set kernel.yama.ptrace_scope to "
            f"0 (it is {scope})"
        )
    return f"process {pid} may not be read: it has other privileges, or a container forbids it (capability SYS_PTRACE)"
