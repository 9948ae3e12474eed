"""Means, intervals and what they cover."""

import math
import statistics
from typing import Any

import numpy as np
import pytest
from torch import nn

import mho
from evaluation_cases import inference_config, one_layer
from mho.evaluation import Evaluation, Metric, compare
from mho.evaluation.statistics import (
    bootstrap,
    half_width,
    is_skewed,
    skewness_of,
    summary,
    t_interval,
    welch,
)
from mho.evaluation.student_t import t_distribution, t_quantile
from mho.exceptions import ArgumentError


@pytest.mark.parametrize("freedom", [1, 2, 3.7, 4, 9, 24, 99, 1e3, 1e6])
@pytest.mark.parametrize("probability", [0.51, 0.9, 0.975, 0.995, 0.9999995])
def test_quantiles_of_student(freedom: float, probability: float) -> None:
    """Against SciPy; both compute in double precision, and lose some of it in far tails."""
    stats = pytest.importorskip("scipy.stats")
    assert t_quantile(probability, freedom) == pytest.approx(
        float(stats.t.ppf(probability, freedom)), rel=1e-8
    )


def test_quantiles_in_closed_form() -> None:
    """One degree of freedom is Cauchy's distribution; two have a square root."""
    for p in (0.6, 0.975, 0.999):
        assert t_quantile(p, 1) == pytest.approx(math.tan(math.pi * (p - 0.5)), rel=1e-12)
        a = 2.0 * p - 1.0
        assert t_quantile(p, 2) == pytest.approx(a * math.sqrt(2.0 / (1.0 - a * a)), rel=1e-12)
    assert t_distribution(0.0, 5) == 0.5


@pytest.mark.parametrize(("n", "expected"), [(5, 1.242), (10, 0.715), (25, 0.413), (100, 0.198)])
def test_half_widths(n: int, expected: float) -> None:
    assert half_width(1.0, n, 0.95) == pytest.approx(expected, abs=5e-4)


def test_columns_of_a_table() -> None:
    """Every column against its formula, for three programmings of two reads."""
    reads = [[1.0, 2.0], [4.0, 8.0], [5.0, 5.5]]
    means = [1.5, 6.0, 5.25]
    row = summary(reads, -1.0, t_interval, 0.9)
    sd, sd_read = statistics.stdev(means), math.sqrt((0.5 + 8.0 + 0.125) / 3)
    assert row["mean"] == pytest.approx(4.25) and row["sd"] == pytest.approx(sd)
    assert row["sd_read"] == pytest.approx(sd_read)
    assert row["sd_programming"] == pytest.approx(math.sqrt(sd**2 - sd_read**2 / 2))
    half = 2.9199856 * sd / math.sqrt(3)  # quantile of two degrees of freedom at 95 %
    assert (row["low"], row["high"]) == pytest.approx((4.25 - half, 4.25 + half), rel=1e-6)
    assert (row["worst"], row["best"], row["n"]) == (6.0, 1.5, 3)


def test_reads_may_explain_everything() -> None:
    """Then what is left for programmings is zero, not the root of a negative number."""
    row = summary([[0.0, 10.0], [1.0, 9.0]], 1.0, t_interval, 0.95)
    assert row["sd_programming"] == 0.0
    row = summary([[0.0], [1.0]], 1.0, t_interval, 0.95)
    assert math.isnan(row["sd_read"]) and math.isnan(row["sd_programming"])


def test_skewness() -> None:
    normal, tail = np.random.default_rng(1).normal(size=24), np.exp(np.arange(10.0))
    stats = pytest.importorskip("scipy.stats")
    assert skewness_of(list(tail)) == pytest.approx(float(stats.skew(tail)))
    assert is_skewed(list(tail)) and not is_skewed(list(normal)) and not is_skewed(list(tail) * 3)
    assert skewness_of([2.0, 2.0, 2.0]) == 0.0


def test_unequal_variances() -> None:
    stats = pytest.importorskip("scipy.stats")
    draw = np.random.default_rng(3)
    first, second = draw.normal(0, 1, 8), draw.normal(1, 4, 5)
    test = stats.ttest_ind(second, first, equal_var=False).confidence_interval(0.9)
    assert welch(list(first), list(second), 0.9) == pytest.approx((test.low, test.high), rel=1e-6)
    assert welch([1.0, 1.0], [2.0, 2.0], 0.9) == (1.0, 1.0)
    assert all(map(math.isnan, welch([1.0], [2.0, 3.0], 0.9)))


def covered(n: int, draws: int, interval: Any) -> float:
    """Share of intervals of normal values that have the mean in them."""
    draw = np.random.default_rng(7)
    inside = 0
    for _ in range(draws):
        low, high = interval(list(draw.normal(size=n)), 0.95)
        inside += low <= 0.0 <= high
    return inside / draws


def test_coverage_of_t_intervals() -> None:
    """Nominal 95 %: three standard errors of 1000 draws are 2.1 %."""
    assert covered(5, 1000, t_interval) == pytest.approx(0.95, abs=0.021)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "expected"), [(3, 0.758), (25, 0.934)])
def test_coverage_of_the_bootstrap(n: int, expected: float) -> None:
    """Far less than it says of few values, which is why it is refused there.

    Three standard errors of 1000 draws here and of the 2000 of the expected number: 5 and 2.9 %.
    """
    error = 3.0 * math.sqrt(expected * (1.0 - expected) * (1 / 1000 + 1 / 2000))
    assert covered(n, 1000, bootstrap(5)) == pytest.approx(expected, abs=error)


