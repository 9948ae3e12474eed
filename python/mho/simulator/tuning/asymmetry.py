"""How strongly pulses up and down in turn pull a device towards its symmetry point."""

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mho.exceptions import ConfigError
from mho.simulator.devices.bounds import bounds
from mho.simulator.devices.cells.unit_cell import UnitCell
from mho.simulator.devices.crosspoint import CrosspointDevice
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.io import IOParameters
from mho.simulator.parameters.training import UpdateParameters
from mho.simulator.raw_tiles.core.tile import AnalogTile
from mho.simulator.state.ordinary import on_host, ordinary_tensors

Array = NDArray[np.float64]

FLOOR = 1e-3
"""Least asymmetry that settings are derived from: without any, memories are endless."""

NO_PULL = 1e-2
"""Asymmetry below which a device remembers longer than any training: nothing relaxes."""

_POINTS = 401
# Cells that choose a device for each vector are averaged over as many vectors; a multiple of the
# numbers of devices that cells usually have.
_VECTORS = 60
# Steps are fitted over this share of the range to both sides of the symmetry point, with the third
# power that exponential steps need: one of single precision is exact to 1e-4 only.
_WINDOW = 0.1


@dataclass(frozen=True)
class Asymmetry:
    """What the mean steps of a device say about its symmetry point."""

    kappa: float
    """Slope of half the difference of the steps down and up at the symmetry point, in steps per
    unit of the weight; a pulse up and one down bring the weight nearer by twice this times the
    step."""

    symmetry_point: float
    """Weight at which steps up and down are equal; zero if there is none."""


def asymmetry(device: CrosspointDevice) -> Asymmetry:
    """Return the asymmetry of a device or cell without its spreads, from single pulses.

    Args:
        device: Device of the core, one written in Python, or a cell of devices.

    Raises:
        ConfigError: The device is invalid, takes no pulses or has infinitely fine steps; the
            message names the field.
    """
    if device.flows():
        raise ConfigError(
            "device.dw_min: 0 makes steps infinitely fine; settings follow from the size of a step"
        )
    mean = copy.deepcopy(device)
    _without_spreads(mean)
    weights, up, down = steps(mean)
    pull = (down - up) / (2 * mean.calc_weight_granularity())
    # Where the pull changes its sign from up to down; the crossing nearest to zero counts.
    crossings = np.flatnonzero((pull[:-1] <= 0) & (pull[1:] > 0))
    if not len(crossings):
        at = 0.0
    else:
        left, right = weights[crossings], weights[crossings + 1]
        points = left - pull[crossings] * (right - left) / (pull[crossings + 1] - pull[crossings])
        at = float(points[np.argmin(np.abs(points))])
    near = np.abs(weights - at) <= _WINDOW * (weights[-1] - weights[0])
    slope = np.polynomial.Polynomial.fit(weights[near] - at, pull[near], 3).deriv()(0.0)
    # Rounding changes the sign of no pull at all somewhere.
    return Asymmetry(float(slope), at if slope >= FLOOR else 0.0)


def steps(device: CrosspointDevice) -> tuple[Array, Array, Array]:
    """Return weights between the bounds and the size of one pulse up and down at each of them.

    Args:
        device: Device or cell without spreads.

    Raises:
        ConfigError: The device is invalid or takes no pulses; the message names the field.
    """
    low, high = bounds(device)
    # Bounds cut off the steps that would cross them.
    room = min(device.calc_weight_granularity(), 0.25 * (high - low))
    weights = np.linspace(low + room, high - room, _POINTS)
    vectors = _VECTORS if isinstance(device, UnitCell) else 1
    with ordinary_tensors(), on_host():
        tile = _tile(device, vectors)
        start = torch.from_numpy(weights).float()[:, None].repeat(1, vectors)
        one_by_one = torch.eye(vectors, dtype=torch.float32)
        moved = []
        for sign in (-1.0, 1.0):
            tile.set_weights(start)
            before = tile.get_weights().double()
            tile.update(one_by_one, one_by_one.new_full((vectors, _POINTS), sign))
            moved.append((tile.get_weights().double() - before).mean(1).numpy())
    return weights, moved[0], -moved[1]


def _tile(device: CrosspointDevice, columns: int) -> AnalogTile:
    """Return a raw tile whose every update with unit values is one pulse."""
    config = _SinglePulses(AnalogTile, device=device)
    # The seed only decides which device of a cell a pulse goes to.
    seed = torch.ones(1, dtype=torch.int64)
    text = config.core_json()
    tile = AnalogTile(nn.Module(), text, _POINTS, columns, False, seed, python_devices=True)
    tile.follow(config)
    # More than certain: the probability of a pulse is the root of this over the step.
    tile.set_learning_rate(4 * device.calc_weight_granularity())
    return tile


def _single_pulse() -> UpdateParameters:
    return UpdateParameters(desired_bl=1, update_bl_management=False, update_management=False)


@dataclass
class _SinglePulses(RPUConfigBase):
    """Configuration of such a tile."""

    device: CrosspointDevice = field(default_factory=CrosspointDevice)
    update: UpdateParameters = field(default_factory=_single_pulse)

    def core_wire(self) -> dict[str, Any]:
        """Return what the core needs to know; products are not used."""
        self.device.check_update(self.update)
        exact = IOParameters(is_perfect=True)
        parts = {"device": self.device, "forward": exact, "backward": exact, "update": self.update}
        return {name: part.to_wire(name) for name, part in parts.items()}


def _without_spreads(device: Any) -> None:
    """Make all devices equal, all pulses of one kind equal, and stored weights visible."""
    for name, value in vars(device).items():
        if isinstance(value, float | int) and ("_dtod" in name or "_std" in name):
            if not isinstance(value, bool):
                setattr(device, name, 0.0)
        for part in value if isinstance(value, list) else (value,):
            if isinstance(part, CrosspointDevice):
                _without_spreads(part)
    if hasattr(device, "corrupt_devices_prob"):
        device.corrupt_devices_prob = 0.0
