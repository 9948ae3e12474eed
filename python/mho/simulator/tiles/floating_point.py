"""Tile that computes exactly."""

from dataclasses import dataclass, field
from typing import Any

from mho.simulator.autograd.function import AnalogFunction
from mho.simulator.delegation import done_by
from mho.simulator.devices.floating_point import FloatingPointDevice
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.checking import check
from mho.simulator.parameters.enums import PulseType
from mho.simulator.parameters.helpers import check_data_type
from mho.simulator.parameters.io import IOParameters
from mho.simulator.parameters.mapping import MappableRPU
from mho.simulator.parameters.pre_post import PrePostProcessingRPU
from mho.simulator.parameters.registry import register_config_class, register_tile_class
from mho.simulator.parameters.training import UpdateParameters
from mho.simulator.parts.write_verify import WriteVerify
from mho.simulator.raw_tiles.base import SimulatorTile
from mho.simulator.raw_tiles.core.tile import FloatingPointTile as RawTile
from mho.simulator.tiles.array import TileModuleArray
from mho.simulator.tiles.module import TileModule
from mho.simulator.tiles.periphery import TileWithPeriphery

__all__ = ["AnalogFunction", "FloatingPointTile", "TileModule", "TileWithPeriphery"]


@register_tile_class
class FloatingPointTile(TileWithPeriphery):
    """Tile with exact products and updates, trained through the optimizers of analog tiles."""

    known_backends = RawTile.known_backends

    def _default_config(self) -> RPUConfigBase:
        return FloatingPointRPUConfig()

    def _create_raw_tile(self) -> RawTile:
        return RawTile.create(self)

    program_weights = done_by("programming", WriteVerify.program_weights)
    drift_weights = done_by("tile", SimulatorTile.drift_weights)


@register_config_class
@dataclass
class FloatingPointRPUConfig(MappableRPU, PrePostProcessingRPU):
    """Exact digital tile, as a reference for the analog ones."""

    tile_class: type = FloatingPointTile
    """Class of the tile."""

    tile_array_class: type | None = TileModuleArray
    """Class that holds the tiles of a layer that is split."""

    device: FloatingPointDevice = field(default_factory=FloatingPointDevice)
    """Decay, diffusion and drift of the weights."""

    def core_wire(self) -> dict[str, Any]:
        """Return what the core needs to know: the device, perfect products and exact updates.

        Raises:
            ConfigError: A value is invalid; the message names the field.
        """
        check(self)
        check_data_type(self.runtime.data_type, "runtime.data_type")
        return {
            "device": self.device.to_wire("device"),
            "forward": IOParameters(is_perfect=True).to_wire("forward"),
            "backward": IOParameters(is_perfect=True).to_wire("backward"),
            "update": UpdateParameters(pulse_type=PulseType.NONE).to_wire("update"),
        }
