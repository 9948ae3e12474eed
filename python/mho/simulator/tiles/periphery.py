"""Tiles with a digital periphery: the way of a product through the parts of a tile."""

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from mho.optim.context import Pair
from mho.optim.replicas import common_stream
from mho.optim.trace import grouped_pairs, joined
from mho.simulator.autograd.function import AnalogFunction
from mho.simulator.autograd.functional import functional_forward
from mho.simulator.autograd.graph import GraphConstants, graph_constants, graph_forward
from mho.simulator.autograd.recomputation import OPEN_PASSES, call_in_pass, is_in_pass
from mho.simulator.autograd.torch_code import torch_forward
from mho.simulator.delegation import done_by
from mho.simulator.parameters.arguments import check_probability
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.io import IOParameters
from mho.simulator.parameters.pre_post import InputRangeParameter
from mho.simulator.parts.clip_remap import ClipRemap
from mho.simulator.parts.indexed_images import IndexedImages
from mho.simulator.parts.input_range import InputRange
from mho.simulator.parts.logical_weights import LogicalWeights
from mho.simulator.parts.modified_weights import ModifiedWeights
from mho.simulator.parts.programming import Programming
from mho.simulator.parts.pulse_counters import counted
from mho.simulator.parts.reference_weights import ReferenceWeights
from mho.simulator.parts.scales import Scales
from mho.simulator.parts.write_verify import WriteVerify
from mho.simulator.raw_tiles.base import SimulatorTile
from mho.simulator.raw_tiles.rows import (
    batch_shape,
    check_output_view,
    from_rows,
    outputs_from_rows,
    to_rows,
)
from mho.simulator.state.names import AnalogTileStateNames as Names
from mho.simulator.state.ordinary import ordinary_tensors
from mho.simulator.tiles import no_ops
from mho.simulator.tiles.base import BaseTile, RPUCudaSimulatorTileWrapper
from mho.simulator.tiles.module import TileModule
from mho.simulator.tiles.moving import cast_for_core, cast_like_weight, follow_defaults

__all__ = ["BaseTile", "InputRangeParameter", "TileWithPeriphery"]

_is_transformed = torch._C._are_functorch_transforms_active
_HOOKS = ("pre_forward", "post_forward", "pre_backward", "post_backward", "joint_forward")


