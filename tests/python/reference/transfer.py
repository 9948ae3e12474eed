"""Tiki-Taka: updates reach the first device, lines of it travel down a chain of devices."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from mho.simulator.configs import (
    BufferedTransferCompound,
    TransferCompound,
    UpdateParameters,
)
from reference.crosspoints import Mask
from reference.joint import Cell, Make, one_hot, read_line
from reference.pulses import Array, Counts, single


class Chain(Cell):
    """Which line of which device travels when; what a line becomes is said by ``move``."""

    def __init__(self, config: TransferCompound, make: Make, rng: np.random.Generator) -> None:
        first, second, *others = config.unit_cell_devices
        n = 2 + len(others)
        # The devices beyond the second are copies of the second.
        devices = [make(first), *(make(second) for _ in range(n - 1))]
        gamma = config.gamma_vec or [config.gamma ** (n - 1 - k) for k in range(n)]
        self.config, self.rng = config, rng
        super().__init__(devices, gamma)
        self.gammas = gamma
        # Only the first device gets the pulses of updates.
        self.granularity = devices[0].granularity
        rows, columns = self.weight.shape
        self.lines, self.length = (columns, rows) if config.transfer_columns else (rows, columns)
        self.reads = min(config.n_reads_per_transfer, self.lines)
        self.line = [0] * n

    # --- updates ----------------------------------------------------------------------------------

    def begin(self, x: Array, d: Array, lr: float, batch: int) -> None:
        self.devices[0].begin(x, d, lr, batch)

    def count_lr(self, lr: float, update: UpdateParameters) -> float:
        fast = self.config.fast_lr
        if fast <= 0:
            return lr
        return fast * lr if self.config.scale_fast_lr else fast

    def pulse(self, counts: Counts) -> None:
        self.devices[0].pulse(counts)

    def finish(self, lr: float, batch: int) -> None:
        self.devices[0].finish(lr, batch)
        self.updates += 1
        for source, period in enumerate(self.periods(batch)):
            if period > 0 and self.updates % period == 0:
                self.transfer(source, min(source + 1, len(self.devices) - 1), lr)
        self.reduce()

    # --- transfers --------------------------------------------------------------------------------

    def nominal_periods(self) -> Sequence[float]:
        """Return the periods of transfers from each device, in the units of the configuration."""
        if self.config.transfer_every_vec:
            return self.config.transfer_every_vec
        # A device is read once for each sweep over all lines of the one before.
        sweep = self.lines / self.reads
        periods = [self.config.transfer_every * sweep**k for k in range(len(self.devices))]
        if self.config.no_self_transfer:
            periods[-1] = 0.0
        return periods

    def periods(self, batch: int) -> list[int]:
        """Return the periods in samples; zero is never."""
        return [self.period(nominal, batch) for nominal in self.nominal_periods()]

    def period(self, nominal: float, batch: int) -> int:
        """Return one period in samples."""
        if nominal <= 0:
            return 0
        if self.config.units_in_mbatch:
            return math.ceil(np.float32(nominal) * np.float32(batch))
        return rounded(nominal)

    def transfer_lr(self, source: int, lr: float) -> float:
        """Return the learning rate of the transfer from a device."""
        own = self.config.transfer_lr_vec or [self.config.transfer_lr] * len(self.devices)
        return own[source] * (lr if self.config.scale_transfer_lr else 1.0)

    def transfer(self, source: int, target: int, lr: float) -> None:
        """Move the lines whose turn it is from a device to the next one."""
        rate, first = self.transfer_lr(source, lr), self.line[source]
        if self.config.random_selection:
            first = min(int(self.rng.random() * self.lines), self.lines - 1)
        self.line[source] = (first + self.reads) % self.lines
        if rate == 0 or source == target:
            return
        for at in range(first, first + self.reads):
            self.move(source, target, at % self.lines, rate)

    def move(self, source: int, target: int, line: int, rate: float) -> None:
        """Move a line from a device to the next one."""
        raise NotImplementedError

    def read(self, source: int, line: int) -> Array:
        """Return a line of a device as the transfer reads it."""
        columns, io = self.config.transfer_columns, self.config.transfer_forward
        return read_line(self.devices[source].weight, line, columns, io)

    def write(self, target: int, line: int, error: Array, rate: float) -> None:
        """Make pulses of ``-rate * error`` on a line of a device."""
        at = one_hot(line, self.lines)
        x, d = (at, error) if self.config.transfer_columns else (error, at)
        self.devices[target].vector_update(x, d, rate, self.config.transfer_update)

    def of_line(self, plane: Array, line: int) -> Array:
        """Return the view of a line of a plane of shape ``[out, in]``."""
        return plane[:, line] if self.config.transfer_columns else plane[line, :]

    # --- weights ----------------------------------------------------------------------------------

    def set_weights(self, values: ArrayLike) -> None:
        self.updates = 0
        self.line = [0] * len(self.devices)
        for device in self.devices[:-1]:
            device.set_weights(0.0)
        self.devices[-1].set_weights(single(values) / self.gamma[-1])
        self.reduce()

    def reset(self, chosen: Mask) -> None:
        self.devices[0].reset(chosen)
        self.reduce()

    def extra(self) -> dict[str, ArrayLike]:
        return super().extra() | {"current_slice_indices": self.line}


class TransferCell(Chain):
    """The first version: a line that is read is written at once (Gokmen and Haensch, 2020)."""

    def move(self, source: int, target: int, line: int, rate: float) -> None:
        value = self.read(source, line)
        if self.config.with_reset_prob > 0 and self.rng.random() < self.config.with_reset_prob:
            chosen = np.zeros(self.weight.shape, np.bool_)
            chosen[:, line] = True
            self.devices[source].reset(chosen)
        self.write(target, line, -value, rate)


class BufferedCell(Chain):
    """The second version: lines are collected digitally and written in pulses (Gokmen, 2021)."""

    config: BufferedTransferCompound

    def __init__(
        self, config: BufferedTransferCompound, make: Make, rng: np.random.Generator
    ) -> None:
        super().__init__(config, make, rng)
        self.buffers = [np.zeros_like(self.weight) for _ in self.devices[1:]]

    def transfer_lr(self, source: int, lr: float) -> float:
        target = min(source + 1, len(self.devices) - 1)
        return super().transfer_lr(source, lr) * ratio(self.gammas[source], self.gammas[target])

    def move(self, source: int, target: int, line: int, rate: float) -> None:
        granularity, longest = (
            self.devices[target].granularity,
            self.config.transfer_update.desired_bl,
        )
        threshold = single(self.config.thres_scale * granularity)
        kept, clipped = single(self.config.momentum), single(min(max(self.config.momentum, 0), 1))
        buffer = self.of_line(self.buffers[source], line)
        omega = buffer + single(abs(rate)) * self.read(source, line)
        n = np.clip(np.trunc(omega / threshold), -longest, longest)
        rest = kept * omega if self.config.forget_buffer else omega - (1 - clipped) * n * threshold
        buffer[:] = np.where(n == 0, omega, rest)
        if n.any():
            self.write(target, line, -n, self.config.step * granularity)

    def set_weights(self, values: ArrayLike) -> None:
        for buffer in self.buffers:
            buffer[:] = 0
        super().set_weights(values)

    def hidden(self) -> dict[str, Array]:
        named = {f"buffered_FP_weight_{k}": buffer for k, buffer in enumerate(self.buffers)}
        return super().hidden() | named


def ratio(source: float, target: float) -> float:
    """Return the factor of a transfer between two devices that are both visible."""
    return source / target if source > 0 and target > 0 else 1.0


def rounded(value: float) -> int:
    """Return a positive number rounded to an integer, halves up."""
    return math.floor(value + 0.5)
