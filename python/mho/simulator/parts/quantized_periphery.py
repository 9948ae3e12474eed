"""Digital values around a tile with few bits: scale, bias, and outputs."""

import functools
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mho.exceptions import ArgumentError, ConfigError
from mho.simulator.digital_low_precision.config_utils import convert_act_config_to_kwargs_dict
from mho.simulator.digital_low_precision.quantization_manager import QuantizationManager
from mho.simulator.digital_low_precision.quantizers import QMethods
from mho.simulator.digital_low_precision.range_estimators import ESTIMATORS
from mho.simulator.parameters.enums import RangeEstimators
from mho.simulator.parameters.pre_post import PeripheryQuantizationParameter
from mho.simulator.parameters.quantization import ActivationQuantConfig
from mho.simulator.parts.base import Part
from mho.simulator.parts.input_range import InputRange
from mho.simulator.parts.scales import ScaledTile, Scales
from mho.simulator.state.entries import Entry
from mho.simulator.state.ordinary import on_host, ordinary_tensors

SCALE, BIAS, OUTPUT = "out_scale_quantizer", "bias_quantizer", "act_quantizer"
_UNUSED_BITS = 8
_RANGE = (
    "quantizer._delta",
    "quantizer._is_set",
    "quantizer._signed",
    "quantizer._zero_float",
    "range_estimator.current_xmin",
    "range_estimator.current_xmax",
    "range_estimator._is_set",
    "_batches",
)


class RangeFollower(QuantizationManager):
    """Quantiser that follows a configuration, and is off if that asks for no bits.

    Its range follows the data in training and stays in evaluation; if it is to be learned, that
    ends after a number of batches, and the step is a parameter from the beginning, which optimizers
    find. What its state consists of does not depend on the configuration.
    """

    _batches: Tensor
    is_on: bool = False
    learned_after: int | None = None
    _settings: tuple[Any, ...] = ()

    def __init__(self) -> None:
        """Build it switched off."""
        super().__init__(qparams={"n_bits": _UNUSED_BITS})
        del self._qstate  # it is always the same
        self.register_buffer("_batches", torch.zeros(1))
        self.estimate_ranges_train()

    def follow_periphery(self, params: PeripheryQuantizationParameter) -> None:
        """Follow the parameters of scales and biases.

        Args:
            params: Checked parameters.
        """
        method = QMethods.symmetric_uniform if params.symmetric else QMethods.asymmetric_uniform
        after = params.init_learning_after if params.learn_quant_params else None
        self._follow(params.n_bits, method, RangeEstimators.current_minmax, {}, after)

    def follow_outputs(self, config: ActivationQuantConfig | None) -> None:
        """Follow the configuration of outputs.

        Args:
            config: Checked configuration; None is off.
        """
        if config is None:
            self._follow(0, QMethods.symmetric_uniform, RangeEstimators.current_minmax, {}, None)
            return
        wanted = convert_act_config_to_kwargs_dict(config)
        self._follow(
            wanted["n_bits_act"],
            wanted["act_method"],
            wanted["act_range_method"],
            wanted["act_range_options"],
            None,
        )

    def _follow(
        self,
        n_bits: int,
        method: QMethods,
        estimator: RangeEstimators,
        options: dict[str, Any],
        learned_after: int | None,
    ) -> None:
        settings = (n_bits, method, estimator, tuple(options.items()), learned_after)
        if settings == self._settings:
            return
        self._settings = settings
        with ordinary_tensors(), on_host():
            self._rebuild(n_bits, method, estimator, options, learned_after)

    def _rebuild(
        self,
        n_bits: int,
        method: QMethods,
        estimator: RangeEstimators,
        options: dict[str, Any],
        learned_after: int | None,
    ) -> None:
        self.is_on, self.learned_after = n_bits > 0, learned_after
        bits = n_bits if self.is_on else _UNUSED_BITS
        old, seen = self.quantizer, self.range_estimator
        like = old._delta
        old.make_range_constant()
        is_other = bits != old.n_bits or not isinstance(old, method.cls)
        if is_other:
            self.quantizer = method.cls(bits).to(like)
            self.quantizer.load_state_dict(old.state_dict())
        found = ESTIMATORS[estimator].cls(**options, quantizer=self.quantizer)
        self.range_estimator = found.to(like)
        found.load_state_dict(seen.state_dict())
        if is_other and self.quantizer.is_initialized and found._has_data:
            self.quantizer.set_quant_range(found.current_xmin, found.current_xmax)
        if learned_after is not None:
            self.quantizer.make_range_trainable()
        self.quantizer.learning = learned_after is not None
        self.train(self.training)

    def enter(self, state: Any) -> None:
        """Choose when the range changes; learned steps stay so.

        Args:
            state: When.
        """
        super().enter(state)
        self.quantizer.learning = self.learned_after is not None

    def forward(self, x: Tensor) -> Tensor:
        """Return the nearest levels of values, or the values if it is off.

        Args:
            x: Values of any shape.
        """
        if not self.is_on or x.numel() == 0:
            return x
        if self.learned_after is None or not self.training:
            return super().forward(x)
        seen = self._batches
        if torch.compiler.is_compiling():
            # A backward pass would compute it again, when this batch has been counted.
            seen = torch.ops.mho.batches_seen(seen, self.learned_after)
        with torch.no_grad():
            # Without branches on data, so that it can be compiled.
            is_learned = seen >= self.learned_after
            names = ("_delta", "_signed", "_zero_float")
            learned = [getattr(self.quantizer, name).clone() for name in names]
            self.estimate(x)
            for name, old in zip(names, learned, strict=True):
                estimated = getattr(self.quantizer, name).clone()
                self.quantizer._write(name, torch.where(is_learned, old, estimated))
            self._batches.add_((~is_learned).to(self._batches.dtype))
        # No gradient reaches the range as long as it is estimated.
        self.quantizer.learning = False
        constant: Tensor = self.quantizer(x)
        self.quantizer.learning = True
        return torch.where(is_learned, self.quantizer(x), constant)

    def changed_by_calls(self) -> list[Tensor]:
        """Return the tensors that follow the data."""
        return [self._entry(name) for name in _RANGE]

    def _entry(self, name: str) -> Tensor:
        *path, last = name.split(".")
        owner = self.get_submodule(".".join(path))
        found: Tensor = getattr(owner, last)
        return found

    def store(self, name: str, value: Tensor) -> None:
        """Take over a checked entry of a state.

        Args:
            name: One of its names.
            value: Shape `[1]`.
        """
        self._entry(name).data.copy_(value)
        self.quantizer.follow_state()
        self.range_estimator.follow_state()


