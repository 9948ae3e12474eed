"""Parameters of the estimators that find quantisation ranges."""

from dataclasses import dataclass

from mho.simulator.parameters.config_base import ConfigBase
from mho.simulator.parameters.enums import OptMethod
from mho.simulator.parameters.registry import register_config_class


@register_config_class
@dataclass
class CurrentMinMaxEstimatorParams(ConfigBase):
    """Parameters of `RangeEstimators.current_minmax`."""

    percentile: float | None = None
    """Percentage of values cut off at both ends; None is none."""


@register_config_class
@dataclass
class RunningMinMaxEstimatorParams(ConfigBase):
    """Parameters of `RangeEstimators.running_minmax`."""

    momentum: float = 0.9
    """Weight of the past in the running average."""


@register_config_class
@dataclass
class MSEEstimatorParams(ConfigBase):
    """Parameters of `RangeEstimators.MSE`."""

    range_opt_method: OptMethod = OptMethod.golden_section
    """Search method."""

    num_candidates: int = 100
    """Number of ranges that a grid search tries."""

    range_margin: float = 0.5
    """How far beyond the data a search goes, relative to the range of the data."""


@register_config_class
@dataclass
class CrossEntropyEstimatorParams(MSEEstimatorParams):
    """Parameters of `RangeEstimators.cross_entropy`."""
