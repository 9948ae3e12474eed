"""Gradients of torch tiles that differ from what autograd would compute."""

from typing import Any

import torch
from torch import Tensor

from mho.simulator.parameters.pre_post import InputRangeParameter
from mho.simulator.parts import input_range


class InputRangeForward(torch.autograd.Function):
    """Clips inputs to a range; gradients beyond it go to the range instead of the input."""

    @staticmethod
    def forward(x_input: Tensor, range_: Tensor, ir_params: InputRangeParameter) -> Tensor:
        """Return the clipped inputs.

        Args:
            x_input: Inputs of any shape.
            range_: Input range, shape `[1]`.
            ir_params: Settings of the range.
        """
        r = input_range.positive(range_)
        return torch.clamp(x_input, -r, r)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep inputs and range."""
        x_input, range_, ctx.ir_params = inputs
        ctx.save_for_backward(x_input, range_)

    @staticmethod
    def backward(ctx: Any, d_output: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Return the gradients of inputs within the range and of the range."""
        x, range_ = ctx.saved_tensors
        r = input_range.positive(range_)
        d_x = d_range = None
        if ctx.needs_input_grad[0]:
            d_x = d_output * (x.abs() <= r)
        if ctx.needs_input_grad[1]:
            d_range = input_range.gradient(x, d_output, r, ctx.ir_params, None)
        return d_x, d_range, None


class OutputClipping(torch.autograd.Function):
    """Passes outputs on; its gradient enlarges the range while too many outputs are clipped."""

    @staticmethod
    def forward(
        output: Tensor, range_: Tensor, clipped: Tensor, ir_params: InputRangeParameter
    ) -> Tensor:
        """Return the outputs unchanged.

        Args:
            output: Outputs, shape `[..., out]`.
            range_: Input range, shape `[1]`.
            clipped: Which outputs sit at the bound of the converter, same shape.
            ir_params: Settings of the range.
        """
        return output.view_as(output)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep the range and which outputs are clipped."""
        _, range_, clipped, ctx.ir_params = inputs
        ctx.save_for_backward(range_, clipped)

    @staticmethod
    def backward(ctx: Any, d_output: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """Return the gradient of the outputs, and `-r` times the clipped fraction for the range."""
        range_, clipped = ctx.saved_tensors
        fraction = clipped.float().mean()
        active = 1.0 - fraction < ctx.ir_params.output_min_percentage
        wanted = -fraction * input_range.positive(range_)
        d_range = torch.where(active, wanted, 0.0).to(range_.dtype)
        return d_output, d_range, None, None


class ScaledGradient(torch.autograd.Function):
    """Passes weights on and multiplies their gradient by a factor per output."""

    generate_vmap_rule = True

    @staticmethod
    def forward(weight: Tensor, factor: Tensor) -> Tensor:
        """Return the weights unchanged.

        Args:
            weight: Shape `[out, in]`.
            factor: Shape `[out, 1]` or `[1, 1]`.
        """
        return weight.view_as(weight)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        """Keep the factor."""
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, d_output: Tensor) -> tuple[Tensor, None]:
        """Return the scaled gradient."""
        return d_output * ctx.saved_tensors[0], None
