"""Drift of trained tiles to a point in time, by the power law of their devices."""

from collections.abc import Iterator
from typing import Any

import torch

from mho.exceptions import ModuleError
from mho.simulator.raw_tiles.core.tile import CoreTile
from mho.simulator.raw_tiles.custom_compound.tile import CustomCompoundTile
from mho.simulator.raw_tiles.transfer.tile import TransferSimulatorTile
from mho.simulator.state.names import AnalogTileStateNames as Names


def drifts(tile: Any) -> bool:
    """Return whether the devices of a tile drift by themselves.

    Args:
        tile: Tile.
    """
    return next(_drifting(tile), None) is not None


def clock(tile: Any) -> float:
    """Return how long the devices have drifted since their programming, in seconds.

    Args:
        tile: Tile whose devices drift.

    Raises:
        ModuleError: The devices of a cell count time in different units.
    """
    # All devices of a cell drift together.
    array = next(_drifting(tile))
    passed = array.tensors.drift.get(f"current_t{array.spec.drifting[0]}")
    unit = _unit(tile)
    return 0.0 if passed is None else float(passed) * unit


def _drifting(tile: Any) -> Iterator[CoreTile]:
    """Yield the raw tiles of the core that have the devices of a tile, if these drift."""
    raw = tile.tile
    if isinstance(raw, CustomCompoundTile):
        arrays: list[Any] = [device.raw for device in raw.devices]
    elif isinstance(raw, TransferSimulatorTile):
        arrays = [array.tile for array in raw.arrays]
    else:
        arrays = [raw]
    for array in arrays:
        if isinstance(array, CoreTile) and array.spec.drifting:
            yield array


def _unit(tile: Any) -> float:
    """Return the unit of time of the devices in seconds."""
    devices = tile.rpu_config.device.single_devices()
    units = {device.drift.t_0 for device in devices if device.drift.nu != 0.0}
    if len(units) > 1:
        raise ModuleError(
            f"drift.t_0: the devices of {type(tile.rpu_config.device).__name__} count time in"
            f" {sorted(units)} s; give them one unit, or call tile.drift_weights"
        )
    return float(units.pop()) if units else 1.0


def check_drift(name: str, tile: Any, t_inference: float) -> None:
    """Check that a point in time is not in the past of a tile.

    Args:
        name: Name of the tile.
        tile: Tile whose devices drift.
        t_inference: Time since programming in seconds.

    Raises:
        ModuleError: It is.
    """
    now = clock(tile)
    # A clock in units of t_0 may be off by rounding.
    if t_inference < now * (1.0 - 1e-12):
        raise ModuleError(
            f"t_inference: the devices of tile {name!r} have drifted for {now:g} s already and"
            f" cannot go back to {t_inference:g} s; program the weights again, or drift a copy"
        )


def drift_to(tile: Any, t_inference: float) -> None:
    """Let the weights drift until a point in time.

    Args:
        tile: Tile whose devices drift.
        t_inference: Time since programming in seconds, not before `clock`.
    """
    tile.drift_weights(max(0.0, t_inference - clock(tile)))


def restart_clock(tile: Any) -> None:
    """Make the present weights those that drift starts from.

    Args:
        tile: Tile.
    """
    for module in tile.modules():  # of several arrays, each has its own
        child = module._modules.get(Names.DRIFT)
        if isinstance(child, torch.nn.Module):
            child._buffers.clear()
