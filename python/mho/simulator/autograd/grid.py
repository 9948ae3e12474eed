"""The product of a grid of tiles in one call of the core, and its autograd function.

Every tile does what it does alone, with numbers of calls, noise and ranges of its own; the core
sees the whole layer at once. The backward pass of a tile is that of `function`.

The inputs of the layer may be images, whose patches are its samples: the core reads patches out of
images and adds gradients of patches up in images, and what is kept for later are images.
"""

from contextlib import ExitStack
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from mho import _core
from mho.simulator.autograd.accumulation import accumulates_into
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
from mho.simulator.autograd.weight_gradient import weight_gradient
from mho.simulator.raw_tiles.core.kernels import GridTile, HostKernels
from mho.simulator.raw_tiles.patches import ImagePatches
from mho.simulator.raw_tiles.rows import batch_shape, outputs_from_rows, resolved, to_rows

# Elements of patches that are written and multiplied at once: a megabyte, which stays in the
# second-level cache. All patches of a batch are many times its images, and their memory is new in
# every step.
_PATCH_ELEMENTS = 1 << 18


class Grid(NamedTuple):
    """Tiles whose products are summed over input parts and stand side by side over output parts."""

    tiles: list[list[Any]]
    """Tiles by input part, those of the first group first, and in it by output part."""

    in_sizes: list[int]
    """Sizes of the input parts of a group."""

    out_sizes: list[int]
    """Sizes of the output parts of a group."""

    is_test: bool
    """Evaluation mode."""

    groups: int = 1
    """Number of groups, each of which has inputs and outputs of its own."""

    patches: ImagePatches | None = None
    """What inputs are of images; None if they are rows. An input range belongs to a single tile."""

    @property
    def in_size(self) -> int:
        """Number of inputs."""
        return self.groups * sum(self.in_sizes)

    @property
    def out_size(self) -> int:
        """Number of outputs."""
        return self.groups * sum(self.out_sizes)

    def every_tile(self) -> list[Any]:
        """Return the tiles one after the other."""
        return [tile for part in self.tiles for tile in part]


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
    values: Tensor,
    bias: Tensor | None,
    weights: list[Tensor | None] | None = None,
) -> tuple[Tensor, list[_Seen], list[int], list[Tensor | None]]:
    """Return outputs, what the tiles saw, the numbers of their calls, and the weights they used.

    Args:
        grid: Tiles.
        values: Inputs, contiguous float32, shape `[batch, in_size]`, or images.
        bias: Added to the outputs at last, `[out_size]`.
        weights: Weights of each tile, None for its own ones; by default nothing is kept for a
            backward pass, and learned output scales are applied as well.
    """
    parts: list[list[GridTile]] = []
    kept: list[_Seen] = []
    used: list[Tensor | None] = []
    column, patches = 0, grid.patches
    points = () if patches is None else (patches.positions,)
    for tiles, size in zip(grid.tiles, grid.in_sizes * grid.groups, strict=True):
        parts.append([])
        part: Tensor | None = None
        for tile in tiles:
            weight = None if weights is None else weights[len(kept)]
            if tile.modified is not None:
                weight = tile.modified.in_use(grid.is_test, weight)
            x, first, seen = values, column, None
            if tile.input_processing.is_on():
                if patches is None:
                    part, first = _columns(values, column, size) if part is None else part, 0
                x = seen = tile.pre_forward(values if part is None else part, 1, grid.is_test)
            factors = tile.output_factors(grid.is_test)
            mask = None
            if weights is None:
                alpha = tile._parameters["out_scaling_alpha"]
                if alpha is not None:
                    factors = (*(factors or ()), alpha)
            elif tile.handle_output_bound:
                shape = (values.shape[0], tile.out_size, *points)
                mask = values.new_empty(shape, dtype=torch.uint8)
            used.append(weight)
            kept.append(_Seen(seen, mask, tile.input_processing.magnitude()))
            parts[-1].append(
                tile.tile.kernels.in_grid(False, x, first, weight, None, mask, factors)
            )
        column += size
    samples, core = _samples(values, patches)
    y, calls = _core.forward_grid(parts, samples, grid.is_test, bias, grid.groups, core)
    return y, kept, calls, used


