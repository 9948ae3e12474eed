"""Mixed precision: the outer products are collected digitally and written in whole pulses."""

from dataclasses import dataclass
from typing import Any, ClassVar

from mho.simulator.devices.cells.checks import require
from mho.simulator.devices.cells.digital_rank_update import DigitalRankUpdateCell
from mho.simulator.parameters.registry import register_config_class


@register_config_class
@dataclass
class MixedPrecisionCompound(DigitalRankUpdateCell):
    """Cell with a digital accumulator (Nandakumar et al., Front. Neurosci. 14:406, 2020)."""

    wire_type: ClassVar[str] = "MixedPrecisionCompound"

    transfer_every: int = 1
    """Period of the writes, in mini-batches; zero is never."""

    n_rows_per_transfer: int = -1
    """Rows per write; negative is all, zero is none."""

    random_row: bool = False
    """Start each write at a random row."""

    granularity: float = 0.0
    """Accumulated change that becomes one pulse; zero takes the step of the device."""

    transfer_lr: float = 1.0
    """Factor on the writes."""

    n_x_bins: int = 0
    """Levels that inputs are quantised to; zero is off."""

    n_d_bins: int = 0
    """Levels that errors are quantised to; zero is off."""

    stoc_round_x: bool = True
    """Round inputs stochastically."""

    stoc_round_d: bool = True
    """Round errors stochastically."""

    def _wire_params(self, path: str) -> dict[str, Any]:
        params = super()._wire_params(path)
        for name in ("n_x_bins", "n_d_bins"):
            bins = getattr(self, name)
            why = f"one level has no width; use 0 (off) or two and more, got {bins}"
            require(bins == 0 or bins >= 2, path, name, why)
        for name, off in (("transfer_every", "never"), ("granularity", "that of the device")):
            value = getattr(self, name)
            require(value >= 0, path, name, f"must be 0 ({off}) or positive, got {value}")
        return params
