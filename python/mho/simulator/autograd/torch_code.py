"""The product of a tile as ordinary torch code, which autograd and graphs see through."""

from typing import Any, Protocol

from torch import Tensor

from mho.simulator.parts.input_range import InputRange, OutputClipping, positive
from mho.simulator.parts.scales import UnscaledGradient
from mho.simulator.raw_tiles.rows import check_features
from mho.simulator.raw_tiles.torch.dac_adc import tracks
from mho.simulator.raw_tiles.torch.tile import TorchSimulatorTile


class TorchCodeTile(Protocol):
    """What the product needs of a tile whose raw tile is differentiable."""

    input_processing: InputRange
    in_size: int

    @property
    def tile(self) -> Any:
        """Raw tile, a `TorchSimulatorTile`."""

    def cast_input(self, x: Tensor) -> Tensor:
        """Return the input in the precision of the tile."""

    def pre_forward(self, x_input: Tensor, dim: int, is_test: bool = False, ctx: Any = None) -> Any:
        """Return inputs as the array gets them."""

    def post_forward(
        self, x_output: Tensor, dim: int, is_test: bool = False, ctx: Any = None
    ) -> Any:
        """Return outputs scaled back."""

    def get_mapping_scales(self) -> Tensor | None:
        """Return the mapping scales."""


def torch_forward(tile: TorchCodeTile, x_input: Tensor, is_test: bool, ctx: Any) -> Tensor:
    """Return the output of a tile before learned scales and digital bias.

    Args:
        tile: Tile.
        x_input: Inputs, shape `[..., in_size]`.
        is_test: Evaluation mode.
        ctx: Passed to the periphery hooks.

    Raises:
        InputError: Wrong number of features, dtype or device.
    """
    x = tile.cast_input(x_input)
    check_features(x, tile.in_size, False, "x_input")
    seen = tile.pre_forward(x, -1, is_test, ctx)
    params, range_ = tile.input_processing.parameters(), tile.input_processing.value()
    watch = params is not None and params.manage_output_clipping
    raw: TorchSimulatorTile = tile.tile
    y, clipped = raw.product(seen, _weight(raw, tile.get_mapping_scales()), is_test, watch)
    if clipped is not None and range_ is not None and tracks(range_):
        y = OutputClipping.apply(y, range_, positive(range_), clipped, params)
    output: Tensor = tile.post_forward(y, -1, is_test, ctx)
    return output


def _weight(raw: TorchSimulatorTile, scales: Tensor | None) -> Tensor:
    # A step of the raw weights is to change the logical ones as it changes those of an unscaled
    # layer, hence a gradient of its own.
    if scales is None or not tracks(raw.weight):
        return raw.weight
    weight: Tensor = UnscaledGradient.apply(raw.weight, scales.reshape(-1, 1))
    return weight
