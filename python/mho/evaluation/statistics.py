"""Means over programmings, and intervals for them."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mho.evaluation.student_t import t_quantile

FEWEST_FOR_BOOTSTRAP = 20
_RESAMPLES, _PIECE = 9999, 1_000_000
_SKEWED, _ENOUGH = 1.0, 25

Interval = tuple[float, float]
Summary = dict[str, Any]


def mean_of(values: Sequence[float]) -> float:
    """Return the mean, summed exactly, so that the order does not matter; NaN of nothing."""
    if not values or not all(map(math.isfinite, values)):
        return math.nan
    return math.fsum(values) / len(values)


def deviation_of(values: Sequence[float]) -> float:
    """Return the standard deviation with n - 1; NaN of fewer than two values."""
    if len(values) < 2:
        return math.nan
    mean = mean_of(values)
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))


def skewness_of(values: Sequence[float]) -> float:
    """Return the skewness of a sample, third central moment over the cube of the deviation."""
    mean = mean_of(values)
    square = mean_of([(v - mean) ** 2 for v in values])
    return mean_of([(v - mean) ** 3 for v in values]) / square**1.5 if square > 0.0 else 0.0


def is_skewed(values: Sequence[float]) -> bool:
    """Return whether intervals of these values cover less than they say."""
    return len(values) < _ENOUGH and abs(skewness_of(values)) > _SKEWED


def t_interval(values: Sequence[float], confidence: float) -> Interval:
    """Return `mean -+ t((1 + c) / 2, n - 1) sd / sqrt(n)`, NaN of fewer than two values.

    Args:
        values: One of each programming.
        confidence: `c`, between 0 and 1.
    """
    mean, half = mean_of(values), half_width(deviation_of(values), len(values), confidence)
    return mean - half, mean + half


def half_width(deviation: float, number: int, confidence: float) -> float:
    """Return half of the width of a t interval.

    Args:
        deviation: Standard deviation of the values.
        number: How many there are.
        confidence: Between 0 and 1.
    """
    if number < 2:
        return math.nan
    return t_quantile(0.5 * (1.0 + confidence), number - 1) * deviation / math.sqrt(number)


def bootstrap(seed: int) -> Callable[[Sequence[float], float], Interval]:
    """Return a function that computes percentile intervals of resampled means.

    Args:
        seed: Seed of the resampling.
    """

    def interval(values: Sequence[float], confidence: float) -> Interval:
        sample = np.asarray(values, dtype=np.float64)
        generator = np.random.default_rng(seed)
        # In pieces, so that many programmings do not need much memory.
        size = max(1, _PIECE // len(sample))
        pieces = [min(size, _RESAMPLES - first) for first in range(0, _RESAMPLES, size)]
        drawn = np.concatenate(
            [
                sample[generator.integers(0, len(sample), (rows, len(sample)))].mean(axis=1)
                for rows in pieces
            ]
        )
        tail = 50.0 * (1.0 - confidence)
        low, high = np.percentile(drawn, [tail, 100.0 - tail])
        return float(low), float(high)

    return interval


def welch(first: Sequence[float], second: Sequence[float], confidence: float) -> Interval:
    """Return the interval of the difference of two means, second minus first.

    For unequal variances: Welch, Biometrika 34:28, 1947.

    Args:
        first: Values, one of each programming.
        second: Others.
        confidence: Between 0 and 1.
    """
    difference = mean_of(second) - mean_of(first)
    if min(len(first), len(second)) < 2:
        return math.nan, math.nan
    shares = [deviation_of(v) ** 2 / len(v) for v in (first, second)]
    total = sum(shares)
    if not total > 0.0:
        return difference, difference
    parts = [s**2 / (len(v) - 1) for s, v in zip(shares, (first, second), strict=True)]
    t = t_quantile(0.5 * (1.0 + confidence), total**2 / sum(parts))
    return difference - t * math.sqrt(total), difference + t * math.sqrt(total)


def summary(
    reads: Sequence[Sequence[float]],
    sign: float,
    interval: Callable[[Sequence[float], float], Interval],
    confidence: float,
) -> Summary:
    """Return the columns of a table: mean, interval, and where the spread comes from.

    Args:
        reads: Values of all reads, one sequence of each programming, in their order.
        sign: 1 if more is better, else -1.
        interval: Function that computes it.
        confidence: Between 0 and 1.
    """
    means = [mean_of(values) for values in reads]
    usable = bool(means) and all(map(math.isfinite, means))
    low, high = interval(means, confidence) if usable else (math.nan, math.nan)
    number = min((len(values) for values in reads), default=0)
    sd = deviation_of(means) if usable else math.nan
    sd_read = sd_programming = math.nan
    if number >= 2 and usable:
        sd_read = math.sqrt(mean_of([deviation_of(values) ** 2 for values in reads]))
        sd_programming = math.sqrt(max(0.0, sd**2 - sd_read**2 / number))
    ranked = sorted(means, key=lambda v: sign * v) if usable else [math.nan]
    return {
        "mean": mean_of(means),
        "low": low,
        "high": high,
        "sd": sd,
        "sd_read": sd_read,
        "sd_programming": sd_programming,
        "worst": ranked[0],
        "best": ranked[-1],
        "n": len(means),
    }