def _samples(values: Tensor, patches: ImagePatches | None) -> tuple[int, _core.Patches | None]:
    """Return the number of samples of rows or images, and their patches for the core."""
    if patches is None:
        return values.shape[0], None
    return values.shape[0] * patches.positions, patches.core


def _columns(values: Tensor, first: int, size: int) -> Tensor:
    return values.narrow(1, first, size).contiguous()


def grid_inputs(grid: Grid, x: Tensor) -> Tensor:
    """Return inputs as the core takes them: contiguous rows, or images.

    Args:
        grid: Tiles.
        x: Inputs, shape `[..., in_size]`, or images.
    """
    if grid.patches is None:
        return to_rows(x, grid.in_size, False, "x_input")
    return resolved(x).contiguous()


def grid_outputs(grid: Grid, x: Tensor, y: Tensor) -> Tensor:
    """Return outputs of the core in the shape that belongs to the inputs.

    Args:
        grid: Tiles.
        x: Inputs.
        y: Outputs, which nobody else has.
    """
    if grid.patches is None:
        return outputs_from_rows(y, batch_shape(x, False), False)
    return y.view(x.shape[0], y.shape[1], *grid.patches.out_sizes).data


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
        for tile in grid.every_tile():
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
        contexts, weights = trained[::3], list(trained[1::3])
        y, kept, calls, used = grid_product(grid, grid_inputs(grid, x), bias, weights)
        ctx.products = [
            _Product(*each, grid.is_test)
            for each in zip(grid.every_tile(), contexts, weights, used, calls, strict=True)
        ]
        for context, weight in zip(contexts, weights, strict=True):
            context.use_torch_update = weight is not None
        ctx.grid, ctx.bias = grid, bias
        patches = grid.patches
        ctx.batch = batch_shape(x, False) if patches is None else (x.shape[0], patches.positions)
        ctx.is_tensor = [value is not None for value in trained]
        ctx.save_for_backward(x, *(value for seen in kept for value in seen))
        return grid_outputs(grid, x, y)

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
        d_output, patches = grad_output, ctx.grid.patches
        if patches is not None:
            d_output = grad_output.flatten(2).transpose(1, 2)
        d_x = None
        # The gradient of a range needs that of the inputs of its tile alone.
        is_one_call = not torch.is_grad_enabled() and not any(needs[2::3])
        if needs_x and is_one_call and _are_on_host(ctx.products):
            d_x = _input_gradient(ctx, kept, grad_output).view(x.shape)
        is_left = needs_x and d_x is None
        d_trained: list[Tensor | None]
        if patches is None:
            d_rows, d_trained = _one_by_one(ctx, x, kept, d_output, is_left)
            d_x = d_rows if is_left else d_x
        elif not is_one_call or is_left:
            d_x_left, d_trained = _by_rows(ctx, x, kept, d_output, is_left)
            d_x = d_x_left if is_left else d_x
        else:
            d_trained = _by_images(ctx, x, kept, grad_output)
        d_bias = _bias_gradient(ctx, d_output) if needs_bias else None
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
    """Return the gradient of the inputs, by rows or by images, in one call of the core.

    Args:
        ctx: Of autograd.
        kept: Saved tensors of the tiles.
        d_output: Gradient of the outputs.
    """
    grid: Grid = ctx.grid
    if grid.patches is None:
        values = to_rows(d_output, grid.out_size, False, "grad_output")
    else:
        values = resolved(d_output).flatten(2).contiguous()
    count, each = len(grid.out_sizes), len(grid.in_sizes) * len(grid.out_sizes)
    parts: list[list[GridTile]] = []
    with ExitStack() as calls:
        for group in range(grid.groups):
            end = (group + 1) * sum(grid.out_sizes)
            # Added up as autograd adds the gradients of tiles: the last one first.
            for last in reversed(range(count)):
                column = end - grid.out_sizes[last]
                parts.append([])
                for at in range(group * each + last, (group + 1) * each, count):
                    product, mask = ctx.products[at], kept[3 * at + 1]
                    check_unchanged(product.used, product.version)
                    d, first = _as_arrays_see(product.tile, values, column, mask)
                    call = calls.enter_context(call_of_pass(product, product.tile))
                    kernels = product.tile.tile.kernels
                    parts[-1].append(kernels.in_grid(True, d, first, product.used, call))
                end = column
        samples, core = _samples(values, grid.patches)
        return _core.backward_grid(parts, samples, grid.is_test, grid.groups, core)


