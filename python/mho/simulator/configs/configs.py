"""Configurations of tiles: which tile, which device, and the parameters of every step."""

from dataclasses import dataclass, field
from typing import Any

from mho.exceptions import ConfigError
from mho.inference.compensation.base import BaseDriftCompensation
from mho.inference.compensation.drift import GlobalDriftCompensation
from mho.inference.noise.base import BaseNoiseModel
from mho.inference.noise.pcm import PCMLikeNoiseModel
from mho.simulator.configs.compounds import DigitalRankUpdateCell, TransferCompound, UnitCell
from mho.simulator.configs.crosspoint import CrosspointDevice
from mho.simulator.configs.devices import (
    ConstantStepDevice,
    FloatingPointDevice,
    IdealDevice,
    PulsedDevice,
)
from mho.simulator.configs.tile_classes import HIDE_DEFAULT, default_tile_class
from mho.simulator.parameters.checking import check
from mho.simulator.parameters.enums import PulseType
from mho.simulator.parameters.helpers import check_data_type, tile_parameters_to_bindings
from mho.simulator.parameters.inference import (
    WeightClipParameter,
    WeightModifierParameter,
    WeightRemapParameter,
)
from mho.simulator.parameters.io import IOParameters, IOParametersIRDropT
from mho.simulator.parameters.mapping import MappableRPU, MappingParameter
from mho.simulator.parameters.pre_post import (
    PrePostProcessingParameter,
    PrePostProcessingParameterQuant,
    PrePostProcessingRPU,
)
from mho.simulator.parameters.quantization import ActivationQuantConfig
from mho.simulator.parameters.registry import register_config_class, tile_class
from mho.simulator.parameters.runtime import RuntimeParameter
from mho.simulator.parameters.training import UpdateParameters

__all__ = [
    "ActivationQuantConfig",
    "BaseDriftCompensation",
    "BaseNoiseModel",
    "ConstantStepDevice",
    "DigitalRankUpdateCell",
    "DigitalRankUpdateRPUConfig",
    "FloatingPointDevice",
    "FloatingPointRPUConfig",
    "GlobalDriftCompensation",
    "IOManagedRPUConfig",
    "IOParameters",
    "IOParametersIRDropT",
    "IdealDevice",
    "InferenceRPUConfig",
    "MappableRPU",
    "MappingParameter",
    "PCMLikeNoiseModel",
    "PrePostProcessingParameter",
    "PrePostProcessingParameterQuant",
    "PrePostProcessingRPU",
    "PulseType",
    "PulsedDevice",
    "QuantizedTorchInferenceRPUConfig",
    "RuntimeParameter",
    "SingleRPUConfig",
    "TorchInferenceRPUConfig",
    "TorchInferenceRPUConfigIRDropT",
    "TransferCompound",
    "UnitCell",
    "UnitCellRPUConfig",
    "UpdateParameters",
    "WeightClipParameter",
    "WeightModifierParameter",
    "WeightRemapParameter",
    "tile_parameters_to_bindings",
]

_TILE_CLASSES = {
    "AnalogTile",
    "FloatingPointTile",
    "InferenceTile",
    "QuantizedTileModuleArray",
    "QuantizedTorchInferenceTile",
    "TileModuleArray",
    "TorchInferenceTile",
    "TorchSimulatorTile",
    "TorchSimulatorTileIRDropT",
}


