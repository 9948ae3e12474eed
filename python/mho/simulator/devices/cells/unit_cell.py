"""Base of cells that combine several devices at one crosspoint."""

from dataclasses import dataclass, field
from typing import Any

from mho.exceptions import ConfigError
from mho.simulator.devices.cells.checks import require, require_pulsed, require_steps
from mho.simulator.devices.crosspoint import CrosspointDevice
from mho.simulator.parameters.checking import join
from mho.simulator.parameters.enums import PulseType
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.parameters.training import UpdateParameters


@register_config_class
@dataclass
class UnitCell(CrosspointDevice):
    """Several devices at one crosspoint; a tile needs one of the subclasses."""

    unit_cell_devices: list[CrosspointDevice] = field(default_factory=list)
    """Devices of the cell, in order."""

    construction_seed: int = 0
    """Seed of the spreads between devices; zero takes one from torch's generator."""

    def used_devices(self) -> list[CrosspointDevice]:
        """Return those of `unit_cell_devices` that the cell is made of."""
        return self.unit_cell_devices

    def single_devices(self) -> list[CrosspointDevice]:
        """Return the devices that it is made of, cells within cells taken apart."""
        return [one for device in self.used_devices() for one in device.single_devices()]

    def check_update(self, update: UpdateParameters) -> None:
        """Refuse exact updates of the sum, which would be lost: it follows from the devices.

        Args:
            update: Parameters of the update.

        Raises:
            ConfigError: The type of pulses is `NONE_WITH_DEVICE`.
        """
        if update.pulse_type is PulseType.NONE_WITH_DEVICE:
            raise ConfigError(
                f"update.pulse_type: {type(self).__name__} cannot take exact updates; use pulses,"
                " or PulseType.NONE for an exact weight without devices"
            )

    def requires_diffusion(self) -> bool:
        """Return whether the weights of any device diffuse."""
        return any(device.requires_diffusion() for device in self.used_devices())

    def requires_decay(self) -> bool:
        """Return whether the weights of any device decay."""
        return any(device.requires_decay() for device in self.used_devices())

    def flows(self) -> bool:
        """Return whether the steps of all devices are infinitely fine."""
        devices = self.used_devices()
        return bool(devices) and all(device.flows() for device in devices)

    def calc_weight_granularity(self) -> float:
        """Return the mean over the devices of the change by one pulse, in units of the weight.

        Raises:
            ConfigError: The cell has no devices.
        """
        self._check_devices("")
        steps = [device.calc_weight_granularity() for device in self.used_devices()]
        return sum(steps) / len(steps)

    def _check_devices(self, path: str) -> None:
        why = f"{type(self).__name__} needs devices; pass a list of them"
        require(bool(self.unit_cell_devices), path, "unit_cell_devices", why)

    def _wire_params(self, path: str) -> dict[str, Any]:
        if not hasattr(self, "wire_type"):
            raise ConfigError(
                f"{path or 'device'}: {type(self).__name__} is only a base; use a subclass,"
                " such as VectorUnitCell or TransferCompound"
            )
        self._check_devices(path)
        named = [
            (join(path, f"unit_cell_devices[{k}]"), device)
            for k, device in enumerate(self.unit_cell_devices)
        ]
        for name, device in named:
            require_pulsed(device, name)
        params = super()._wire_params(path)
        for name, device in named:
            require_steps(device, name)
        return params
