"""What a pass through a model costs on some hardware: energy, time and area by open tables."""

from mho.utils.hardware_cost.adc_envelope import adc_envelope
from mho.utils.hardware_cost.counts import LayerCounts
from mho.utils.hardware_cost.digital_work import DigitalCounts
from mho.utils.hardware_cost.geometry import Precision, TileCounts
from mho.utils.hardware_cost.parts import Mode
from mho.utils.hardware_cost.peak import Peak, peak
from mho.utils.hardware_cost.quantity import Quantity
from mho.utils.hardware_cost.report import CostReport, LayerCost
from mho.utils.hardware_cost.schedule import Schedule, Timing, rounds_and_reloads
from mho.utils.hardware_cost.table import HardwareTable, presets
from mho.utils.hardware_cost.training import TrainingCost, UpdateCost, update_cost
from mho.utils.hardware_cost.updates import (
    UpdateCounts,
    UpdateRecord,
    counts_of_probabilities,
    counts_of_vectors,
    record_updates,
)

__all__ = [
    "CostReport",
    "DigitalCounts",
    "HardwareTable",
    "LayerCost",
    "LayerCounts",
    "Mode",
    "Peak",
    "Precision",
    "Quantity",
    "Schedule",
    "TileCounts",
    "Timing",
    "TrainingCost",
    "UpdateCost",
    "UpdateCounts",
    "UpdateRecord",
    "adc_envelope",
    "counts_of_probabilities",
    "counts_of_vectors",
    "peak",
    "presets",
    "record_updates",
    "rounds_and_reloads",
    "update_cost",
]
