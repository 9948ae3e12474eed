"""Any module behind a quantiser of its input."""

from typing import Any

from torch import Tensor, nn

from mho.simulator.digital_low_precision.base_quantized_classes import QuantizedActivation
from mho.simulator.digital_low_precision.config_utils import convert_act_config_to_kwargs_dict
from mho.simulator.parameters.quantization import ActivationQuantConfig
from mho.simulator.parameters.signatures import checked

__all__ = [
    "ActivationQuantConfig",
    "QuantizedActivation",
    "QuantizedInputModule",
    "convert_act_config_to_kwargs_dict",
]


class QuantizedInputModule(nn.Module):
    """Quantises the first argument of a module."""

    @checked
    def __init__(self, module: nn.Module, act_quant_config: ActivationQuantConfig) -> None:
        """Put a quantiser before a module.

        Args:
            module: Module.
            act_quant_config: How its input is quantised.
        """
        super().__init__()
        self.input_quantizer = QuantizedActivation(
            **convert_act_config_to_kwargs_dict(act_quant_config)
        )
        self.module = module
        self.train(module.training)

    def forward(self, inp: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Return what the module makes of the quantised input.

        Args:
            inp: Input that is quantised.
            args: Passed to the module.
            kwargs: Passed to the module.
        """
        return self.module(self.input_quantizer(inp), *args, **kwargs)
