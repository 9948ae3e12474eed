"""The product as autograd sees it: linear, with converters and noise as constants.

The backward pass of a tile is the derivative of this function. Where that pass is exact, higher
derivatives and those of `torch.func` follow from it by the rules of torch.
"""

import math
from typing import Any, NoReturn, Protocol

import torch
from torch import Tensor

from mho.simulator.parts.scales import UnscaledGradient
from mho.simulator.raw_tiles.rows import batch_shape, from_rows


class LinearTile(Protocol):
    """What the linear product needs of a tile."""

    in_size: int
    in_trans: bool
    out_trans: bool
    analog_bias: bool
    backward_factor: float
    mapping_lr_scale: float

    def get_mapping_scales(self) -> Tensor | None:
        """Return the mapping scales."""


def linear_product(
    tile: LinearTile, x: Tensor, weight: Tensor, r: Tensor | None, clipped: Tensor | None
) -> Tensor:
    """Return a function of inputs and weights whose derivatives are the gradients of the tile.

    Clipping of inputs is passed straight through, outputs that were clipped have no gradient. With
    mapping scales `c` the gradient of the weights is divided by `c^2`, as a step of the logical
    weights needs it.

    Args:
        tile: Tile.
        x: Inputs as for the tile.
        weight: Raw weights, `[out, x_size]`.
        r: Positive input range, or None.
        clipped: Non-zero where an output was clipped, `[batch, out]`, or None.

    Returns:
        Outputs as those of the tile, without noise.
    """
    last = x.movedim(0, -1) if tile.in_trans else x
    rows = last.reshape(-1, tile.in_size)
    if r is not None:
        rows = rows + (torch.clamp(rows, -r, r) - rows).detach()
    scales = tile.get_mapping_scales()
    if scales is not None:
        root = scales * math.sqrt(tile.mapping_lr_scale)
        weight = UnscaledGradient.apply(weight, root.reshape(-1, 1))
    y = rows @ weight[:, : tile.in_size].t()
    if tile.analog_bias:
        y = y + weight[:, tile.in_size]
    if scales is not None:
        y = y * scales
    if tile.backward_factor != 1.0:
        y = y * tile.backward_factor
    if clipped is not None:
        y = torch.where(clipped != 0, torch.zeros_like(y), y)
    return from_rows(y, batch_shape(x, tile.in_trans), tile.out_trans)


class Valued(torch.autograd.Function):
    """A value that was computed otherwise, with the derivatives of a function for it."""

    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor, stands_for: Tensor) -> Tensor:
        """Return the value.

        Args:
            value: Value.
            stands_for: Function whose derivatives it has, same shape.
        """
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep nothing."""

    @staticmethod
    def backward(ctx: Any, d: Tensor) -> tuple[None, Tensor]:
        """Pass the gradient on to the function."""
        return None, d

    @staticmethod
    def jvp(ctx: Any, _: Any, tangent: Tensor) -> Tensor:
        """Pass the tangent of the function on."""
        return tangent.clone()


class _Refused(torch.autograd.Function):
    """A gradient that cannot be differentiated again."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, anchor: Tensor, reason: str) -> Tensor:
        ctx.reason = reason
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, d: Tensor) -> NoReturn:
        raise RuntimeError(ctx.reason)


def once_only(value: Tensor | None, reason: str) -> Tensor | None:
    """Return a gradient that raises when it is differentiated.

    Args:
        value: Gradient, or None.
        reason: Message of the error.
    """
    if value is None:
        return None
    # Its own leaf: even where nothing that came in is differentiated, the result is no constant.
    with torch.enable_grad():
        anchor = torch.zeros((), device="cpu", requires_grad=True)
        refused: Tensor = _Refused.apply(value.detach(), anchor, reason)
    return refused
