"""Names of the wrapper of compiled tiles, for ported imports."""

from mho import pending
from mho.exceptions import ArgumentError, CudaError
from mho.optim.context import AnalogContext
from mho.simulator.rpu_base import cuda, tiles
from mho.simulator.tiles.base import RPUCudaSimulatorTileWrapper, SimulatorTileWrapper

__all__ = [
    "AnalogContext",
    "ArgumentError",
    "CudaError",
    "RPUCudaSimulatorTileWrapper",
    "SimulatorTileWrapper",
    "cuda",
    "tiles",
]

pending.explain(__name__)
