"""Linear layer whose digital counterpart has its weights the other way round."""

import importlib
from typing import Any, ClassVar, TypeVar

import torch
from torch import nn

from mho.exceptions import ArgumentError
from mho.nn.conversion_table import register_analog
from mho.nn.modules.linear import AnalogLinear
from mho.simulator.parameters.arguments import check_instance
from mho.simulator.parameters.base import RPUConfigBase

ConvertedT = TypeVar("ConvertedT", bound="ConvertedConv1D")

_MODULE, _NAME = "transformers.pytorch_utils", "Conv1D"


@register_analog(f"{_MODULE}.{_NAME}")
class ConvertedConv1D(AnalogLinear):
    """What `Conv1D` of Hugging Face's transformers becomes, the linear layer of GPT-2.

    It has ``[in, out]`` for weights, and is no convolution. Here they are ``[out, in]`` as those of
    every linear layer, and so adapters take it for one. Transformers is not imported.
    """

    OWN_ENTRIES: ClassVar[tuple[str, ...]] = ("analog_module", "in_features", "out_features")

    @classmethod
    def from_digital(
        cls: type[ConvertedT],
        module: Any,
        rpu_config: RPUConfigBase,
        tile_module_class: type | None = None,
    ) -> ConvertedT:
        """Return an analog layer with the weights of a digital one, on the same device.

        Args:
            module: Digital layer; not changed.
            rpu_config: Configuration of the tile.
            tile_module_class: As for `AnalogLinear`.

        Raises:
            ArgumentError: `module` is no such layer, or as for `AnalogLinear`.
            ConfigError: A value of the configuration is invalid; the message names the field.
        """
        names = [f"{base.__module__}.{base.__qualname__}" for base in type(module).__mro__]
        if f"{_MODULE}.{_NAME}" not in names:
            raise ArgumentError(f"module: expected {_NAME} of {_MODULE}, got {module!r}")
        # A linear layer with a view of the weights.
        rows, columns = module.weight.shape
        linear = nn.Linear(rows, columns, device="meta").train(module.training)
        linear.weight = nn.Parameter(module.weight.detach().t())
        linear.bias = nn.Parameter(module.bias.detach())
        return super().from_digital(linear, rpu_config, tile_module_class)

    @classmethod
    def to_digital(cls, module: AnalogLinear, realistic: bool = False) -> Any:
        """Return a digital layer with the weights of an analog one, on the device of its tile.

        Args:
            module: Analog layer; not changed.
            realistic: Estimate the weights from noisy products instead of reading them exactly.

        Raises:
            ArgumentError: `module` is no such layer, or there is no transformers.
        """
        check_instance("module", module, cls)
        try:
            digital_class = getattr(importlib.import_module(_MODULE), _NAME)
        except ImportError as error:
            raise ArgumentError(
                f"module: the digital layer is {_NAME} of {_MODULE}: {error}"
            ) from error
        linear = AnalogLinear.to_digital(module, realistic)
        with torch.device("meta"):
            digital = digital_class(module.out_features, module.in_features)
        digital.weight = nn.Parameter(linear.weight.detach().t().contiguous())
        digital.bias = nn.Parameter(linear.bias.detach())
        return digital.train(module.training)
