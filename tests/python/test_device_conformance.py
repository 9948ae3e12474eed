"""What every registered pulsed device has to keep to; a new one is covered without edits here."""

import copy
import dataclasses
import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import mho
from mho.simulator.configs import SingleRPUConfig
from mho.simulator.parameters.mapping import MappingParameter
from mho.simulator.tiles import AnalogTile
from pulsed import PULSED, build, cases, cells_of, raw, tile_of

CASES = cases()
# With steps, and with infinitely fine ones.
STEPS = [{}, {"dw_min": 0.0}]


def train(tile: AnalogTile, steps: int, seed: int = 0) -> None:
    """Make large updates in changing directions, from data that depend on the seed alone."""
    generator = torch.Generator().manual_seed(seed)
    tile.tile.set_learning_rate(0.05)
    for _ in range(steps):
        x = torch.randn(20, tile.in_size, generator=generator)
        tile.update(x, torch.randn(20, tile.out_size, generator=generator))


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize(("name", "at"), CASES)
def test_bounds_hold_and_corrupt_cells_stand_still(name: str, at: int, steps: Any) -> None:
    fields = {"diffusion": 0.02, "lifetime": 30.0, "reset_std": 0.5} | steps
    device = build(name, at, corrupt_devices_prob=0.1, **fields)
    tile = tile_of(device, 20, 50)
    cell = cells_of(tile)
    stuck = (cell.dwmin_up == 0) & (cell.dwmin_down == 0)
    # Five standard errors of the share of 0.1 of 1000 cells.
    assert abs(stuck.mean() - 0.1) < 5 * (0.09 / 1000) ** 0.5
    np.testing.assert_array_equal(cell.max_bound[stuck], cell.min_bound[stuck])
    assert np.abs(cell.max_bound[stuck]).max() <= 0.1 + 1e-7
    # The bounds are subtracted with single precision.
    lower, upper = (
        (np.float32(b) - np.float32(cell.reference)) for b in (cell.min_bound, cell.max_bound)
    )
    start = raw(tile)
    for step in range(6):
        train(tile, 1, step)
        if step % 2:
            tile.tile.decay_weights()
            tile.tile.diffuse_weights()
            tile.tile.reset_columns(step, 10, 0.5)
        weights = raw(tile)
        assert (weights >= lower).all() and (weights <= upper).all(), step
        np.testing.assert_array_equal(weights[stuck], start[stuck])
    assert (raw(tile)[~stuck] != start[~stuck]).mean() > 0.9


def assert_normal(values: np.ndarray, mean: float, std: float, fold: float = 0.0) -> None:
    """Mean and deviation within five standard errors, and what folding at zero shifts them by."""
    n = values.size
    assert abs(values.mean() - mean) < 5 * std / n**0.5 + fold
    assert abs(values.std() - std) < 5 * std / (2 * n) ** 0.5 + 2 * fold


@pytest.mark.parametrize("name", PULSED)
def test_spreads_of_the_common_parameters(name: str) -> None:
    rates: dict[str, Any] = {"lifetime": 100.0, "lifetime_dtod": 0.05, "reset": 0.05}
    rates |= {"reset_dtod": 0.02, "diffusion": 0.01, "diffusion_dtod": 0.1}
    device = build(name, **rates)
    device.drift.nu, device.drift.nu_dtod = 0.1, 0.2
    cell = cells_of(tile_of(device, 300, 300))
    # A spread of 0.3 folds 4e-4 of the cells, by 0.08 of the mean on average.
    step = 1e-3 * (0.3**2 + 0.01**2) ** 0.5
    assert_normal(cell.dwmin_up, 1e-3, step, 1e-7)
    assert_normal(cell.dwmin_down, 1e-3, step, 1e-7)
    assert_normal(cell.max_bound, 0.6, 0.18, 6e-5)
    assert_normal(cell.min_bound, -0.6, 0.18, 6e-5)
    assert_normal((cell.dwmin_up - cell.dwmin_down) / 1e-3, 0.0, 0.02)
    correlation = np.corrcoef(cell.dwmin_up.ravel(), cell.dwmin_down.ravel())[0, 1]
    # Standard error of a correlation: (1 - rho^2) / sqrt(n) = 1.5e-5.
    assert correlation == pytest.approx((0.09 - 1e-4) / (0.09 + 1e-4), abs=1e-4)
    assert_normal(1 / (1 - cell.decay_scales), 100.0, 5.0, 1e-3)
    assert_normal(cell.reset_bias, 0.05, 0.02)
    assert_normal(cell.diffusion_rates, 0.01, 0.001)
    assert_normal(cell.drift_nu, 0.1, 0.02)


@pytest.mark.parametrize("name", PULSED)
def test_log_normal_steps_and_asymmetry(name: str) -> None:
    spreads = {"dw_min_dtod": 0.4, "up_down_dtod": 0.0, "dw_min_dtod_log_normal": True}
    cell = cells_of(tile_of(build(name, **spreads), 300, 300))
    assert_normal(np.log(cell.dwmin_up / 1e-3), 0.0, 0.4)
    mean = 1e-3 * np.exp(0.4**2 / 2)
    assert abs(cell.dwmin_up.mean() - mean) < 5 * cell.dwmin_up.std() / 300
    for up_down in (0.3, -0.3):
        cell = cells_of(tile_of(build(name, up_down=up_down, dw_min_dtod=0.05), 100, 100))
        assert_normal(cell.dwmin_up, 1e-3 * (1 + min(up_down, 0)), 1e-3 * np.hypot(0.05, 0.01))
        assert_normal(cell.dwmin_down, 1e-3 * (1 - max(up_down, 0)), 1e-3 * np.hypot(0.05, 0.01))


