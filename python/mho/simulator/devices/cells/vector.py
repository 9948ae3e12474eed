"""Cell whose devices are read together and updated by a policy."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from mho.simulator.devices.cells.checks import require, require_one_each
from mho.simulator.devices.cells.unit_cell import UnitCell
from mho.simulator.parameters.enums import VectorUnitCellUpdatePolicy
from mho.simulator.parameters.registry import register_config_class


@register_config_class
@dataclass
class VectorUnitCell(UnitCell):
    """Cell whose weight is a weighted sum of the weights of its devices."""

    wire_type: ClassVar[str] = "VectorUnitCell"
    fits_in_cells: ClassVar[bool] = True

    update_policy: VectorUnitCellUpdatePolicy = VectorUnitCellUpdatePolicy.ALL
    """Which devices an update reaches."""

    first_update_idx: int = 0
    """Device that single-device policies start from."""

    gamma_vec: list[float] = field(default_factory=list, metadata={"hide_if": []})
    """Weight of each device in the sum; empty gives all the same weight and the sum one."""

    def _wire_params(self, path: str) -> dict[str, Any]:
        params, number = super()._wire_params(path), len(self.unit_cell_devices)
        require_one_each(self.gamma_vec, number, path, "gamma_vec")
        why = "must not be all zero: the weight would never move"
        require(not self.gamma_vec or any(self.gamma_vec), path, "gamma_vec", why)
        index = self.first_update_idx
        why = f"must be in 0..{number - 1}, got {index}"
        require(0 <= index < number, path, "first_update_idx", why)
        return params
