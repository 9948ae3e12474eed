"""Tile classes as defaults of configurations that import no tile."""

from collections.abc import Callable

from mho.simulator.parameters.registry import tile_class

HIDE_DEFAULT = {"hide_default": True}
"""Metadata of fields that are printed only if they differ from their default."""


def default_tile_class(name: str) -> Callable[[], type]:
    """Return a default factory for fields that hold a tile class.

    Args:
        name: Name of the class; it is looked up when a configuration is created.
    """
    return lambda: tile_class(name)
