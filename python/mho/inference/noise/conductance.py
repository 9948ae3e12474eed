"""Formulas for noisy conductances that models of several technologies share."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mho.exceptions import ArgumentError, warn_caller
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


def check_g_max(g_converter: BaseConductanceConverter, g_max: float, **references: float) -> None:
    """Check that a model refers to the largest conductance that its devices have.

    Args:
        g_converter: Conversion of the model.
        g_max: Largest conductance that the model refers to, in microsiemens.
        references: Largest conductances that coefficients hold for, by name.

    Raises:
        ArgumentError: The converter has another one, or one of them is not positive.
    """
    if not g_max > 0.0:
        raise ArgumentError(f"g_max: must be positive, got {g_max}")
    own = getattr(g_converter, "g_max", g_max)
    if own != g_max:
        raise ArgumentError(
            f"g_max: is {g_max}, but that of g_converter {own}; build the noise model anew with its"
            " converter, whose g_max it takes over"
        )
    for name, value in references.items():
        if not value > 0.0:
            raise ArgumentError(f"{name}: must be positive, got {value}")


def warn_of_two_ranges(g_converter: BaseConductanceConverter | None, g_max: float | None) -> None:
    """Warn of a largest conductance beside a converter that has another one, which counts.

    Args:
        g_converter: Conversion as it was given.
        g_max: Largest conductance as it was given, in microsiemens.
    """
    own = getattr(g_converter, "g_max", g_max)
    if g_max is not None and own != g_max:
        warn_caller(f"g_max: {g_max:g} has no effect; the converter has {own:g} microsiemens")


def warn_of_lone_reference(reference: float | None, default: float) -> None:
    """Warn of a reference of coefficients that were not given; the default ones have their own.

    Args:
        reference: Largest conductance as it was given, in microsiemens.
        default: That of the default coefficients.
    """
    if reference is not None and reference != default:
        warn_caller(
            f"prog_coeff_g_max_reference: {reference:g} has no effect, for the default coefficients"
            f" hold for {default:g} microsiemens; give prog_coeff as well"
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
