"""Static input range of a tile: clipping, scaling, initialisation from data and its gradient."""

import torch
from torch import Tensor

from mho.simulator.parameters.pre_post import InputRangeParameter


def positive(input_range: Tensor) -> Tensor:
    """Return the range as the positive number that clips and divides.

    An optimizer may push the parameter through zero; the smallest normal number keeps the division
    defined there.

    Args:
        input_range: Shape `[1]`.
    """
    return input_range.detach().abs().clamp(min=torch.finfo(input_range.dtype).tiny)


def enter(x: Tensor, r: Tensor) -> Tensor:
    """Return inputs clipped to the range and divided by it.

    Args:
        x: Inputs of any shape.
        r: Positive range, shape `[1]`.
    """
    return torch.clamp(x, -r, r) / r


@torch.no_grad()
def update_from_data(
    x: Tensor, input_range: Tensor, update_idx: Tensor, params: InputRangeParameter
) -> None:
    """Move the range to the running mean of a multiple of the standard deviation of the inputs.

    Acts on the first `init_from_data` batches whose standard deviation is positive. Without
    branches on data, so that it can be compiled.

    Args:
        x: Inputs of one training batch, any shape.
        input_range: Range, shape `[1]`, written in place.
        update_idx: Number of batches seen, shape `[1]`, written in place.
        params: `init_from_data` and `init_std_alpha`.
    """
    if params.init_from_data <= 0 or x.numel() < 2:
        return
    std = x.std().to(input_range.dtype)
    active = (update_idx < params.init_from_data) & (std > 0.0)
    mean = (input_range * update_idx + params.init_std_alpha * std) / (update_idx + 1.0)
    input_range.copy_(torch.where(active, mean, input_range).abs())
    update_idx.add_(active.to(update_idx.dtype))


def gradient(
    x: Tensor, d: Tensor, r: Tensor, params: InputRangeParameter, clipped: Tensor | None
) -> Tensor:
    """Return the gradient of the range.

    With `D` the gradient of the clipped input: `G = sum(min(D, 0), x >= r) - sum(max(D, 0), x <=
    -r)`, times `r` if relative, times `gradient_scale`. Only gradients that ask for a larger range
    pass; `decay` shrinks it while few inputs are clipped, and `manage_output_clipping` enlarges it
    while many outputs are.

    Args:
        x: Original inputs, any shape.
        d: Gradient of the clipped input, same shape.
        r: Positive range of the forward call, shape `[1]`.
        params: Settings of the range.
        clipped: Non-zero where an output sat at the bound of the converter; None if outputs are not
            bounded.

    Returns:
        Shape `[1]`.
    """
    above = torch.where(x >= r, d.clamp(max=0.0), 0.0).sum()
    below = torch.where(x <= -r, d.clamp(min=0.0), 0.0).sum()
    grad = (above - below) * params.gradient_scale
    grad = grad * r if params.gradient_relative else grad.reshape(1)
    if params.manage_output_clipping and clipped is not None:
        free = 1.0 - (clipped != 0).float().mean()
        grad = torch.where(free < params.output_min_percentage, grad - (1.0 - free) * r, grad)
    if params.decay > 0.0:
        inside = (x.abs() < r).float().mean()
        grad = torch.where(inside > params.input_min_percentage, grad + params.decay * r, grad)
    return grad.to(r.dtype)
