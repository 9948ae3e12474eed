"""Device with exact updates behind analog forward and backward products."""

from dataclasses import dataclass
from typing import ClassVar

from mho.simulator.devices.crosspoint import CrosspointDevice
from mho.simulator.parameters.registry import register_config_class


@register_config_class
@dataclass
class IdealDevice(CrosspointDevice):
    """Device without bounds whose update is the exact outer product."""

    wire_type: ClassVar[str] = "Ideal"

    construction_seed: int = 0
    """Kept for compatibility; there is nothing to draw."""

    diffusion: float = 0.0
    """Standard deviation of the diffusion of the weight per mini-batch."""

    lifetime: float = 0.0
    """Decay time of the weight, in mini-batches; one or less is no decay."""

    reset_std: float = 0.01
    """Noise of each reset, absolute."""
