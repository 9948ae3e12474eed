"""Recorded pairs of inputs and output gradients: as matrices of rows, and as one tile update."""

from typing import Any

import torch
from torch import Tensor

from mho.optim.context import AnalogContext


def apply_trace(context: AnalogContext, learning_rate: Any) -> None:
    """Update a tile with everything recorded since the last step and drop the records.

    Args:
        context: Context of the tile. Nothing happens if torch updates its weight or nothing is
            recorded.
        learning_rate: Rate of the update; with zero the records are dropped unused, with None the
            tile keeps the rate that it has.

    Raises:
        ArgumentError: A record contains NaN or infinity; the tile is unchanged.
    """
    if context.use_torch_update or not context.has_gradient():
        return
    if context.requires_grad and learning_rate != 0:
        _update(context, learning_rate)
    context.reset()


def _update(context: AnalogContext, learning_rate: Any) -> None:
    tile = context.analog_tile
    if learning_rate is not None:
        tile.set_learning_rate(float(learning_rate))
    if not context.use_indexed:
        # One update for all rows, whatever the ranks of the recorded tensors.
        tile.apply_trace()
        return
    for x, d in zip(context.analog_input, context.analog_grad_output, strict=True):
        tile.update_indexed(x, d)


def grouped_pairs(context: AnalogContext) -> list[list[tuple[Tensor, Tensor, float | None]]]:
    """Return the trace of a context in runs with the same input of the bias column.

    Args:
        context: Context of a tile.
    """
    pairs = zip(
        context.analog_input, context.analog_grad_output, context.analog_bias_input, strict=True
    )
    groups: list[list[tuple[Tensor, Tensor, float | None]]] = []
    for pair in pairs:
        if groups and groups[-1][0][2] == pair[2]:
            groups[-1].append(pair)
        else:
            groups.append([pair])
    return groups


def joined(rows: list[Tensor]) -> Tensor:
    """Return all rows of a list of matrices; those of one matrix without copying them.

    Args:
        rows: At least one matrix, all with the same number of columns.
    """
    return rows[0] if len(rows) == 1 else torch.cat(rows)
