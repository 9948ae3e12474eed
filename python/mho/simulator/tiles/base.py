"""Roles of tiles for `isinstance`, and names that scripts look for here."""

from typing import Any

from torch import Tensor

from mho.simulator.raw_tiles.base import SimulatorTile
from mho.simulator.state.names import AnalogTileStateNames

__all__ = [
    "AnalogTileStateNames",
    "BaseTile",
    "SimulatorTile",
    "SimulatorTileWrapper",
    "TileModuleBase",
]


class TileModuleBase:
    """Marks modules that stand for one tile or an array of tiles in a layer."""


class BaseTile:
    """The three verbs of a tile with its digital periphery."""

    def joint_forward(self, x_input: Tensor, is_test: bool = False, ctx: Any = None) -> Tensor:
        """Return the output of the tile without autograd."""
        raise NotImplementedError

    def backward(self, d_input: Tensor, ctx: Any = None) -> Tensor:
        """Return the product with the transposed weights."""
        raise NotImplementedError

    def update(self, x_input: Tensor, d_input: Tensor) -> None:
        """Update the weights with pairs of inputs and output gradients."""
        raise NotImplementedError


class SimulatorTileWrapper(BaseTile):
    """A tile with periphery around a raw simulator tile, which is its attribute `tile`."""
