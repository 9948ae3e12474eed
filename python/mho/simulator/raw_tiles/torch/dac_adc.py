"""Digital-to-analog and analog-to-digital converters in torch, with straight-through gradients."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor


class UniformQuantize(torch.autograd.Function):
    """Rounds to multiples of a step, half to even; the gradient passes unchanged."""

    generate_vmap_rule = True

    @staticmethod
    def forward(values: Tensor, step: float, sto_round: bool = False) -> Tensor:
        """Return the rounded values.

        Args:
            values: Any shape.
            step: Distance of two levels, positive.
            sto_round: Round up with the probability given by the remainder.
        """
        ticks = values / step
        if sto_round:
            ticks = ticks + (torch.rand_like(ticks) - 0.5)  # samples of vmap may differ
        return ticks.round_().mul_(step)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep nothing: the gradient depends on no value."""

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient unchanged."""
        return grad_output, None, None


class Clip(torch.autograd.Function):
    """Limits values; the gradient passes within the limits, bounds included."""

    generate_vmap_rule = True

    @staticmethod
    def forward(values: Tensor, bound: float) -> tuple[Tensor, Tensor]:
        """Return the limited values and where the gradient passes.

        Args:
            values: Any shape.
            bound: Largest absolute value.
        """
        return values.clamp(-bound, bound), values.abs() <= bound * (1.0 + rounding(values))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        """Keep where the gradient passes."""
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor, _: Tensor) -> tuple[Tensor, None]:
        """Return the gradient within the limits, zero elsewhere."""
        return grad_output * ctx.saved_tensors[0], None


class ScaleRows(torch.autograd.Function):
    """Multiplies by a factor per row, and the gradient by another one."""

    generate_vmap_rule = True

    @staticmethod
    def forward(values: Tensor, factor: Tensor, gradient_factor: Tensor) -> Tensor:
        """Return `values * factor`.

        Args:
            values: Shape `[rows, size]`.
            factor: Shape `[rows, 1]`.
            gradient_factor: Shape `[rows, 1]`.
        """
        return values * factor

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        """Keep the factor of the gradient."""
        ctx.save_for_backward(inputs[2])

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient times its factor."""
        return grad_output * ctx.saved_tensors[0], None, None


class Converter(NamedTuple):
    """Range and resolution of a converter; zero or infinity where a part is off."""

    step: float
    """Distance of two levels in units of the values; 0 is continuous."""

    bound: float
    """Largest absolute value; infinity is unlimited."""

    def quantize(self, values: Tensor, sto_round: bool) -> Tensor:
        """Return the values rounded to levels, not clipped yet.

        Args:
            values: Any shape.
            sto_round: Round stochastically.
        """
        # A step below the smallest normal number rounds nothing, and may be zero in that precision.
        if self.step < torch.finfo(values.dtype).tiny:
            return values
        if not tracks(values):
            return UniformQuantize.forward(values, self.step, sto_round)
        rounded: Tensor = UniformQuantize.apply(values, self.step, sto_round)
        return rounded

    def clip(self, values: Tensor) -> Tensor:
        """Return quantised values within the range; the gradient is zero outside of it.

        Args:
            values: Any shape.
        """
        if not self.is_bounded():
            return values
        if not tracks(values):
            return values.clamp(-self.bound, self.bound)
        clipped: Tensor = Clip.apply(values, self.bound)[0]
        return clipped

    def is_bounded(self) -> bool:
        """Return whether there is a range."""
        return self.bound < math.inf

    def exceeds(self, values: Tensor) -> Tensor:
        """Return which quantised values are above the range.

        Args:
            values: Any shape.
        """
        return values > self.bound * (1.0 + rounding(values))

    def reaches(self, values: Tensor) -> Tensor:
        """Return which quantised values are at the upper end of the range or above.

        Args:
            values: Any shape.
        """
        return values >= self.bound * (1.0 - rounding(values))


def tracks(*values: Tensor) -> bool:
    """Return whether autograd records what is computed from values.

    An own autograd function is not needed otherwise, and torch 2.4 cannot compile it then.

    Args:
        values: Tensors of any shape.
    """
    return torch.is_grad_enabled() and any(value.requires_grad for value in values)


def depends_on_sample(values: Tensor) -> bool:
    """Return whether `torch.func.vmap` has values of their own for its samples.

    No branch of Python can depend on them then.

    Args:
        values: Tensor of any shape.
    """
    functorch: Any = torch._C._functorch
    while torch._C._are_functorch_transforms_active():
        if functorch.is_batchedtensor(values):
            return True
        if not functorch.is_gradtrackingtensor(values):
            return False
        values = functorch.get_unwrapped(values)
    return False


def rounding(values: Tensor) -> float:
    """Return the relative error that a value at a bound may have.

    Reciprocal, scaling, step and level are rounded to half a unit in the last place each. Without
    the allowance the largest input of a row would be clipped or not by chance.

    Args:
        values: Gives the precision.
    """
    return 2.0 * torch.finfo(values.dtype).eps


def converter(res: float, bound: float) -> Converter:
    """Return the converter of a resolution and a bound as `IOParameters` give them.

    Args:
        res: Step relative to the full range `2 * bound`, or a number of steps if above one.
        bound: Limit; zero, less or infinity switches the converter off.
    """
    if bound <= 0.0 or bound == math.inf:
        return Converter(0.0, math.inf)
    if res <= 0.0:
        return Converter(0.0, bound)
    return Converter((1.0 / res if res > 1.0 else res) * 2.0 * bound, bound)


def attenuate_negative(values: Tensor, asymmetry: float) -> Tensor:
    """Return values whose negative ones are multiplied by `1 - asymmetry`.

    Args:
        values: Any shape.
        asymmetry: Relative loss; zero is none.
    """
    if asymmetry == 0.0:
        return values
    return torch.where(values < 0.0, values * (1.0 - asymmetry), values)


def add_noise(values: Tensor, std: Tensor | float | None) -> Tensor:
    """Return values with normal noise, drawn from torch's default generator.

    Args:
        values: Shape `[rows, size]`.
        std: Standard deviation, one for all or one per column; None is no noise.
    """
    return values if std is None else values + torch.randn_like(values) * std
