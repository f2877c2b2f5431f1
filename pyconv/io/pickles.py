"""Pickles read without running them.

A pickle is a program for a small stack machine that may call any function of any module. The
machine here takes the program from `pickletools`, which only decodes it, and knows no modules: a
name is looked up in a table of the caller's, and nothing else can be called. So a file can ask for
what it likes, and gets what is in the table.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

_KEYS = (str, int, float, bool, bytes, type(None))
# Opcodes whose argument, as decoded, is the value.
_VALUES = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING "
    "UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8".split()
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MARK = object()
_MOST_STEPS = 10**7  # a state of ten thousand tensors takes a thirtieth of it


class PickleError(ValueError):
    """A pickle asks for what it may not have, or is damaged."""


class Name:
    """A function that the pickle has named, and may call."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function


class Filled:
    """What a function of the table may return to get the state that the pickle has for it."""

    def fill(self, state: Any) -> None:
        """Take the state; ValueError or TypeError where it is not as it should be."""
        raise NotImplementedError


def read_pickle(
    file: BinaryIO, known: Mapping[str, Any], persistent: Callable[[Any], Any] | None = None
) -> Any:
    """The value of the pickle that begins here; the file is left behind its end.

    Parameters
    ----------
    file : binary file
    known : mapping of str to object
        What the pickle may ask for, by dotted name; it may call what is callable.
    persistent : callable, optional
        Gives the object for a persistent id.

    Returns
    -------
    dicts, lists, tuples, sets, numbers, str, bytes, bool, None, and what `known` returns

    Raises
    ------
    PickleError
        It calls something else, or is damaged.

    Examples
    --------
    >>> import io, os, pickle
    >>> from pyconv.io.pickles import read_pickle
    >>> read_pickle(io.BytesIO(pickle.dumps({"a": (1, [2.5])})), {})
    {'a': (1, [2.5])}
    >>> read_pickle(io.BytesIO(pickle.dumps(os.getcwd)), {})
    Traceback (most recent call last):
    pyconv.io.pickles.PickleError: asks for posix.getcwd
    """
    machine = _Machine(known, persistent)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            if count == _MOST_STEPS:  # each byte may make an object of a hundred
                raise PickleError(f"is too long: its pickle has more than {_MOST_STEPS} steps")
            if opcode.name == "STOP":
                return machine.pop()
            machine.step(opcode.name, argument)
    except PickleError:
        raise
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError) as error:
        raise PickleError(f"is damaged: {error}") from None
    raise PickleError("is damaged: the pickle has no end")


class _Machine:
    """The stack and the memo."""

    def __init__(self, known: Mapping[str, Any], persistent: Callable[[Any], Any] | None) -> None:
        self.known = known
        self.persistent = persistent
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in _TUPLES:
            count = _TUPLES[name]
            stack.append(tuple([self.pop() for _ in range(count)][::-1]))
        else:
            method = getattr(self, f"op_{name.lower()}", None)
            if method is None:
                raise PickleError(f"asks for the operation {name}")
            method(argument)

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise PickleError("is damaged: a value is missing")
        return value

    def pop_to_mark(self) -> list[Any]:
        items: list[Any] = []
        while (value := self.stack.pop()) is not _MARK:
            items.append(value)
        return items[::-1]

    def call(self, function: Any, arguments: Any) -> None:
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise PickleError(f"calls {type(function).__name__}, which is no function")
        self.stack.append(function.function(*arguments))

    def op_proto(self, version: int) -> None:
        if version > 5:
            raise PickleError(f"has pickle protocol {version}, 5 is the highest")

    def op_frame(self, _: Any) -> None:
        pass

    def op_mark(self, _: Any) -> None:
        self.stack.append(_MARK)

    def op_pop(self, _: Any) -> None:
        self.stack.pop()

    def op_pop_mark(self, _: Any) -> None:
        self.pop_to_mark()

    def op_dup(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    # -- containers -----------------------------------------------------------------------------

    def op_tuple(self, _: Any) -> None:
        self.stack.append(tuple(self.pop_to_mark()))

    def op_list(self, _: Any) -> None:
        self.stack.append(self.pop_to_mark())

    def op_dict(self, _: Any) -> None:
        items = self.pop_to_mark()
        self.stack.append({})
        self._set(items)

    def op_append(self, _: Any) -> None:
        self._extend(list, [self.pop()])

    def op_appends(self, _: Any) -> None:
        self._extend(list, self.pop_to_mark())

    def op_additems(self, _: Any) -> None:
        self._extend(set, [_key(item) for item in self.pop_to_mark()])

    def op_setitem(self, _: Any) -> None:
        value, key = self.pop(), self.pop()
        self._set([key, value])

    def op_setitems(self, _: Any) -> None:
        self._set(self.pop_to_mark())

    def _extend(self, kind: Any, items: list[Any]) -> None:
        target: Any = self.stack[-1]
        if type(target) is not kind:
            raise PickleError(f"is damaged: {type(target).__name__} is no {kind.__name__}")
        if kind is set:
            target.update(items)
        else:
            target.extend(items)

    def _set(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise PickleError("is damaged: a dict is missing")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_key(key)] = value

    # -- the memo -------------------------------------------------------------------------------

    def op_put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    op_binput = op_long_binput = op_put

    def op_memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def op_get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    op_binget = op_long_binget = op_get

    # -- names and calls ------------------------------------------------------------------------

    def op_global(self, argument: str) -> None:
        # As pickletools gives it: module and name with a space between.
        self._name(argument.replace(" ", "."))

    def op_stack_global(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        self._name(f"{module}.{name}")

    def _name(self, name: str) -> None:
        if name not in self.known:
            raise PickleError(f"asks for {name}")
        found = self.known[name]
        self.stack.append(Name(found) if callable(found) else found)

    def op_reduce(self, _: Any) -> None:
        arguments, function = self.pop(), self.pop()
        self.call(function, arguments)

    op_newobj = op_reduce

    def op_build(self, _: Any) -> None:
        state, target = self.pop(), self.stack[-1]
        if isinstance(target, Filled):
            target.fill(state)
        elif type(target) is not dict:  # attributes of a dict: PyTorch's versions of modules
            raise PickleError(f"sets attributes of {type(target).__name__}")

    def op_persid(self, argument: str) -> None:
        self._persistent(argument)

    def op_binpersid(self, _: Any) -> None:
        self._persistent(self.pop())

    def _persistent(self, key: Any) -> None:
        if self.persistent is None:
            raise PickleError("asks for something outside of the pickle")
        self.stack.append(self.persistent(key))


def _key(value: Any) -> Any:
    """What may be a key; not tuples, whose hashes can be made to take forever."""
    if type(value) not in _KEYS:
        raise PickleError(f"has a key of type {type(value).__name__}")
    return value
