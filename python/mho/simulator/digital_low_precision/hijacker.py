"""Base of digital layers that compute with quantised weights and quantise their outputs."""

from typing import Any

from torch import Tensor, nn

from mho.simulator.digital_low_precision.base_quantized_classes import QuantizedModule

activations_list: list[type[nn.Module]] = [
    nn.ReLU,
    nn.ReLU6,
    nn.Hardtanh,
    nn.Sigmoid,
    nn.Tanh,
    nn.GELU,
    nn.PReLU,
]
"""Activation functions that a layer can apply before it quantises its outputs."""


class QuantizationHijacker(QuantizedModule):
    """Comes first among the bases of a layer and calls its computation with quantised weights."""

    def __init__(self, *args: Any, activation: nn.Module | None = None, **kwargs: Any) -> None:
        """Build the layer.

        Args:
            args: Of the layer.
            activation: Function applied to the outputs before they are quantised.
            kwargs: Of the layer, and of `QuantizedModule`.
        """
        super().__init__(*args, **kwargs)
        self.activation_function = activation
        self.weight_quantizer = self._make_weight_quantizer()
        self.activation_quantizer = self._make_activation_quantizer()

    def forward(self, x: Tensor, offsets: Any = None) -> Tensor:
        """Return the output of the layer.

        Args:
            x: Input as for the layer.
            offsets: Passed to `run_forward`.
        """
        weight, bias = self.get_params()
        return self.quantize_activations(self.run_forward(x, weight, bias, offsets))

    def get_params(self) -> tuple[Any, Tensor | None]:
        """Return weights, quantised if that is switched on, and bias."""
        weight, bias = self.get_weight_bias()
        if self._quant_w and weight is not None:
            weight = self.weight_quantizer(weight)
        return weight, bias

    def get_weight_bias(self) -> tuple[Any, Tensor | None]:
        """Return weights and bias in full precision; None where the layer has none."""
        return getattr(self, "weight", None), getattr(self, "bias", None)

    def run_forward(
        self, x: Tensor, weight: Any, bias: Tensor | None, offsets: Any = None
    ) -> Tensor:
        """Return what the layer computes with the given weights.

        Args:
            x: Input as for the layer.
            weight: Weights.
            bias: Bias.
            offsets: Not used by most layers.
        """
        raise NotImplementedError(f"{type(self).__name__} lacks run_forward")

    def quantize_activations(self, activations: Tensor) -> Tensor:
        """Return outputs after the activation function, quantised if that is switched on.

        Args:
            activations: Outputs of the layer.
        """
        if self.activation_function is not None:
            activations = self.activation_function(activations)
        result: Tensor = self.activation_quantizer(activations) if self._quant_a else activations
        return result
