"""Cells that combine several devices at a crosspoint, one per file."""

from mho.simulator.devices.cells.buffered_transfer import BufferedTransferCompound
from mho.simulator.devices.cells.chopped_transfer import ChoppedTransferCompound
from mho.simulator.devices.cells.custom import CustomCompound
from mho.simulator.devices.cells.digital_rank_update import DigitalRankUpdateCell
from mho.simulator.devices.cells.dynamic_transfer import DynamicTransferCompound
from mho.simulator.devices.cells.mixed_precision import MixedPrecisionCompound
from mho.simulator.devices.cells.one_sided import DifferenceUnitCell, OneSidedUnitCell
from mho.simulator.devices.cells.reference import ReferenceUnitCell
from mho.simulator.devices.cells.rule_tile import RuleTile
from mho.simulator.devices.cells.transfer import TransferCompound
from mho.simulator.devices.cells.unit_cell import UnitCell
from mho.simulator.devices.cells.vector import VectorUnitCell

__all__ = [
    "BufferedTransferCompound",
    "ChoppedTransferCompound",
    "CustomCompound",
    "DifferenceUnitCell",
    "DigitalRankUpdateCell",
    "DynamicTransferCompound",
    "MixedPrecisionCompound",
    "OneSidedUnitCell",
    "ReferenceUnitCell",
    "RuleTile",
    "TransferCompound",
    "UnitCell",
    "VectorUnitCell",
]
