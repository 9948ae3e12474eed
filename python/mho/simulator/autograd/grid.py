"""The product of a grid of tiles in one call of the core, and its autograd function.

Every tile does what it does alone, with numbers of calls, noise and ranges of its own; the core
sees the whole layer at once. The backward pass of a tile is that of `function`.
"""

from contextlib import ExitStack
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from mho import _core
from mho.simulator.autograd.function import (
    call_of_pass,
    check_one_gradient,
    check_unchanged,
    differentiable_gradients,
    gradients,
    refuse_tangents,
    running_backward_pass,
    version_of,
)
from mho.simulator.autograd.recomputation import warn_if_recomputed
from mho.simulator.raw_tiles.core.kernels import GridTile, HostKernels
from mho.simulator.raw_tiles.rows import batch_shape, from_rows, outputs_from_rows, to_rows


class Grid(NamedTuple):
    """Tiles whose products are summed over input parts and stand side by side over output parts."""

    tiles: list[list[Any]]
    """Tiles by input part, and in it by output part."""

    in_sizes: list[int]
    """Sizes of the input parts."""

    out_sizes: list[int]
    """Sizes of the output parts."""

    is_test: bool
    """Evaluation mode."""


class _Seen(NamedTuple):
    """What the forward pass of a tile leaves for its backward pass."""

    seen: Tensor | None
    """Inputs as the array saw them; None for those of the layer."""

    mask: Tensor | None
    """Non-zero where an output sat at the bound of the converter."""

    r: Tensor | None
    """Positive input range."""


def grid_product(
    grid: Grid,
    rows: Tensor,
    bias: Tensor | None,
    weights: list[Tensor | None] | None = None,
) -> tuple[Tensor, list[_Seen], list[int], list[Tensor | None]]:
    """Return outputs, what the tiles saw, the numbers of their calls, and the weights they used.

    Args:
        grid: Tiles.
        rows: Inputs, contiguous float32, shape `[batch, in_size]`.
        bias: Added to the outputs at last, `[out_size]`.
        weights: Weights of each tile, None for its own ones; by default nothing is kept for a
            backward pass, and learned output scales are applied as well.
    """
    parts: list[list[GridTile]] = []
    kept: list[_Seen] = []
    used: list[Tensor | None] = []
    column = 0
    for tiles, size in zip(grid.tiles, grid.in_sizes, strict=True):
        parts.append([])
        part: Tensor | None = None
        for tile in tiles:
            weight = None if weights is None else weights[len(kept)]
            if tile.modified is not None:
                weight = tile.modified.in_use(grid.is_test, weight)
            x, first, seen = rows, column, None
            if tile.input_processing.is_on():
                part = _columns(rows, column, size) if part is None else part
                x, first = seen, _ = tile.pre_forward(part, -1, grid.is_test), 0
            factors = tile.output_factors(grid.is_test)
            mask = None
            if weights is None:
                alpha = tile._parameters["out_scaling_alpha"]
                if alpha is not None:
                    factors = (*(factors or ()), alpha)
            elif tile.handle_output_bound:
                mask = rows.new_empty((rows.shape[0], tile.out_size), dtype=torch.uint8)
            used.append(weight)
            kept.append(_Seen(seen, mask, tile.input_processing.magnitude()))
            parts[-1].append(
                tile.tile.kernels.in_grid(False, x, first, weight, None, mask, factors)
            )
        column += size
    y, calls = _core.forward_grid(parts, rows.shape[0], grid.is_test, bias)
    return y, kept, calls, used


def _columns(rows: Tensor, first: int, size: int) -> Tensor:
    return rows.narrow(1, first, size).contiguous()


class _Product:
    """What the backward passes of one tile need of its forward pass."""

    def __init__(
        self,
        tile: Any,
        context: Any,
        weight: Tensor | None,
        used: Tensor | None,
        call: int,
        is_test: bool,
    ):
        """Remember a call of a tile.

        Args:
            tile: Tile.
            context: Its context.
            weight: Weights that get a gradient, if there are any.
            used: Weights of the product, None for those of the tile.
            call: Number of the call.
            is_test: Evaluation mode.
        """
        self.tile, self.analog_ctx, self.shared_weights = tile, context, weight
        self.used, self.call, self.is_test = used, call, is_test
        self.has_run_backward = False
        self.version = None if used is None else version_of(used)


