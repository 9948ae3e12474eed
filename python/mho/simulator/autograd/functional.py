"""The product of an inference tile in functional calls and under the transforms of `torch.func`.

Weights, seed, position in the random stream and other tensors of the tile may be those that a
functional call has put in their place, stacked ones included. Derivatives are those of the linear
product; values are those of the kernel, with noise.
"""

from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from mho.exceptions import TileError
from mho.simulator.autograd import operators
from mho.simulator.autograd.graph import GraphConstants
from mho.simulator.autograd.surrogate import Valued, linear_product
from mho.simulator.parameters.enums import WeightNoiseType
from mho.simulator.parameters.io import IOParameters
from mho.simulator.parts.input_range import InputRange, positive
from mho.simulator.raw_tiles.rows import batch_shape, from_rows, to_rows
from mho.simulator.state.names import AnalogTileStateNames as Names
from mho.simulator.state.whole_weights import check_present

_RUNNING = "running_abs_max"
_SEED, _CALLS = 4, 5
"""Places among the tensors that `_Kernel` takes after the rows."""


class FunctionalTile(Protocol):
    """What a functional product needs of a tile."""

    tile: Any
    rpu_config: Any
    input_processing: InputRange
    programming: Any
    modified: Any
    training: bool
    in_size: int
    out_size: int
    in_trans: bool
    out_trans: bool
    analog_bias: bool
    backward_factor: float
    mapping_lr_scale: float
    handle_output_bound: bool
    has_custom_hooks: bool
    backward_is_exact: bool
    _graph: GraphConstants
    _handle_name: str
    _handle: nn.Parameter | None
    _buffers: dict[str, Tensor | None]
    _parameters: dict[str, nn.Parameter | None]

    def get_submodule(self, target: str) -> nn.Module:
        """Return a child by name."""

    def get_mapping_scales(self) -> Tensor | None:
        """Return the mapping scales."""

    def cast_input(self, x: Tensor) -> Tensor:
        """Return an input in the precision of the tile."""

    def traced_forward(self, x_input: Tensor) -> Tensor:
        """Return the output for autograd."""


class _Kernel(torch.autograd.Function):
    """Values of the product, without derivatives; one call of the kernel for each stacked tile."""

    @staticmethod
    def forward(
        tile: FunctionalTile,
        rows: Tensor,
        weight: Tensor,
        range_: Tensor | None,
        scales: Tensor | None,
        alpha: Tensor | None,
        seed: Tensor,
        calls: Tensor,
        *lines: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return outputs and the mask of clipped ones, both `[batch, out]`."""
        plan = tile._graph
        return operators._mvm(
            rows, weight.contiguous(), None, range_, scales, alpha, seed.contiguous(),
            operators._next_call(calls), list(lines), [], plan.line_names, plan.back_names,
            plan.config, plan.sizes, [], plan.range_config, not tile.training,
            tile.handle_output_bound, None,
        )  # fmt: skip

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Tell that there are no derivatives."""
        ctx.mark_non_differentiable(*output)

    @staticmethod
    def backward(ctx: Any, *_: Any) -> tuple[None, ...]:
        """Return none."""
        return (None,) * len(ctx.needs_input_grad)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], tile: Any, rows: Tensor, *state: Any) -> Any:
        """Return stacked outputs: of all rows in one call, or of one call after another.

        `randomness` is that of torch: `"error"` refuses to draw, `"different"` draws for each
        sample, `"same"` draws once for all.
        """
        (_, rows_dim, *dims), size = in_dims, info.batch_size
        same = _draws(tile.rpu_config.forward) and info.randomness == "same"
        _check_randomness(tile, info.randomness, dims)
        stacked = rows if rows_dim is None else rows.movedim(rows_dim, 0)
        if rows_dim is not None and all(dim is None for dim in dims) and not same:
            flat = stacked.reshape(-1, stacked.shape[-1]).contiguous()
            results = _Kernel.apply(tile, flat, *state)
            return tuple(_unfolded(value, size) for value in results), (0, 0)
        parts, first = [], state[_CALLS].clone()
        for i in range(size):
            own = [v if d is None else v.select(d, i) for v, d in zip(state, dims, strict=True)]
            if same and i > 0:
                own[_CALLS] = first.clone()  # the number of the first call, which alone is counted
            parts.append(_Kernel.apply(tile, (rows if rows_dim is None else stacked[i]), *own))
        return tuple(torch.stack(values) for values in zip(*parts, strict=True)), (0, 0)


