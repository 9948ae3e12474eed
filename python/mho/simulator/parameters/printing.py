"""Readable form of configurations: the constructor call with what differs from the defaults.

Field metadata that steers it: `hide_if` hides a field that equals the value, `hide_default` hides
one that equals what its factory makes, `always_show` shows it in any case.
"""

import dataclasses
from enum import Enum
from types import FunctionType
from typing import Any

_INDENT = "    "
_MAX_ENTRIES_PER_LINE = 3


def format_config(obj: Any) -> str:
    """Return a dataclass instance as a constructor call without the fields at their defaults.

    Args:
        obj: Dataclass instance; one with a true `is_perfect` shows nothing else.
    """
    if getattr(obj, "is_perfect", False):
        return f"{type(obj).__name__}(is_perfect=True)"
    shown = {f.name: getattr(obj, f.name) for f in dataclasses.fields(obj) if _is_shown(obj, f)}
    return format_call(type(obj).__name__, shown)


def format_call(name: str, values: dict[str, Any]) -> str:
    """Return a call with keyword arguments, on one line if it is short.

    Args:
        name: Name of the class.
        values: Arguments in order; more than three, or one with several lines, are put on lines of
            their own.
    """
    entries = [f"{key}={format_value(value)}" for key, value in values.items()]
    return f"{name}({_join(entries)})"


def format_value(value: object) -> str:
    """Return a value as it would be written in code."""
    if isinstance(value, Enum):
        return str(value)
    if isinstance(value, (type, FunctionType)):
        return value.__name__
    if isinstance(value, str):
        return repr(value)
    if isinstance(value, list):
        return _format_list(value)
    return str(value)


def _format_list(values: list[Any]) -> str:
    if not values:
        return "[]"
    return f"[\n{_lines([format_value(value) for value in values])}\n]"


def _join(entries: list[str]) -> str:
    if len(entries) > _MAX_ENTRIES_PER_LINE or any("\n" in entry for entry in entries):
        return f"\n{_lines(entries)}\n"
    return ", ".join(entries)


def _lines(entries: list[str]) -> str:
    return ",\n".join(_INDENT + entry.replace("\n", "\n" + _INDENT) for entry in entries)


def _is_shown(obj: Any, field: "dataclasses.Field[Any]") -> bool:
    value = getattr(obj, field.name)
    if field.metadata.get("always_show"):
        return True
    if "hide_if" in field.metadata and value == field.metadata["hide_if"]:
        return False
    if field.metadata.get("hide_default") and field.default_factory is not dataclasses.MISSING:
        return bool(value != field.default_factory())
    if dataclasses.is_dataclass(value) or field.default is dataclasses.MISSING:
        return True
    return bool(value != field.default)
