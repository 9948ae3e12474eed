"""Device whose step is a power of the distance to the bound."""

from dataclasses import dataclass
from typing import ClassVar

from mho.simulator.devices.pulsed import PulsedDevice
from mho.simulator.parameters.registry import register_config_class


@register_config_class
@dataclass
class PowStepDevice(PulsedDevice):
    r"""Device whose mean step is a power of the relative distance to the bound.

    With $R = w_{max} - w_{min}$ the mean step up is $\Delta w_+ ((w_{max} - w) / R)^{\gamma_+}$ and
    the mean step down $\Delta w_- ((w - w_{min}) / R)^{\gamma_-}$.
    """

    wire_type: ClassVar[str] = "PowStep"

    pow_gamma: float = 1.0
    """Mean exponent."""

    pow_gamma_dtod: float = 0.1
    """Relative spread of the exponent."""

    pow_up_down: float = 0.0
    """Asymmetry of the exponents, relative to `pow_gamma`."""

    pow_up_down_dtod: float = 0.0
    """Spread of the asymmetry, relative to `pow_gamma`."""

    write_noise_std: float = 0.0
    """Noise of the visible weight around the stored one, relative to `dw_min`, absolute if that is
    zero; drawn at each change."""

    apply_write_noise_on_set: bool = True
    """Draw that noise when weights are set, too."""

    def calc_weight_granularity(self) -> float:
        """Return the mean step in the middle of the range, in units of the weight."""
        return float(self.dw_min * 0.5**self.pow_gamma)