def _as_arrays_see(
    tile: Any, values: Tensor, column: int, mask: Tensor | None
) -> tuple[Tensor, int]:
    """Return gradients of outputs as the array of a tile gets them, and their first column."""
    is_clipped = mask is not None and bool(mask.any())
    if not is_clipped and tile.backward_factor == 1.0 and tile.get_mapping_scales() is None:
        return values, column
    d = tile.pre_backward(_columns(values, column, tile.out_size), 1)
    if mask is not None and is_clipped:
        d = d.masked_fill(mask.view(torch.bool), 0.0)
    return d, 0


def _by_rows(
    ctx: Any, x: Tensor, kept: list[Any], d_output: Tensor, needs_x: bool
) -> tuple[Tensor | None, list[Tensor | None]]:
    """Return gradients of images, if they are needed, and of what the tiles train, by patches.

    Args:
        ctx: Of autograd.
        x: Images.
        kept: Saved tensors of the tiles.
        d_output: Gradient of the outputs, shape `[N, positions, out_size]`.
        needs_x: Whether the images get a gradient.
    """
    patches, is_recorded = ctx.grid.patches, torch.is_grad_enabled()
    images, rows = x, None
    if needs_x:
        images = x if is_recorded else x.detach().requires_grad_()
        with torch.enable_grad():
            rows = patches.differentiable_rows(images)
    for at in range(0, len(kept), 3):
        if kept[at] is not None:
            kept[at] = patches.rows(kept[at]).flatten(0, 1)
        if kept[at + 1] is not None:
            kept[at + 1] = kept[at + 1].transpose(1, 2).flatten(0, 1).contiguous()
    values = patches.rows(x) if rows is None else rows
    d_rows, d_trained = _one_by_one(ctx, values, kept, d_output, needs_x)
    if rows is None:
        return None, d_trained
    return torch.autograd.grad(rows, images, d_rows, create_graph=is_recorded)[0], d_trained


def _by_images(ctx: Any, x: Tensor, kept: list[Any], d_output: Tensor) -> list[Tensor | None]:
    """Return gradients of weights, and collect what the updates of pulsed tiles need.

    Args:
        ctx: Of autograd.
        x: Images.
        kept: Saved tensors of the tiles.
        d_output: Gradient of the outputs, shape `[N, out_size, *sizes]`.

    Returns:
        Gradients of what the tiles train.
    """
    grid: Grid = ctx.grid
    assert grid.patches is not None
    needs, nodes = ctx.needs_input_grad[3:], _nodes(ctx)
    d_trained: list[Tensor | None] = [None] * len(ctx.is_tensor)
    images: Tensor | None = None
    for at, product in enumerate(ctx.products):
        is_pulsed = product.shared_weights is None
        if not needs[3 * at if is_pulsed else 3 * at + 1]:
            continue
        if is_pulsed and not accumulates_into(nodes[3 * at][0]):
            continue
        row, column = _place(grid, at)
        d = d_output.flatten(2).narrow(1, row, product.tile.out_size)
        own = grid.patches.columns(column, product.tile.in_size)
        seen, mask, r = kept[3 * at : 3 * at + 3]
        if not is_pulsed:
            given = x if seen is None else seen
            d_trained[3 * at + 1] = _weight_gradient(product.tile, own, given, d, mask, r)
            continue
        if images is None:
            # In memory that the caller of the layer does not have.
            images = x.clone(memory_format=torch.contiguous_format) if seen is None else seen
        product.analog_ctx.store(images, d.clone(memory_format=torch.contiguous_format), None, own)
    return d_trained


