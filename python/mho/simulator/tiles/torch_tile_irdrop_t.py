"""The raw torch tile with time-stepped voltage loss, at the path where scripts look for it."""

from mho.exceptions import TorchTileConfigError
from mho.simulator.raw_tiles.torch.product_ir_drop import AnalogMVMIRDropT
from mho.simulator.raw_tiles.torch.tile import TorchSimulatorTile
from mho.simulator.raw_tiles.torch.tile_ir_drop import TorchSimulatorTileIRDropT

__all__ = [
    "AnalogMVMIRDropT",
    "TorchSimulatorTile",
    "TorchSimulatorTileIRDropT",
    "TorchTileConfigError",
]
