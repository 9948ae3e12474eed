"""What all digital parts of a tile have in common, and what they need of their tile."""

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mho.simulator.raw_tiles.base import SimulatorTile
from mho.simulator.state.entries import Entry


class PartOwner(Protocol):
    """What parts need of the tile that they belong to."""

    rpu_config: Any
    out_size: int
    in_size: int
    in_trans: bool
    out_trans: bool
    analog_bias: bool
    digital_bias: bool
    training: bool
    _buffers: dict[str, Tensor | None]
    _parameters: dict[str, nn.Parameter | None]

    @property
    def tile(self) -> SimulatorTile:
        """Raw tile."""

    @property
    def device(self) -> torch.device:
        """Device of the weights."""

    def register_buffer(self, name: str, tensor: Tensor | None) -> None:
        """Add a buffer."""

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """Add a parameter."""

    def _get_tile_weights_ref(self) -> Tensor:
        """Return the live raw weights."""


class Part:
    """Digital part of a tile, which owns some entries of its state and follows its configuration.

    Its tensors are registered on the tile, under flat names. They are looked up in the dictionaries
    of the tile at each use, since a tile on a graphics processor has its dictionary replaced. A
    part has no state of its own, so copies of a tile make new ones.
    """

    def __init__(self, tile: PartOwner) -> None:
        """Remember the tile.

        Args:
            tile: Tile that the part belongs to.
        """
        self._tile = tile

    def _filled(self, size: int, value: float) -> Tensor:
        """Return a float32 vector on the device of the weights, whatever the default device is."""
        return torch.full((size,), value, dtype=torch.float32, device=self._tile.device)

    def register(self) -> None:
        """Register its tensors on a fresh tile, as far as they are always there."""

    def follow_cast(self) -> None:
        """Follow a cast of the tensors of the tile."""

    def check(self, config: Any) -> None:
        """Refuse a configuration that it cannot follow; nothing is changed.

        Args:
            config: Configuration that the tile is to have.

        Raises:
            ConfigError: An option is not supported; the message names the field.
        """

    def follow(self, config: Any) -> None:
        """Add, drop and recompute what a configuration asks for.

        Args:
            config: Configuration that `check` accepts; following it cannot fail.
        """

    def entries(self, config: Any) -> dict[str, Entry]:
        """Return its entries of a saved state; a name that ends in `.*` is a list of any length.

        Args:
            config: Configuration that the state has.
        """
        return {}

    def store(self, name: str, value: Tensor | None) -> None:
        """Take over a checked entry of a state.

        Args:
            name: Name of the entry. A list begins anew with None for its name with `.*`, and its
                elements follow in their order.
            value: Its value, None where the state has none.
        """

    def after_step(self) -> list[tuple[nn.Parameter, Tensor]]:
        """Do what follows every optimizer step.

        Returns:
            Parameters that were multiplied by factors, which the buffers of an optimizer follow.
        """
        return []

    def forget(self) -> None:
        """Drop what belongs to earlier weights."""

    def listed(self) -> dict[str, Tensor]:
        """Return the elements of its lists for a saved state; other entries are found by torch."""
        return {}
