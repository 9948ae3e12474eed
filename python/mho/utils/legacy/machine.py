"""Reads pickles and executes nothing.

A pickle is a program for a stack machine that imports names and calls them. This machine has the
same instructions but imports nothing: names stay names (`Name`), and objects are descriptions of
themselves (`Record`). The few functions that pickles of tensors call are the own ones of
`calls.py`, found in a table by the name that the pickle gives. Every other call ends the reading
with the name in the message, and so do names of the standard library that no checkpoint needs, and
instructions that torch does not write.

Sizes are bounded by the length of the file: instructions make at most one container each, whose
number is limited, and tensors have no more elements than the file has for them. What is copied is
limited as well, for a pickle may name one value any number of times.
"""

import pickletools
import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import IO, Any

from mho.exceptions import StateError
from mho.utils.legacy.calls import (
    CALLS,
    ArrayShell,
    DtypeShell,
    Storage,
    check_scalars,
    is_enum_call,
    is_enum_value,
)
from mho.utils.legacy.inert import Name, Record

MOST_CONTAINERS = 4_000_000
"""Lists, dictionaries, tuples and objects of one pickle."""

MOST_COPIED = 2**29
"""Bytes, about, of all that calls and states copy."""

_LONGEST_NAME = 1000

_OLD_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg"}
"""Names of Python 2, which its protocols go on using."""

_BYTES_OF_ITEM = 64

_INERT_OF_LIBRARY = frozenset((("argparse", "Namespace"), ("types", "SimpleNamespace")))
"""Classes of the standard library that checkpoints hold beside states."""

LoadStorage = Callable[[tuple[Any, ...]], Storage]


