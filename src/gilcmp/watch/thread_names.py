"""The names of threads: the interpreter does not know them, `threading` does, as long as the thread lives."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable

from gilcmp.watch import _gil


class ThreadNames:
    """The names of threads that started while it was listening, or lived when it began or ended to."""

    def __init__(self) -> None:
        # native id -> when it was noted, the name then, and the thread: it may be given its name later
        self._noted: dict[int, list[tuple[int, str, weakref.ref[threading.Thread]]]] = {}
        self._lock = threading.RLock()  # a signal handler may come in between

    def start(self) -> None:
        """Note the live threads, and listen."""
        self._note_all()
        _listeners.add(self)

    def stop(self) -> None:
        """Stop listening, and note the live threads."""
        _listeners.discard(self)
        self._note_all()

    def _note_all(self) -> None:
        for thread in threading.enumerate():
            self.note(thread)

    def note(self, thread: threading.Thread) -> None:
        """Note a thread that has begun."""
        native = getattr(thread, "native_id", None)  # eventlet's threads have none
        if native is not None:
            with self._lock:
                noted = self._noted.setdefault(native, [])
                if not noted or noted[-1][2]() is not thread:
                    noted.append((_gil.now(), thread.name, weakref.ref(thread)))

    def of(self, record: _gil.ThreadRecord) -> str:
        """Return the name of a recorded thread: of those with its number, the one noted nearest to its beginning."""
        if record["id"] == 0:
            return "other interpreters"
        noted = self._noted.get(record["native_id"], ())
        if not noted:
            return f"thread {record['native_id'] or record['ident']}"
        began = record["began"]
        _, name, reference = min(noted, key=lambda entry: abs(entry[0] - began)) if began else noted[0]
        thread = reference()
        return name if thread is None else thread.name


class _Listeners:
    """The listeners to each thread that `threading` starts; `Thread.start` is replaced only while there are any.

    They are held weakly: a recording that is dropped without having been ended stops listening.
    """

    def __init__(self) -> None:
        self._listening: list[weakref.ref[ThreadNames]] = []
        self._original: Callable[[threading.Thread], None] | None = None
        self._lock = threading.RLock()

    def add(self, names: ThreadNames) -> None:
        with self._lock:
            self._listening = [*self._living(), weakref.ref(names)]
            if self._original is None:
                self._original = threading.Thread.start
                threading.Thread.start = self._wrapped(self._original)  # type: ignore[method-assign,assignment]

    def discard(self, names: ThreadNames | None) -> None:
        """Remove a listener, and those that no longer exist."""
        with self._lock:
            self._listening = [reference for reference in self._living() if reference() is not names]
            if not self._listening and self._original is not None:
                if getattr(threading.Thread.start, "__wrapped__", None) is self._original:
                    threading.Thread.start = self._original  # type: ignore[method-assign,assignment]
                self._original = None

    def _living(self) -> list[weakref.ref[ThreadNames]]:
        return [reference for reference in self._listening if reference() is not None]

    def _wrapped(self, original: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
        from functools import wraps

        @wraps(original)
        def start(thread: threading.Thread) -> None:
            original(thread)
            for reference in self._listening:
                names = reference()
                if names is None:
                    self.discard(None)
                else:
                    names.note(thread)

        return start


_listeners = _Listeners()
