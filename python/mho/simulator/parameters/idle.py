"""Fields that do nothing beside the values of others: changed ones are named, once.

Only what can have no effect at all is listed, whatever is called later. Fields of a product that is
perfect, and strengths of zero, are a choice and not listed.
"""

import dataclasses
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from mho.exceptions import warn_caller
from mho.simulator.parameters.checking import default_values, join
from mho.simulator.parameters.enums import (
    AnalogMVType,
    BoundManagementType,
    NoiseManagementType,
    PulseType,
    WeightClipType,
    WeightModifierType,
    WeightNoiseType,
    WeightRemapType,
)
from mho.simulator.parameters.inference import (
    WeightClipParameter,
    WeightModifierParameter,
    WeightRemapParameter,
)
from mho.simulator.parameters.io import IOParameters, IOParametersIRDropT
from mho.simulator.parameters.mapping import MappingParameter
from mho.simulator.parameters.pre_post import InputRangeParameter, PeripheryQuantizationParameter
from mho.simulator.parameters.training import UpdateParameters

M, N = WeightModifierType, NoiseManagementType
_ROUNDING = (M.DISCRETIZE, M.DISCRETIZE_ADD_NORMAL, M.DOREFA)
_QUIET = (*(M.DISCRETIZE, M.DOREFA), *(M.DROP_CONNECT, M.COPY), M.NONE)
_LIMITS_SCALE = (N.ABS_MAX, N.ABS_MAX_NP_SUM, N.MAX, N.CONSTANT)


@dataclasses.dataclass(frozen=True)
class Rule:
    """When fields of a class of parameters act."""

    names: tuple[str, ...]
    """Fields."""

    acts: Callable[[Any], bool]
    """Whether the fields of an object act."""

    needs: str
    """What they need for that."""


def _rule(names: str, needs: str, acts: Callable[[Any], bool]) -> Rule:
    return Rule(tuple(names.split()), acts, needs)


def _range_is_learned(p: InputRangeParameter) -> bool:
    return p.enable and p.learn_input_range


def _has_time_steps(p: IOParametersIRDropT) -> bool:
    return p.ir_drop > 0.0


