"""Digital weight, for tiles that compute exactly."""

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from mho.exceptions import ConfigError
from mho.simulator.devices.crosspoint import CrosspointDevice
from mho.simulator.parameters.checking import join
from mho.simulator.parameters.inference import SimpleDriftParameter
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.parameters.wire import fields_to_wire


@register_config_class
@dataclass
class FloatingPointDevice(CrosspointDevice):
    """Weight that is updated exactly, used by `FloatingPointRPUConfig` only."""

    wire_type: ClassVar[str] = "FloatingPoint"

    diffusion: float = 0.0
    """Standard deviation of the diffusion of the weight per mini-batch."""

    lifetime: float = 0.0
    """Decay time of the weight, in mini-batches; one or less is no decay."""

    drift: SimpleDriftParameter = field(default_factory=SimpleDriftParameter)
    """Power-law drift of all weights alike."""

    def _wire_params(self, path: str) -> dict[str, Any]:
        params, drift, where = super()._wire_params(path), self.drift, join(path, "drift")
        names = [f.name for f in fields(SimpleDriftParameter)]
        for f in fields(drift):
            value = getattr(drift, f.name)
            if f.name not in names and value != f.default:
                raise ConfigError(
                    f"{join(where, f.name)}: weights without a device drift alike; leave it at"
                    f" {f.default}, got {value}"
                )
        params["drift"] = fields_to_wire(drift, where, names)
        return params
