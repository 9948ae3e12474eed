"""Loading of tiles: everything is checked before anything is changed."""

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from torch import nn

from mho import _core
from mho.exceptions import ArgumentError, ConfigError, StateError, TileError, TileModuleError
from mho.simulator.parameters.arguments import check_mapping
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parts.base import Part
from mho.simulator.raw_tiles.base import SimulatorTile
from mho.simulator.state.entries import Entry, check_entry, check_readable
from mho.simulator.state.header import decode_header
from mho.simulator.state.names import AnalogTileStateNames as Names
from mho.simulator.state.plan import LoadPlan, commit
from mho.simulator.state.tensor_group import TensorGroup
from mho.simulator.tiles.editing import check_config

_ALIASES = (Names.CONTEXT, Names.SHARED_WEIGHTS)
_TORCH_TILES = ("TorchInferenceTile",)


class LoadableTile(Protocol):
    """What loading needs of a tile."""

    rpu_config: Any
    out_size: int
    in_size: int
    use_bias: bool
    digital_bias: bool
    load_rpu_config: bool
    parts: tuple[Part, ...]

    @property
    def tile(self) -> SimulatorTile:
        """Raw tile."""

    def check_config(self, config: Any) -> None:
        """Refuse what this tile does not support."""

    def take_config(self, config: RPUConfigBase) -> None:
        """Hold a checked configuration."""

    def own_reference(self) -> Callable[[], Any]:
        """Return what tells objects of the configuration whose they are."""

    def compatible_with(self, rpu_config: RPUConfigBase) -> tuple[bool, str | None]:
        """Return whether the tile could have a configuration, and if not why."""

    def follow(self) -> None:
        """Follow a new configuration."""

    def settle(self) -> None:
        """Compute what depends on configuration and state."""

    def named_children(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield the children by name."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""


def plan_load(
    tile: LoadableTile,
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
        ArgumentError: The state is no dictionary, or the prefix no text.
        ConfigError: The saved configuration is invalid.
        InputError: An entry has the wrong shape or dtype.
        StateError: The state is of another kind of tile or damaged.
        TileModuleError: The saved configuration does not fit that of the tile.
    """
    given = check_mapping("state_dict", state_dict).items()
    if not isinstance(prefix, str):
        raise ArgumentError(f"prefix: expected text, got {type(prefix).__name__}")
    entries = {k.removeprefix(prefix): v for k, v in given if str(k).startswith(prefix)}
    try:
        check_readable(entries)
        return _plan(tile, entries, new_config)
    except (ArgumentError, ConfigError, TileError) as error:
        if not prefix:
            raise
        # Messages begin with the name of an entry; the prefix makes it the name in the state.
        raise type(error)(f"{prefix}{error}") from error


def _plan(
    tile: LoadableTile, entries: dict[str, Any], new_config: RPUConfigBase | None
) -> LoadPlan:
    for alias in _ALIASES:
        entries.pop(alias, None)
    if Names.ANALOG_STATE_NAME in entries:
        raise StateError(
            f"{Names.ANALOG_STATE_NAME}: is the state of a tile of aihwkit; use"
            " mho.utils.legacy.load_aihwkit_state_dict"
        )
    tile.tile.check_entries(entries)
    plan = LoadPlan()
    if Names.CONFIG not in entries:
        plan.missing.append(Names.CONFIG)
        _plan_parts(tile, entries, tile.rpu_config, plan, only_present=True)
        return plan
    header = decode_header(entries.pop(Names.CONFIG))
    saved = _saved_config(tile, header)
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
    plan.unexpected += raw.unexpected
    if raw.missing:  # parts of an array without the others would be no tile
        _plan_parts(tile, entries, tile.rpu_config, plan, only_present=True)
        return plan
    plan.steps += [lambda: _configure(tile, config), raw.commit]
    _plan_parts(tile, entries, config, plan, only_present=replacing)
    plan.steps.append(tile.settle)
    if replacing:
        plan.unexpected.clear()
    rate = header["learning_rate"]
    plan.steps.append(lambda: tile.tile.set_learning_rate(rate))
    return plan


def names_of_children(
    tile: LoadableTile, state_dict: Mapping[str, Any], prefix: str
) -> tuple[list[str], list[str]]:
    """Return missing and unexpected names of what torch loads itself, below the tile.

    Args:
        tile: Tile to load into.
        state_dict: State of a model.
        prefix: Prefix of the tile.
    """
    missing: list[str] = []
    unexpected: list[str] = []
    for name, child in tile.named_children():
        if isinstance(child, TensorGroup):  # planned with the raw tile
            continue
        known = list(child.state_dict(prefix=f"{name}."))
        start = f"{prefix}{name}."
        given = [n.removeprefix(prefix) for n in state_dict if str(n).startswith(start)]
        planned = tile.tile.planned_names
        missing += [n for n in known if n not in given and n not in planned]
        unexpected += [n for n in given if n not in known and n not in planned]
    return missing, unexpected


def replace_config(tile: LoadableTile, rpu_config: RPUConfigBase) -> None:
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
    columns = tile.in_size + (tile.use_bias and not tile.digital_bias)
    config = copy.deepcopy(rpu_config).for_tile(tile.out_size, columns)
    commit(plan_load(tile, tile.state_dict(), "", config))


def _saved_config(tile: LoadableTile, header: Mapping[str, Any]) -> RPUConfigBase:
    if header[Names.RPU_CONFIG] is None:
        return _own_config(tile, header["core"])
    try:
        return RPUConfigBase.from_json(header[Names.RPU_CONFIG])
    except ConfigError as error:
        raise ConfigError(f"{Names.CONFIG}: {error}") from error


def _own_config(tile: LoadableTile, core: str) -> RPUConfigBase:
    """Return a copy of the configuration of a tile, which a state made without Python must fit."""
    own = tile.tile.core_text
    sizes = tile.out_size, tile.in_size + int(tile.use_bias and not tile.digital_bias)
    # As the core writes it, whoever wrote the text: with all fields, in one order.
    if own is None or _core.TileSpec(own, *sizes).config != _core.TileSpec(core, *sizes).config:
        raise StateError(
            f"{Names.CONFIG}: was made without Python, and {type(tile.rpu_config).__name__} is not"
            " of the same tile of the core; build the tile with the same device, products and"
            " update"
        )
    config: RPUConfigBase = copy.deepcopy(tile.rpu_config)
    return config


def _chosen_config(
    tile: LoadableTile,
    saved: RPUConfigBase,
    saved_class: str | None,
    new_config: RPUConfigBase | None,
) -> RPUConfigBase:
    if saved_class is not None and not tile.rpu_config.compatible_with(saved_class):
        raise StateError(
            f"{Names.CONFIG}: {type(tile).__name__} cannot load the state of {saved_class}; load it"
            f" into a model with {type(saved).__name__}, from which convert_to_digital and"
            " convert_to_analog bring the weights here"
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
    check_config(tile, config)
    if (
        tile.use_bias
        and getattr(config, "mapping", tile.rpu_config.mapping).digital_bias != tile.digital_bias
    ):
        raise TileModuleError(
            "mapping.digital_bias: differs from that of the tile; build a new tile"
        )
    return config


def _configure(tile: LoadableTile, config: RPUConfigBase) -> None:
    tile.take_config(config)
    tile.follow()


def _plan_parts(
    tile: LoadableTile,
    entries: dict[str, Any],
    config: RPUConfigBase,
    plan: LoadPlan,
    only_present: bool,
) -> None:
    known: set[str] = set()
    for part in tile.parts:
        for name, entry in part.entries(config).items():
            if name.endswith(".*"):
                known.update(_plan_list(part, name, entry, entries, plan, only_present))
            else:
                known.add(name)
                _plan_entry(part, name, entry, entries, plan, only_present)
    children = {name for name, _ in tile.named_children()}
    plan.unexpected += [n for n in entries if n not in known and n.split(".")[0] not in children]


def _plan_entry(
    part: Part,
    name: str,
    entry: Entry,
    entries: dict[str, Any],
    plan: LoadPlan,
    only_present: bool,
) -> None:
    if name in entries:
        value = check_entry(name, entries[name], entry)
        plan.steps.append(lambda: part.store(name, value))
    elif only_present:
        return
    elif entry.required:
        plan.missing.append(name)
    else:
        plan.steps.append(lambda: part.store(name, None))


def _plan_list(
    part: Part,
    pattern: str,
    entry: Entry,
    entries: dict[str, Any],
    plan: LoadPlan,
    only_present: bool,
) -> list[str]:
    """Plan the elements of a list in their order; returns their names."""
    start = pattern.removesuffix("*")
    names = sorted((n for n in entries if n.startswith(start)), key=lambda n: (len(n), n))
    if names != [f"{start}{i}" for i in range(len(names))]:
        raise StateError(f"{pattern}: elements must be numbered from 0 on, got {names}")
    if names or not only_present:
        plan.steps.append(lambda: part.store(pattern, None))
    for name in names:
        _plan_entry(part, name, entry, entries, plan, only_present)
    return names
