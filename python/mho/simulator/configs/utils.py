"""Former place of the parameters and choices; kept so that old scripts run."""

from mho.simulator.parameters.enums import (
    AnalogMVType,
    BoundManagementType,
    NoiseManagementType,
    PulseType,
    VectorUnitCellUpdatePolicy,
    WeightClipType,
    WeightModifierType,
    WeightNoiseType,
    WeightRemapType,
)
from mho.simulator.parameters.inference import (
    DriftParameter,
    SimpleDriftParameter,
    WeightClipParameter,
    WeightModifierParameter,
    WeightRemapParameter,
)
from mho.simulator.parameters.io import IOParameters
from mho.simulator.parameters.mapping import MappingParameter
from mho.simulator.parameters.pre_post import InputRangeParameter, PrePostProcessingParameter
from mho.simulator.parameters.training import UpdateParameters

__all__ = [
    "AnalogMVType",
    "BoundManagementType",
    "DriftParameter",
    "IOParameters",
    "InputRangeParameter",
    "MappingParameter",
    "NoiseManagementType",
    "PrePostProcessingParameter",
    "PulseType",
    "SimpleDriftParameter",
    "UpdateParameters",
    "VectorUnitCellUpdatePolicy",
    "WeightClipParameter",
    "WeightClipType",
    "WeightModifierParameter",
    "WeightModifierType",
    "WeightNoiseType",
    "WeightRemapParameter",
    "WeightRemapType",
]
