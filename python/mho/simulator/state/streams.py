"""Random streams of a module: a seed, and the number of the next call."""

from torch import Tensor, nn

from mho.simulator.state.names import AnalogTileStateNames as Names

Stream = tuple[Tensor, Tensor]
"""Seed of a random stream and position in it, int64 `[1]` each."""


def streams_of(tile: nn.Module) -> list[Stream]:
    """Return seed and position of the random streams of a tile.

    Tiles of the core have one, those made of several arrays one for each of them, others none. The
    devices of a `CustomCompound` share the position of their tile, and their seeds follow its seed.

    Args:
        tile: Tile.
    """
    found: dict[int, Stream] = {}
    for module in tile.modules():
        seed, calls = (module._buffers.get(name) for name in (Names.SEED, Names.CALLS))
        if seed is not None and calls is not None:
            found.setdefault(id(calls), (seed, calls))
    return list(found.values())
