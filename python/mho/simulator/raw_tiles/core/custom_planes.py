"""Hidden parameters that devices in Python add to those of the core."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mho import _core
from mho.exceptions import ConfigError
from mho.simulator.devices.custom import CustomPulsedDevice
from mho.simulator.state.names import PERSISTENT
from mho.simulator.state.tensor_group import as_tensor

_TRIAL = (2, 3)


def drawn(device: CustomPulsedDevice, planes: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Return what a device draws, checked.

    Args:
        device: Device.
        planes: Hidden parameters of the core, float32 `[out, x_size]` each.
        seed: Seed of the tile; a `construction_seed` takes its place.

    Raises:
        ConfigError: Names, shapes or values do not fit; the message names the device.
    """
    generator = torch.Generator().manual_seed(device.construction_seed or seed)
    shape = tuple(next(iter(planes.values())).shape)
    with torch.no_grad():
        values = device.draw_planes({k: v.clone() for k, v in planes.items()}, generator)
    where = f"device: {type(device).__name__}.draw_planes"
    names = _names(device, planes)
    if not isinstance(values, Mapping) or set(values) != set(names):
        given = sorted(values) if isinstance(values, Mapping) else type(values).__name__
        raise ConfigError(f"{where} must return the planes {sorted(names)}, got {given}")
    return {name: _checked(values[name], shape, f"{where}: {name}") for name in names}


def _names(device: CustomPulsedDevice, planes: dict[str, Tensor]) -> tuple[str, ...]:
    names = tuple(device.plane_names)
    taken = set(planes) | {PERSISTENT}
    if len(set(names)) < len(names) or not all(n.isidentifier() and n not in taken for n in names):
        raise ConfigError(
            f"device: {type(device).__name__}.plane_names: expected new and different identifiers,"
            f" got {names}; taken are {sorted(taken)}"
        )
    return names


def _checked(value: object, shape: tuple[int, ...], where: str) -> Tensor:
    if not isinstance(value, Tensor) or value.dtype is not torch.float32:
        raise ConfigError(f"{where} must be a float32 tensor")
    if tuple(value.shape) != shape:
        raise ConfigError(f"{where} must have shape {shape}, got {tuple(value.shape)}")
    if not bool(torch.isfinite(value).all()):
        raise ConfigError(f"{where} must be finite, has NaN or infinity")
    return value.detach().clone().contiguous()


def check(device: CustomPulsedDevice, config: Any) -> None:
    """Draw once for a tiny tile, so that a mistake shows before any tile is changed.

    Args:
        device: Device.
        config: Configuration of a tile that has it.

    Raises:
        ConfigError: The configuration is invalid, or as `drawn`.
    """
    spec = _core.TileSpec(config.core_json(), *_TRIAL)
    if not spec.hidden_names or not device.plane_names:
        return
    planes = {
        name: torch.full(_TRIAL, value) if isinstance(value, float) else as_tensor(value, _TRIAL)
        for name, value in spec.construct(1).items()
    }
    drawn(device, planes, 1)
