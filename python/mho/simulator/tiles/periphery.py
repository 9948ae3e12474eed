"""Tiles with digital periphery: scales, input range and the forward pass around a raw tile."""

from typing import Any

import torch
from torch import Tensor, nn

from mho.exceptions import InputError
from mho.optim.trace import grouped_pairs, joined
from mho.simulator.autograd import operators
from mho.simulator.autograd.function import AnalogFunction
from mho.simulator.autograd.graph import graph_constants
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.io import IOParameters
from mho.simulator.parameters.pre_post import InputRangeParameter
from mho.simulator.raw_tiles.core.tile import CoreTile
from mho.simulator.raw_tiles.rows import batch_shape, check_tensor, from_rows, to_rows
from mho.simulator.state.entries import Entry, assign
from mho.simulator.tiles.base import BaseTile
from mho.simulator.tiles.placement import PlacedTile

_CUSTOM_HOOKS = ("pre_forward", "post_forward", "pre_backward", "post_backward", "joint_forward")


class TileWithPeriphery(PlacedTile):
    """A raw tile inside its digital periphery.

    Inputs are clipped and scaled to the input range, outputs scaled back and multiplied by mapping
    scales, all inside one autograd function; learned output scales and the digital bias are
    ordinary operations after it.
    """

    handle_output_bound: bool

    def __init__(
        self,
        out_size: int,
        in_size: int,
        rpu_config: RPUConfigBase,
        bias: bool = False,
        in_trans: bool = False,
        out_trans: bool = False,
    ) -> None:
        """Build the raw tile and its periphery.

        Args:
            out_size: Number of outputs.
            in_size: Number of inputs.
            rpu_config: Configuration, copied.
            bias: Whether there is a bias; digital or analog as `mapping.digital_bias` says.
            in_trans: Whether features are on the first axis of inputs instead of the last.
            out_trans: Whether features are on the first axis of outputs.

        Raises:
            ArgumentError: A size is not a positive integer or `rpu_config` is not a configuration.
            ConfigError: The configuration is invalid or not supported; the message names the field.
        """
        super().__init__(out_size, in_size, rpu_config, bias, in_trans, out_trans)
        self.shared_weights: nn.Parameter | None = None
        self.tile = self._create_simulator_tile()
        self.register_buffer("reference_combined_weights", None)
        self.register_parameter("out_scaling_alpha", None)
        self.register_buffer("mapping_scales", None)
        self.init_learned_out_scales()
        self.init_mapping_scales()
        self.init_input_processing()
        self._bind()
        self._prepare()
        self.tile.open_backend()

    def _create_simulator_tile(self) -> Any:
        raise NotImplementedError

    def _prepare(self) -> None:
        config = self.rpu_config
        forward = getattr(config, "forward", None)
        bound = self.get_forward_out_bound()
        self.handle_output_bound = bound is not None
        # Only tiles whose weights follow a gradient see the digital output factor in backward.
        self._backward_factor = self._gradient_factor(forward)
        self._custom_hooks = any(
            getattr(type(self), name) is not getattr(type(self)._stock(), name)
            for name in _CUSTOM_HOOKS
        )
        self._graph = graph_constants(self)
        self._transposed = self.in_trans or self.out_trans
        # Without any periphery around the array, products of plain matrices take a short way.
        self._direct = (
            isinstance(self.tile, CoreTile)
            and not (self._custom_hooks or self._transposed or self.analog_bias)
            and self._range_params() is None
        )
        self._learning_rate_scale()
        self.tile.follow(self.rpu_config)

    @classmethod
    def _stock(cls) -> type["TileWithPeriphery"]:
        """Return the class whose periphery hooks compiled graphs reproduce."""
        return TileWithPeriphery

    def _gradient_factor(self, forward: object) -> float:
        return 1.0

    def forward(self, x_input: Tensor, tensor_view: tuple[int, ...] | None = None) -> Tensor:
        """Return the output of the tile.

        Args:
            x_input: Inputs, shape `[..., in_size]`, or `[in_size, ...]` with `in_trans`.
            tensor_view: Shape that spreads a vector of all outputs over the output tensor.

        Returns:
            Shape `[..., out_size]`, or `[out_size, ...]` with `out_trans`.

        Raises:
            InputError: Wrong number of features, dtype or device.
        """
        if torch.compiler.is_compiling() and not self._custom_hooks:
            output = self._compiled_forward(x_input)
        elif torch.is_grad_enabled():
            output = self._traced_forward(x_input)
        elif self._direct and self._is_plain(x_input):
            return self._direct_forward(x_input, tensor_view)
        else:
            output = self.joint_forward(x_input, not self.training)
        return self._finish_output(output, tensor_view)

    def _traced_forward(self, x_input: Tensor) -> Tensor:
        parameters: Any = self._parameters  # cheaper than the attributes
        return AnalogFunction.apply(
            parameters["analog_ctx"],
            self,
            self._cast_input(x_input),
            parameters.get("shared_weights"),
            not self.training,
        )

    def _is_plain(self, x: Tensor) -> bool:
        return (
            type(x) is Tensor
            and x.dtype is self.io_dtype is torch.float32
            and x.dim() == 2
            and x.shape[1] == self.in_size
            and x.is_contiguous()
            and not x.is_neg()
            and self._buffers["mapping_scales"] is None
        )

    def _direct_forward(self, x: Tensor, tensor_view: tuple[int, ...] | None) -> Tensor:
        tile: Any = self.tile
        output: Tensor = tile.kernels.plain(x, not self.training)
        if not self.training:
            self._direct_eval(output)
        parameters = self._parameters
        if parameters["out_scaling_alpha"] is not None or tensor_view is not None:
            return self._finish_output(output, tensor_view)
        bias = parameters["bias"]
        # In place: nobody else has seen this output, and a new one costs as much as the sum.
        return output if bias is None else output.add_(bias)

    def _direct_eval(self, output: Tensor) -> None:
        """Apply in place what `post_forward` does to bare outputs in evaluation mode.

        Args:
            output: Outputs of the array, shape `[batch, out_size]`.
        """

    def _graph_alpha(self, is_test: bool) -> Tensor | None:
        """Return the factor on outputs that drift compensation asks for."""
        return None

    def _compiled_forward(self, x_input: Tensor) -> Tensor:
        return operators.graph_forward(self, x_input)

    def _finish_output(self, output: Tensor, tensor_view: tuple[int, ...] | None) -> Tensor:
        alpha: Tensor | None = self._parameters["out_scaling_alpha"]
        bias: Tensor | None = self._parameters["bias"]
        if alpha is not None:
            output = self.apply_out_scaling(output, tensor_view)
        if bias is not None:
            if tensor_view is not None or self.out_trans:
                bias = bias.view(self._view(output, tensor_view))
            output = output + bias
        return output if self.io_dtype is torch.float32 else output.to(self.io_dtype)

    def _cast_input(self, x: Tensor) -> Tensor:
        """Return the input in float32; what autocast or a cast of the model made is converted."""
        if isinstance(x, Tensor) and x.dtype is torch.float32:
            return x
        check_tensor(x, "x_input")
        if x.dtype is self.io_dtype or (
            torch.is_autocast_enabled(x.device.type) and x.is_floating_point()
        ):
            return x.to(torch.float32)
        raise InputError(
            f"x_input: expected dtype {self.io_dtype}, got {x.dtype}; convert it or the model"
        )

    def joint_forward(self, x_input: Tensor, is_test: bool = False, ctx: Any = None) -> Tensor:
        """Return the output before learned scales and digital bias, without autograd.

        Args:
            x_input: Inputs as for `forward`.
            is_test: Evaluation mode.
            ctx: Passed to the periphery hooks.

        Raises:
            InputError: Wrong number of features, dtype or device.
        """
        with torch.no_grad():
            x = self._cast_input(x_input)
            rows = to_rows(x, self.in_size, self.in_trans, "x_input")
            y = self._run_rows(rows, is_test, ctx)
            if x.dim() == 2 and not self._transposed:
                return y
            return from_rows(y, batch_shape(x, self.in_trans), self.out_trans)

    def _run_rows(self, rows: Tensor, is_test: bool, ctx: Any) -> Tensor:
        seen = self.pre_forward(rows, -1, is_test, ctx)
        y = self.tile.run_forward(seen, self._bias_input(), is_test)[0]
        return self.post_forward(y, -1, is_test, ctx)

    def _bias_input(self) -> float | None:
        """Return what the bias column sees: the output is multiplied by the range, the bias not."""
        if not self.analog_bias:
            return None
        r = self._range()
        return 1.0 if r is None else 1.0 / float(r)

    def backward(self, d_input: Tensor, ctx: Any = None) -> Tensor:
        """Return gradients of the inputs, without those of learned scales.

        Args:
            d_input: Gradients of the outputs, shape `[..., out_size]`.
            ctx: Passed to the periphery hooks.

        Raises:
            InputError: Wrong number of features, dtype or device.
        """
        with torch.no_grad():
            rows = to_rows(self._cast_input(d_input), self.out_size, self.out_trans, "d_input")
            scaled = self.pre_backward(rows, -1, ctx)
            back = self.tile.run_backward(scaled, self.tile.next_call(), not self.training)
            return from_rows(
                self.post_backward(back, -1, ctx),
                batch_shape(d_input, self.out_trans),
                self.in_trans,
            )

    def update(self, x_input: Tensor, d_input: Tensor) -> None:
        """Update the weights; on any error nothing is changed.

        Args:
            x_input: Inputs of the layer, shape `[..., in_size]`.
            d_input: Gradients of the outputs of the array, shape `[..., out_size]`.

        Raises:
            ArgumentError: A value is not finite.
            InputError: Wrong number of features or samples, dtype or device.
        """
        with torch.no_grad():
            x = to_rows(self._cast_input(x_input), self.in_size, self.in_trans, "x_input")
            d = to_rows(self._cast_input(d_input), self.out_size, self.out_trans, "d_input")
            x, d = self.pre_update(x, -1, d, -1)
            self.tile.run_update(x, d, self._bias_input())
            self._weights_edited()

    def apply_trace(self) -> None:
        """Update the weights with the pairs that the context has collected, in their order.

        The inputs are used as the array saw them in the forward pass. The trace is kept; reset the
        context after it.

        Raises:
            ArgumentError: A value is not finite; nothing is changed by that update.
        """
        ctx = self.analog_ctx
        with torch.no_grad():
            for pairs in grouped_pairs(ctx):
                x = joined([to_rows(p[0], self.in_size, self.in_trans, "x_input") for p in pairs])
                d = joined([to_rows(p[1], self.out_size, self.out_trans, "d_input") for p in pairs])
                self.tile.run_update(x, self._unscaled(d, -1).contiguous(), pairs[0][2])

    def get_forward_out_bound(self) -> float | None:
        """Return the magnitude from which outputs count as clipped; None without a bound."""
        io = getattr(self.rpu_config, "forward", None)
        if (
            not isinstance(io, IOParameters)
            or io.is_perfect
            or not 0.0 < io.out_bound < float("inf")
        ):
            return None
        return io.out_scale * io.out_bound * 0.999

    def init_periph_quant_processing(self) -> None:
        """Do nothing: only quantised tiles have a quantised periphery."""

    def _reconfigure(self) -> None:
        """Follow a new configuration with what it adds or removes."""
        self.init_learned_out_scales()
        self.init_mapping_scales()
        self.init_input_processing()
        self._prepare()

    def _digital_entries(self, config: Any) -> dict[str, Entry]:
        """Return what digital entries a saved state with a configuration has."""
        mapping, params = config.mapping, config.pre_post.input_range
        one, vector = (1,), (self.out_size,)
        matrix = (self.out_size, self.in_size + int(self.analog_bias))
        entries = {
            "mapping_scales": Entry((one, vector), required=False, positive=True),
            "reference_combined_weights": Entry((matrix,), required=False),
        }
        if self.digital_bias:
            entries["bias"] = Entry((vector,))
        if mapping.learn_out_scaling:
            entries["out_scaling_alpha"] = Entry(
                (vector if mapping.out_scaling_columnwise else one,)
            )
        if params.enable:
            entries["input_range"] = entries["input_range_update_idx"] = Entry((one,))
        return entries

    def _store_digital(self, name: str, value: Tensor | None) -> None:
        if value is None:
            self._buffers[name] = None
        else:
            assign(self, name, value)
        self._learning_rate_scale()


__all__ = ["BaseTile", "InputRangeParameter", "TileWithPeriphery"]
