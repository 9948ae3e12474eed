"""Loading of tiles: everything is checked before anything is changed."""

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mho.exceptions import ConfigError, TileError, TileModuleError
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.state.entries import check_entry
from mho.simulator.state.header import decode_header
from mho.simulator.state.names import AnalogTileStateNames as Names
from mho.simulator.state.plan import LoadPlan
from mho.version import __version__

if TYPE_CHECKING:
    from mho.simulator.tiles.stateful import StatefulTile

_ALIASES = (Names.CONTEXT, Names.SHARED_WEIGHTS)
_TORCH_TILES = ("TorchInferenceTile",)


def plan_load(
    tile: "StatefulTile",
    state_dict: Mapping[str, Any],
    prefix: str,
    new_config: RPUConfigBase | None = None,
) -> LoadPlan:
    """Check the entries of a tile in a state dictionary.

    Args:
        tile: Tile to load into.
        state_dict: State of a model.
        prefix: Prefix of the tile.
        new_config: Configuration that the tile is to have; by default the saved or the present one,
            as chosen with `set_load_rpu_config_state`.

    Raises:
        ConfigError: The saved configuration is invalid.
        InputError: An entry has the wrong shape or dtype.
        TileError: The state is of another kind of tile or damaged.
        TileModuleError: The saved configuration does not fit that of the tile.
    """
    entries = {k.removeprefix(prefix): v for k, v in state_dict.items() if k.startswith(prefix)}
    for alias in _ALIASES:
        entries.pop(alias, None)
    if Names.ANALOG_STATE_NAME in entries:
        raise TileError(
            f"{prefix}{Names.ANALOG_STATE_NAME}: use mho.utils.legacy for pickled tile states"
        )
    plan = LoadPlan()
    if Names.CONFIG not in entries:
        plan.missing.append(Names.CONFIG)
        _plan_digital(tile, entries, tile.rpu_config, plan, only_present=True)
        return plan
    header = decode_header(entries.pop(Names.CONFIG))
    saved = _saved_config(header)
    config = _chosen_config(tile, saved, header["tile_class"], new_config)
    replacing = new_config is not None
    raw = tile.tile.plan(
        entries,
        saved,
        config,
        saved_dw_min=header.get("dw_min"),
        foreign=header["tile_class"] in _TORCH_TILES,
        only_present=replacing,
    )
    plan.missing += raw.missing
    if raw.missing:  # parts of an array without the others would be no tile
        _plan_digital(tile, entries, tile.rpu_config, plan, only_present=True)
        return plan
    plan.steps.append(lambda: _configure(tile, config))
    plan.steps.append(raw.commit)
    plan.steps.append(tile._take_lists(entries))
    _plan_digital(tile, entries, config, plan, only_present=replacing)
    plan.steps.append(tile._prepare)
    if replacing:
        plan.unexpected.clear()
    plan.steps.append(lambda: tile.tile.set_learning_rate(header["learning_rate"]))
    return plan


def replace_config(tile: "StatefulTile", rpu_config: RPUConfigBase) -> None:
    """Give a tile another configuration and keep its state.

    Args:
        tile: Tile.
        rpu_config: Configuration, copied.

    Raises:
        ConfigError: The configuration is invalid.
        TileError: The state does not fit the new device; nothing is changed.
    """
    name = type(tile).__name__
    if not rpu_config.compatible_with(name):
        raise TileError(f"rpu_config: {type(rpu_config).__name__} cannot be used by {name}")
    plan_load(tile, tile.state_dict(), "", copy.deepcopy(rpu_config)).commit()


def analog_state(tile: "StatefulTile") -> dict[str, Any]:
    """Return weights, hidden parameters, configuration and learning rate, all copied.

    Args:
        tile: Tile.
    """
    raw = tile.tile
    return {
        Names.MHO_VERSION: __version__,
        Names.CLASS: type(tile).__name__,
        Names.RPU_CONFIG: copy.deepcopy(tile.rpu_config),
        Names.WEIGHTS: raw.get_weights().cpu(),
        Names.HIDDEN_PARAMETERS: raw.get_hidden_parameters().cpu(),
        Names.HIDDEN_PARAMETER_NAMES: raw.get_hidden_parameter_names(),
        Names.LR: raw.get_learning_rate(),
        Names.EXTRA: raw.dump_extra(),
    }


def _saved_config(header: Mapping[str, Any]) -> RPUConfigBase:
    try:
        return RPUConfigBase.from_json(header[Names.RPU_CONFIG])
    except ConfigError as error:
        raise ConfigError(f"{Names.CONFIG}: {error}") from error


def _chosen_config(
    tile: "StatefulTile", saved: RPUConfigBase, saved_class: str, new_config: RPUConfigBase | None
) -> RPUConfigBase:
    if not tile.rpu_config.compatible_with(saved_class):
        raise TileError(
            f"{Names.CONFIG}: a {type(tile).__name__} cannot load the state of a {saved_class}"
        )
    if new_config is None and not tile.load_rpu_config:
        fits, why = tile.compatible_with(saved)
        if not fits:
            raise TileModuleError(f"{Names.CONFIG}: saved configuration: {why}")
        return tile.rpu_config  # type: ignore[no-any-return]
    config = saved if new_config is None else new_config
    config.tile_class = tile.rpu_config.tile_class
    # A tile stays where it is: states travel between machines.
    config.runtime.backend = tile.rpu_config.runtime.backend
    tile._check_config(config)
    if (
        tile.use_bias
        and getattr(config, "mapping", tile.rpu_config.mapping).digital_bias != tile.digital_bias
    ):
        raise TileModuleError(
            "mapping.digital_bias: differs from that of the tile; build a new tile"
        )
    return config


def _configure(tile: "StatefulTile", config: RPUConfigBase) -> None:
    tile.rpu_config = config
    tile._reconfigure()


def _plan_digital(
    tile: "StatefulTile",
    entries: dict[str, Any],
    config: RPUConfigBase,
    plan: LoadPlan,
    only_present: bool,
) -> None:
    expected = tile._digital_entries(config)
    for name, entry in expected.items():
        if name not in entries:
            if entry.required and not only_present:
                plan.missing.append(name)
            if not entry.required and not only_present:
                plan.steps.append(lambda name=name: tile._store_digital(name, None))  # type: ignore[misc]
            continue
        value = check_entry(name, entries[name], entry)
        plan.steps.append(lambda name=name, value=value: tile._store_digital(name, value))  # type: ignore[misc]
    children = {name for name, _ in tile.named_children()}
    plan.unexpected += [n for n in entries if n not in expected and n.split(".")[0] not in children]
