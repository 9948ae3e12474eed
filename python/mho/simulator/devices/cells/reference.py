"""Pair of an updated device and a fixed reference."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from mho.simulator.devices.cells.checks import require
from mho.simulator.devices.cells.unit_cell import UnitCell
from mho.simulator.devices.crosspoint import CrosspointDevice
from mho.simulator.parameters.enums import VectorUnitCellUpdatePolicy
from mho.simulator.parameters.registry import register_config_class


@register_config_class
@dataclass
class ReferenceUnitCell(UnitCell):
    """Cell whose weight is that of the first device minus that of the second, which gets no pulses.

    A single device is used for both, devices beyond the second are ignored.
    """

    wire_type: ClassVar[str] = "ReferenceUnitCell"
    fits_in_cells: ClassVar[bool] = True

    update_policy: VectorUnitCellUpdatePolicy = VectorUnitCellUpdatePolicy.SINGLE_FIXED
    """Which devices an update reaches."""

    first_update_idx: int = 0
    """The updated device."""

    gamma_vec: list[float] = field(
        default_factory=lambda: [1.0, -1.0], metadata={"hide_if": [1.0, -1.0]}
    )
    """Weight of each device in the sum."""

    def used_devices(self) -> list[CrosspointDevice]:
        """Return those of `unit_cell_devices` that the cell is made of."""
        return self.unit_cell_devices[:2]

    def _wire_params(self, path: str) -> dict[str, Any]:
        params = super()._wire_params(path)
        for name, value in _FIXED.items():
            why = f"is always {value} here; use VectorUnitCell for anything else"
            require(getattr(self, name) == value, path, name, why)
        return params


_FIXED: dict[str, Any] = {
    "update_policy": VectorUnitCellUpdatePolicy.SINGLE_FIXED,
    "first_update_idx": 0,
    "gamma_vec": [1.0, -1.0],
}
