"""Modules that quantise their weights, their outputs, or both."""

from typing import Any

from torch import Tensor, nn

from mho.simulator.digital_low_precision.quantization_manager import QuantizationManager
from mho.simulator.digital_low_precision.quantizers import QMethods
from mho.simulator.parameters.enums import RangeEstimators
from mho.simulator.parameters.signatures import checked


class FP32Acts(nn.Module):
    """Stands where outputs are not quantised."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the values unchanged.

        Args:
            x: Values of any shape.
        """
        return x

    def reset_ranges(self) -> None:
        """Do nothing: there is no range."""


class QuantizedModule(nn.Module):
    """What all quantised modules have in common: settings, switches, states of the ranges.

    Derived classes have a `weight_quantizer`, an `activation_quantizer`, or both. Everything is in
    full precision until it is switched on.
    """

    @checked
    def __init__(
        self,
        *args: Any,
        method: QMethods = QMethods.asymmetric_uniform,
        act_method: QMethods | None = None,
        n_bits: int = 8,
        n_bits_act: int | None = None,
        per_channel_weights: bool = False,
        per_channel_acts: bool = False,
        percentile: float | None = None,
        weight_range_method: RangeEstimators = RangeEstimators.current_minmax,
        weight_range_options: dict[str, Any] | None = None,
        act_range_method: RangeEstimators = RangeEstimators.running_minmax,
        act_range_options: dict[str, Any] | None = None,
        scale_domain: str = "linear",
        **kwargs: Any,
    ) -> None:
        """Set how weights and outputs are quantised.

        Args:
            args: Of the class beside this one.
            method: Kind of levels of the weights.
            act_method: Kind of levels of the outputs; `method` by default.
            n_bits: Bits of the weights; zero or less is full precision.
            n_bits_act: Bits of the outputs; `n_bits` by default.
            per_channel_weights: One range per output.
            per_channel_acts: One range per index of axis 1 of the outputs.
            percentile: Percentage of weights left out at both ends of their range, for
                `current_minmax`.
            weight_range_method: How the range of the weights is estimated.
            weight_range_options: Arguments of that estimator.
            act_range_method: How the range of the outputs is estimated.
            act_range_options: Arguments of that estimator.
            scale_domain: `"linear"` or `"log"`, see `QuantizerBase`.
            kwargs: Of the class beside this one.
        """
        super().__init__(*args, **kwargs)
        self.method = method
        self.act_method = act_method or method
        self.n_bits = n_bits
        self.n_bits_act = n_bits if n_bits_act is None else n_bits_act
        self.per_channel_weights, self.per_channel_acts = per_channel_weights, per_channel_acts
        self.weight_range_method = weight_range_method
        self.weight_range_options = dict(weight_range_options or {})
        if percentile is not None:
            self.weight_range_options.setdefault("percentile", percentile)
        self.act_range_method, self.act_range_options = act_range_method, act_range_options
        self.scale_domain = scale_domain
        self._quant_w = self._quant_a = False

    def _make_weight_quantizer(self) -> nn.Module:
        if self.n_bits <= 0:
            return FP32Acts()
        return QuantizationManager(
            self.method,
            self.weight_range_method,
            per_channel=self.per_channel_weights,
            axis=0,
            qparams={"n_bits": self.n_bits, "scale_domain": self.scale_domain},
            init_params=self.weight_range_options,
        )

    def _make_activation_quantizer(self) -> nn.Module:
        if self.n_bits_act <= 0:
            return FP32Acts()
        return QuantizationManager(
            self.act_method,
            self.act_range_method,
            per_channel=self.per_channel_acts,
            axis=1,
            qparams={"n_bits": self.n_bits_act, "scale_domain": self.scale_domain},
            init_params=self.act_range_options,
        )

    def quantized_weights(self) -> None:
        """Quantise the weights from now on."""
        self._quant_w = True

    def full_precision_weights(self) -> None:
        """Do not quantise the weights."""
        self._quant_w = False

    def quantized_acts(self) -> None:
        """Quantise the outputs from now on."""
        self._quant_a = True

    def full_precision_acts(self) -> None:
        """Do not quantise the outputs."""
        self._quant_a = False

    def quantized(self) -> None:
        """Quantise weights and outputs."""
        self.quantized_weights()
        self.quantized_acts()

    def full_precision(self) -> None:
        """Quantise nothing."""
        self.full_precision_weights()
        self.full_precision_acts()

    def _managers(self) -> list[QuantizationManager]:
        return [child for child in self.children() if isinstance(child, QuantizationManager)]

    def learn_ranges(self) -> None:
        """Make all ranges trainable; optimizers have to be told of the new parameters."""
        for manager in self._managers():
            manager.learn_ranges()

    def fix_ranges(self) -> None:
        """Keep all ranges."""
        for manager in self._managers():
            manager.fix_ranges()

    def estimate_ranges(self) -> None:
        """Let all ranges follow every batch."""
        for manager in self._managers():
            manager.estimate_ranges()

    def estimate_ranges_train(self) -> None:
        """Let all ranges follow every batch in training only."""
        for manager in self._managers():
            manager.estimate_ranges_train()

    def extra_repr(self) -> str:
        """Return the settings of the class beside it, and what is switched on."""
        own = f"weight_quant={self._quant_w}, act_quant={self._quant_a}"
        other = super().extra_repr()
        return f"{other}, {own}" if other else own


class QuantizedActivation(QuantizedModule):
    """Quantises values that pass through."""

    @checked
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Set how values are quantised.

        Args:
            args: As for the base class.
            kwargs: As for the base class.
        """
        super().__init__(*args, **kwargs)
        self.activation_quantizer = self._make_activation_quantizer()

    def quantize_activations(self, x: Tensor) -> Tensor:
        """Return the nearest levels if that is switched on, else the values.

        Args:
            x: Values of any shape.
        """
        result: Tensor = self.activation_quantizer(x) if self._quant_a else x
        return result

    def forward(self, x: Tensor) -> Tensor:
        """Return the nearest levels if that is switched on, else the values.

        Args:
            x: Values of any shape.
        """
        return self.quantize_activations(x)
