"""Base of the configurations of tiles whose products and updates are analog."""

from dataclasses import dataclass, field
from typing import Any

from mho.exceptions import ConfigError
from mho.simulator.devices.crosspoint import CrosspointDevice
from mho.simulator.devices.floating_point import FloatingPointDevice
from mho.simulator.parameters.checking import check
from mho.simulator.parameters.helpers import check_data_type
from mho.simulator.parameters.io import IOParameters
from mho.simulator.parameters.mapping import MappableRPU
from mho.simulator.parameters.pre_post import PrePostProcessingRPU
from mho.simulator.parameters.training import UpdateParameters


@dataclass
class IOManagedRPUConfig(MappableRPU, PrePostProcessingRPU):
    """Base of configurations with analog forward and backward products and an update."""

    forward: IOParameters = field(default_factory=IOParameters)
    """Non-idealities of the forward product."""

    backward: IOParameters = field(default_factory=IOParameters)
    """Non-idealities of the backward product."""

    update: UpdateParameters = field(default_factory=UpdateParameters)
    """How the update becomes pulses."""

    def core_wire(self) -> dict[str, Any]:
        """Return what the core needs to know: device, both products and the update.

        Raises:
            ConfigError: A value is invalid or not for this device; the message names the field.
        """
        check(self)
        check_data_type(self.runtime.data_type, "runtime.data_type")
        device = getattr(self, "device", None)
        if not isinstance(device, CrosspointDevice) or isinstance(device, FloatingPointDevice):
            raise ConfigError(
                f"device: {type(self).__name__} needs a pulsed or ideal device or a unit cell, got"
                f" {type(device).__name__}"
            )
        device.check_update(self.update)
        return {
            "device": device.to_wire("device"),
            "forward": self.forward.to_wire("forward"),
            "backward": self.backward.to_wire("backward"),
            "update": self.update.to_wire("update"),
        }