def __getattr__(name: str) -> type:
    """Return a tile class on first use; scripts import them from here."""
    if name in _TILE_CLASSES:
        return tile_class(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@register_config_class
@dataclass
class FloatingPointRPUConfig(MappableRPU, PrePostProcessingRPU):
    """Exact digital tile, as a reference for the analog ones."""

    tile_class: type = field(
        default_factory=default_tile_class("FloatingPointTile"), metadata=HIDE_DEFAULT
    )
    """Class of the tile."""

    tile_array_class: type | None = field(
        default_factory=default_tile_class("TileModuleArray"), metadata=HIDE_DEFAULT
    )
    """Class that holds the tiles of a layer that is split."""

    device: FloatingPointDevice = field(default_factory=FloatingPointDevice)
    """Decay, diffusion and drift of the weights."""

    def core_wire(self) -> dict[str, Any]:
        """Return what the core needs to know: the device, perfect products and exact updates.

        Raises:
            ConfigError: A value is invalid; the message names the field.
        """
        check(self)
        check_data_type(self.runtime.data_type, "runtime.data_type")
        return {
            "device": self.device.to_wire("device"),
            "forward": IOParameters(is_perfect=True).to_wire("forward"),
            "backward": IOParameters(is_perfect=True).to_wire("backward"),
            "update": UpdateParameters(pulse_type=PulseType.NONE).to_wire("update"),
        }


@dataclass
class IOManagedRPUConfig(MappableRPU, PrePostProcessingRPU):
    """Base of configurations with analog forward and backward products and an update."""

    forward: IOParameters = field(default_factory=IOParameters)
    """Non-idealities of the forward product."""

    backward: IOParameters = field(default_factory=IOParameters)
    """Non-idealities of the backward product."""

    update: UpdateParameters = field(default_factory=UpdateParameters)
    """How the update becomes pulses."""

    def core_wire(self) -> dict[str, Any]:
        """Return what the core needs to know: device, both products and the update.

        Raises:
            ConfigError: A value is invalid; the message names the field.
        """
        check(self)
        check_data_type(self.runtime.data_type, "runtime.data_type")
        device = getattr(self, "device", None)
        if not isinstance(device, CrosspointDevice) or isinstance(device, FloatingPointDevice):
            raise ConfigError(
                f"device: {type(self).__name__} needs a pulsed or ideal device or a unit cell, got"
                f" {type(device).__name__}"
            )
        return {
            "device": device.to_wire("device"),
            "forward": self.forward.to_wire("forward"),
            "backward": self.backward.to_wire("backward"),
            "update": self.update.to_wire("update"),
        }


@register_config_class
@dataclass
class SingleRPUConfig(IOManagedRPUConfig):
    """Analog tile with one device per crosspoint."""

    tile_class: type = field(
        default_factory=default_tile_class("AnalogTile"), metadata=HIDE_DEFAULT
    )
    """Class of the tile."""

    tile_array_class: type | None = field(
        default_factory=default_tile_class("TileModuleArray"), metadata=HIDE_DEFAULT
    )
    """Class that holds the tiles of a layer that is split."""

    device: CrosspointDevice = field(default_factory=ConstantStepDevice)
    """Device at each crosspoint."""


@register_config_class
@dataclass
class UnitCellRPUConfig(IOManagedRPUConfig):
    """Analog tile with several devices per crosspoint; `device` must be given."""

    tile_class: type = field(
        default_factory=default_tile_class("AnalogTile"), metadata=HIDE_DEFAULT
    )
    """Class of the tile."""

    tile_array_class: type | None = field(
        default_factory=default_tile_class("TileModuleArray"), metadata=HIDE_DEFAULT
    )
    """Class that holds the tiles of a layer that is split."""

    device: CrosspointDevice = field(default_factory=UnitCell)
    """Cell at each crosspoint."""


@register_config_class
@dataclass
class DigitalRankUpdateRPUConfig(IOManagedRPUConfig):
    """Analog tile whose update is collected digitally; `device` must be given."""

    tile_class: type = field(
        default_factory=default_tile_class("AnalogTile"), metadata=HIDE_DEFAULT
    )
    """Class of the tile."""

    tile_array_class: type | None = field(
        default_factory=default_tile_class("TileModuleArray"), metadata=HIDE_DEFAULT
    )
    """Class that holds the tiles of a layer that is split."""

    device: CrosspointDevice = field(default_factory=DigitalRankUpdateCell)
    """Cell at each crosspoint."""


@register_config_class
@dataclass
class InferenceRPUConfig(IOManagedRPUConfig):
    """Tile for hardware-aware training and for inference with programmed, drifting weights.

    `backward`, `update` and `device` are no constructor arguments; training is exact unless they
    are assigned.
    """

    tile_class: type = field(
        default_factory=default_tile_class("InferenceTile"), metadata=HIDE_DEFAULT
    )
    """Class of the tile."""

    tile_array_class: type | None = field(
        default_factory=default_tile_class("TileModuleArray"), metadata=HIDE_DEFAULT
    )
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


@register_config_class
@dataclass
class TorchInferenceRPUConfig(InferenceRPUConfig):
    """Inference tile that computes in torch and is differentiable throughout."""

    tile_class: type = field(
        default_factory=default_tile_class("TorchInferenceTile"), metadata=HIDE_DEFAULT
    )
    """Class of the tile."""

    tile_array_class: type | None = field(
        default_factory=default_tile_class("TileModuleArray"), metadata=HIDE_DEFAULT
    )
    """Class that holds the tiles of a layer that is split."""

    simulator_tile_class: type = field(
        default_factory=default_tile_class("TorchSimulatorTile"), metadata=HIDE_DEFAULT
    )
    """Class that computes the product."""


@register_config_class
@dataclass
class TorchInferenceRPUConfigIRDropT(TorchInferenceRPUConfig):
    """Inference tile that computes in torch with time-dependent voltage loss along the lines."""

    simulator_tile_class: type = field(
        default_factory=default_tile_class("TorchSimulatorTileIRDropT"), metadata=HIDE_DEFAULT
    )
    """Class that computes the product."""

    forward: IOParametersIRDropT = field(default_factory=IOParametersIRDropT)
    """Non-idealities of the forward product, in training and evaluation."""


@register_config_class
@dataclass
class QuantizedTorchInferenceRPUConfig(TorchInferenceRPUConfig):
    """Inference tile that computes in torch and quantises the digital values around it."""

    tile_class: type = field(
        default_factory=default_tile_class("QuantizedTorchInferenceTile"), metadata=HIDE_DEFAULT
    )
    """Class of the tile."""

    tile_array_class: type | None = field(
        default_factory=default_tile_class("QuantizedTileModuleArray"), metadata=HIDE_DEFAULT
    )
    """Class that holds the tiles of a layer that is split."""

    act_quant_config: ActivationQuantConfig | None = None
    """Quantisation of the summed outputs of a layer that is split."""

    pre_post: PrePostProcessingParameterQuant = field(
        default_factory=PrePostProcessingParameterQuant
    )
    """Digital processing."""
