"""The functions that pickles of tensors and arrays call, written anew, each with its checks."""

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mho.exceptions import StateError
from mho.utils.legacy.inert import Name, Record

_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}

# Hash and equality of descriptions are those of the object itself.
_KEYS = (str, int, float, bool, bytes, type(None), Record)
_LONGEST_KEY = 2**16
_MOST_AXES = 64  # also those of a key


@dataclass
class Storage:
    """Memory of tensors, as a flat tensor."""

    values: Tensor


def storage_dtype(name: object) -> torch.dtype:
    """Return the type of the elements of a storage.

    Args:
        name: Class of the storage.

    Raises:
        StateError: It is none of those for real numbers.
    """
    if isinstance(name, Name) and name.module == "torch" and name.qualname in _STORAGES:
        return _STORAGES[name.qualname]
    raise StateError(f"pickle: memory of a tensor has the type {name}, expected {list(_STORAGES)}")


def check_scalars(what: str, values: Iterable[Any]) -> list[Any]:
    """Return values that may be keys, whose hash costs nothing.

    Args:
        what: Name in messages.
        values: Values.

    Raises:
        StateError: One is neither a number, a text, None nor a tuple of such.
    """
    values = list(values)
    for value in values:
        flat = value if type(value) is tuple else (value,)
        if len(flat) > _MOST_AXES or not all(isinstance(item, _KEYS) for item in flat):
            raise StateError(f"pickle: {what} are {type(value).__name__}, expected text or numbers")
        if any(len(item) > _LONGEST_KEY for item in flat if isinstance(item, (str, bytes))):
            raise StateError(f"pickle: {what} have more than {_LONGEST_KEY} characters")
    return values


def is_enum_call(name: Name, args: tuple[Any, ...]) -> bool:
    """Return whether a call only names a member of an enumeration of aihwkit by its value.

    Args:
        name: What is called.
        args: With what.
    """
    if len(args) != 1 or not name.module.startswith("aihwkit.simulator."):
        return False
    value = args[0]
    return value is None or type(value) in (str, int, float, bool, Record)


def is_enum_value(name: Name, args: tuple[Any, ...]) -> bool:
    """Return whether an object is a number and a class, which is the value of some members.

    Args:
        name: Its class.
        args: What it is made of.
    """
    if not name.module.startswith("aihwkit.simulator.digital_low_precision."):
        return False
    return len(args) == 2 and type(args[0]) is int and isinstance(args[1], Name)


def _sizes(what: str, values: Any) -> tuple[int, ...]:
    if (
        type(values) is not tuple
        or len(values) > _MOST_AXES
        or any(type(v) is not int or not 0 <= v < 2**62 for v in values)
    ):
        raise StateError(f"pickle: {what} of a tensor must be numbers from 0 to 2**62")
    return values


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Tensor:
    """Return a tensor in a storage; whether it requires a gradient and its hooks do not matter."""
    if not isinstance(storage, Storage) or len(rest) > 3:
        raise StateError("pickle: a tensor has no memory")
    (offset,) = _sizes("offset", (offset,))
    size, stride = _sizes("sizes", size), _sizes("strides", stride)
    if len(size) != len(stride):
        raise StateError("pickle: sizes and strides of a tensor do not fit")
    number, count = prod(size), storage.values.numel()
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if number and last >= count:
        raise StateError(f"pickle: a tensor reaches beyond the {count} elements of its memory")
    if number > count:
        raise StateError(
            f"pickle: a tensor of {number} elements has {count} of them in the file; save it after"
            " contiguous()"
        )
    return storage.values.as_strided(size, stride, offset if number else 0)


def _rebuild_parameter(data: Any, *rest: Any) -> Tensor:
    """Return the values of a parameter: hooks and attributes of parameters are not read."""
    if not isinstance(data, Tensor) or len(rest) > 3:
        raise StateError("pickle: a parameter has no values")
    return data


def _ordered_dict(*args: Any) -> OrderedDict[Any, Any]:
    pairs = args[0] if len(args) == 1 else []
    if len(args) > 1 or type(pairs) is not list or any(len(pair) != 2 for pair in pairs):
        raise StateError("pickle: a dictionary is made of something else than pairs")
    check_scalars("keys of a dictionary", [pair[0] for pair in pairs])
    return OrderedDict((key, value) for key, value in pairs)


