"""JSON text of whole configurations, with class names, for state dictionaries and files.

Everything that is not a number, boolean, string or None carries a tag: `{"type": "SingleRPUConfig",
"params": {...}}` for objects, `{"enum": ["PulseType", "None"]}`, `{"tile": "AnalogTile"}`,
`{"float": "inf"}`, `{"dict": [[key, value], ...]}`, `{"tuple": [...]}`, `{"tensor": [...], "dtype":
"float32"}` and the same with `"array"`; functions see `functions.py`. Reading looks classes up by
name in the registry and fills in their fields; no constructor and no other code runs.
"""

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from enum import Enum
from types import FunctionType
from typing import Any, TypeVar

import numpy as np
import torch

from mho.exceptions import ConfigError
from mho.simulator.parameters import enums, functions, registry
from mho.simulator.parameters.checking import describe, field_names, join
from mho.simulator.parameters.wire import is_plain

T = TypeVar("T")

_PLAIN = frozenset((bool, int, float, str, type(None)))
"""Types of values that stand for themselves."""


def dumps(obj: object) -> str:
    """Return a configuration object as JSON text.

    Args:
        obj: Instance of a registered class.

    Raises:
        ConfigError: A contained class is not registered or a value has no JSON form.
    """
    try:
        return json.dumps(_encode(obj, ""), allow_nan=False, separators=(",", ":"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"configuration cannot be written as JSON: {error}") from error


def loads(text: str, cls: type[T]) -> T:
    """Return the configuration object described by JSON text.

    Args:
        text: Output of `dumps`.
        cls: Class that the object must be an instance of.

    Raises:
        ConfigError: The text is not valid, names an unknown class or field, describes another
            class, or a value is invalid.
    """
    try:
        obj = _decode(json.loads(text), "")
    except (ValueError, TypeError, LookupError, ArithmeticError, RuntimeError) as error:
        raise ConfigError(f"JSON text of a configuration cannot be read: {error}") from error
    if not isinstance(obj, cls):
        raise ConfigError(f"JSON text describes {describe(obj)}, expected {cls.__name__}")
    if callable(check := getattr(type(obj), "check", None)):
        check(obj)
    return obj


def _encode(value: object, path: str) -> Any:
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, Enum):
        return {"enum": [type(value).__name__, value.name]}
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": str(float(value))}
    if isinstance(value, list):
        return [_encode(item, f"{path}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, tuple):
        return {"tuple": [_encode(item, f"{path}[{i}]") for i, item in enumerate(value)]}
    if isinstance(value, dict):
        return {
            "dict": [[_encode(k, path), _encode(v, join(path, str(k)))] for k, v in value.items()]
        }
    return _encode_object(value, path)


def _encode_object(value: object, path: str) -> dict[str, Any]:
    if isinstance(value, torch.Tensor):
        dtype = str(value.dtype).removeprefix("torch.")
        return {"tensor": _encode(value.tolist(), path), "dtype": dtype}
    if isinstance(value, np.ndarray):
        return {"array": _encode(value.tolist(), path), "dtype": str(value.dtype)}
    if isinstance(value, type):
        return _encode_class(value, path)
    if isinstance(value, FunctionType):
        return functions.encode(value)
    name = type(value).__name__
    if not registry.is_config_class(type(value)):
        raise ConfigError(
            f"{path or name}: {name} cannot be written as JSON; {registry.registration_hint(name)}"
        )
    text: dict[str, Any] = {
        "type": name,
        "params": {
            k: v if is_plain(v) else _encode(v, join(path, k)) for k, v in _state(value).items()
        },
    }
    call = functions.call_of(type(value))
    if call is not None:  # what it does is part of the text, as of a function
        text["source"] = functions.source_hash(call)
    return text


def unwritable_classes(value: Any) -> Iterator[type]:
    """Yield the classes of configurations inside of a value that no text can name yet.

    Args:
        value: Configuration, or what one may hold.
    """
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from unwritable_classes(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from _unwritable(value)
    elif hasattr(type(value), "check_values"):  # noise models and the like are no dataclasses
        yield from _unwritable(value)


def _unwritable(value: Any) -> Iterator[type]:
    cls = type(value)
    if not registry.is_config_class(cls):
        yield cls
    for item in _state(value).values():
        if type(item) not in _PLAIN:
            yield from unwritable_classes(item)


def _encode_class(value: type, path: str) -> dict[str, str]:
    if registry.registered_tile_classes().get(value.__name__) is value:
        return {"tile": value.__name__}
    if registry.is_config_class(value):
        return {"class": value.__name__}
    raise ConfigError(
        f"{path}: {describe(value)} cannot be written as JSON; decorate it with"
        " @mho.simulator.parameters.registry.register_tile_class"
    )


def _state(obj: object) -> Mapping[str, Any]:
    if dataclasses.is_dataclass(obj):
        return {name: getattr(obj, name) for name in field_names(type(obj))}
    return vars(obj)


def _decode(value: Any, path: str) -> Any:
    if isinstance(value, list):
        return [_decode(item, f"{path}[{i}]") for i, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    tag = next((tag for tag in _DECODERS if tag in value), None)
    if tag is None or not set(value) <= {tag, "params", "dtype", "source"}:
        raise ConfigError(f"{path or 'JSON text'}: unknown entry with keys {sorted(value)}")
    return _DECODERS[tag](value, path)


def _decode_object(value: dict[str, Any], path: str) -> Any:
    cls = registry.config_class(str(value["type"]))
    params = {k: _decode(v, join(path, k)) for k, v in dict(value.get("params", {})).items()}
    obj: Any = object.__new__(cls)
    if dataclasses.is_dataclass(cls):
        params = _complete(cls, params, path)
    vars(obj).update(params)
    if "source" in value and (call := functions.call_of(cls)) is not None:
        functions.check_source(call, str(value["source"]), cls.__name__, path)
    return obj


def _complete(cls: Any, params: dict[str, Any], path: str) -> dict[str, Any]:
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for name in params:
        if name not in fields:
            raise ConfigError(f"{join(path, name)}: {cls.__name__} has no field {name!r}")
    for name, field in fields.items():
        if name in params:
            continue
        # A text of an older version lacks the fields added since; they were at their defaults.
        if field.default is not dataclasses.MISSING:
            params[name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            params[name] = field.default_factory()
        else:
            raise ConfigError(
                f"{join(path, name)}: missing, and {cls.__name__} has no default for it"
            )
    return params


def _decode_enum(value: dict[str, Any], path: str) -> Enum:
    cls_name, member = value["enum"]
    cls = getattr(enums, str(cls_name), None)
    if isinstance(cls, type) and issubclass(cls, Enum) and member in cls.__members__:
        return cls[member]
    raise ConfigError(f"{path}: unknown choice {cls_name}.{member}")


def _decode_float(value: dict[str, Any], path: str) -> float:
    return float(value["float"])


def _decode_tile(value: dict[str, Any], path: str) -> type:
    return registry.tile_class(str(value["tile"]))


def _decode_class(value: dict[str, Any], path: str) -> type:
    return registry.config_class(str(value["class"]))


def _decode_dict(value: dict[str, Any], path: str) -> dict[Any, Any]:
    return {_decode(k, path): _decode(v, join(path, str(k))) for k, v in value["dict"]}


def _decode_tuple(value: dict[str, Any], path: str) -> tuple[Any, ...]:
    return tuple(_decode(value["tuple"], path))


def _decode_tensor(value: dict[str, Any], path: str) -> torch.Tensor:
    dtype = getattr(torch, str(value["dtype"]), None)
    if not isinstance(dtype, torch.dtype):
        raise ConfigError(f"{path}: unknown tensor type {value['dtype']!r}")
    return torch.tensor(_decode(value["tensor"], path), dtype=dtype, device="cpu")


def _decode_array(value: dict[str, Any], path: str) -> "np.ndarray[Any, Any]":
    return np.array(_decode(value["array"], path), dtype=np.dtype(str(value["dtype"])))


_DECODERS = {
    "type": _decode_object,
    "enum": _decode_enum,
    "float": _decode_float,
    "tile": _decode_tile,
    "class": _decode_class,
    "dict": _decode_dict,
    "tuple": _decode_tuple,
    "tensor": _decode_tensor,
    "array": _decode_array,
    "function": functions.decode,
}
