"""Inference with programmed weights: conductances, noise, drift and its compensation."""

from mho.inference.compensation.base import BaseDriftCompensation
from mho.inference.compensation.drift import GlobalDriftCompensation
from mho.inference.converter.base import BaseConductanceConverter
from mho.inference.converter.conductance import (
    CustomPairConductanceConverter,
    DualPairConductanceConverter,
    NPairConductanceConverter,
    SingleDeviceConductanceConverter,
    SinglePairConductanceConverter,
)
from mho.inference.noise.base import BaseNoiseModel
from mho.inference.noise.custom import StateIndependentNoiseModel
from mho.inference.noise.hermes import HermesNoiseModel
from mho.inference.noise.pcm import CustomDriftPCMLikeNoiseModel, PCMLikeNoiseModel
from mho.inference.noise.reram import ReRamCMONoiseModel, ReRamWan2022NoiseModel
from mho.inference.utils import drift_analog_weights, program_analog_weights

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
