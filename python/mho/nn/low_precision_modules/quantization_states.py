"""Switches of all quantised modules in a model, which warn if there are none.

Ranges of weights and outputs are estimated, kept or learned; quantisation itself is on or off.
"""

from collections.abc import Iterator

from torch import nn

from mho.exceptions import warn_caller
from mho.simulator.digital_low_precision.base_quantized_classes import QuantizedModule
from mho.simulator.digital_low_precision.quantization_manager import QuantizationManager
from mho.simulator.parameters.signatures import checked

__all__ = [
    "QuantizedModule",
    "enable_quant_states",
    "estimate_act_ranges",
    "estimate_ranges",
    "estimate_ranges_train",
    "fix_act_ranges",
    "fix_ranges",
    "fix_weight_ranges",
    "full_precision",
    "full_precision_acts",
    "full_precision_weights",
    "learn_ranges",
    "quantized",
    "quantized_acts",
    "quantized_weights",
    "reset_act_ranges",
    "set_quant_state",
]


@checked
def quantized_weights(model: nn.Module) -> None:
    """Quantise the weights of all modules.

    Args:
        model: Model.
    """
    for module in _modules(model):
        module.quantized_weights()


@checked
def full_precision_weights(model: nn.Module) -> None:
    """Quantise no weights.

    Args:
        model: Model.
    """
    for module in _modules(model):
        module.full_precision_weights()


@checked
def quantized_acts(model: nn.Module) -> None:
    """Quantise the outputs of all modules.

    Args:
        model: Model.
    """
    for module in _modules(model):
        module.quantized_acts()


@checked
def full_precision_acts(model: nn.Module) -> None:
    """Quantise no outputs.

    Args:
        model: Model.
    """
    for module in _modules(model):
        module.full_precision_acts()


@checked
def quantized(model: nn.Module) -> None:
    """Quantise weights and outputs.

    Args:
        model: Model.
    """
    for module in _modules(model):
        module.quantized()


@checked
def full_precision(model: nn.Module) -> None:
    """Quantise nothing.

    Args:
        model: Model.
    """
    for module in _modules(model):
        module.full_precision()


@checked
def learn_ranges(model: nn.Module) -> None:
    """Make all ranges trainable; optimizers have to be told of the new parameters.

    Args:
        model: Model.
    """
    for module in _modules(model):
        module.learn_ranges()


@checked
def fix_ranges(model: nn.Module) -> None:
    """Keep all ranges.

    Args:
        model: Model.
    """
    for module in _modules(model):
        module.fix_ranges()


@checked
def fix_act_ranges(model: nn.Module) -> None:
    """Keep the ranges of outputs.

    Args:
        model: Model.
    """
    for manager in _managers(model, "activation_quantizer"):
        manager.fix_ranges()


@checked
def fix_weight_ranges(model: nn.Module) -> None:
    """Keep the ranges of weights.

    Args:
        model: Model.
    """
    for manager in _managers(model, "weight_quantizer"):
        manager.fix_ranges()


@checked
def estimate_ranges(model: nn.Module) -> None:
    """Let all ranges follow every batch.

    Args:
        model: Model.
    """
    for module in _modules(model):
        module.estimate_ranges()


@checked
def estimate_act_ranges(model: nn.Module) -> None:
    """Let the ranges of outputs follow every batch.

    Args:
        model: Model.
    """
    for manager in _managers(model, "activation_quantizer"):
        manager.estimate_ranges()


@checked
def estimate_ranges_train(model: nn.Module) -> None:
    """Let all ranges follow every batch in training only.

    Args:
        model: Model.
    """
    for module in _modules(model):
        module.estimate_ranges_train()


@checked
def reset_act_ranges(model: nn.Module) -> None:
    """Forget the ranges of outputs; they are estimated again.

    Args:
        model: Model.
    """
    for manager in _managers(model, "activation_quantizer"):
        manager.reset_ranges()


@checked
def set_quant_state(model: nn.Module, weight_quant: bool, act_quant: bool) -> None:
    """Choose what is quantised.

    Args:
        model: Model.
        weight_quant: Quantise weights.
        act_quant: Quantise outputs.
    """
    (quantized_weights if weight_quant else full_precision_weights)(model)
    (quantized_acts if act_quant else full_precision_acts)(model)


@checked
def enable_quant_states(model: nn.Module) -> None:
    """Quantise weights and outputs, with ranges that follow the batches of training.

    Args:
        model: Model.
    """
    quantized(model)
    estimate_ranges_train(model)


def _modules(model: nn.Module) -> list[QuantizedModule]:
    found = [module for module in model.modules() if isinstance(module, QuantizedModule)]
    if not found:
        warn_caller(
            "nothing has changed, the model has no quantised layers; use the model that"
            " convert_to_quantized has returned. Quantisation around analog tiles has no such"
            " states"
        )
    return found


def _managers(model: nn.Module, name: str) -> Iterator[QuantizationManager]:
    found = (getattr(module, name, None) for module in _modules(model))
    return (manager for manager in found if isinstance(manager, QuantizationManager))
