"""Static input range of a tile: clipping, scaling, initialisation from data and its gradient."""

from typing import Any

import torch
from torch import Tensor, nn

from mho.exceptions import ArgumentError, ConfigError, InputError
from mho.simulator.parameters.arguments import check_flag, check_number
from mho.simulator.parameters.pre_post import InputRangeParameter
from mho.simulator.parts.base import Part
from mho.simulator.raw_tiles.rows import check_tensor
from mho.simulator.raw_tiles.torch.dac_adc import tracks
from mho.simulator.state.entries import Entry, assign
from mho.simulator.state.ordinary import ordinary_tensors

_NAMES = ("input_range", "input_range_update_idx")


class InputRange(Part):
    """Clips and scales the inputs of a tile to a range, learned or not, `[1]`."""

    def check(self, config: Any) -> None:
        """Refuse a range of zero, and clipped outputs that nobody sees; see the base class."""
        pre_post = getattr(config, "pre_post", None)
        params: InputRangeParameter | None = getattr(pre_post, "input_range", None)
        if params is None or not params.enable:
            return
        limits = torch.finfo(torch.float32)
        if not limits.tiny <= abs(params.init_value) <= limits.max:
            raise ConfigError(
                "pre_post.input_range.init_value: expected a range that is not zero in float32, nor"
                f" infinite, got {params.init_value}; inputs outside of it are clipped"
            )
        if params.manage_output_clipping and not params.supports_manage_output_clipping(config):
            raise ConfigError(
                "pre_post.input_range.manage_output_clipping: needs a forward that is not"
                " perfect, with noise and bound management NONE"
            )

    def follow(self, config: Any) -> None:
        """Add or remove the input range as a configuration says; see `init_input_processing`."""
        self.init_input_processing()

    def entries(self, config: Any) -> dict[str, Entry]:
        """Return the entries of the range; see the base class."""
        return (
            {name: Entry(((1,),)) for name in _NAMES} if config.pre_post.input_range.enable else {}
        )

    def store(self, name: str, value: Tensor | None) -> None:
        """Take over a range; see the base class."""
        assert value is not None  # both entries are required
        assign(self._tile, name, value)

    def parameters(self) -> InputRangeParameter | None:
        """Return the settings of the range, None if it is off."""
        pre_post = getattr(self._tile.rpu_config, "pre_post", None)
        params: InputRangeParameter | None = getattr(pre_post, "input_range", None)
        return params if params is not None and params.enable else None

    def value(self) -> Tensor | None:
        """Return the live range, `[1]`, None if there is none."""
        parameter: Tensor | None = self._tile._parameters.get("input_range")
        return self._tile._buffers.get("input_range") if parameter is None else parameter

    def magnitude(self) -> Tensor | None:
        """Return the range as the positive number that clips and divides, None if there is none."""
        value = self.value()
        return None if value is None else positive(value)

    def is_on(self) -> bool:
        """Return whether inputs of products are clipped and scaled."""
        return self._tile._buffers["input_range_update_idx"] is not None

    @ordinary_tensors()
    def init_input_processing(self) -> bool:
        """Add or remove the input range as the configuration says.

        Returns:
            Whether there is an input range.

        Raises:
            ConfigError: `manage_output_clipping` is on, but clipped outputs cannot be observed.
        """
        tile, params = self._tile, self.parameters()
        self.check(tile.rpu_config)
        present = self.value()
        is_parameter = tile._parameters.get("input_range") is not None
        if params is None:
            self._drop()
            tile.register_buffer("input_range", None)
            tile.register_buffer("input_range_update_idx", None)
            return False
        # What is as it should be stays the same object: optimizers hold on to parameters.
        if present is None or is_parameter != params.learn_input_range:
            self._drop()
            value = (
                self._filled(1, float(params.init_value))
                if present is None
                else present.detach().clone()
            )
            if params.learn_input_range:
                tile.register_parameter("input_range", nn.Parameter(value))
            else:
                tile.register_buffer("input_range", value)
        if tile._buffers.get("input_range_update_idx") is None:
            tile.register_buffer("input_range_update_idx", self._filled(1, 0.0))
        return True

    def _drop(self) -> None:
        self._tile._parameters.pop("input_range", None)
        self._tile._buffers.pop("input_range", None)

    def set_input_range(self, value: Tensor | float) -> None:
        """Set the input range.

        Args:
            value: New range; the absolute value of the first element is taken.

        Raises:
            ArgumentError: It is zero or not finite.
            ConfigError: The tile has no input range.
        """
        present = self.value()
        if present is None:
            raise _no_range()
        first = value
        if isinstance(value, Tensor):
            check_tensor(value.reshape(-1) if value.dim() == 0 else value, "value")
            first = value.detach().reshape(-1)[:1]
        number = abs(check_number("value", first))
        # Zero in the precision of the range as well.
        if float(torch.tensor(number, dtype=present.dtype, device="cpu")) in (0.0, float("inf")):
            raise ArgumentError(
                f"value: expected a range that is not zero in {present.dtype}, got {number}"
            )
        present.data.fill_(number)

    def apply_input_range(self, values: Tensor, update_from_data: bool = False) -> Tensor:
        """Return values clipped to the input range.

        Args:
            values: Inputs of any shape.
            update_from_data: Let the range follow the data first, as long as `init_from_data` says.

        Raises:
            ConfigError: The tile has no input range.
            InputError: They are no floating-point numbers.
        """
        check_tensor(values, "values")
        if not values.is_floating_point():
            raise InputError(f"values: expected floating-point numbers, got {values.dtype}")
        range_ = self._followed(values, check_flag("update_from_data", update_from_data))
        bound = positive(range_)
        return torch.clamp(values, -bound, bound)

    def enter(self, values: Tensor, update_from_data: bool) -> Tensor:
        """Return inputs clipped to the range and divided by it.

        Args:
            values: Inputs of any shape.
            update_from_data: As for `apply_input_range`.

        Raises:
            ConfigError: The tile has no input range.
        """
        range_ = self._followed(values, update_from_data)
        seen = positive(range_)
        if not tracks(values, range_):
            return self._tile.tile.enter_range(values, seen)
        clipped: Tensor = InputRangeForward.apply(values, range_, self.parameters(), seen)
        return clipped / seen

    def _followed(self, values: Tensor, update_from_data: bool) -> Tensor:
        params, range_ = self.parameters(), self.value()
        idx = self._tile._buffers["input_range_update_idx"]
        if params is None or range_ is None or idx is None:
            raise _no_range()
        if update_from_data:
            update_range_from_data(values, range_, idx, params)
        return range_

    def leave(self, outputs: Tensor) -> Tensor:
        """Return outputs in the units of the inputs.

        Args:
            outputs: Outputs of the array, any shape.
        """
        r = self.magnitude()
        return outputs if r is None or not self.is_on() else outputs * r


