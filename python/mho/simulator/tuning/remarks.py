"""What may make a training with derived settings fail, and what may be better."""

import math
from typing import Any

from mho.simulator.devices.cells.dynamic_transfer import DynamicTransferCompound
from mho.simulator.parameters.tuning import TuningParameter
from mho.simulator.tuning.asymmetry import NO_PULL
from mho.simulator.tuning.explanation import Explanation

# A training that is not several memories long ends before it has begun.
_MEMORIES, _PERIODS = 5, 4


def add_remarks(table: Explanation, parameters: TuningParameter) -> None:
    """Add warnings and advice to a finished table.

    Args:
        table: Table, changed.
        parameters: What the settings followed from.
    """
    if parameters.vectors is not None:
        table.warnings += _too_short(table, parameters.vectors)
    table.advice += _advice(table)


def _too_short(table: Explanation, vectors: int) -> list[str]:
    """Return why a training of so many vectors is too short."""
    found = []
    # A reference compares periods: what is older does not matter to it.
    compares = isinstance(table.config.device, DynamicTransferCompound)
    if table.memory is not None and table.memory > vectors / _MEMORIES and not compares:
        found.append(
            f"the fast device remembers {table.memory:.3g} vectors, more than a fifth of the"
            f" {vectors} of the training: train longer, or use a device with more asymmetry"
        )
    if table.period is not None and table.period * table.sweep * _PERIODS > vectors:
        found.append(
            f"{_PERIODS} chopper periods take {_PERIODS * table.period * table.sweep:.3g} vectors,"
            f" more than the {vectors} of the training: train longer, or use agad"
        )
    limit, span = table.speed_limit, table.states * table.slow_step
    if limit is not None and limit * vectors < span:
        found.append(
            f"the slow device moves by {limit * vectors:.2g} at most in {vectors} vectors, less"
            f" than its range of {span:.2g}: train longer, or use smaller tiles"
        )
    return found


def _advice(table: Explanation) -> list[str]:
    found = []
    ratio = table.signal_to_noise
    if ratio is not None and ratio < 1 / 3:
        found.append(
            f"single pulses move the fast device by {ratio:.2g} of the noise of a read"
            f" ({table.read_noise:.2g}): a less noisy transfer_forward lets it learn faster"
        )
    spread = _spread(table)
    if table.signal is not None and spread > 2 * table.signal:
        found.append(
            f"symmetry points spread by {spread:.2g}, more than the fast device moves by itself"
            f" ({table.signal:.2g}): agad subtracts them"
        )
    return found


def _spread(table: Explanation) -> float:
    """Return the spread of the symmetry points that the algorithm leaves to the slow device."""
    cell: Any = table.config.device
    if table.fast_step is None or isinstance(cell, DynamicTransferCompound):
        return 0.0
    if table.kappa < NO_PULL:
        return 0.0  # there is none
    device = cell.unit_cell_devices[0]
    pull = getattr(device, "up_down_dtod", 0.0) / table.kappa
    return math.hypot(pull, getattr(device, "reference_std", 0.0))
