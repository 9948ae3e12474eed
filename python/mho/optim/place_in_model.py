"""Where a module stands in the model that it is part of, for messages."""

import gc

from torch import nn


def name_in_model(module: nn.Module) -> str:
    """Return the dotted name of a module in the largest model that holds it.

    Modules do not know their parents, so this searches all living objects: for messages only.

    Args:
        module: Module.

    Returns:
        Empty if no other module holds it.
    """
    parents: dict[int, tuple[nn.Module, str]] = {}
    for candidate in gc.get_objects():
        # Unlike isinstance, this runs no code of the object.
        if issubclass(type(candidate), nn.Module):
            for name, child in (candidate.__dict__.get("_modules") or {}).items():
                parents[id(child)] = (candidate, name)
    names: list[str] = []
    seen: set[int] = set()
    while id(module) in parents and id(module) not in seen:
        seen.add(id(module))
        module, name = parents[id(module)]
        names.append(name)
    return ".".join(reversed(names))


def layer_of(tile: object) -> str:
    """Return how messages call the layer of a tile: by its name in the model if it has one.

    Args:
        tile: Tile.
    """
    name = name_in_model(tile) if isinstance(tile, nn.Module) else ""
    name = name.removesuffix("analog_module").removesuffix(".")
    return f"analog layer {name!r}" if name else f"{type(tile).__name__} outside of a model"
