"""The state of a transfer tile in Python: what is checked before it is loaded."""

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from mho.exceptions import ArgumentError, StateError, TileError
from mho.simulator.parameters.arguments import check_flag, check_mapping, check_not_negative
from mho.simulator.raw_tiles.transfer.buffers import checked_buffer, fresh_buffers
from mho.simulator.raw_tiles.transfer.inner import InnerTile, inner_configs
from mho.simulator.state.plan import LoadPlan

_ARRAYS = ("grad_tile", "weight_tile")


class SavedTile(Protocol):
    """What loading needs of the raw tile."""

    d_size: int
    x_size: int
    learning_rate: float
    cell: Any
    grad_tile: InnerTile
    weight_tile: InnerTile
    _buffers: dict[str, Tensor | None]

    def undone_on_error(self) -> Any:
        """Return a context that puts everything back if it raises."""


def plan(
    tile: SavedTile, entries: dict[str, Any], saved: Any, config: Any, replaces: bool
) -> LoadPlan:
    """Check the entries of a transfer tile and take them out of a dictionary.

    Args:
        tile: Raw tile.
        entries: Entries of the tile without prefix; those of the raw tile are removed.
        saved: Configuration that they were written with.
        config: Configuration that the tile is to have.
        replaces: Whether the state is that of the tile itself, which gets another configuration.

    Raises:
        ArgumentError: A value of an array is not finite.
        ConfigError: A configuration is invalid.
        InputError: An entry has the wrong shape or dtype.
        StateError: The entries are those of another cell, or no tile can have them.
    """
    result = LoadPlan()
    own = _taken(entries, "tile.")
    configs = zip(_ARRAYS, inner_configs(saved), inner_configs(config), strict=True)
    for name, old, new in configs:
        array: InnerTile = getattr(tile, name)
        try:
            part = array.plan(_taken(own, f"{name}."), old, new, replaces)
        except (ArgumentError, TileError) as error:
            raise type(error)(f"tile.{name}.{error}") from error
        result.missing += [f"tile.{name}.{entry}" for entry in part.missing]
        result.unexpected += [f"tile.{name}.{entry}" for entry in part.unexpected]
        result.steps.append(part.commit)
    old_names, fresh = (
        fresh_buffers(c.device, tile.d_size, tile.x_size, 0) for c in (saved, config)
    )
    if {n: v.shape for n, v in old_names.items()} != {n: v.shape for n, v in fresh.items()}:
        raise StateError(
            f"tile: the state is that of {_kind(saved)}, but the tile has {_kind(config)};"
            " build a new tile"
        )
    result.missing += [f"tile.{name}" for name in fresh if name not in own]
    result.unexpected += [f"tile.{name}" for name in own if name not in fresh]
    new_values = {n: checked_buffer(f"tile.{n}", own[n], v) for n, v in fresh.items() if n in own}
    line, lines = new_values.get("current_slice_indices"), len(fresh["in_chopper"])
    if line is not None and int(line) >= lines:
        raise StateError(f"tile.current_slice_indices: expected 0 to {lines - 1}, got {int(line)}")
    result.steps.append(lambda: _hold(tile, new_values))
    return result


def _kind(config: Any) -> str:
    lines = "columns" if config.device.transfer_columns else "rows"
    return f"{type(config.device).__name__} of {lines}"


def _taken(entries: dict[str, Any], prefix: str) -> dict[str, Any]:
    names = [name for name in entries if name.startswith(prefix)]
    return {name.removeprefix(prefix): entries.pop(name) for name in names}


@torch.no_grad()
def _hold(tile: SavedTile, values: Mapping[str, Tensor]) -> None:
    """Write buffers, those of another cell in place of the present ones."""
    present = tile._buffers
    for name in [name for name in present if name not in values and name != "weight"]:
        del present[name]
    for name, value in values.items():
        old = present.get(name)
        if old is not None and old.shape == value.shape:
            old.copy_(value)
        else:
            present[name] = value.clone()


def dump_extra(tile: SavedTile) -> dict[str, Any]:
    """Return learning rate, buffers, and what both arrays return, as plain lists.

    Args:
        tile: Raw tile.
    """
    own = {name: _own(tile, name).flatten().tolist() for name in _names(tile)}
    extra = {"learning_rate": [tile.learning_rate], **own}
    for name in _ARRAYS:
        inner = getattr(tile, name).tile.dump_extra()
        extra |= {f"{name}.{key}": value for key, value in inner.items()}
    return extra


def load_extra(tile: SavedTile, extra: Mapping[str, Any], strict: bool) -> None:
    """Restore what `dump_extra` returned.

    Args:
        tile: Raw tile.
        extra: Output of `dump_extra`; names that are absent keep their value.
        strict: Raise on names that this tile has and `extra` has not.

    Raises:
        StateError: An entry is missing, unknown or unusable; nothing is changed.
    """
    given = dict(check_mapping("extra", extra))
    parts = {name: _taken(given, f"{name}.") for name in _ARRAYS}
    known = {"learning_rate", *_names(tile)}
    missing = known - set(given) if check_flag("strict", strict) else set()
    unknown = set(given) - known
    if unknown or missing:
        raise StateError(
            f"extra: expected entries {sorted(known)} and those of both arrays; missing"
            f" {sorted(missing)}, unknown {sorted(map(str, unknown))}"
        )
    values = {name: _value(tile, name, given.pop(name)) for name in _names(tile) if name in given}
    rate = tile.learning_rate
    if given:
        try:
            rate = check_not_negative("learning_rate", given["learning_rate"][0])
        except (TypeError, IndexError, KeyError, ArgumentError) as error:
            raise StateError(f"extra: learning_rate cannot be read: {error}") from error
    with tile.undone_on_error():
        for name, part in parts.items():
            array: InnerTile = getattr(tile, name)
            array.tile.load_extra(part, strict)
            array.note_step()
        for name, value in values.items():
            _own(tile, name).copy_(value)
    tile.learning_rate = rate


def _names(tile: SavedTile) -> list[str]:
    """Return the buffers that are no planes of hidden parameters."""
    fresh = fresh_buffers(tile.cell, tile.d_size, tile.x_size, 0)
    return [name for name, value in fresh.items() if value.dim() == 1]


def _own(tile: SavedTile, name: str) -> Tensor:
    value = tile._buffers[name]
    assert value is not None
    return value


def _value(tile: SavedTile, name: str, values: Any) -> Tensor:
    like = _own(tile, name)
    try:
        value = torch.tensor(values, dtype=like.dtype, device="cpu")
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise StateError(f"extra: {name} cannot be read: {error}") from error
    return checked_buffer(f"extra.{name}", value, like)
