"""Power-step device read against a reference device."""

from dataclasses import dataclass
from typing import ClassVar

from mho.simulator.devices.pulsed import PulsedDevice
from mho.simulator.parameters.registry import register_config_class


@register_config_class
@dataclass
class PowStepReferenceDevice(PulsedDevice):
    """Power-step device from which the weight of a fixed reference device is subtracted.

    The steps follow the raw weight, that is the visible weight plus the reference.
    """

    wire_type: ClassVar[str] = "PowStepReference"

    pow_gamma: float = 1.0
    """Mean exponent."""

    pow_gamma_dtod: float = 0.1
    """Relative spread of the exponent."""

    pow_up_down: float = 0.0
    """Asymmetry of the exponents, relative to `pow_gamma`."""

    pow_up_down_dtod: float = 0.0
    """Spread of the asymmetry, relative to `pow_gamma`."""

    subtract_symmetry_point: bool = False
    """Add to the reference the weight at which steps up and down are equal."""

    n_estimation_steps: int = -1
    """Pairs of pulses that search for that weight, at most 10^6; zero or less solves for it."""

    reference_mean: float = 0.0
    """Mean of the reference, absolute."""

    reference_std: float = 0.0
    """Spread of the reference between devices, absolute."""

    def calc_weight_granularity(self) -> float:
        """Return the mean step in the middle of the range, in units of the weight."""
        return float(self.dw_min * 0.5**self.pow_gamma)
