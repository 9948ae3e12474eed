"""Fields of a configuration that a tile has no use for: changed ones are named, once."""

import dataclasses
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

from mho.simulator.parameters.checking import default_values, join

_warned: set[tuple[str, str]] = set()


def warn_of_ineffective(tile_class: str, config: object, ignored: tuple[str, ...]) -> None:
    """Warn of fields that differ from their defaults and do nothing; once per tile class and field.

    Defaults are those of the class of the configuration, so presets are silent.

    Args:
        tile_class: Name of the class of the tile.
        config: Configuration, checked.
        ignored: Fields of it that the tile never reads, dotted if they are parts of others.
    """
    cls: Any = type(config)
    changed = [
        path
        for field, default in _defaults(cls, ignored)
        for path in _differing(_value(config, field, default), default, field)
        if (tile_class, path) not in _warned
    ]
    if not changed:
        return
    warnings.warn(
        f"{tile_class}: has no use for {', '.join(changed)}; devices, backward passes, updates and"
        " learning rates are simulated by tiles of the core: use InferenceRPUConfig or"
        " SingleRPUConfig, or leave the defaults",
        stacklevel=2,
    )
    _warned.update((tile_class, path) for path in changed)


@cache
def _defaults(cls: type, ignored: tuple[str, ...]) -> tuple[tuple[str, Any], ...]:
    found = []
    values = default_values(cls)
    for path in ignored:
        name, _, rest = path.partition(".")
        if name in values:
            found.append((path, _value(values[name], rest, None)))
    return tuple(found)


def _value(obj: Any, path: str, missing: Any) -> Any:
    for name in path.split(".") if path else ():
        obj = getattr(obj, name, missing)
    return obj


def _differing(value: Any, default: Any, path: str) -> Iterator[str]:
    """Yield where a value differs from a default: in which of its fields, if it has the same."""
    if type(value) is not type(default) or not dataclasses.is_dataclass(value):
        if type(value) is not type(default) or value != default:
            yield path
        return
    for field in dataclasses.fields(value):
        name = field.name
        yield from _differing(getattr(value, name), getattr(default, name), join(path, name))
