"""Where a tile is, and in what precision: moving and casting it, and its inputs."""

import warnings
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from mho.exceptions import CudaError, InputError, TileModuleError
from mho.optim.context import AnalogContext, stands_for
from mho.simulator.autograd.function import refuse_tangents
from mho.simulator.raw_tiles.base import SimulatorTile
from mho.simulator.raw_tiles.rows import check_tensor
from mho.simulator.state.ordinary import default_device, ordinary_tensors

_unpack_dual: Any = forward_ad.unpack_dual  # torch gives it no types


class MovableTile(Protocol):
    """What moving needs of a tile."""

    rpu_config: Any
    analog_ctx: AnalogContext
    io_dtype: torch.dtype
    in_size: int
    tile: SimulatorTile
    _buffers: dict[str, Tensor | None]
    _parameters: dict[str, nn.Parameter | None]

    @property
    def device(self) -> torch.device:
        """Device of the weights."""

    def trained_parameter(self) -> nn.Parameter | None:
        """Return the parameter by which torch trains the weights."""

    def _get_tile_weights_ref(self) -> Tensor:
        """Return the live raw weights."""


def check_move(tile: MovableTile, fn: Any) -> Tensor:
    """Return what a move or cast of the model makes of a number.

    Args:
        tile: Tile.
        fn: Maps a tensor to a moved or cast one.

    Raises:
        ConfigError: A number of the configuration is beyond the precision.
        TileModuleError: The tile cannot follow.
    """
    name = type(tile).__name__
    try:
        probe: Tensor = fn(torch.zeros(1, dtype=torch.float32, device="cpu"))
    except Exception as error:
        raise TileModuleError(f"{name} cannot be moved or cast: {error}") from error
    if not probe.is_floating_point():
        raise TileModuleError(f"{name} cannot be cast to {probe.dtype}; its values are real")
    if probe.device.type != "cpu" and not tile.tile.moves:
        raise TileModuleError(
            f"{name} computes on the host and cannot be moved to {probe.device};"
            " keep the analog layers on the CPU (to_backend('wgpu') runs them on a graphics"
            " processor from there) or use TorchInferenceRPUConfig"
        )
    if _is_shared(probe) and tile.tile.backend != "cpu":
        raise TileModuleError(
            f"{name} computes on {tile.tile.backend!r}, whose memory processes cannot share; use"
            " to_backend('cpu') first"
        )
    if probe.is_meta:
        raise TileModuleError(
            f"{name} cannot be moved to meta, where its weights would be lost; convert the digital"
            " model there and load a state"
        )
    if tile.tile.moves:
        tile.tile.check_precision(tile.rpu_config, probe.dtype)
    return probe


def _is_shared(value: Tensor) -> bool:
    return bool(value.is_shared())  # type: ignore[no-untyped-call]


def stay_on_host(tile: MovableTile, fn: Any, recurse: bool = True) -> None:
    """Follow a move or cast of the model: the state stays float32, inputs and outputs are cast.

    Only into shared memory the state is moved, so that processes can train one model.

    Args:
        tile: Tile of the core.
        fn: Maps a tensor to a moved or cast one.
        recurse: Include the children.

    Raises:
        TileModuleError: The tile cannot go to that device, or have that precision.
    """
    probe = check_move(tile, fn)
    io_dtype = tile.io_dtype
    if _is_shared(probe) and probe.dtype is torch.float32:
        move_with_model(tile, fn, recurse)
        tile.io_dtype = io_dtype  # the state was float32 before
    else:
        tile.io_dtype = probe.dtype


