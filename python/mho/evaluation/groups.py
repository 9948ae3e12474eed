"""Groups of non-idealities: which are there, and how a configuration is without them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mho.inference.noise.base import BaseNoiseModel
from mho.simulator.parameters.enums import (
    BoundManagementType,
    NoiseManagementType,
    WeightModifierType,
    WeightNoiseType,
)
from mho.simulator.parameters.io import IOParameters

Edit = Callable[[Any], Any]
"""Changes a configuration, a copy, in place."""

INPUT_CLIPPING = "input_clipping"
COMPENSATION = "compensation"
KEPT = frozenset({"programming", "drift", "noise"})
"""What is decided when weights are programmed."""

_WIDER = 1000.0
"""Factor on the bound of a converter that is to clip nothing; infinity would switch its steps off
as well."""


@dataclass(frozen=True)
class Group:
    """One group of non-idealities."""

    is_present: Callable[[Any], bool]
    """Whether a configuration has it."""

    remove: Edit
    """Takes it out of a configuration."""


def _noise(config: Any, name: str) -> bool:
    model = getattr(config, "noise_model", None)
    return isinstance(model, BaseNoiseModel) and float(getattr(model, name, 0.0)) != 0.0


def _scale(name: str) -> Group:
    """Return the group of a factor of noise models."""

    def remove(config: Any) -> None:
        if _noise(config, name):
            setattr(config.noise_model, name, 0.0)

    return Group(lambda config: _noise(config, name), remove)


def _io(config: Any) -> IOParameters | None:
    """Return the settings of products, None if they are exact or there are none."""
    io = getattr(config, "forward", None)
    return io if isinstance(io, IOParameters) and not io.is_perfect else None


def _forward(is_present: Callable[[Any], bool], **changes: Any) -> Group:
    """Return a group of fields of `forward`, with what they are without it."""

    def remove(config: Any) -> None:
        io = _io(config)
        if io is not None and is_present(io):
            for name, value in changes.items():
                setattr(io, name, value)

    return Group(lambda config: (io := _io(config)) is not None and is_present(io), remove)


_LINES = (
    "inp_asymmetry",
    "out_asymmetry",
    "out_nonlinearity",
    "out_nonlinearity_std",
    "v_offset_std",
    "r_series",
    "w_read_asymmetry_dtod",
)


def _is_bounded(bound: float) -> bool:
    return 0.0 < bound < math.inf


def _finer(res: float) -> float:
    """Return the resolution that has the old step with a wider bound; above one it counts steps."""
    if res <= 0.0:
        return res
    return (res if res <= 1.0 else 1.0 / res) / _WIDER


def _has_range(config: Any) -> bool:
    range_ = getattr(getattr(config, "pre_post", None), "input_range", None)
    return range_ is not None and bool(range_.enable)


def _clips_inputs(config: Any) -> bool:
    io = _io(config)
    if cannot_unclip(config):
        return False
    return _has_range(config) or (io is not None and _limits_inputs(io))


def _limits_inputs(io: IOParameters) -> bool:
    if io.noise_management is NoiseManagementType.NONE:
        return _is_bounded(io.inp_bound)
    return io.nm_thres > 0.0 or io.noise_management is NoiseManagementType.CONSTANT


def cannot_unclip(config: Any) -> bool:
    """Return whether the clipping of inputs cannot be removed without another change.

    With a constant scale of the inputs they end at 1, and another bound would need another scale.

    Args:
        config: Configuration of a tile.
    """
    io = _io(config)
    return (
        io is not None
        and io.noise_management is NoiseManagementType.CONSTANT
        and io.nm_thres > 0.0
        and io.nm_thres != 1.0
    )


def _unclip_inputs(config: Any) -> None:
    """Widen the input converter; that the input range does not clip is up to the tile."""
    io = _io(config)
    if io is None or cannot_unclip(config):
        return
    if io.noise_management is NoiseManagementType.CONSTANT:  # a scale of one, with a fixed bound
        io.noise_management = NoiseManagementType.NONE
    io.nm_thres = 0.0
    if io.noise_management is NoiseManagementType.NONE and _is_bounded(io.inp_bound):
        io.inp_bound, io.inp_res = io.inp_bound * _WIDER, _finer(io.inp_res)


def _clips_outputs(config: Any) -> bool:
    io = _io(config)
    return io is not None and _is_bounded(io.out_bound)


def _unclip_outputs(config: Any) -> None:
    io = _io(config)
    if io is not None and _is_bounded(io.out_bound):
        io.out_bound, io.out_res = io.out_bound * _WIDER, _finer(io.out_res)
        io.bound_management = BoundManagementType.NONE


def _is_modified(config: Any) -> bool:
    modifier = getattr(config, "modifier", None)
    return (
        modifier is not None
        and modifier.enable_during_test
        and modifier.type is not WeightModifierType.NONE
    )


def _unmodify(config: Any) -> None:
    if _is_modified(config):
        config.modifier.type = WeightModifierType.NONE


def _uncompensate(config: Any) -> None:
    if getattr(config, "drift_compensation", None) is not None:
        config.drift_compensation = None


GROUPS = {
    "programming": _scale("prog_noise_scale"),
    "drift": _scale("drift_scale"),
    "read": _scale("read_noise_scale"),
    "noise": _scale("noise_scale"),
    COMPENSATION: Group(
        lambda config: getattr(config, "drift_compensation", None) is not None, _uncompensate
    ),
    "dac": _forward(
        lambda io: io.inp_res > 0.0 and _is_bounded(io.inp_bound),
        inp_res=-1.0,
        inp_sto_round=False,
    ),
    "input_noise": _forward(lambda io: io.inp_noise != 0.0, inp_noise=0.0),
    INPUT_CLIPPING: Group(_clips_inputs, _unclip_inputs),
    "adc": _forward(
        lambda io: io.out_res > 0.0 and _is_bounded(io.out_bound),
        out_res=-1.0,
        out_sto_round=False,
    ),
    "output_clipping": Group(_clips_outputs, _unclip_outputs),
    "output_noise": _forward(lambda io: io.out_noise != 0.0, out_noise=0.0, out_noise_std=0.0),
    "weight_noise": _forward(
        lambda io: io.w_noise != 0.0 and io.w_noise_type is not WeightNoiseType.NONE,
        w_noise=0.0,
        w_noise_type=WeightNoiseType.NONE,
    ),
    "ir_drop": _forward(lambda io: io.ir_drop != 0.0, ir_drop=0.0),
    "lines": _forward(
        lambda io: any(getattr(io, name) != 0.0 for name in _LINES),
        **dict.fromkeys(_LINES, 0.0),
    ),
    "modifier": Group(_is_modified, _unmodify),
}
"""By name. `compensation` is what is done against drift; the others hurt."""
