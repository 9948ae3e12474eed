"""Device whose step vanishes at its bound."""

from dataclasses import dataclass
from typing import ClassVar

from mho.simulator.devices.pulsed import PulsedDevice
from mho.simulator.parameters.registry import register_config_class


@register_config_class
@dataclass
class SoftBoundsDevice(PulsedDevice):
    r"""Device whose mean step falls linearly to zero at its own bound.

    The mean step up is $\Delta w_+ (1 - w / w_{max})$, the mean step down $\Delta w_- (1 - w /
    w_{min})$.
    """

    wire_type: ClassVar[str] = "SoftBounds"

    mult_noise: bool = True
    """Scale the noise of a step with the step."""

    write_noise_std: float = 0.0
    """Noise of the visible weight around the stored one, relative to `dw_min`, absolute if that is
    zero; drawn at each change."""

    apply_write_noise_on_set: bool = True
    """Draw that noise when weights are set, too."""

    reverse_up: bool = False
    """Let the step up grow towards the bound."""

    reverse_down: bool = False
    """Let the step down grow towards the bound."""

    reverse_offset: float = 0.01
    """Distance of the point without a step from the opposite bound, for reversed steps."""