class _Pass:
    """One backward pass of one tile, with the names of the context of its function.

    Each pass has its own, as several threads may run through the same graph.
    """

    bias = None
    bias_input = None

    def __init__(
        self,
        product: _Product,
        saved: tuple[Tensor | None, ...],
        needs: tuple[bool, ...],
        node: Any,
        batch: tuple[int, ...],
    ):
        """Start a pass.

        Args:
            product: Of the tile.
            saved: Input, rows, inputs as the array saw them, mask and range.
            needs: Which arguments of the function of a tile need a gradient.
            node: Where the gradient of its context arrives.
            batch: Sizes of the batch axes.
        """
        self._product = product
        self.tile, self.analog_ctx, self.is_test = product.tile, product.analog_ctx, product.is_test
        self.shared_weights, self.used = product.shared_weights, product.used
        self.version, self.call = product.version, product.call
        self.saved_tensors, self.needs_input_grad = saved, needs
        self.next_functions, self.batch = (node,), batch

    @property
    def has_run_backward(self) -> bool:
        """Whether a pass has run through the graph before."""
        return self._product.has_run_backward

    @has_run_backward.setter
    def has_run_backward(self, value: bool) -> None:
        self._product.has_run_backward = value


class GridFunction(torch.autograd.Function):
    """Product of a grid of tiles; each tile has the gradients that it has alone."""

    @classmethod
    def apply(cls, grid: Grid, x: Tensor, bias: Tensor | None) -> Tensor:
        """Return the outputs.

        Args:
            grid: Tiles.
            x: Inputs, shape `[..., in_size]`.
            bias: Digital bias, `[out_size]`.
        """
        if running_backward_pass() >= 0:
            warn_if_recomputed()
        trained: list[Tensor | None] = []
        for tile in (tile for tiles in grid.tiles for tile in tiles):
            parameters = tile._parameters
            context = parameters.get("analog_ctx")
            trained.append(tile.__dict__["analog_ctx"] if context is None else context)
            trained.append(parameters.get("shared_weights"))
            trained.append(tile.input_processing.value())
        output: Tensor = super().apply(grid, x, bias, *trained)
        return output

    @staticmethod
    def forward(ctx: Any, grid: Grid, x: Tensor, bias: Tensor | None, *trained: Any) -> Tensor:
        """Run the tiles and keep what backward needs.

        Args:
            ctx: Of autograd.
            grid: As for `apply`.
            x: As for `apply`.
            bias: As for `apply`.
            trained: Context, weights that get a gradient, and input range of each tile.
        """
        rows = to_rows(x, sum(grid.in_sizes), False, "x_input")
        contexts, weights = trained[::3], list(trained[1::3])
        y, kept, calls, used = grid_product(grid, rows, bias, weights)
        tiles = [tile for tiles in grid.tiles for tile in tiles]
        ctx.products = [
            _Product(*each, grid.is_test)
            for each in zip(tiles, contexts, weights, used, calls, strict=True)
        ]
        for context, weight in zip(contexts, weights, strict=True):
            context.use_torch_update = weight is not None
        ctx.grid, ctx.batch, ctx.bias = grid, batch_shape(x, False), bias
        ctx.is_tensor = [value is not None for value in trained]
        ctx.save_for_backward(x, *(value for seen in kept for value in seen))
        return outputs_from_rows(y, ctx.batch, False)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        """Return gradients of input, bias, weights and ranges, or collect pairs for updates.

        Args:
            ctx: Of autograd.
            grad_output: Gradient of the output, same shape.
        """
        check_one_gradient(grad_output)
        x, *kept = ctx.saved_tensors
        _, needs_x, needs_bias, *needs = ctx.needs_input_grad
        d_x = None
        # The gradient of a range needs that of the inputs of its tile alone.
        is_one_call = not torch.is_grad_enabled() and not any(needs[2::3])
        if needs_x and is_one_call and _are_on_host(ctx.products):
            d_x = from_rows(_input_gradient(ctx, kept, grad_output), ctx.batch, False)
        d_parts, d_trained = _one_by_one(ctx, x, kept, grad_output, needs_x and d_x is None)
        if needs_x and d_x is None:
            d_x = torch.cat(d_parts, -1)
        d_bias = grad_output.sum_to_size(ctx.bias.shape) if needs_bias else None
        return None, d_x, d_bias, *d_trained

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


