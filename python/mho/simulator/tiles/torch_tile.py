"""The raw tile that computes in torch, at the path where scripts look for it."""

from mho.simulator.parameters.enums import WeightClipType, WeightModifierType, WeightRemapType
from mho.simulator.parameters.inference import (
    WeightClipParameter,
    WeightModifierParameter,
    WeightRemapParameter,
)
from mho.simulator.raw_tiles.torch.dac_adc import UniformQuantize
from mho.simulator.raw_tiles.torch.product import AnalogMVM
from mho.simulator.raw_tiles.torch.tile import TorchSimulatorTile

__all__ = [
    "AnalogMVM",
    "TorchSimulatorTile",
    "UniformQuantize",
    "WeightClipParameter",
    "WeightClipType",
    "WeightModifierParameter",
    "WeightModifierType",
    "WeightRemapParameter",
    "WeightRemapType",
]
