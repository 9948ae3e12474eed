"""Devices at a crosspoint, one per file; `cells` has those that combine several."""

from mho.simulator.devices.constant_step import ConstantStepDevice
from mho.simulator.devices.custom import CustomPulsedDevice
from mho.simulator.devices.exp_step import ExpStepDevice
from mho.simulator.devices.floating_point import FloatingPointDevice
from mho.simulator.devices.ideal import IdealDevice
from mho.simulator.devices.linear_step import LinearStepDevice
from mho.simulator.devices.piecewise_step import PiecewiseStepDevice
from mho.simulator.devices.pow_step import PowStepDevice
from mho.simulator.devices.pow_step_reference import PowStepReferenceDevice
from mho.simulator.devices.pulsed import PulsedDevice
from mho.simulator.devices.soft_bounds import SoftBoundsDevice
from mho.simulator.devices.soft_bounds_pmax import SoftBoundsPmaxDevice
from mho.simulator.devices.soft_bounds_reference import SoftBoundsReferenceDevice

__all__ = [
    "ConstantStepDevice",
    "CustomPulsedDevice",
    "ExpStepDevice",
    "FloatingPointDevice",
    "IdealDevice",
    "LinearStepDevice",
    "PiecewiseStepDevice",
    "PowStepDevice",
    "PowStepReferenceDevice",
    "PulsedDevice",
    "SoftBoundsDevice",
    "SoftBoundsPmaxDevice",
    "SoftBoundsReferenceDevice",
]
