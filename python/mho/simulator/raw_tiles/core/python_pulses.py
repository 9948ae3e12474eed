"""Pulses of devices whose step is written in Python."""

import torch
from torch import Tensor

from mho import _core
from mho.exceptions import TileError
from mho.simulator.devices.custom import CustomPulsedDevice
from mho.simulator.parameters.finite import all_finite
from mho.simulator.raw_tiles.core.tensors import CoreTensors
from mho.simulator.state.header import Steps
from mho.simulator.state.names import PERSISTENT

_MOST = torch.iinfo(torch.int64).max


class PythonSteps:
    """One update: pulses act on a copy of the weights, which `store` makes the weights.

    Crosspoints do not see each other, so all of them take their first pulse of a sample together,
    then their second, and so on.
    """

    def __init__(
        self,
        tensors: CoreTensors,
        planes: dict[str, Tensor],
        device: CustomPulsedDevice,
        dw_min: Steps | None,
        call: int,
    ) -> None:
        """Copy the state.

        Args:
            tensors: Tensors of the raw tile.
            planes: Copies of all hidden parameters but the persistent weights.
            device: Device at its crosspoints.
            dw_min: Mean step that the tile uses instead of that of the device, or None.
            call: Number of the call.
        """
        self._tensors, self._device, self._call = tensors, device, call
        # Devices in Python stand alone: there is one step.
        self._dw_min = dw_min if isinstance(dw_min, float) else device.dw_min
        self._planes = planes
        self._bounds = [self._planes[name].clone() for name in ("min_bound", "max_bound")]
        acting = self._persistent()
        self._weight = (tensors.weights if acting is None else acting).detach().clone()
        self._counts = torch.zeros(2, *self._weight.shape, dtype=torch.int64, device="cpu")
        self._draws = 0

    def _persistent(self) -> Tensor | None:
        return self._tensors.hidden.get(PERSISTENT)

    def sample(self, counts: Tensor) -> None:
        """Apply the pulses of one sample.

        Args:
            counts: Number of pulses, int64 `[out, x_size]`; positive ones go up.

        Raises:
            TileError: The device returns something that cannot be a weight.
        """
        up, sizes = counts > 0, counts.abs()
        for pulse in range(int(sizes.max())):
            self._pulse(up, sizes > pulse)
        self._counts[0] += counts.clamp(max=0).neg()
        self._counts[1] += counts.clamp(min=0)

    def _pulse(self, up: Tensor, hit: Tensor) -> None:
        noise = self._noise() if self._device.needs_noise() else None
        moved = stepped(self._device, self._weight, up, self._planes, noise)
        name = f"{type(self._device).__name__}.step"
        new = torch.where(hit, moved, self._weight)
        if not all_finite(new):
            raise TileError(f"{name}: must return finite weights, got NaN or infinity")
        self._weight = torch.where(hit, new.clamp(*self._bounds), self._weight)

    def _noise(self) -> Tensor:
        out = torch.empty_like(self._weight)
        _core.pulse_noise(out, out.shape[1], self._tensors.seed, self._call, self._draws)
        self._draws += 1
        return out

    def store(self) -> None:
        """Make the copy the weights of the tile and draw write noise where pulses came.

        Raises:
            TileError: A pulse counter has no room for the pulses; nothing is changed.
        """
        counters = self._tensors.counts
        if counters is not None and bool((counters > _MOST - self._counts).any()):
            raise TileError(
                "analog_tile_pulse_counters: a counter is at the end of its range of 2^63; set it"
                " to 0"
            )
        visible, persistent = self._tensors.weights, self._persistent()
        if persistent is None:
            visible.copy_(self._weight)
        else:
            std = self._device.write_noise_std * self._dw_min
            noisy = self._weight + std * self._noise()
            persistent.copy_(self._weight)
            visible.copy_(torch.where(self._counts.sum(0) > 0, noisy, visible))
        if counters is not None:
            counters.add_(self._counts)


def stepped(
    device: CustomPulsedDevice,
    weight: Tensor,
    up: Tensor,
    planes: dict[str, Tensor],
    noise: Tensor | None,
) -> Tensor:
    """Return what a device makes of weights by one pulse, before the bounds.

    Args:
        device: Device.
        weight: Weights; they stay as they are.
        up: Whether the pulses go up.
        planes: Hidden parameters.
        noise: Standard normal draws, or None.

    Raises:
        TileError: It is no tensor that could be weights.
    """
    # A copy, for the device may work in place.
    moved = device.step(weight.clone(), up, planes, noise)
    _check(moved, weight, f"{type(device).__name__}.step")
    return moved


def _check(value: object, weight: Tensor, name: str) -> None:
    if not isinstance(value, Tensor):
        raise TileError(f"{name}: must return a tensor, got {type(value).__name__}")
    if value.shape != weight.shape or value.dtype is not weight.dtype:
        raise TileError(
            f"{name}: must return a {weight.dtype} tensor of shape {tuple(weight.shape)}, got"
            f" {value.dtype} of shape {tuple(value.shape)}"
        )
