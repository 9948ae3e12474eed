"""Conversion of digital layers of a model into quantised ones."""

import copy
from typing import Any

from torch import nn

from mho.exceptions import ArgumentError, warn_caller
from mho.nn.conversion import convert_to_digital
from mho.nn.inheritance import (
    computed_names,
    digital_class,
    inherit,
    inherit_hooks,
    settle,
    warn_of_computed_weights,
)
from mho.nn.low_precision_modules.conversion_utils import (
    DEFAULT_CONVERSIONS,
    LEAF_MODULES,
    get_module_args,
)
from mho.nn.low_precision_modules.quantization_states import enable_quant_states
from mho.nn.low_precision_modules.quantized_input_module import QuantizedInputModule
from mho.nn.modules.base import AnalogLayerBase
from mho.simulator.digital_low_precision.base_quantized_classes import QuantizedModule
from mho.simulator.digital_low_precision.config_utils import convert_configs_to_kwargs_dict
from mho.simulator.parameters.quantization import QuantizationMap, QuantizedModuleConfig
from mho.simulator.parameters.signatures import checked
from mho.simulator.tiles.base import TileModuleBase

__all__ = [
    "DEFAULT_CONVERSIONS",
    "LEAF_MODULES",
    "AnalogLayerBase",
    "QuantizationMap",
    "QuantizedInputModule",
    "convert_configs_to_kwargs_dict",
    "convert_to_digital",
    "convert_to_quantized",
    "enable_quant_states",
    "get_module_args",
    "quantize_model",
]


@checked
def convert_to_quantized(model: nn.Module, quantization_map: QuantizationMap) -> nn.Module:
    """Return a copy of a model whose layers are quantised, with quantisation switched on.

    Layers keep their names, parameters, hooks and attributes. What a parametrisation or a hook
    computes is quantised with its present values, and a warning. If no module has an entry in the
    map, a warning says so.

    Args:
        model: Model; it stays as it is.
        quantization_map: Which layers are quantised and how. An entry for the name of a layer goes
            before one for its class.

    Returns:
        The quantised model. Ranges follow the batches of training and stay in evaluation.

    Raises:
        ArgumentError: An argument has the wrong type, a name of the map is not in the model, or a
            quantised class cannot be built from the layer that it is to replace.
        ConfigError: A configuration of the map is invalid.
    """
    _check_names(model, quantization_map)
    for part in model.modules():
        settle(part)
    walk = _Quantization(quantization_map)
    converted = walk.visit(copy.deepcopy(model), "")
    walk.warn()
    if not walk.found:
        warn_caller(
            "nothing was quantised, quantization_map has no entry for a module of the model, by its"
            " name or its very class; append_default_conversions(quantization_map) adds Linear,"
            " Conv2d, LayerNorm and Embedding with its default_qconfig"
        )
    elif any(isinstance(module, QuantizedModule) for module in converted.modules()):
        enable_quant_states(converted)
    return converted


@checked
def quantize_model(
    model: nn.Module, quantization_map: QuantizationMap, model_name: str = ""
) -> nn.Module:
    """Replace the layers of a model in place by quantised ones, in full precision at first.

    A layer under several names is replaced once and stays shared. Layers whose entry asks for no
    bits stay. Analog layers with an entry become digital first; other analog layers stay.

    Args:
        model: Model, changed in place.
        quantization_map: Which layers are quantised and how.
        model_name: Full name of the given model.

    Returns:
        The model, or what took its place.

    Raises:
        ArgumentError: A quantised class cannot be built from the layer that it is to replace.
        ConfigError: A configuration of the map is invalid.
    """
    walk = _Quantization(quantization_map)
    result = walk.visit(model, model_name)
    walk.warn()
    return result


class _Quantization:
    """One walk over a model."""

    def __init__(self, quantization_map: QuantizationMap) -> None:
        self.map = quantization_map
        self.excluded = set(quantization_map.excluded_modules)
        self.done: dict[int, tuple[nn.Module, nn.Module]] = {}
        self.computed: list[tuple[str, list[str]]] = []
        self.found = False

    def warn(self) -> None:
        """Warn of weights that are no longer computed from others."""
        for name, names in self.computed:
            warn_of_computed_weights(name, names)

    def visit(self, module: nn.Module, name: str) -> nn.Module:
        """Return what takes the place of a module, with everything below it replaced."""
        if name in self.excluded:
            return module
        if id(module) not in self.done:
            self.done[id(module)] = (module, self._replacement(module, name))
        return self.done[id(module)][1]

    def _replacement(self, module: nn.Module, name: str) -> nn.Module:
        entry = self._entry(module, name)
        is_quantized = entry is not None and _has_bits(entry)
        if entry is not None and is_quantized:
            result = self._quantized(module, name, entry)
        else:
            result = module
        config = self.map.input_activation_qconfig_map.get(name)
        self.found |= entry is not None or config is not None
        if not is_quantized and not isinstance(module, (TileModuleBase, *LEAF_MODULES)):
            for child_name, child in list(module._modules.items()):
                if child is not None:
                    full = f"{name}.{child_name}" if name else child_name
                    module._modules[child_name] = self.visit(child, full)
        return result if config is None else QuantizedInputModule(result, config)

    def _entry(self, module: nn.Module, name: str) -> QuantizedModuleConfig | None:
        by_class: dict[Any, QuantizedModuleConfig] = self.map.module_qconfig_map
        return self.map.instance_qconfig_map.get(name) or by_class.get(digital_class(module))

    def _quantized(self, module: nn.Module, name: str, entry: QuantizedModuleConfig) -> nn.Module:
        if isinstance(module, AnalogLayerBase):
            module = convert_to_digital(module)
        options = convert_configs_to_kwargs_dict(entry.module_qconfig)
        cls: Any = entry.quantized_module
        old = digital_class(module)
        if old not in DEFAULT_CONVERSIONS:
            try:
                wrapped: nn.Module = cls(module, quantization_map=self.map, **options)
            except TypeError as error:
                raise ArgumentError(
                    f"quantization_map: {cls.__name__} cannot take the place of {old.__name__}"
                    f" {name!r}: {error}"
                ) from error
            inherit_hooks(module, wrapped)
            return wrapped
        if not issubclass(cls, old):
            raise ArgumentError(
                f"quantization_map: {cls.__name__} cannot take the place of {old.__name__} {name!r}"
            )
        new: nn.Module = cls(**get_module_args(module), **options)
        computed = computed_names(module)
        # The parameters themselves, so that ties, optimizers and devices stay.
        for key in new._parameters:
            if key in computed:
                new._parameters[key] = nn.Parameter(getattr(module, key).detach().clone())
            elif key in module._parameters:
                new._parameters[key] = module._parameters[key]
        if computed:
            self.computed.append((name, computed))
        first = next(module.parameters(), None)
        if first is not None:
            new.to(device=first.device, dtype=first.dtype)
        inherit(module, new)
        return new


def _has_bits(entry: QuantizedModuleConfig) -> bool:
    config = entry.module_qconfig
    config.check("module_qconfig")
    return config.weight_quant.n_bits > 0 or config.activation_quant.n_bits > 0


def _check_names(model: nn.Module, quantization_map: QuantizationMap) -> None:
    known = {name for name, _ in model.named_modules(remove_duplicate=False)}
    for field in ("instance_qconfig_map", "input_activation_qconfig_map", "excluded_modules"):
        for name in getattr(quantization_map, field):
            if name not in known:
                raise ArgumentError(f"{field}: the model has no module {name!r}")
