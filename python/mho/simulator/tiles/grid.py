"""Whether the tiles of a layer can compute their products in one call of the core.

One call is a matter of speed: the bits are those of one tile after another, which
`TileModuleArray.forward` spells out. So every tile must be one that does nothing but the usual:
whatever somebody has hooked into it, replaced or derived keeps the long way, and so does what looks
at single operations of torch.
"""

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules.module import (
    _global_backward_hooks,
    _global_backward_pre_hooks,
    _global_forward_hooks,
    _global_forward_pre_hooks,
)

from mho.simulator.autograd.grid import (
    Grid,
    GridFunction,
    grid_inputs,
    grid_outputs,
    grid_product,
)
from mho.simulator.autograd.recomputation import OPEN_PASSES
from mho.simulator.raw_tiles.core.kernels import HostKernels
from mho.simulator.raw_tiles.core.tile import CoreTile
from mho.simulator.raw_tiles.patches import ImagePatches
from mho.simulator.tiles.cut import Cut
from mho.simulator.tiles.periphery import TileWithPeriphery

_is_transformed = torch._C._are_functorch_transforms_active
_dispatch_modes = torch._C._len_torch_dispatch_stack
_function_modes = torch._C._len_torch_function_stack
_PLAIN = (Tensor, nn.Parameter)

# What a product goes through, as it is before anybody replaces it, in a tile or in the class.
_OF_TILE = {
    name: getattr(TileWithPeriphery, name)
    for name in (
        "__call__", "_call_impl", "_wrapped_call_impl", "forward", "forward_of_rows",
        "traced_forward",
        "joint_forward", "_direct_forward", "_finish_output", "cast_input", "output_factors",
        "bias_input", "pre_forward", "post_forward", "pre_backward", "post_backward",
        "get_mapping_scales",
    )
}  # fmt: skip
_OF_RAW = {
    name: getattr(CoreTile, name)
    for name in ("run_forward", "run_backward", "enter_range", "numbered")
}


class Array(Protocol):
    """What holds the tiles."""

    _cut: Cut
    _modules: dict[str, nn.Module | None]
    _parameters: dict[str, nn.Parameter | None]


def grid_of(array: Array, x: Tensor, patches: ImagePatches | None = None) -> Grid | None:
    """Return the tiles of an array if one call can do what they would do one by one, else None.

    Args:
        array: Array of tiles, or layer that holds its tiles itself.
        x: Inputs, shape `[..., in_size]`, or images `[N, C, *sizes]` of a convolution.
        patches: What inputs are of images.
    """
    cut = array._cut
    if _is_special(x) or not _has_usual_bias(array._parameters, cut.out_size):
        return None
    parts: Any = array._modules["array"]
    tiles = [list(part._modules.values()) for part in parts._modules.values()]
    sizes = list(cut.in_sizes), list(cut.out_sizes)
    return _checked(Grid(tiles, *sizes, True, cut.groups, patches), False)


def grid_of_tile(tile: Any, images: Tensor, patches: ImagePatches) -> Grid | None:
    """Return the same for a single tile that is given images; its bias is that of the layer.

    Args:
        tile: Tile.
        images: Shape `[N, C, *sizes]`.
        patches: What its inputs are of images.
    """
    if _is_special(images) or not _has_usual_bias(tile._parameters, tile.out_size):
        return None
    return _checked(Grid([[tile]], [tile.in_size], [tile.out_size], True, 1, patches), True)


def _is_special(x: Tensor) -> bool:
    """Return whether inputs, or what is going on, ask for the long way."""
    return (
        torch.compiler.is_compiling()
        or bool(OPEN_PASSES)
        or _is_transformed()
        or _is_watched()
        or not _is_usual(x)
    )


def _checked(grid: Grid, has_bias: bool) -> Grid | None:
    """Return a grid in the mode of its tiles if they are usual ones.

    Args:
        grid: Tiles.
        has_bias: Whether their bias, where they have one, is added by the layer.
    """
    tiles = grid.every_tile()
    sizes = [(rows, columns) for columns in grid.in_sizes for rows in grid.out_sizes] * grid.groups
    is_grad, is_training = torch.is_grad_enabled(), tiles[0].training
    if (
        len(sizes) != len(tiles)
        or len(set(map(id, tiles))) != len(tiles)
        or not all(map(_is_usual_class, set(map(type, tiles))))
        or not all(
            tile.training is is_training and (tile.out_size, tile.in_size) == size
            and _is_alone(tile, is_grad, has_bias)
            for tile, size in zip(tiles, sizes, strict=True)
        )
    ):  # fmt: skip
        return None
    if grid.patches is not None and any(tile.input_processing.is_on() for tile in tiles):
        # A range that is trained follows all inputs, and each tile has its own.
        if is_training or len(tiles) > 1:
            return None
    return grid._replace(is_test=not is_training)


def forward_together(grid: Grid, x: Tensor, bias: Tensor | None) -> Tensor:
    """Return the outputs of a grid of tiles.

    Args:
        grid: Tiles.
        x: Inputs, shape `[..., in_size]`, or images.
        bias: Digital bias, `[out_size]`.
    """
    if torch.is_grad_enabled():
        return GridFunction.apply(grid, x, bias)
    return grid_outputs(grid, x, grid_product(grid, grid_inputs(grid, x), bias)[0])


def _is_watched() -> bool:
    """Return whether somebody wants to see each module, or each operation."""
    return bool(
        forward_ad._current_level >= 0
        or _global_forward_hooks
        or _global_forward_pre_hooks
        or _global_backward_hooks
        or _global_backward_pre_hooks
        or torch._C._get_tracing_state()
        or _dispatch_modes()
        or _function_modes()
    )


def _is_usual(value: Tensor) -> bool:
    return type(value) in _PLAIN and value.dtype is torch.float32 and value.is_cpu


def _has_usual_bias(parameters: dict[str, nn.Parameter | None], out_size: int) -> bool:
    """Return whether the bias is a parameter with a value for each output, or None."""
    if "bias" not in parameters:  # computed from others, or sharded
        return False
    bias = parameters["bias"]
    return bias is None or (
        _is_usual(bias) and bias.dim() == 1 and len(bias) == out_size and bias.is_contiguous()
    )


def _is_usual_class(cls: type) -> bool:
    return issubclass(cls, TileWithPeriphery) and all(
        getattr(cls, name) is value for name, value in _OF_TILE.items()
    )


def _is_alone(tile: Any, is_grad: bool, has_bias: bool) -> bool:
    """Return whether a tile is as it was built, on the host and in single precision."""
    own, raw, parameters = tile.__dict__, tile.tile, tile._parameters
    return bool(
        own["_direct"]
        and own["indexed"].table is None
        and own["io_dtype"] is torch.float32
        and isinstance(raw, CoreTile)
        and type(raw.kernels) is HostKernels
        and not tile.analog_bias
        and parameters.get(own["_handle_name"]) is own["_handle"]
        and (has_bias or parameters.get("bias", raw) is None)  # absent is as bad as present
        and not (is_grad and parameters["out_scaling_alpha"] is not None)
        and not (own["_forward_hooks"] or own["_forward_pre_hooks"])
        and not (own["_backward_hooks"] or own["_backward_pre_hooks"])
        and own.get("_compiled_call_impl") is None
        and own.keys().isdisjoint(_OF_TILE)
        and raw.__dict__.keys().isdisjoint(_OF_RAW)
        and all(getattr(type(raw), name) is value for name, value in _OF_RAW.items())
    )
