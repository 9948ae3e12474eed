"""Functions in configurations: a text names them, and knows them again by their source.

A text has `module:name`. Reading it imports nothing and takes nothing but what the process has
shown to trust: functions that were marked by `register_function`, and those of configurations from
which it has built a tile.
"""

import hashlib
import inspect
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any, TypeVar

import numpy as np

from mho.exceptions import ConfigError, warn_caller

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

_KNOWN: dict[str, FunctionType] = {}
_LOCAL = ("<lambda>", "<locals>")


def register_function(function: FunctionT) -> FunctionT:
    """Make a function readable from the JSON text of a configuration (decorator).

    Functions of a configuration are registered when a tile is built from it, so this is needed only
    to read a text before.

    Args:
        function: Function.

    Returns:
        The function, unchanged.

    Raises:
        ConfigError: It is none.
    """
    if not isinstance(function, FunctionType):
        raise ConfigError(f"register_function: expected a function, got {type(function).__name__}")
    _KNOWN[key_of(function)] = function
    return function


def name_of(function: FunctionType) -> str:
    """Return `module:name` of a function.

    Args:
        function: Function.
    """
    return f"{function.__module__}:{function.__qualname__}"


def is_storable(function: object) -> bool:
    """Return whether the name of a function says which one it is.

    Lambdas and functions inside of functions have no name of their own, and what they close over is
    not stored.

    Args:
        function: Anything; what is no function is no concern of this module.
    """
    return not isinstance(function, FunctionType) or not any(
        part in function.__qualname__ for part in _LOCAL
    )


def key_of(function: FunctionType) -> str:
    """Return what a function is looked up by.

    Its name; of a nameless one the source as well, and the values that it closes over or has as
    defaults, in which functions of one source differ.

    Args:
        function: Function.
    """
    name = name_of(function)
    if is_storable(function):
        return name
    return f"{name}#{source_hash(function)}{_held(function)}"


def _held(function: FunctionType) -> str:
    """Return a hash of values that belong to a function, empty without any."""
    values: list[Any] = list(function.__defaults__ or ())
    values += (function.__kwdefaults__ or {}).items()
    for cell in function.__closure__ or ():
        try:
            values.append(cell.cell_contents)
        except ValueError:  # of a variable that is not set yet
            values.append(None)
    if not values:
        return ""
    text = "|".join(map(_described, values))
    return f"#{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _described(value: Any) -> str:
    """Return a text of a value that cannot change, and of any other one which object it is."""
    if isinstance(value, tuple):
        return f"({','.join(map(_described, value))})"
    if isinstance(value, (bool, int, float, str, np.generic, type(None))):
        return repr(value)
    return f"{type(value).__qualname__}@{id(value):x}"


def source_hash(function: FunctionType) -> str:
    """Return a hash of the source of a function and of the functions of its module that it uses.

    Without a source it is one of the compiled code, which depends on the version of Python; the
    part before the colon says which of both it is.

    Args:
        function: Function.
    """
    found = list(_with_helpers(function, set()))
    try:
        kind, texts = "source", [inspect.getsource(item).encode() for item in found]
    except (OSError, TypeError):
        kind, texts = "code", [_code_bytes(item.__code__) for item in found]
    return f"{kind}:{hashlib.sha256(b''.join(texts)).hexdigest()[:32]}"


def _with_helpers(function: FunctionType, seen: set[str]) -> Iterator[FunctionType]:
    seen.add(function.__qualname__)
    yield function
    for name in _names(function.__code__):
        used = function.__globals__.get(name)
        if (
            isinstance(used, FunctionType)
            and used.__module__ == function.__module__
            and used.__qualname__ not in seen
        ):
            yield from _with_helpers(used, seen)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _code_bytes(code: CodeType) -> bytes:
    parts = [code.co_code, repr(code.co_names).encode()]
    for constant in code.co_consts:
        inner = isinstance(constant, CodeType)
        parts.append(_code_bytes(constant) if inner else repr(constant).encode())
    return b"".join(parts)


def encode(function: FunctionType) -> dict[str, str]:
    """Return what a text has of a function.

    Args:
        function: Function.
    """
    return {"function": key_of(function), "source": source_hash(function)}


def decode(value: dict[str, Any], path: str) -> FunctionType:
    """Return the function that a text names.

    Warns if its source is another one now.

    Args:
        value: What `encode` returned.
        path: Name of the field in messages.

    Raises:
        ConfigError: No such function is known to the process.
    """
    key, source = str(value["function"]), str(value.get("source"))
    function = _KNOWN.get(key) or _only_one_like(key, path)
    if function is None:
        raise ConfigError(
            f"{path}: the function {key!r} is unknown; import its module and decorate it with"
            " @mho.simulator.parameters.functions.register_function, or build a tile with it first"
        )
    check_source(function, source, key, path)
    return function


def _only_one_like(key: str, path: str) -> FunctionType | None:
    """Return the only known function of a name and a source, with a warning; None without one."""
    parts = key.split("#")
    found = [known for name, known in _KNOWN.items() if name.split("#")[:2] == parts[:2]]
    if len(parts) < 2 or len(found) != 1:
        return None
    warn_caller(
        f"{path}: {parts[0]!r} closes over other values or objects than the one that the state was"
        " saved with; the present one is used"
    )
    return found[0]


def call_of(cls: type) -> FunctionType | None:
    """Return what objects of a class do when they are called, None if they cannot be.

    Args:
        cls: Class.
    """
    found = next((vars(c)["__call__"] for c in cls.__mro__ if "__call__" in vars(c)), None)
    return found if isinstance(found, FunctionType) else None


def check_source(function: FunctionType, source: str, name: str, path: str) -> None:
    """Warn if the source of a function is not the one that a text was written with.

    Args:
        function: Function.
        source: Hash in the text.
        name: Name of the function in the message.
        path: Name of the field in the message.
    """
    present = source_hash(function)
    kinds = [text.partition(":")[0] for text in (present, source)]
    if present != source and kinds[0] == kinds[1]:
        warn_caller(
            f"{path}: the source of {name!r} is not the one that the state was saved with; the"
            " present one is used"
        )
