"""Tiles: modules that compute products with the weights of a layer as an analog array does.

Importing this package makes all devices, cells and models of `mho.inference` known, so that every
saved configuration made of them can be read.
"""

import mho.inference
import mho.simulator.devices.cells  # noqa: F401
from mho.simulator.raw_tiles.torch.tile import TorchSimulatorTile
from mho.simulator.tiles.analog import AnalogTile
from mho.simulator.tiles.array import TileModuleArray
from mho.simulator.tiles.custom import CustomSimulatorTile, CustomTile
from mho.simulator.tiles.floating_point import FloatingPointTile
from mho.simulator.tiles.inference import InferenceTile, InferenceTileWithPeriphery
from mho.simulator.tiles.inference_torch import TorchInferenceTile
from mho.simulator.tiles.quantized_inference_torch import QuantizedTorchInferenceTile
from mho.simulator.tiles.transfer import TorchTransferTile

__all__ = [
    "AnalogTile",
    "CustomSimulatorTile",
    "CustomTile",
    "FloatingPointTile",
    "InferenceTile",
    "InferenceTileWithPeriphery",
    "QuantizedTorchInferenceTile",
    "TileModuleArray",
    "TorchInferenceTile",
    "TorchSimulatorTile",
    "TorchTransferTile",
]
