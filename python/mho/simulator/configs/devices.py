"""Names of everything that can stand at a crosspoint, at the path where scripts look for them."""

from mho import pending
from mho.simulator.devices import *  # noqa: F403
from mho.simulator.devices import __all__ as _devices
from mho.simulator.devices.cells import (
    BufferedTransferCompound,
    ChoppedTransferCompound,
    CustomCompound,
    DifferenceUnitCell,
    DynamicTransferCompound,
    MixedPrecisionCompound,
    OneSidedUnitCell,
    ReferenceUnitCell,
    TransferCompound,
    VectorUnitCell,
)
from mho.simulator.devices.crosspoint import CrosspointDevice
from mho.simulator.parameters.enums import RPUDataType
from mho.simulator.parameters.inference import DriftParameter, SimpleDriftParameter

__all__ = [
    *_devices,
    "BufferedTransferCompound",
    "ChoppedTransferCompound",
    "CrosspointDevice",
    "CustomCompound",
    "DifferenceUnitCell",
    "DriftParameter",
    "DynamicTransferCompound",
    "MixedPrecisionCompound",
    "OneSidedUnitCell",
    "RPUDataType",
    "ReferenceUnitCell",
    "SimpleDriftParameter",
    "TransferCompound",
    "VectorUnitCell",
]

pending.explain(__name__)
