"""What weights a raw tile may hold: checks of given ones, clipping and remapping after a step."""

import math

import torch
from torch import Tensor

from mho.exceptions import ArgumentError, ConfigError, InputError
from mho.simulator.parameters.arguments import check_number, check_parameters
from mho.simulator.parameters.enums import WeightClipType, WeightRemapType
from mho.simulator.parameters.finite import all_finite
from mho.simulator.parameters.inference import WeightClipParameter, WeightRemapParameter
from mho.simulator.raw_tiles.rows import check_tensor


def check_weights(
    weight: Tensor,
    shape: tuple[int, int],
    name: str = "weight",
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Return weights as a tile stores them.

    Args:
        weight: Candidate.
        shape: Expected shape.
        name: Name of the argument in messages.
        dtype: Precision of the weights of the tile.
        device: Where they are.

    Raises:
        ArgumentError: A value is not finite, or not in that precision.
        InputError: Wrong shape, or not real numbers.
    """
    check_tensor(weight, name)
    if tuple(weight.shape) != shape:
        raise InputError(f"{name}: expected shape {shape}, got {tuple(weight.shape)}")
    value = weight.detach().to(device, dtype)
    if not all_finite(value):
        raise ArgumentError(f"{name}: values must be finite; found NaN or infinity")
    return value


def check_scales(scales: Tensor, rows: int) -> None:
    """Check the scales of the rows of a tile.

    Args:
        scales: Candidate.
        rows: Number of rows.

    Raises:
        ArgumentError: A scale is not finite.
        InputError: They are no tensor of that length.
    """
    check_tensor(scales, "scales")
    if tuple(scales.shape) != (rows,):
        raise InputError(f"scales: expected shape {(rows,)}, got {tuple(scales.shape)}")
    if not all_finite(scales):
        raise ArgumentError("scales: values must be finite")


def check_limits(
    bmin: float, bmax: float, dtype: torch.dtype = torch.float32
) -> tuple[float, float]:
    """Return the limits of a uniform distribution.

    Args:
        bmin: Lower limit.
        bmax: Upper limit.
        dtype: Precision of the weights.

    Raises:
        ArgumentError: They are not finite or not in order, or the precision does not hold their
            distance.
    """
    bmin, bmax = check_number("bmin", bmin), check_number("bmax", bmax)
    largest = torch.finfo(dtype).max
    if not (bmin <= bmax and bmax - bmin <= largest and max(-bmin, bmax) <= largest):
        raise ArgumentError(
            f"bmin, bmax: expected limits in order whose distance {dtype} holds, got {bmin}, {bmax}"
        )
    return bmin, bmax


@torch.no_grad()
def clip_(weight: Tensor, params: WeightClipParameter) -> None:
    """Clip weights to a symmetric interval, in place.

    `FIXED_VALUE`: `[-fixed_value, fixed_value]`; a negative value does nothing. `LAYER_GAUSSIAN`:
    `sigma` standard deviations around zero. `AVERAGE_CHANNEL_MAX`: the mean over outputs of the
    largest absolute weight. A positive `fixed_value` bounds the last two.

    Args:
        weight: Raw weights, shape `[out, x_size]`.
        params: Kind and limits.
    """
    if params.type is WeightClipType.NONE:
        return
    if params.type is WeightClipType.FIXED_VALUE:
        if params.fixed_value >= 0.0:
            weight.clamp_(-params.fixed_value, params.fixed_value)
        return
    if params.type is WeightClipType.LAYER_GAUSSIAN:
        limit = params.sigma * weight.std() if weight.numel() > 1 else weight.new_zeros(())
    else:
        limit = weight.abs().amax(dim=1).mean()
    if params.fixed_value > 0.0:
        limit = limit.clamp(max=params.fixed_value)
    if bool(limit > 0.0):
        torch.clamp(weight, -limit, limit, out=weight)


def check_remap(params: WeightRemapParameter) -> None:
    """Check the limits of remapping.

    Args:
        params: Kind and limits.

    Raises:
        ArgumentError: The parameters are none.
        ConfigError: `remapped_wmax` is not positive and finite, or not one with `max_scale_range`.
    """
    check_parameters("remap", params, WeightRemapParameter)
    if params.type is WeightRemapType.NONE:
        return
    if not 0.0 < params.remapped_wmax < math.inf:
        raise ConfigError(
            f"remap.remapped_wmax: must be positive and finite, got {params.remapped_wmax}"
        )
    is_limited = (
        params.type is WeightRemapType.CHANNELWISE_SYMMETRIC and params.max_scale_range > 0.0
    )
    if is_limited and params.remapped_wmax != 1.0:
        raise ConfigError(
            f"remap.remapped_wmax: must be 1 with max_scale_range, got {params.remapped_wmax}"
        )


@torch.no_grad()
def remap_(
    weight: Tensor, params: WeightRemapParameter, scales: Tensor, of_logical: bool = False
) -> Tensor:
    """Rescale weights in place so that they use their range; `scales * weight` stays the same.

    New scales are positive: learned ones may have crossed zero, then the weights take over the
    sign. Rows with weights that are not finite stay as they are.

    `LAYERWISE_SYMMETRIC` brings the largest weight of the tile to `remapped_wmax`,
    `CHANNELWISE_SYMMETRIC` that of each output. With `max_scale_range > 0` the channelwise scales
    are at most that multiple of the smallest one (or of `max_scale_ref`, if larger). No new scale
    is below the largest one times the relative precision of the weights.

    Args:
        weight: Raw weights, shape `[out, x_size]`.
        params: Kind and limits.
        scales: Present scales, shape `[out]`.
        of_logical: `LAYERWISE_SYMMETRIC` looks for the largest logical weight and makes all scales
            equal, as torch tiles do; otherwise for the largest raw weight, and scales keep their
            ratios.

    Returns:
        New scales, shape `[out]`.
    """
    if params.type is WeightRemapType.NONE:
        return scales
    largest = weight.abs().amax(dim=1) / params.remapped_wmax
    is_one = params.type is WeightRemapType.LAYERWISE_SYMMETRIC
    if is_one and not of_logical:
        largest = largest.amax().expand_as(largest)
    own = logical = (scales.abs() * largest).to(scales.dtype)
    if is_one and of_logical:
        logical = logical.amax().expand_as(logical)
    new = scales_of_rows(logical, scales, weight.dtype)
    if params.type is WeightRemapType.CHANNELWISE_SYMMETRIC and params.max_scale_range > 0.0:
        new = _limited(new, scales, params)
    # By the largest weight itself where that is what a row is divided by: it becomes exactly one,
    # which a quotient of scales would miss by a rounding.
    divisor = torch.where((new == own) & (own > 0.0), largest * scales.sign(), new / scales)
    weight.div_(divisor.reshape(-1, 1))
    return new


def scales_of_rows(largest: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
    """Return new scales: the largest logical weights of the rows, where those are numbers.

    Args:
        largest: Largest absolute logical weights, shape `[out]`; any scale does for zeros.
        scales: Present scales, shape `[out]`.
        dtype: Precision of the raw weights.
    """
    present = torch.where(scales != 0.0, scales.abs(), torch.ones_like(scales))
    usable = torch.isfinite(largest)
    new = torch.where(usable & (largest > 0.0), largest, present)
    floor = with_floor(torch.where(usable, new, torch.zeros_like(new)), dtype)
    return torch.where(usable, floor, present)


def with_floor(scales: Tensor, dtype: torch.dtype) -> Tensor:
    """Return scales of rows, none below the largest one times the relative precision.

    Gradients of raw weights are divided by the scales, so that of a row of nearly nothing would
    blow them up. A row below the floor vanishes beside the largest one wherever their outputs are
    added in the precision of the weights.

    Args:
        scales: Positive scales, or the magnitudes that they are proportional to, `[1]` or `[out]`.
        dtype: Precision of the raw weights.
    """
    return scales.maximum(torch.finfo(dtype).eps * scales.amax())


def _limited(new: Tensor, scales: Tensor, params: WeightRemapParameter) -> Tensor:
    smallest = float(scales.amin().clamp(min=0.0))
    if smallest > 0.0 and params.max_scale_ref != 0.0:
        smallest = max(smallest, params.max_scale_ref)
    return new.clamp(max=smallest * params.max_scale_range) if smallest > 0.0 else new
