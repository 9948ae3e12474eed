"""Weights with the errors of phase-change memory, in torch; twin of `src/modifier/pcm.rs`.

Programming noise, variation of the drift, read noise and stuck devices, with the numbers of the
statistical model of Nandakumar et al., "Phase-change memory models for deep learning training and
inference", ICECS 2019, in microsiemens. Mean drift is left out: its compensation is assumed.
"""

import math

import torch
from torch import Tensor

from mho.simulator.parameters.inference import WeightModifierParameter

_PROGRAMMING = (0.26348, 1.9650, -1.1731)
_T_READ = 250e-9


def pcm_noise(weight: Tensor, params: WeightModifierParameter, wmax: Tensor) -> Tensor:
    """Return modified weights.

    Args:
        weight: Raw weights, any shape.
        params: Strengths.
        wmax: Weight of the largest conductance, a scalar.
    """
    noise, g_max = max(params.std_dev, 0.0), params.g_max
    g = weight.maximum(-wmax).minimum(wmax) * (g_max / wmax)
    zero = torch.zeros_like(g)
    g = torch.where(g.abs() <= params.pcm_zero_thres * noise * _PROGRAMMING[0], zero, g)
    is_negative = g < 0.0
    g = _stuck(g, params).clamp(-g_max, g_max)
    relative = g.abs() / g_max
    a, b, c = _PROGRAMMING
    strength = noise * (a + relative * (b + relative * c))
    programmed = g + strength * torch.randn_like(g)
    size = _at_time(programmed, params, noise).abs() * (wmax / g_max)
    return torch.where(g == 0.0, zero, torch.where(is_negative, -size, size))


def _stuck(g: Tensor, params: WeightModifierParameter) -> Tensor:
    """Return conductances, those of stuck devices where they are stuck."""
    g_max = params.g_max
    if params.pcm_prob_at_reset > 0.0:
        g = torch.where(torch.rand_like(g) < params.pcm_prob_at_reset, torch.zeros_like(g), g)
    if params.pcm_prob_at_gmax > 0.0:
        full = torch.where(torch.rand_like(g) < 0.5, g + g_max, g - g_max)
        g = torch.where(torch.rand_like(g) < params.pcm_prob_at_gmax, full, g)
    if params.pcm_prob_at_random > 0.0:
        size = (1.0 - torch.rand_like(g)) * g_max  # above 0, up to 1
        anywhere = torch.where(g > 0.0, size, -size)
        g = torch.where(torch.rand_like(g) < params.pcm_prob_at_random, anywhere, g)
    return g


def _at_time(programmed: Tensor, params: WeightModifierParameter, noise: float) -> Tensor:
    """Return what is read of programmed conductances."""
    time = params.pcm_t_inference + params.pcm_t0
    relative = programmed.abs() / params.g_max
    g = programmed
    if time > params.pcm_t0:
        logarithm = relative.clamp(min=1e-6).log()
        spread = (-0.0125 * logarithm - 0.0059).clamp(0.008, 0.045)
        exponent = (spread * torch.randn_like(g)).abs()
        g = g * torch.exp(-math.log(time / params.pcm_t0) * exponent)
    if time > 0.0 and noise > 0.0:
        # Before the first half of a read there is nothing to see of its noise.
        growth = math.sqrt(max(math.log((time + _T_READ) / (2.0 * _T_READ)), 0.0))
        strength = (0.0088 / relative.pow(0.65).clamp(min=1e-3)).clamp(max=0.2)
        g = g + noise * growth * g.abs() * strength * torch.randn_like(g)
    return g
