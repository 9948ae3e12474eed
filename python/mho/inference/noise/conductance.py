"""Formulas for noisy conductances that models of several technologies share."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mho.exceptions import ArgumentError
from mho.inference.converter.base import BaseConductanceConverter


def converter_g_max(g_converter: BaseConductanceConverter, g_max: float | None) -> float:
    """Return the largest conductance that a model refers to.

    Args:
        g_converter: Conversion; its `g_max` counts if it has one.
        g_max: Largest conductance to use otherwise, in microsiemens.

    Raises:
        ArgumentError: Neither gives one.
    """
    value = getattr(g_converter, "g_max", g_max)
    if value is None:
        raise ArgumentError(
            "g_max: the converter has none; pass the largest conductance in microsiemens"
        )
    return float(value)


def check_g_max(g_max: float, g_converter: BaseConductanceConverter) -> None:
    """Check that a model and its converter mean the same largest conductance.

    Args:
        g_max: That of the model, in microsiemens.
        g_converter: Conversion.

    Raises:
        ArgumentError: They differ, or it is not positive.
    """
    if not g_max > 0.0:
        raise ArgumentError(f"g_max: must be positive, got {g_max}")
    used = getattr(g_converter, "g_max", g_max)
    if used != g_max:
        raise ArgumentError(
            f"g_max: is {g_max}, but g_converter has {used}, so that errors would not be those of"
            " the conductances that are used; make another model with the new g_max"
        )


def polynomial(values: Tensor, coefficients: Sequence[float]) -> Tensor:
    """Return a polynomial of each value.

    Args:
        values: Values.
        coefficients: Constant term first.
    """
    total = torch.zeros_like(values)
    for coefficient in reversed(coefficients):
        total = total * values + coefficient
    return total


def program_with_spread(g_target: Tensor, sigma: Tensor, scale: float) -> Tensor:
    """Return conductances as programming with a normal error arrives at them, not below 0.

    Args:
        g_target: Target conductances, in microsiemens.
        sigma: Standard deviation of the error of each device, in microsiemens.
        scale: Factor on the error.

    Raises:
        ArgumentError: A target is negative.
    """
    check_targets(g_target)
    noise = scale * sigma * torch.randn_like(g_target)
    return (g_target + noise).clamp(min=0.0)


# Own conversions round: a thousandth of a microsiemens is less than any device can be set to.
_LOWEST_TARGET = -1e-3


def check_targets(g_target: Tensor) -> None:
    """Check that targets are no negative conductances, which programming would make zero.

    Args:
        g_target: Target conductances, in microsiemens.

    Raises:
        ArgumentError: One is below zero by more than rounding.
    """
    lowest = float(g_target.min()) if g_target.numel() else 0.0
    if lowest < _LOWEST_TARGET:
        raise ArgumentError(
            f"g_target: conductances cannot be negative, found {lowest:.4g}; a conversion has to"
            " give devices of both signs, or an offset, to weights"
        )


def power_law_drift(g_prog: Tensor, exponents: Tensor | None, t_ratio: float) -> Tensor:
    """Return conductances after drift as `t_ratio**-exponent`.

    Args:
        g_prog: Programmed conductances, in microsiemens.
        exponents: Drift exponents, one per device; None is no drift.
        t_ratio: Time relative to the first moment with drift; one or less is no drift.

    Raises:
        ArgumentError: There is not one exponent per device.
    """
    if exponents is None:
        return g_prog
    if exponents.shape != g_prog.shape:
        raise ArgumentError(
            f"drift_noise_param: expected shape {tuple(g_prog.shape)}, got {tuple(exponents.shape)}"
        )
    if t_ratio <= 1.0:
        return g_prog
    return g_prog * t_ratio ** (-exponents)


def read_noise_growth(t: float, t_read: float) -> float:
    r"""Return how read noise grows with time, zero below `t_read`.

    For 1/f noise it is $\sqrt{\ln((t + t_{read}) / 2 t_{read})}$.

    Args:
        t: Time since programming, in seconds.
        t_read: Duration of a read, in seconds.
    """
    return math.sqrt(max(math.log((t + t_read) / (2.0 * t_read)), 0.0))


def interpolate(values: Tensor, nodes: Tensor, ordinates: Sequence[float]) -> Tensor:
    """Return piecewise linear interpolation, constant beyond the ends.

    Args:
        values: Where to interpolate.
        nodes: Ascending abscissae, at least two.
        ordinates: Value at each of them.
    """
    heights = nodes.new_tensor(ordinates)
    clamped = values.clamp(float(nodes[0]), float(nodes[-1]))
    upper = torch.bucketize(clamped, nodes).clamp(1, len(nodes) - 1)
    lower = upper - 1
    fraction = (clamped - nodes[lower]) / (nodes[upper] - nodes[lower])
    return heights[lower] + fraction * (heights[upper] - heights[lower])
