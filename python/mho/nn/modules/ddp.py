"""Preparation of models with analog layers for data-parallel training."""

from typing import Any
from weakref import WeakSet

import torch
from torch import nn

from mho.exceptions import ModuleError
from mho.simulator.parameters.signatures import checked
from mho.simulator.tiles.module import TileModule

_PER_PROCESS = ("analog_ctx", "analog_tile_weights", "analog_tile_seed", "analog_tile_calls")
_IGNORE = "_ddp_params_and_buffers_to_ignore"

# Tiles that have random streams of this process already.
_SEPARATED: "WeakSet[TileModule]" = WeakSet()


@checked
def prepare_for_ddp(module: nn.Module) -> nn.Module:
    """Prepare a model for wrapping in `torch.nn.parallel.DistributedDataParallel`.

    Trained weights and digital parameters are synchronised; what belongs to one process is not: the
    contexts and the positions of the random streams. If a process group is initialised, every rank
    moves to its own random streams, so that noise is independent between ranks. Rank 0 keeps its
    streams, so a checkpoint that it writes resumes with the same streams on all ranks. Torch tiles
    draw from the generator of torch: seed it differently on every rank.

    Analog layers and containers do this by themselves when they are wrapped; any other root, such
    as a `torch.nn.Sequential` with analog layers in it, needs this call.

    Args:
        module: Root that will be wrapped.

    Returns:
        The module.

    Raises:
        ArgumentError: It is no module.
        ModuleError: A tile keeps its weights from torch, so gradients cannot be averaged; nothing
            is changed.
    """
    ignored = prepared_names(module)
    if not hasattr(type(module), _IGNORE):  # analog modules compute the list when they are asked
        present = getattr(module, _IGNORE, [])
        setattr(module, _IGNORE, [*present, *(name for name in ignored if name not in present)])
    return module


def prepared_names(module: nn.Module) -> list[str]:
    """Give the tiles of a model random streams of this process, and return what torch must ignore.

    The weights of the tiles are synchronised through ``shared_weights``, which has the same
    storage. Ranks with the same streams would add the same noise to their shares of a batch.

    Args:
        module: Root.

    Returns:
        Full names of parameters and buffers.

    Raises:
        ModuleError: A tile does not support it; nothing is changed.
    """
    tiles = _named_tiles(module)
    for name, tile in tiles:
        if not tile.supports_ddp:
            raise ModuleError(
                f"tile {name!r}: {type(tile).__name__} updates its weights itself and cannot be"
                " synchronised; use an inference configuration"
            )
    for _, tile in tiles:
        _separate_streams(tile)
    return _names(tiles)


def asked_names(module: nn.Module) -> list[str]:
    """Return what torch must ignore, to whoever asks an analog module for it.

    That is the wrapper for data-parallel training, which needs a process group and gets a prepared
    module. Without a group it is a look at all attributes, as `torch.jit` and `inspect` take one:
    it changes nothing and gets no error.

    Args:
        module: Analog module.

    Returns:
        Full names of parameters and buffers.

    Raises:
        ModuleError: There is a process group, and a tile does not support it.
    """
    return prepared_names(module) if _in_process_group() else _names(_named_tiles(module))


def _named_tiles(module: nn.Module) -> list[tuple[str, Any]]:
    return [
        (name, part)
        for name, part in module.named_modules(remove_duplicate=False)
        if isinstance(part, TileModule)
    ]


def _names(tiles: list[tuple[str, Any]]) -> list[str]:
    return [f"{name}.{entry}" if name else entry for name, _ in tiles for entry in _PER_PROCESS]


def _in_process_group() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _separate_streams(tile: TileModule) -> None:
    if not _in_process_group() or tile in _SEPARATED:
        return
    _SEPARATED.add(tile)
    seed = tile._buffers.get("analog_tile_seed")
    if seed is not None:
        seed.add_(torch.distributed.get_rank())
