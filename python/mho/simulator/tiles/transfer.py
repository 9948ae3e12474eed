"""Tile of a transfer compound whose algorithm is written in Python, as a readable reference."""

from typing import Any

from mho.exceptions import ArgumentError, ConfigError
from mho.simulator.delegation import done_by
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.registry import register_tile_class
from mho.simulator.parts.write_verify import WriteVerify
from mho.simulator.raw_tiles.base import SimulatorTile
from mho.simulator.raw_tiles.transfer.support import check_config, check_layout
from mho.simulator.raw_tiles.transfer.tile import TransferSimulatorTile
from mho.simulator.tiles.analog import UnitCellRPUConfig
from mho.simulator.tiles.module import TileModule
from mho.simulator.tiles.periphery import TileWithPeriphery

__all__ = ["TileModule", "TileWithPeriphery", "TorchTransferTile", "TransferSimulatorTile"]


@register_tile_class
class TorchTransferTile(TileWithPeriphery):
    """Tile that trains by chopped or dynamic transfer, with the algorithm in Python.

    Choose it by `rpu_config.tile_class = TorchTransferTile` in a `UnitCellRPUConfig` whose device
    is a `ChoppedTransferCompound` or a `DynamicTransferCompound`. The rules are those of these
    cells in `AnalogTile`, with two differences: all samples of an update reach the fast device at
    once, at the learning rate of the last one, and a call makes at most one transfer, after that.
    With one sample per call nothing differs but the draws.
    """

    tile: TransferSimulatorTile

    def __init__(
        self,
        out_size: int,
        in_size: int,
        rpu_config: RPUConfigBase,
        bias: bool = False,
        in_trans: bool = False,
        out_trans: bool = False,
    ) -> None:
        """Build the tile.

        Args:
            out_size: Number of outputs.
            in_size: Number of inputs.
            rpu_config: Configuration, copied.
            bias: Whether there is a bias; it must be digital.
            in_trans: Must be false.
            out_trans: Must be false.

        Raises:
            AnalogBiasConfigError: The configuration asks for an analog bias.
            ArgumentError: A size is not a positive integer or `rpu_config` is not a configuration.
            ConfigError: The configuration is invalid or not supported, or another layout is asked
                for; the message names the field.
        """
        super().__init__(out_size, in_size, rpu_config, bias, in_trans, out_trans)

    def _default_config(self) -> RPUConfigBase:
        raise ArgumentError(
            "rpu_config: TorchTransferTile needs a UnitCellRPUConfig whose device is a"
            " ChoppedTransferCompound or DynamicTransferCompound, got None"
        )

    def check_config(self, config: Any) -> None:
        """Refuse what the algorithm in Python does not do; see the base class.

        Args:
            config: Configuration.
        """
        if not isinstance(config, UnitCellRPUConfig):
            raise ConfigError(
                f"tile_class: TorchTransferTile needs a UnitCellRPUConfig, got"
                f" {type(config).__name__}; use the tile_class of that configuration"
            )
        check_config(config)

    def _create_raw_tile(self) -> TransferSimulatorTile:
        check_layout(self.analog_bias, self.in_trans, self.out_trans)
        return TransferSimulatorTile(self.in_size, self.out_size, self.rpu_config)

    program_weights = done_by("programming", WriteVerify.program_weights)
    drift_weights = done_by("tile", SimulatorTile.drift_weights)
