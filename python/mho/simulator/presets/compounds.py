"""Unit cells of preset devices."""

from dataclasses import dataclass, field

from mho.simulator.devices.cells.one_sided import OneSidedUnitCell
from mho.simulator.devices.crosspoint import CrosspointDevice
from mho.simulator.parameters.io import IOParameters
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.parameters.training import UpdateParameters
from mho.simulator.presets.devices import PCMPresetDevice
from mho.simulator.presets.utils import PresetIOParameters, PresetUpdateParameters

__all__ = ["PCMPresetUnitCell"]


@register_config_class
@dataclass
class PCMPresetUnitCell(OneSidedUnitCell):
    """Pair of phase-change memories, one for increases and one for decreases.

    Saturation is checked, and the pair refreshed, after every mini-batch (Nandakumar et al., Front.
    Neurosci. 14:406, 2020).
    """

    unit_cell_devices: list[CrosspointDevice] = field(
        default_factory=lambda: [PCMPresetDevice(), PCMPresetDevice()]
    )
    """Device for increases and device for decreases."""

    refresh_every: int = 1
    """Period of the check for saturation; zero is never."""

    refresh_forward: IOParameters = field(default_factory=PresetIOParameters)
    """How devices are read for a refresh."""

    refresh_update: UpdateParameters = field(default_factory=PresetUpdateParameters)
    """How the difference is written back."""