@RPUCudaSimulatorTileWrapper.register
class TileWithPeriphery(TileModule):
    """A raw tile inside its digital periphery.

    Inputs are clipped and scaled to the input range, outputs scaled back and multiplied by mapping
    scales, all inside one autograd function; learned output scales and the digital bias are
    ordinary operations after it.

    All public names of a tile stand here. What a part does is one line that hands the call on; the
    text is that of the part.
    """

    supports_indexed = True
    weights_follow_gradient: bool = False
    """Whether torch trains the weights by their gradient, instead of an analog optimizer."""

    reference_weights: ReferenceWeights
    scales: Scales
    input_processing: InputRange
    logical_weights: LogicalWeights
    programming: WriteVerify | Programming
    clip_remap: ClipRemap | None = None
    modified: ModifiedWeights | None = None

    analog_tile_weights: Tensor
    analog_tile_seed: Tensor
    analog_tile_calls: Tensor
    shared_weights: nn.Parameter | None
    input_range: Tensor | None
    input_range_update_idx: Tensor | None
    mapping_scales: Tensor | None
    out_scaling_alpha: nn.Parameter | None
    reference_combined_weights: Tensor | None
    mapping_lr_scale: float
    handle_output_bound: bool
    has_custom_hooks: bool
    backward_factor: float
    backward_is_exact: bool
    _graph: GraphConstants
    _share_weights: bool = False
    _handle: nn.Parameter | None

    @ordinary_tensors()
    def __init__(
        self,
        out_size: int,
        in_size: int,
        rpu_config: RPUConfigBase | None = None,
        bias: bool = False,
        in_trans: bool = False,
        out_trans: bool = False,
    ) -> None:
        """Build the raw tile and its periphery.

        Args:
            out_size: Number of outputs.
            in_size: Number of inputs.
            rpu_config: Configuration, copied; by default the one that asks for this kind of tile.
            bias: Whether there is a bias; digital or analog as `mapping.digital_bias` says.
            in_trans: Whether features are on the first axis of inputs instead of the last.
            out_trans: Whether features are on the first axis of outputs.

        Raises:
            ArgumentError: A size is not a positive integer or `rpu_config` is not a configuration.
            ConfigError: The configuration is invalid or not supported; the message names the field.
        """
        config = self._default_config() if rpu_config is None else rpu_config
        super().__init__(out_size, in_size, config, bias, in_trans, out_trans)
        self.shared_weights = None
        self._create_parts()
        # The order in which a state lists its entries.
        self.reference_weights.register()
        self.scales.register()
        self.programming.register()
        for part in self.parts:
            part.follow(self.rpu_config)
        self.connect()
        self.settle()
        follow_defaults(self)
        self.tile.open_backend()

    def _default_config(self) -> RPUConfigBase:
        """Return the configuration of a tile that is built without one."""
        raise NotImplementedError(f"{type(self).__name__} lacks a default configuration")

    def _create_programming(self) -> WriteVerify | Programming:
        """Return how the weights are programmed."""
        return WriteVerify(self)

    def _create_parts(self) -> None:
        self.reference_weights = ReferenceWeights(self)
        self.scales = Scales(self)
        self.input_processing = InputRange(self)
        self.indexed = IndexedImages(self)
        self.logical_weights = LogicalWeights(self)
        self.programming = self._create_programming()
        self.parts = (
            self.reference_weights,
            self.scales,
            self.input_processing,
            self.logical_weights,
            self.programming,
        )
        if self.weights_follow_gradient:
            self.clip_remap, self.modified = ClipRemap(self), ModifiedWeights(self)
            self.parts += (self.clip_remap, self.modified)

    def connect(self) -> None:
        """Make the context, and a parameter that trains the weights, share their storage."""
        if self._share_weights:
            live = self._get_tile_weights_ref()
            present: nn.Parameter | None = self._parameters.get(Names.SHARED_WEIGHTS)
            if present is None:
                self.shared_weights = nn.Parameter(live)
            else:
                present.data = live
            self._list_weights_once()
        super().connect()
        self.analog_ctx.use_torch_update = self._share_weights or self.tile.differentiable
        # What a functional call replaces.
        self._handle_name = Names.SHARED_WEIGHTS if self._share_weights else Names.CONTEXT
        object.__setattr__(self, "_handle", self._parameters.get(self._handle_name))

    def settle(self) -> None:
        """Compute what depends on the configuration and on what is there."""
        super().settle()
        config = self.rpu_config
        self.handle_output_bound = self.get_forward_out_bound() is not None
        # Only tiles whose weights follow a gradient see the digital output factor in backward.
        forward = getattr(config, "forward", None)
        scale = getattr(forward, "out_scale", 1.0) if self.weights_follow_gradient else 1.0
        self.backward_factor = float(scale)
        self.has_custom_hooks = any(
            getattr(type(self), name) is not getattr(TileWithPeriphery, name) for name in _HOOKS
        )
        back = getattr(config, "backward", None)  # exact tiles have none
        self.backward_is_exact = self.tile.kernels is not None and (back is None or back.is_perfect)
        self._graph = graph_constants(self)
        self._transposed = self.in_trans or self.out_trans
        self._is_torch_code = self.tile.differentiable
        self._moves = self.tile.moves
        # Products of plain matrices take a short way, with the periphery in one call of the kernel.
        self._direct = self.tile.kernels is not None and not (
            self.has_custom_hooks or self._transposed
        )

    def forward(self, x_input: Tensor, tensor_view: tuple[int, ...] | None = None) -> Tensor:
        """Return the output of the tile, differentiable as its kind of raw tile is.

        Args:
            x_input: Inputs, shape `[..., in_size]`, or `[in_size, ...]` with `in_trans`; images
                after `set_indexed`.
            tensor_view: Shape that spreads a vector of all outputs over the output tensor.

        Returns:
            Shape `[..., out_size]`, or `[out_size, ...]` with `out_trans`.

        Raises:
            InputError: Wrong number of features, dtype or device.
        """
        if self.indexed.table is not None and self.indexed.is_indexed():
            return self.indexed.forward(x_input, tensor_view)
        return self.forward_of_rows(x_input, tensor_view)

    def forward_of_rows(
        self, x_input: Tensor, tensor_view: tuple[int, ...] | None = None
    ) -> Tensor:
        """Return what `forward` returns of inputs that are no images."""
        if OPEN_PASSES and not torch.compiler.is_compiling() and is_in_pass():
            with call_in_pass(self):
                return self.forward_of_rows(x_input, tensor_view)
        if tensor_view is not None:
            check_output_view(tensor_view, self.out_size, x_input, self.in_trans, self.out_trans)
        if self._is_torch_code:
            output = torch_forward(self, x_input, not self.training, None)
        elif torch.compiler.is_compiling() and not self.has_custom_hooks:
            output = graph_forward(self, x_input)
        elif _is_transformed() or self._parameters.get(self._handle_name) is not self._handle:
            output = functional_forward(self, x_input)
        elif torch.is_grad_enabled():
            parameters = self._parameters
            if self._direct and tensor_view is None and parameters["out_scaling_alpha"] is None:
                output = self.traced_forward(x_input, parameters["bias"])
                return output if self.io_dtype is torch.float32 else output.to(self.io_dtype)
            output = self.traced_forward(x_input)
        elif self._direct and tensor_view is None and self._is_plain(x_input):
            return self._direct_forward(x_input)
        else:
            output = self.joint_forward(x_input, not self.training)
        return self._finish_output(output, tensor_view)

    def traced_forward(self, x_input: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return the output before learned scales, and without any other bias, for autograd.

        Args:
            x_input: Inputs as for `forward`.
            bias: Digital bias to add, `[out_size]`; for tiles with features last.
        """
        parameters: Any = self._parameters  # cheaper than the attributes
        return AnalogFunction.apply(
            parameters["analog_ctx"] if "analog_ctx" in parameters else self.__dict__["analog_ctx"],
            self,
            self.cast_input(x_input),
            parameters.get("shared_weights"),
            not self.training,
            bias,
        )

    def _is_plain(self, x: Tensor) -> bool:
        return (
            type(x) is Tensor
            and x.dtype is self.io_dtype is torch.float32
            and not x.is_nested
            and x.dim() == 2
            and x.shape[1] == self.in_size
            and x.is_contiguous()
            and not x.is_neg()
            and forward_ad._current_level < 0
        )

    def _direct_forward(self, x: Tensor) -> Tensor:
        is_test = not self.training
        used = self.in_use(is_test)
        if self.input_processing.is_on():
            x = self.input_processing.enter(x, not is_test)
        factors, parameters = self.output_factors(is_test), self._parameters
        alpha = parameters["out_scaling_alpha"]
        if alpha is not None:
            factors = (alpha,) if factors is None else (*factors, alpha)
        raw: Any = self.tile
        output: Tensor = raw.kernels.forward(
            x, self.bias_input(), is_test, used, False, factors, parameters["bias"]
        )[0]
        return output

    def output_factors(self, is_test: bool) -> tuple[Tensor, ...] | None:
        """Return the factors of `post_forward`, for kernels that apply them themselves."""
        processing = self.input_processing
        factors = (
            processing.magnitude() if processing.is_on() else None,
            self._buffers["mapping_scales"],
            self.programming.output_factor() if is_test else None,
        )
        return tuple([factor for factor in factors if factor is not None]) or None

    def _finish_output(self, output: Tensor, tensor_view: tuple[int, ...] | None) -> Tensor:
        parameters = self._parameters
        bias = parameters["bias"]
        if parameters["out_scaling_alpha"] is not None:
            output = self.scales.apply_out_scaling(output, tensor_view)
        if bias is not None:
            if tensor_view is None and self.out_trans:
                tensor_view = self.get_tensor_view(output.dim())
            output = output + (bias if tensor_view is None else bias.view(tensor_view))
        return output if self.io_dtype is torch.float32 else output.to(self.io_dtype)

    def cast_input(self, x: Tensor) -> Tensor:
        """Return an input in the precision of the tile; what autocast or a cast made is converted.

        Args:
            x: Input, shape `[..., features]`.

        Raises:
            InputError: It is no real tensor, or of another dtype or device.
        """
        if self._moves:
            return cast_like_weight(x, self._get_tile_weights_ref())
        return cast_for_core(x, self.io_dtype)

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
            if self._is_torch_code:
                return torch_forward(self, x_input, is_test, ctx)
            x = self.cast_input(x_input)
            rows = to_rows(x, self.in_size, self.in_trans, "x_input")
            used = self.in_use(is_test)
            seen = self.pre_forward(rows, -1, is_test, ctx)
            factors = None if self.has_custom_hooks else self.output_factors(is_test)
            y = self.tile.run_forward(seen, self.bias_input(), is_test, used, factors=factors)[0]
            if self.has_custom_hooks:
                y = self.post_forward(y, -1, is_test, ctx)
            if x.dim() == 2 and not self._transposed:
                return y
            return outputs_from_rows(y, batch_shape(x, self.in_trans), self.out_trans)

    def in_use(self, is_test: bool) -> Tensor | None:
        """Return the modified weights if a pass uses them; None for the own ones."""
        return None if self.modified is None else self.modified.in_use(is_test, None)

    def bias_input(self) -> float | None:
        """Return what the bias column sees: the output is multiplied by the range, the bias not."""
        if not self.analog_bias:
            return None
        r = self.input_processing.magnitude()
        return 1.0 if r is None else 1.0 / float(r)

    def backward(self, d_input: Tensor, ctx: Any = None) -> Tensor:
        """Return gradients of the inputs, without those of learned scales and without autograd.

        Args:
            d_input: Gradients of the outputs, shape `[..., out_size]`.
            ctx: Passed to the periphery hooks.

        Raises:
            InputError: Wrong number of features, dtype or device.
        """
        with torch.no_grad():
            rows = to_rows(self.cast_input(d_input), self.out_size, self.out_trans, "d_input")
            scaled = self.pre_backward(rows, -1, ctx)
            with self.tile.numbered() as call:
                used = self.in_use(not self.training)
                back = self.tile.run_backward(scaled, call, not self.training, used)
                back = self.post_backward(back, -1, ctx)
                return from_rows(back, batch_shape(d_input, self.out_trans), self.in_trans)

    def update(self, x_input: Tensor, d_input: Tensor) -> None:
        """Update the weights; on any error nothing is changed.

        Args:
            x_input: Inputs of the layer, shape `[..., in_size]`.
            d_input: Gradients of the outputs of the array, shape `[..., out_size]`.

        Raises:
            ArgumentError: A value is not finite.
            InputError: Wrong number of features or samples, dtype or device.
            TileError: The weights follow a gradient that autograd computes.
        """
        with torch.no_grad():
            x = to_rows(self.cast_input(x_input), self.in_size, self.in_trans, "x_input")
            d = to_rows(self.cast_input(d_input), self.out_size, self.out_trans, "d_input")
            x, d = self.pre_update(x, -1, d, -1)
            self.tile.run_update(x, d, self.bias_input())
            self.weights_edited()

    def apply_trace(self, pairs: list[Pair] | None = None) -> None:
        """Update the weights with pairs of inputs and output gradients, in their order.

        The inputs are used as the array saw them in the forward pass.

        Args:
            pairs: What the context had collected; None takes its present trace, which is kept.

        Raises:
            ArgumentError: They are no pairs, or a value is not finite; that update changes nothing.
        """
        pairs = self.analog_ctx.pairs() if pairs is None else pairs
        with torch.no_grad() if torch.is_grad_enabled() else nullcontext():
            for run in grouped_pairs(pairs):
                x = joined([to_rows(p.x, self.in_size, self.in_trans, "x_input") for p in run])
                d = joined([to_rows(p.d, self.out_size, self.out_trans, "d_input") for p in run])
                self.tile.run_update(x, self.scales.unscale(d, -1).contiguous(), run[0].bias)

    def pre_forward(
        self, x_input: Tensor, dim: int, is_test: bool = False, ctx: Any = None
    ) -> Tensor:
        """Return inputs as the array gets them; subclasses may replace it.

        Args:
            x_input: Inputs, features on axis `dim`.
            dim: Axis of the features.
            is_test: Evaluation mode; the range follows the data only in training.
            ctx: Not used.
        """
        if not self.input_processing.is_on():
            return x_input
        return self.input_processing.enter(x_input, not is_test)

    def post_forward(
        self, x_output: Tensor, dim: int, is_test: bool = False, ctx: Any = None
    ) -> Tensor:
        """Return outputs scaled back and, for tests, corrected for drift; may be replaced.

        Args:
            x_output: Outputs of the array, features on axis `dim`.
            dim: Axis of the features.
            is_test: Evaluation mode.
            ctx: Not used.
        """
        x_output = self.scales.times(self.input_processing.leave(x_output), dim)
        factor = self.programming.output_factor() if is_test else None
        if factor is None:
            return x_output
        if factor.numel() == 1:
            return x_output * factor
        return x_output * factor.view(self.get_tensor_view(x_output.dim(), dim))

    def pre_backward(self, d_input: Tensor, dim: int, ctx: Any = None) -> Tensor:
        """Return gradients of outputs as the array gets them; subclasses may replace it.

        Args:
            d_input: Gradients of the outputs, features on axis `dim`.
            dim: Axis of the features.
            ctx: Not used.
        """
        if self.backward_factor != 1.0:
            d_input = d_input * self.backward_factor
        return self.scales.times(d_input, dim)

    def post_backward(self, d_output: Tensor, dim: int, ctx: Any = None) -> Tensor:
        """Return gradients of inputs: clipping and scaling by the range cancel (straight-through).

        Subclasses may replace it.

        Args:
            d_output: Transposed product, features on axis `dim`.
            dim: Axis of the features.
            ctx: Not used.
        """
        return d_output

    def pre_update(
        self, x_input: Tensor, x_dim: int, d_input: Tensor, d_dim: int
    ) -> tuple[Tensor, Tensor]:
        """Return inputs and gradients of an update as the array gets them.

        Dividing the gradients by the mapping scales makes a step of the logical weights that of
        plain SGD. Subclasses may replace it.

        Args:
            x_input: Inputs, features on axis `x_dim`.
            x_dim: Axis of their features.
            d_input: Gradients of the outputs, features on axis `d_dim`.
            d_dim: Axis of their features.
        """
        if self.input_processing.value() is not None:
            x_input = self.input_processing.enter(x_input, False)
        return x_input, self.scales.unscale(d_input, d_dim)

    def post_update_step(self) -> list[tuple[nn.Parameter, Tensor]]:
        """Do what follows every optimizer step: diffusion, decay, clipping, remapping, modifying.

        What was programmed before belongs to other weights now, unless the tile is frozen.

        Returns:
            Parameters that were multiplied by factors, which the buffers of an optimizer follow.
        """
        if self.reference_weights.is_kept() and self.analog_ctx.is_trained():
            self.programming.forget()
        with common_stream(self.analog_ctx):
            has_changed = self.tile.after_step(self.rpu_config)
        if has_changed:
            self.weights_edited()
        return [multiplied for part in self.parts for multiplied in part.after_step()]

    def weights_edited(self) -> None:
        """Follow a change of the weights by anything but their devices or their programming."""
        if self.reference_weights.is_kept():
            self.programming.forget()
        if self.modified is not None:
            self.modified.forget()

    def get_forward_out_bound(self) -> float | None:
        """Return the magnitude from which outputs count as clipped; None without a bound."""
        io = getattr(self.rpu_config, "forward", None)
        if not isinstance(io, IOParameters) or io.is_perfect:
            return None
        if not 0.0 < io.out_bound < float("inf"):
            return None
        return io.out_scale * io.out_bound * 0.999

    def get_tensor_view(self, ndim: int, dim: int | None = None) -> tuple[int, ...]:
        """Return the shape that spreads a vector over one axis of a tensor.

        Args:
            ndim: Rank of the tensor.
            dim: Axis; by default that of the output features.
        """
        axis = (0 if self.out_trans else ndim - 1) if dim is None else dim % ndim
        return (1,) * axis + (-1,) + (1,) * (ndim - 1 - axis)

    def get_pulse_counters(self) -> Tensor:
        """Return how many pulses every crosspoint got, int64 `[2, out_size, x_size]`.

        Index 0 has those down, index 1 those up. Coincidences are counted, whatever weights do. The
        column of an analog bias is the last one.

        Raises:
            ConfigError: The device does not count pulses; the message names the field to set.
            TileError: The tile has no devices of the core.
        """
        return counted(self.tile.get_pulse_counters(), self.rpu_config.device)

    def reset(self, reset_prob: float = 1.0) -> None:
        """Reset all columns.

        Args:
            reset_prob: Probability of each crosspoint.
        """
        self.reset_columns(0, -1, check_probability("reset_prob", reset_prob))

    set_verbosity_level = no_ops.set_verbosity_level
    ensure_shared_weights = no_ops.ensure_shared_weights
    init_periph_quant_processing = no_ops.init_periph_quant_processing

    is_indexed = done_by("indexed", IndexedImages.is_indexed)
    set_indexed = done_by("indexed", IndexedImages.set_indexed)
    joint_forward_indexed = done_by("indexed", IndexedImages.joint_forward_indexed)
    backward_indexed = done_by("indexed", IndexedImages.backward_indexed)
    update_indexed = done_by("indexed", IndexedImages.update_indexed)

    init_learned_out_scales = done_by("scales", Scales.init_learned_out_scales)
    init_mapping_scales = done_by("scales", Scales.init_mapping_scales)
    get_mapping_scales = done_by("scales", Scales.get_mapping_scales)
    set_mapping_scales = done_by("scales", Scales.set_mapping_scales)
    get_learned_out_scales = done_by("scales", Scales.get_learned_out_scales)
    set_learned_out_scales = done_by("scales", Scales.set_learned_out_scales)
    apply_out_scaling = done_by("scales", Scales.apply_out_scaling)
    get_scales = done_by("scales", Scales.get_scales)
    set_scales = done_by("scales", Scales.set_scales)

    set_learning_rate = done_by("scales", Scales.set_learning_rate)
    get_learning_rate = done_by("scales", Scales.get_learning_rate)

    init_input_processing = done_by("input_processing", InputRange.init_input_processing)
    set_input_range = done_by("input_processing", InputRange.set_input_range)
    apply_input_range = done_by("input_processing", InputRange.apply_input_range)

    set_weights = done_by("logical_weights", LogicalWeights.set_weights)
    get_weights = done_by("logical_weights", LogicalWeights.get_weights)
    read_weights = done_by("logical_weights", LogicalWeights.read_weights)
    remap_weights = done_by("logical_weights", LogicalWeights.remap_weights)
    apply_weight_scaling = done_by("logical_weights", LogicalWeights.apply_weight_scaling)

    get_hidden_parameters = done_by("tile", SimulatorTile.get_named_hidden_parameters)
    set_hidden_parameters = done_by("tile", SimulatorTile.set_named_hidden_parameters)
    get_hidden_update_index = done_by("tile", SimulatorTile.get_hidden_update_index)
    set_hidden_update_index = done_by("tile", SimulatorTile.set_hidden_update_index)
    get_forward_parameters = done_by("tile", SimulatorTile.get_forward_parameters)
    set_forward_parameters = done_by("tile", SimulatorTile.set_forward_parameters)
    get_backward_parameters = done_by("tile", SimulatorTile.get_backward_parameters)
    set_backward_parameters = done_by("tile", SimulatorTile.set_backward_parameters)
    decay_weights = done_by("tile", SimulatorTile.decay_weights, then="weights_edited")
    diffuse_weights = done_by("tile", SimulatorTile.diffuse_weights, then="weights_edited")
    reset_columns = done_by("tile", SimulatorTile.reset_columns, then="weights_edited")
    dump_extra = done_by("tile", SimulatorTile.dump_extra)
    load_extra = done_by("tile", SimulatorTile.load_extra)