RULES: dict[type, tuple[Rule, ...]] = {
    WeightModifierParameter: (
        _rule(
            "std_dev res sto_round dorefa_clip pdrop enable_during_test rel_to_actual_wmax"
            " assumed_wmax copy_last_column per_batch_sample coeffs g_max pcm_zero_thres"
            " pcm_t_inference pcm_prob_at_reset pcm_prob_at_gmax pcm_prob_at_random pcm_t0",
            "a type; DROP_CONNECT for pdrop alone",
            lambda p: p.type is not M.NONE,
        ),
        _rule("res", "a type that rounds", lambda p: p.type in _ROUNDING),
        _rule(
            "sto_round",
            "a type that rounds, and res > 0",
            lambda p: p.type in _ROUNDING and p.res > 0.0,
        ),
        _rule("dorefa_clip", "type DOREFA", lambda p: p.type is M.DOREFA),
        _rule("std_dev", "a type with noise", lambda p: p.type not in _QUIET),
        _rule("coeffs", "type POLY or PROG_NOISE", lambda p: p.type in (M.POLY, M.PROG_NOISE)),
        _rule(
            "g_max", "type PROG_NOISE or PCM_NOISE", lambda p: p.type in (M.PROG_NOISE, M.PCM_NOISE)
        ),
        _rule(
            "pcm_zero_thres pcm_t_inference pcm_prob_at_reset pcm_prob_at_gmax pcm_prob_at_random"
            " pcm_t0",
            "type PCM_NOISE",
            lambda p: p.type is M.PCM_NOISE,
        ),
        _rule("assumed_wmax", "rel_to_actual_wmax=False", lambda p: not p.rel_to_actual_wmax),
    ),
    WeightClipParameter: (
        _rule("fixed_value sigma", "a type", lambda p: p.type is not WeightClipType.NONE),
        _rule("sigma", "type LAYER_GAUSSIAN", lambda p: p.type is WeightClipType.LAYER_GAUSSIAN),
        _rule(
            "type",
            "fixed_value >= 0",
            lambda p: p.type is not WeightClipType.FIXED_VALUE or p.fixed_value >= 0.0,
        ),
        _rule(
            "type",
            "sigma > 0",
            lambda p: p.type is not WeightClipType.LAYER_GAUSSIAN or p.sigma > 0.0,
        ),
    ),
    WeightRemapParameter: (
        _rule(
            "remapped_wmax max_scale_range max_scale_ref",
            "a type",
            lambda p: p.type is not WeightRemapType.NONE,
        ),
        _rule(
            "max_scale_range max_scale_ref",
            "type CHANNELWISE_SYMMETRIC",
            lambda p: p.type is WeightRemapType.CHANNELWISE_SYMMETRIC,
        ),
        _rule("max_scale_ref", "max_scale_range > 0", lambda p: p.max_scale_range > 0.0),
    ),
    MappingParameter: (
        _rule("out_scaling_columnwise", "learn_out_scaling=True", lambda p: p.learn_out_scaling),
    ),
    InputRangeParameter: (
        # Calibration enables a range; it takes init_value and init_std_alpha, and learns nothing.
        _rule(
            "manage_output_clipping output_min_percentage decay input_min_percentage"
            " gradient_scale gradient_relative learn_input_range init_from_data",
            "enable=True",
            lambda p: p.enable,
        ),
        _rule(
            "manage_output_clipping output_min_percentage decay input_min_percentage"
            " gradient_scale gradient_relative",
            "learn_input_range=True, for they are parts of the gradient of the range",
            _range_is_learned,
        ),
        _rule(
            "output_min_percentage",
            "manage_output_clipping=True",
            lambda p: p.manage_output_clipping,
        ),
        _rule("input_min_percentage", "decay > 0", lambda p: p.decay > 0.0),
    ),
    PeripheryQuantizationParameter: (
        _rule("symmetric learn_quant_params init_learning_after", "n_bits", lambda p: p.n_bits > 0),
        _rule("init_learning_after", "learn_quant_params=True", lambda p: p.learn_quant_params),
    ),
    IOParameters: (
        _rule("inp_sto_round", "inp_res > 0", lambda p: p.inp_res > 0.0),
        _rule("inp_res", "inp_bound > 0", lambda p: p.inp_bound > 0.0 or p.inp_res <= 0.0),
        _rule("out_sto_round", "out_res > 0", lambda p: p.out_res > 0.0),
        _rule("out_res", "out_bound > 0", lambda p: p.out_bound > 0.0 or p.out_res <= 0.0),
        _rule("out_noise_std", "out_noise > 0", lambda p: p.out_noise > 0.0),
        _rule("w_noise", "a w_noise_type", lambda p: p.w_noise_type is not WeightNoiseType.NONE),
        _rule("ir_drop_g_ratio", "ir_drop > 0", lambda p: p.ir_drop > 0.0),
        _rule("out_nonlinearity_std", "out_nonlinearity > 0", lambda p: p.out_nonlinearity > 0.0),
        _rule(
            "slope_calibration",
            "out_nonlinearity or r_series",
            lambda p: p.out_nonlinearity > 0.0 or p.r_series > 0.0,
        ),
        _rule(
            "v_offset_w_min",
            "v_offset_std or r_series",
            lambda p: p.v_offset_std > 0.0 or p.r_series > 0.0,
        ),
        _rule(
            "w_read_asymmetry_dtod",
            "an mv_type with passes of negative inputs",
            lambda p: p.mv_type is not AnalogMVType.ONE_PASS,
        ),
        _rule(
            "nm_thres",
            "a noise_management that it limits",
            lambda p: p.noise_management in _LIMITS_SCALE,
        ),
        _rule(
            "nm_assumed_wmax",
            "noise_management ABS_MAX_NP_SUM",
            lambda p: p.noise_management is N.ABS_MAX_NP_SUM,
        ),
        _rule(
            "nm_decay",
            "noise_management AVERAGE_ABS_MAX",
            lambda p: p.noise_management is N.AVERAGE_ABS_MAX,
        ),
        _rule(
            "max_bm_factor max_bm_res bm_test_negative_bound",
            "bound_management",
            lambda p: p.bound_management is not BoundManagementType.NONE,
        ),
    ),
    IOParametersIRDropT: (
        _rule(
            "ir_drop_rs ir_drop_segments ir_drop_time_step_resolution_scale ir_drop_v_read"
            " adc_quantization adc_frequency ir_drop_integration_sum",
            "ir_drop > 0",
            _has_time_steps,
        ),
        _rule("adc_frequency", "adc_quantization=True", lambda p: p.adc_quantization),
        _rule(
            "xdep_pcm_read_noise_scale",
            "apply_xdep_pcm_read_noise=True",
            lambda p: p.apply_xdep_pcm_read_noise,
        ),
        _rule(
            "split_mode_bit_shift",
            "mv_type SPLIT_MODE",
            lambda p: p.mv_type is AnalogMVType.SPLIT_MODE,
        ),
        _rule(
            "ir_drop_time_step_resolution_scale",
            "an mv_type other than BIT_WISE, whose pulses have one length",
            lambda p: p.mv_type is not AnalogMVType.BIT_WISE,
        ),
    ),
    UpdateParameters: (
        _rule(
            "desired_bl fixed_bl res x_res_implicit d_res_implicit sto_round"
            " update_bl_management update_management um_grad_scale exact_pulses",
            "a pulse_type",
            lambda p: p.pulse_type is not PulseType.NONE,
        ),
        _rule(
            "x_res_implicit d_res_implicit",
            "pulse_type DETERMINISTIC_IMPLICIT",
            lambda p: p.pulse_type is PulseType.DETERMINISTIC_IMPLICIT,
        ),
        _rule("fixed_bl", "update_bl_management=False", lambda p: not p.update_bl_management),
        _rule(
            "um_grad_scale",
            "update_management=True",
            lambda p: p.update_management or p.update_bl_management,
        ),
    ),
}
"""When fields act, by class of the parameters; of several rules for a field all must hold."""