def _are_on_host(products: list[_Product]) -> bool:
    return all(type(product.tile.tile.kernels) is HostKernels for product in products)


def _input_gradient(ctx: Any, kept: list[Any], d_output: Tensor) -> Tensor:
    """Return the gradient of the inputs, `[batch, in_size]`, in one call of the core.

    Args:
        ctx: Of autograd.
        kept: Saved tensors of the tiles.
        d_output: Gradient of the outputs.
    """
    grid: Grid = ctx.grid
    rows = to_rows(d_output, sum(grid.out_sizes), False, "grad_output")
    count, end = len(grid.out_sizes), rows.shape[1]
    parts: list[list[GridTile]] = []
    with ExitStack() as calls:
        # Added up as autograd adds the gradients of tiles: the last one first.
        for last in reversed(range(count)):
            column = end - grid.out_sizes[last]
            parts.append([])
            for at in range(last, len(ctx.products), count):
                product, mask = ctx.products[at], kept[3 * at + 1]
                check_unchanged(product.used, product.version)
                d, first = _as_arrays_see(product.tile, rows, column, mask)
                call = calls.enter_context(call_of_pass(product, product.tile))
                kernels = product.tile.tile.kernels
                parts[-1].append(kernels.in_grid(True, d, first, product.used, call))
            end = column
        return _core.backward_grid(parts, rows.shape[0], grid.is_test)


def _as_arrays_see(tile: Any, rows: Tensor, column: int, mask: Tensor | None) -> tuple[Tensor, int]:
    """Return gradients of outputs as the array of a tile gets them, and their first column."""
    is_clipped = mask is not None and bool(mask.any())
    if not is_clipped and tile.backward_factor == 1.0 and tile.get_mapping_scales() is None:
        return rows, column
    d = tile.pre_backward(_columns(rows, column, tile.out_size), -1)
    if mask is not None and is_clipped:
        d = d.masked_fill(mask.view(torch.bool), 0.0)
    return d, 0


def _one_by_one(
    ctx: Any, x: Tensor, kept: list[Any], d_output: Tensor, needs_x: bool
) -> tuple[list[Tensor], list[Tensor | None]]:
    """Return gradients of the input parts, if they are needed, and of what the tiles train.

    Args:
        ctx: Of autograd.
        x: Inputs.
        kept: Saved tensors of the tiles.
        d_output: Gradient of the outputs.
        needs_x: Whether the inputs get a gradient.
    """
    run = differentiable_gradients if torch.is_grad_enabled() else gradients
    needs, nodes = ctx.needs_input_grad[3:], _nodes(ctx)
    d_parts = [d.contiguous() for d in torch.split(d_output, ctx.grid.out_sizes, -1)]
    d_x: list[Tensor] = []
    d_trained: list[Tensor | None] = []
    products = iter(ctx.products)
    for part in torch.split(x, ctx.grid.in_sizes, -1):
        rows = to_rows(part, part.shape[-1], False, "x_input")
        found: list[Any] = []
        for d in d_parts:
            product, at = next(products), len(d_trained)
            seen, mask, r = kept[at : at + 3]
            if mask is not None and not bool(mask.any()):
                mask = None
            seen = rows if seen is None else seen
            context, weight, range_ = needs[at : at + 3]
            saved = (part, None if r is None else rows, seen, mask, r)
            wanted = (context, False, needs_x, weight, False, range_, False)
            own = _Pass(product, saved, wanted, nodes[at], ctx.batch)
            _, _, d_part, d_weight, _, d_range, _ = run(own, d)
            found.append(d_part)
            d_trained += (None, d_weight, d_range)
        if needs_x:
            d_x.append(_summed(found))
    return d_x, d_trained


def _nodes(ctx: Any) -> list[Any]:
    """Return the nodes at which the gradients of contexts, weights and ranges arrive."""
    # Only tensors have one, in the order of the arguments.
    present = iter(ctx.next_functions[1 if ctx.bias is None else 2 :])
    return [next(present) if is_tensor else None for is_tensor in ctx.is_tensor]


def _summed(found: list[Tensor]) -> Tensor:
    """Return the gradient of an input part, added up as autograd does: the last tile first."""
    total = found[-1]
    for value in reversed(found[:-1]):
        total = total + value
    return total
