"""Zero-shifting: pulses up and down bring devices to their symmetry points, which become zero.

See Kim et al., "Zero-shifting technique for deep neural network training on resistive cross-point
arrays", arXiv:1907.10228.
"""

import copy
import math
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from mho.exceptions import ArgumentError, ConfigError
from mho.simulator.devices.bounds import bounds
from mho.simulator.devices.cells.digital_rank_update import DigitalRankUpdateCell
from mho.simulator.devices.cells.one_sided import OneSidedUnitCell
from mho.simulator.devices.cells.reference import ReferenceUnitCell
from mho.simulator.devices.cells.unit_cell import UnitCell
from mho.simulator.devices.cells.vector import VectorUnitCell
from mho.simulator.devices.crosspoint import CrosspointDevice
from mho.simulator.devices.pulsed import PulsedDevice
from mho.simulator.parameters import wire
from mho.simulator.parameters.arguments import check_index, check_number, check_size
from mho.simulator.parameters.checking import describe
from mho.simulator.parameters.io import IOParameters
from mho.simulator.parameters.training import UpdateParameters
from mho.simulator.raw_tiles.custom_compound.device import DEVICES, DeviceConfig, DeviceTile
from mho.simulator.state.names import AnalogTileStateNames as Names
from mho.simulator.state.ordinary import on_host, ordinary_tensors
from mho.simulator.state.seeds import mixed
from mho.simulator.state.tensor_group import TensorGroup
from mho.simulator.state.transaction import unchanged_on_error

_WEIGHTS, _REFERENCE = "hidden_weights", "reference"
# In steps and per unit of the weight; below it no number of pulses that anybody spends leads there.
_SMALLEST_SLOPE = 1e-3
# Pulses that are applied in one call of the core.
_AT_ONCE = 1024
_ONE_PULSE = UpdateParameters(desired_bl=1, update_management=False, update_bl_management=False)


def zero_shift(tile: Any, n: int | None, device: int, delta: float, mode: str) -> int:
    """Bring a device of a tile to its symmetry point; see `AnalogTile.zero_shift`.

    Args:
        tile: Tile with pulsed devices.
        n: Pulses for each crosspoint; None takes as many as `delta` needs.
        device: Index of the device in a cell, 0 otherwise.
        delta: Share of the distance that may be left.
        mode: `"alternate"` or `"random"`.

    Returns:
        Pulses for each crosspoint.
    """
    if not isinstance(mode, str) or mode not in ("alternate", "random"):
        raise ArgumentError(f"mode: expected 'alternate' or 'random', got {describe(mode)}")
    delta = check_number("delta", delta)
    if not 0.0 < delta < 1.0:
        raise ArgumentError(f"delta: expected a share between 0 and 1, got {delta}")
    with ordinary_tensors(), on_host():
        return _shifted(tile, n, device, delta, mode)


def _shifted(tile: Any, n: int | None, device: int, delta: float, mode: str) -> int:
    chosen, ending = _chosen(tile, device)
    if chosen.flows():
        raise ConfigError(
            "device.dw_min: 0 makes steps infinitely fine, so there are no pulses that could shift"
            " the device; give it a step"
        )
    number = pulses_needed(chosen, delta) if n is None else check_size("n", n)
    planes: dict[str, Tensor] = dict(tile.get_hidden_parameters())
    if not planes:
        raise ConfigError("update.pulse_type: the tile was built without devices to shift")
    with unchanged_on_error([cast(nn.Module, tile)]):
        inner = {k.removesuffix(ending): v for k, v in planes.items() if k.endswith(ending)}
        if not ending:
            inner[_WEIGHTS] = tile.tile.get_weights()
        shifted = _pulsed(tile, chosen, inner, device, number, mode)
        _take_reference(chosen, shifted)
        planes |= {f"{name}{ending}": value for name, value in shifted.items()}
        weights = planes.pop(_WEIGHTS) if not ending else None
        tile.set_hidden_parameters(planes)
        if weights is not None:
            with tile.tile.on_host():
                tile.tile.get_weights(as_ref=True).copy_(weights)
        tile.weights_edited()
    return number


def pulses_needed(device: CrosspointDevice, delta: float) -> int:
    """Return how many pulses in turn bring a device near to its symmetry point.

    Every pair of pulses pulls back by `2 g kappa (w - w*)`, with the step `g` and the slope `kappa`
    of half the difference of steps down and up, in steps and at a weight of zero.

    Args:
        device: Device.
        delta: Share of the distance that may be left.

    Raises:
        ConfigError: Its steps up and down are the same everywhere.
    """
    while isinstance(device, UnitCell):
        device = device.unit_cell_devices[0]
    step = device.calc_weight_granularity()
    slope = _slope(device) / step
    if slope < _SMALLEST_SLOPE:
        raise ConfigError(
            f"device: {type(device).__name__} has steps up and down that hardly depend on the"
            " weight, so that pulses in turn lead to no symmetry point; give n to apply some anyway"
        )
    return math.ceil(math.log(1.0 / delta) / (step * slope))


def _slope(device: CrosspointDevice) -> float:
    """Return the slope of half the difference of steps down and up.

    At a weight of zero, or in the middle of a range that has zero at its end or outside.
    """
    typical = copy.deepcopy(device)
    for name in vars(typical):
        if name.endswith(("_dtod", "_std")):
            vars(typical)[name] = 0.0
    low, high = bounds(device)
    middle = 0.0 if low < 0.0 < high else (low + high) / 2
    far = 0.05 * min(high - middle, middle - low)
    start, change = torch.tensor([[middle - far, middle + far]]), []
    for sign in (1.0, -1.0):
        scratch = _scratch(typical, (1, 2), False, 1)
        scratch.weights.copy_(start)
        _pulse(scratch, torch.tensor([sign]))
        change.append((scratch.weights - start).abs())
    half = (change[1] - change[0]).flatten() / 2
    return float(half[1] - half[0]) / (2 * far)


