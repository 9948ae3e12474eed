"""Tiki-Taka: a fast device collects gradients, a slow one holds the weight."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from mho.simulator.devices.cells.checks import (
    require,
    require_one_each,
    require_probability,
    warn_of_management,
)
from mho.simulator.devices.cells.unit_cell import UnitCell
from mho.simulator.devices.crosspoint import CrosspointDevice
from mho.simulator.parameters.checking import join
from mho.simulator.parameters.io import IOParameters
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.parameters.training import UpdateParameters


@register_config_class
@dataclass
class TransferCompound(UnitCell):
    """Cell that transfers from each device to the next.

    See Gokmen and Haensch, Front. Neurosci. 14:103, 2020.

    Updates reach the first device only. Every `transfer_every` one of its columns or rows is read
    and written to the next device. Devices beyond the second are copies of the second.
    """

    wire_type: ClassVar[str] = "TransferCompound"

    gamma: float = 0.0
    """Device `k` of `n` has the weight `gamma**(n - 1 - k)`; zero hides all but the last."""

    gamma_vec: list[float] = field(default_factory=list, metadata={"hide_if": []})
    """Weight of each device, instead of `gamma`."""

    transfer_every: float = 1.0
    """Period of the transfer from the first device; zero is never."""

    no_self_transfer: bool = True
    """Switch the transfer from the last device off."""

    transfer_every_vec: list[float] = field(default_factory=list, metadata={"hide_if": []})
    """Period for each device, instead of `transfer_every`."""

    units_in_mbatch: bool = True
    """Count periods in mini-batches instead of samples."""

    n_reads_per_transfer: int = 1
    """Columns or rows per transfer."""

    transfer_columns: bool = True
    """Transfer columns instead of rows."""

    with_reset_prob: float = 0.0
    """Probability that a transferred column is reset."""

    random_selection: bool = False
    """Start each transfer at a random column or row."""

    fast_lr: float = 1.0
    """Learning rate of the first device; zero or less takes that of the optimizer."""

    transfer_lr: float = 1.0
    """Learning rate of the transfer."""

    transfer_lr_vec: list[float] = field(default_factory=list, metadata={"hide_if": []})
    """Learning rate of the transfer from each device, instead of `transfer_lr`."""

    scale_transfer_lr: bool = True
    """Multiply `transfer_lr` by the learning rate of the optimizer."""

    scale_fast_lr: bool = True
    """Multiply `fast_lr` by the learning rate of the optimizer."""

    transfer_forward: IOParameters = field(default_factory=IOParameters)
    """How columns or rows are read; noise and bound management do not act."""

    transfer_update: UpdateParameters = field(default_factory=UpdateParameters)
    """How they are written."""

    def used_devices(self) -> list[CrosspointDevice]:
        """Return those of `unit_cell_devices` that the cell is made of."""
        return self.unit_cell_devices[:2]

    def calc_weight_granularity(self) -> float:
        """Return the change of the first device by one pulse, in units of the weight.

        Raises:
            ConfigError: The cell has no devices.
        """
        self._check_devices("")
        return self.unit_cell_devices[0].calc_weight_granularity()

    def _wire_params(self, path: str) -> dict[str, Any]:
        params, number = super()._wire_params(path), len(self.unit_cell_devices)
        why = f"{type(self).__name__} transfers between devices and needs two or more, got {number}"
        require(number >= 2, path, "unit_cell_devices", why)
        for name in ("gamma_vec", "transfer_every_vec", "transfer_lr_vec"):
            require_one_each(getattr(self, name), number, path, name)
        why = "the last device holds the weight: its value must not be zero"
        require(not self.gamma_vec or self.gamma_vec[-1] != 0.0, path, "gamma_vec", why)
        reads = self.n_reads_per_transfer
        require(reads >= 1, path, "n_reads_per_transfer", f"must be positive, got {reads}")
        warn_of_management(self.transfer_forward, join(path, "transfer_forward"))
        self._check_reset(path)
        self._check_periods(path)
        return params

    def _check_periods(self, path: str) -> None:
        for name, values in (
            ("transfer_every", [self.transfer_every]),
            ("transfer_every_vec", self.transfer_every_vec),
        ):
            why = (
                f"must be 0 (never) or positive, got {min(values, default=0.0)}; only"
                " ChoppedTransferCompound and DynamicTransferCompound have an automatic period"
            )
            require(all(value >= 0.0 for value in values), path, name, why)

    def _check_reset(self, path: str) -> None:
        name = "with_reset_prob"
        require_probability(self.with_reset_prob, path, name)
        why = "only columns can be reset; use transfer_columns=True or 0"
        require(self.transfer_columns or self.with_reset_prob == 0.0, path, name, why)


def single_pulse_update() -> UpdateParameters:
    """Return update parameters that write one pulse per transferred element."""
    return UpdateParameters(desired_bl=1, update_bl_management=False, update_management=False)
