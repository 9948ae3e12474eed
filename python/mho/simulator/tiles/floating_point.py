"""Tile that computes exactly."""

from mho.simulator.parameters.registry import register_tile_class
from mho.simulator.tiles import native, native_tile
from mho.simulator.tiles.functions import AnalogFunction
from mho.simulator.tiles.module import TileModule
from mho.simulator.tiles.periphery import TileWithPeriphery
from mho.simulator.tiles.placement import BACKENDS

__all__ = ["AnalogFunction", "FloatingPointTile", "TileModule", "TileWithPeriphery"]


@register_tile_class
class FloatingPointTile(TileWithPeriphery):
    """Tile with exact products and updates, trained through the optimizers of analog tiles."""

    known_backends = BACKENDS

    def _create_simulator_tile(self) -> native.FloatingPointTile:
        return native_tile.create(self, native.FloatingPointTile)
