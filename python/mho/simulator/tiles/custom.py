"""Tile around a raw tile that users write in Python, and the configuration to derive from."""

from dataclasses import dataclass, field

from mho.exceptions import AnalogBiasConfigError, ConfigError, TileError
from mho.simulator.autograd.function import AnalogFunction
from mho.simulator.delegation import done_by
from mho.simulator.parameters.arguments import check_flag
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.io import IOParameters
from mho.simulator.parameters.mapping import MappableRPU
from mho.simulator.parameters.pre_post import PrePostProcessingRPU
from mho.simulator.parameters.registry import register_config_class, register_tile_class
from mho.simulator.parts.write_verify import WriteVerify
from mho.simulator.raw_tiles.base import SimulatorTile
from mho.simulator.raw_tiles.custom import CustomSimulatorTile, CustomUpdateParameters
from mho.simulator.raw_tiles.torch.product import AnalogMVM
from mho.simulator.tiles.array import TileModuleArray
from mho.simulator.tiles.base import SimulatorTileWrapper
from mho.simulator.tiles.module import TileModule
from mho.simulator.tiles.periphery import TileWithPeriphery

__all__ = [
    "AnalogBiasConfigError",
    "AnalogFunction",
    "AnalogMVM",
    "CustomRPUConfig",
    "CustomSimulatorTile",
    "CustomTile",
    "CustomUpdateParameters",
    "IOParameters",
    "MappableRPU",
    "PrePostProcessingRPU",
    "SimulatorTile",
    "SimulatorTileWrapper",
    "TileError",
    "TileModule",
    "TileModuleArray",
    "TileWithPeriphery",
]


@register_tile_class
class CustomTile(TileWithPeriphery):
    """Tile around a raw tile written in Python, with the digital periphery of all tiles.

    The weights are trained through `tile.update` by an analog optimizer.
    """

    tile: CustomSimulatorTile

    def __init__(
        self,
        out_size: int,
        in_size: int,
        rpu_config: RPUConfigBase | None = None,
        bias: bool = False,
        in_trans: bool = False,
        out_trans: bool = False,
    ) -> None:
        """Build the tile.

        Args:
            out_size: Number of outputs.
            in_size: Number of inputs.
            rpu_config: Configuration, copied; `CustomRPUConfig()` by default.
            bias: Whether there is a bias; it must be digital.
            in_trans: Must be false.
            out_trans: Must be false.

        Raises:
            AnalogBiasConfigError: The configuration asks for an analog bias.
            ArgumentError: A size is not a positive integer or `rpu_config` is not a configuration.
            ConfigError: The configuration is invalid or not supported; the message names the field.
            TileError: Another layout is asked for.
        """
        if check_flag("in_trans", in_trans) or check_flag("out_trans", out_trans):
            raise TileError(
                "in_trans, out_trans: custom tiles have their features on the last axis"
            )
        super().__init__(out_size, in_size, rpu_config, bias)

    def _default_config(self) -> RPUConfigBase:
        return CustomRPUConfig()

    def _create_raw_tile(self) -> CustomSimulatorTile:
        create = getattr(self.rpu_config, "simulator_tile_class", None)
        if create is None:
            raise ConfigError(
                f"simulator_tile_class: {type(self.rpu_config).__name__} does not describe a custom"
                " tile; derive from CustomRPUConfig"
            )
        sizes = (self.in_size, self.out_size)
        raw: CustomSimulatorTile = create(*sizes, self.rpu_config, bias=self.analog_bias)
        return raw

    program_weights = done_by("programming", WriteVerify.program_weights)
    drift_weights = done_by("tile", SimulatorTile.drift_weights)


@register_config_class
@dataclass
class CustomRPUConfig(MappableRPU, PrePostProcessingRPU):
    """Configuration to derive from for own tiles."""

    tile_class: type = CustomTile
    """Class of the tile."""

    tile_array_class: type | None = TileModuleArray
    """Class that holds the tiles of a layer that is split."""

    simulator_tile_class: type = CustomSimulatorTile
    """Class that computes products and updates."""

    forward: IOParameters = field(default_factory=IOParameters)
    """Non-idealities of the forward product."""

    backward: IOParameters = field(default_factory=IOParameters)
    """Non-idealities of the backward product."""

    update: CustomUpdateParameters = field(default_factory=CustomUpdateParameters)
    """Parameters of the update."""
