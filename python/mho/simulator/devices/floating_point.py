"""Digital weight, for tiles that compute exactly."""

from dataclasses import dataclass, field
from typing import ClassVar

from mho.simulator.devices.crosspoint import CrosspointDevice
from mho.simulator.parameters.inference import SimpleDriftParameter
from mho.simulator.parameters.registry import register_config_class


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