@pytest.mark.parametrize(("name", "at"), CASES)
def test_consistency(name: str, at: int) -> None:
    wild = {"dw_min_dtod": 2.0, "w_max_dtod": 3.0, "w_min_dtod": 3.0}
    cell = cells_of(tile_of(build(name, at, **wild), 50, 50))
    assert min(cell.dwmin_up.min(), cell.dwmin_down.min()) >= 0
    assert (cell.min_bound <= 0).all() and (cell.max_bound >= 0).all()
    loose = tile_of(build(name, at, enforce_consistency=False, **wild), 50, 50)
    cell = cells_of(loose)
    assert cell.dwmin_up.min() < 0
    assert (cell.min_bound <= cell.max_bound).all()
    train(loose, 2)
    assert np.isfinite(raw(loose)).all()


@pytest.mark.parametrize("name", PULSED)
@pytest.mark.parametrize("analog_bias", [True, False])
def test_perfect_bias(name: str, analog_bias: bool) -> None:
    config = SingleRPUConfig(
        device=build(name, perfect_bias=True, corrupt_devices_prob=0.5),
        mapping=MappingParameter(digital_bias=not analog_bias),
    )
    tile = AnalogTile(30, 6, config, True)
    cell = cells_of(tile)
    perfect = (cell.dwmin_up == np.float32(0.001)) & (cell.dwmin_down == np.float32(0.001))
    assert perfect[:, -1].all() == analog_bias
    assert not perfect[:, :-1].any()
    assert (cell.max_bound[:, -1] > 10).all() == analog_bias


@pytest.mark.parametrize("name", PULSED)
def test_construction_seed(name: str) -> None:
    def hidden(seed: int) -> torch.Tensor:
        values: torch.Tensor = tile_of(
            build(name, construction_seed=seed), 4, 5
        ).tile.get_hidden_parameters()
        return values

    assert torch.equal(hidden(7), hidden(7))
    assert not torch.equal(hidden(7), hidden(8))
    assert not torch.equal(hidden(0), hidden(0))


def by_state(tile: AnalogTile) -> AnalogTile:
    buffer = io.BytesIO()
    torch.save(tile.state_dict(), buffer)
    buffer.seek(0)
    other = AnalogTile(tile.out_size, tile.in_size, copy.deepcopy(tile.rpu_config))
    other.load_state_dict(torch.load(buffer, weights_only=True))
    return other


WAYS: dict[str, Callable[[AnalogTile], AnalogTile]] = {
    "state_dict": by_state,
    "deepcopy": copy.deepcopy,
    "pickle": lambda tile: pickle.loads(pickle.dumps(tile)),
}


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("name", "at"), CASES)
def test_copies_continue_with_the_same_bits(name: str, at: int, way: str, steps: Any) -> None:
    tile = tile_of(build(name, at, **steps), 7, 18)
    train(tile, 1)
    other = WAYS[way](tile)
    assert other.tile.get_learning_rate() == tile.tile.get_learning_rate()
    assert other.tile.spec.weight_granularity == tile.tile.spec.weight_granularity
    for _ in range(2):
        assert torch.equal(other.tile.get_weights(), tile.tile.get_weights())
        assert torch.equal(other.tile.get_hidden_parameters(), tile.tile.get_hidden_parameters())
        train(tile, 1, 5)
        train(other, 1, 5)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize(("name", "at"), CASES)
def test_threads_do_not_change_bits(
    name: str, at: int, steps: Any, threads: Callable[[int], None]
) -> None:
    found = []
    for number in (1, 2, 5):
        threads(number)
        assert mho.get_num_threads() == number
        torch.manual_seed(3)
        tile = tile_of(build(name, at, **steps), 50, 37)
        train(tile, 1)
        found.append(torch.stack([tile.tile.get_weights(), torch.tensor(raw(tile)).float()]))
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize(("name", "at"), CASES)
def test_errors_change_nothing(name: str, at: int, steps: Any) -> None:
    tile = tile_of(build(name, at, **steps), 3, 4)
    tile.tile.set_learning_rate(0.1)
    before = tile.tile.get_weights(), tile.tile.get_hidden_parameters()
    x, d = torch.ones(2, 4), torch.ones(2, 3)
    bad_x, bad_d = x.clone(), d.clone()
    bad_x[1, 2], bad_d[0, 1] = float("nan"), float("inf")
    for arguments in ((bad_x, d), (x, bad_d), (x, d[:1]), (x[:, :3], d)):
        with pytest.raises(mho.exceptions.AihwkitException):
            tile.update(*arguments)
    with pytest.raises(mho.exceptions.ArgumentError, match="learning_rate"):
        tile.tile.set_learning_rate(-0.1)
    assert torch.equal(tile.tile.get_weights(), before[0])
    assert torch.equal(tile.tile.get_hidden_parameters(), before[1])


@pytest.mark.parametrize("name", PULSED)
def test_names_of_the_hidden_parameters(name: str) -> None:
    base = ["max_bound", "min_bound", "dwmin_up", "dwmin_down"]
    base += ["decay_scales", "diffusion_rates", "reset_bias", "drift_nu"]
    device = build(name)
    assert tile_of(device, 2, 3).tile.get_hidden_parameter_names()[:8] == base
    if "write_noise_std" in [field.name for field in dataclasses.fields(device)]:
        device.write_noise_std = 1.0
        assert tile_of(device, 2, 3).tile.get_hidden_parameter_names()[8] == "persistent_weights"
