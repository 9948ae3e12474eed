"""Parameter sets of published devices and systems."""

from mho.simulator.presets.utils import (
    PresetIOParameters,
    PresetUpdateParameters,
    StandardIOParameters,
)

__all__ = ["PresetIOParameters", "PresetUpdateParameters", "StandardIOParameters"]
