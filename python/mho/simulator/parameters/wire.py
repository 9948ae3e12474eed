"""Conversion of checked configuration values to what the core reads as JSON."""

import json
import math
from collections.abc import Iterable
from enum import Enum
from typing import Any

from mho.exceptions import ConfigError
from mho.simulator.parameters.checking import describe, field_types, join

_INT_BITS = 63


def fields_to_wire(obj: Any, path: str, names: Iterable[str] | None = None) -> dict[str, Any]:
    """Return fields of a configuration as plain values.

    Args:
        obj: Checked dataclass instance.
        path: Prefix of the field names in messages.
        names: Fields to convert, all by default.

    Raises:
        ConfigError: A value cannot be expressed; the message names the field.
    """
    cls: type = type(obj)
    hints = field_types(cls)
    values = {name: getattr(obj, name) for name in (hints if names is None else names)}
    return {
        name: value if is_plain(value) else value_to_wire(value, join(path, name), hints[name])
        for name, value in values.items()
    }


def is_plain(value: object) -> bool:
    """Return whether a value stands in JSON text as it is, as most do.

    Args:
        value: Any value; an integer does not, for where a number is expected it becomes one.
    """
    kind = type(value)
    if kind is float:
        return math.isfinite(value)  # type: ignore[arg-type]
    return kind is bool or kind is str or value is None


def value_to_wire(value: object, path: str, hint: Any = None) -> Any:
    """Return one value as a plain value.

    Args:
        value: Number, boolean, string, enum member, configuration object or list of them.
        path: Name of the field in messages.
        hint: Annotated type; integers become floats where it is `float`.

    Raises:
        ConfigError: The value cannot be expressed.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, int):
        return _int_to_wire(value, path, as_float=hint is float)
    if isinstance(value, float):
        return _float_to_wire(value, path)
    if isinstance(value, list):
        element = float if hint == list[float] else None
        return [value_to_wire(item, f"{path}[{i}]", element) for i, item in enumerate(value)]
    to_wire = getattr(value, "to_wire", None)
    if to_wire is None:
        raise ConfigError(f"{path}: the core cannot read {describe(value)}")
    return to_wire(path)


def dumps(wire: dict[str, Any]) -> str:
    """Return the JSON text of plain values, without spaces and strictly standard."""
    return json.dumps(wire, allow_nan=False, separators=(",", ":"))


def _int_to_wire(value: int, path: str, as_float: bool) -> int | float:
    if as_float:
        try:
            return float(value)
        except OverflowError:
            raise ConfigError(f"{path}: {describe(value)} is too large; use float('inf')") from None
    if value.bit_length() > _INT_BITS:
        raise ConfigError(
            f"{path}: {describe(value)} does not fit into 64 bits; use a smaller value"
        )
    return value


def _float_to_wire(value: float, path: str) -> float | None:
    if value == math.inf:
        return None
    if not math.isfinite(value):
        raise ConfigError(f"{path}: {value} is not allowed; use a finite value or float('inf')")
    # A subclass such as numpy.float64 would not be written as a plain number by every JSON writer.
    return float(value)
