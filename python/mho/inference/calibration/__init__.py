"""Ranges from data, after training: those of inputs, and those of quantisers."""

from mho.inference.calibration.calibration import (
    InputRangeCalibrationType,
    calibrate,
    calibrate_input_ranges,
)
from mho.nn.low_precision_modules.calibration import calibrate_quantization_ranges

__all__ = [
    "InputRangeCalibrationType",
    "calibrate",
    "calibrate_input_ranges",
    "calibrate_quantization_ranges",
]
