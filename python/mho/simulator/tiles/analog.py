"""Tile whose weights are trained by pulses on its devices."""

from dataclasses import dataclass, field
from typing import Any

from mho import pending
from mho.simulator.autograd.function import AnalogFunction
from mho.simulator.delegation import done_by
from mho.simulator.devices.cells.custom import CustomCompound
from mho.simulator.devices.cells.digital_rank_update import DigitalRankUpdateCell
from mho.simulator.devices.cells.unit_cell import UnitCell
from mho.simulator.devices.constant_step import ConstantStepDevice
from mho.simulator.devices.crosspoint import CrosspointDevice
from mho.simulator.devices.rules.residual import advance_warm_start
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.registry import register_config_class, register_tile_class
from mho.simulator.parts.write_verify import WriteVerify
from mho.simulator.parts.zero_shift import zero_shift
from mho.simulator.raw_tiles.base import SimulatorTile
from mho.simulator.raw_tiles.core.python_device import check_python_device
from mho.simulator.raw_tiles.core.tile import AnalogTile as RawTile
from mho.simulator.raw_tiles.custom_compound.tile import CustomCompoundTile
from mho.simulator.tiles.array import TileModuleArray
from mho.simulator.tiles.io_managed import IOManagedRPUConfig
from mho.simulator.tiles.module import TileModule
from mho.simulator.tiles.periphery import TileWithPeriphery
from mho.simulator.tiles.tunable import TunableRPUConfig

__all__ = ["AnalogFunction", "AnalogTile", "TileModule", "TileWithPeriphery"]


@register_tile_class
class AnalogTile(TileWithPeriphery):
    """Analog tile with a device at each crosspoint.

    Inputs and output gradients are collected during backward; an analog optimizer applies them as
    pulses. The device is one of the core, a `CustomPulsedDevice`, or a `CustomCompound`.
    """

    known_backends = RawTile.known_backends

    def _default_config(self) -> RPUConfigBase:
        return SingleRPUConfig()

    def _create_raw_tile(self) -> RawTile | CustomCompoundTile:
        if isinstance(getattr(self.rpu_config, "device", None), CustomCompound):
            return CustomCompoundTile(self)
        return RawTile.create(self, python_devices=True)

    def check_config(self, config: Any) -> None:
        """Refuse a device in Python whose hidden parameters cannot be drawn; see the base class.

        Args:
            config: Configuration.
        """
        check_python_device(config)

    program_weights = done_by("programming", WriteVerify.program_weights)
    drift_weights = done_by("tile", SimulatorTile.drift_weights)
    run_rule = done_by("tile", SimulatorTile.run_rule, then="weights_edited")

    def zero_shift(
        self, n: int | None = None, device: int = 0, delta: float = 0.01, mode: str = "alternate"
    ) -> int:
        """Bring devices to their symmetry points by pulses, and make these points their zero.

        Devices with a reference (`SoftBoundsReferenceDevice`, `PowStepReferenceDevice`,
        `ReferenceUnitCell`) take their weight as reference, and are at zero then; others are left
        at their symmetry points. All or nothing; see Kim et al., arXiv:1907.10228.

        Args:
            n: Pulses for each crosspoint; by default as many as bring a typical device to the share
                `delta` of its distance, `ln(1/delta) / (g kappa)` with the step `g` and the slope
                `kappa` of half the difference of steps down and up.
            device: Device of a cell, by default the fast one of those that transfer; 0 otherwise.
            delta: Share of the distance that may be left.
            mode: `"alternate"`, up and down in turn, or `"random"`, which leaves more noise.

        Returns:
            Pulses for each crosspoint.

        Raises:
            ArgumentError: An argument is impossible; nothing is changed.
            ConfigError: The tile has no pulsed devices, or the device no symmetry point: it takes
                pulses up only, or its steps are the same everywhere and `n` is not given.
        """
        return zero_shift(self, n, device, delta, mode)

    def advance_warm_start(self) -> None:
        """Go on to the next finer device in the warm start of residual learning, or end it.

        Raises:
            ConfigError: The rule of the tile has no warm start.
            TileError: The tile has no rule.
        """
        self.run_rule(advance_warm_start)


@register_config_class
@dataclass
class SingleRPUConfig(IOManagedRPUConfig):
    """Analog tile with one device per crosspoint."""

    tile_class: type = AnalogTile
    """Class of the tile."""

    tile_array_class: type | None = TileModuleArray
    """Class that holds the tiles of a layer that is split."""

    device: CrosspointDevice = field(default_factory=ConstantStepDevice)
    """Device at each crosspoint."""


@register_config_class
@dataclass
class UnitCellRPUConfig(TunableRPUConfig):
    """Analog tile with several devices per crosspoint; `device` must be given."""

    tile_class: type = AnalogTile
    """Class of the tile."""

    tile_array_class: type | None = TileModuleArray
    """Class that holds the tiles of a layer that is split."""

    device: CrosspointDevice = field(default_factory=UnitCell)
    """Cell at each crosspoint."""


@register_config_class
@dataclass
class DigitalRankUpdateRPUConfig(TunableRPUConfig):
    """Analog tile whose update is collected digitally; `device` must be given."""

    tile_class: type = AnalogTile
    """Class of the tile."""

    tile_array_class: type | None = TileModuleArray
    """Class that holds the tiles of a layer that is split."""

    device: CrosspointDevice = field(default_factory=DigitalRankUpdateCell)
    """Cell at each crosspoint."""


pending.explain(__name__)
