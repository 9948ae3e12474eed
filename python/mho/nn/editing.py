"""Changes of the configurations of tiles that are there, in all layers of a model or in some."""

from collections.abc import Collection, Mapping
from typing import Any

from torch import nn

from mho.exceptions import ArgumentError, ModuleError, TileModuleError
from mho.nn.selection import Key, Place, Selector, nearest, places, selected
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.checking import describe
from mho.simulator.parameters.signatures import checked
from mho.simulator.state.plan import deferred_commits
from mho.simulator.tiles import editing
from mho.simulator.tiles.module import TileModule

Change = Mapping[str, Any] | RPUConfigBase | None
"""New values by dotted name of the field, a whole configuration, or None for no change."""


@checked
def edit_config(
    model: nn.Module,
    field: str,
    value: Any,
    layers: Key | Collection[Key] | None = None,
) -> None:
    """Change one field of the configurations of tiles, for sensitivity sweeps.

    Acts from the next call on, in all tiles or, on any error, in none. The same as an assignment to
    `tile.rpu_config` of each tile. To change several fields that only go together, assign the
    object that they are in: `edit_config(model, "forward", IOParameters(...))`.

    Args:
        model: Any module with analog layers.
        field: Dotted name of the field, such as `"forward.out_noise"` or
            `"noise_model.drift_scale"`.
        value: New value; every tile gets a copy.
        layers: Key, or several, as in the rules of `convert_to_analog`: only tiles inside of what
            one selects are changed. All by default.

    Raises:
        ArgumentError: `model` is no module, `field` no text, or a key selects no tile.
        ConfigError: A tile has no such field, or cannot do it; the message names both.
        ModuleError: There are no tiles.
        TileModuleError: The field decides how a tile is built, such as its device.
    """
    if not any(_is_tile(module) for module in model.modules()):
        raise ModuleError("model: has no analog tiles")
    keys: Key | Collection[Key] = "re:.*" if layers is None else layers
    found = selected("layers", model, "", keys, _is_tile, "analog tile")
    editing.edit(_by_name(found), {field: value})


@checked
def edit_by_rules(model: nn.Module, rules: Mapping[Any, Change]) -> None:
    """Change the configurations of tiles by rules, in all of them or, on any error, in none.

    Rules are those of `convert_to_analog`, for models that are analog already: the first one that
    selects a tile, or a module around it, counts. What none selects stays as it is.

    Args:
        model: Any module with analog layers.
        rules: By key: new values by dotted name of the field, as for `edit_config`; a whole
            configuration, which must fit the tiles as for ``replace_rpu_config``; or None, which
            keeps the present configuration.

    Raises:
        ArgumentError: A key or a change is none, or a rule selects no tile, or comes after others
            that select all of its tiles.
        ConfigError: A tile has no such field, or cannot do it; the message names both.
        TileModuleError: A field decides how a tile is built, or a configuration does not fit.
    """
    selectors = [Selector("rules", key) for key in rules]
    changes = list(rules.values())
    for selector, change in zip(selectors, changes, strict=True):
        if not isinstance(change, (Mapping, RPUConfigBase, type(None))):
            raise ArgumentError(
                f"rules[{selector}]: expected new values by name of the field, a configuration or"
                f" None, got {describe(change)}"
            )
    decided = _decided(model, selectors)
    edits: dict[str, tuple[TileModule, Mapping[str, Any]]] = {}
    with deferred_commits():
        for place, number in decided:
            change = changes[number]
            tile: Any = place.module
            if isinstance(change, RPUConfigBase):
                _replace(place.name, tile, change)
            elif change is not None:
                edits[place.name] = tile, change
        editing.edit_each(edits)


def _decided(model: nn.Module, selectors: list[Selector]) -> list[tuple[Place, int]]:
    """Return the tiles that are selected, with the numbers of the first keys that select them."""
    every = [place for place in places(model, "", selectors) if _is_tile(place.module)]
    first: dict[int, tuple[Place, int]] = {}
    for place in every:
        for number in place.selected_by[:1]:
            known = first.get(id(place.module))
            if known is None or number < known[1]:
                first[id(place.module)] = place, number
    reached = {number for _, number in first.values()}
    for number, selector in enumerate(selectors):
        if number in reached:
            continue
        if any(number in place.selected_by for place in every):
            raise ArgumentError(
                f"rules: {selector} comes too late, since the first rule that selects a tile"
                " counts, and others before it select all of its tiles; move it up"
            )
        hint = nearest(selector, [place.name for place in every])
        raise ArgumentError(f"rules: {selector} selects no analog tile{hint}")
    return list(first.values())


def _replace(name: str, tile: TileModule, config: RPUConfigBase) -> None:
    fits, why = tile.compatible_with(config)
    if not fits:
        raise TileModuleError(
            f"rules: {type(config).__name__} does not fit tile {name!r}: {why}; to get it all the"
            " same, use convert_to_digital and convert_to_analog for the layer"
        )
    tile.replace_with(config)


def _is_tile(module: nn.Module) -> bool:
    return isinstance(module, TileModule)


def _by_name(found: list[Place]) -> dict[str, Any]:
    """Return every tile once, by the first of its names."""
    tiles: dict[int, Place] = {}
    for place in found:
        tiles.setdefault(id(place.module), place)
    return {place.name: place.module for place in tiles.values()}
