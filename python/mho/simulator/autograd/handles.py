"""Numbers by which compiled graphs name the living tiles of a process."""

import itertools
import weakref
from typing import Protocol

import torch
from torch import Tensor

from mho.optim.context import AnalogContext


class TracedTile(Protocol):
    """What a compiled graph needs of the tile that it hands pairs to."""

    analog_ctx: AnalogContext
    in_trans: bool
    out_trans: bool
    _token: Tensor


_HANDLES = itertools.count(1)
_TILES: "weakref.WeakValueDictionary[int, TracedTile]" = weakref.WeakValueDictionary()


def new_token(tile: TracedTile) -> Tensor:
    """Return the token of a tile, float64 `[1]`, which carries a new handle.

    Gradients of pulsed tiles flow through it in compiled graphs, so that the context never gets
    one. Unlike a number it lets equal layers share a graph.

    Args:
        tile: Tile; it is not kept alive.
    """
    handle = next(_HANDLES)
    _TILES[handle] = tile
    return torch.tensor([handle], dtype=torch.float64, device="cpu", requires_grad=True)


def tile_of_handle(handle: int) -> TracedTile | None:
    """Return the living tile of a handle, None if it is gone.

    Args:
        handle: Number that the token of the tile carries; valid in this process.
    """
    return _TILES.get(handle)
