"""Tiles whose updates are single pulses, for figures of devices."""

import copy
from typing import Any

import numpy as np
import torch

from mho.exceptions import ConfigError
from mho.simulator.devices.cells.unit_cell import UnitCell
from mho.simulator.devices.crosspoint import CrosspointDevice
from mho.simulator.devices.pulsed import PulsedDevice
from mho.simulator.devices.soft_bounds_pmax import SoftBoundsPmaxDevice
from mho.simulator.parameters.enums import (
    BoundManagementType,
    NoiseManagementType,
    WeightNoiseType,
)
from mho.simulator.parameters.io import IOParameters
from mho.simulator.parameters.signatures import checked
from mho.simulator.tiles.analog import SingleRPUConfig, UnitCellRPUConfig
from mho.simulator.tiles.periphery import TileWithPeriphery
from mho.utils.visualization.backend import check_count

DEFAULT_N_STEPS = 1000
_QUIET_FIELDS = ("dw_min_std", "write_noise_std")


@checked
def get_tile_for_plotting(
    rpu_config: SingleRPUConfig | UnitCellRPUConfig,
    n_traces: int,
    use_cuda: bool = False,
    noise_free: bool = False,
    w_init: float | None = None,
) -> TileWithPeriphery:
    """Return a tile of one input whose every update with unit values is one pulse.

    Args:
        rpu_config: Configuration; it is copied.
        n_traces: Number of outputs, each a device of its own.
        use_cuda: Move the tile to CUDA.
        noise_free: Switch off the noise of pulses, of writing and of reading; spreads between
            devices stay.
        w_init: Weight to start from, brought into the bounds of each device. By default the mean
            lower bound, in unit cells that of the first device.

    Raises:
        ArgumentError: `n_traces` is not a positive integer.
        ConfigError: The configuration is invalid, its device cannot be built, or the steps of the
            device are infinitely fine, so that there are no pulses.
        CudaError: The tile cannot be moved to CUDA.
    """
    check_count("n_traces", n_traces)
    _check_pulses(rpu_config)
    config = copy.deepcopy(rpu_config)
    update = config.update
    update.update_bl_management = update.update_management = False
    update.desired_bl, update.fixed_bl = 1, True
    if noise_free:
        config.forward.is_perfect = True
        _silence(config.device)
    tile: TileWithPeriphery = config.tile_class(n_traces, 1, config)
    tile.tile.set_learning_rate(1.0)
    start_at(tile, w_init)
    if use_cuda:
        tile.cuda()
    return tile


def noise_free_twin(tile: TileWithPeriphery, w_init: float | None) -> TileWithPeriphery:
    """Return a tile with the same devices and without noise.

    Args:
        tile: Tile of `get_tile_for_plotting`.
        w_init: Weight to start from, as there.
    """
    twin = get_tile_for_plotting(tile.rpu_config, tile.out_size, noise_free=True)
    hidden = tile.get_hidden_parameters()
    # Without write noise there are no persistent weights to copy.
    twin.set_hidden_parameters({name: hidden[name] for name in twin.get_hidden_parameters()})
    start_at(twin, w_init)
    return twin


def start_at(tile: TileWithPeriphery, w_init: float | None) -> None:
    """Set all weights of a tile to one value.

    Args:
        tile: Tile of `get_tile_for_plotting`.
        w_init: Weight, as there.
    """
    start = lower_bound(tile.rpu_config.device) if w_init is None else w_init
    shape = tile.out_size, tile.in_size
    tile.tile.set_weights(torch.full(shape, float(start or 0.0), device="cpu"))


def lower_bound(device: CrosspointDevice) -> float | None:
    """Return the mean lower bound of a device or of the first one in a cell, None without.

    Args:
        device: Device or unit cell.
    """
    if isinstance(device, SoftBoundsPmaxDevice):
        return device.soft_bounds_values()["w_min"]
    if isinstance(device, UnitCell) and device.unit_cell_devices:
        return lower_bound(device.unit_cell_devices[0])
    return getattr(device, "w_min", None)


@checked
def estimate_n_steps(rpu_config: SingleRPUConfig | UnitCellRPUConfig) -> int:
    """Return about how many pulses lead from the lower to the upper bound.

    It is the range over the weight granularity for a single device and 1000 for others.

    Args:
        rpu_config: Configuration.

    Raises:
        ConfigError: The device has no bounds, or its steps are infinitely fine.
    """
    _check_pulses(rpu_config)
    if not isinstance(rpu_config, SingleRPUConfig):
        return DEFAULT_N_STEPS
    device = rpu_config.device
    if not isinstance(device, PulsedDevice):
        raise ConfigError(f"device: {type(device).__name__} has no w_min; give n_steps")
    granularity = device.calc_weight_granularity()
    if not granularity > 0:
        raise ConfigError(f"device: its granularity {granularity} is not positive; give n_steps")
    return max(1, round(device.calc_num_states()))


def _check_pulses(rpu_config: SingleRPUConfig | UnitCellRPUConfig) -> None:
    if rpu_config.device.flows():
        raise ConfigError(
            "device.dw_min: 0 makes steps infinitely fine, so there are no pulses to show; give the"
            " device a step"
        )


def plotting_config(
    device: CrosspointDevice, w_noise: float
) -> SingleRPUConfig | UnitCellRPUConfig:
    """Return a configuration that reads weights exactly but for additive noise.

    Args:
        device: Device or unit cell.
        w_noise: Standard deviation of the noise, in units of the weight.
    """
    kind = WeightNoiseType.ADDITIVE_CONSTANT if w_noise > 0 else WeightNoiseType.NONE
    forward = IOParameters(
        inp_res=-1.0,
        inp_bound=-1.0,
        out_res=-1.0,
        out_bound=-1.0,
        out_noise=0.0,
        w_noise=w_noise,
        w_noise_type=kind,
        bound_management=BoundManagementType.NONE,
        noise_management=NoiseManagementType.NONE,
    )
    if isinstance(device, PulsedDevice):
        return SingleRPUConfig(device=device, forward=forward)
    return UnitCellRPUConfig(device=device, forward=forward)


def pulse_cycles(n_steps: int, length: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return directions that go up and down in turn.

    Args:
        n_steps: Number of pulses in one direction.
        length: Number of pulses in all.
    """
    return np.where(np.arange(length) // n_steps % 2 == 0, 1.0, -1.0)


def _silence(device: Any) -> None:
    for name in _QUIET_FIELDS:
        if hasattr(device, name):
            setattr(device, name, 0.0)
    for value in vars(device).values():
        for part in value if isinstance(value, list) else (value,):
            if isinstance(part, CrosspointDevice):
                _silence(part)
