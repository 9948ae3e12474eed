"""Gradient of the weights of tiles that follow one."""

import torch
from torch import Tensor


def weight_gradient(
    seen: Tensor,
    d: Tensor,
    clipped: Tensor | None,
    r: Tensor | None,
    scales: Tensor | None,
    factor: float,
    lr_scale: float,
    analog_bias: bool,
) -> Tensor:
    """Return the gradient by which a step changes the logical weights as plain SGD would.

    `(d r factor / (scales lr_scale))^T x`, zero through outputs that were clipped by the converter.
    The logical weights are the raw ones times the scales, hence the division.

    Args:
        seen: Inputs as the array saw them, shape `[batch, in]`.
        d: Gradients of the outputs, shape `[batch, out]`.
        clipped: Non-zero where an output was clipped, or None.
        r: Positive input range, or None.
        scales: Mapping scales, or None.
        factor: Digital factor on the output.
        lr_scale: Compensation of the learning rate for the mapping scales.
        analog_bias: Whether there is a bias column, whose input is one over the range.

    Returns:
        Shape `[out, x_size]`.
    """
    if scales is not None:
        d = d / (scales * lr_scale)
    if factor != 1.0:
        d = d * factor
    if clipped is not None:
        d = d.masked_fill(clipped != 0, 0.0)
    if r is not None:
        d = d * r
    if analog_bias:
        ones = seen.new_ones((seen.shape[0], 1))
        seen = torch.cat([seen, ones if r is None else ones / r], dim=1)
    return torch.mm(d.t(), seen)