def _no_range() -> ConfigError:
    return ConfigError("pre_post.input_range.enable: the tile has no input range; enable it")


def positive(input_range: Tensor) -> Tensor:
    """Return the range as the positive number that clips and divides.

    An optimizer may push the parameter through zero; the smallest normal number keeps the division
    defined there.

    Args:
        input_range: Shape `[1]`.
    """
    return input_range.detach().abs().clamp(min=torch.finfo(input_range.dtype).tiny)


def update_range_from_data(
    x: Tensor, input_range: Tensor, update_idx: Tensor, params: InputRangeParameter
) -> None:
    """Move the range to the running mean of a multiple of the standard deviation of the inputs.

    Acts on the first `init_from_data` batches whose standard deviation is positive and leaves the
    range finite. Without branches on data, so that it can be compiled.

    Args:
        x: Inputs of one training batch, any shape.
        input_range: Range, shape `[1]`, written in place.
        update_idx: Number of batches seen, shape `[1]`, written in place.
        params: `init_from_data` and `init_std_alpha`.
    """
    if params.init_from_data <= 0 or x.numel() < 2:
        return
    seen = update_idx
    if torch.compiler.is_compiling():
        seen = torch.ops.mho.batches_seen(update_idx, params.init_from_data)
    # That may raise, and a graph that raises inside of this block would leave gradients off.
    with torch.no_grad():
        std = x.std().to(input_range.dtype)
        mean = (input_range * seen + params.init_std_alpha * std) / (seen + 1.0)
        active = (seen < params.init_from_data) & (std > 0.0) & torch.isfinite(mean)
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
        clipped: Non-zero where an output sat at the bound of the converter; None if none did.

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


class InputRangeForward(torch.autograd.Function):
    """Clips inputs to a range; gradients beyond it go to the range instead of the input."""

    @staticmethod
    def forward(
        x_input: Tensor,
        input_range: Tensor,
        ir_params: InputRangeParameter,
        seen: Tensor | None = None,
    ) -> Tensor:
        """Return the clipped inputs.

        Args:
            x_input: Inputs of any shape.
            input_range: Input range, shape `[1]`.
            ir_params: Settings of the range.
            seen: Range of this pass, which a later pass before the backward one may change in
                place; the present one without.
        """
        r = positive(input_range if seen is None else seen)
        return torch.clamp(x_input, -r, r)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep inputs and range."""
        x_input, range_, ctx.ir_params, *seen = inputs
        ctx.given = len(inputs)
        ctx.save_for_backward(x_input, seen[0] if seen and seen[0] is not None else range_)

    @staticmethod
    def backward(ctx: Any, d_output: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of inputs within the range and of the range."""
        x, range_ = ctx.saved_tensors
        r = positive(range_)
        d_x = d_range = None
        if ctx.needs_input_grad[0]:
            d_x = d_output * (x.abs() <= r)
        if ctx.needs_input_grad[1]:
            d_range = gradient(x, d_output, r, ctx.ir_params, None)
        return (d_x, d_range, None, None)[: ctx.given]


class OutputClipping(torch.autograd.Function):
    """Passes outputs on; its gradient enlarges the range while too many outputs are clipped."""

    @staticmethod
    def forward(
        output: Tensor,
        range_: Tensor,
        seen: Tensor,
        clipped: Tensor,
        ir_params: InputRangeParameter,
    ) -> Tensor:
        """Return the outputs unchanged.

        Args:
            output: Outputs, shape `[..., out]`.
            range_: Input range, shape `[1]`.
            seen: Positive range of this pass, shape `[1]`.
            clipped: Which outputs sit at the bound of the converter, same shape.
            ir_params: Settings of the range.
        """
        return output.view_as(output)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep the range and which outputs are clipped."""
        _, _, seen, clipped, ctx.ir_params = inputs
        ctx.save_for_backward(seen, clipped)

    @staticmethod
    def backward(ctx: Any, d_output: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        """Return the gradient of the outputs, and `-r` times the clipped fraction for the range."""
        seen, clipped = ctx.saved_tensors
        fraction = clipped.float().mean()
        active = 1.0 - fraction < ctx.ir_params.output_min_percentage
        d_range = torch.where(active, -fraction * seen, 0.0).to(seen.dtype)
        return d_output, d_range, None, None, None
