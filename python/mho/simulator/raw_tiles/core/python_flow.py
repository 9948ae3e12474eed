"""Infinitely fine steps (`dw_min = 0`) of devices whose step is written in Python."""

import torch
from torch import Tensor

from mho import _core
from mho.exceptions import ArgumentError, TileError
from mho.simulator.devices.custom import CustomPulsedDevice
from mho.simulator.parameters.enums import UpdateMode
from mho.simulator.parameters.finite import all_finite
from mho.simulator.raw_tiles.core.python_pulses import stepped
from mho.simulator.raw_tiles.core.tensors import CoreTensors
from mho.simulator.state.names import PERSISTENT

# As in the core: every device is at a bound or at rest long before, and nothing overflows.
_LONGEST = 1e18
_STEPS = 8


class PythonFlow:
    """One update: a copy of the weights follows the steps, and `store` makes it the weights."""

    def __init__(
        self,
        tensors: CoreTensors,
        planes: dict[str, Tensor],
        device: CustomPulsedDevice,
        mode: UpdateMode,
        call: int,
    ) -> None:
        """Copy the state.

        Args:
            tensors: Tensors of the raw tile.
            planes: Copies of all hidden parameters but the persistent weights.
            device: Device at its crosspoints.
            mode: How the weights follow.
            call: Number of the call.
        """
        self._tensors, self._device, self._planes = tensors, device, planes
        self._mode, self._call = mode, call
        self._bounds = [planes[name].clone() for name in ("min_bound", "max_bound")]
        acting = tensors.hidden.get(PERSISTENT)
        self._weight = (tensors.weights if acting is None else acting).detach().clone()
        self._touched = torch.zeros_like(self._weight, dtype=torch.bool)
        self._noise = torch.zeros_like(self._weight) if device.needs_noise() else None

    def batch(self, x: Tensor, d: Tensor, rate: float, bias_input: float | None) -> None:
        """Apply the samples of a batch, one after another.

        Args:
            x: Inputs, shape `[batch, in]`.
            d: Gradients of the outputs, shape `[batch, out]`.
            rate: Learning rate.
            bias_input: Input of the analog bias column, None without one.

        Raises:
            ArgumentError: A value is not finite.
            TileError: The device returns something that cannot be a weight.
        """
        for name, value in (("x", x), ("d", d)):
            if not all_finite(value):
                raise ArgumentError(f"{name}: must be finite, has NaN or infinity")
        if bias_input is not None:
            x = torch.cat([x, x.new_full((x.shape[0], 1), bias_input)], 1)
        for inputs, errors in zip(x, d, strict=True):
            change = torch.outer(rate * errors, inputs).clamp(-_LONGEST, _LONGEST)
            self._sample(change < 0, change.abs())

    def _sample(self, up: Tensor, length: Tensor) -> None:
        weight, taken = self._weight, length > 0
        if self._mode is UpdateMode.EULER:
            moved = self._inside(weight + length * self._rate(weight, up))
        else:
            moved, h = weight, length / _STEPS
            for _ in range(_STEPS):
                first = self._rate(moved, up)
                second = self._rate(self._inside(moved + h / 2 * first), up)
                third = self._rate(self._inside(moved + h / 2 * second), up)
                fourth = self._rate(self._inside(moved + h * third), up)
                mean = (first + 2 * (second + third) + fourth) / 6
                moved = self._inside(moved + h * mean)
        new = torch.where(taken, moved, weight)
        if not all_finite(new):
            name = f"{type(self._device).__name__}.step"
            raise TileError(f"{name}: must return finite weights, got NaN or infinity")
        self._weight, self._touched = new, self._touched | taken

    def _rate(self, weight: Tensor, up: Tensor) -> Tensor:
        return stepped(self._device, weight, up, self._planes, self._noise) - weight

    def _inside(self, weight: Tensor) -> Tensor:
        return weight.clamp(*self._bounds)

    def store(self) -> None:
        """Make the copy the weights of the tile and draw write noise where they moved."""
        visible, persistent = self._tensors.weights, self._tensors.hidden.get(PERSISTENT)
        if persistent is None:
            visible.copy_(self._weight)
            return
        noise = torch.empty_like(self._weight)
        _core.pulse_noise(noise, noise.shape[1], self._tensors.seed, self._call, 0)
        noisy = self._weight + self._device.write_noise_std * noise
        persistent.copy_(self._weight)
        visible.copy_(torch.where(self._touched, noisy, visible))
