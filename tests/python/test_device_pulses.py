"""Pulses of all devices against their formulas: one, and many added up by the kernels.

A new device takes part as soon as its test file has a formula, see ``pulsed.py``.
"""

import copy
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from mho.simulator.configs import UpdateParameters
from pulsed import (
    Array,
    Sample,
    apply,
    build,
    cases,
    cells_of,
    differences,
    equal,
    formula,
    pulse,
    put,
    raw,
    samples,
    simulate,
    tile_of,
    worst,
)

CASES = cases()


@pytest.mark.parametrize(("name", "at"), CASES)
@pytest.mark.parametrize("up", [True, False])
def test_one_pulse(name: str, at: int, up: bool) -> None:
    """Without noise, with all spreads between cells, over and beyond the range."""
    device = build(name, at, dw_min_std=0.0)
    tile = tile_of(device, 13, 71)
    start = put(tile, np.linspace(-1.3, 1.3, 13 * 71).reshape(13, 71))
    tile.update((-1.0 if up else 1.0) * torch.ones(1, 71), torch.ones(1, 13))
    expected = pulse(formula(name), device, cells_of(tile), start, up, 0.0)
    found = raw(tile)
    assert np.abs(found - start).max() > 1e-4
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(("name", "at"), CASES)
@pytest.mark.parametrize("up", [True, False])
def test_noise_of_one_pulse(name: str, at: int, up: bool) -> None:
    """The noise of a pulse, in units of what the formula says, is standard normal."""
    device = build(name, at)
    tile = tile_of(device, 100, 100)
    start = put(tile, np.linspace(-0.4, 0.4, 10_000).reshape(100, 100))
    tile.update((-1.0 if up else 1.0) * torch.ones(1, 100), torch.ones(1, 100))
    cell, rule = cells_of(tile), formula(name)
    mean = pulse(rule, device, cell, start, up, 0.0)
    noise = pulse(rule, device, cell, start, up, 1e-3) - mean
    # Where neither the mean nor six deviations touch a bound.
    margin = np.abs(mean - start) + 6e3 * np.abs(noise) + 1e-6
    lower, upper = cell.min_bound - cell.reference, cell.max_bound - cell.reference
    inside = (start - margin > lower) & (start + margin < upper) & (np.abs(noise) > 3e-8)
    assert inside.sum() > 5000
    z = (raw(tile) - mean)[inside] / (1e3 * noise[inside])
    n = z.size
    # Rounding of the weights is 1e-3 of the least noise.
    assert abs(z.mean()) < 5 / n**0.5
    assert abs(z.var() - 1) < 5 * (2 / n) ** 0.5


# Far from the bounds, close to them and on them.
PLACES = (0.0, 0.02, 0.3, 0.5, 0.65, 0.97)


def both(
    name: str,
    device: object,
    batch: object,
    cells: int,
    seed: int,
    places: Sequence[float] = PLACES,
    desired_bl: int = 31,
) -> tuple[Array, Array, Array]:
    """Return starts and weights after a batch, of the kernels and of single pulses.

    The first axis is the place of the start in the range.
    """
    update = UpdateParameters(desired_bl=desired_bl)
    tile = tile_of(device, 1, 1 + len(places) * cells, update=update)
    cell = cells_of(tile)
    place = np.concatenate([[0.0], np.repeat(places, cells)])
    lower, upper = cell.min_bound - cell.reference, cell.max_bound - cell.reference
    start = put(tile, lower + place * (upper - lower))
    apply(tile, batch)  # type: ignore[arg-type]
    single = simulate(name, device, cell, start, batch, seed)  # type: ignore[arg-type]
    shape = (len(places), cells)
    return (
        start[0, 1:].reshape(shape),
        raw(tile)[0, 1:].reshape(shape),
        single[0, 1:].reshape(shape),
    )


@pytest.mark.parametrize(("name", "at"), CASES)
@pytest.mark.parametrize("spread", [False, True])
def test_kernels_equal_single_pulses(name: str, at: int, spread: bool) -> None:
    """Mean, variance and distribution for several starts, of equal and of different cells."""
    device = build(name, at, dw_min=0.004 if at % 2 else 0.001)
    if not spread:
        equal(device)
    _, ours, single = both(name, device, samples(8, 3 + at), 800, 17)
    for place, (a, b) in enumerate(zip(ours, single, strict=True)):
        assert worst(differences(a, b)) < 1, f"start {place}: {differences(a, b)}"


