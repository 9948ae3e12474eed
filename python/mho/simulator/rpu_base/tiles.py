"""Raw tiles of the core and the parameters of their weight operations."""

from mho.simulator.parameters.enums import WeightClipType, WeightModifierType, WeightRemapType
from mho.simulator.parameters.inference import (
    WeightClipParameter,
    WeightModifierParameter,
    WeightRemapParameter,
)
from mho.simulator.raw_tiles.core.tile import AnalogTile, FloatingPointTile

__all__ = [
    "AnalogTile",
    "FloatingPointTile",
    "WeightClipParameter",
    "WeightClipType",
    "WeightModifierParameter",
    "WeightModifierType",
    "WeightRemapParameter",
    "WeightRemapType",
]