@ordinary_tensors()
def move_with_model(tile: Any, fn: Any, recurse: bool = True) -> None:
    """Apply a function to all tensors of a tile.

    The context keeps its identity, which optimizers hold, and shares the new weights.

    Args:
        tile: Tile whose raw tile is a torch module.
        fn: Maps a tensor to a moved or cast one.
        recurse: Include the raw tile.

    Raises:
        TileModuleError: The function fails, or the tile would lose its values.
    """
    check_move(tile, fn)
    context, index = tile.analog_ctx, tile._buffers.get("input_range_update_idx")
    order = list(tile._parameters)
    # The context refuses to be read, and is a view of the weights that the function moves anyway.
    tile._parameters.pop("analog_ctx", None)
    try:
        nn.Module._apply(tile, fn, recurse)  # type: ignore[no-untyped-call]
    except Exception as error:
        raise TileModuleError(f"{type(tile).__name__} cannot be moved or cast: {error}") from error
    finally:
        moved = {name: tile._parameters.get(name, context) for name in order}
        tile._parameters.clear()
        tile._parameters.update(moved)
        _share_weights(context, tile)
    context.move_pairs(fn)
    if index is not None:
        # Counts batches, which half precision cannot.
        tile._buffers["input_range_update_idx"] = index.to(tile.device)


def _share_weights(context: AnalogContext, tile: MovableTile) -> None:
    """Make a context share the storage of the weights of its tile again."""
    weight = tile._get_tile_weights_ref()
    trained = tile.trained_parameter()
    if trained is not None:
        stands_for(trained, tile)  # torch may have made another one
    with torch._C.DisableTorchFunctionSubclass():
        torch.Tensor.data.__set__(context, weight.detach()[:, : tile.in_size])  # type: ignore[attr-defined]
    tile.io_dtype = weight.dtype


def move_like(tile: MovableTile, like: Tensor) -> None:
    """Bring all tensors of a tile to dtype and device of another tensor.

    Args:
        tile: Tile whose raw tile is a torch module.
        like: Floating-point tensor.
    """
    move_with_model(tile, lambda value: value.to(like) if value.is_floating_point() else value)


def follow_defaults(tile: Any) -> None:
    """Move and cast a fresh tile as the layers of torch beside it.

    Tiles are built on the host. Those that move go to another default device of torch, but not to
    meta, where their weights would be lost.

    Args:
        tile: Tile; one whose configuration asks for another precision than float32 keeps it.
    """
    device = default_device()
    if device.type not in ("cpu", "meta") and tile.tile.moves:
        tile.to(device)
    dtype = torch.get_default_dtype()
    if dtype is not torch.float64 or tile.get_dtype() is not torch.float32:
        return
    tile.to(dtype)
    if not tile.tile.moves:
        warnings.warn(
            f"{type(tile).__name__} computes in float32; inputs of the default dtype {dtype} are"
            " cast, and outputs cast back",
            stacklevel=2,
        )


def check_cuda(name: str, moves: bool) -> None:
    """Check that a tile can go to a CUDA device.

    Args:
        name: Name of its class.
        moves: Whether its raw tile is a torch module.

    Raises:
        CudaError: It cannot, or there is no CUDA device.
    """
    if not moves:
        raise CudaError(
            f"{name} cannot be moved to CUDA; use to_backend('wgpu') for graphics processors, or"
            " TorchInferenceRPUConfig"
        )
    if not torch.cuda.is_available():
        raise CudaError(f"{name} cannot be moved: torch finds no CUDA device")


def is_forward_mode() -> bool:
    """Return whether inputs may have tangents, of anything but the transforms of `torch.func`."""
    return forward_ad._current_level >= 0 and not torch._C._are_functorch_transforms_active()


def cast_for_core(x: Tensor, io_dtype: torch.dtype) -> Tensor:
    """Return an input in float32; what autocast or a cast of the model made is converted.

    Args:
        x: Input, shape `[..., features]`.
        io_dtype: Precision of the model.

    Raises:
        InputError: It is no real tensor, or of another dtype.
        TileError: It has a tangent, which the core would lose.
    """
    if is_forward_mode() and isinstance(x, Tensor):
        if _unpack_dual(x).tangent is not None:
            refuse_tangents()
    if isinstance(x, Tensor) and x.dtype is torch.float32:
        return x
    check_tensor(x, "x_input")
    if x.dtype is io_dtype or (torch.is_autocast_enabled(x.device.type) and x.is_floating_point()):
        return x.to(torch.float32)
    raise InputError(f"x_input: expected dtype {io_dtype}, got {x.dtype}; convert it or the model")


def cast_like_weight(x: Tensor, weight: Tensor) -> Tensor:
    """Return an input in the dtype of the weights: one that autocast made is converted.

    Args:
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
