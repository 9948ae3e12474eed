"""Analog layers and containers of them.

Importing this package makes all presets known, so that every saved model can be read.
"""

import mho.simulator.presets  # noqa: F401
from mho.nn.averaging import match_scales
from mho.nn.conversion import convert_to_analog, convert_to_digital, register_analog
from mho.nn.editing import edit_by_rules, edit_config
from mho.nn.modules.attention import AnalogMultiheadAttention
from mho.nn.modules.container import AnalogSequential, AnalogWrapper
from mho.nn.modules.conv import AnalogConv1d, AnalogConv2d, AnalogConv3d
from mho.nn.modules.conv_mapped import (
    AnalogConv1dMapped,
    AnalogConv2dMapped,
    AnalogConv3dMapped,
)
from mho.nn.modules.conv_transpose import (
    AnalogConvTranspose1d,
    AnalogConvTranspose2d,
    AnalogConvTranspose3d,
)
from mho.nn.modules.ddp import prepare_for_ddp
from mho.nn.modules.linear import AnalogLinear
from mho.nn.modules.linear_mapped import AnalogLinearMapped
from mho.nn.modules.rnn.cells import (
    AnalogGRUCell,
    AnalogLSTMCell,
    AnalogLSTMCellCombinedWeight,
    AnalogVanillaRNNCell,
)
from mho.nn.modules.rnn.rnn import AnalogRNN
from mho.nn.report import ConversionReport, ReportEntry, conversion_report
from mho.nn.saving.analog_map import analog_map
from mho.nn.saving.loading import load_analog
from mho.nn.saving.rebuilding import convert_by_map
from mho.nn.saving.saving import save_analog

__all__ = [
    "AnalogConv1d",
    "AnalogConv1dMapped",
    "AnalogConv2d",
    "AnalogConv2dMapped",
    "AnalogConv3d",
    "AnalogConv3dMapped",
    "AnalogConvTranspose1d",
    "AnalogConvTranspose2d",
    "AnalogConvTranspose3d",
    "AnalogGRUCell",
    "AnalogLSTMCell",
    "AnalogLSTMCellCombinedWeight",
    "AnalogLinear",
    "AnalogLinearMapped",
    "AnalogMultiheadAttention",
    "AnalogRNN",
    "AnalogSequential",
    "AnalogVanillaRNNCell",
    "AnalogWrapper",
    "ConversionReport",
    "ReportEntry",
    "analog_map",
    "conversion_report",
    "convert_by_map",
    "convert_to_analog",
    "convert_to_digital",
    "edit_by_rules",
    "edit_config",
    "load_analog",
    "match_scales",
    "prepare_for_ddp",
    "register_analog",
    "save_analog",
]
