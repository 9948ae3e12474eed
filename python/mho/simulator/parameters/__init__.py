"""Parameters and choices that configurations of tiles are made of."""

from mho.simulator.parameters.enums import (
    AnalogContextDataViewMode,
    AnalogMVType,
    BoundManagementType,
    NoiseManagementType,
    PulseType,
    RPUDataType,
    UpdateMode,
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
from mho.simulator.parameters.io import IOParameters, IOParametersIRDropT
from mho.simulator.parameters.mapping import MappingParameter
from mho.simulator.parameters.pre_post import (
    InputRangeParameter,
    PrePostProcessingParameter,
    PrePostProcessingParameterQuant,
)
from mho.simulator.parameters.training import UpdateParameters
from mho.simulator.parameters.tuning import TuningParameter

__all__ = [
    "AnalogContextDataViewMode",
    "AnalogMVType",
    "BoundManagementType",
    "DriftParameter",
    "IOParameters",
    "IOParametersIRDropT",
    "InputRangeParameter",
    "MappingParameter",
    "NoiseManagementType",
    "PrePostProcessingParameter",
    "PrePostProcessingParameterQuant",
    "PulseType",
    "RPUDataType",
    "SimpleDriftParameter",
    "TuningParameter",
    "UpdateMode",
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
