"""Another chip: what is fixed of the lines and devices of tiles, drawn anew."""

from torch import Tensor, nn

from mho.evaluation.keys import key
from mho.evaluation.preparation import tiles_of
from mho.evaluation.random_state import seed_torch
from mho.exceptions import TileError
from mho.simulator.tiles.periphery import TileWithPeriphery


def draw_chip(model: nn.Module, seed: int, programming: int) -> None:
    """Draw frozen values of lines and hidden parameters of devices anew, in all tiles.

    They are those of a tile that is built now; a `construction_seed` of the device keeps what it
    decides. Weights stay what they are, as far as the new devices can hold them.

    Args:
        model: Copy of the prepared model.
        seed: Seed of the evaluation.
        programming: Number of the programming.
    """
    for name, tile in tiles_of(model).items():
        if not isinstance(tile, TileWithPeriphery):
            continue
        seed_torch(key(seed, "chip", programming, name))
        bias = bool(tile.use_bias)
        layout = {"in_trans": tile.in_trans, "out_trans": tile.out_trans}
        fresh = type(tile)(tile.out_size, tile.in_size, tile.rpu_config, bias, **layout)
        if lines := _lines(fresh):
            tile.set_forward_parameters(lines)
        hidden = fresh.get_hidden_parameters()
        if hidden:
            weights, biases = tile.get_weights()
            tile.set_hidden_parameters(hidden)
            tile.set_weights(weights, biases)


def _lines(tile: TileWithPeriphery) -> dict[str, Tensor]:
    """Return the frozen values of the lines; tiles with exact products have none."""
    try:
        values: dict[str, Tensor] = tile.get_forward_parameters()
    except TileError:
        return {}
    return {name: value for name, value in values.items() if value.numel() > 0}
