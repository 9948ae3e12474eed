"""Recorded pairs of inputs and output gradients as matrices of rows."""

import torch
from torch import Tensor

from mho.optim.context import AnalogContext


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
