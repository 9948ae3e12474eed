"""Recorded pairs of inputs and output gradients: as matrices of rows, and as one tile update."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from mho.exceptions import ArgumentError
from mho.optim.context import AnalogContext, Pair
from mho.simulator.parameters.finite import all_finite


def apply_trace(context: AnalogContext, learning_rate: Any, factor: float = 1.0) -> None:
    """Update a tile with everything recorded since the last step and drop the records.

    The records are dropped on errors as well, so that they do not come back in the next step.

    Args:
        context: Context of the tile. Nothing happens if torch updates its weight or nothing is
            recorded.
        learning_rate: Rate of the update; with zero the records are dropped unused, with None the
            tile keeps the rate that it has.
        factor: Factor on the recorded gradients.

    Raises:
        ArgumentError: A record contains NaN or infinity; the tile is unchanged.
    """
    if context.use_torch_update or not context.has_gradient():
        return
    pairs = context.take_pairs()
    if learning_rate != 0 and context.is_trained():
        if factor != 1.0:
            pairs = [pair._replace(d=pair.d * factor) for pair in pairs]
        _update(context, pairs, learning_rate)


def _update(context: AnalogContext, pairs: list[Pair], learning_rate: Any) -> None:
    tile = context.analog_tile
    if learning_rate is not None:
        tile.set_learning_rate(float(learning_rate))
    # One update for all rows, whatever the ranks of the recorded tensors.
    tile.apply_trace(pairs)


def are_finite(contexts: Iterable[AnalogContext]) -> bool:
    """Return whether no record of some contexts contains NaN or infinity.

    Args:
        contexts: Contexts of tiles.
    """
    pairs = [pair for context in contexts for pair in context.pairs()]
    return all_finite(*[pair.x for pair in pairs], *[pair.d for pair in pairs])


def gradient_norm(context: AnalogContext, norm_type: float) -> float:
    """Return the norm of the gradient that the records of a tile stand for.

    That is the sum of `d^T x` over all rows, with the inputs as the array saw them, and of `d`
    times the input of the bias column where there is one.

    Args:
        context: Context of a tile.
        norm_type: Order of the norm over all elements.
    """
    tile, pairs = context.analog_tile, context.pairs()
    if not pairs:
        return 0.0
    total: Tensor | None = None
    for pair in pairs:
        pair = pair.with_rows()
        x = rows_of(pair.x, tile.in_trans)
        if pair.bias is not None:
            x = torch.cat([x, x.new_full((x.shape[0], 1), pair.bias)], dim=1)
        part = rows_of(pair.d, tile.out_trans).to(x.dtype).t() @ x
        total = part if total is None else total + part
    return float(torch.linalg.vector_norm(total, norm_type))


def total_norm(norms: list[float], norm_type: float) -> float:
    """Return the norm of a vector made of parts whose norms are known.

    Args:
        norms: Norms of the parts.
        norm_type: Order of the norm.
    """
    if not norms:
        return 0.0
    if math.isinf(norm_type):
        return max(norms)
    return float(
        torch.linalg.vector_norm(torch.tensor(norms, dtype=torch.float64, device="cpu"), norm_type)
    )


def rows_of(value: Tensor, features_first: bool) -> Tensor:
    """Return a recorded tensor as rows, `[rows, features]`.

    Args:
        value: Recorded tensor.
        features_first: Whether features are on its first axis instead of the last.
    """
    value = value.movedim(0, -1) if features_first else value
    return value.reshape(-1, value.shape[-1])


def grouped_pairs(pairs: list[Pair]) -> list[list[Pair]]:
    """Return a trace, with rows as inputs, in runs with the same input of the bias column.

    Args:
        pairs: Trace of a context.

    Raises:
        ArgumentError: It is no list of pairs.
    """
    if not isinstance(pairs, list) or not all(isinstance(pair, Pair) for pair in pairs):
        raise ArgumentError("pairs: expected what a context's pairs() returned, a list of them")
    groups: list[list[Pair]] = []
    for pair in pairs:
        pair = pair.with_rows()
        if groups and groups[-1][0].bias == pair.bias:
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