def _check_randomness(tile: FunctionalTile, randomness: str, dims: list[int | None]) -> None:
    if not _draws(tile.rpu_config.forward) or randomness == "different":
        return
    if randomness == "error":
        raise RuntimeError(
            "vmap: an analog layer draws noise, which randomness='error' refuses; use"
            " vmap(..., randomness='different') or randomness='same'"
        )
    if dims[_SEED] is not None or dims[_CALLS] is not None:
        raise TileError(
            "vmap: stacked tiles have seeds of their own and cannot draw the same noise; use"
            " randomness='different'"
        )


def _draws(io: IOParameters) -> bool:
    """Return whether a product draws random numbers."""
    if io.is_perfect:
        return False
    rounds = (io.inp_sto_round and io.inp_res > 0.0) or (io.out_sto_round and io.out_res > 0.0)
    noisy = io.inp_noise > 0.0 or io.out_noise > 0.0
    return rounds or noisy or io.w_noise_type is not WeightNoiseType.NONE


def _unfolded(value: Tensor, size: int) -> Tensor:
    """Return rows of all samples as those of each; a mask that is not asked for has none."""
    if value.shape[0] == 0 or value.numel() == 0:
        return value.new_empty((size, *value.shape))
    return value.reshape(size, -1, value.shape[-1])


def functional_forward(tile: FunctionalTile, x: Tensor) -> Tensor:
    """Return the output before learned scales and digital bias, as a function of all tensors.

    Without a transform that is the ordinary pass, with weights that the tile does not own.

    Args:
        tile: Tile.
        x: Inputs as for the tile.

    Raises:
        TileError: The tile is no function of tensors.
        TileModuleError: Somebody has taken the weights out of the module.
    """
    check_present(cast(nn.Module, tile), tile._handle_name)
    weight = tile._parameters.get(Names.SHARED_WEIGHTS)
    if weight is None:
        raise TileError(
            "torch.func: the weights of a pulsed tile are no argument of a function: they change by"
            " pulses only; use an inference configuration"
        )
    used = tile.modified.in_use(not tile.training, weight)
    if used is not weight and weight is not tile._handle:
        raise TileError(
            "torch.func: modified weights belong to the weights that the tile itself has; call"
            " eval(), or set modifier.type to WeightModifierType.NONE"
        )
    if not torch._C._are_functorch_transforms_active():
        return tile.traced_forward(x)  # with the tensors that are in place of the own ones
    _check(tile)
    x = tile.cast_input(x)
    buffers, range_ = tile._buffers, tile.input_processing.value()
    constants = [None if value is None else value.detach() for value in (used, range_)]
    rows = to_rows(x, tile.in_size, tile.in_trans, "x_input")
    alpha = None if tile.training else tile.programming.output_factor()
    lines = tile.get_submodule(Names.FORWARD_LINES)._buffers.values()
    value, clipped = _Kernel.apply(
        tile, rows.detach(), *constants, tile.get_mapping_scales(), alpha, buffers[Names.SEED],
        buffers[Names.CALLS], *lines,
    )  # fmt: skip
    value = from_rows(value, batch_shape(x, tile.in_trans), tile.out_trans)
    r = None if range_ is None else positive(range_)
    mask = clipped if tile.handle_output_bound else None
    if used is not weight:
        weight = Valued.apply(used, weight)
    output: Tensor = Valued.apply(value, linear_product(tile, x, weight, r, mask))
    return output


def _check(tile: FunctionalTile) -> None:
    """Refuse tiles that are no functions of tensors."""
    if tile.tile.backend != "cpu" or tile.has_custom_hooks or not tile.backward_is_exact:
        raise TileError(
            "torch.func: needs kernels on 'cpu', an exact backward pass (backward.is_perfect) and"
            " the periphery of the package"
        )
    params, range_ = tile.input_processing.parameters(), tile.input_processing.value()
    if params is None or not tile.training:
        return
    if range_ is not None and range_.requires_grad:
        raise TileError(
            "torch.func: the gradient of an input range is a rule of training, not a derivative;"
            " call eval(), or freeze input_range"
        )
    if params.init_from_data > 0:
        raise TileError(
            "torch.func: input ranges cannot follow the data here; call eval(), or set"
            " pre_post.input_range.init_from_data to 0"
        )
