"""Moving, casting and feeding of tiles whose raw tile is a torch module."""

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mho.exceptions import CudaError, InputError, TileModuleError
from mho.optim.context import AnalogContext
from mho.simulator.raw_tiles.rows import check_tensor
from mho.simulator.tiles.module import TileModule
from mho.simulator.tiles.periphery import TileWithPeriphery

TileT = TypeVar("TileT", bound="TorchModuleTile")


class TorchModuleTile(TileWithPeriphery):
    """Tile whose raw tile is a torch module, which moves and casts with it."""

    def _apply(self: TileT, fn: Any, recurse: bool = True) -> TileT:
        """Move or cast everything with the model.

        Raises:
            TileModuleError: The tile cannot be moved or cast so.
        """
        apply_to_tile(self, fn, recurse)
        return self

    def cuda(self: TileT, device: Any = None) -> TileT:
        """Move the tile to a CUDA device; returns it.

        Args:
            device: Device.

        Raises:
            CudaError: There is no CUDA device.
        """
        check_cuda(self)
        return nn.Module.cuda(self, device)

    def cpu(self: TileT) -> TileT:
        """Move the tile to the host; returns it."""
        return nn.Module.cpu(self)

    def _cast_input(self, x: Tensor) -> Tensor:
        return cast_input(self, x, self._get_tile_weights_ref())


def apply_to_tile(tile: TileModule, fn: Any, recurse: bool = True) -> None:
    """Apply a function to all tensors of a tile.

    The context keeps its identity, which optimizers hold, and shares the new weights.

    Args:
        tile: Tile.
        fn: Maps a tensor to a moved or cast one.
        recurse: Include the raw tile.

    Raises:
        TileModuleError: The function fails.
    """
    context, index = tile.analog_ctx, tile._buffers.get("input_range_update_idx")
    order = list(tile._parameters)
    # The context refuses to be read, and is a view of the weights that the function moves anyway.
    del tile._parameters["analog_ctx"]
    try:
        nn.Module._apply(tile, fn, recurse)  # type: ignore[no-untyped-call]
    except Exception as error:
        raise TileModuleError(f"{type(tile).__name__} cannot be moved or cast: {error}") from error
    finally:
        moved = {name: tile._parameters.get(name, context) for name in order}
        tile._parameters.clear()
        tile._parameters.update(moved)
        rebind(context, tile)
    if index is not None:
        # Counts batches, which half precision cannot.
        tile._buffers["input_range_update_idx"] = index.to(tile.device)


def rebind(context: AnalogContext, tile: TileModule) -> None:
    """Make a context share the storage of the weights of its tile.

    Args:
        context: Context.
        tile: Its tile.
    """
    weight = tile._get_tile_weights_ref()
    with torch._C.DisableTorchFunctionSubclass():
        torch.Tensor.data.__set__(context, weight.detach()[:, : tile.in_size])  # type: ignore[attr-defined]
    tile.io_dtype = weight.dtype


def move(tile: TileModule, like: Tensor) -> None:
    """Bring all tensors of a tile to dtype and device of another tensor.

    Args:
        tile: Tile.
        like: Floating-point tensor.
    """
    apply_to_tile(tile, lambda value: value.to(like) if value.is_floating_point() else value)


def check_cuda(tile: TileModule) -> None:
    """Check that there is a CUDA device.

    Args:
        tile: Tile that is to be moved there.

    Raises:
        CudaError: There is none.
    """
    if not torch.cuda.is_available():
        raise CudaError(f"{type(tile).__name__} cannot be moved: torch finds no CUDA device")


def cast_input(tile: TileModule, x: Tensor, weight: Tensor) -> Tensor:
    """Return an input in the dtype of the weights: one that autocast made is converted.

    Args:
        tile: Tile.
        x: Input, shape `[..., features]`.
        weight: Weights.

    Raises:
        InputError: It is no real tensor, or of another dtype or device.
    """
    check_tensor(x, "x_input")
    if x.device != weight.device:
        raise InputError(f"x_input: expected device {weight.device}, got {x.device}")
    if x.dtype is weight.dtype:
        return x
    if x.is_floating_point() and torch.is_autocast_enabled(x.device.type):
        return x.to(weight.dtype)
    raise InputError(
        f"x_input: expected dtype {weight.dtype}, got {x.dtype}; convert it or the model"
    )
