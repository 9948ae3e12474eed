"""Pair of devices that are only ever pulsed upwards."""

from dataclasses import dataclass, field
from typing import ClassVar

from mho.simulator.devices.cells.unit_cell import UnitCell
from mho.simulator.parameters.io import IOParameters
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.parameters.training import UpdateParameters


@register_config_class
@dataclass
class OneSidedUnitCell(UnitCell):
    """Cell with one device for increases and one for decreases, refreshed when both saturate.

    Only pulses up are ever applied, as phase-change memory needs it. A refresh reads both devices,
    resets them and writes back their difference.
    """

    wire_type: ClassVar[str] = "OneSidedUnitCell"

    refresh_every: int = 0
    """Period of the check for saturation; zero is never."""

    units_in_mbatch: bool = True
    """Count that period in mini-batches instead of samples."""

    refresh_upper_thres: float = 0.75
    """Fraction of `w_max` that the larger device must exceed."""

    refresh_lower_thres: float = 0.25
    """Fraction of `w_max` that the smaller device must exceed."""

    refresh_forward: IOParameters = field(default_factory=IOParameters)
    """How devices are read for a refresh."""

    refresh_update: UpdateParameters = field(default_factory=UpdateParameters)
    """How the difference is written back."""

    copy_inverted: bool = False
    """Make the device for decreases the mirror image of the other one."""


@register_config_class
@dataclass
class DifferenceUnitCell(OneSidedUnitCell):
    """Former name of [`OneSidedUnitCell`][mho.simulator.configs.compounds.OneSidedUnitCell]."""
