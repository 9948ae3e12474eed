"""The analog product in torch, at the path where scripts look for it."""

from mho.exceptions import ConfigError
from mho.simulator.parameters.enums import (
    AnalogMVType,
    BoundManagementType,
    NoiseManagementType,
    WeightNoiseType,
)
from mho.simulator.parameters.io import IOParameters
from mho.simulator.raw_tiles.torch.dac_adc import UniformQuantize
from mho.simulator.raw_tiles.torch.product import AnalogMVM

__all__ = [
    "AnalogMVM",
    "AnalogMVType",
    "BoundManagementType",
    "ConfigError",
    "IOParameters",
    "NoiseManagementType",
    "UniformQuantize",
    "WeightNoiseType",
]
