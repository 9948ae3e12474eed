"""Tiki-Taka with a digital buffer between the devices."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from mho.simulator.devices.cells.checks import require, require_momentum, require_write
from mho.simulator.devices.cells.transfer import TransferCompound, single_pulse_update
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.parameters.training import UpdateParameters


@register_config_class
@dataclass
class BufferedTransferCompound(TransferCompound):
    """Cell that collects transfers digitally and writes them in whole pulses (TTv2).

    See Gokmen, Front. Artif. Intell. 4:699148, 2021.
    """

    wire_type: ClassVar[str] = "BufferedTransferCompound"

    thres_scale: float = 1.0
    """Threshold of the buffer, in steps of the target device."""

    step: float = 1.0
    """Size of a write, in steps of the target device."""

    momentum: float = 0.1
    """Fraction of the buffer that stays after a write."""

    forget_buffer: bool = True
    """Apply `momentum` to the whole buffer instead of the written part."""

    transfer_update: UpdateParameters = field(default_factory=single_pulse_update)
    """How transfers are written."""

    def _wire_params(self, path: str) -> dict[str, Any]:
        params = super()._wire_params(path)
        why = f"must be positive, got {self.thres_scale}"
        require(self.thres_scale > 0.0, path, "thres_scale", why)
        require_momentum(self.momentum, path)
        require_write(self.step, path)
        return params
