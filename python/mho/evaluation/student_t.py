"""Quantiles of Student's t distribution, which intervals of few values need."""

import math
from statistics import NormalDist

_EPSILON = 1e-15
_TINY = 1e-300
_ROUNDS = 100_000


def t_quantile(probability: float, freedom: float) -> float:
    """Return the quantile of Student's t distribution.

    By bisection of the distribution function `1 - I_x(v/2, 1/2) / 2`, `x = v / (v + t^2)`
    (Abramowitz and Stegun 26.7.1), which is monotonic, so that nothing can diverge.

    Args:
        probability: Above a half, below one.
        freedom: Degrees of freedom, positive, not necessarily an integer.
    """
    high = max(2.0, 2.0 * NormalDist().inv_cdf(probability))
    while t_distribution(high, freedom) < probability:
        high *= 2.0
    low = 0.0
    while high - low > 4e-16 * high:
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        if t_distribution(middle, freedom) < probability:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def t_distribution(value: float, freedom: float) -> float:
    """Return the distribution function of Student's t.

    Args:
        value: Not negative.
        freedom: Degrees of freedom.
    """
    square = value * value
    return 1.0 - 0.5 * _incomplete_beta(
        freedom / (freedom + square), square / (freedom + square), 0.5 * freedom, 0.5
    )


def _incomplete_beta(x: float, rest: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function `I_x(a, b)`; `rest` is `1 - x`."""
    if x <= 0.0:
        return 0.0
    if rest <= 0.0:
        return 1.0
    if x > (a + 1.0) / (a + b + 2.0):  # where the fraction of the other side converges fast
        return 1.0 - _incomplete_beta(rest, x, b, a)
    front = a * math.log(x) + b * math.log(rest)
    front += math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return math.exp(front) / (a * _fraction(x, a, b))


def _fraction(x: float, a: float, b: float) -> float:
    """Return the continued fraction of the incomplete beta function (DLMF 8.17.22), by Lentz."""
    value = top = 1.0
    bottom = 0.0
    for n in range(1, _ROUNDS):
        m = n // 2
        if n % 2:
            term = -(a + m) * (a + b + m) * x / ((a + n - 1) * (a + n))
        else:
            term = m * (b - m) * x / ((a + n - 1) * (a + n))
        bottom = 1.0 / _not_zero(1.0 + term * bottom)
        top = _not_zero(1.0 + term / top)
        value *= top * bottom
        if abs(top * bottom - 1.0) < _EPSILON:
            break
    return value


def _not_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
