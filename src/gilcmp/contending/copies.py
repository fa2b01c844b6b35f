"""Copies of what threads share, for one thread alone: of values too that `copy.deepcopy` hands back as they are."""

from __future__ import annotations

import copy
import io
import logging
import threading
import types
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Collection, Mapping
from typing import Any

from gilcmp.base.calls import Call

MOST = 200_000  # objects in all: what is larger takes longer to copy than to measure

_SHARED_BY_ALL = (type, types.ModuleType, types.FunctionType, types.CodeType, type(None), bool, type(Ellipsis),
                  type(NotImplemented))  # fmt: skip
_LOCKS: dict[type, Callable[[], Any]] = {type(make()): make for make in (threading.Lock, threading.RLock)}


class CannotCopy(Exception):
    """A value cannot be copied; the message says why."""


class Copier:
    """Copies values, each once: what two values share, their copies share too."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[Any, Any]] = {}  # the original is kept, so that its number stays its own

    def copy(self, value: Any) -> Any:
        """Return a copy of a value and all that it holds.

        Raises
        ------
        CannotCopy
            For what cannot be copied, such as an open file or a running generator.
        """
        if isinstance(value, _SHARED_BY_ALL) or (type(value) is int and -5 <= value <= 256):
            return value
        if id(value) in self._made:
            return self._made[id(value)][1]
        if len(self._made) > MOST:
            raise CannotCopy(f"it holds more than {MOST:,} objects")
        try:
            made = self._new(value)
        except CannotCopy:
            raise
        except Exception as error:  # of a class of the program's, or too deep
            raise CannotCopy(f"{type(value).__name__}: {type(error).__name__}: {error}") from None
        self._made[id(value)] = (value, made)
        return made

    def _new(self, value: Any) -> Any:
        kind = type(value)
        if kind in _SIMPLE:
            return _SIMPLE[kind](value)
        if kind in (list, set, deque, dict, defaultdict, OrderedDict):
            return self._container(value)
        if kind is tuple:
            return tuple([self.copy(part) for part in value])
        if kind is frozenset:
            return frozenset([self.copy(part) for part in value])
        if kind in _LOCKS:
            return _LOCKS[kind]()
        if isinstance(value, types.MethodType):
            return types.MethodType(value.__func__, self.copy(value.__self__))
        if isinstance(value, types.BuiltinMethodType):
            owner = value.__self__
            return (
                value
                if owner is None or isinstance(owner, types.ModuleType | type)
                else getattr(self.copy(owner), value.__name__)
            )
        if isinstance(value, logging.Logger):
            return self._logger(value)
        if hasattr(kind, "__del__"):  # the copy would let go of what is the original's
            raise CannotCopy(f"{kind.__name__}: it does something when it ends (__del__)")
        if _is_plain(kind):
            return self._instance(value)
        try:
            made = copy.deepcopy(value)
        except Exception as error:  # whatever its class raises
            raise CannotCopy(f"{kind.__name__}: {error}") from None
        if made is value:
            raise CannotCopy(f"{kind.__name__}: there is only one of it")
        return made

    def _container(self, value: Any) -> Any:
        made: Any = type(value)()
        if type(value) is defaultdict:
            made = defaultdict(value.default_factory)
        elif type(value) is deque:
            made = deque(maxlen=value.maxlen)
        self._made[id(value)] = (value, made)  # it may hold itself
        if isinstance(value, dict):
            for key, part in list(value.items()):
                made[self.copy(key)] = self.copy(part)
        else:
            add = made.add if isinstance(made, set) else made.append
            for part in list(value):
                add(self.copy(part))
        return made

    def _instance(self, value: Any) -> Any:
        kind = type(value)
        made = object.__new__(kind)
        self._made[id(value)] = (value, made)
        for name, part in list(getattr(value, "__dict__", {}).items()):
            made.__dict__[name] = self.copy(part)
        for base in kind.__mro__:
            for slot in vars(base).values():
                if isinstance(slot, types.MemberDescriptorType):
                    try:
                        part = slot.__get__(value)
                    except AttributeError:  # not set
                        continue
                    slot.__set__(made, self.copy(part))
        return made

    def _logger(self, value: logging.Logger) -> logging.Logger:
        """Copy a logger with the handlers that would get its records; what they write to stays the same."""
        made = logging.Logger(value.name, value.getEffectiveLevel())
        self._made[id(value)] = (value, made)
        made.propagate = False
        made.disabled = value.disabled
        at: logging.Logger | None = value
        while at is not None:
            for handler in at.handlers:
                own = copy.copy(handler)
                own.createLock()
                if isinstance(getattr(own, "stream", None), io.StringIO):
                    own.stream = io.StringIO()  # type: ignore[attr-defined]
                made.addHandler(own)
            at = at.parent if at.propagate else None
        return made


def _is_plain(kind: type) -> bool:
    """Whether instances can be made empty, and hold nothing but their attributes."""
    if (
        getattr(kind, "__new__", None) is not object.__new__
        or getattr(kind, "__reduce__", None) is not object.__reduce__
    ):
        return False
    own = {"__getstate__", "__deepcopy__", "__copy__", "__reduce_ex__", "__setstate__"}
    return not any(name in vars(base) for base in kind.__mro__[:-1] for name in own) and kind.__module__ != "builtins"


_SIMPLE: dict[type, Callable[[Any], Any]] = {
    float: lambda value: value * 1.0,
    int: lambda value: value + (1 << 70) - (1 << 70),
    complex: lambda value: value * (1 + 0j),
    str: lambda value: (value + " ")[:-1],
    bytes: lambda value: bytes(bytearray(value)),
    bytearray: bytearray,
}


def globals_of(func: types.FunctionType) -> dict[str, Any]:
    """Return the globals that a function and those of its module that it calls name, and can be copied, by name."""
    found: dict[str, Any] = {}
    queue, seen = [func], {func}
    while queue:
        at = queue.pop()
        for name in _names(at.__code__):
            if name not in func.__globals__ or name.startswith("__"):
                continue
            value = func.__globals__[name]
            if isinstance(value, types.FunctionType):
                if value.__globals__ is func.__globals__ and value not in seen:
                    seen.add(value)
                    queue.append(value)
            elif _is_data(value):
                found.setdefault(name, value)
    return found


def _is_data(value: Any) -> bool:
    return not isinstance(value, (*_SHARED_BY_ALL, types.BuiltinFunctionType)) and not (
        type(value) is int and -5 <= value <= 256
    )


def _names(code: types.CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names(constant)
    return names


def things_of(func: Callable[..., Any], args: Collection[Any], kwargs: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
    """Return what a call shares with the same call in another thread: its kind and name, and the value."""
    found: dict[tuple[str, str], Any] = {}
    plain = getattr(func, "__func__", func)
    names = (
        list(plain.__code__.co_varnames[: plain.__code__.co_argcount]) if isinstance(plain, types.FunctionType) else []
    )
    own = getattr(func, "__self__", None)
    if own is not None and not isinstance(own, types.ModuleType | type):
        found["self", type(own).__name__] = own
        names = names[1:]
    for number, value in enumerate(args):
        if _is_data(value):
            found["argument", names[number] if number < len(names) else str(number + 1)] = value
    for name, value in kwargs.items():
        if _is_data(value):
            found["argument", name] = value
    if not isinstance(plain, types.FunctionType):
        return found
    for name, cell in zip(plain.__code__.co_freevars, plain.__closure__ or (), strict=True):
        try:
            found["closure", name] = cell.cell_contents  # the cell itself is shared as well
        except ValueError:  # empty
            continue
    first = len(names) - len(plain.__defaults__ or ())
    for number, value in enumerate(plain.__defaults__ or ()):
        place = first + number
        if _is_data(value) and place >= len(args) and 0 <= place < len(names) and names[place] not in kwargs:
            found["default", names[place]] = value
    for name, value in globals_of(plain).items():
        found["global", name] = value
    return found


def private_call(
    func: Callable[..., Any], args: Collection[Any], kwargs: Mapping[str, Any], shared: Collection[tuple[str, str]]
) -> Call:
    """Return a call with copies of all that it shares but for the things named, made by the calling thread.

    Functions of the same module that it calls get the copied globals as well.
    """
    copier = Copier()
    things = things_of(func, args, kwargs)

    def own(kind: str, name: str, value: Any) -> Any:
        return value if (kind, name) in shared or (kind, name) not in things else copier.copy(value)

    plain = getattr(func, "__func__", func)
    names = (
        list(plain.__code__.co_varnames[: plain.__code__.co_argcount]) if isinstance(plain, types.FunctionType) else []
    )
    bound = getattr(func, "__self__", None)
    is_method = bound is not None and not isinstance(bound, types.ModuleType | type)
    if is_method:
        names = names[1:]
    new_args = tuple(
        own("argument", names[number] if number < len(names) else str(number + 1), value)
        for number, value in enumerate(args)
    )
    new_kwargs = {name: own("argument", name, value) for name, value in kwargs.items()}
    new_self = own("self", type(bound).__name__, bound) if is_method else None
    if not isinstance(plain, types.FunctionType):
        return (getattr(new_self, func.__name__) if is_method else func), new_args, new_kwargs
    made = _rebuilt(plain, own)
    return (types.MethodType(made, new_self) if is_method else made), new_args, new_kwargs


def _rebuilt(func: types.FunctionType, own: Callable[[str, str, Any], Any]) -> types.FunctionType:
    fresh = dict(func.__globals__)
    for name, value in globals_of(func).items():
        fresh[name] = own("global", name, value)
    made: dict[types.FunctionType, types.FunctionType] = {}

    def remade(at: types.FunctionType) -> types.FunctionType:
        if at in made:
            return made[at]
        names = at.__code__.co_varnames[: at.__code__.co_argcount]
        defaults = at.__defaults__ or ()
        cells = []
        for name, cell in zip(at.__code__.co_freevars, at.__closure__ or (), strict=True):
            try:
                value = cell.cell_contents
            except ValueError:
                cells.append(types.CellType())
                continue
            if isinstance(value, types.FunctionType) and value.__globals__ is func.__globals__ and value is not at:
                value = remade(value)
            cells.append(types.CellType(own("closure", name, value)) if at is func else cell)
        # code of its own: what the interpreter notes in it of one namespace slows it down in another
        new = types.FunctionType(at.__code__.replace(), fresh, at.__name__, None, tuple(cells) or None)
        made[at] = new
        first = len(names) - len(defaults)
        new.__defaults__ = tuple(own("default", names[first + number], value) if at is func else value
                                 for number, value in enumerate(defaults)) or None  # fmt: skip
        new.__kwdefaults__ = at.__kwdefaults__
        new.__qualname__ = at.__qualname__
        return new

    for name, value in func.__globals__.items():
        if isinstance(value, types.FunctionType) and value.__globals__ is func.__globals__ and value is not func:
            fresh[name] = remade(value)
    return remade(func)


def template_of(func: Callable[..., Any], args: Collection[Any], kwargs: Mapping[str, Any]) -> Call:
    """Return a call like this one with copies of all that can be copied: what it is like before it is called."""
    things = list(things_of(func, args, kwargs))
    kept = []
    for thing in things:
        try:
            private_call(func, args, kwargs, [other for other in things if other != thing])
        except CannotCopy:
            kept.append(thing)
    return private_call(func, args, kwargs, kept)
