"""Devices at a crosspoint, one per file; unit cells are importable from here too."""

from mho.simulator.configs.compounds import (
    BufferedTransferCompound,
    ChoppedTransferCompound,
    DifferenceUnitCell,
    DynamicTransferCompound,
    MixedPrecisionCompound,
    OneSidedUnitCell,
    ReferenceUnitCell,
    TransferCompound,
    VectorUnitCell,
)
from mho.simulator.configs.crosspoint import CrosspointDevice
from mho.simulator.configs.devices.constant_step import ConstantStepDevice
from mho.simulator.configs.devices.custom import CustomPulsedDevice
from mho.simulator.configs.devices.exp_step import ExpStepDevice
from mho.simulator.configs.devices.floating_point import FloatingPointDevice
from mho.simulator.configs.devices.ideal import IdealDevice
from mho.simulator.configs.devices.linear_step import LinearStepDevice
from mho.simulator.configs.devices.piecewise_step import PiecewiseStepDevice
from mho.simulator.configs.devices.pow_step import PowStepDevice
from mho.simulator.configs.devices.pow_step_reference import PowStepReferenceDevice
from mho.simulator.configs.devices.pulsed import PulsedDevice
from mho.simulator.configs.devices.soft_bounds import SoftBoundsDevice
from mho.simulator.configs.devices.soft_bounds_pmax import SoftBoundsPmaxDevice
from mho.simulator.configs.devices.soft_bounds_reference import SoftBoundsReferenceDevice
from mho.simulator.parameters.enums import RPUDataType
from mho.simulator.parameters.inference import DriftParameter, SimpleDriftParameter

__all__ = [
    "BufferedTransferCompound",
    "ChoppedTransferCompound",
    "ConstantStepDevice",
    "CrosspointDevice",
    "CustomPulsedDevice",
    "DifferenceUnitCell",
    "DriftParameter",
    "DynamicTransferCompound",
    "ExpStepDevice",
    "FloatingPointDevice",
    "IdealDevice",
    "LinearStepDevice",
    "MixedPrecisionCompound",
    "OneSidedUnitCell",
    "PiecewiseStepDevice",
    "PowStepDevice",
    "PowStepReferenceDevice",
    "PulsedDevice",
    "RPUDataType",
    "ReferenceUnitCell",
    "SimpleDriftParameter",
    "SoftBoundsDevice",
    "SoftBoundsPmaxDevice",
    "SoftBoundsReferenceDevice",
    "TransferCompound",
    "VectorUnitCell",
]
