"""Analog layers and containers of them."""

from mho.nn.modules.container import AnalogSequential, AnalogWrapper
from mho.nn.modules.linear import AnalogLinear
from mho.nn.modules.linear_mapped import AnalogLinearMapped

__all__ = ["AnalogLinear", "AnalogLinearMapped", "AnalogSequential", "AnalogWrapper"]
