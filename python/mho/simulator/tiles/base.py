"""Roles of tiles for `isinstance`, and names that scripts look for here.

A role has no code. Tiles take it on with its `register`, so it is no ancestor of theirs.
"""

from abc import ABC

from mho.simulator.raw_tiles.base import SimulatorTile
from mho.simulator.state.names import AnalogTileStateNames

__all__ = [
    "AnalogTileStateNames",
    "BaseTile",
    "RPUCudaSimulatorTileWrapper",
    "SimulatorTile",
    "SimulatorTileWrapper",
    "TileModuleBase",
]


class TileModuleBase(ABC):  # noqa: B024
    """Modules that stand for one tile or an array of tiles in a layer."""


class BaseTile(ABC):  # noqa: B024
    """Tiles with a digital periphery: `joint_forward`, `backward` and `update`."""


class SimulatorTileWrapper(BaseTile):
    """Tiles with a periphery around a raw tile, which is their attribute `tile`."""


class RPUCudaSimulatorTileWrapper(SimulatorTileWrapper):
    """Tiles whose raw tile has devices that can be inspected and acted upon."""
