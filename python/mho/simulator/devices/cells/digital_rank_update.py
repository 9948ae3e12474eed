"""Base of cells whose update is collected digitally."""

from dataclasses import dataclass, field
from typing import Any

from mho.exceptions import ConfigError
from mho.simulator.devices.cells.checks import require_pulsed, require_steps
from mho.simulator.devices.cells.vector import VectorUnitCell
from mho.simulator.devices.crosspoint import CrosspointDevice
from mho.simulator.parameters.checking import join
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.parameters.training import UpdateParameters


@register_config_class
@dataclass
class DigitalRankUpdateCell(CrosspointDevice):
    """Analog device with a digital rank update; a tile needs one of the subclasses."""

    device: CrosspointDevice = field(default_factory=VectorUnitCell)
    """Device that holds the weight."""

    construction_seed: int = 0
    """Seed of the spreads between devices; zero takes one from torch's generator."""

    def check_update(self, update: UpdateParameters) -> None:
        """Refuse writes that the device cannot take.

        Args:
            update: Parameters of the update, which are those of the writes.

        Raises:
            ConfigError: It cannot; the message names the field.
        """
        self.device.check_update(update)

    def single_devices(self) -> list[CrosspointDevice]:
        """Return the devices that it is made of, cells within cells taken apart."""
        return self.device.single_devices()

    def requires_diffusion(self) -> bool:
        """Return whether the weights of the device diffuse."""
        return self.device.requires_diffusion()

    def requires_decay(self) -> bool:
        """Return whether the weights of the device decay."""
        return self.device.requires_decay()

    def flows(self) -> bool:
        """Return whether the steps of the device are infinitely fine."""
        return self.device.flows()

    def calc_weight_granularity(self) -> float:
        """Return the change of the device by one pulse, in units of the weight."""
        return self.device.calc_weight_granularity()

    def _wire_params(self, path: str) -> dict[str, Any]:
        if not hasattr(self, "wire_type"):
            raise ConfigError(
                f"{path or 'device'}: {type(self).__name__} is only a base; use a subclass such as"
                " MixedPrecisionCompound"
            )
        require_pulsed(self.device, join(path, "device"))
        params = super()._wire_params(path)
        require_steps(self.device, join(path, "device"))
        return params