def _weight_gradient(
    tile: Any, patches: ImagePatches, images: Tensor, d: Tensor, mask: Tensor | None, r: Any
) -> Tensor:
    """Return the gradient of the weights of a tile, from a few images at a time.

    Args:
        tile: Tile.
        patches: Its inputs.
        images: Images as its array saw them.
        d: Gradient of its outputs, shape `[N, out_size, positions]`.
        mask: Non-zero where an output was clipped, same shape; or None.
        r: Positive input range, or None.
    """
    if mask is not None and not bool(mask.any()):
        mask = None
    scales = tile.get_mapping_scales()
    count = max(1, _PATCH_ELEMENTS // (patches.positions * patches.width))
    total: Tensor | None = None
    for first in range(0, max(1, images.shape[0]), count):
        rows = patches.rows(images[first : first + count]).flatten(0, 1)
        d_rows = _positions_first(d[first : first + count])
        clipped = None if mask is None else _positions_first(mask[first : first + count])
        part = weight_gradient(
            rows, d_rows, clipped, r, scales, tile.backward_factor, tile.mapping_lr_scale, False
        )
        total = part if total is None else total.add_(part)
    assert total is not None
    return total


def _positions_first(planes: Tensor) -> Tensor:
    """Return `[N, C, positions]` as `[N * positions, C]`; those of one image are not copied."""
    return planes.transpose(0, 1).reshape(planes.shape[1], -1).t()


def _place(grid: Grid, at: int) -> tuple[int, int]:
    """Return the first output and the first input of a tile."""
    part, out = divmod(at, len(grid.out_sizes))
    group, part = divmod(part, len(grid.in_sizes))
    row = group * sum(grid.out_sizes) + sum(grid.out_sizes[:out])
    return row, group * sum(grid.in_sizes) + sum(grid.in_sizes[:part])


def _bias_gradient(ctx: Any, d_output: Tensor) -> Tensor:
    """Return the gradient of the bias, from those of outputs with features last."""
    is_of_tile = ctx.products[0].tile._parameters["bias"] is ctx.bias
    if ctx.grid.patches is not None and is_of_tile and not torch.is_grad_enabled():
        # In the order of a single tile that is given rows; an array adds its bias by itself.
        d_bias: Tensor = d_output.reshape(-1, d_output.shape[-1]).sum(0)
        return d_bias
    return d_output.sum_to_size(ctx.bias.shape)


def _one_by_one(
    ctx: Any, x: Tensor, kept: list[Any], d_output: Tensor, needs_x: bool
) -> tuple[Tensor | None, list[Tensor | None]]:
    """Return gradients of the inputs, if they are needed, and of what the tiles train.

    Args:
        ctx: Of autograd.
        x: Inputs.
        kept: Saved tensors of the tiles.
        d_output: Gradient of the outputs.
        needs_x: Whether the inputs get a gradient.
    """
    grid: Grid = ctx.grid
    run = differentiable_gradients if torch.is_grad_enabled() else gradients
    needs, nodes = ctx.needs_input_grad[3:], _nodes(ctx)
    split = torch.split(d_output, grid.out_sizes * grid.groups, -1)
    d_parts = [d.contiguous() for d in split]
    d_x: list[Tensor] = []
    d_trained: list[Tensor | None] = []
    products = iter(ctx.products)
    for number, part in enumerate(torch.split(x, grid.in_sizes * grid.groups, -1)):
        rows = to_rows(part, part.shape[-1], False, "x_input")
        found: list[Any] = []
        first = number // len(grid.in_sizes) * len(grid.out_sizes)
        for d in d_parts[first : first + len(grid.out_sizes)]:
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
    return (torch.cat(d_x, -1) if needs_x else None), d_trained


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
