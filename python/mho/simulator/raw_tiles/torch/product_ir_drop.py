"""Analog product with the voltage loss along the lines while input pulses of various lengths last.

The converters, scales and noise around the array are those of `AnalogMVM`. The array itself differs
in three ways.

*Phases.* `SPLIT_MODE` applies the less and the more significant bits of the inputs one after the
other, `BIT_WISE` every bit by itself; each phase has its own output converter and noise, and the
results are added digitally. In the gradient the pulses of a phase rise evenly with the input, by as
many ticks as they can have, so that the sum over all phases is that of a plain product.

*Read noise* of phase-change memory that depends on the activity of the inputs: the conductance
`g = |g+ - g-|` of each weight is read as `g + s (slope g + offset) xi`, where slope and offset are
polynomials in the decimal logarithm of the mean input in ticks. It is drawn for each pass through
the array, shared by its samples and phases, and acts in training as well.

*Voltage loss* in evaluation, see `ladder`. It is a read-out of what has been trained: no gradient
passes, and training sees the plain product of the phases.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor

from mho.exceptions import ConfigError
from mho.inference.converter.base import BaseConductanceConverter
from mho.inference.converter.single_pair import SinglePairConductanceConverter
from mho.simulator.parameters.enums import AnalogMVType
from mho.simulator.parameters.io import IOParameters, IOParametersIRDropT
from mho.simulator.raw_tiles.torch import pulses
from mho.simulator.raw_tiles.torch.dac_adc import tracks
from mho.simulator.raw_tiles.torch.ladder import PULSE_VOLTAGE, Ladder, ladder
from mho.simulator.raw_tiles.torch.product import AnalogMVM, Array

# Relative and absolute (in microsiemens) read noise as polynomials in the decimal logarithm of the
# mean input in ticks, from the highest power down; the fit of aihwkit to phase-change memory.
_SLOPE = (0.00021926, -0.00187352, 0.00655714, -0.0146159, 0.02578764)
_OFFSET = (1.11906167e-3, -9.08576764e-3, 3.07015063e-2, -6.77079241e-2, 1.17763144e-1)
_CHARGE_UNIT = 100.0
"""Charge in microamperes times ticks that a converter of 1 GHz counts as one."""


class AnalogMVMIRDropT(AnalogMVM):
    """Analog product with time-stepped voltage loss along the lines.

    With parameters that are not `IOParametersIRDropT`, and for the transposed product, it is that
    of the base class.
    """

    _known_mv_types: ClassVar[tuple[AnalogMVType, ...]] = (
        AnalogMVType.ONE_PASS,
        AnalogMVType.SPLIT_MODE,
        AnalogMVType.BIT_WISE,
    )
    _own_fields: ClassVar[frozenset[str]] = frozenset({"ir_drop"})

    @classmethod
    def _array(
        cls,
        weight: Tensor,
        io: IOParameters,
        trans: bool,
        is_test: bool,
        g_converter: BaseConductanceConverter | None = None,
        phys_input_size: int = 0,
    ) -> Array:
        """Return the array between the converters.

        Args:
            weight: As for `matmul`.
            io: As for `matmul`.
            trans: As for `matmul`; there is no voltage loss then.
            is_test: Evaluation mode, the only one with voltage loss.
            g_converter: Makes pairs of conductances of weights; `SinglePairConductanceConverter()`
                by default.
            phys_input_size: Rows of the crossbar; zero is as many as there are inputs.
        """
        if not isinstance(io, IOParametersIRDropT) or trans or io.is_perfect:
            return super()._array(weight, io, trans, is_test)
        drops = is_test and io.ir_drop > 0.0
        if drops and weight.dim() != 2:
            raise ConfigError(
                "modifier.per_batch_sample: voltage loss over time needs one weight matrix for all"
                " samples; set it to False, or forward.ir_drop to 0"
            )
        if drops:
            _check_rows(io, phys_input_size or weight.shape[1], weight.shape[1])
        if g_converter is None:
            g_converter = SinglePairConductanceConverter()
        return _TimedArray(cls, weight, io, drops, g_converter, phys_input_size)

    @classmethod
    def _problems(cls, io: IOParameters) -> list[tuple[str, str]]:
        if not isinstance(io, IOParametersIRDropT):
            return AnalogMVM._problems(io)
        found = super()._problems(io)
        if found or io.is_perfect:
            return found
        for name in ("ir_drop_rs", "xdep_pcm_read_noise_scale"):
            if getattr(io, name) < 0.0:
                found.append((name, "must not be negative"))
        if io.ir_drop_segments < 1:
            found.append(("ir_drop_segments", "must be 1 or more"))
        if io.adc_quantization and io.adc_frequency <= 0.0:
            found.append(("adc_frequency", "must be positive; adc_quantization=False is off"))
        return found + pulses.problems(io)


def check_array(io: IOParameters, x_size: int, config: Any) -> None:
    """Check what the array of a tile needs besides its parameters.

    Args:
        io: Checked parameters of the forward product.
        x_size: Inputs of the tile.
        config: Configuration of the tile.

    Raises:
        ConfigError: The rows do not fit, or weights are not pairs of conductances; the message
            names the field.
    """
    if not isinstance(io, IOParametersIRDropT) or io.is_perfect:
        return
    if io.ir_drop <= 0.0 and not io.apply_xdep_pcm_read_noise:
        return
    pair, _ = converter_of(config).convert_to_conductances(torch.zeros(1, 1, device="cpu"))
    if len(pair) % 2 == 1:
        raise ConfigError(
            "noise_model.g_converter: time-stepped products need pairs of devices for positive and"
            f" negative weights, {type(converter_of(config)).__name__} has {len(pair)} per weight"
        )
    if io.ir_drop > 0.0:
        _check_rows(io, rows_of(config) or x_size, x_size)


def _check_rows(io: IOParametersIRDropT, rows: int, x_size: int) -> None:
    if rows < x_size:
        raise ConfigError(
            f"mapping.max_input_size: {rows} rows do not hold {x_size} inputs; a layer is split"
            " over several tiles, a single tile is not"
        )
    if rows % io.ir_drop_segments:
        raise ConfigError(
            f"forward.ir_drop_segments: must divide the {rows} rows of the crossbar"
            f" (mapping.max_input_size, or the inputs if that is 0), got {io.ir_drop_segments}"
        )


def converter_of(config: Any) -> BaseConductanceConverter:
    """Return the converter of the noise model of a configuration, or the default one."""
    found = getattr(getattr(config, "noise_model", None), "g_converter", None)
    converter: BaseConductanceConverter = found or SinglePairConductanceConverter()
    return converter


def rows_of(config: Any) -> int:
    """Return the rows of the crossbar; zero is as many as there are inputs."""
    return max(0, int(config.mapping.max_input_size))


class _TimedArray:
    """The array of one call."""

    def __init__(
        self,
        mvm: type[AnalogMVM],
        weight: Tensor,
        io: IOParametersIRDropT,
        drops: bool,
        converter: BaseConductanceConverter,
        rows: int,
    ) -> None:
        self.mvm, self.weight, self.io, self.drops = mvm, weight, io, drops
        self.converter, self.rows = converter, rows
        self.full_scale, self.phases = pulses.full_scale(io), pulses.phases(io)

    def __call__(self, v: Tensor) -> list[tuple[float, Tensor]]:
        """Return the analog outputs of all phases; `v` has the converted inputs."""
        weight = self._noisy(v) if self.io.apply_xdep_pcm_read_noise else self.weight
        if self.drops:
            with torch.no_grad():
                return self._with_drop(weight, (v * self.full_scale).round())
        if self.io.mv_type is AnalogMVType.ONE_PASS:
            return [(1.0, self._multiply(weight, v))]
        ticks = self._ticks(v.detach())
        found = []
        for phase in self.phases:
            inputs = phase.part(ticks) / self.full_scale
            if tracks(v):
                inputs = inputs + (phase.ticks / self.full_scale) * (v - v.detach())
            found.append((float(phase.factor), self._multiply(weight, inputs)))
        return found

    def _multiply(self, weight: Tensor, v: Tensor) -> Tensor:
        return self.mvm._multiply(weight, v.to(weight.dtype), False)

    def _ticks(self, v: Tensor) -> Tensor:
        # An asymmetry below zero lengthens negative pulses, but none is longer than the full scale.
        return (v * self.full_scale).round().clamp(-self.full_scale, self.full_scale)

    def _noisy(self, v: Tensor) -> Tensor:
        """Return the weights with the read noise of one pass."""
        with torch.no_grad():
            activity = v.abs().nanmean() * self.full_scale
            tiny = torch.finfo(v.dtype).tiny
            x = torch.where(activity > 0.0, activity.clamp(min=tiny).log10(), 0.0)
            slope, offset = _polynomial(_SLOPE, x), _polynomial(_OFFSET, x)
            pairs, scale = self._conductances(self.weight.to(v.dtype))
            noise = torch.zeros_like(self.weight, dtype=v.dtype)
            for factor, plus, minus in pairs:
                g = plus - minus
                std = self.io.xdep_pcm_read_noise_scale * (slope * g.abs() + offset)
                noise = noise + factor * g.sign() * std * torch.randn_like(g)
            noise = (noise / scale).to(self.weight.dtype)
        return self.weight + noise

    def _conductances(
        self, weight: Tensor
    ) -> tuple[list[tuple[float, Tensor, Tensor]], Tensor | float]:
        """Return factor and two conductances per pair, and the conductance per weight."""
        found, params = self.converter.convert_to_conductances(weight)
        factors = params.get("f_lst", [1.0])
        pairs = list(zip(factors, found[::2], found[1::2], strict=True))
        return pairs, params["scale_ratio"]

    def _with_drop(self, weight: Tensor, ticks: Tensor) -> list[tuple[float, Tensor]]:
        io, one_pass = self.io, self.io.mv_type is AnalogMVType.ONE_PASS
        rows = self.rows or weight.shape[1]
        front = (rows - weight.shape[1]) // 2
        padding = (front, rows - weight.shape[1] - front)
        padded = torch.nn.functional.pad(weight.to(ticks.dtype), padding)
        ticks = torch.nn.functional.pad(ticks, padding)
        if not one_pass:
            ticks = ticks.clamp(-self.full_scale, self.full_scale)
        pairs, scale = self._conductances(padded)
        wire = io.ir_drop * io.ir_drop_rs
        ladders = [(f, ladder(g, h, io.ir_drop_segments, wire)) for f, g, h in pairs]
        found = []
        for phase in self.phases:
            pulse = ticks if one_pass else phase.part(ticks)
            counts = phase.counts(pulse, io.ir_drop_integration_sum)
            charge = self._charge(phase, counts, ladders)
            unit = scale * (PULSE_VOLTAGE * self.full_scale)
            found.append((float(phase.factor), charge / unit))
        return found

    def _charge(
        self, phase: pulses.Phase, counts: Tensor, ladders: list[tuple[float, Ladder]]
    ) -> Tensor:
        """Return the charge of all pairs as the converters count it, in microamperes and ticks."""
        io, parts = self.io, []
        for factor, columns in ladders:
            charge = columns.charge(counts, phase.steps, io.ir_drop_v_read) * phase.width()
            if io.adc_quantization:
                unit = _CHARGE_UNIT / io.adc_frequency
                charge = (charge / unit).trunc() * unit
            parts.append(factor * charge)
        return torch.stack(parts).sum(dim=0)


def _polynomial(coefficients: tuple[float, ...], x: Tensor) -> Tensor:
    value = torch.zeros_like(x)
    for coefficient in coefficients:
        value = value * x + coefficient
    return value
