"""Inference tile of the core: hardware-aware training, programming and drift of the weights."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mho.exceptions import ConfigError
from mho.inference.compensation.base import BaseDriftCompensation
from mho.inference.compensation.drift import GlobalDriftCompensation
from mho.inference.noise.base import BaseNoiseModel
from mho.inference.noise.pcm import PCMLikeNoiseModel
from mho.simulator.autograd.function import AnalogFunction
from mho.simulator.delegation import done_by
from mho.simulator.devices.crosspoint import CrosspointDevice
from mho.simulator.devices.ideal import IdealDevice
from mho.simulator.parameters.arguments import check_flag
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.enums import PulseType
from mho.simulator.parameters.inference import (
    WeightClipParameter,
    WeightModifierParameter,
    WeightRemapParameter,
)
from mho.simulator.parameters.io import IOParameters
from mho.simulator.parameters.registry import register_config_class, register_tile_class
from mho.simulator.parameters.training import UpdateParameters
from mho.simulator.parts.modified_weights import ModifiedWeights, check_modifier
from mho.simulator.parts.programming import Programming
from mho.simulator.raw_tiles.core.tile import AnalogTile as RawTile
from mho.simulator.raw_tiles.weight_limits import check_remap
from mho.simulator.tiles.array import TileModuleArray
from mho.simulator.tiles.base import SimulatorTileWrapper
from mho.simulator.tiles.io_managed import IOManagedRPUConfig
from mho.simulator.tiles.module import TileModule
from mho.simulator.tiles.periphery import TileWithPeriphery

__all__ = [
    "AnalogFunction",
    "BaseNoiseModel",
    "InferenceRPUConfig",
    "InferenceTile",
    "InferenceTileWithPeriphery",
    "TileModule",
    "TileWithPeriphery",
]


class InferenceTileWithPeriphery(SimulatorTileWrapper):
    """Role of tiles whose weights follow a gradient in training and are programmed for inference.

    In evaluation mode their outputs are multiplied by `alpha`, the factor of the drift
    compensation.
    """

    def program_weights(
        self, from_reference: bool = True, noise_model: BaseNoiseModel | None = None
    ) -> None:
        """Program the weights with the errors of the noise model."""
        raise NotImplementedError

    def drift_weights(self, t_inference: float | str = 0.0) -> None:
        """Set the weights to what is read some time after programming."""
        raise NotImplementedError


@register_tile_class
@InferenceTileWithPeriphery.register
class InferenceTile(TileWithPeriphery):
    """Tile with analog forward products whose weights follow an exact gradient.

    `shared_weights` is a parameter on the very storage of the tile weights, so that any torch
    optimizer trains it.
    """

    known_backends = RawTile.known_backends
    weights_follow_gradient = True

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
        shared_weights: bool = True,
    ) -> None:
        """Build the tile with zero weights.

        Args:
            out_size: Number of outputs.
            in_size: Number of inputs.
            rpu_config: Configuration, copied; `InferenceRPUConfig()` by default.
            bias: Whether there is a bias.
            in_trans: Whether features are on the first axis of inputs instead of the last.
            out_trans: Whether features are on the first axis of outputs.
            shared_weights: Train the weights through a parameter; otherwise by updates of an analog
                optimizer.

        Raises:
            ArgumentError: A size is not a positive integer or `rpu_config` is not a configuration.
            ConfigError: The configuration is invalid or not supported; the message names the field.
        """
        shared_weights = check_flag("shared_weights", shared_weights)
        vars(self)["_share_weights"] = shared_weights  # before torch has prepared the module
        super().__init__(out_size, in_size, rpu_config, bias, in_trans, out_trans)

    def _default_config(self) -> RPUConfigBase:
        return InferenceRPUConfig()

    def check_config(self, config: Any) -> None:
        """Refuse pulses, and what modifiers, clipping and remapping cannot do; see the base class.

        Args:
            config: Configuration.
        """
        check_modifier(config)
        if (remap := getattr(config, "remap", None)) is not None:
            check_remap(remap)
        device, update = getattr(config, "device", None), getattr(config, "update", None)
        if (
            not isinstance(device, IdealDevice)
            and getattr(update, "pulse_type", None) is not PulseType.NONE
        ):
            raise ConfigError(
                "update.pulse_type: weights of an inference tile follow a gradient, not pulses; use"
                " PulseType.NONE"
            )

    def _create_raw_tile(self) -> RawTile:
        raw = RawTile.create(self)
        with torch.no_grad():
            raw.live_weights().zero_()
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
class InferenceRPUConfig(IOManagedRPUConfig):
    """Tile for hardware-aware training and for inference with programmed, drifting weights.

    `backward`, `update` and `device` are no constructor arguments; training is exact unless they
    are assigned.
    """

    tile_class: type = InferenceTile
    """Class of the tile."""

    tile_array_class: type | None = TileModuleArray
    """Class that holds the tiles of a layer that is split."""

    forward: IOParameters = field(default_factory=IOParameters)
    """Non-idealities of the forward product, in training and evaluation."""

    backward: IOParameters = field(
        default_factory=lambda: IOParameters(is_perfect=True), init=False
    )
    """Non-idealities of the backward product."""

    update: UpdateParameters = field(
        default_factory=lambda: UpdateParameters(pulse_type=PulseType.NONE), init=False
    )
    """How the update becomes pulses."""

    noise_model: BaseNoiseModel = field(default_factory=PCMLikeNoiseModel)
    """Programming error and drift of the weights."""

    drift_compensation: BaseDriftCompensation | None = field(
        default_factory=GlobalDriftCompensation
    )
    """Digital correction of drift; None is none."""

    clip: WeightClipParameter = field(default_factory=WeightClipParameter)
    """Clipping of the weights after each update."""

    remap: WeightRemapParameter = field(default_factory=WeightRemapParameter)
    """Rescaling of weights and scales after each update."""

    modifier: WeightModifierParameter = field(default_factory=WeightModifierParameter)
    """Change of the weights during training."""

    device: CrosspointDevice = field(default_factory=IdealDevice, init=False)
    """Device at each crosspoint."""

    def compatible_with(self, tile_class_name: str) -> bool:
        """Return whether the saved state of a tile may be loaded with this configuration.

        Args:
            tile_class_name: Name of the class of the saved tile.
        """
        return tile_class_name == "TorchInferenceTile" or super().compatible_with(tile_class_name)