class Machine:
    """State while one pickle is read."""

    def __init__(self, load_storage: LoadStorage) -> None:
        """Prepare an empty stack.

        Args:
            load_storage: Returns the memory of a tensor by what the pickle says of it.
        """
        self._load_storage = load_storage
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._containers = self._copied = 0

    def run(self, stream: IO[bytes]) -> Any:
        """Return the value of the next pickle of a stream, which is left behind it.

        Args:
            stream: Stream.

        Raises:
            StateError: The pickle is damaged, or wants something that is not allowed.
        """
        try:
            for code, argument, _ in pickletools.genops(stream):
                if code.name == "STOP":
                    return self._stack.pop()
                step = _STEPS.get(code.name)
                if step is None:
                    raise StateError(
                        f"pickle: instruction {code.name} is not allowed; torch does not write it"
                    )
                step(self, argument)
        except StateError:
            raise
        except MemoryError as error:
            raise StateError(
                "pickle: is damaged: tells of more bytes than there is memory"
            ) from error
        except (ValueError, TypeError, LookupError, OverflowError, RuntimeError) as error:
            raise StateError(f"pickle: is damaged: {error}") from error
        raise StateError("pickle: is truncated")

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _push_new(self, value: Any) -> None:
        self._containers += 1
        if self._containers > MOST_CONTAINERS:
            raise StateError(f"pickle: has more than {MOST_CONTAINERS} containers")
        self._stack.append(value)

    def _count_copies(self, values: Any) -> None:
        """Count what is about to be copied, before it is looked at."""
        self._copied += sum(map(_bytes_of, values))
        if self._copied > MOST_COPIED:
            raise StateError(f"pickle: copies values of more than {MOST_COPIED} bytes")

    def _mark(self, _: Any) -> None:
        self._marked.append(self._stack)
        self._stack = []

    def _marked_items(self) -> list[Any]:
        items, self._stack = self._stack, self._marked.pop()
        return items

    def _pop(self, _: Any) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._marked_items()

    def _tuple(self, count: int) -> None:
        start = len(self._stack) - count
        if start < 0:
            raise StateError("pickle: is damaged: a tuple lacks items")
        items = tuple(self._stack[start:])
        del self._stack[start:]
        self._push_new(items)

    def _append(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            raise StateError(f"pickle: items are appended to {_kind(target)}")
        target.extend(items)

    def _set(self, pairs: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict) or len(pairs) % 2:
            raise StateError(f"pickle: entries are put into {_kind(target)}")
        check_scalars("keys of a dictionary", pairs[::2])
        target.update(zip(pairs[::2], pairs[1::2], strict=True))

    def _set_one(self, _: Any) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set([key, value])

    def _add(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not set:
            raise StateError(f"pickle: items are added to {_kind(target)}")
        target.update(check_scalars("items of a set", items))

    def _dict_of_marked(self, _: Any) -> None:
        pairs = self._marked_items()
        self._push_new({})
        self._set(pairs)

    def _global(self, text: str) -> None:
        module, _, qualname = text.partition(" ")
        self._push_new(_named(module, qualname))

    def _stack_global(self, _: Any) -> None:
        qualname, module = self._stack.pop(), self._stack.pop()
        self._push_new(_named(module, qualname))

    def _new(self, _: Any) -> None:
        args, name = self._stack.pop(), self._stack.pop()
        if not isinstance(name, Name) or not (args == () or is_enum_value(name, args)):
            raise StateError(f"pickle: makes {_kind(name)} with arguments, which is not allowed")
        self._push_new(Record(name, args))

    def _reduce(self, _: Any) -> None:
        args, name = self._stack.pop(), self._stack.pop()
        if not isinstance(name, Name) or type(args) is not tuple:
            raise StateError(f"pickle: calls {_kind(name)}, which is not allowed")
        self._count_copies(args)
        call = CALLS.get((name.module, name.qualname))
        if call is not None:
            self._push_new(call(*args))
        elif is_enum_call(name, args):
            self._push_new(Record(name, args))
        else:
            raise StateError(
                f"pickle: calls {name}, which is not allowed; a checkpoint of states"
                " (torch.save(model.state_dict(), ...)) needs no such call"
            )

    def _build(self, _: Any) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        self._count_copies(state if type(state) is tuple else (state,))
        if isinstance(target, Record):
            parts = state if type(state) is tuple and len(state) == 2 else (state,)
            for part in parts:
                if part is not None:
                    target.attributes.update(_attributes(target, part))
        elif type(target) is OrderedDict:
            # torch notes versions of modules here.
            attributes = _attributes(target, state)
            if attributes.keys() - {"_metadata"}:
                raise StateError(f"pickle: a dictionary has attributes {sorted(attributes)}")
            target.__dict__.update(attributes)
        elif isinstance(target, (ArrayShell, DtypeShell)):
            target.build(state)
        else:
            raise StateError(f"pickle: sets the state of {_kind(target)}, which is not allowed")

    def _persistent(self, _: Any) -> None:
        description = self._stack.pop()
        kind = description[:2] if type(description) is tuple else ()
        if kind[:1] == ("storage",):
            self._push(self._load_storage(description))
        elif kind[:1] == ("module",) and isinstance(kind[-1], Name):
            self._push(kind[-1])  # a class; torch before 1.6 adds its source text
        else:
            raise StateError("pickle: refers to something outside that is no memory of a tensor")

    def _put(self, at: int) -> None:
        self._memo[at] = self._stack[-1]


def _named(module: Any, qualname: Any) -> Name:
    if type(module) is not str or type(qualname) is not str:
        raise StateError("pickle: a name is no text")
    if len(module) + len(qualname) > _LONGEST_NAME:
        raise StateError(f"pickle: {module[:40]!r} is no name, it is too long")
    module = _OLD_MODULES.get(module, module)
    name = Name(module, qualname)
    if not all(part.isidentifier() for part in str(name).split(".")):
        raise StateError(f"pickle: {str(name)[:80]!r} is no name")
    root = module.partition(".")[0]
    known = (module, qualname) in CALLS or (module, qualname) in _INERT_OF_LIBRARY
    if root in sys.stdlib_module_names and not known:
        raise StateError(
            f"pickle: names {name}, which is not allowed; no checkpoint of states needs it"
        )
    return name


def _attributes(target: Any, state: Any) -> dict[str, Any]:
    if not isinstance(state, dict) or any(type(key) is not str for key in state):
        raise StateError(
            f"pickle: the state of {_kind(target)} is no dictionary of attributes; classes that"
            " restore themselves in another way cannot be read"
        )
    return state


def _kind(value: Any) -> str:
    if isinstance(value, (Name, Record)):
        return str(value if isinstance(value, Name) else value.name)
    return f"an object of type {type(value).__name__}"


def _bytes_of(value: Any) -> int:
    """Return about how many bytes a copy of a value takes, without what is in its items."""
    if isinstance(value, (str, bytes)):
        return len(value)
    return _BYTES_OF_ITEM * len(value) if isinstance(value, (list, tuple, dict, set)) else 0


_Step = Callable[[Machine, Any], None]


def _scalar(machine: Machine, argument: Any) -> None:
    machine._push(argument)


def _constant(value: Any) -> _Step:
    return lambda machine, _: machine._push(value)


def _fresh(make: Callable[[], Any]) -> _Step:
    return lambda machine, _: machine._push_new(make())


def _nothing(machine: Machine, _: Any) -> None:
    return


_STEPS: dict[str, _Step] = {
    "PROTO": _nothing,
    "FRAME": _nothing,
    "MARK": Machine._mark,
    "POP": Machine._pop,
    "POP_MARK": lambda machine, _: machine._marked_items().clear(),
    "NONE": _constant(None),
    "NEWTRUE": _constant(True),
    "NEWFALSE": _constant(False),
    "EMPTY_TUPLE": _constant(()),
    "EMPTY_LIST": _fresh(list),
    "EMPTY_DICT": _fresh(dict),
    "EMPTY_SET": _fresh(set),
    "TUPLE": lambda machine, _: machine._push_new(tuple(machine._marked_items())),
    "TUPLE1": lambda machine, _: machine._tuple(1),
    "TUPLE2": lambda machine, _: machine._tuple(2),
    "TUPLE3": lambda machine, _: machine._tuple(3),
    "LIST": lambda machine, _: machine._push_new(machine._marked_items()),
    "DICT": Machine._dict_of_marked,
    "APPEND": lambda machine, _: machine._append([machine._stack.pop()]),
    "APPENDS": lambda machine, _: machine._append(machine._marked_items()),
    "SETITEM": Machine._set_one,
    "SETITEMS": lambda machine, _: machine._set(machine._marked_items()),
    "ADDITEMS": lambda machine, _: machine._add(machine._marked_items()),
    "GLOBAL": Machine._global,
    "STACK_GLOBAL": Machine._stack_global,
    "NEWOBJ": Machine._new,
    "REDUCE": Machine._reduce,
    "BUILD": Machine._build,
    "BINPERSID": Machine._persistent,
    "BINPUT": Machine._put,
    "LONG_BINPUT": Machine._put,
    "MEMOIZE": lambda machine, _: machine._put(len(machine._memo)),
    "BINGET": lambda machine, at: machine._push(machine._memo[at]),
    "LONG_BINGET": lambda machine, at: machine._push(machine._memo[at]),
    **dict.fromkeys(
        (
            "BINBYTES", "BINBYTES8", "BINFLOAT", "BININT", "BININT1", "BININT2", "BINSTRING",
            "BINUNICODE", "BINUNICODE8", "LONG1", "SHORT_BINBYTES", "SHORT_BINSTRING",
            "SHORT_BINUNICODE",
        ),
        _scalar,
    ),
}  # fmt: skip
