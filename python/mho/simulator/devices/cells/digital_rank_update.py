"""Base of cells whose update is collected digitally."""

from dataclasses import dataclass, field
from typing import Any

from mho.exceptions import ConfigError
from mho.simulator.devices.cells.vector import VectorUnitCell
from mho.simulator.devices.crosspoint import CrosspointDevice
from mho.simulator.parameters.registry import register_config_class


@register_config_class
@dataclass
class DigitalRankUpdateCell(CrosspointDevice):
    """Analog device with a digital rank update; a tile needs one of the subclasses."""

    device: CrosspointDevice = field(default_factory=VectorUnitCell)
    """Device that holds the weight."""

    construction_seed: int = 0
    """Seed of the spreads between devices; zero takes one from torch's generator."""

    def requires_diffusion(self) -> bool:
        """Return whether the weights of the device diffuse."""
        return self.device.requires_diffusion()

    def requires_decay(self) -> bool:
        """Return whether the weights of the device decay."""
        return self.device.requires_decay()

    def calc_weight_granularity(self) -> float:
        """Return the change of the device by one pulse, in units of the weight."""
        return self.device.calc_weight_granularity()

    def _wire_params(self, path: str) -> dict[str, Any]:
        if not hasattr(self, "wire_type"):
            raise ConfigError(
                f"{path or 'device'}: {type(self).__name__} is only a base; use a subclass such as"
                " MixedPrecisionCompound"
            )
        return super()._wire_params(path)
