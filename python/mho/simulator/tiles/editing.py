"""Changes of single fields of the configurations of living tiles."""

import copy
import dataclasses
import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from mho.exceptions import ArgumentError, ConfigError, TileModuleError
from mho.simulator.parameters.attribute_config import AttributeConfig
from mho.simulator.parameters.checking import attribute_types, describe, join
from mho.simulator.parameters.config_base import ConfigBase
from mho.simulator.parameters.mapping import MappingParameter
from mho.simulator.parameters.watching import (
    MISSING,
    changed_fields,
    is_property,
    plain,
    put,
    value_of,
    watch,
)
from mho.simulator.parts.base import Part
from mho.simulator.raw_tiles.base import SimulatorTile
from mho.simulator.state.ordinary import ordinary_tensors

_REPLACE = (
    "copy tile.rpu_config, change the copy and hand it to tile.replace_with, which tells whether it"
    " fits, or build a new tile"
)
_FREE_MAPPING = [f for f in vars(MappingParameter()) if f.startswith("weight_scaling")]
FIXED = {
    "tile_class": _REPLACE,
    "tile_array_class": _REPLACE,
    "simulator_tile_class": _REPLACE,
    # The parameters of the devices were drawn when the tile was built.
    "device": _REPLACE,
    **{
        f"mapping.{field.name}": _REPLACE
        for field in dataclasses.fields(MappingParameter)
        if field.name not in _FREE_MAPPING
    },
    "tuning": "use mho.utils.tuning.learnable and hand its result to tile.replace_with",
    "runtime.data_type": "build a new tile, or use .to(dtype)",
    "runtime.backend": "use tile.to_backend",
}
"""Fields that decide how a tile is built, and what to do instead of changing them."""


class EditedTile(Protocol):
    """What edits need of a tile."""

    rpu_config: Any
    parts: tuple[Part, ...]

    @property
    def tile(self) -> SimulatorTile:
        """Raw tile."""

    def check_config(self, config: Any) -> None:
        """Refuse what this tile does not support."""

    def follow(self) -> None:
        """Follow a new configuration."""

    def own_reference(self) -> Callable[[], Any]:
        """Return what tells objects of the configuration whose they are."""


def check_config(tile: EditedTile, config: Any) -> None:
    """Check everything that a configuration of a tile has to fulfil.

    Args:
        tile: Tile.
        config: Configuration.

    Raises:
        ConfigError: A value is invalid or not supported; the message names the field.
    """
    config.check()
    tile.check_config(config)
    tile.tile.check(config)
    for part in tile.parts:
        part.check(config)


def plan_edit(tile: EditedTile, obj: object, name: str, old: Any) -> Callable[[], None]:
    """Check a change of the configuration of a tile that was made.

    Args:
        tile: Tile.
        obj: Object of the configuration whose field was changed.
        name: Name of the field.
        old: What it was.

    Returns:
        What makes it act.

    Raises:
        ConfigError: The new configuration is invalid or not supported; the message names the field.
        TileModuleError: The field decides how a tile is built.
    """
    paths = [join(path, name) for path in _paths(tile.rpu_config, obj)]
    if not paths:  # the object was part of the configuration once
        return lambda: None
    for path in paths:
        _refuse_fixed_field(obj, name, path, old, value_of(obj, name))
    check_config(tile, tile.rpu_config)
    tile.tile.check_edit(tile.rpu_config)
    return lambda: _act(tile)


@ordinary_tensors()
def _act(tile: EditedTile) -> None:
    watch(tile.rpu_config, tile.own_reference())
    tile.follow()


def _refuse_fixed_field(obj: object, name: str, path: str, old: Any, new: Any) -> None:
    """Refuse as `refuse_fixed` does, unless the class of the object frees the field."""
    if name not in getattr(type(obj), "free_fields", ()):
        refuse_fixed(path, old, new)


def refuse_fixed(path: str, old: Any, new: Any) -> None:
    """Refuse to change what decides how a tile is built.

    Args:
        path: Dotted name of the field that was changed.
        old: What it was.
        new: What it is.

    Raises:
        TileModuleError: Such a field is, or is in, the changed one and has another value.
    """
    for fixed, remedy in FIXED.items():
        if f"{path}.".startswith(f"{fixed}."):
            differs = _differ(old, new)
        elif fixed.startswith(f"{path}."):
            rest = fixed.removeprefix(f"{path}.")
            differs = _differ(getattr(old, rest, MISSING), getattr(new, rest, MISSING))
        else:
            continue
        if differs:
            raise TileModuleError(f"{path}: cannot be changed in a living tile; {remedy}")


def _differ(old: Any, new: Any) -> bool:
    try:
        return bool(old != new)
    except (RuntimeError, TypeError, ValueError):  # arrays, which no field can be, have no answer
        return old is not new


