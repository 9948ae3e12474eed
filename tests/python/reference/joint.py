"""Cells whose devices are read together: by a policy, against a reference, and one-sided pairs."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from mho.simulator.configs import (
    IOParameters,
    OneSidedUnitCell,
    ReferenceUnitCell,
    VectorUnitCell,
    VectorUnitCellUpdatePolicy,
)
from mho.simulator.devices.crosspoint import CrosspointDevice
from reference.crosspoints import ConstantStepCells, Crosspoints, Mask
from reference.pulses import Array, Counts, NotDeterministicError, single

Make = Callable[[CrosspointDevice], Crosspoints]
"""Makes the devices of a cell from their configurations."""

Policy = VectorUnitCellUpdatePolicy


def read_line(weight: Array, line: int, columns: bool, io: IOParameters) -> Array:
    """Return the product of a weight with a one-hot vector: a column, or a row."""
    if not io.is_perfect:
        raise NotDeterministicError("a product that is not perfect")
    return (weight[:, line] if columns else weight[line, :]).copy()


class Cell(Crosspoints):
    """Several devices per crosspoint, whose weight is ``sum(gamma[k] * w[k])``."""

    def __init__(self, devices: list[Crosspoints], gamma: list[float]) -> None:
        self.devices = devices
        self.gamma = [single(value) for value in gamma]
        self.granularity = sum(device.granularity for device in devices) / len(devices)
        self.updates = 0
        self.weight = np.zeros_like(devices[0].weight)

    def reduce(self) -> None:
        """Compute the weight anew from those of the devices."""
        self.weight = np.zeros_like(self.devices[0].weight)
        for gamma, device in zip(self.gamma, self.devices, strict=True):
            self.weight = self.weight + gamma * device.weight

    def put(self, k: int, values: ArrayLike) -> None:
        """Program a device alone, which changes nothing else."""
        self.devices[k].set_weights(values)
        self.reduce()

    def reset(self, chosen: Mask) -> None:
        for device in self.devices:
            device.reset(chosen)
        self.reduce()

    def hidden(self) -> dict[str, Array]:
        named: dict[str, Array] = {}
        for k, device in enumerate(self.devices):
            named |= {f"{name}_{k}": value for name, value in device.hidden().items()}
            named[f"hidden_weights_{k}"] = device.weight
        return named

    def extra(self) -> dict[str, ArrayLike]:
        """Return counters and flags by name."""
        return {"current_update_idx": self.updates}


class VectorCell(Cell):
    """Every update reaches all devices, or a single one by a policy."""

    def __init__(
        self, config: VectorUnitCell | ReferenceUnitCell, make: Make, rng: np.random.Generator
    ) -> None:
        n = len(config.unit_cell_devices)
        devices = [make(device) for device in config.unit_cell_devices]
        super().__init__(devices, config.gamma_vec or [1 / n] * n)
        self.policy, self.rng = config.update_policy, rng
        self.first = self.current = config.first_update_idx

    def reached(self) -> list[Crosspoints]:
        """Return the devices that pulses reach."""
        return self.devices if self.policy is Policy.ALL else [self.devices[self.current]]

    def begin(self, x: Array, d: Array, lr: float, batch: int) -> None:
        n = len(self.devices)
        if self.policy is Policy.SINGLE_SEQUENTIAL:
            self.current = (self.current + 1) % n
        elif self.policy is Policy.SINGLE_RANDOM:
            self.current = min(int(self.rng.random() * n), n - 1)
        for device in self.reached():
            device.begin(x, d, lr, batch)

    def pulse(self, counts: Counts) -> None:
        for device in self.reached():
            device.pulse(counts)

    def finish(self, lr: float, batch: int) -> None:
        self.updates += 1
        for device in self.reached():
            device.finish(lr, batch)
        self.reduce()

    def set_weights(self, values: ArrayLike) -> None:
        self.updates = 0
        if self.policy is not Policy.SINGLE_FIXED:
            self.current = self.first
        reached = [self.current] if self.policy is Policy.SINGLE_FIXED else range(len(self.devices))
        for k in reached:
            self.devices[k].set_weights(values)
        self.reduce()

    def extra(self) -> dict[str, ArrayLike]:
        return super().extra() | {"current_device_idx": self.current}


class ReferenceCell(VectorCell):
    """A device against a reference that gets no pulses, ``w[0] - w[1]``."""

    def __init__(self, config: ReferenceUnitCell, make: Make, rng: np.random.Generator) -> None:
        first, *others = config.unit_cell_devices
        pair = [first, (others or [first])[0]]
        own = {"unit_cell_devices": pair, "gamma_vec": [1.0, -1.0], "first_update_idx": 0}
        super().__init__(
            ReferenceUnitCell(**own, update_policy=Policy.SINGLE_FIXED),  # type: ignore[arg-type]
            make,
            rng,
        )


class OneSidedCell(Cell):
    """A device for decreases (0) and one for increases (1), both of which only get pulses up."""

    MINUS, PLUS = 0, 1

    def __init__(self, config: OneSidedUnitCell, make: Make) -> None:
        first, *others = config.unit_cell_devices
        devices = [make(first), make((others or [first])[0])]
        super().__init__(devices, [-1.0, 1.0])
        self.config = config
        if config.copy_inverted:
            minus, plus = devices
            assert isinstance(minus, ConstantStepCells) and isinstance(plus, ConstantStepCells)
            plus.mirror(minus)

    def pulse(self, counts: Counts) -> None:
        # Negative numbers are pulses up.
        self.devices[self.MINUS].pulse(-np.maximum(counts, 0))
        self.devices[self.PLUS].pulse(np.minimum(counts, 0))

    def finish(self, lr: float, batch: int) -> None:
        self.updates += 1
        period = self.config.refresh_every * (batch if self.config.units_in_mbatch else 1)
        if period > 0 and self.updates % period == 0:
            for column in range(self.weight.shape[1]):
                self.refresh(column)
        self.reduce()

    def refresh(self, column: int) -> None:
        """Write the difference of the pairs of a column anew, where both are far up."""
        minus, plus = self.devices
        p, m = (
            read_line(device.weight, column, True, self.config.refresh_forward)
            for device in (plus, minus)
        )
        a, b = p / np.abs(single(w_max(plus))), m / np.abs(single(w_max(minus)))
        upper = single(self.config.refresh_upper_thres)
        lower = single(self.config.refresh_lower_thres)
        larger = p > m
        selected = np.where(larger, (a > upper) & (b > lower), (a > lower) & (b > upper))
        nothing = np.zeros_like(p)
        chosen = np.zeros(plus.weight.shape, np.bool_)
        chosen[:, column] = selected
        x = one_hot(column, plus.weight.shape[1])
        for device, rest in (
            (plus, np.where(selected & larger, p - m, nothing)),
            (minus, np.where(selected & ~larger, m - p, nothing)),
        ):
            device.reset(chosen)
            if rest.any():
                device.vector_update(x, rest, -1.0, self.config.refresh_update)

    def set_weights(self, values: ArrayLike) -> None:
        self.updates = 0
        wanted = single(values)
        self.devices[self.PLUS].set_weights(np.maximum(wanted, 0))
        self.devices[self.MINUS].set_weights(np.maximum(-wanted, 0))
        self.reduce()


def w_max(device: Crosspoints) -> float:
    """Return the upper bound of a single device."""
    assert isinstance(device, ConstantStepCells)
    return float(device.max)


def one_hot(at: int, size: int) -> Array:
    """Return a vector with a one."""
    return np.eye(size, dtype=np.float32)[at]
