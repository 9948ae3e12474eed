"""Check of the names and types of configuration values.

The rules are those of the field's standard: an integer may stand for a float, nothing may stand for
a boolean, and an attribute that is not a field is a typing mistake. They hold for every level of a
configuration.
"""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, Union

from mho.exceptions import ConfigError


def check(obj: object, path: str = "") -> None:
    """Check a configuration object and everything in it.

    Args:
        obj: Dataclass instance, or a plain object, whose attributes are then searched for
            configurations.
        path: Prefix of the field names in messages, such as `"forward"`.

    Raises:
        ConfigError: An attribute is not a field, is missing, is NaN or has the wrong type.
    """
    if not dataclasses.is_dataclass(obj) or isinstance(obj, type):
        raise ConfigError(
            f"{path or 'configuration'}: expected a configuration, got {describe(obj)}"
        )
    hints = field_types(type(obj))
    _check_names(obj, hints, path)
    for name, hint in hints.items():
        _check_value(getattr(obj, name), hint, join(path, name))


def join(path: str, name: str) -> str:
    """Return the dotted path of a field of the object at `path`."""
    return f"{path}.{name}" if path else name


def describe(value: object) -> str:
    """Return a short description of a value for messages."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # Python refuses to write integers of several thousand digits
        text = "a huge integer"
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"


@cache
def field_types(cls: type) -> Mapping[str, Any]:
    """Return the evaluated type of every field of a dataclass, in field order.

    Args:
        cls: Dataclass.

    Raises:
        ConfigError: An annotation names something that its module does not have.
    """
    try:
        hints = typing.get_type_hints(cls)
    except NameError as error:
        raise ConfigError(
            f"{cls.__name__}: annotations cannot be evaluated ({error});"
            " define the class at module level"
        ) from error
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def type_name(hint: Any) -> str:
    """Return a readable name of a type annotation."""
    if hint is type(None):
        return "None"
    if typing.get_origin(hint) in (Union, types.UnionType):
        return " or ".join(type_name(arg) for arg in typing.get_args(hint))
    return hint.__name__ if isinstance(hint, type) and not typing.get_origin(hint) else str(hint)


def _check_names(obj: object, hints: Mapping[str, Any], path: str) -> None:
    cls = type(obj).__name__
    for name in vars(obj):
        if name not in hints:
            close = difflib.get_close_matches(name, hints, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "remove it or correct its name"
            raise ConfigError(f"{join(path, name)}: {cls} has no field {name!r}; {hint}")
    for name in hints:
        if not hasattr(obj, name):
            raise ConfigError(
                f"{join(path, name)}: {cls} lacks the field {name!r}; assign it a value"
            )


def _check_value(value: object, hint: Any, path: str) -> None:
    if not _fits(value, hint):
        raise ConfigError(
            f"{path}: expected {type_name(hint)}, got {describe(value)}{_remedy(value)}"
        )
    if isinstance(value, float) and math.isnan(value):
        raise ConfigError(f"{path}: expected a number, got NaN; assign a finite value")
    if isinstance(value, list):
        element = _element_type(hint)
        for i, item in enumerate(value):
            _check_value(item, element, f"{path}[{i}]")
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        check(value, path)


def _element_type(hint: Any) -> Any:
    for candidate in typing.get_args(hint) if _is_union(hint) else (hint,):
        if typing.get_origin(candidate) is list:
            return typing.get_args(candidate)[0]
    return Any


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (Union, types.UnionType)


def _fits(value: object, hint: Any) -> bool:
    if hint is Any:
        return True
    if _is_union(hint):
        return any(_fits(value, arg) for arg in typing.get_args(hint))
    if hint is float:
        return isinstance(value, (float, int)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, typing.get_origin(hint) or hint)


def _remedy(value: object) -> str:
    if isinstance(value, type):
        return f"; create an instance: {value.__name__}()"
    return "; use a list" if isinstance(value, tuple) else ""