class Drawn:
    """A metric that is drawn: one part of the programming, one of the read."""

    def __init__(self, programming: float, read: float) -> None:
        self.programming, self.read = programming, read

    def __call__(self, model: nn.Module, data: Any) -> float:
        # The sum of the programmed weights is a number that each programming has for itself.
        tile: Any = next(model[0].analog_tiles())
        number = float(tile.programmed_weights.double().sum()) * 1e6
        chip = np.random.default_rng(int(abs(number))).normal() * self.programming
        return float(chip + np.random.normal() * self.read)


def drawn(metric: Drawn, **arguments: Any) -> Evaluation:
    model = one_layer(np_weight(), inference_config(perfect=True))
    return mho.evaluate(
        model, [(np_weight(), np_weight())], metric, times="programmed", reference=None,
        progress=False, **arguments,
    )  # fmt: skip


def np_weight() -> Any:
    import torch

    return torch.tensor([[1.0, -0.5], [0.25, 0.75]])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_coverage_of_the_whole() -> None:
    """Of a thousand evaluations of five programmings; three standard errors are 2.1 %."""
    inside = 0
    for seed in range(1000):
        (row,) = drawn(Drawn(1.0, 0.0), n_programmings=5, seed=seed).table
        inside += row["low"] <= 0.0 <= row["high"]
    assert 0.929 <= inside / 1000 <= 0.971


@pytest.mark.slow
def test_spread_of_programmings_and_reads() -> None:
    """Standard deviations that went in come out, within three standard errors.

    Of `sd_read`, with 200 * 3 degrees of freedom, 3 / sqrt(2 * 600) is 0.09. The variance between
    means is 0.25 + 1/4, its standard error sqrt(2 / 199) of that: 0.05, which moves its part of
    programmings, 0.25, by 0.15 in three, and the root of it by 0.16.
    """
    (row,) = drawn(Drawn(0.5, 1.0), n_programmings=200, n_reads=4).table
    assert row["sd_programming"] == pytest.approx(0.5, abs=0.16)
    assert row["sd_read"] == pytest.approx(1.0, abs=0.09)


def table(**columns: Any) -> Evaluation:
    row = {"time": "1 h", "seconds": 3600.0, "metric": "m", "sd": 2.0, **columns}
    return Evaluation(table=[row], settings={"confidence": 0.95, "directions": {"m": 1.0}})


def test_recommended_number() -> None:
    """The smallest that suffices: one less does not."""
    for width in (0.05, 0.5, 2.0, 40.0):
        n = table().recommend_n(width)
        assert half_width(2.0, n, 0.95) <= width
        assert n == 2 or half_width(2.0, n - 1, 0.95) > width
    assert table().recommend_n(2.0, metric="m", time="1 h") == 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"half_width": 0.0}, "half_width"),
        ({"half_width": 1e-9}, "million|1000000"),
        ({"half_width": 1.0, "metric": "x"}, "metric"),
        ({"half_width": 1.0, "time": "1 d"}, "time"),
    ],
)
def test_impossible_recommendations(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        table().recommend_n(**arguments)


def test_no_recommendation_without_spread() -> None:
    with pytest.raises(ArgumentError, match="two programmings"):
        table(sd=math.nan).recommend_n(1.0)


def samples(values: list[float], seed: int) -> Evaluation:
    rows = [
        {"variant": "full", "time": "1 h", "seconds": 3600.0, "metric": "m", "programming": p,
         "read": 0, "value": v} for p, v in enumerate(values)
    ]  # fmt: skip
    return Evaluation(samples=rows, settings={"seed": seed})


def test_comparison_of_the_same_chips_is_paired() -> None:
    first, second = [1.0, 5.0, 9.0], [2.0, 6.5, 9.5]
    (row,) = compare({"a": samples(first, 0), "b": samples(second, 0)}).table
    differences = [b - a for a, b in zip(first, second, strict=True)]
    assert row["paired"] and row["difference"] == pytest.approx(1.0)
    assert (row["low"], row["high"]) == pytest.approx(t_interval(differences, 0.95))


def test_comparison_of_other_chips_is_not() -> None:
    first, second = [1.0, 5.0, 9.0], [2.0, 6.5, 9.5, 7.0]
    found = compare({"a": samples(first, 0), "b": samples(second, 1)}, confidence=0.8)
    (row,) = found.table
    assert not row["paired"] and row["difference"] == pytest.approx(1.25)
    assert (row["low"], row["high"]) == pytest.approx(welch(first, second, 0.8))
    assert "difference" in repr(found)


def test_refused_comparisons() -> None:
    one = samples([1.0, 2.0], 0)
    other = samples([1.0, 2.0], 0)
    for row in other.samples:
        row["metric"] = "another"
    with pytest.raises(ArgumentError, match="two or more"):
        compare({"a": one})
    with pytest.raises(ArgumentError, match="in common"):
        compare({"a": one, "b": other})
    with pytest.raises(ArgumentError, match="confidence"):
        compare({"a": one, "b": one}, confidence=1.0)


def test_direction_of_a_metric() -> None:
    """What is worst follows from it, also by name."""
    metric = Metric(lambda model, data: {"up": 1.0, "down": 2.0}, {"down": False})
    assert metric.sign("up") == 1.0 and metric.sign("down") == -1.0
    assert metric.name == "metric" and Metric(test_skewness).name == "test_skewness"
