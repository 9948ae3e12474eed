"""Cells that combine several devices at a crosspoint, one per file."""

from mho.simulator.configs.compounds.buffered_transfer import BufferedTransferCompound
from mho.simulator.configs.compounds.chopped_transfer import ChoppedTransferCompound
from mho.simulator.configs.compounds.digital_rank_update import DigitalRankUpdateCell
from mho.simulator.configs.compounds.dynamic_transfer import DynamicTransferCompound
from mho.simulator.configs.compounds.mixed_precision import MixedPrecisionCompound
from mho.simulator.configs.compounds.one_sided import DifferenceUnitCell, OneSidedUnitCell
from mho.simulator.configs.compounds.reference import ReferenceUnitCell
from mho.simulator.configs.compounds.transfer import TransferCompound
from mho.simulator.configs.compounds.unit_cell import UnitCell
from mho.simulator.configs.compounds.vector import VectorUnitCell

__all__ = [
    "BufferedTransferCompound",
    "ChoppedTransferCompound",
    "DifferenceUnitCell",
    "DigitalRankUpdateCell",
    "DynamicTransferCompound",
    "MixedPrecisionCompound",
    "OneSidedUnitCell",
    "ReferenceUnitCell",
    "TransferCompound",
    "UnitCell",
    "VectorUnitCell",
]
