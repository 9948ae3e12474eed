"""Analog layers and containers of them.

Importing this package makes all presets known, so that every saved model can be read.
"""

import mho.simulator.presets  # noqa: F401
from mho import pending
from mho.nn.editing import edit_config
from mho.nn.modules.container import AnalogSequential, AnalogWrapper
from mho.nn.modules.linear import AnalogLinear
from mho.nn.modules.linear_mapped import AnalogLinearMapped

__all__ = [
    "AnalogLinear",
    "AnalogLinearMapped",
    "AnalogSequential",
    "AnalogWrapper",
    "edit_config",
]

pending.explain(__name__)
