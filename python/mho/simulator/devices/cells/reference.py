"""Pair of an updated device and a fixed reference."""

from dataclasses import dataclass, field
from typing import ClassVar

from mho.simulator.devices.cells.unit_cell import UnitCell
from mho.simulator.parameters.enums import VectorUnitCellUpdatePolicy
from mho.simulator.parameters.registry import register_config_class


@register_config_class
@dataclass
class ReferenceUnitCell(UnitCell):
    """Cell whose weight is that of the first device minus that of the second, which gets no pulses.

    A single device is used for both, devices beyond the second are ignored.
    """

    wire_type: ClassVar[str] = "ReferenceUnitCell"

    update_policy: VectorUnitCellUpdatePolicy = VectorUnitCellUpdatePolicy.SINGLE_FIXED
    """Which devices an update reaches."""

    first_update_idx: int = 0
    """The updated device."""

    gamma_vec: list[float] = field(
        default_factory=lambda: [1.0, -1.0], metadata={"hide_if": [1.0, -1.0]}
    )
    """Weight of each device in the sum."""