def _set(*args: Any) -> set[Any]:
    if len(args) > 1 or any(type(items) is not list for items in args):
        raise StateError("pickle: a set is made of something else than a list")
    return set(check_scalars("items of a set", args[0] if args else []))


def _encoded(*args: Any) -> bytes:
    """Return bytes, which protocol 2 writes as text."""
    if len(args) != 2 or type(args[0]) is not str or args[1] != "latin1":
        raise StateError("pickle: _codecs.encode is allowed for latin1 only")
    return args[0].encode("latin1")


def _member(owner: Any, name: Any) -> Record:
    """Return a member of an enumeration of aihwkit, which some versions of Python name so."""
    if not isinstance(owner, Name) or type(name) is not str or not name.isidentifier():
        raise StateError("pickle: calls builtins.getattr, which is not allowed")
    if not is_enum_call(owner, (name,)):
        raise StateError(f"pickle: takes {name} of {owner}, which is not allowed")
    member = Record(owner)
    member.attributes["_name_"] = name
    return member


def _size(*args: Any) -> tuple[int, ...]:
    return _sizes("sizes", args[0] if len(args) == 1 else None)


def _device(*args: Any) -> str:
    if not args or type(args[0]) is not str:
        raise StateError("pickle: a device has no name")
    return ":".join(str(part) for part in args)


class DtypeShell:
    """Type of the elements of an array of NumPy."""

    def __init__(self, *args: Any) -> None:
        """Take the arguments of `numpy.dtype`.

        Raises:
            StateError: It is no type of real numbers.
        """
        code = args[0] if args else None
        if type(code) is not str or not re.fullmatch(r"f[248]|[iu][1248]|b1", code):
            raise StateError(f"pickle: arrays of type {code!r} are not allowed, only real numbers")
        self.dtype = np.dtype(code)

    def build(self, state: Any) -> None:
        """Check the order of bytes.

        Args:
            state: State of a `numpy.dtype`.

        Raises:
            StateError: It is that of another machine.
        """
        if type(state) is not tuple or len(state) < 2 or state[1] not in ("<", "|", "="):
            raise StateError("pickle: an array was saved on a machine with another order of bytes")


class ArrayShell:
    """Array of NumPy, whose values come after it."""

    def __init__(self, *_: Any) -> None:
        """Make an empty array, whatever the arguments say."""
        self.array: np.ndarray[Any, Any] = np.empty(0)

    def build(self, state: Any) -> None:
        """Take the values.

        Args:
            state: Version, shape, type, whether columns come first, bytes.

        Raises:
            StateError: They do not fit together.
        """
        if type(state) is not tuple or len(state) != 5 or not isinstance(state[2], DtypeShell):
            raise StateError("pickle: an array is damaged")
        _, shape, shell, columns_first, content = state
        shape, dtype = _sizes("sizes", shape), shell.dtype
        if type(content) is not bytes or len(content) != prod(shape) * dtype.itemsize:
            raise StateError("pickle: an array has not as many values as its shape says")
        if columns_first:
            self.array = np.frombuffer(content, dtype).reshape(shape[::-1]).T.copy()
        else:
            self.array = np.frombuffer(content, dtype).reshape(shape).copy()


def _numpy_scalar(shell: Any, content: Any) -> Any:
    if not isinstance(shell, DtypeShell) or type(content) is not bytes:
        raise StateError("pickle: a number of NumPy is damaged")
    if len(content) != shell.dtype.itemsize:
        raise StateError("pickle: a number of NumPy is damaged")
    return np.frombuffer(content, shell.dtype)[0].item()


CALLS: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("builtins", "set"): _set,
    ("builtins", "frozenset"): _set,
    ("builtins", "getattr"): _member,
    ("collections", "OrderedDict"): _ordered_dict,
    ("_codecs", "encode"): _encoded,
    ("torch", "Size"): _size,
    ("torch", "device"): _device,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
    ("numpy", "dtype"): DtypeShell,
    ("numpy.core.multiarray", "_reconstruct"): ArrayShell,
    ("numpy.core.multiarray", "scalar"): _numpy_scalar,
    ("numpy._core.multiarray", "_reconstruct"): ArrayShell,
    ("numpy._core.multiarray", "scalar"): _numpy_scalar,
}
"""All that a pickle may call, by module and name."""
