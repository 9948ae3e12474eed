"""The product with time-stepped voltage loss, at the path where scripts look for it."""

from mho.exceptions import ConfigError
from mho.inference.converter.single_pair import SinglePairConductanceConverter
from mho.simulator.parameters.enums import (
    AnalogMVType,
    BoundManagementType,
    NoiseManagementType,
    WeightNoiseType,
)
from mho.simulator.parameters.io import IOParameters, IOParametersIRDropT
from mho.simulator.raw_tiles.torch.product import AnalogMVM
from mho.simulator.raw_tiles.torch.product_ir_drop import AnalogMVMIRDropT

__all__ = [
    "AnalogMVM",
    "AnalogMVMIRDropT",
    "AnalogMVType",
    "BoundManagementType",
    "ConfigError",
    "IOParameters",
    "IOParametersIRDropT",
    "NoiseManagementType",
    "SinglePairConductanceConverter",
    "WeightNoiseType",
]
