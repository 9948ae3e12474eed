"""Inference tile that computes in torch: any device and dtype, gradients by autograd."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mho.exceptions import (
    AnalogBiasConfigError,
    ArgumentError,
    InputError,
    TileError,
    TorchTileConfigError,
)
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.enums import WeightClipType, WeightRemapType
from mho.simulator.parameters.io import IOParametersIRDropT
from mho.simulator.parameters.pre_post import PrePostProcessingParameterQuant
from mho.simulator.parameters.quantization import ActivationQuantConfig
from mho.simulator.parameters.registry import register_config_class, register_tile_class, tile_class
from mho.simulator.parts import input_range
from mho.simulator.raw_tiles.rows import check_features
from mho.simulator.raw_tiles.torch.dac_adc import tracks
from mho.simulator.raw_tiles.torch.tile import TorchSimulatorTile
from mho.simulator.tiles.array import TileModuleArray
from mho.simulator.tiles.base import SimulatorTileWrapper
from mho.simulator.tiles.inference import InferenceRPUConfig
from mho.simulator.tiles.lifecycle import InferenceTileWithPeriphery
from mho.simulator.tiles.module import TileModule
from mho.simulator.tiles.torch_gradients import (
    InputRangeForward,
    OutputClipping,
    ScaledGradient,
)
from mho.simulator.tiles.torch_module import TorchModuleTile, cast_input, move

__all__ = [
    "AnalogBiasConfigError",
    "ArgumentError",
    "InferenceTileWithPeriphery",
    "InputRangeForward",
    "SimulatorTileWrapper",
    "TileModule",
    "TorchInferenceTile",
    "TorchSimulatorTile",
    "TorchTileConfigError",
    "WeightClipType",
    "WeightRemapType",
]


@register_tile_class
class TorchInferenceTile(TorchModuleTile, InferenceTileWithPeriphery):
    """Inference tile whose product is ordinary torch code on the parameter `tile.weight`.

    Gradients are those of autograd, noise and converters included, with two exceptions. Scales of
    noise management, input range and mapping are constants. And with mapping scales `c` the
    gradient of the weights is divided by `c^2`, so that a step changes the logical weights `c W` as
    it changes those of an unscaled layer; `weight_scaling_lr_compensation` has no effect.
    """

    supports_indexed = False
    supports_ddp = True

    tile: TorchSimulatorTile

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
        if in_trans or out_trans:
            raise TorchTileConfigError(
                "in_trans, out_trans: torch tiles have their features on the last axis"
            )
        config = TorchInferenceRPUConfig() if rpu_config is None else rpu_config
        super().__init__(out_size, in_size, config, bias)
        move(self, self.tile.weight)

    def _check_config(self, config: Any) -> None:
        simulator = getattr(config, "simulator_tile_class", None)
        if simulator is None:
            raise TorchTileConfigError(
                f"simulator_tile_class: {type(config).__name__} does not describe a torch tile; use"
                " TorchInferenceRPUConfig"
            )
        simulator.check_rpu_config_support(config)
        super()._check_config(config)

    def _create_simulator_tile(self) -> TorchSimulatorTile:
        create = self.rpu_config.simulator_tile_class
        sizes = (self.in_size, self.out_size)
        raw: TorchSimulatorTile = create(*sizes, self.rpu_config, bias=self.analog_bias)
        return raw

    def _bind(self) -> None:
        super()._bind()
        self.analog_ctx.use_torch_update = True

    def _reconfigure(self) -> None:
        super()._reconfigure()
        self.tile.set_config(self.rpu_config)
        move(self, self.tile.weight)

    def forward(self, x_input: Tensor, tensor_view: tuple[int, ...] | None = None) -> Tensor:
        """Return the output of the tile, differentiable in inputs, weights and digital parameters.

        Args:
            x_input: Inputs, shape `[..., in_size]`, of the dtype of the tile.
            tensor_view: Shape that spreads a vector of all outputs over the output tensor.

        Returns:
            Shape `[..., out_size]`.

        Raises:
            ConfigError: The parameters were changed to something torch tiles cannot simulate.
            InputError: Wrong number of features or dtype.
        """
        output = self._analog(x_input, not self.training, None)
        return self._finish_output(output, tensor_view)

    def joint_forward(self, x_input: Tensor, is_test: bool = False, ctx: Any = None) -> Tensor:
        """Return the output before learned scales and digital bias, without autograd.

        Args:
            x_input: Inputs as for `forward`.
            is_test: Evaluation mode.
            ctx: Passed to the periphery hooks.

        Raises:
            InputError: Wrong number of features or dtype.
        """
        with torch.no_grad():
            return self._analog(x_input, is_test, ctx)

    def _analog(self, x_input: Tensor, is_test: bool, ctx: Any) -> Tensor:
        x = cast_input(self, x_input, self.tile.weight)
        check_features(x, self.in_size, False, "x_input")
        self.tile.set_config(self.rpu_config)
        seen = self.pre_forward(x, -1, is_test, ctx)
        params = self._range_params()
        watch = params is not None and params.manage_output_clipping
        y, clipped = self.tile.product(seen, self._weight(), is_test, watch)
        if clipped is not None and self.input_range is not None and tracks(self.input_range):
            y = OutputClipping.apply(y, self.input_range, clipped, params)
        return self.post_forward(y, -1, is_test, ctx)

    def _weight(self) -> Tensor:
        scales = self.mapping_scales
        if scales is None or not tracks(self.tile.weight):
            return self.tile.weight
        weight: Tensor = ScaledGradient.apply(
            self.tile.weight, scales.square().reciprocal()[:, None]
        )
        return weight

    def pre_forward(
        self, x_input: Tensor, dim: int, is_test: bool = False, ctx: Any = None
    ) -> Tensor:
        """Return inputs as the array gets them.

        Args:
            x_input: Inputs, features on axis `dim`.
            dim: Axis of the features.
            is_test: Evaluation mode; the range follows the data only in training.
            ctx: Not used.
        """
        params, range_, idx = self._range_params(), self.input_range, self.input_range_update_idx
        if params is None or range_ is None or idx is None:
            return x_input
        if not is_test:
            input_range.update_from_data(x_input, range_, idx, params)
        if not tracks(x_input, range_):
            return input_range.enter(x_input, input_range.positive(range_))
        clipped: Tensor = InputRangeForward.apply(x_input, range_, params)
        return clipped / input_range.positive(range_)

    def backward(self, d_input: Tensor, ctx: Any = None) -> Tensor:
        """Return the transposed product with the backward parameters, without autograd.

        Args:
            d_input: Gradients of the outputs, shape `[..., out_size]`.
            ctx: Passed to the periphery hooks.

        Raises:
            InputError: Wrong number of features or dtype.
        """
        with torch.no_grad():
            d = cast_input(self, d_input, self.tile.weight)
            return self.post_backward(self.tile.backward(self.pre_backward(d, -1, ctx)), -1, ctx)

    def update(self, x_input: Tensor, d_input: Tensor) -> None:
        """Refuse: the weights follow their gradient.

        Args:
            x_input: Inputs.
            d_input: Gradients of the outputs.

        Raises:
            TileError: Always.
        """
        raise TileError("update: torch tiles are trained by a torch optimizer on tile.weight")

    def set_mapping_scales(self, mapping_scales: Tensor | float | None) -> None:
        """Set the mapping scales.

        Args:
            mapping_scales: One factor, one per output, or None to remove them.

        Raises:
            ArgumentError: Wrong number of factors, or one is not positive and finite.
        """
        super().set_mapping_scales(mapping_scales)
        if self.mapping_scales is not None:
            self.mapping_scales = self.mapping_scales.to(self.tile.weight)

    def _combined(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        # The general rule goes through float32, which would round weights in double precision.
        super()._combined(weight, bias)
        exact = torch.as_tensor(weight).detach().reshape(self.out_size, self.in_size)
        digital = None if bias is None or not self.digital_bias else torch.as_tensor(bias).detach()
        return exact, None if digital is None else digital.reshape(-1)

    @torch.no_grad()
    def post_update_step(self) -> None:
        """Do what follows every optimizer step: clipping, then remapping."""
        clip, remap = self.rpu_config.clip, self.rpu_config.remap
        clips, remaps = clip.type is not WeightClipType.NONE, remap.type is not WeightRemapType.NONE
        if clips or remaps or self._is_trained():
            self._weights_edited()
        if clips:
            self.tile.clip_weights(clip)
        if remaps:
            scales = self.get_scales()
            scales = self.tile.weight.new_ones(1) if scales is None else scales
            self.set_scales(self.tile.remap_weights(remap, scales.expand(self.out_size).clone()))

    def _is_trained(self) -> bool:
        return self.tile.weight.requires_grad

    def get_forward_parameters(self) -> dict[str, Tensor]:
        """Return copies of the frozen values per line: `out_noise_values`, empty without spread."""
        values = self.tile.out_noise_values
        return {"out_noise_values": torch.empty(0) if values is None else values.detach().clone()}

    @torch.no_grad()
    def set_forward_parameters(
        self, dic: Mapping[str, Tensor] | None = None, **kwargs: Tensor
    ) -> None:
        """Write frozen values per line.

        Args:
            dic: Values by name.
            kwargs: More values.

        Raises:
            ArgumentError: Unknown name, wrong length or a value that is not finite; nothing is
                changed.
        """
        given = {**(dic or {}), **kwargs}
        if unknown := set(given) - {"out_noise_values"}:
            raise ArgumentError(f"{sorted(unknown)[0]}: unknown parameter; known: out_noise_values")
        present = self.tile.out_noise_values
        for value in given.values():
            flat = torch.as_tensor(value).detach().reshape(-1)
            length = 0 if present is None else present.numel()
            if flat.numel() != length or not bool(torch.isfinite(flat).all()):
                raise ArgumentError(f"out_noise_values: expected {length} finite values")
            if present is not None:
                present.copy_(flat)

    def check_state_dict(self, state_dict: Any, prefix: str = "") -> tuple[list[str], list[str]]:
        """Check entries of a state dictionary without loading them.

        Args:
            state_dict: State of a model.
            prefix: Prefix of this tile in it.

        Returns:
            Names of missing and of unexpected entries, without prefix.

        Raises:
            InputError: An entry has the wrong shape or is not finite.
            TileError: The entries do not fit the tile.
        """
        self._check_raw_entries(state_dict, prefix)
        return super().check_state_dict(state_dict, prefix)

    def _check_raw_entries(self, state_dict: Mapping[str, Any], prefix: str) -> None:
        for name, present in self.tile.state_dict(prefix=f"{prefix}tile.").items():
            value = state_dict.get(name)
            if value is None:
                continue
            if not isinstance(value, Tensor) or value.shape != present.shape:
                raise InputError(f"{name}: expected a tensor of shape {tuple(present.shape)}")
            if not bool(torch.isfinite(value).all()):
                raise InputError(f"{name}: values must be finite; found NaN or infinity")

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        # The module of the raw tile loads its entries after this one: a state that does not fit
        # must be refused before anything is changed here.
        self._check_raw_entries(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)


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


def _registered(name: str) -> Callable[[], type]:
    """Return a default factory for a class that is not built yet; its error says so."""
    return lambda: tile_class(name)


@register_config_class
@dataclass
class TorchInferenceRPUConfigIRDropT(TorchInferenceRPUConfig):
    """Inference tile that computes in torch with time-dependent voltage loss along the lines."""

    simulator_tile_class: type = field(default_factory=_registered("TorchSimulatorTileIRDropT"))
    """Class that computes the product."""

    forward: IOParametersIRDropT = field(default_factory=IOParametersIRDropT)
    """Non-idealities of the forward product, in training and evaluation."""


@register_config_class
@dataclass
class QuantizedTorchInferenceRPUConfig(TorchInferenceRPUConfig):
    """Inference tile that computes in torch and quantises the digital values around it."""

    tile_class: type = field(default_factory=_registered("QuantizedTorchInferenceTile"))
    """Class of the tile."""

    tile_array_class: type | None = field(default_factory=_registered("QuantizedTileModuleArray"))
    """Class that holds the tiles of a layer that is split."""

    act_quant_config: ActivationQuantConfig | None = None
    """Quantisation of the summed outputs of a layer that is split."""

    pre_post: PrePostProcessingParameterQuant = field(
        default_factory=PrePostProcessingParameterQuant
    )
    """Digital processing."""
