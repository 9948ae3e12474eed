"""Mean, variance and covariance of one update, for every device and every way to make pulses.

Steps are so small that the weight hardly changes: numbers of pulses are binomial, and every pulse
has the size that the formula of the device gives at the start.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from mho.simulator.configs import PulseType, UpdateParameters
from mho.simulator.tiles import AnalogTile
from pulsed import PULSED, Array, build, cells_of, equal, formula, pulse, put, raw, tile_of

X, D = np.array([0.8, -0.4, 0.1]), np.array([0.5, -0.25])
STEP = 1e-5
START = 0.1


@dataclass
class Trains:
    """Slots, and the probabilities of the lines of one sample."""

    slots: int
    p: Array
    q: Array


def trains(update: UpdateParameters, x: Array, d: Array, rate: float) -> Trains:
    """Return the trains of a sample with a learning rate in units of the step."""
    longest, largest_x, largest_d = update.desired_bl, np.abs(x).max(), np.abs(d).max()
    slots, scale = longest, (rate / longest) ** 0.5
    managed = update.update_management or update.update_bl_management
    if not update.fixed_bl and not update.update_bl_management and longest < rate:
        slots, scale = int(np.ceil(rate)), 1.0
    if not managed:
        return Trains(slots, np.minimum(scale * np.abs(x), 1), np.minimum(scale * np.abs(d), 1))
    virtual = update.um_grad_scale * largest_d
    k = rate * largest_x * virtual
    if update.update_bl_management:
        slots = int(min(np.ceil(k - 1e-6), longest))
        scale = (rate / slots) ** 0.5
    if k > longest:
        virtual *= longest / k
    balance = (largest_x / virtual) ** 0.5
    p, q = scale / balance * np.abs(x), scale * balance * np.abs(d)
    return Trains(slots, np.minimum(p, 1), np.minimum(q, 1))


def signs(x: Array, d: Array) -> Array:
    """Return the directions of the changes: -1 is down."""
    return -np.sign(np.outer(d, x))


def repeat(tile: AnalogTile, x: Array, d: Array, rate: float, runs: int) -> Array:
    """Return the changes of the weight by equal updates from the same start, in steps."""
    granularity = tile.tile.spec.weight_granularity
    tile.tile.set_learning_rate(rate * granularity)
    rows = [torch.from_numpy(np.atleast_2d(v).astype(np.float32)) for v in (x, d)]
    start = torch.full((tile.out_size, tile.in_size), START)
    found = []
    for _ in range(runs):
        tile.tile.live_weights().copy_(start)
        tile.tile.run_update(*rows, None)
        found.append(tile.tile.get_weights())
    return (torch.stack(found).double().numpy() - start.double().numpy()) / granularity


def response(name: str, device: Any, tile: AnalogTile, up: Array) -> tuple[Array, Array]:
    """Return mean and deviation of one pulse at the start, in steps, per cell."""
    cell, granularity = cells_of(tile), tile.tile.spec.weight_granularity
    w = np.full(up.shape, START)
    both = []
    for xi in (0.0, 1.0):
        moved = [pulse(formula(name), device, cell, w, bool(u), xi) - w for u in (True, False)]
        both.append(np.where(up > 0, *moved) / granularity)
    return both[0], np.abs(both[1] - both[0])


def close(found: Array, expected: Array, variance: Array, runs: int, what: str) -> None:
    """Five standard errors; 2e-3 for the change of the size along 31 pulses; rounding."""
    error = 5 * np.sqrt(variance / runs) + 2e-3 * np.abs(expected) + 1e-3
    worst = np.max(np.abs(found - expected) / error)
    assert worst < 1, f"{what}: {found} {expected} {error}"


SCHEMES = {
    "default": UpdateParameters(),
    "stochastic": UpdateParameters(pulse_type=PulseType.STOCHASTIC),
    "short": UpdateParameters(desired_bl=5),
    "half": UpdateParameters(um_grad_scale=0.5),
    "fixed": UpdateParameters(update_bl_management=False),
    "plain": UpdateParameters(update_bl_management=False, update_management=False),
    "free": UpdateParameters(
        update_bl_management=False, update_management=False, fixed_bl=False, desired_bl=8
    ),
}


@pytest.mark.parametrize("name", PULSED)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("k", [0.2, 8.0, 80.0])
def test_moments_of_one_update(name: str, scheme: str, k: float) -> None:
    """Below one pulse, some, and saturated trains; ``k`` is the largest wanted number."""
    runs, update, rate = 500, SCHEMES[scheme], k / 0.4
    device = equal(
        build(name, dw_min=STEP, pow_gamma=0.8) if "Pow" in name else build(name, dw_min=STEP)
    )
    tile = tile_of(device, 2, 3, update=update)
    found = repeat(tile, X, D, rate, runs)
    line, sign = trains(update, X, D, rate), signs(X, D)
    mean, noise = response(name, device, tile, sign)
    both = np.outer(line.q, line.p)
    number = line.slots * both
    variance = mean**2 * number * (1 - both) + noise**2 * number
    close(found.mean(0), mean * number, variance, runs, "mean")
    certain = (number >= 1) & (variance > 1e-4)
    # Fifteen percent are five standard errors of the variance of 2200 normals; here are 500.
    quotient = found.var(0)[certain] / variance[certain]
    assert np.all(np.abs(quotient - 1) < 5 * (2.2 / runs) ** 0.5), quotient
    flat = found.reshape(runs, 6)
    measured = np.cov(flat.T)
    limit = 5 * np.sqrt(np.outer(variance, variance) / runs) + 2e-3
    deviation = np.abs(measured - covariances(line, mean)) - limit
    assert (deviation[~np.eye(6, dtype=bool)] < 0).all(), deviation


def covariances(line: Trains, mean: Array) -> Array:
    """Return the covariances of the changes of all pairs of cells; the diagonal is not used."""
    n, p, q = line.slots, line.p, line.q
    result = np.zeros((6, 6))
    for a in range(6):
        for b in range(6):
            (i, j), (k, m) = divmod(a, 3), divmod(b, 3)
            if i == k:
                result[a, b] = n * q[i] * p[j] * p[m] * (1 - q[i])
            elif j == m:
                result[a, b] = n * p[j] * q[i] * q[k] * (1 - p[j])
    return result * np.outer(mean, mean)


@pytest.mark.parametrize("name", PULSED)
def test_certain_pulses_are_certain(name: str) -> None:
    """Eight slots fire on both lines at the largest cell; without noise nothing varies there."""
    tile = tile_of(equal(build(name, dw_min=STEP, dw_min_std=0.0)), 2, 3)
    assert np.ptp(repeat(tile, X, D, 8 / 0.4, 300)[:, 0, 0]) == 0


@pytest.mark.parametrize("name", PULSED)
def test_a_batch_is_unbiased(name: str) -> None:
    """Changes of a batch follow the gradient times the response of each direction."""
    runs, batch, size, rate = 60, 32, 16, 1.0
    device = equal(build(name, dw_min=STEP))
    tile = tile_of(device, size, size)
    rng = np.random.default_rng(4)
    x, d = rng.standard_normal((2, batch, size)).astype(np.float32)
    found = repeat(tile, x, d, rate, runs)
    products = np.einsum("si,sj->sij", d, x).astype(np.float64)
    expected, variance = np.zeros((2, size, size))
    for sign in (1.0, -1.0):
        mean, noise = response(name, device, tile, np.full((size, size), sign))
        number = rate * np.where(-sign * products > 0, np.abs(products), 0).sum(0)
        expected += mean * number
        # The variance of a binomial number is at most its mean.
        variance += (mean**2 + noise**2) * number
    close(found.mean(0), expected, variance, runs, "mean")
    slope = (found.mean(0) * expected).sum() / (expected**2).sum()
    error = np.sqrt((variance * expected**2).sum() / runs) / (expected**2).sum()
    assert abs(slope - 1) < 5 * error + 2e-3


DENSE = [PulseType.MEAN_COUNT, PulseType.DETERMINISTIC_IMPLICIT]


@pytest.mark.parametrize("name", PULSED)
@pytest.mark.parametrize("kind", DENSE)
@pytest.mark.parametrize("flips", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
def test_dense_types_have_exact_numbers(name: str, kind: PulseType, flips: tuple[int, int]) -> None:
    device = build(name, dw_min_std=0.0)
    tile = tile_of(device, 2, 3, update=UpdateParameters(pulse_type=kind))
    x, d = flips[0] * np.array([1.0, -0.5, 0.1]), flips[1] * np.array([0.5, -0.2])
    numbers = flips[0] * flips[1] * np.array([[5, -2, 0], [-2, 1, 0]])
    start = put(tile, np.full((2, 3), START))
    repeated = repeat_once(tile, x, d, 10.0)
    expected, cell = start, cells_of(tile)
    for step in range(5):
        for up in (True, False):
            moved = pulse(formula(name), device, cell, expected, up, 0.0)
            wanted = np.where(numbers * (-1 if up else 1) > step, moved, expected)
            expected = wanted
    np.testing.assert_allclose(repeated, expected, atol=1e-6)


def repeat_once(tile: AnalogTile, x: Array, d: Array, rate: float) -> Array:
    """Return the weights after one update; the rate is in units of the granularity."""
    tile.tile.set_learning_rate(rate * tile.tile.spec.weight_granularity)
    tile.update(*(torch.from_numpy(np.atleast_2d(v).astype(np.float32)) for v in (x, d)))
    return raw(tile)


def test_implicit_resolution() -> None:
    update = UpdateParameters(pulse_type=DENSE[1], x_res_implicit=0.3)
    tile = tile_of(equal(build("ConstantStep", dw_min_std=0.0)), 1, 2, update=update)
    start = raw(tile)
    found = repeat_once(tile, np.array([1.0, 0.37]), np.array([0.5]), 40.0)
    np.testing.assert_allclose((start - found) / 0.001, [[18, 6]], atol=1e-4)


@pytest.mark.parametrize(("sto_round", "expected"), [(False, 0.25), (True, 0.5)])
@pytest.mark.parametrize("res", [0.5, 2.0])
def test_resolution(res: float, sto_round: bool, expected: float) -> None:
    """Probabilities of 0.707 become 0.5, or 0.5 and 1 in turns; 2 stands for two bins."""
    update = UpdateParameters(res=res, sto_round=sto_round)
    tile = tile_of(equal(build("ConstantStep", dw_min=STEP, dw_min_std=0.0)), 1, 1, update=update)
    found = -repeat(tile, np.array([1.0]), np.array([0.5]), 1.0, 3000)
    assert abs(found.mean() - expected) < 5 * (expected * (1 - expected) / 3000) ** 0.5 + 1e-3


@pytest.mark.parametrize("name", PULSED)
@pytest.mark.parametrize("kind", [PulseType.NONE, PulseType.NONE_WITH_DEVICE])
def test_updates_without_pulses(name: str, kind: PulseType) -> None:
    tile = tile_of(build(name), 5, 7, update=UpdateParameters(pulse_type=kind))
    if kind is PulseType.NONE:
        assert tile.tile.get_hidden_parameters().shape == (0,)
        lower, upper = -np.inf, np.inf
    else:
        cell = cells_of(tile)
        lower, upper = cell.min_bound - cell.reference, cell.max_bound - cell.reference
    tile.tile.set_learning_rate(0.1)
    rng = np.random.default_rng(2)
    x, d = rng.standard_normal((12, 7)), rng.standard_normal((12, 5))
    w = raw(tile)
    for a, b in zip(x, d, strict=True):
        w = np.clip(w - 0.1 * np.outer(b, a), lower, upper)
    tile.update(torch.from_numpy(x).float(), torch.from_numpy(d).float())
    # Twelve roundings of weights of about one.
    np.testing.assert_allclose(raw(tile), w, atol=2e-6)
    assert kind is PulseType.NONE or (w == upper).any()


LINEAR = {"gamma_up_dtod": 0.0, "gamma_down_dtod": 0.0}
POW = {"pow_gamma_dtod": 0.0, "dw_min": 0.002}
NODES = {"piecewise_up": [2, 1, 0], "piecewise_down": [0, 1, 2]}
# Devices with two sets of fields that make them equal.
EQUIVALENT = [
    ("LinearStep", LINEAR, "ConstantStep", {}),
    ("LinearStep", LINEAR | {"mult_noise": False}, "ConstantStep", {}),
    (
        "LinearStep",
        LINEAR | {"gamma_up": 1.0, "gamma_down": 1.0, "mean_bound_reference": False},
        "SoftBounds",
        {},
    ),
    ("SoftBoundsReference", {"mult_noise": True}, "SoftBounds", {}),
    ("ExpStep", {"A_up": 0.0, "A_down": 0.0}, "ConstantStep", {}),
    ("PiecewiseStep", {}, "ConstantStep", {}),
    ("PowStepReference", {}, "PowStep", {}),
]
SYMMETRIC = {"w_max_dtod": 0.0, "w_min_dtod": 0.0, "up_down_dtod": 0.0, "dw_min_dtod": 0.0}
EQUIVALENT_IF_SYMMETRIC = [
    ("PowStep", POW | SYMMETRIC, "SoftBounds", SYMMETRIC),
    ("PiecewiseStep", NODES | SYMMETRIC, "SoftBounds", SYMMETRIC),
]


@pytest.mark.parametrize(("a", "a_fields", "b", "b_fields"), EQUIVALENT + EQUIVALENT_IF_SYMMETRIC)
def test_equivalent_devices(a: str, a_fields: Any, b: str, b_fields: Any) -> None:
    """Equal seeds give equal cells and equal trains, so without noise equal weights."""
    found = []
    for name, fields in ((a, a_fields), (b, b_fields)):
        torch.manual_seed(8)
        tile = tile_of(build(name, dw_min_std=0.0, **fields), 9, 21)
        put(tile, np.linspace(-0.7, 0.7, 9 * 21).reshape(9, 21))
        x, d = torch.randn(40, 21), torch.randn(40, 9)
        tile.tile.set_learning_rate(2 * tile.tile.spec.weight_granularity)
        tile.update(x, d)
        found.append(raw(tile))
    assert np.ptp(found[0]) > 0.5
    # Roundings of up to 1000 steps, and what adding up a few samples costs.
    np.testing.assert_allclose(found[0], found[1], atol=4e-6)