def _chosen(tile: Any, index: int) -> tuple[CrosspointDevice, str]:
    """Return a device of a tile, and the ending of its hidden parameters."""
    device = getattr(tile.rpu_config, "device", None)
    at = check_index("device", index)
    if isinstance(device, DigitalRankUpdateCell):
        device = device.device
    if isinstance(device, UnitCell) and not isinstance(device, ReferenceUnitCell):
        devices = device.unit_cell_devices
        if not 0 <= at < len(devices):
            raise ArgumentError(f"device: expected 0 to {len(devices) - 1}, got {index}")
        found: CrosspointDevice = devices[at]
        _refuse_one_sided(device, found)
        return found, f"_{at}"
    if at != 0:
        raise ArgumentError(f"device: the tile has one device, 0, got {index}")
    if not isinstance(device, (PulsedDevice, ReferenceUnitCell)):
        raise ConfigError(f"device: {type(device).__name__} takes no pulses that could shift it")
    _refuse_one_sided(device)
    return device, ""


def _refuse_one_sided(*devices: CrosspointDevice) -> None:
    for device in devices:
        if isinstance(device, OneSidedUnitCell):
            raise ConfigError(
                f"device: {type(device).__name__} takes pulses up only, which lead to no symmetry"
                " point"
            )
        if isinstance(device, (VectorUnitCell, ReferenceUnitCell)):
            _refuse_one_sided(*device.used_devices())


def _scratch(
    device: CrosspointDevice, shape: tuple[int, int], analog_bias: bool, seed: int
) -> DeviceTile:
    """Return a tile of one device, apart from all others."""
    exact = IOParameters(is_perfect=True).to_wire("forward")
    text = wire.dumps(
        {
            "device": device.to_wire("device"),
            "forward": exact,
            "backward": exact,
            "update": _ONE_PULSE.to_wire("update"),
        }
    )
    return DeviceTile(TensorGroup(), DeviceConfig(device, text), shape, analog_bias, seed)


def _pulse(scratch: DeviceTile, signs: Tensor) -> None:
    """Give all crosspoints pulses, upwards where the sign is positive."""
    rows, columns = scratch.shape
    # A little more than one step, so that lines fire whatever rounding does.
    rate = scratch.granularity * (1.0 + 1e-6)
    x, d = torch.ones(len(signs), columns), -signs[:, None].expand(-1, rows).contiguous()
    scratch.pulse(scratch.raw.spec, x, d, rate)


def _signs(number: int, mode: str, seed: int) -> Iterator[Tensor]:
    """Yield the signs of pulses, as many as are applied in one call."""
    generator = torch.Generator().manual_seed(seed)
    for start in range(0, number, _AT_ONCE):
        count = min(number - start, _AT_ONCE)
        if mode == "random":
            yield torch.randint(0, 2, (count,), generator=generator) * 2.0 - 1.0
        else:
            signs = torch.ones(count)
            signs[1::2] = -1.0  # the first of each call is up: calls have an even number
            yield signs


def _pulsed(
    tile: Any,
    device: CrosspointDevice,
    planes: dict[str, Tensor],
    index: int,
    number: int,
    mode: str,
) -> dict[str, Tensor]:
    """Return the hidden parameters of a device after pulses."""
    rows, columns = next(iter(planes.values())).shape
    scratch = _scratch(device, (rows, columns), tile.analog_bias, 1)
    raw, calls = scratch.raw, tile._buffers[Names.CALLS]
    scratch.share_stream(mixed(int(tile._buffers[Names.SEED]), index), calls)
    names = raw.get_hidden_parameter_names()
    raw.set_hidden_parameters(torch.stack([planes[name] for name in names]))
    if _WEIGHTS in planes:
        scratch.weights.copy_(planes[_WEIGHTS])
    for signs in _signs(number, mode, mixed(int(tile._buffers[Names.SEED]), int(calls))):
        _pulse(scratch, signs)
    _count(tile, index, raw.tensors.counts)
    found: dict[str, Tensor] = dict(raw.get_named_hidden_parameters())
    if _WEIGHTS in planes:
        found[_WEIGHTS] = scratch.weights.clone()
    return found


def _count(tile: Any, index: int, pulses: Tensor | None) -> None:
    """Add pulses to the counters of the tile, or of that device of a compound in Python."""
    own = tile._buffers.get(Names.COUNTS)
    if own is None and DEVICES in tile._modules:
        own = tile.get_submodule(f"{DEVICES}.{index}")._buffers.get(Names.COUNTS)
    if own is not None and pulses is not None:
        own.add_(pulses)


def _take_reference(device: CrosspointDevice, planes: dict[str, Tensor]) -> None:
    """Make the present weights the zero of the device, if it has a reference."""
    if isinstance(device, ReferenceUnitCell):
        planes[f"{_WEIGHTS}_1"] = planes[f"{_WEIGHTS}_0"].clone()
        if _WEIGHTS in planes:
            planes[_WEIGHTS] = torch.zeros_like(planes[_WEIGHTS])
    elif _REFERENCE in planes:
        planes[_REFERENCE] = planes[_REFERENCE] + planes[_WEIGHTS]
        planes[_WEIGHTS] = torch.zeros_like(planes[_WEIGHTS])
