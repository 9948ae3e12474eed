"""Tile classes for the tests of configurations, which compute nothing."""

import sys

import pytest

from mho.exceptions import ConfigError
from mho.simulator.parameters import registry

TILE_CLASSES = (
    "AnalogTile",
    "CustomSimulatorTile",
    "CustomTile",
    "FloatingPointTile",
    "InferenceTile",
    "QuantizedTileModuleArray",
    "QuantizedTorchInferenceTile",
    "TileModuleArray",
    "TorchInferenceTile",
    "TorchSimulatorTile",
    "TorchSimulatorTileIRDropT",
)


class StandInTile:
    """Takes the place of a tile class that this build does not have."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        self.args, self.kwargs = args, kwargs


@pytest.fixture(autouse=True)
def _all_tile_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TILE_CLASSES:
        try:
            registry.tile_class(name)
        except ConfigError:
            stand_in = type(name, (StandInTile,), {"__module__": __name__})
            monkeypatch.setitem(registry._TILES, name, stand_in)
            # Pickle finds classes as attributes of their module.
            monkeypatch.setattr(sys.modules[__name__], name, stand_in, raising=False)
