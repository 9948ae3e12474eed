"""Parameter sets of published devices and systems.

A module of them is imported when one of its names is asked for first, or named by a saved text:
making some seventy dataclasses takes as long as importing the rest of the package.
"""

import importlib
from typing import TYPE_CHECKING, Any

from mho.simulator.parameters.registry import announce_config_classes

if TYPE_CHECKING:
    from mho.simulator.presets.compounds import PCMPresetUnitCell
    from mho.simulator.presets.configs import (
        AGADCapacitorPreset,
        AGADEcRamMOPreset,
        AGADEcRamPreset,
        AGADIdealizedPreset,
        AGADReRamESPreset,
        AGADReRamSBPreset,
        Capacitor2Preset,
        Capacitor4Preset,
        CapacitorPreset,
        ChoppedTTv2CapacitorPreset,
        ChoppedTTv2EcRamMOPreset,
        ChoppedTTv2EcRamPreset,
        ChoppedTTv2IdealizedPreset,
        ChoppedTTv2ReRamESPreset,
        ChoppedTTv2ReRamSBPreset,
        EcRam2Preset,
        EcRam4Preset,
        EcRamMO2Preset,
        EcRamMO4Preset,
        EcRamMOPreset,
        EcRamPreset,
        GokmenVlasovPreset,
        Idealized2Preset,
        Idealized4Preset,
        IdealizedPreset,
        MixedPrecisionCapacitorPreset,
        MixedPrecisionEcRamMOPreset,
        MixedPrecisionEcRamPreset,
        MixedPrecisionGokmenVlasovPreset,
        MixedPrecisionIdealizedPreset,
        MixedPrecisionPCMPreset,
        MixedPrecisionReRamESPreset,
        MixedPrecisionReRamSBPreset,
        PCMPreset,
        ReRamES2Preset,
        ReRamES4Preset,
        ReRamESPreset,
        ReRamSB2Preset,
        ReRamSB4Preset,
        ReRamSBPreset,
        TikiTakaCapacitorPreset,
        TikiTakaEcRamMOPreset,
        TikiTakaEcRamPreset,
        TikiTakaIdealizedPreset,
        TikiTakaReRamESPreset,
        TikiTakaReRamSBPreset,
        TTv2CapacitorPreset,
        TTv2EcRamMOPreset,
        TTv2EcRamPreset,
        TTv2IdealizedPreset,
        TTv2ReRamESPreset,
        TTv2ReRamSBPreset,
    )
    from mho.simulator.presets.devices import (
        CapacitorPresetDevice,
        EcRamMOPresetDevice,
        EcRamPresetDevice,
        GokmenVlasovPresetDevice,
        IdealizedPresetDevice,
        PCMPresetDevice,
        ReRamArrayHfO2PresetDevice,
        ReRamArrayOMPresetDevice,
        ReRamESPresetDevice,
        ReRamSBPresetDevice,
    )
    from mho.simulator.presets.inference import FloatingPointPreset, StandardHWATrainingPreset
    from mho.simulator.presets.utils import (
        PresetIOParameters,
        PresetUpdateParameters,
        StandardIOParameters,
    )

__all__ = [
    "AGADCapacitorPreset",
    "AGADEcRamMOPreset",
    "AGADEcRamPreset",
    "AGADIdealizedPreset",
    "AGADReRamESPreset",
    "AGADReRamSBPreset",
    "Capacitor2Preset",
    "Capacitor4Preset",
    "CapacitorPreset",
    "CapacitorPresetDevice",
    "ChoppedTTv2CapacitorPreset",
    "ChoppedTTv2EcRamMOPreset",
    "ChoppedTTv2EcRamPreset",
    "ChoppedTTv2IdealizedPreset",
    "ChoppedTTv2ReRamESPreset",
    "ChoppedTTv2ReRamSBPreset",
    "EcRam2Preset",
    "EcRam4Preset",
    "EcRamMO2Preset",
    "EcRamMO4Preset",
    "EcRamMOPreset",
    "EcRamMOPresetDevice",
    "EcRamPreset",
    "EcRamPresetDevice",
    "FloatingPointPreset",
    "GokmenVlasovPreset",
    "GokmenVlasovPresetDevice",
    "Idealized2Preset",
    "Idealized4Preset",
    "IdealizedPreset",
    "IdealizedPresetDevice",
    "MixedPrecisionCapacitorPreset",
    "MixedPrecisionEcRamMOPreset",
    "MixedPrecisionEcRamPreset",
    "MixedPrecisionGokmenVlasovPreset",
    "MixedPrecisionIdealizedPreset",
    "MixedPrecisionPCMPreset",
    "MixedPrecisionReRamESPreset",
    "MixedPrecisionReRamSBPreset",
    "PCMPreset",
    "PCMPresetDevice",
    "PCMPresetUnitCell",
    "PresetIOParameters",
    "PresetUpdateParameters",
    "ReRamArrayHfO2PresetDevice",
    "ReRamArrayOMPresetDevice",
    "ReRamES2Preset",
    "ReRamES4Preset",
    "ReRamESPreset",
    "ReRamESPresetDevice",
    "ReRamSB2Preset",
    "ReRamSB4Preset",
    "ReRamSBPreset",
    "ReRamSBPresetDevice",
    "StandardHWATrainingPreset",
    "StandardIOParameters",
    "TTv2CapacitorPreset",
    "TTv2EcRamMOPreset",
    "TTv2EcRamPreset",
    "TTv2IdealizedPreset",
    "TTv2ReRamESPreset",
    "TTv2ReRamSBPreset",
    "TikiTakaCapacitorPreset",
    "TikiTakaEcRamMOPreset",
    "TikiTakaEcRamPreset",
    "TikiTakaIdealizedPreset",
    "TikiTakaReRamESPreset",
    "TikiTakaReRamSBPreset",
]

_MODULES = ("cell_factories", "compounds", "configs", "devices", "inference", "utils")
_OTHERS = {
    "PCMPresetUnitCell": "compounds",
    "FloatingPointPreset": "inference",
    "StandardHWATrainingPreset": "inference",
    "PresetIOParameters": "utils",
    "PresetUpdateParameters": "utils",
    "StandardIOParameters": "utils",
}


def _home(name: str) -> str:
    """Return the module that has a preset."""
    usual = "devices" if name.endswith("PresetDevice") else "configs"
    return f"{__name__}.{_OTHERS.get(name, usual)}"


announce_config_classes({name: _home(name) for name in __all__})


def __getattr__(name: str) -> Any:
    """Import the module of a preset at its first use."""
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_home(name)), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
