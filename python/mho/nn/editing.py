"""Change of single fields of the configurations of all tiles of a model."""

from typing import Any

from torch import nn

from mho.exceptions import ModuleError
from mho.simulator.parameters.signatures import checked
from mho.simulator.tiles import editing
from mho.simulator.tiles.module import TileModule


@checked
def edit_config(model: nn.Module, field: str, value: Any) -> None:
    """Change one field of the configurations of all tiles of a model, for sensitivity sweeps.

    Acts from the next call on, in all tiles or, on any error, in none. The same as an assignment to
    `tile.rpu_config` of each tile. To change several fields that only go together, assign the
    object that they are in: `edit_config(model, "forward", IOParameters(...))`.

    Args:
        model: Any module with analog layers.
        field: Dotted name of the field, such as `"forward.out_noise"` or
            `"noise_model.drift_scale"`.
        value: New value; every tile gets a copy.

    Raises:
        ArgumentError: `model` is no module or `field` no text.
        ConfigError: A tile has no such field, or cannot do it; the message names both.
        ModuleError: There are no tiles.
        TileModuleError: The field decides how a tile is built, such as its device.
    """
    tiles = {name: tile for name, tile in model.named_modules() if isinstance(tile, TileModule)}
    if not tiles:
        raise ModuleError("model: has no analog tiles")
    editing.edit(tiles, {field: value})
