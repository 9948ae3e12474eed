"""Check of the names and types of configuration values.

The rules are those of the field's standard: an integer may stand for a float, nothing may stand for
a boolean, and an attribute that is not a field is a typing mistake. They hold for every level of a
configuration.
"""

import dataclasses
import difflib
import inspect
import math
import os
import sys
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import Enum
from functools import cache
from typing import Any, ClassVar, Union

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
        value = getattr(obj, name)
        if not _is_plain(value, hint):
            _check_value(value, hint, join(path, name))


def check_attributes(obj: object, path: str = "") -> None:
    """Check an object that is no dataclass, by the annotations of its classes.

    Args:
        obj: Object whose state is its `__dict__`.
        path: Prefix of the names in messages.

    Raises:
        ConfigError: An attribute is missing, unknown, named like a method or of the wrong type.
    """
    cls: type = type(obj)
    values = vars(obj)
    hints = attribute_types(cls)
    closed = _annotates_all(cls)
    for name in values:
        if name in hints:
            continue
        if hasattr(cls, name):
            raise ConfigError(
                f"{join(path, name)}: is a method of {cls.__name__}, not an attribute"
            )
        if closed:
            raise ConfigError(
                f"{join(path, name)}: {cls.__name__} has no attribute {name!r};"
                f" {_name_remedy(name, hints)}"
            )
    for name, hint in hints.items():
        if hasattr(obj, name):
            _check_value(getattr(obj, name), hint, join(path, name))
        elif closed:
            raise ConfigError(
                f"{join(path, name)}: {cls.__name__} lacks the attribute {name!r}; assign it"
            )


@cache
def attribute_types(cls: type) -> Mapping[str, Any]:
    """Return the evaluated annotations of a class and its bases, but for class variables.

    Args:
        cls: Class.

    Raises:
        ConfigError: An annotation names something that its module does not have.
    """
    hints = _evaluated(cls)
    return {n: hint for n, hint in hints.items() if typing.get_origin(hint) is not ClassVar}


def _annotates_all(cls: type) -> bool:
    """Return whether every class with a constructor of its own annotates attributes."""
    with_constructor = [c for c in cls.__mro__[:-1] if "__init__" in vars(c)]
    return all(inspect.get_annotations(c) for c in with_constructor)


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
    hints = _evaluated(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


@cache
def field_names(cls: type) -> tuple[str, ...]:
    """Return the names of the fields of a dataclass, in field order.

    Args:
        cls: Dataclass.
    """
    return tuple(field.name for field in dataclasses.fields(cls))


@cache
def default_values(cls: Any) -> Mapping[str, Any]:
    """Return the defaults of the fields of a dataclass that have one, by name; not to be changed.

    Args:
        cls: Dataclass.
    """
    found = {}
    for field in dataclasses.fields(cls):
        if field.default_factory is not dataclasses.MISSING:
            found[field.name] = field.default_factory()
        elif field.default is not dataclasses.MISSING:
            found[field.name] = field.default
    return found


def _evaluated(cls: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls)
    except NameError as error:
        raise ConfigError(
            f"{cls.__name__}: annotations cannot be evaluated ({error});"
            " define the class at module level"
        ) from error


def type_name(hint: Any) -> str:
    """Return a readable name of a type annotation."""
    if hint is type(None):
        return "None"
    if typing.get_origin(hint) in (Union, types.UnionType):
        return " or ".join(type_name(arg) for arg in typing.get_args(hint))
    origin, of = typing.get_origin(hint), typing.get_args(hint)
    if origin is Mapping:
        return "a dictionary"
    if origin is Callable:
        return "a function"
    if origin in (Collection, Iterable, Sequence):
        return f"a list of {type_name(of[0])}"
    if origin is os.PathLike:
        return "a path"
    return hint.__name__ if isinstance(hint, type) and not typing.get_origin(hint) else str(hint)


def _check_names(obj: object, hints: Mapping[str, Any], path: str) -> None:
    if vars(obj).keys() == hints.keys():
        return
    cls = type(obj).__name__
    for name in vars(obj):
        if name not in hints:
            remedy = _name_remedy(name, hints)
            raise ConfigError(f"{join(path, name)}: {cls} has no field {name!r}; {remedy}")
    for name in hints:
        if not hasattr(obj, name):
            raise ConfigError(
                f"{join(path, name)}: {cls} lacks the field {name!r}; assign it a value"
            )


def _name_remedy(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else "remove it or correct its name"


def _check_value(value: object, hint: Any, path: str) -> None:
    if _is_plain(value, hint):
        return
    if not _fits(value, hint):
        raise ConfigError(
            f"{path}: expected {type_name(hint)}, got {describe(value)}{_remedy(value)}"
        )
    _check_number(value, hint, path)
    if isinstance(value, list):
        element = _element_type(hint)
        for i, item in enumerate(value):
            _check_value(item, element, f"{path}[{i}]")
    elif isinstance(value, dict):
        of_key, of_item = _entry_types(hint)
        for key, item in value.items():
            _check_value(key, of_key, f"{path}: key {key!r}")
            _check_value(item, of_item, f"{path}[{key!r}]")
    elif isinstance(value, type):
        return
    elif callable(own_check := getattr(type(value), "check", None)):
        own_check(value, path)  # of the class: an attribute of this name would hide it
    elif dataclasses.is_dataclass(value):
        check(value, path)


def _is_plain(value: Any, hint: Any) -> bool:
    """Return whether a value is of exactly its type and has nothing else to check, as most are."""
    kind = type(value)
    if kind is not hint:
        return False
    if kind is float:
        return bool(value == value)  # not NaN
    if kind is int:
        return bool(-_BEYOND_INT < value < _BEYOND_INT)
    return kind is bool or kind is str or isinstance(value, Enum)


_BEYOND_INT = 1 << 63


def _check_number(value: object, hint: Any, path: str) -> None:
    if isinstance(value, int) and value.bit_length() > (limit := 1023 if _fits(0.5, hint) else 63):
        raise ConfigError(f"{path}: does not fit into {limit + 1} bits, got {describe(value)}")
    if isinstance(value, float) and math.isnan(value):
        raise ConfigError(f"{path}: expected a number, got NaN; assign a finite value")


def _element_type(hint: Any) -> Any:
    for candidate in typing.get_args(hint) if _is_union(hint) else (hint,):
        if typing.get_origin(candidate) is list:
            return typing.get_args(candidate)[0]
    return Any


def _entry_types(hint: Any) -> tuple[Any, Any]:
    for candidate in typing.get_args(hint) if _is_union(hint) else (hint,):
        if typing.get_origin(candidate) is dict:
            key, item = typing.get_args(candidate)
            return key, item
    return Any, Any


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (Union, types.UnionType)


def _fits(value: object, hint: Any) -> bool:
    if hint is Any:
        return True
    if _is_union(hint):
        return any(_fits(value, arg) for arg in typing.get_args(hint))
    if hint is float:
        # Of integers those that a float can hold at all.
        if isinstance(value, int) and not isinstance(value, bool):
            return value.bit_length() < sys.float_info.max_exp
        return isinstance(value, float)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, typing.get_origin(hint) or hint)


def _remedy(value: object) -> str:
    if isinstance(value, type):
        return f"; create an instance: {value.__name__}()"
    return "; use a list" if isinstance(value, tuple) else ""