class QuantizedTile(ScaledTile, Protocol):
    """What the quantised periphery needs of its tile."""

    scales: Scales
    input_processing: InputRange
    _modules: dict[str, nn.Module | None]

    def add_module(self, name: str, module: nn.Module | None) -> None:
        """Add a child."""


class QuantizedPeriphery(Part):
    """Quantises the factor on the outputs of a tile, its digital bias, and what comes out.

    The factor is the product of input range, mapping scales and learned output scales. The three
    quantisers are children of the tile.
    """

    _tile: QuantizedTile

    def _child(self, name: str) -> RangeFollower:
        present = self._tile._modules.get(name)
        if present is None:
            with on_host():
                present = RangeFollower().to(self._tile.device)
            present.train(self._tile.training)
            self._tile.add_module(name, present)
        assert isinstance(present, RangeFollower)
        return present

    def check(self, config: Any) -> None:
        """Refuse numbers of bits without levels; see the base class."""
        check_bits(config)

    def follow(self, config: Any) -> None:
        """Follow numbers of bits, kinds of levels and estimators; see the base class."""
        for name in (SCALE, BIAS):
            self._child(name).follow_periphery(config.pre_post.periph_quant)
        self._child(OUTPUT).follow_outputs(config.act_quant_config)

    def entries(self, config: Any) -> dict[str, Entry]:
        """Return the entries of the quantisers, which torch misses itself; see the base class."""
        names = (f"{child}.{name}" for child in (SCALE, BIAS, OUTPUT) for name in _RANGE)
        return {name: Entry(((1,),), required=False) for name in names}

    def store(self, name: str, value: Tensor | None) -> None:
        """Take over an entry; see the base class."""
        if value is not None:
            child, _, rest = name.partition(".")
            self._child(child).store(rest, value)

    def apply_quant_periphery_scales(
        self, x_output: Tensor, dim: int, is_test: bool = False
    ) -> Tensor:
        """Return outputs of the array times the quantised product of range and scales.

        Args:
            x_output: Outputs, features on axis `dim`.
            dim: Axis of the features.
            is_test: Not used: whether ranges follow the data is a matter of the mode.
        """
        tile = self._tile
        factors = (
            tile.input_processing.magnitude() if tile.input_processing.is_on() else None,
            tile.scales.get_mapping_scales(),
            tile.scales.get_learned_out_scales(),
        )
        present = [factor for factor in factors if factor is not None]
        if not present:
            return x_output
        scale: Tensor = self._child(SCALE)(functools.reduce(torch.mul, present))
        if scale.numel() > 1:
            scale = scale.view(tile.get_tensor_view(x_output.dim(), dim))
        return x_output * scale

    def add_quant_periphery_bias(
        self, output: Tensor, tensor_view: tuple[int, ...] | None = None, is_test: bool = False
    ) -> Tensor:
        """Return outputs with the quantised digital bias, if there is one.

        Args:
            output: Outputs, features on the last axis.
            tensor_view: Shape that spreads a vector of all outputs over them.
            is_test: Not used, as for the scales.
        """
        bias = self._tile._parameters["bias"]
        if bias is None:
            return output
        quantized: Tensor = self._child(BIAS)(bias)
        return output + (quantized if tensor_view is None else quantized.view(tensor_view))

    def quantize_outputs(self, values: Tensor) -> Tensor:
        """Return the quantised outputs of the tile.

        Args:
            values: Any shape.
        """
        quantized: Tensor = self._child(OUTPUT)(values)
        return quantized


def check_bits(config: Any) -> None:
    """Check the numbers of a quantised periphery.

    Args:
        config: Configuration whose types are right.

    Raises:
        ConfigError: A number is impossible; the message names the field.
    """
    params = config.pre_post.periph_quant
    found = [("pre_post.periph_quant.n_bits", params.n_bits)]
    if config.act_quant_config is not None:
        found.append(("act_quant_config.n_bits", config.act_quant_config.n_bits))
    for name, bits in found:
        if bits == 1 or bits > 32:
            raise ConfigError(f"{name}: expected 2 to 32 bits, or 0 for full precision, got {bits}")
    if params.init_learning_after < 0:
        raise ConfigError(
            "pre_post.periph_quant.init_learning_after: must not be negative, got"
            f" {params.init_learning_after}"
        )
    if config.act_quant_config is not None and config.act_quant_config.n_bits > 0:
        try:
            with on_host():
                RangeFollower().follow_outputs(config.act_quant_config)
        except (ArgumentError, TypeError) as error:
            raise ConfigError(f"act_quant_config.range_estimator_params.{error}") from error