def _paths(config: Any, obj: object, path: str = "") -> Iterator[str]:
    """Yield where an object is in a configuration; it may be in two places."""
    if config is obj:
        yield path
    for name, value in vars(config).items():
        for at, item in _items(name, value):
            if dataclasses.is_dataclass(item) and not isinstance(item, type):
                yield from _paths(item, obj, join(path, at))


def _items(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        for i, item in enumerate(value):
            yield f"{name}[{i}]", item
    else:
        yield name, value


class SharedView:
    """Owner of a copy of a configuration: what is changed there is changed in several tiles."""

    def __init__(self, tiles: list[EditedTile]) -> None:
        """Copy the configuration of the first tile, which the others are expected to have too.

        Args:
            tiles: Tiles, at least one.
        """
        self._tiles = tiles
        self.config = copy.deepcopy(tiles[0].rpu_config)
        # The copy keeps its owner alive, not the other way round only.
        watch(self.config, lambda: self)

    def plan_edit(self, obj: object, name: str, old: Any) -> Callable[[], None]:
        """Change all tiles; see `Owner`."""
        paths = [join(path, name) for path in _paths(self.config, obj)]
        new = value_of(obj, name)
        if any("[" in path for path in paths):
            raise TileModuleError(f"{paths[0]}: cannot be changed in living tiles; {_REPLACE}")
        edit({str(i): tile for i, tile in enumerate(self._tiles)}, dict.fromkeys(paths, new))
        return lambda: None


def edit(tiles: Mapping[str, EditedTile], fields: Mapping[str, Any]) -> None:
    """Change fields of the configurations of tiles, in all tiles or, on any error, in none.

    Args:
        tiles: Tiles by name.
        fields: New values by dotted name of the field, such as `"forward.out_noise"`; every tile
            gets a copy.

    Raises:
        ArgumentError: A name of a field is no text.
        ConfigError: A tile has no such field, or the new configuration is invalid; the message
            names tile and field.
        TileModuleError: The field decides how a tile is built.
    """
    edit_each({name: (tile, fields) for name, tile in tiles.items()})


def edit_each(edits: Mapping[str, tuple[EditedTile, Mapping[str, Any]]]) -> None:
    """Change fields of the configurations of tiles, different ones in each, in all or in none.

    Args:
        edits: Tiles by name, each with the new values as for `edit`.

    Raises:
        ArgumentError: As for `edit`, as the others.
        ConfigError: A tile has no such field, or the new configuration is invalid.
        TileModuleError: A field decides how a tile is built.
    """
    changed: list[tuple[Any, dict[str, Any]]] = []
    steps = []
    try:
        for name, (tile, fields) in edits.items():
            try:
                steps.append(_planned(tile, fields, changed))
            except (ConfigError, TileModuleError) as error:
                raise type(error)(f"tile {name!r}: {error}" if name else str(error)) from error
    except BaseException:
        for obj, old in reversed(changed):
            put(obj, old)
        raise
    for step in steps:
        step()


def _planned(
    tile: EditedTile, fields: Mapping[str, Any], changed: list[tuple[Any, dict[str, Any]]]
) -> Callable[[], None]:
    for path, value in fields.items():
        obj, name = _found(tile.rpu_config, path)
        new = changed_fields(obj, name, plain(obj, name, _copied(path, value)))
        old = {field: vars(obj).get(field, MISSING) for field in new}
        changed.append((obj, old))
        put(obj, new)
        for field in new:
            _refuse_fixed_field(obj, field, path, old[field], new[field])
    check_config(tile, tile.rpu_config)
    tile.tile.check_edit(tile.rpu_config)
    return lambda: _act(tile)


def _copied(path: str, value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except Exception as error:  # whatever the object of a user raises
        raise ConfigError(f"{path}: {describe(value)} cannot be copied: {error}") from error


def _found(config: Any, path: str) -> tuple[Any, str]:
    """Return the object that has a field, and the name of the field in it."""
    if not isinstance(path, str):
        raise ArgumentError(f"field: expected a name such as 'forward.out_noise', got {path!r}")
    *before, name = path.split(".")
    obj, at = config, ""
    for step in before:
        obj, at = _field(obj, step, at), join(at, step)
    _field(obj, name, at)
    return obj, name


def _field(obj: Any, name: str, at: str) -> Any:
    known = vars(obj) if isinstance(obj, (ConfigBase, AttributeConfig)) else {}
    cls: type = type(obj)
    if isinstance(obj, AttributeConfig):  # some have attributes that only some objects have
        known = {n: getattr(obj, n) for n in attribute_types(cls) if hasattr(obj, n)} | known
    if is_property(obj, name):
        return getattr(obj, name)
    if name not in known:
        names = {*known, *(n for n in dir(cls) if is_property(obj, n))}
        public = [n for n in names if not n.startswith("_")]
        close = difflib.get_close_matches(name, public, n=1)
        remedy = f"did you mean {join(at, close[0])!r}?" if close else "there is no such field"
        raise ConfigError(f"{join(at, name)}: {remedy}")
    return known[name]
