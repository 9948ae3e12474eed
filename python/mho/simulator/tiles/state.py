"""Saving and loading of tiles: everything is checked before anything is changed."""

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mho._core import __version__
from mho.exceptions import ArgumentError, ConfigError, InputError, TileError, TileModuleError
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.numeric import check_not_negative
from mho.simulator.tiles import native_state
from mho.simulator.tiles.base import AnalogTileStateNames as Names
from mho.simulator.tiles.native import NativeSimulatorTile

if TYPE_CHECKING:
    from mho.simulator.tiles.stateful import StatefulTile

FORMAT = 1
_ALIASES = (Names.CONTEXT, Names.SHARED_WEIGHTS)
_TORCH_TILES = ("TorchInferenceTile",)
_HEADER_KEYS = {"format", Names.MHO_VERSION, "tile_class", "learning_rate", Names.RPU_CONFIG}


@dataclass
class Entry:
    """What a digital entry of a state may look like."""

    shapes: tuple[tuple[int, ...], ...]
    """Accepted shapes."""

    required: bool = True
    """Whether a state without it is incomplete."""

    positive: bool = False
    """Whether only positive values make sense."""


@dataclass
class LoadPlan:
    """Checked changes of one tile, not made yet."""

    missing: list[str] = field(default_factory=list)
    """Names of absent entries, without prefix."""

    unexpected: list[str] = field(default_factory=list)
    """Names of entries that the tile has no use for, without prefix."""

    steps: list[Callable[[], None]] = field(default_factory=list)
    """Changes in their order; none of them can fail."""

    def commit(self) -> None:
        """Make the changes."""
        with torch.no_grad():
            for step in self.steps:
                step()


_deferred: ContextVar[list[LoadPlan] | None] = ContextVar("deferred", default=None)


@contextmanager
def deferred_commits() -> Iterator[None]:
    """Change no tile inside the block; make all changes after it, unless it raises."""
    plans: list[LoadPlan] = []
    token = _deferred.set(plans)
    try:
        yield
    finally:
        _deferred.reset(token)
    for plan in plans:
        plan.commit()


def commit(plan: LoadPlan) -> None:
    """Make the changes of one tile, at the end of the block of `deferred_commits` if inside one.

    Args:
        plan: Checked changes.
    """
    plans = _deferred.get()
    if plans is None:
        plan.commit()
    else:
        plans.append(plan)


def encode_header(tile: "StatefulTile") -> Tensor:
    """Return class, configuration and learning rate of a tile as UTF-8 JSON text in a uint8 tensor.

    Args:
        tile: Tile.

    Raises:
        ConfigError: The configuration contains a class that is not registered.
    """
    header = {
        "format": FORMAT,
        Names.MHO_VERSION: __version__,
        "tile_class": type(tile).__name__,
        "learning_rate": tile.tile.get_learning_rate(),
        Names.RPU_CONFIG: tile.rpu_config.to_json(),
    }
    dw_min = getattr(tile.tile, "dw_min", None)
    if dw_min is not None:
        header["dw_min"] = dw_min
    return torch.frombuffer(bytearray(json.dumps(header).encode()), dtype=torch.uint8)


def decode_header(value: object) -> dict[str, Any]:
    """Return the content of the entry written by `encode_header`.

    Args:
        value: Entry of a state dictionary.

    Raises:
        TileError: It cannot be read.
    """
    if not isinstance(value, Tensor) or value.dtype is not torch.uint8 or value.dim() != 1:
        raise TileError(
            f"{Names.CONFIG}: expected a uint8 tensor of one axis, got {_describe(value)}"
        )
    try:
        header = json.loads(bytes(value.cpu().tolist()).decode())
    except (ValueError, RecursionError) as error:
        raise TileError(f"{Names.CONFIG}: is truncated or no JSON text: {error}") from error
    if not isinstance(header, dict) or set(header) < _HEADER_KEYS:
        raise TileError(
            f"{Names.CONFIG}: expected keys {sorted(_HEADER_KEYS)}; this is not the state of a tile"
        )
    if header["format"] != FORMAT:
        raise TileError(
            f"{Names.CONFIG}: format {header['format']!r} is not supported by mho {__version__};"
            f" it was written by mho {header[Names.MHO_VERSION]}"
        )
    for name in ("learning_rate", "dw_min"):
        _check_number(name, header.get(name))
    return header


def _check_number(name: str, value: Any) -> None:
    try:
        if value is not None:
            check_not_negative(name, value)
    except ArgumentError as error:
        raise TileError(f"{Names.CONFIG}: {error}") from error


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
    if isinstance(tile.tile, NativeSimulatorTile):
        core = native_state.plan(
            tile,
            tile.tile,
            entries,
            saved,
            config,
            saved_dw_min=header.get("dw_min"),
            foreign=header["tile_class"] in _TORCH_TILES,
        )
        plan.missing += core.missing
        if core.missing:  # parts of an array without the others would be no tile
            _plan_digital(tile, entries, tile.rpu_config, plan, only_present=True)
            return plan
        plan.steps.append(lambda: _configure(tile, config))
        plan.steps.append(core.commit)
    else:
        entries = {name: value for name, value in entries.items() if not name.startswith("tile.")}
        plan.steps.append(lambda: _configure(tile, config))
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
        value = _check_entry(name, entries[name], entry)
        plan.steps.append(lambda name=name, value=value: tile._store_digital(name, value))  # type: ignore[misc]
    children = {name for name, _ in tile.named_children()}
    plan.unexpected += [n for n in entries if n not in expected and n.split(".")[0] not in children]


def _check_entry(name: str, value: object, entry: Entry) -> Tensor:
    if not isinstance(value, Tensor) or not value.dtype.is_floating_point:
        raise InputError(f"{name}: expected a floating-point tensor, got {_describe(value)}")
    if tuple(value.shape) not in entry.shapes:
        shapes = " or ".join(str(shape) for shape in entry.shapes)
        raise InputError(f"{name}: expected shape {shapes}, got {tuple(value.shape)}")
    if not bool(torch.isfinite(value).all()) or (entry.positive and not bool((value > 0.0).all())):
        raise TileError(f"{name}: values must be finite{' and positive' if entry.positive else ''}")
    return value.detach()


def _describe(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a {value.dtype} tensor of shape {tuple(value.shape)}"
    return f"a {type(value).__name__}"


def assign(module: nn.Module, name: str, value: Tensor) -> None:
    """Write a parameter or buffer in place if it has that shape, else register it as a buffer.

    Args:
        module: Owner.
        name: Name of the parameter or buffer.
        value: New values.
    """
    old: Tensor | None = module._parameters.get(name)
    if old is None:
        old = module._buffers.get(name)
    if old is not None and old.shape == value.shape:
        old.data.copy_(value)
    elif module._parameters.get(name) is not None:
        module._parameters[name].data = value.clone().to(module._parameters[name].dtype)  # type: ignore[union-attr]
    else:
        module._buffers[name] = value.detach().clone()
