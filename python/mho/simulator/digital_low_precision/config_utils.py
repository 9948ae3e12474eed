"""Configurations of quantisation as arguments of quantised modules."""

import dataclasses
from typing import Any

from mho.simulator.digital_low_precision.quantizers import QMethods
from mho.simulator.parameters.enums import OptMethod, RangeEstimators
from mho.simulator.parameters.quantization import (
    ActivationQuantConfig,
    BaseQuantConfig,
    QuantizationConfig,
    WeightQuantConfig,
)
from mho.simulator.parameters.range_estimators import (
    CrossEntropyEstimatorParams,
    CurrentMinMaxEstimatorParams,
    MSEEstimatorParams,
    RunningMinMaxEstimatorParams,
)
from mho.simulator.parameters.signatures import checked

__all__ = [
    "CrossEntropyEstimatorParams",
    "CurrentMinMaxEstimatorParams",
    "MSEEstimatorParams",
    "OptMethod",
    "QMethods",
    "RangeEstimators",
    "RunningMinMaxEstimatorParams",
    "convert_act_config_to_kwargs_dict",
    "convert_configs_to_kwargs_dict",
    "convert_weight_config_to_kwargs_dict",
]

_ARGUMENTS = {"range_opt_method": "opt_method"}
"""Arguments of estimators whose names are not those of the fields."""


@checked
def convert_act_config_to_kwargs_dict(act_quant_config: ActivationQuantConfig) -> dict[str, Any]:
    """Return the arguments of a quantised module that say how it quantises its outputs.

    Args:
        act_quant_config: Configuration.
    """
    return {
        "act_method": _method(act_quant_config),
        "n_bits_act": act_quant_config.n_bits,
        "act_range_method": act_quant_config.range_estimator,
        "act_range_options": _options(act_quant_config),
    }


@checked
def convert_weight_config_to_kwargs_dict(weight_quant_config: WeightQuantConfig) -> dict[str, Any]:
    """Return the arguments of a quantised module that say how it quantises its weights.

    Args:
        weight_quant_config: Configuration.
    """
    return {
        "method": _method(weight_quant_config),
        "n_bits": weight_quant_config.n_bits,
        "per_channel_weights": weight_quant_config.per_channel,
        "weight_range_method": weight_quant_config.range_estimator,
        "weight_range_options": _options(weight_quant_config),
    }


@checked
def convert_configs_to_kwargs_dict(quant_config: QuantizationConfig) -> dict[str, Any]:
    """Return the arguments of a quantised module.

    Args:
        quant_config: Configuration.
    """
    return {
        **convert_weight_config_to_kwargs_dict(quant_config.weight_quant),
        **convert_act_config_to_kwargs_dict(quant_config.activation_quant),
    }


def _method(config: BaseQuantConfig) -> QMethods:
    return QMethods.symmetric_uniform if config.symmetric else QMethods.asymmetric_uniform


def _options(config: BaseQuantConfig) -> dict[str, Any]:
    params = config.range_estimator_params
    if params is None:
        return {}
    values = {field.name: getattr(params, field.name) for field in dataclasses.fields(params)}
    return {_ARGUMENTS.get(name, name): value for name, value in values.items()}
