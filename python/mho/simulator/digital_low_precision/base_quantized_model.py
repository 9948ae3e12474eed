"""Models with quantised modules inside: one call reaches all of them."""

from torch import nn

from mho.simulator.digital_low_precision.base_quantized_classes import QuantizedModule
from mho.simulator.digital_low_precision.quantization_manager import QuantizationManager


class QuantizedModel(nn.Module):
    """Module whose quantised parts are switched together."""

    def _quantized_modules(self) -> list[QuantizedModule]:
        return [module for module in self.modules() if isinstance(module, QuantizedModule)]

    def _managers(self, name: str) -> list[QuantizationManager]:
        found = (getattr(module, name, None) for module in self._quantized_modules())
        return [manager for manager in found if isinstance(manager, QuantizationManager)]

    def quantized_weights(self) -> None:
        """Quantise all weights."""
        for module in self._quantized_modules():
            module.quantized_weights()

    def full_precision_weights(self) -> None:
        """Quantise no weights."""
        for module in self._quantized_modules():
            module.full_precision_weights()

    def quantized_acts(self) -> None:
        """Quantise all outputs."""
        for module in self._quantized_modules():
            module.quantized_acts()

    def full_precision_acts(self) -> None:
        """Quantise no outputs."""
        for module in self._quantized_modules():
            module.full_precision_acts()

    def quantized(self) -> None:
        """Quantise weights and outputs."""
        self.quantized_weights()
        self.quantized_acts()

    def full_precision(self) -> None:
        """Quantise nothing."""
        self.full_precision_weights()
        self.full_precision_acts()

    def learn_ranges(self) -> None:
        """Make all ranges trainable; optimizers have to be told of the new parameters."""
        for module in self._quantized_modules():
            module.learn_ranges()

    def fix_ranges(self) -> None:
        """Keep all ranges."""
        for module in self._quantized_modules():
            module.fix_ranges()

    def fix_act_ranges(self) -> None:
        """Keep the ranges of outputs."""
        for manager in self._managers("activation_quantizer"):
            manager.fix_ranges()

    def fix_weight_ranges(self) -> None:
        """Keep the ranges of weights."""
        for manager in self._managers("weight_quantizer"):
            manager.fix_ranges()

    def estimate_ranges(self) -> None:
        """Let all ranges follow every batch."""
        for module in self._quantized_modules():
            module.estimate_ranges()

    def estimate_act_ranges(self) -> None:
        """Let the ranges of outputs follow every batch."""
        for manager in self._managers("activation_quantizer"):
            manager.estimate_ranges()

    def estimate_ranges_train(self) -> None:
        """Let all ranges follow every batch in training only."""
        for module in self._quantized_modules():
            module.estimate_ranges_train()

    def reset_act_ranges(self) -> None:
        """Forget the ranges of outputs; they are estimated again."""
        for manager in self._managers("activation_quantizer"):
            manager.reset_ranges()

    def set_quant_state(self, weight_quant: bool, act_quant: bool) -> None:
        """Choose what is quantised.

        Args:
            weight_quant: Quantise weights.
            act_quant: Quantise outputs.
        """
        if weight_quant:
            self.quantized_weights()
        else:
            self.full_precision_weights()
        if act_quant:
            self.quantized_acts()
        else:
            self.full_precision_acts()
