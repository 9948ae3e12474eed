"""Device whose step falls exponentially with the weight."""

import math
from dataclasses import dataclass
from typing import ClassVar

from mho.simulator.devices.pulsed import PulsedDevice
from mho.simulator.parameters.registry import register_config_class


@register_config_class
@dataclass
class ExpStepDevice(PulsedDevice):
    r"""Device with exponential dependence of the step on the weight, fitted to resistive memory.

    With $z = 2 a w / (w_{max} - w_{min}) + b$ the mean step up is $\Delta w_+ \max(1 - A_+
    e^{\gamma_+ z}, 0)$ and the mean step down $\Delta w_- \max(1 - A_- e^{-\gamma_- z}, 0)$ (Gong
    et al., IEDM 2018).
    """

    wire_type: ClassVar[str] = "ExpStep"

    A_up: float = 0.00081
    """Amplitude for steps up."""

    A_down: float = 0.36833
    """Amplitude for steps down."""

    gamma_up: float = 12.44625
    """Exponent for steps up."""

    gamma_down: float = 12.78785
    """Exponent for steps down."""

    a: float = 0.244
    """Factor on the weight in units of half the range."""

    b: float = 0.2425
    """Offset of the weight in the exponent."""

    dw_min_std_add: float = 0.0
    """Part of the noise of a step that does not depend on it, in units of the weight."""

    dw_min_std_slope: float = 0.0
    """Part of the noise of a step that grows with the absolute weight."""

    write_noise_std: float = 0.0
    """Noise of the visible weight around the stored one, relative to `dw_min`, absolute if that is
    zero; drawn at each change."""

    apply_write_noise_on_set: bool = True
    """Draw that noise when weights are set, too."""

    def calc_weight_granularity(self) -> float:
        """Return the mean of the steps up and down at weight zero, or `dw_min` without any."""
        up = max(0.0, 1.0 - self.A_up * math.exp(self.gamma_up * self.b))
        down = max(0.0, 1.0 - self.A_down * math.exp(-self.gamma_down * self.b))
        up, down = up * (1.0 + min(self.up_down, 0.0)), down * (1.0 - max(self.up_down, 0.0))
        return 0.5 * (up + down) * self.dw_min or float(self.dw_min)
