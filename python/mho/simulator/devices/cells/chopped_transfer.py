"""Tiki-Taka with chopped signs."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from mho.simulator.devices.cells.checks import (
    require,
    require_momentum,
    require_probability,
    require_write,
)
from mho.simulator.devices.cells.transfer import TransferCompound, single_pulse_update
from mho.simulator.devices.pulsed import PulsedDevice
from mho.simulator.parameters.io import IOParameters
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.parameters.training import UpdateParameters


@register_config_class
@dataclass
class ChoppedTransferCompound(TransferCompound):
    """Buffered transfer whose signs flip from time to time (c-TTv2).

    Offsets of the fast device average out that way.

    Needs exactly two devices. See Rasch et al., "Fast and robust analog in-memory deep neural
    network training", Nat. Commun. 15, 2024.
    """

    wire_type: ClassVar[str] = "ChoppedTransferCompound"

    transfer_every: float = 1.0
    """Period of the transfer; zero is never. A negative one is automatic: the states of the fast
    device over the number of columns, or rows, times this, in samples."""

    in_chop_prob: float = 0.1
    """Probability or frequency of a flip of the sign of an input after its transfer; zero is
    never."""

    in_chop_random: bool = True
    """Flip at random instead of regularly."""

    out_chop_prob: float = 0.0
    """Probability of a flip of the sign of each output after all inputs were transferred."""

    buffer_granularity: float = 1.0
    """Threshold of the buffer, in steps of the fast device."""

    auto_granularity: float = 0.0
    """Scale the threshold so that this many updates cross it; zero is off."""

    step: float = 1.0
    """Size of a write, in steps of the slow device."""

    momentum: float = 0.0
    """Fraction of the buffer that stays after a write."""

    forget_buffer: bool = True
    """Apply `momentum` to the whole buffer instead of the written part."""

    no_buffer: bool = False
    """Forget the buffer before each transfer."""

    units_in_mbatch: bool = False
    """Count periods in mini-batches instead of samples."""

    auto_scale: bool = False
    """Scale `fast_lr` by the running averages of the largest input and error."""

    auto_momentum: float = 0.99
    """Weight of the past in those averages."""

    correct_gradient_magnitudes: bool = False
    """Scale the buffer so that transfers have the size of the gradients."""

    transfer_columns: bool = True
    """Transfer columns instead of rows."""

    transfer_lr: float = 1.0
    """Learning rate of the transfer."""

    fast_lr: float = 1.0
    """Learning rate of the fast device; zero or less takes that of the optimizer."""

    scale_fast_lr: bool = False
    """Multiply `fast_lr` by the learning rate of the optimizer."""

    scale_transfer_lr: bool = True
    """Multiply `transfer_lr` by the learning rate of the optimizer."""

    transfer_forward: IOParameters = field(default_factory=IOParameters)
    """How columns or rows are read; noise and bound management do not act."""

    transfer_update: UpdateParameters = field(default_factory=single_pulse_update)
    """How they are written."""

    def _wire_params(self, path: str) -> dict[str, Any]:
        params, number = super()._wire_params(path), len(self.unit_cell_devices)
        cell = type(self).__name__
        why = f"{cell} has a fast and a slow device, got {number} devices"
        require(number == 2, path, "unit_cell_devices", why)
        for name, value in (
            ("n_reads_per_transfer", 1),
            ("random_selection", False),
            ("with_reset_prob", 0.0),
        ):
            why = f"{cell} needs {value}, got {getattr(self, name)}"
            require(getattr(self, name) == value, path, name, why)
        for name in ("in_chop_prob", "out_chop_prob", "auto_momentum"):
            require_probability(getattr(self, name), path, name)
        require_momentum(self.momentum, path)
        require_write(self.step, path)
        return params

    def _check_periods(self, path: str) -> None:
        """Refuse an automatic period unless the fast device has a number of states."""
        own = self.transfer_every_vec
        name = "transfer_every_vec" if own else "transfer_every"
        why = (
            "a negative period follows from the states of a single fast device; give a positive one"
        )
        period = own[0] if own else self.transfer_every
        single = isinstance(self.unit_cell_devices[0], PulsedDevice)
        require(period >= 0 or single, path, name, why)
