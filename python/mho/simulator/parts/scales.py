"""Mapping between logical weights of a layer and the weights on a tile."""

import math

import torch
from torch import Tensor

from mho.exceptions import ArgumentError


def weight_scales(combined: Tensor, omega: float, columnwise: bool) -> Tensor:
    """Return the factors that bring the largest absolute weight to `omega`.

    Args:
        combined: Logical weights with an analog bias column, shape `[out, x_size]`.
        omega: Largest absolute tile weight, positive.
        columnwise: One factor per output instead of one for all.

    Returns:
        Shape `[out]` or `[1]`; one where the weights are all zero.
    """
    largest = combined.abs().amax(dim=1) if columnwise else combined.abs().amax().reshape(1)
    scales = largest / omega
    return torch.where(scales > 0.0, scales, torch.ones_like(scales))


def as_scales(value: Tensor | float, out_size: int, current: Tensor | None) -> Tensor:
    """Return new mapping scales with the length that the tile keeps.

    Args:
        value: One factor, or one per output.
        out_size: Number of outputs.
        current: Present scales; one new factor fills them.

    Raises:
        ArgumentError: The number of factors is neither 1 nor `out_size`, or one is not positive and
            finite.
    """
    flat = torch.as_tensor(value, dtype=torch.float32).detach().cpu().reshape(-1)
    if flat.numel() not in (1, out_size):
        raise ArgumentError(f"scales: expected 1 or {out_size} values, got {flat.numel()}")
    if not bool((torch.isfinite(flat) & (flat > 0.0)).all()):
        raise ArgumentError("scales: values must be finite and positive")
    if flat.numel() == 1 and current is not None and current.numel() == out_size:
        return flat.expand(out_size).clone()
    return flat.clone()


def learning_rate_scale(scales: Tensor | None, compensate: bool) -> float:
    """Return the factor on the learning rate, `1 / mean(scales)` with compensation and else 1.

    Args:
        scales: Mapping scales.
        compensate: Whether `weight_scaling_lr_compensation` is on.
    """
    if scales is None or not compensate:
        return 1.0
    factor = 1.0 / float(scales.mean())
    return factor if math.isfinite(factor) else 1.0
