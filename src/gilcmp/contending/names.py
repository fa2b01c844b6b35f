"""How a program calls an object of which only the address is known: by what it can be reached through."""

from __future__ import annotations

import gc
import types
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

MOST = 50_000  # objects that are looked at
DEPTH = 3
ELEMENTS = 1000  # of a container

_LEAVES = (str, bytes, int, float, complex, bool, type(None), types.CodeType, types.BuiltinFunctionType)


def find_names(addresses: Collection[int], roots: Mapping[str, Any]) -> dict[int, tuple[str, Any]]:
    """Find out how objects can be reached, nearest first, and the objects themselves.

    Objects are compared by identity. Nothing is ever read at an address: an object may be gone by now.

    Parameters
    ----------
    addresses : collection of int
        Where they are.
    roots : mapping of str to object
        Where to begin, such as a function's globals, by name.

    Returns
    -------
    dict
        Of those that were found: the name, such as ``REGISTRY.items``, and the object.
    """
    wanted, found = set(addresses), {}
    queue = deque((name, value, 0) for name, value in roots.items())
    seen: set[int] = set()
    while queue and wanted and len(seen) < MOST:
        name, value, depth = queue.popleft()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if id(value) in wanted:
            wanted.discard(id(value))
            found[id(value)] = (name, value)
        if depth < DEPTH and not isinstance(value, _LEAVES):
            queue.extend((f"{name}{step}", part, depth + 1) for step, part in _parts(value))
    return found


def roots_of(func: Callable[..., Any], args: Collection[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a function can reach, by name: its arguments, closure, defaults, and globals."""
    names = _parameters(func)
    roots: dict[str, Any] = {}
    for number, value in enumerate(args):
        roots[names[number] if number < len(names) else f"argument {number + 1}"] = value
    roots |= kwargs
    own = getattr(func, "__self__", None)
    if own is not None and not isinstance(own, types.ModuleType):
        roots["self"] = own
    plain = getattr(func, "__func__", func)
    if isinstance(plain, types.FunctionType):
        for name, cell in zip(plain.__code__.co_freevars, plain.__closure__ or (), strict=True):
            try:
                roots.setdefault(name, cell.cell_contents)
            except ValueError:  # empty
                continue
        for number, value in enumerate(plain.__defaults__ or ()):
            roots.setdefault(f"default {number + 1}", value)
        for name, value in list(plain.__globals__.items()):
            if not name.startswith("__"):
                roots.setdefault(name, value)
    return roots


def _parameters(func: Callable[..., Any]) -> list[str]:
    code = getattr(getattr(func, "__func__", func), "__code__", None)
    names = list(code.co_varnames[: code.co_argcount]) if code is not None else []
    return names[1:] if isinstance(func, types.MethodType) else names


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what an object holds, each with the step that leads there."""
    if isinstance(value, types.ModuleType):
        return  # its own names are roots, where they matter
    if isinstance(value, dict):
        for key, part in list(value.items())[:ELEMENTS]:
            yield f"[{key!r}]", part
    elif isinstance(value, list | tuple | set | frozenset | deque):
        for number, part in enumerate(list(value)[:ELEMENTS]):
            yield f"[{number}]", part
    elif isinstance(value, type):
        for part in gc.get_referents(value):
            if type(part) is dict and "__module__" in part:
                yield ".__dict__", part
    elif isinstance(value, types.FunctionType):
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            try:
                yield f".{name}", cell.cell_contents
            except ValueError:
                continue
    else:
        yield from _attributes(value)


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    try:
        own = object.__getattribute__(value, "__dict__")
    except AttributeError:
        own = {}
    if type(own) is dict:
        yield ".__dict__", own
        for name, part in list(own.items())[:ELEMENTS]:
            yield f".{name}", part
    for kind in type(value).__mro__:
        for name, slot in list(vars(kind).items()):
            if isinstance(slot, types.MemberDescriptorType):
                try:
                    yield f".{name}", slot.__get__(value)
                except AttributeError:  # not set
                    continue
