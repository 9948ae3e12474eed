"""What the tiles of the core have in common, as functions used by their classes."""

from typing import TypeVar

import torch

from mho.exceptions import ConfigError
from mho.settings import chosen_backend
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.raw_tiles.core.python_device import SteppedTile, custom_device
from mho.simulator.raw_tiles.core.tile import NativeSimulatorTile
from mho.simulator.tiles.module import TileModule

RawT = TypeVar("RawT", bound=NativeSimulatorTile)


def create(tile: TileModule, cls: type[RawT]) -> RawT:
    """Return a fresh raw tile of the core; draws one seed from torch's generator.

    Args:
        tile: Owner of the state.
        cls: Class of the raw tile.

    Raises:
        ConfigError: The configuration is invalid or not supported; the message names the field.
    """
    config: RPUConfigBase = tile.rpu_config
    if custom_device(config) is not None and not issubclass(cls, SteppedTile):
        raise ConfigError(
            f"device: {type(tile).__name__} has no devices written in Python; use AnalogTile"
        )
    text = config.core_json()
    seed = torch.randint(0, 2**63 - 1, (1,), dtype=torch.int64)
    raw = cls(tile, text, tile.out_size, tile.in_size, tile.analog_bias, seed)
    raw.backend, raw.adapter = chosen_backend(config.runtime.backend)
    return raw
