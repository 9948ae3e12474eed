"""Configurations that belong to tiles: every change is checked by them, and acts at once.

An object of a configuration knows whose it is, its lists and dictionaries know the object that they
are in. A change is made, then every owner checks it; if one refuses, it is undone and the error
raised.
"""

import copy
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Protocol

import numpy as np

MISSING: Any = object()
"""Stands for the value of a field that was deleted, or was not there."""


class Owner(Protocol):
    """Who is asked about changes of a configuration."""

    def plan_edit(self, obj: object, name: str, old: Any) -> Callable[[], None]:
        """Check a change that was made; returns what makes it act, which cannot fail.

        Args:
            obj: Object whose field was changed.
            name: Name of the field.
            old: What it was.

        Raises:
            MhoException: The change is refused.
        """


Reference = Callable[[], Owner | None]
"""Returns an owner, or None if it is gone."""


def watch(value: Any, reference: Reference) -> None:
    """Make an owner know of every change of a configuration and of all that is in it.

    Args:
        value: Object of a configuration; what is none is left alone.
        reference: Returns the owner; the same one for every call about it.
    """
    if not hasattr(type(value), "_owners"):
        return
    known: tuple[Reference, ...] = getattr(value, "_owners", ())
    if reference not in known:
        living = tuple(other for other in known if other() is not None)
        object.__setattr__(value, "_owners", (*living, reference))
    for name, item in vars(value).items():
        vars(value)[name] = _watched(item, value, name, reference)


def _watched(item: Any, holder: Any, name: str, reference: Reference) -> Any:
    if isinstance(item, dict):  # of plain values, in all configurations
        ours = isinstance(item, WatchedDict) and item.holder is holder
        return item if ours else WatchedDict(item, holder, name)
    if not isinstance(item, list):
        watch(item, reference)
        return item
    values = [_watched(value, holder, name, reference) for value in item]
    if isinstance(item, WatchedList) and item.holder is holder:
        list.__setitem__(item, slice(None), values)
        return item
    return WatchedList(values, holder, name)


def assign(obj: Any, name: str, value: Any) -> None:
    """Change a field of an object that has owners; on any error it stays what it was.

    Args:
        obj: Object of a configuration.
        name: Name of the field, or of a property that stands for some.
        value: New value; `MISSING` deletes the field.
    """
    before, new = value_of(obj, name), changed_fields(obj, name, value)
    old = {field: vars(obj).get(field, MISSING) for field in new}
    put(obj, new)
    settle(obj, name, before, lambda: put(obj, old))


def value_of(obj: object, name: str) -> Any:
    """Return the value of a field or property, `MISSING` where there is none.

    Args:
        obj: Object of a configuration.
        name: Name.
    """
    return getattr(obj, name) if is_property(obj, name) else vars(obj).get(name, MISSING)


def changed_fields(obj: Any, name: str, value: Any) -> dict[str, Any]:
    """Return what an assignment changes, by field: one value, or those that a property stands for.

    Args:
        obj: Object of a configuration; stays as it is.
        name: Name of a field, or of a property with a setter.
        value: Value that is assigned.
    """
    if not is_property(obj, name) or value is MISSING:
        return {name: value}
    other = copy.copy(obj)  # belongs to nobody, so the setter can change one field after another
    setattr(other, name, value)
    before = vars(obj)
    return {n: new for n, new in vars(other).items() if before.get(n, MISSING) is not new}


def is_property(obj: object, name: str) -> bool:
    """Return whether a name is that of a property that can be assigned.

    Args:
        obj: Object of a configuration.
        name: Name.
    """
    found = getattr(type(obj), name, None)
    return isinstance(found, property) and found.fset is not None


def put(obj: object, values: Mapping[str, Any]) -> None:
    """Write fields of an object without telling anybody.

    Args:
        obj: Object of a configuration.
        values: Values by field; `MISSING` removes one.
    """
    for name, value in values.items():
        if value is MISSING:
            vars(obj).pop(name, None)
        else:
            vars(obj)[name] = value


def settle(obj: Any, name: str, old: Any, undo: Callable[[], None]) -> None:
    """Let the owners check a change that was made, and follow it.

    Args:
        obj: Object whose field was changed.
        name: Name of the field.
        old: What it was.
        undo: Makes it so again.
    """
    owners = [owner for reference in obj._owners if (owner := reference()) is not None]
    try:
        steps = [owner.plan_edit(obj, name, old) for owner in owners]
    except BaseException:
        undo()
        raise
    for step in steps:
        step()