_FORWARD_ONLY = ("max_bm_factor", "max_bm_res", "bm_test_negative_bound")
_PARTS = ("forward", "backward", "update", "clip", "remap", "modifier", "mapping")
_warned: set[str] = set()


def warn_of_idle(config: object) -> None:
    """Warn of fields of a configuration that differ from their defaults and do nothing; once each.

    Defaults are those of the class of the configuration, so presets are silent.

    Args:
        config: Configuration of a tile, checked.
    """
    found = {path: needs for path, needs in idle_fields(config) if path not in _warned}
    if not found:
        return
    which = "; ".join(f"{path} needs {needs}" for path, needs in found.items())
    warn_caller(f"settings have no effect: {which}")
    _warned.update(found)


def idle_fields(config: object) -> Iterator[tuple[str, str]]:
    """Yield the changed fields of a configuration that do nothing, with what they need.

    Args:
        config: Configuration of a tile, checked.
    """
    cls: Any = type(config)
    defaults = default_values(cls)
    yield from _time_steps(getattr(config, "forward", None), defaults.get("forward"))
    for name in _PARTS:
        if (part := getattr(config, name, None)) is not None:
            yield from _idle_of_part(part, defaults.get(name), name)
    if (pre_post := getattr(config, "pre_post", None)) is not None:
        usual = defaults.get("pre_post")
        for name in ("input_range", "periph_quant"):
            if (part := getattr(pre_post, name, None)) is not None:
                yield from _idle_of_part(part, getattr(usual, name, None), f"pre_post.{name}")


def _time_steps(forward: Any, usual: Any) -> Iterator[tuple[str, str]]:
    """Yield fields of voltage loss of the other kind than the one that a tile computes."""
    if not isinstance(forward, IOParametersIRDropT) or forward.is_perfect:
        return
    if isinstance(usual, IOParametersIRDropT):
        names, needs = {"ir_drop_g_ratio"}, "the voltage loss of InferenceRPUConfig"
    else:
        names = set(default_values(IOParametersIRDropT)) - set(default_values(IOParameters))
        needs = "TorchInferenceRPUConfigIRDropT"
    for name, value in default_values(IOParametersIRDropT).items():
        if name in names and getattr(forward, name) != value:
            yield join("forward", name), needs


def _idle_of_part(part: Any, default: Any, path: str) -> Iterator[tuple[str, str]]:
    cls: Any = type(part)
    if getattr(part, "is_perfect", False) or getattr(part, "mv_type", None) is AnalogMVType.IDEAL:
        return
    usual = vars(default) if type(default) is cls else default_values(cls)
    seen = set()
    for rule in _rules_of(cls):
        if rule.acts(part):
            continue
        for name in rule.names:
            if name in seen or (path == "backward" and name in _FORWARD_ONLY):
                continue
            value = getattr(part, name)
            if value != usual.get(name, value):
                seen.add(name)
                yield join(path, name), rule.needs


@cache
def _rules_of(cls: type) -> tuple[Rule, ...]:
    return tuple(rule for base in cls.__mro__ for rule in RULES.get(base, ()))
