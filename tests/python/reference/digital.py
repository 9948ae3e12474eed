"""Mixed precision: outer products are collected digitally and written as whole pulses."""

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from mho.simulator.configs import MixedPrecisionCompound, UpdateParameters
from reference.crosspoints import Crosspoints, Mask
from reference.joint import Make, one_hot
from reference.pulses import Array, single


class MixedPrecisionCell(Crosspoints):
    """A device with a digital accumulator chi (Nandakumar et al., 2020)."""

    def __init__(
        self, config: MixedPrecisionCompound, make: Make, rng: np.random.Generator
    ) -> None:
        self.config, self.rng = config, rng
        self.device = make(config.device)
        self.granularity = config.granularity or self.device.granularity
        self.chi = np.zeros_like(self.device.weight)
        self.row = self.updates = 0

    @property
    def weight(self) -> Array:  # type: ignore[override]
        """What products see."""
        return self.device.weight

    def vector_update(
        self, x: Array, d: Array, lr: float, update: UpdateParameters, batch: int = 1
    ) -> None:
        """Do one sample, of which nothing reaches the device before the next one."""
        if lr == 0:
            return
        config = self.config
        q_x = self.quantised(x, config.n_x_bins, config.stoc_round_x)
        q_d = self.quantised(d, config.n_d_bins, config.stoc_round_d)
        self.chi = self.chi + single(lr) * np.outer(q_d, q_x)
        period = config.transfer_every * batch
        if period > 0 and self.updates > 0 and self.updates % period == 0:
            self.transfer(update)
        self.updates += 1

    def quantised(self, values: Array, bins: int, stochastic: bool) -> Array:
        """Return values rounded to levels between plus and minus their largest one."""
        if bins <= 0:
            return values
        half = bins // 2
        width = np.abs(values).max() / single(half) or single(1.0)
        shift = self.rng.uniform(-0.5, 0.5, values.shape) if stochastic else 0.0
        return np.clip(np.rint(values / width + single(shift)), -half, half) * width

    def transfer(self, update: UpdateParameters) -> None:
        """Write the rows whose turn it is."""
        rows, wanted = self.chi.shape[0], self.config.n_rows_per_transfer
        number = rows if wanted < 0 else min(wanted, rows)
        first = self.row
        if self.config.random_row and number < rows:
            first = min(int(self.rng.random() * rows), rows - 1)
        self.row = (first + number) % rows
        managed = replace(update, update_bl_management=True, update_management=True)
        for at in range(first, first + number):
            self.write(at % rows, managed)

    def write(self, row: int, update: UpdateParameters) -> None:
        """Turn the whole pulses in a row of the accumulator into pulses of the device."""
        n = np.trunc(self.chi[row] / single(self.granularity))
        self.chi[row] -= n * single(self.granularity)
        rate = self.granularity * self.config.transfer_lr
        self.device.vector_update(n, one_hot(row, self.chi.shape[0]), rate, update)

    def set_weights(self, values: ArrayLike) -> None:
        self.chi[:] = 0
        self.row = self.updates = 0
        self.device.set_weights(values)

    def reset(self, chosen: Mask) -> None:
        self.device.reset(chosen)

    def hidden(self) -> dict[str, Array]:
        return self.device.hidden() | {"hidden_weights_chi": self.chi}

    def extra(self) -> dict[str, ArrayLike]:
        """Return counters by name."""
        return {"current_row_index": self.row, "current_update_index": self.updates}
