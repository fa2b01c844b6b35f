"""What to do about something that threads share, by its kind."""

from __future__ import annotations

from pathlib import Path

from gilcmp.watch.waits import GIL, INTERPRETER, LIBRARY, Line

_BY_TYPE = {
    "list": "give each thread a list of its own and join them at the end, or return what each has made",
    "collections.deque": "give each thread a deque of its own, or hand over many items at a time",
    "dict": "give each thread a dict of its own and merge them at the end",
    "collections.defaultdict": "give each thread a dict of its own and merge them at the end",
    "Counter": "count in a Counter of each thread and add them up at the end",
    "set": "give each thread a set of its own and unite them at the end",
    "bytearray": "give each thread a buffer of its own and join them at the end",
    "Random": "make a random.Random for each thread, by threading.local for instance",
    "random.Random": "make a random.Random for each thread, by threading.local for instance",
    "_random.Random": "make a random.Random for each thread, by threading.local for instance",
    "_queue.SimpleQueue": "hand over many items at a time, or give each thread a queue",
    "_io.BytesIO": "write into a buffer of each thread and join them at the end",
    "_io.StringIO": "write into a buffer of each thread and join them at the end",
    "_io.BufferedWriter": "collect what is to be written in each thread, and write it in large pieces",
    "_io.TextIOWrapper": "collect what is to be written in each thread, and write it in large pieces",
    "_thread.lock": "hold it for less: compute outside, or give each thread what it protects",
    "_thread.RLock": "hold it for less: compute outside, or give each thread what it protects",
    "type": "do not write to a class in a loop: keep it in a local variable or an instance of each thread",
    "generator": "give each thread a generator of its own: one cannot run in two threads",
    "cell": "keep what is shared by a closure in a local variable, and hand it back at the end",
}  # fmt: skip
_BY_FILE = {
    "queue.py": "put and get many items at a time, or give each thread a queue of its own",
    "logging/__init__.py": "log less in a loop, or collect in each thread and log once",
    "random.py": "make a random.Random for each thread: the module's functions share one",
}
_BY_PART = {
    "the weak references' locks": "make fewer weak references to one object from several threads",
    "the type cache": "do not change classes while threads run",
    "the queues of reference counts": "let go of objects in the thread that has made them",
    "the right to stop the world": "collect garbage less often (gc.freeze, gc.set_threshold), and do not change "
    "classes, code or tracing while threads run",
}


def advice_for(kind: int, name: str, inner: Line | None) -> str:
    """Say what to do about a lock that threads wait for; empty where nothing is known.

    Parameters
    ----------
    kind : int
        What the lock belongs to, as in `gilcmp.watch.waits`.
    name : str
        The name of its type or part.
    inner : Line or None
        The innermost line at which it was wanted: many locks of the standard library are known by their module.
    """
    if kind == GIL:
        return "on a free-threaded build there is no such wait; look there again for what remains"
    if kind == INTERPRETER:
        return _BY_PART.get(name, "")
    if inner is not None:
        for ending, what in _BY_FILE.items():
            if Path(inner.file) == Path(LIBRARY, ending):
                return what
    if name in _BY_TYPE:
        return _BY_TYPE[name]
    if name.startswith(("_hashlib.", "_sha", "_md5.", "_blake2.")):
        return "make a hash object for each thread"
    return "give each thread one of its own: a local variable, threading.local, or an argument"


SHARED = {
    "argument": "pass each thread a copy of its own",
    "global": "read it into a local variable once, or copy it for each thread",
    "closure": "hand it to each thread as an argument, as a copy",
    "default": "make it in the function, not as a default that all calls share",
    "self": "make an object for each thread",
}
