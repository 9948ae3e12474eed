"""Input ranges from data, after training."""

from mho import pending
from mho.inference.calibration.calibration import (
    InputRangeCalibrationType,
    calibrate,
    calibrate_input_ranges,
)

__all__ = ["InputRangeCalibrationType", "calibrate", "calibrate_input_ranges"]

pending.explain(__name__)
