"""Which quantised layer takes the place of which digital one."""

from typing import Any

from torch import nn

from mho.exceptions import ArgumentError
from mho.nn.low_precision_modules.quantized_base_modules import (
    QuantConv2d,
    QuantEmbedding,
    QuantLayerNorm,
    QuantLinear,
)
from mho.simulator.digital_low_precision.quantizers import QuantizerBase
from mho.simulator.digital_low_precision.range_estimators import RangeEstimatorBase
from mho.simulator.parameters.quantization import QuantizationMap, QuantizedModuleConfig
from mho.simulator.parameters.signatures import checked

__all__ = [
    "DEFAULT_CONVERSIONS",
    "LEAF_MODULES",
    "QuantConv2d",
    "QuantEmbedding",
    "QuantLayerNorm",
    "QuantLinear",
    "QuantizationMap",
    "QuantizedModuleConfig",
    "QuantizerBase",
    "RangeEstimatorBase",
    "append_default_conversions",
    "get_module_args",
]

DEFAULT_CONVERSIONS: dict[type[nn.Module], Any] = {
    nn.Linear: QuantLinear,
    nn.LayerNorm: QuantLayerNorm,
    nn.Embedding: QuantEmbedding,
    nn.Conv2d: QuantConv2d,
}
"""Quantised class of each digital class; these are rebuilt from `get_module_args`."""

LEAF_MODULES: tuple[type, ...] = (QuantizerBase, RangeEstimatorBase)
"""Classes below which nothing is converted."""

_ARGUMENTS: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Linear: ("in_features", "out_features"),
    nn.LayerNorm: ("normalized_shape", "eps", "elementwise_affine"),
    nn.Embedding: (
        "num_embeddings",
        "embedding_dim",
        "padding_idx",
        "max_norm",
        "norm_type",
        "scale_grad_by_freq",
        "sparse",
    ),
    nn.Conv2d: (
        "in_channels",
        "out_channels",
        "kernel_size",
        "stride",
        "padding",
        "dilation",
        "groups",
        "padding_mode",
    ),
}


@checked
def append_default_conversions(quantization_map: QuantizationMap) -> None:
    """Add the default conversions to a map, with its default configuration.

    Entries that are there stay.

    Args:
        quantization_map: Map, changed in place.
    """
    known: dict[Any, QuantizedModuleConfig] = quantization_map.module_qconfig_map
    for digital, quantized in DEFAULT_CONVERSIONS.items():
        entry = QuantizedModuleConfig(quantized, quantization_map.default_qconfig)
        known.setdefault(digital, entry)


@checked
def get_module_args(module: nn.Module, activation: nn.Module | None = None) -> dict[str, Any]:
    """Return the arguments that build a layer like a given one, and its quantised twin.

    Args:
        module: Layer of a class in `DEFAULT_CONVERSIONS`.
        activation: Function that the quantised layer applies before it quantises its outputs.

    Raises:
        ArgumentError: The layer is of another class.
    """
    for cls, names in _ARGUMENTS.items():
        if isinstance(module, cls):
            args = {name: getattr(module, name) for name in names}
            if cls is nn.Embedding:
                return {**args, "activation": activation}
            return {**args, "bias": module.bias is not None, "activation": activation}
    known = ", ".join(cls.__name__ for cls in _ARGUMENTS)
    raise ArgumentError(f"module: expected one of {known}, got {type(module).__name__}")
