"""Inference tile that computes in torch: any device and dtype, gradients by autograd."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from mho.exceptions import AnalogBiasConfigError, ArgumentError, TorchTileConfigError
from mho.simulator.delegation import done_by
from mho.simulator.parameters.arguments import check_flag
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.enums import WeightClipType, WeightRemapType
from mho.simulator.parameters.io import IOParametersIRDropT
from mho.simulator.parameters.registry import register_config_class, register_tile_class
from mho.simulator.parts.input_range import InputRangeForward
from mho.simulator.parts.modified_weights import ModifiedWeights
from mho.simulator.parts.programming import Programming
from mho.simulator.raw_tiles.torch.tile import TorchSimulatorTile
from mho.simulator.raw_tiles.torch.tile_ir_drop import TorchSimulatorTileIRDropT
from mho.simulator.tiles.array import TileModuleArray
from mho.simulator.tiles.base import SimulatorTileWrapper
from mho.simulator.tiles.ineffective import warn_of_ineffective
from mho.simulator.tiles.inference import InferenceRPUConfig, InferenceTileWithPeriphery
from mho.simulator.tiles.module import TileModule
from mho.simulator.tiles.periphery import TileWithPeriphery

__all__ = [
    "AnalogBiasConfigError",
    "ArgumentError",
    "InferenceTileWithPeriphery",
    "InputRangeForward",
    "SimulatorTileWrapper",
    "TileModule",
    "TorchInferenceRPUConfig",
    "TorchInferenceRPUConfigIRDropT",
    "TorchInferenceTile",
    "TorchSimulatorTile",
    "TorchTileConfigError",
    "WeightClipType",
    "WeightRemapType",
]


@register_tile_class
@InferenceTileWithPeriphery.register
class TorchInferenceTile(TileWithPeriphery):
    """Inference tile whose product is ordinary torch code on the parameter `tile.weight`.

    Gradients are those of autograd, noise and converters included, with two exceptions. Scales of
    noise management, input range and mapping are constants. And with mapping scales `c` the
    gradient of the weights is divided by `c^2`, so that a step changes the logical weights `c W` as
    it changes those of an unscaled layer; `weight_scaling_lr_compensation` has no effect.
    """

    supports_indexed = False
    weights_follow_gradient = True

    tile: TorchSimulatorTile

    modified_weights: Tensor | None = None
    alpha: Tensor
    programmed_weights: Tensor | None
    drift_baseline: Tensor | None
    drift_noise_parameters: list[Any] | None
    programmed_conductances: list[Any] | None = None
    drift_readout_tensor: Tensor | None
    compensated_by: Any = None
    programmed_by: Any = None

    def __init__(
        self,
        out_size: int,
        in_size: int,
        rpu_config: RPUConfigBase | None = None,
        bias: bool = False,
        in_trans: bool = False,
        out_trans: bool = False,
    ) -> None:
        """Build the tile with zero weights.

        Args:
            out_size: Number of outputs.
            in_size: Number of inputs.
            rpu_config: Configuration, copied; `TorchInferenceRPUConfig()` by default.
            bias: Whether there is a bias; it must be digital.
            in_trans: Must be false.
            out_trans: Must be false.

        Raises:
            AnalogBiasConfigError: The configuration asks for an analog bias.
            ArgumentError: A size is not a positive integer or `rpu_config` is not a configuration.
            TorchTileConfigError: The configuration or the layout is not supported by torch tiles.
            ConfigError: The configuration is invalid; the message names the field.
        """
        if check_flag("in_trans", in_trans) or check_flag("out_trans", out_trans):
            raise TorchTileConfigError(
                "in_trans, out_trans: torch tiles have their features on the last axis"
            )
        super().__init__(out_size, in_size, rpu_config, bias)

    def _default_config(self) -> RPUConfigBase:
        return TorchInferenceRPUConfig()

    def check_config(self, config: Any) -> None:
        """Refuse what torch tiles cannot simulate; see the base class.

        Args:
            config: Configuration.
        """
        simulator = getattr(config, "simulator_tile_class", None)
        if simulator is None:
            raise TorchTileConfigError(
                f"simulator_tile_class: {type(config).__name__} does not describe a torch tile; use"
                " TorchInferenceRPUConfig"
            )
        simulator.check_rpu_config_support(config)
        ignored = getattr(simulator, "ignored_fields", ())
        warn_of_ineffective(type(self).__name__, config, ignored)

    def _create_raw_tile(self) -> TorchSimulatorTile:
        create = self.rpu_config.simulator_tile_class
        sizes = (self.in_size, self.out_size)
        raw: TorchSimulatorTile = create(*sizes, self.rpu_config, bias=self.analog_bias)
        return raw

    def _create_programming(self) -> Programming:
        return Programming(self)

    program_weights = done_by("programming", Programming.program_weights)
    drift_weights = done_by("programming", Programming.drift_weights)
    drift_readout_size = done_by("programming", Programming.drift_readout_size)
    drift_readout = done_by("programming", Programming.drift_readout)
    get_modified_weights = done_by("modified", ModifiedWeights.get_modified_weights)


@register_config_class
@dataclass
class TorchInferenceRPUConfig(InferenceRPUConfig):
    """Inference tile that computes in torch and is differentiable throughout."""

    tile_class: type = TorchInferenceTile
    """Class of the tile."""

    tile_array_class: type | None = TileModuleArray
    """Class that holds the tiles of a layer that is split."""

    simulator_tile_class: type = TorchSimulatorTile
    """Class that computes the product."""


@register_config_class
@dataclass
class TorchInferenceRPUConfigIRDropT(TorchInferenceRPUConfig):
    """Inference tile that computes in torch with time-dependent voltage loss along the lines."""

    simulator_tile_class: type = TorchSimulatorTileIRDropT
    """Class that computes the product."""

    forward: IOParametersIRDropT = field(default_factory=IOParametersIRDropT)
    """Non-idealities of the forward product, in training and evaluation."""
