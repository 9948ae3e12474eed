"""Configurations that the web composer of aihwkit writes into its scripts."""

from dataclasses import dataclass, field

from mho.simulator.parameters.enums import WeightClipType, WeightModifierType
from mho.simulator.parameters.inference import WeightClipParameter, WeightModifierParameter
from mho.simulator.parameters.io import IOParameters
from mho.simulator.parameters.mapping import MappingParameter
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.tiles.inference import InferenceRPUConfig

__all__ = [
    "OldWebComposerInferenceRPUConfig",
    "OldWebComposerMappingParameter",
    "WebComposerIOParameters",
    "WebComposerInferenceRPUConfig",
    "WebComposerMappingParameter",
    "WebComposerWeightClipParameter",
    "WebComposerWeightModifierParameter",
]


@register_config_class
@dataclass
class WebComposerIOParameters(IOParameters):
    """Product with a 7-bit input and a 9-bit output converter."""

    out_bound: float = 20.0
    out_noise: float = 0.1


@register_config_class
@dataclass
class WebComposerWeightModifierParameter(WeightModifierParameter):
    """Normal noise on the weights during training."""

    std_dev: float = 0.1
    type: WeightModifierType = WeightModifierType.ADD_NORMAL


@register_config_class
@dataclass
class WebComposerWeightClipParameter(WeightClipParameter):
    """Clipping of the weights to one."""

    fixed_value: float = 1.0
    type: WeightClipType = WeightClipType.FIXED_VALUE


@register_config_class
@dataclass
class WebComposerMappingParameter(MappingParameter):
    """Columns scaled to the full range, and one learned output scale per tile."""

    weight_scaling_omega: float = 1.0
    weight_scaling_columnwise: bool = True
    learn_out_scaling: bool = True


@register_config_class
@dataclass
class OldWebComposerMappingParameter(WebComposerMappingParameter):
    """Columns scaled to the full range, analog bias, and one tile per layer."""

    digital_bias: bool = False
    learn_out_scaling: bool = False
    max_input_size: int = 0
    max_output_size: int = 0


@register_config_class
@dataclass
class WebComposerInferenceRPUConfig(InferenceRPUConfig):
    """Inference on phase-change memory after training with noise on the weights."""

    forward: IOParameters = field(default_factory=WebComposerIOParameters)
    """Non-idealities of the forward product, in training and evaluation."""

    clip: WeightClipParameter = field(default_factory=WebComposerWeightClipParameter)
    """Clipping of the weights after each update."""

    modifier: WeightModifierParameter = field(default_factory=WebComposerWeightModifierParameter)
    """Change of the weights during training."""

    mapping: MappingParameter = field(default_factory=WebComposerMappingParameter)
    """How weights are mapped to tiles."""


@register_config_class
@dataclass
class OldWebComposerInferenceRPUConfig(WebComposerInferenceRPUConfig):
    """The same with the mapping of the first version of the composer."""

    mapping: MappingParameter = field(default_factory=OldWebComposerMappingParameter)
    """How weights are mapped to tiles."""
