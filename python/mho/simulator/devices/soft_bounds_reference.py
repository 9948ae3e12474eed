"""Soft-bounds device read against a reference device."""

from dataclasses import dataclass
from typing import ClassVar

from mho.simulator.devices.pulsed import PulsedDevice
from mho.simulator.parameters.registry import register_config_class


@register_config_class
@dataclass
class SoftBoundsReferenceDevice(PulsedDevice):
    """Soft-bounds device from which the weight of a fixed reference device is subtracted.

    The steps follow the raw weight, that is the visible weight plus the reference.
    """

    wire_type: ClassVar[str] = "SoftBoundsReference"

    mult_noise: bool = False
    """Scale the noise of a step with the step."""

    write_noise_std: float = 0.0
    """Noise of the visible weight around the stored one, relative to `dw_min`, absolute if that is
    zero; drawn at each change."""

    apply_write_noise_on_set: bool = True
    """Draw that noise when weights are set, too."""

    slope_up_dtod: float = 0.0
    """Relative spread of the slope of the step up."""

    slope_down_dtod: float = 0.0
    """Relative spread of the slope of the step down."""

    reference_mean: float = 0.0
    """Mean of the reference, absolute."""

    reference_std: float = 0.0
    """Spread of the reference between devices, absolute."""

    subtract_symmetry_point: bool = False
    """Add to the reference the weight at which steps up and down are equal."""
