"""Former place of `mho.inference`; importing it warns."""

import warnings

from mho.inference import (
    BaseConductanceConverter,
    BaseDriftCompensation,
    BaseNoiseModel,
    CustomDriftPCMLikeNoiseModel,
    CustomPairConductanceConverter,
    DualPairConductanceConverter,
    GlobalDriftCompensation,
    HermesNoiseModel,
    NPairConductanceConverter,
    PCMLikeNoiseModel,
    ReRamCMONoiseModel,
    ReRamWan2022NoiseModel,
    SingleDeviceConductanceConverter,
    SinglePairConductanceConverter,
    StateIndependentNoiseModel,
    drift_analog_weights,
    program_analog_weights,
)

__all__ = [
    "BaseConductanceConverter",
    "BaseDriftCompensation",
    "BaseNoiseModel",
    "CustomDriftPCMLikeNoiseModel",
    "CustomPairConductanceConverter",
    "DualPairConductanceConverter",
    "GlobalDriftCompensation",
    "HermesNoiseModel",
    "NPairConductanceConverter",
    "PCMLikeNoiseModel",
    "ReRamCMONoiseModel",
    "ReRamWan2022NoiseModel",
    "SingleDeviceConductanceConverter",
    "SinglePairConductanceConverter",
    "StateIndependentNoiseModel",
    "drift_analog_weights",
    "program_analog_weights",
]

warnings.warn(
    "mho.simulator.noise_models is now mho.inference; import from there",
    FutureWarning,
    stacklevel=2,
)
