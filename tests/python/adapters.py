"""An adapter for tests on graphics processors: any will do, a software one too."""

import copy
import functools
from typing import Any

import pytest

import mho
from mho.simulator.tiles.module import TileModule

MISSING = "no adapter; install mesa-vulkan-drivers and libvulkan1 for a software one"


@functools.cache
def first_adapter() -> int | None:
    """Return the number of the best adapter, None without any."""
    found = [backend.adapter for backend in mho.backends() if backend.backend == "wgpu"]
    return found[0] if found else None


def needed_adapter() -> int:
    """Return the number of the best adapter; skips the test without any."""
    adapter = first_adapter()
    if adapter is None:
        pytest.skip(MISSING)
    return adapter


def twins(module: Any) -> tuple[Any, Any]:
    """Return a tile or layer on the host and a copy of it on the graphics processor."""
    other = copy.deepcopy(module).to_backend("wgpu", needed_adapter())
    tiles = [tile for tile in other.modules() if isinstance(tile, TileModule)]
    assert tiles and all(tile.backend == "wgpu" for tile in tiles)
    return module, other
