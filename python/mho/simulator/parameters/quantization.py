"""Parameters of the quantisation of digital layers and of activations."""

import inspect
from dataclasses import dataclass, field
from typing import Any

import torch

from mho.exceptions import ConfigError
from mho.simulator.parameters import printing
from mho.simulator.parameters.checking import describe
from mho.simulator.parameters.config_base import ConfigBase
from mho.simulator.parameters.enums import RangeEstimators
from mho.simulator.parameters.range_estimators import (
    CrossEntropyEstimatorParams,
    CurrentMinMaxEstimatorParams,
    MSEEstimatorParams,
    RunningMinMaxEstimatorParams,
)
from mho.simulator.parameters.registry import register_config_class


def _estimator_parameter_classes() -> dict[RangeEstimators, Any]:
    return {
        RangeEstimators.allminmax: None,
        RangeEstimators.current_minmax: CurrentMinMaxEstimatorParams,
        RangeEstimators.running_minmax: RunningMinMaxEstimatorParams,
        RangeEstimators.MSE: MSEEstimatorParams,
        RangeEstimators.cross_entropy: CrossEntropyEstimatorParams,
    }


@dataclass(repr=False)
class BaseQuantConfig(ConfigBase):
    """What the quantisation of weights and of activations have in common."""

    _range_estimator: RangeEstimators
    n_bits: int = 0
    """Number of bits; zero or less is off."""

    symmetric: bool = True
    """Use a grid that is symmetric around zero."""

    _range_estimator_params: Any = field(init=False)
    _range_estimator_to_params: dict[RangeEstimators, Any] = field(
        init=False, default_factory=_estimator_parameter_classes
    )

    @property
    def range_estimator(self) -> RangeEstimators:
        """How the range is estimated; assigning it resets the parameters of the estimator.

        Raises:
            ConfigError: The assigned value is no member of `RangeEstimators`.
        """
        return self._range_estimator

    @range_estimator.setter
    def range_estimator(self, value: RangeEstimators) -> None:
        if not isinstance(value, RangeEstimators):
            raise ConfigError(f"range_estimator: expected RangeEstimators, got {describe(value)}")
        self._range_estimator = value
        params_class = self._range_estimator_to_params[value]
        self._range_estimator_params = None if params_class is None else params_class()

    @property
    def range_estimator_params(self) -> Any:
        """Parameters of the estimator, None if it has none.

        Raises:
            ConfigError: The assigned object does not belong to the estimator.
        """
        return self._range_estimator_params

    @range_estimator_params.setter
    def range_estimator_params(self, value: Any) -> None:
        params_class = self._range_estimator_to_params[self._range_estimator]
        wanted = type(None) if params_class is None else params_class
        if type(value) is not wanted:
            raise ConfigError(
                f"range_estimator_params: {self._range_estimator} needs {wanted.__name__},"
                f" got {describe(value)}"
            )
        self._range_estimator_params = value

    def __str__(self) -> str:
        """Return the constructor call with the values that differ from their defaults."""
        shown = {}
        for name, parameter in inspect.signature(type(self)).parameters.items():
            value, default = getattr(self, name), parameter.default
            if name == "range_estimator_params" and value is not None:
                default = type(value)()  # what the estimator has by itself
            if value != default:
                shown[name] = value
        return printing.format_call(type(self).__name__, shown)

    def __repr__(self) -> str:
        """Return the constructor call."""
        names = inspect.signature(type(self)).parameters
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{type(self).__name__}({values})"

    def _set_up(
        self, n_bits: int, symmetric: bool, estimator: RangeEstimators, params: Any | None
    ) -> None:
        self.n_bits = n_bits
        self.symmetric = symmetric
        self._range_estimator_to_params = _estimator_parameter_classes()
        self.range_estimator = estimator
        if params is not None:
            self.range_estimator_params = params


@register_config_class
@dataclass(init=False, repr=False)
class ActivationQuantConfig(BaseQuantConfig):
    """Quantisation of activations."""

    def __init__(
        self,
        n_bits: int = 0,
        symmetric: bool = True,
        range_estimator: RangeEstimators = RangeEstimators.running_minmax,
        range_estimator_params: Any | None = None,
    ) -> None:
        """Set the values.

        Args:
            n_bits: Number of bits; zero or less is off.
            symmetric: Use a grid that is symmetric around zero.
            range_estimator: How the range is estimated.
            range_estimator_params: Parameters of the estimator; None takes its defaults.

        Raises:
            ConfigError: Estimator and parameters do not belong together.
        """
        self._set_up(n_bits, symmetric, range_estimator, range_estimator_params)


@register_config_class
@dataclass(init=False, repr=False)
class WeightQuantConfig(BaseQuantConfig):
    """Quantisation of weights."""

    per_channel: bool = False
    """One range per output instead of one per matrix."""

    def __init__(
        self,
        n_bits: int = 0,
        symmetric: bool = True,
        per_channel: bool = False,
        range_estimator: RangeEstimators = RangeEstimators.current_minmax,
        range_estimator_params: Any | None = None,
    ) -> None:
        """Set the values.

        Args:
            n_bits: Number of bits; zero or less is off.
            symmetric: Use a grid that is symmetric around zero.
            per_channel: One range per output instead of one per matrix.
            range_estimator: How the range is estimated.
            range_estimator_params: Parameters of the estimator; None takes its defaults.

        Raises:
            ConfigError: Estimator and parameters do not belong together.
        """
        self.per_channel = per_channel
        self._set_up(n_bits, symmetric, range_estimator, range_estimator_params)


@register_config_class
@dataclass
class QuantizationConfig(ConfigBase):
    """Quantisation of a digital layer."""

    activation_quant: ActivationQuantConfig = field(default_factory=ActivationQuantConfig)
    """Of its outputs."""

    weight_quant: WeightQuantConfig = field(default_factory=WeightQuantConfig)
    """Of its weights."""


@dataclass
class QuantizedModuleConfig(ConfigBase):
    """A quantised layer class with its parameters."""

    quantized_module: torch.nn.Module
    """What takes the place of the digital layer."""

    module_qconfig: QuantizationConfig
    """How it quantises."""


@dataclass
class QuantizationMap(ConfigBase):
    """Which layers of a model are quantised and how."""

    default_qconfig: QuantizationConfig = field(default_factory=QuantizationConfig)
    """For layers without an entry of their own."""

    module_qconfig_map: dict[torch.nn.Module, QuantizedModuleConfig] = field(default_factory=dict)
    """By the class of the layer."""

    instance_qconfig_map: dict[str, QuantizedModuleConfig] = field(default_factory=dict)
    """By the name of the layer in the model; goes before its class."""

    input_activation_qconfig_map: dict[str, ActivationQuantConfig] = field(default_factory=dict)
    """Quantisation of the inputs of layers, by their name."""

    excluded_modules: list[str] = field(default_factory=list)
    """Names of layers that stay as they are."""
