"""Conversions between weights and conductances under the names of the field's standard."""

from mho.inference.converter.base import BaseConductanceConverter
from mho.inference.converter.custom_pair import CustomPairConductanceConverter
from mho.inference.converter.n_pair import DualPairConductanceConverter, NPairConductanceConverter
from mho.inference.converter.single_device import SingleDeviceConductanceConverter
from mho.inference.converter.single_pair import SinglePairConductanceConverter

__all__ = [
    "BaseConductanceConverter",
    "CustomPairConductanceConverter",
    "DualPairConductanceConverter",
    "NPairConductanceConverter",
    "SingleDeviceConductanceConverter",
    "SinglePairConductanceConverter",
]
