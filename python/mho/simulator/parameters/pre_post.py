"""Parameters of the digital processing before and after a tile."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.config_base import ConfigBase
from mho.simulator.parameters.enums import BoundManagementType, NoiseManagementType
from mho.simulator.parameters.io import IOParameters
from mho.simulator.parameters.registry import register_config_class

if TYPE_CHECKING:
    from mho.simulator.parameters.base import RPUConfigGeneric


@register_config_class
@dataclass
class InputRangeParameter(ConfigBase):
    """Static input range of a tile, learned or initialised from data.

    The input is clipped to the range `r` and divided by it, the output multiplied by it.
    """

    enable: bool = field(default_factory=lambda: False, metadata={"always_show": True})
    """Clip and scale inputs."""

    learn_input_range: bool = True
    """Make the range a trainable parameter."""

    init_value: float = 3.0
    """First value of the range."""

    init_from_data: int = 100
    """Number of training batches that set the range from their standard deviation; zero is none."""

    init_std_alpha: float = 3.0
    """Multiple of the standard deviation in that phase."""

    decay: float = 0.001
    """Strength of the pull towards smaller ranges."""

    input_min_percentage: float = 0.95
    """Shrink only if more than this fraction of inputs is not clipped."""

    manage_output_clipping: bool = False
    """Grow the range when outputs are clipped."""

    output_min_percentage: float = 0.95
    """Grow only if less than this fraction of outputs is not clipped."""

    gradient_scale: float = 1.0
    """Factor on the gradient from clipped inputs."""

    gradient_relative: bool = True
    """Multiply that gradient by the range."""

    calibration_info: str | None = None
    """Note left by calibration."""

    def supports_manage_output_clipping(self, rpu_config: "RPUConfigGeneric") -> bool:
        """Return whether clipped outputs can be observed with this configuration.

        Args:
            rpu_config: Configuration of the tile; its `forward` must not be perfect, nor manage
                noise or bounds.
        """
        forward = getattr(rpu_config, "forward", None)
        return (
            isinstance(forward, IOParameters)
            and not forward.is_perfect
            and forward.noise_management is NoiseManagementType.NONE
            and forward.bound_management is BoundManagementType.NONE
        )


@register_config_class
@dataclass
class PeripheryQuantizationParameter(ConfigBase):
    """Quantisation of the digital values around a tile."""

    n_bits: int = 0
    """Number of bits; zero or less is off."""

    symmetric: bool = True
    """Use a grid that is symmetric around zero."""

    learn_quant_params: bool = False
    """Make the range of the grid trainable."""

    init_learning_after: int = 100
    """Number of batches that estimate the range before it is learned."""


@register_config_class
@dataclass
class PrePostProcessingParameter(ConfigBase):
    """Digital processing before and after a tile."""

    input_range: InputRangeParameter = field(default_factory=InputRangeParameter)
    """Static input range."""


@register_config_class
@dataclass
class PrePostProcessingParameterQuant(PrePostProcessingParameter):
    """Digital processing with quantised values."""

    periph_quant: PeripheryQuantizationParameter = field(
        default_factory=PeripheryQuantizationParameter
    )
    """Quantisation of the values."""


@dataclass
class PrePostProcessingRPU(RPUConfigBase):
    """Configuration with digital processing before and after the tile."""

    pre_post: PrePostProcessingParameter = field(default_factory=PrePostProcessingParameter)
    """Digital processing."""
