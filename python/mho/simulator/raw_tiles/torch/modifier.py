"""Modified weights of tiles that compute in torch.

Conventions are those of torch tiles where aihwkit has some: `MULT_NORMAL` without `wmax`, levels of
`DISCRETIZE` at multiples of `2 res wmax`, a `res` above one as the number of levels per full range,
rounding half to even, draws from torch's default generator. What aihwkit refuses here has the only
definition that there is, that of the core; `DISCRETIZE_ADD_NORMAL` is `DISCRETIZE`, then
`ADD_NORMAL`.

Weights in half precision are modified in float32 and rounded at the end.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mho.simulator.parameters.enums import WeightModifierType
from mho.simulator.parameters.inference import WeightModifierParameter
from mho.simulator.raw_tiles.torch.dac_adc import tracks
from mho.simulator.raw_tiles.torch.pcm_noise import pcm_noise

_LOW_PRECISION = (torch.float16, torch.bfloat16)


class StraightThrough(torch.autograd.Function):
    """Modified weights, whose gradient is that of the weights themselves."""

    generate_vmap_rule = True

    @staticmethod
    def forward(weight: Tensor, modified: Tensor) -> Tensor:
        """Return the modified weights.

        Args:
            weight: Shape `[out, in]`.
            modified: The same shape, or `[samples, out, in]`.
        """
        return modified.view_as(modified)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        """Keep whether there is a matrix for each sample."""
        ctx.is_per_sample = inputs[1].dim() > inputs[0].dim()

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        """Return the gradient, summed over samples."""
        return (grad_output.sum(0) if ctx.is_per_sample else grad_output), None


def modify_weight(weight: Tensor, params: WeightModifierParameter, samples: int | None) -> Tensor:
    """Return modified weights; gradients pass straight through to the weights.

    Args:
        weight: Raw weights, shape `[out, in]`.
        params: Kind and strengths.
        samples: Number of independent draws; None for one without an axis of its own.

    Returns:
        Shape `[out, in]`, or `[samples, out, in]` if samples are asked for and anything is drawn.
    """
    values = _modified(weight.detach(), params, samples)
    if not tracks(weight):
        return values
    through: Tensor = StraightThrough.apply(weight, values)
    return through


def _modified(weight: Tensor, params: WeightModifierParameter, samples: int | None) -> Tensor:
    precise = weight.float() if weight.dtype in _LOW_PRECISION else weight
    wmax = _largest(precise, params)
    if samples is not None and _draws(params):
        precise = precise.expand(samples, *precise.shape)
    new = _FORMULAS[params.type](precise, params, wmax)
    if params.pdrop > 0.0:
        new = torch.where(torch.rand_like(new) < params.pdrop, torch.zeros_like(new), new)
    if params.copy_last_column:
        new = torch.cat([new[..., :-1], precise[..., -1:]], dim=-1)
    return new.to(weight.dtype)


def _draws(params: WeightModifierParameter) -> bool:
    """Return whether anything is drawn."""
    kind = params.type
    if params.pdrop > 0.0 or kind is WeightModifierType.PCM_NOISE:
        return True
    return (kind in _NOISY and params.std_dev > 0.0) or (
        kind in _ROUNDED and params.sto_round and params.res > 0.0
    )


def _largest(weight: Tensor, params: WeightModifierParameter) -> Tensor:
    """Return `wmax`, a scalar."""
    if not params.rel_to_actual_wmax:
        return weight.new_full((), params.assumed_wmax)
    used = weight[:, :-1] if params.copy_last_column else weight
    if used.numel() == 0:
        return weight.new_ones(())
    largest = used.abs().amax()
    return torch.where(largest > 0.0, largest, torch.ones_like(largest))


def _rounded(values: Tensor, step: Tensor, params: WeightModifierParameter) -> Tensor:
    # By a step that underflows nothing can be divided.
    step = step.clamp(min=torch.finfo(step.dtype).tiny)
    ticks = values / step
    if params.sto_round:
        ticks = ticks + (torch.rand_like(ticks) - 0.5)
    return torch.round(ticks) * step


def _fraction(res: float) -> float:
    return 1.0 / res if res > 1.0 else res


def _unchanged(weight: Tensor, params: WeightModifierParameter, wmax: Tensor) -> Tensor:
    return weight


def _discretize(weight: Tensor, params: WeightModifierParameter, wmax: Tensor) -> Tensor:
    if params.res <= 0.0:
        return weight
    return _rounded(weight, 2.0 * _fraction(params.res) * wmax, params)


def _mult_normal(weight: Tensor, params: WeightModifierParameter, wmax: Tensor) -> Tensor:
    if params.std_dev <= 0.0:
        return weight
    return weight + weight * params.std_dev * torch.randn_like(weight)


def _add_normal(weight: Tensor, params: WeightModifierParameter, wmax: Tensor) -> Tensor:
    if params.std_dev <= 0.0:
        return weight
    return weight + params.std_dev * wmax * torch.randn_like(weight)


def _discretize_add_normal(weight: Tensor, params: WeightModifierParameter, wmax: Tensor) -> Tensor:
    return _add_normal(_discretize(weight, params, wmax), params, wmax)


def _dorefa(weight: Tensor, params: WeightModifierParameter, wmax: Tensor) -> Tensor:
    if params.res <= 0.0:
        return weight
    # Of weights below 1e-38 it is beyond the precision, and infinity times zero is not a number.
    scale = (params.dorefa_clip / torch.tanh(wmax)).abs().clamp(max=torch.finfo(wmax.dtype).max)
    return _rounded(
        torch.tanh(weight) * scale, torch.full_like(wmax, _fraction(params.res)), params
    )


def _poly(weight: Tensor, params: WeightModifierParameter, wmax: Tensor) -> Tensor:
    if params.std_dev <= 0.0 or not params.coeffs:
        return weight
    strength = params.std_dev * wmax * _polynomial(weight.abs() / wmax, params.coeffs)
    return weight + strength * torch.randn_like(weight)


def _prog_noise(weight: Tensor, params: WeightModifierParameter, wmax: Tensor) -> Tensor:
    if params.std_dev <= 0.0 or not params.coeffs:
        return weight
    relative = _polynomial(weight.abs() / wmax, params.coeffs)
    strength = params.std_dev / params.g_max * wmax * relative
    noisy = (weight + strength * torch.randn_like(weight)).abs()
    return torch.where(weight < 0.0, -noisy, noisy)


def _polynomial(relative: Tensor, coeffs: list[float]) -> Tensor:
    values = torch.zeros_like(relative)
    for coeff in reversed(coeffs):
        values = values * relative + coeff
    return values


_FORMULAS: dict[WeightModifierType, Callable[[Tensor, WeightModifierParameter, Tensor], Tensor]] = {
    WeightModifierType.NONE: _unchanged,
    WeightModifierType.COPY: _unchanged,
    WeightModifierType.DROP_CONNECT: _unchanged,
    WeightModifierType.DISCRETIZE: _discretize,
    WeightModifierType.MULT_NORMAL: _mult_normal,
    WeightModifierType.ADD_NORMAL: _add_normal,
    WeightModifierType.DISCRETIZE_ADD_NORMAL: _discretize_add_normal,
    WeightModifierType.DOREFA: _dorefa,
    WeightModifierType.POLY: _poly,
    WeightModifierType.PROG_NOISE: _prog_noise,
    WeightModifierType.PCM_NOISE: pcm_noise,
}
_ROUNDED = (
    WeightModifierType.DISCRETIZE,
    WeightModifierType.DISCRETIZE_ADD_NORMAL,
    WeightModifierType.DOREFA,
)
_NOISY = (
    WeightModifierType.MULT_NORMAL,
    WeightModifierType.ADD_NORMAL,
    WeightModifierType.DISCRETIZE_ADD_NORMAL,
    WeightModifierType.POLY,
    WeightModifierType.PROG_NOISE,
)
