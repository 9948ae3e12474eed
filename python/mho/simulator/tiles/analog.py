"""Tile whose weights are trained by pulses on its devices."""

from mho.simulator.parameters.registry import register_tile_class
from mho.simulator.tiles import native, native_tile
from mho.simulator.tiles.functions import AnalogFunction
from mho.simulator.tiles.module import TileModule
from mho.simulator.tiles.periphery import TileWithPeriphery

__all__ = ["AnalogFunction", "AnalogTile", "TileModule", "TileWithPeriphery"]


@register_tile_class
class AnalogTile(TileWithPeriphery):
    """Analog tile with a device at each crosspoint.

    Inputs and output gradients are collected during backward; an analog optimizer applies them as
    pulses.
    """

    def _create_simulator_tile(self) -> native.AnalogTile:
        return native_tile.create(self, native.AnalogTile)
