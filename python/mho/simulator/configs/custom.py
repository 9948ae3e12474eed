"""Configuration of tiles that users write in Python."""

from dataclasses import dataclass, field

from mho.simulator.configs.tile_classes import HIDE_DEFAULT, default_tile_class
from mho.simulator.parameters.config_base import ConfigBase
from mho.simulator.parameters.io import IOParameters
from mho.simulator.parameters.mapping import MappableRPU
from mho.simulator.parameters.pre_post import PrePostProcessingRPU
from mho.simulator.parameters.registry import register_config_class


@register_config_class
@dataclass
class CustomUpdateParameters(ConfigBase):
    """Parameters of the update of the example tile."""

    gradient_noise: float = 0.0
    """Standard deviation of the noise on the weight gradient."""


@register_config_class
@dataclass
class CustomRPUConfig(MappableRPU, PrePostProcessingRPU):
    """Configuration to derive from for own tiles."""

    tile_class: type = field(
        default_factory=default_tile_class("CustomTile"), metadata=HIDE_DEFAULT
    )
    """Class of the tile."""

    tile_array_class: type | None = field(
        default_factory=default_tile_class("TileModuleArray"), metadata=HIDE_DEFAULT
    )
    """Class that holds the tiles of a layer that is split."""

    simulator_tile_class: type = field(
        default_factory=default_tile_class("CustomSimulatorTile"), metadata=HIDE_DEFAULT
    )
    """Class that computes products and updates."""

    forward: IOParameters = field(default_factory=IOParameters)
    """Non-idealities of the forward product."""

    backward: IOParameters = field(default_factory=IOParameters)
    """Non-idealities of the backward product."""

    update: CustomUpdateParameters = field(default_factory=CustomUpdateParameters)
    """Parameters of the update."""
