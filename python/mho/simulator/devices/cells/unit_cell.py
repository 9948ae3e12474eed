"""Base of cells that combine several devices at one crosspoint."""

from dataclasses import dataclass, field
from typing import Any

from mho.exceptions import ConfigError
from mho.simulator.devices.crosspoint import CrosspointDevice
from mho.simulator.parameters.checking import join
from mho.simulator.parameters.registry import register_config_class


@register_config_class
@dataclass
class UnitCell(CrosspointDevice):
    """Several devices at one crosspoint; a tile needs one of the subclasses."""

    unit_cell_devices: list[CrosspointDevice] = field(default_factory=list)
    """Devices of the cell, in order."""

    construction_seed: int = 0
    """Seed of the spreads between devices; zero takes one from torch's generator."""

    def requires_diffusion(self) -> bool:
        """Return whether the weights of any device diffuse."""
        return any(device.requires_diffusion() for device in self.unit_cell_devices)

    def requires_decay(self) -> bool:
        """Return whether the weights of any device decay."""
        return any(device.requires_decay() for device in self.unit_cell_devices)

    def calc_weight_granularity(self) -> float:
        """Return the mean over the devices of the change by one pulse, in units of the weight.

        Raises:
            ConfigError: The cell has no devices.
        """
        self._check_devices("")
        steps = [device.calc_weight_granularity() for device in self.unit_cell_devices]
        return sum(steps) / len(steps)

    def _check_devices(self, path: str) -> None:
        if not self.unit_cell_devices:
            name = join(path, "unit_cell_devices")
            raise ConfigError(f"{name}: {type(self).__name__} needs devices; pass a list of them")

    def _wire_params(self, path: str) -> dict[str, Any]:
        if not hasattr(self, "wire_type"):
            raise ConfigError(
                f"{path or 'device'}: {type(self).__name__} is only a base; use a subclass,"
                " such as VectorUnitCell or TransferCompound"
            )
        self._check_devices(path)
        return super()._wire_params(path)