def plain(obj: object, name: str, value: Any) -> Any:
    """Return a value as fields hold it: numbers of NumPy as Python's, None as the choice `NONE`.

    Args:
        obj: Object of a configuration.
        name: Name of the field.
        value: Value that is assigned.
    """
    if value is None:
        default = getattr(type(obj), name, None)
        return getattr(type(default), "NONE", None) if isinstance(default, Enum) else None
    if isinstance(value, np.generic):
        return _number(value)
    if type(value) is list and any(isinstance(item, np.generic) for item in value):
        return [_number(item) if isinstance(item, np.generic) else item for item in value]
    return value


def _number(value: "np.generic[Any]") -> Any:
    if isinstance(value, np.floating):  # a long double is not converted by `item`
        return float(value)
    return value.item()


class WatchedList(list[Any]):
    """List in a configuration that has owners; copies of it are plain lists."""

    def __init__(self, values: list[Any], holder: Any, name: str) -> None:
        """Remember where it is.

        Args:
            values: Elements.
            holder: Object of the configuration that it belongs to.
            name: Name of its field there.
        """
        super().__init__(values)
        self.holder, self.name = holder, name

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Copy and pickle as a plain list."""
        return list, (list(self),)

    def _change(self, method: str, *args: Any, **kwargs: Any) -> Any:
        old = list(self)
        result = getattr(list, method)(self, *args, **kwargs)
        settle(self.holder, self.name, old, lambda: list.__setitem__(self, slice(None), old))
        return result

    def __setitem__(self, at: Any, value: Any) -> None:
        """Replace elements."""
        self._change("__setitem__", at, value)

    def __delitem__(self, at: Any) -> None:
        """Remove elements."""
        self._change("__delitem__", at)

    def __iadd__(self, values: Any) -> "WatchedList":  # type: ignore[misc]
        """Add elements at the end."""
        self._change("__iadd__", values)
        return self

    def __imul__(self, count: Any) -> "WatchedList":  # type: ignore[misc]
        """Repeat the elements."""
        self._change("__imul__", count)
        return self

    def append(self, value: Any) -> None:
        """Add an element at the end."""
        self._change("append", value)

    def extend(self, values: Any) -> None:
        """Add elements at the end."""
        self._change("extend", values)

    def insert(self, at: Any, value: Any) -> None:
        """Add an element before another one."""
        self._change("insert", at, value)

    def pop(self, at: Any = -1) -> Any:
        """Remove an element and return it."""
        return self._change("pop", at)

    def remove(self, value: Any) -> None:
        """Remove the first element of a value."""
        self._change("remove", value)

    def clear(self) -> None:
        """Remove all elements."""
        self._change("clear")

    def reverse(self) -> None:
        """Reverse the order."""
        self._change("reverse")

    def sort(self, **kwargs: Any) -> None:
        """Sort the elements."""
        self._change("sort", **kwargs)


class WatchedDict(dict[Any, Any]):
    """Dictionary in a configuration that has owners; copies of it are plain dictionaries."""

    def __init__(self, values: Mapping[Any, Any], holder: Any, name: str) -> None:
        """Remember where it is.

        Args:
            values: Entries.
            holder: Object of the configuration that it belongs to.
            name: Name of its field there.
        """
        super().__init__(values)
        self.holder, self.name = holder, name

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Copy and pickle as a plain dictionary."""
        return dict, (dict(self),)

    def _change(self, method: str, *args: Any, **kwargs: Any) -> Any:
        old = dict(self)

        def undo() -> None:
            dict.clear(self)
            dict.update(self, old)

        result = getattr(dict, method)(self, *args, **kwargs)
        settle(self.holder, self.name, old, undo)
        return result

    def __setitem__(self, key: Any, value: Any) -> None:
        """Set an entry."""
        number = isinstance(value, np.generic)
        self._change("__setitem__", key, _number(value) if number else value)

    def __delitem__(self, key: Any) -> None:
        """Remove an entry."""
        self._change("__delitem__", key)

    def __ior__(self, other: Any) -> "WatchedDict":  # type: ignore[misc]
        """Set entries."""
        self.update(other)
        return self

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set entries."""
        self._change("update", *args, **kwargs)

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """Return an entry, set before if there is none."""
        return self._change("setdefault", key, default)

    def pop(self, key: Any, *default: Any) -> Any:
        """Remove an entry and return it."""
        return self._change("pop", key, *default)

    def popitem(self) -> Any:
        """Remove the last entry and return it."""
        return self._change("popitem")

    def clear(self) -> None:
        """Remove all entries."""
        self._change("clear")
