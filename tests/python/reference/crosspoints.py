"""What stands at the crosspoints of a tile: the life cycle of an update, and the single device."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mho.simulator.configs import ConstantStepDevice, PulseType, UpdateParameters
from reference.pulses import Array, Counts, NotDeterministicError, pulse_counts, single

Mask = NDArray[np.bool_]


class Crosspoints:
    """Devices, or cells of several devices, with one weight per crosspoint, shape ``[out, in]``."""

    weight: Array
    """What products see."""

    granularity: float
    """Change by one pulse from which the number of pulses follows."""

    def vector_update(
        self, x: Array, d: Array, lr: float, update: UpdateParameters, batch: int = 1
    ) -> None:
        """Do one sample of ``w -= lr * outer(d, x)``; a call has ``batch`` of them."""
        if lr == 0:
            return
        self.begin(x, d, lr, batch)
        self.pulse(pulse_counts(x, d, self.count_lr(lr, update), self.granularity, update))
        self.finish(lr, batch)

    def begin(self, x: Array, d: Array, lr: float, batch: int) -> None:
        """Prepare a sample."""

    def count_lr(self, lr: float, update: UpdateParameters) -> float:
        """Return the learning rate that the pulses are made with."""
        return lr

    def pulse(self, counts: Counts) -> None:
        """Apply pulses; positive numbers decrease the weight."""
        raise NotImplementedError

    def finish(self, lr: float, batch: int) -> None:
        """Do what follows a sample."""

    def set_weights(self, values: ArrayLike) -> None:
        """Program the weight."""
        raise NotImplementedError

    def reset(self, chosen: Mask) -> None:
        """Reset the chosen crosspoints."""
        raise NotImplementedError

    def hidden(self) -> dict[str, Array]:
        """Return hidden weights and buffers by name."""
        return {}


class ConstantStepCells(Crosspoints):
    """Equal devices with constant steps and bounds, without noise."""

    def __init__(self, config: ConstantStepDevice, shape: tuple[int, int]) -> None:
        spreads = [name for name in vars(config) if name.endswith(("_dtod", "_std"))]
        varied = [name for name in spreads if name != "reset_std" and getattr(config, name)]
        if type(config) is not ConstantStepDevice or varied or config.corrupt_devices_prob:
            raise NotDeterministicError(f"{type(config).__name__} with {varied}")
        self.config = config
        self.granularity = config.dw_min
        self.up = single(config.dw_min * (1 + min(config.up_down, 0)))
        self.down = single(config.dw_min * (1 - max(config.up_down, 0)))
        self.max, self.min = single(config.w_max), single(config.w_min)
        self.weight = np.zeros(shape, np.float32)

    def mirror(self, other: "ConstantStepCells") -> None:
        """Become the mirror image of another device: what is up there is down here."""
        self.up, self.down = other.down, other.up
        self.max, self.min = -other.min, -other.max

    def clipped(self, values: ArrayLike) -> Array:
        """Return values within the bounds."""
        return np.clip(single(values), self.min, self.max)

    def vector_update(
        self, x: Array, d: Array, lr: float, update: UpdateParameters, batch: int = 1
    ) -> None:
        """Do one sample; without pulses it is exact, within the bounds."""
        if update.pulse_type is PulseType.NONE_WITH_DEVICE:
            self.weight = self.clipped(self.weight - single(lr) * np.outer(d, x))
        else:
            super().vector_update(x, d, lr, update, batch)

    def pulse(self, counts: Counts) -> None:
        for done in range(int(np.abs(counts).max(initial=0))):
            step = np.where(counts > 0, -self.down, self.up)
            moved = self.clipped(self.weight + step)
            self.weight = np.where(np.abs(counts) > done, moved, self.weight)

    def set_weights(self, values: ArrayLike) -> None:
        self.weight = self.clipped(np.broadcast_to(single(values), self.weight.shape))

    def reset(self, chosen: Mask) -> None:
        if self.config.reset_std:
            raise NotDeterministicError("reset_std")
        self.weight = np.where(chosen, self.clipped(self.config.reset), self.weight)


class ExactCells(Crosspoints):
    """Weights without devices, for updates without pulses."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.weight = np.zeros(shape, np.float32)

    def vector_update(
        self, x: Array, d: Array, lr: float, update: UpdateParameters, batch: int = 1
    ) -> None:
        """Do one sample."""
        self.weight = self.weight - single(lr) * np.outer(d, x)

    def set_weights(self, values: ArrayLike) -> None:
        self.weight = np.broadcast_to(single(values), self.weight.shape).copy()
