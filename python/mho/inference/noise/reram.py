"""Noise of resistive memory, under the names of the field's standard."""

from mho.inference.noise.reram_cmo import ReRamCMONoiseModel
from mho.inference.noise.reram_wan import ReRamWan2022NoiseModel

__all__ = ["ReRamCMONoiseModel", "ReRamWan2022NoiseModel"]
