"""Inference tile in torch whose digital periphery computes with few bits."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from mho.exceptions import TorchTileConfigError
from mho.simulator.delegation import done_by
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.pre_post import PrePostProcessingParameterQuant
from mho.simulator.parameters.quantization import ActivationQuantConfig
from mho.simulator.parameters.registry import register_config_class, register_tile_class
from mho.simulator.parts.quantized_periphery import QuantizedPeriphery, check_bits
from mho.simulator.tiles.array import QuantizedTileModuleArray
from mho.simulator.tiles.inference import InferenceTileWithPeriphery
from mho.simulator.tiles.inference_torch import TorchInferenceRPUConfig, TorchInferenceTile


@register_tile_class
@InferenceTileWithPeriphery.register
class QuantizedTorchInferenceTile(TorchInferenceTile):
    """Torch tile that quantises the digital values around its array.

    Input range, mapping scales and learned output scales become one factor on the outputs, which is
    quantised; the digital bias is quantised, and the result once more. Gradients pass the rounding
    unchanged. `joint_forward` returns outputs before that factor, corrected for drift.
    """

    quantized_periphery: QuantizedPeriphery

    def _default_config(self) -> RPUConfigBase:
        return QuantizedTorchInferenceRPUConfig()

    def check_config(self, config: Any) -> None:
        """Refuse what quantised torch tiles cannot simulate; see the base class.

        Args:
            config: Configuration.
        """
        super().check_config(config)
        if not isinstance(config.pre_post, PrePostProcessingParameterQuant) or not hasattr(
            config, "act_quant_config"
        ):
            raise TorchTileConfigError(
                f"rpu_config: {type(config).__name__} does not describe a quantised tile; use"
                " QuantizedTorchInferenceRPUConfig with PrePostProcessingParameterQuant as pre_post"
            )
        check_bits(config)

    def _create_parts(self) -> None:
        super()._create_parts()
        self.quantized_periphery = QuantizedPeriphery(self)
        self.parts += (self.quantized_periphery,)

    def init_periph_quant_processing(self) -> None:
        """Let the quantisers follow the configuration."""
        self.quantized_periphery.follow(self.rpu_config)

    def post_forward(
        self, x_output: Tensor, dim: int, is_test: bool = False, ctx: Any = None
    ) -> Tensor:
        """Return outputs corrected for drift in tests; the scales follow as one factor.

        Args:
            x_output: Outputs of the array, features on axis `dim`.
            dim: Axis of the features.
            is_test: Evaluation mode.
            ctx: Not used.
        """
        factor = self.programming.output_factor() if is_test else None
        if factor is None:
            return x_output
        if factor.numel() > 1:
            factor = factor.view(self.get_tensor_view(x_output.dim(), dim))
        return x_output * factor

    def _finish_output(self, output: Tensor, tensor_view: tuple[int, ...] | None) -> Tensor:
        dim = -1 if tensor_view is None else _axis_of(tensor_view)
        output = self.apply_quant_periphery_scales(output, dim, not self.training)
        output = self.add_quant_periphery_bias(output, tensor_view, not self.training)
        return self.quantized_periphery.quantize_outputs(output).to(self.io_dtype)

    apply_quant_periphery_scales = done_by(
        "quantized_periphery", QuantizedPeriphery.apply_quant_periphery_scales
    )
    add_quant_periphery_bias = done_by(
        "quantized_periphery", QuantizedPeriphery.add_quant_periphery_bias
    )


def _axis_of(view: tuple[int, ...]) -> int:
    """Return the axis over which a view spreads a vector."""
    for axis, size in enumerate(view):
        if size != 1:
            return axis
    return -1  # of a single output


@register_config_class
@dataclass
class QuantizedTorchInferenceRPUConfig(TorchInferenceRPUConfig):
    """Inference tile that computes in torch and quantises the digital values around it."""

    tile_class: type = QuantizedTorchInferenceTile
    """Class of the tile."""

    tile_array_class: type | None = QuantizedTileModuleArray
    """Class that holds the tiles of a layer that is split."""

    act_quant_config: ActivationQuantConfig | None = None
    """Quantisation of the outputs of every tile, and of their sum where a layer is split."""

    pre_post: PrePostProcessingParameterQuant = field(
        default_factory=PrePostProcessingParameterQuant
    )
    """Digital processing."""
