"""The autograd function around a tile."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NoReturn, Protocol

import torch
from torch import Tensor

from mho.exceptions import TileError
from mho.optim.context import AnalogContext
from mho.simulator.autograd.accumulation import accumulates_into
from mho.simulator.autograd.recomputation import warn_if_recomputed
from mho.simulator.autograd.surrogate import Valued, linear_product, once_only
from mho.simulator.autograd.weight_gradient import weight_gradient
from mho.simulator.parts import input_range
from mho.simulator.parts.input_range import InputRange
from mho.simulator.parts.modified_weights import ModifiedWeights
from mho.simulator.raw_tiles.base import SimulatorTile
from mho.simulator.raw_tiles.rows import batch_shape, from_rows, outputs_from_rows, to_rows

running_backward_pass = torch._C._current_graph_task_id
"""Number of the backward pass that is running in this thread; negative outside of any."""

# Of `torch.vmap`, and of what is older: `is_grads_batched`.
_is_batched = torch._C._functorch.is_batchedtensor
_is_batched_of_old = torch._C._functorch.is_legacy_batchedtensor


class DifferentiableTile(Protocol):
    """What the product of a tile needs of it to be differentiated."""

    input_processing: InputRange
    modified: ModifiedWeights | None
    in_size: int
    out_size: int
    in_trans: bool
    out_trans: bool
    analog_bias: bool
    handle_output_bound: bool
    has_custom_hooks: bool
    backward_factor: float
    mapping_lr_scale: float
    backward_is_exact: bool

    @property
    def tile(self) -> SimulatorTile:
        """Raw tile."""

    def pre_forward(self, x_input: Tensor, dim: int, is_test: bool = False, ctx: Any = None) -> Any:
        """Return inputs as the array gets them."""

    def post_forward(
        self, x_output: Tensor, dim: int, is_test: bool = False, ctx: Any = None
    ) -> Any:
        """Return outputs scaled back."""

    def output_factors(self, is_test: bool) -> tuple[Tensor, ...] | None:
        """Return what outputs of the array are multiplied by."""

    def pre_backward(self, d_input: Tensor, dim: int, ctx: Any = None) -> Any:
        """Return gradients of outputs as the array gets them."""

    def post_backward(self, d_output: Tensor, dim: int, ctx: Any = None) -> Any:
        """Return gradients of inputs."""

    def get_mapping_scales(self) -> Tensor | None:
        """Return the mapping scales."""

    def bias_input(self) -> float | None:
        """Return what the bias column sees."""


class AnalogFunction(torch.autograd.Function):
    """Product of a tile with its input range and mapping scales.

    The gradient of the input is the (noisy) transposed product, zero through outputs that were
    clipped by the converter and straight-through for clipped inputs. The weights either get a
    gradient (`shared_weights`) or the pair of inputs and output gradients is collected in the
    context, from which an analog optimizer updates them later.
    """

    @classmethod
    def apply(
        cls,
        analog_ctx: AnalogContext,
        analog_tile: DifferentiableTile,
        input_: Tensor,
        shared_weights: Tensor | None = None,
        is_test: bool = False,
        bias: Tensor | None = None,
    ) -> Tensor:
        """Return the output of the tile before learned scales.

        Args:
            analog_ctx: Context of the tile.
            analog_tile: Tile.
            input_: Inputs, shape `[..., in_size]`.
            shared_weights: Raw weights that get a gradient; None if the trace of the context is
                used.
            is_test: Evaluation mode.
            bias: Digital bias, `[out_size]`, if it is not added later; with features last only.

        Raises:
            InputError: Wrong number of features, dtype or device.
        """
        if running_backward_pass() >= 0:
            warn_if_recomputed()
        output: Tensor = super().apply(
            analog_ctx,
            analog_tile,
            input_,
            shared_weights,
            is_test,
            analog_tile.input_processing.value(),
            bias,
        )
        return output

    @staticmethod
    def forward(
        ctx: Any,
        analog_ctx: AnalogContext,
        analog_tile: DifferentiableTile,
        input_: Tensor,
        shared_weights: Tensor | None = None,
        is_test: bool = False,
        input_range_: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        """Run the tile and keep what backward needs.

        Args:
            ctx: Of autograd.
            analog_ctx: As for `apply`.
            analog_tile: As for `apply`.
            input_: As for `apply`.
            shared_weights: As for `apply`.
            is_test: As for `apply`.
            input_range_: Range of the tile, so that autograd knows it.
            bias: As for `apply`.
        """
        tile, x = analog_tile, input_
        rows = to_rows(x, tile.in_size, tile.in_trans, "x_input")
        # Whoever gave other weights than the own ones (functional calls) means them.
        used, modified = shared_weights, tile.modified
        if modified is not None:  # may refuse, so before the range follows the inputs
            used = modified.in_use(is_test, shared_weights)
        seen = tile.pre_forward(rows, -1, is_test, ctx)
        r = None if input_range_ is None else tile.input_processing.magnitude()
        ctx.bias_input = tile.bias_input()
        custom = tile.has_custom_hooks
        y, mask, ctx.call = tile.tile.run_forward(
            seen,
            ctx.bias_input,
            is_test,
            used,
            tile.handle_output_bound,
            None if custom else tile.output_factors(is_test),
            bias,
        )
        if custom:
            y = tile.post_forward(y, -1, is_test, ctx)
        analog_ctx.use_torch_update = shared_weights is not None
        ctx.is_test = is_test
        ctx.analog_ctx, ctx.tile, ctx.shared_weights = analog_ctx, tile, shared_weights
        ctx.batch = batch_shape(x, tile.in_trans)
        ctx.bias = bias
        ctx.has_run_backward = False
        ctx.used = used
        ctx.version = None if used is None else version_of(used)
        # The input itself, not only its rows: second derivatives reach it.
        ctx.save_for_backward(x, None if r is None else rows, seen, mask, r)
        return outputs_from_rows(y, ctx.batch, tile.out_trans)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        """Return gradients of input, weights and range, or collect the pair for an update.

        Args:
            ctx: Of autograd.
            grad_output: Gradient of the output, same shape.
        """
        # Only with `create_graph` gradients are recorded here, to be differentiated again.
        run = differentiable_gradients if torch.is_grad_enabled() else gradients
        return run(ctx, grad_output)

    @staticmethod
    def jvp(ctx: Any, *_: Any) -> NoReturn:
        """Refuse tangents.

        Args:
            ctx: Of autograd.
            _: Tangents of the inputs.

        Raises:
            TileError: Always.
        """
        refuse_tangents()


def refuse_tangents() -> NoReturn:
    """Refuse forward-mode differentiation.

    Raises:
        TileError: Always.
    """
    raise TileError(
        "forward-mode differentiation: tiles of the core do not take dual tensors; use"
        " torch.func.jvp or torch.func.jacfwd with an inference configuration"
    )


def check_one_gradient(d_output: Tensor) -> None:
    """Refuse several gradients of the output at once.

    Args:
        d_output: Gradient of the output.

    Raises:
        TileError: It is a batch of gradients.
    """
    if _is_batched_of_old(d_output) or _is_batched(d_output):
        raise TileError(
            "batched gradients (is_grads_batched, vectorize=True, vmap): backward passes of tiles"
            " of the core take one gradient each; use torch.func.jacrev with an inference"
            " configuration, or one pass after another"
        )


def gradients(ctx: Any, d_output: Tensor) -> tuple[Tensor | None, ...]:
    """Return gradients of the arguments of `AnalogFunction`, or collect the pair for an update.

    Args:
        ctx: Of autograd, or something with the same attributes for one of several tiles.
        d_output: Gradient of the output.

    Raises:
        TileError: It is a batch of gradients.
    """
    tile = ctx.tile
    check_one_gradient(d_output)
    x, rows, seen, mask, r = ctx.saved_tensors
    d = to_rows(d_output, tile.out_size, tile.out_trans, "grad_output")
    needs_context, _, needs_x, needs_weight, _, needs_range, needs_bias = ctx.needs_input_grad
    d_bias = d.sum(0, dtype=ctx.bias.dtype) if needs_bias else None
    clipped = mask  # None for most batches, which clip nothing
    if clipped is not None and tile.backward_factor > 0.0 and not tile.has_custom_hooks:
        # Positive factors keep zeros what they are: put in before them, once for all.
        d, clipped = d.masked_fill(clipped.view(torch.bool), 0.0), None
    d_x = d_weight = d_range = None
    if needs_x or needs_range:
        back = _input_gradient(ctx, tile, d, clipped)
        if needs_range:
            d_range = input_range.gradient(rows, back, r, tile.input_processing.parameters(), mask)
        d_x = from_rows(back, ctx.batch, tile.in_trans)
    if ctx.shared_weights is not None:
        if needs_weight:
            d_weight = weight_gradient(
                seen,
                d,
                clipped,
                r,
                tile.get_mapping_scales(),
                tile.backward_factor,
                tile.mapping_lr_scale,
                tile.analog_bias,
            )
    elif needs_context and accumulates_into(ctx.next_functions[0][0]):
        own_x = _owned(seen, x, tile.has_custom_hooks)
        ctx.analog_ctx.store(
            from_rows(own_x, ctx.batch, tile.in_trans), d_output.clone(), ctx.bias_input
        )
    return None, None, d_x, d_weight, None, d_range, d_bias


def _owned(seen: Tensor, x: Tensor, is_foreign: bool) -> Tensor:
    """Return inputs as the array saw them, in memory that their caller does not have."""
    # Rows that are a view of an input begin where it begins.
    shares = is_foreign or seen.data_ptr() == x.data_ptr()
    return seen.clone() if shares else seen


def differentiable_gradients(ctx: Any, d_output: Tensor) -> tuple[Tensor | None, ...]:
    """Return the same gradients, as functions of inputs, weights and the gradient of the output.

    They are exact where the backward pass is; others raise when they are differentiated.

    Args:
        ctx: As for `gradients`.
        d_output: As for `gradients`.
    """
    with torch.no_grad():
        *_, d_x, d_weight, _, d_range, _ = gradients(ctx, d_output)
    bias = ctx.bias if ctx.needs_input_grad[-1] else None
    d_bias = None if bias is None else d_output.sum_to_size(bias.shape).to(bias.dtype)
    tile, weight, used = ctx.tile, ctx.shared_weights, ctx.used
    d_range = once_only(d_range, _RANGE_RULE)
    is_pulsed = weight is None and ctx.needs_input_grad[0]
    if is_pulsed or tile.has_custom_hooks or not tile.backward_is_exact:
        reason = _PULSED if is_pulsed else _INEXACT
        d_x, d_weight = once_only(d_x, reason), once_only(d_weight, reason)
        return None, None, d_x, d_weight, None, d_range, d_bias
    x, _, _, mask, r = ctx.saved_tensors
    if weight is None:
        weight = tile.tile.get_weights() if used is None else used
    wanted = [(x, d_x), (weight, d_weight)]
    present = [(source, value) for source, value in wanted if value is not None]
    if present:
        # Gradients pass from the modified weights straight through to the weights themselves.
        seen = weight if used is None or used is weight else Valued.apply(used, weight)
        y = linear_product(tile, x, seen, r, mask)
        slopes = torch.autograd.grad(y, [source for source, _ in present], d_output, None, True)
        recorded = [
            Valued.apply(value, slope) for (_, value), slope in zip(present, slopes, strict=True)
        ]
        d_x = None if d_x is None else recorded.pop(0)
        d_weight = None if d_weight is None else recorded.pop(0)
    return None, None, d_x, d_weight, None, d_range, d_bias


_RANGE_RULE = (
    "second derivative: the gradient of an input range is a rule of training, not a derivative;"
    " switch pre_post.input_range.learn_input_range off"
)
_PULSED = (
    "second derivative: the weights of a pulsed tile have no gradient that could be differentiated;"
    " freeze the layer, or use an inference configuration"
)
_INEXACT = (
    "second derivative: the backward pass of this tile is not exact, so it is not the derivative of"
    " a function; use backward.is_perfect"
)


def version_of(weight: Tensor) -> int | None:
    """Return the number of changes of a tensor in place, None if torch does not count them.

    Args:
        weight: Tensor.
    """
    return None if weight.is_inference() else weight._version


def check_unchanged(weight: Tensor | None, version: int | None) -> None:
    """Refuse a backward pass with other weights than those of the forward pass.

    Args:
        weight: Weights of the product; None for those of a tile that are no parameter.
        version: Their version in the forward pass.

    Raises:
        RuntimeError: They were changed in place.
    """
    # The weights are not saved: kernels read the parameter, whatever hooks pack saved tensors.
    if weight is not None and version_of(weight) != version:
        raise RuntimeError(
            "one of the variables needed for gradient computation has been modified by an inplace"
            f" operation: the weights {list(weight.shape)} of an analog layer are at version"
            f" {weight._version}; expected version {version} instead. Run the backward pass before"
            " the weights change, or the forward pass again"
        )


def _input_gradient(ctx: Any, tile: DifferentiableTile, d: Tensor, mask: Tensor | None) -> Tensor:
    check_unchanged(ctx.used, ctx.version)
    scaled = tile.pre_backward(d, -1, ctx)
    if mask is not None:
        scaled = scaled.masked_fill(mask.view(torch.bool), 0.0)
    with call_of_pass(ctx, tile) as call:
        back = tile.tile.run_backward(scaled.contiguous(), call, ctx.is_test, ctx.used)
    result: Tensor = tile.post_backward(back, -1, ctx)
    return result


def call_of_pass(ctx: Any, tile: DifferentiableTile) -> AbstractContextManager[int]:
    """Return the number of the call of a backward pass: noise is fresh in every pass of a graph.

    The first one has that of the forward pass, whose draws are others.

    Args:
        ctx: As for `gradients`.
        tile: Tile.
    """
    is_first, ctx.has_run_backward = not ctx.has_run_backward, True
    return nullcontext(ctx.call) if is_first or tile.backward_is_exact else tile.tile.numbered()
