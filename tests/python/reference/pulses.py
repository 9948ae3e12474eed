"""Pulses of one sample, where no draw decides about them."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mho.simulator.configs import PulseType, UpdateParameters

Array = NDArray[np.float32]
Counts = NDArray[np.int64]

# How far rounding may take a probability from one, and a wanted number of pulses from an integer.
ROUNDING = 1e-6


class NotDeterministicError(ValueError):
    """A draw would decide about a pulse."""


def single(values: ArrayLike) -> Array:
    """Return values with single precision, as a copy."""
    return np.array(values, np.float32)


def pulse_counts(
    x: Array, d: Array, lr: float, granularity: float, update: UpdateParameters
) -> Counts:
    """Return the pulses of every cell for ``w -= lr * outer(d, x)``, shape ``[out, in]``.

    Positive numbers are pulses that decrease the weight.
    """
    slots, scale_d, scale_x = trains(x, d, abs(lr), granularity, update)
    sign = np.sign(lr) * np.outer(np.sign(d), np.sign(x))
    if slots <= 0:
        return np.zeros(sign.shape, np.int64)
    p_x, p_d = scale_x * np.abs(x.astype(np.float64)), scale_d * np.abs(d.astype(np.float64))
    if update.pulse_type is PulseType.DETERMINISTIC_IMPLICIT:
        p_x = np.clip(in_steps(p_x, update.x_res_implicit), 0.0, 1.0)
        p_d = np.clip(in_steps(p_d, update.d_res_implicit), 0.0, 1.0)
        number = np.rint(slots * np.outer(p_d, p_x))
    elif update.pulse_type in (PulseType.STOCHASTIC, PulseType.STOCHASTIC_COMPRESSED):
        number = slots * np.outer(fires(p_d), fires(p_x))
    else:
        raise NotDeterministicError(f"no counts for {update.pulse_type}")
    return (sign * number).astype(np.int64)


def trains(
    x: Array, d: Array, lr: float, granularity: float, update: UpdateParameters
) -> tuple[int, float, float]:
    """Return the number of slots, and what errors and inputs are multiplied with."""
    longest = update.desired_bl
    slots = longest
    factor = np.sqrt(lr / (granularity * slots))
    if not (update.fixed_bl or update.update_bl_management) and granularity * longest < lr:
        slots, factor = max(int(np.ceil(lr / granularity)), 1), 1.0
    if not (update.update_management or update.update_bl_management):
        return slots, factor, factor
    x_max, d_max = float(np.abs(x).max()), float(np.abs(d).max()) * update.um_grad_scale
    wanted = lr * x_max * d_max / granularity
    if wanted == 0.0:
        return 0, 0.0, 0.0
    if update.update_bl_management:
        slots = min(max(int(np.ceil(wanted * (1 - ROUNDING))), 1), longest)
        factor = np.sqrt(lr / (granularity * slots))
    if wanted > longest:
        d_max *= longest / wanted
    balance = np.sqrt(x_max / d_max)
    return slots, factor * balance, factor / balance


def in_steps(p: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """Return probabilities rounded to multiples of a step; no step leaves them alone."""
    return p if step <= 0 else np.rint(p / step) * step


def fires(p: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which lines fire in every slot; the others must not fire at all."""
    always = p >= 1 - ROUNDING
    if not np.all(always | (p == 0)):
        raise NotDeterministicError(f"probabilities between zero and one: {p}")
    return always
