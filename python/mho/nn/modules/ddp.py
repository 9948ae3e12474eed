"""Preparation of analog models for data-parallel training."""

from collections.abc import Iterable

import torch
from torch import nn

from mho.exceptions import ModuleError
from mho.simulator.tiles.module import TileModule

_PER_PROCESS = ("analog_ctx", "analog_tile_weights", "analog_tile_seed", "analog_tile_calls")
_IGNORE = "_ddp_params_and_buffers_to_ignore"


def prepare(module: nn.Module, tiles: Iterable[tuple[str, TileModule]]) -> None:
    """Tell torch what not to synchronise, and give every rank random streams of its own.

    The weights of the tiles are synchronised through ``shared_weights``, which has the same
    storage. Ranks with the same streams would add the same noise to their shares of a batch. Rank 0
    keeps its streams, so a checkpoint that it writes resumes with the same streams on all ranks.

    Args:
        module: Root that will be wrapped.
        tiles: Names and tiles below it.

    Raises:
        ModuleError: A tile does not support it; nothing is changed.
    """
    tiles = list(tiles)
    for name, tile in tiles:
        if not tile.supports_ddp:
            raise ModuleError(
                f"tile {name!r}: {type(tile).__name__} updates its weights itself and cannot be"
                " synchronised; use an inference configuration"
            )
    already_prepared = hasattr(module, _IGNORE)
    ignored = [f"{name}.{entry}" if name else entry for name, _ in tiles for entry in _PER_PROCESS]
    setattr(module, _IGNORE, ignored)
    if not already_prepared:
        _separate_streams([tile for _, tile in tiles])


def _separate_streams(tiles: list[TileModule]) -> None:
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return
    for tile in tiles:
        seed = tile._buffers.get("analog_tile_seed")
        if seed is not None:
            seed.add_(distributed.get_rank())
