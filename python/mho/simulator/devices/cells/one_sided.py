"""Pair of devices that are only ever pulsed upwards."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from mho.simulator.devices.cells.checks import require, warn_once
from mho.simulator.devices.cells.unit_cell import UnitCell
from mho.simulator.devices.pulsed import PulsedDevice
from mho.simulator.parameters.checking import join
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
    fits_in_cells: ClassVar[bool] = True

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
    """Make the second device, for increases, the mirror image of the first one."""

    def _wire_params(self, path: str) -> dict[str, Any]:
        params = super()._wire_params(path)
        self._check_pair(path)
        why = f"must be 0 (never) or more, got {self.refresh_every}"
        require(self.refresh_every >= 0, path, "refresh_every", why)
        self._warn_of_refresh(path)
        return params

    def _warn_of_refresh(self, path: str) -> None:
        """Warn, once, of a refresh that cannot happen, or only where a bound exceeds `w_max`."""
        usual = OneSidedUnitCell()
        if self.refresh_every == 0:
            for name in ("refresh_upper_thres", "refresh_lower_thres"):
                if getattr(self, name) != getattr(usual, name):
                    warn_once(join(path, name), "has no effect; set refresh_every")
        elif self.refresh_upper_thres > 1.0:
            why = "above 1 only devices whose bound exceeds w_max are ever refreshed, without"
            warn_once(join(path, "refresh_upper_thres"), f"{why} spread of w_max none; use less")

    def _check_pair(self, path: str) -> None:
        name, devices = "unit_cell_devices", self.unit_cell_devices
        why = f"{type(self).__name__} has one or two devices, got {len(devices)}"
        require(len(devices) <= 2, path, name, why)
        for k, device in enumerate(devices):
            what = type(device).__name__
            why = f"a one-sided pair is made of single devices, got {what}"
            require(isinstance(device, PulsedDevice), path, f"{name}[{k}]", why)
        first, second = devices[0], devices[-1]
        why = "both devices must be of one class, got {} and {}"
        kinds = type(first).__name__, type(second).__name__
        require(first.wire_type == second.wire_type, path, name, why.format(*kinds))
        why = "with copy_inverted the second device mirrors the first; pass one, or two equal ones"
        require(not self.copy_inverted or first == second, path, name, why)


@register_config_class
@dataclass
class DifferenceUnitCell(OneSidedUnitCell):
    """Former name of [`OneSidedUnitCell`][mho.simulator.configs.compounds.OneSidedUnitCell]."""