@pytest.mark.parametrize(("name", "at"), CASES)
@pytest.mark.parametrize("up", [True, False])
def test_one_sample_equals_single_pulses(name: str, at: int, up: bool) -> None:
    """A single sample has a kernel of its own; trains may be longer than a word."""
    device = equal(build(name, at, dw_min=0.004 if at % 2 else 0.001))
    for desired_bl, slots, p in ((31, 31, 0.9), (31, 20, 0.1), (31, 3, 0.7), (100, 90, 0.6)):
        batch = [Sample(up, slots, p)]
        _, ours, single = both(name, device, batch, 1500, 17, desired_bl=desired_bl)
        for place, (a, b) in enumerate(zip(ours, single, strict=True)):
            found = differences(a, b)
            assert worst(found) < 1, f"{slots} slots, start {place}: {found}"


def test_a_wrong_formula_is_noticed() -> None:
    """With the numbers of the slow test, a percent of the step or eight of its noise are seen.

    The slow test has more pulses, which tell more of the step.
    """
    device = equal(build("SoftBounds"))
    batch = samples(8, 3)
    start, ours, _ = both("SoftBounds", device, batch, 20_000, 17)
    for field, factor in (("dw_min", 1.01), ("dw_min_std", 1.08)):
        wrong = copy.copy(device)
        setattr(wrong, field, factor * getattr(device, field))
        cell = cells_of(tile_of(wrong, 1, 1))
        single = simulate("SoftBounds", wrong, cell, start[3:4], batch, 5)
        assert worst(differences(ours[3], single[0])) > 1, field


@pytest.mark.parametrize(("name", "at"), CASES)
@pytest.mark.parametrize("count", [1, 12])
def test_pulses_without_noise(name: str, at: int, count: int) -> None:
    """Certain pulses without noise leave no room for chance: errors are those of the kernels.

    Steps that are added up may be off by one thousandth of the way that the weight has gone.
    """
    device = build(name, at, dw_min_std=0.0)
    tile = tile_of(device, 1, 401)
    cell = cells_of(tile)
    lower, upper = cell.min_bound - cell.reference, cell.max_bound - cell.reference
    w = put(tile, lower + np.linspace(0, 1, 401) * (upper - lower))
    batch = [Sample(sample.up, sample.slots) for sample in samples(count, 3 + at)]
    apply(tile, batch)
    way = np.zeros_like(w)
    for sample in batch:
        for _ in range(sample.slots):
            moved = pulse(formula(name), device, cell, w, sample.up, 0.0)
            way += np.abs(moved - w)
            w = moved
    # A weight is rounded once per pulse.
    error = 1e-3 * way + 3e-8 * sum(sample.slots for sample in batch)
    np.testing.assert_array_less(np.abs(raw(tile) - w), error)


def spread_ratio(ours: Array, single: Array) -> tuple[float, float]:
    """Return the ratio of two variances and its standard error."""
    kurtosis = [((v - v.mean()) ** 4).mean() / v.var() ** 2 - 1 for v in (ours, single)]
    return ours.var() / single.var(), float(np.sqrt(sum(kurtosis) / ours.size))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("name", "at"), CASES)
@pytest.mark.parametrize("count", [1, 128])
def test_kernels_equal_many_single_pulses(name: str, at: int, count: int) -> None:
    """One or many samples: differences of 1e-3 of the change of the weight, 1e-2 of its spread.

    Beyond the sampling errors, the kernels may be off by half of that, for they add up the pulses
    of a few samples.
    """
    device = equal(build(name, at, dw_min=0.001 if at % 2 else 0.004))
    batch = samples(count, 5 + at) if count > 1 else [Sample(bool(at % 3), 31, 0.8)]
    start, ours, single = both(name, device, batch, 40_000, 23, (0.02, 0.4, 0.7))
    ratios = []
    for place, (w, a, b) in enumerate(zip(start, ours, single, strict=True)):
        change = abs(b.mean() - w.mean())
        found = differences(a, b, rounding=4e-6 + 5e-4 * change)
        assert found["mean"] < 1, f"start {place}: {a.mean()} {b.mean()} {found}"
        assert found.get("distance", 0.0) < 1, f"start {place}: {found}"
        if b.std() > 1e-5:
            ratios.append(spread_ratio(a, b))
    ratio, error = np.mean([r for r, _ in ratios]), np.hypot.reduce([e for _, e in ratios])
    assert abs(ratio - 1) < 5 * error / len(ratios) + 1e-2, f"variances: {ratios}"
