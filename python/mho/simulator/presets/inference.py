"""Configurations for hardware-aware training and for an exact reference.

Written by tools/make_presets.py from src/presets/table.json.
"""

from dataclasses import dataclass, field

from mho.inference.compensation.base import BaseDriftCompensation
from mho.inference.compensation.drift import GlobalDriftCompensation
from mho.inference.noise.base import BaseNoiseModel
from mho.inference.noise.pcm import PCMLikeNoiseModel
from mho.simulator.parameters.enums import (
    BoundManagementType,
    NoiseManagementType,
    WeightClipType,
    WeightNoiseType,
    WeightRemapType,
)
from mho.simulator.parameters.inference import WeightClipParameter, WeightRemapParameter
from mho.simulator.parameters.io import IOParameters
from mho.simulator.parameters.mapping import MappingParameter
from mho.simulator.parameters.pre_post import InputRangeParameter, PrePostProcessingParameter
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.presets.utils import PresetIOParameters
from mho.simulator.tiles.inference import InferenceRPUConfig
from mho.simulator.tiles.inference_torch import TorchInferenceRPUConfig

__all__ = ["FloatingPointPreset", "StandardHWATrainingPreset"]


def _standard_mapping() -> MappingParameter:
    return MappingParameter(
        weight_scaling_omega=1.0,
        weight_scaling_columnwise=True,
        learn_out_scaling=True,
        out_scaling_columnwise=True,
        max_input_size=512,
        max_output_size=0,
    )


def _standard_forward() -> PresetIOParameters:
    return PresetIOParameters(
        inp_res=254.0,
        out_res=254.0,
        out_bound=10.0,
        out_noise=0.04,
        bound_management=BoundManagementType.NONE,
        noise_management=NoiseManagementType.CONSTANT,
        nm_thres=1.0,
        w_noise=0.0175,
        w_noise_type=WeightNoiseType.PCM_READ,
        ir_drop=1.0,
    )


def _standard_remap() -> WeightRemapParameter:
    return WeightRemapParameter(type=WeightRemapType.CHANNELWISE_SYMMETRIC)


def _standard_pre_post() -> PrePostProcessingParameter:
    return PrePostProcessingParameter(input_range=InputRangeParameter(enable=True))


def _standard_clip() -> WeightClipParameter:
    return WeightClipParameter(type=WeightClipType.FIXED_VALUE, fixed_value=1.0)


def _floating_point_mapping() -> MappingParameter:
    return MappingParameter(max_input_size=0, max_output_size=0)


def _floating_point_forward() -> IOParameters:
    return IOParameters(is_perfect=True)


@register_config_class
@dataclass
class StandardHWATrainingPreset(InferenceRPUConfig):
    """Hardware-aware training for chips of phase-change memory.

    Products have 8-bit converters, learned input ranges, PCM read noise and IR drop; columns of the
    weights are scaled to the full range, remapped and clipped (Rasch et al., "Hardware-aware
    training for large-scale and diverse deep learning inference workloads using in-memory
    computing-based accelerators", Nat. Commun. 14:5282, 2023). The weights are not modified during
    training; set `modifier` for that.
    """

    mapping: MappingParameter = field(default_factory=_standard_mapping)
    """How weights are mapped to tiles."""

    forward: IOParameters = field(default_factory=_standard_forward)
    """Non-idealities of the forward product, in training and evaluation."""

    remap: WeightRemapParameter = field(default_factory=_standard_remap)
    """Rescaling of weights and scales after each update."""

    noise_model: BaseNoiseModel = field(default_factory=PCMLikeNoiseModel)
    """Programming error and drift of the weights."""

    drift_compensation: BaseDriftCompensation | None = field(
        default_factory=GlobalDriftCompensation
    )
    """Digital correction of drift; None is none."""

    pre_post: PrePostProcessingParameter = field(default_factory=_standard_pre_post)
    """Digital processing: input ranges are learned."""

    clip: WeightClipParameter = field(default_factory=_standard_clip)
    """Clipping of the weights after each update."""


@register_config_class
@dataclass
class FloatingPointPreset(TorchInferenceRPUConfig):
    """Exact products in torch, with one tile per layer; for comparison with analog ones."""

    mapping: MappingParameter = field(default_factory=_floating_point_mapping)
    """How weights are mapped to tiles."""

    forward: IOParameters = field(default_factory=_floating_point_forward)
    """Non-idealities of the forward product, in training and evaluation."""
