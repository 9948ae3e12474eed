"""Tiki-Taka with a reference estimated on the fly."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from mho.simulator.devices.cells.checks import require
from mho.simulator.devices.cells.chopped_transfer import ChoppedTransferCompound
from mho.simulator.devices.cells.transfer import single_pulse_update
from mho.simulator.parameters.io import IOParameters
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.parameters.training import UpdateParameters


@register_config_class
@dataclass
class DynamicTransferCompound(ChoppedTransferCompound):
    """Chopped transfer that subtracts the mean readout of the previous chopper period (AGAD).

    See Rasch et al., "Fast and robust analog in-memory deep neural network training", Nat. Commun.
    15, 2024.
    """

    wire_type: ClassVar[str] = "DynamicTransferCompound"

    in_chop_prob: float = 0.1
    """Frequency of the flips of the sign of an input; must be positive."""

    in_chop_random: bool = False
    """Flip at random in addition to the regular flips."""

    experimental_correct_accumulation: bool = False
    """Divide the buffer by the number of transfers since the last flip."""

    momentum: float = 0.0
    """Fraction of the buffer that stays after a write."""

    forget_buffer: bool = True
    """Apply `momentum` to the whole buffer instead of the written part."""

    buffer_granularity: float = 1.0
    """Threshold of the buffer, in steps of the fast device."""

    buffer_cap: float = 0.0
    """Limit of the buffer that `forget_buffer=False` keeps, in multiples of the pulse train; zero
    is none."""

    tail_weightening: float = 5.0
    """How much the mean readout favours the end of a chopper period."""

    transfer_columns: bool = True
    """Transfer columns instead of rows."""

    fast_lr: float = 1.0
    """Learning rate of the fast device; zero or less takes that of the optimizer."""

    transfer_lr: float = 1.0
    """Learning rate of the transfer."""

    scale_transfer_lr: bool = True
    """Multiply `transfer_lr` by the learning rate of the optimizer."""

    transfer_forward: IOParameters = field(default_factory=IOParameters)
    """How columns or rows are read; noise and bound management do not act."""

    transfer_update: UpdateParameters = field(default_factory=single_pulse_update)
    """How they are written."""

    def _wire_params(self, path: str) -> dict[str, Any]:
        params = super()._wire_params(path)
        why = "must be positive: the reference is the mean of a chopper period"
        require(self.in_chop_prob > 0.0, path, "in_chop_prob", why)
        why = f"must not be negative, got {self.tail_weightening}"
        require(self.tail_weightening >= 0.0, path, "tail_weightening", why)
        return params
