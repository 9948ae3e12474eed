"""Dataclasses that are read from nested mappings, with every key checked.

A field is what its metadata say: with `unit` a quantity, with `named` parts of a dataclass by name,
or quantities if it is None. Without, one that is made by a dataclass is a part, and all others are
numbers, truth values or text, as annotated.
"""

import difflib
from collections.abc import Mapping
from dataclasses import Field, fields, is_dataclass
from typing import Any, TypeVar

from mho.exceptions import ConfigError
from mho.utils.hardware_cost.quantity import read_quantity

PartT = TypeVar("PartT")


def read_part(cls: type[PartT], given: Any, key: str) -> PartT:
    """Return a dataclass with what a mapping says of its fields.

    Args:
        cls: Dataclass with fields as above.
        given: Mapping from names of fields.
        key: File and key in messages, with a dot or colon behind.

    Raises:
        ConfigError: A key is unknown or a value does not fit; the message has file and key.
    """
    if not isinstance(given, Mapping):
        raise ConfigError(f"{key.rstrip('.: ')}: expected a table of keys, got {given!r}")
    known = {f.name: f for f in fields(cls) if f.init}  # type: ignore[arg-type]
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, 1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
            raise ConfigError(f"{key}{name}: unknown key; {hint}")
    return cls(**{name: _read(known[name], value, key + name) for name, value in given.items()})


def _read(known: Field[Any], given: Any, key: str) -> Any:
    marks: Any = known.metadata
    if is_dataclass(known.default_factory):
        return read_part(known.default_factory, given, f"{key}.")
    if "named" in marks:
        if not isinstance(given, Mapping):
            raise ConfigError(f"{key}: expected a table of names, got {given!r}")
        cls = marks["named"]
        return {
            name: read_quantity(value, marks["unit"], f"{key}.{name}")
            if cls is None
            else read_part(cls, value, f"{key}.{name}.")
            for name, value in given.items()
        }
    if "unit" in marks:
        return read_quantity(given, marks["unit"], key)
    return _read_plain(known.type, given, key)


def _read_plain(kind: Any, given: Any, key: str) -> Any:
    if kind == int | None:
        # Counts have sources too.
        number = read_quantity(given, "", key)
        if number.value < 1.0 or not number.value.is_integer():
            raise ConfigError(f"{key}: expected a positive integer, got {number.value:g}")
        return int(number.value)
    if not isinstance(given, kind):
        word = "true or false" if kind is bool else "text"
        raise ConfigError(f"{key}: expected {word}, got {given!r}")
    return given
