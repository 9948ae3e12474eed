"""Fully connected layer that is always an array of tiles."""

from typing import TypeVar

from torch import nn

from mho.exceptions import ConfigError
from mho.nn.conversion_table import register_analog
from mho.nn.modules.linear import AnalogLinear
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.mapping import MappableRPU
from mho.simulator.tiles.array import TileModuleArray

MappedT = TypeVar("MappedT", bound="AnalogLinearMapped")


@register_analog(nn.Linear, mapped=True)
class AnalogLinearMapped(AnalogLinear):
    """Linear layer split over tiles that are no larger than the mapping allows."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        rpu_config: MappableRPU | None = None,
        tile_module_class: type | None = TileModuleArray,
    ) -> None:
        """Build the array and initialise its weights.

        Args:
            in_features: Size of an input vector.
            out_features: Size of an output vector.
            bias: Whether to add a trained bias, always digitally.
            rpu_config: Configuration of the tiles, `SingleRPUConfig()` by default.
            tile_module_class: Tile array; None lets the configuration choose by size.

        Raises:
            ArgumentError: ``rpu_config`` is not an instance of a configuration.
            ConfigError: A value of the configuration is invalid; the message names the field.
        """
        super().__init__(in_features, out_features, bias, rpu_config, tile_module_class)

    @classmethod
    def from_digital(
        cls: type[MappedT],
        module: nn.Linear,
        rpu_config: RPUConfigBase,
        tile_module_class: type | None = TileModuleArray,
    ) -> MappedT:
        """Return an analog layer with the weights of a digital one, on the same device.

        Args:
            module: Digital layer; not changed.
            rpu_config: Configuration of the tiles.
            tile_module_class: As in the constructor.

        Raises:
            ConfigError: The configuration has no mapping to tiles.
        """
        if isinstance(rpu_config, RPUConfigBase) and not isinstance(rpu_config, MappableRPU):
            raise ConfigError(
                f"mapping: {type(rpu_config).__name__} has none; layers that are split over tiles"
                " need a configuration that is a MappableRPU"
            )
        return super().from_digital(module, rpu_config, tile_module_class)
