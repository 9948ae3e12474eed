"""Steps linear in the weight."""

from typing import Any

import numpy as np
import pytest
import torch

from pulsed import Array, build, cells_of, put, raw, tile_of

SETTINGS: list[dict[str, Any]] = [
    {"gamma_up": 0.7, "gamma_down": 1.3, "mult_noise": False},
    {"gamma_up": 0.9, "gamma_up_dtod": 0.3, "allow_increasing": True},
    {"gamma_up": 0.8, "gamma_down": 0.5, "mean_bound_reference": False},
    {"gamma_up": 0.6, "gamma_down": 0.9, "reverse_up": True, "reverse_offset": 0.1},
    {"gamma_up": 0.4, "gamma_down": 0.2, "write_noise_std": 2.0},
]


def size(w: Array, up: bool, cell: Any, device: Any) -> Any:
    step, slope = (cell.dwmin_up, cell.slope_up) if up else (cell.dwmin_down, cell.slope_down)
    return step + slope * w


def noise(size: Any, w: Array, up: bool, cell: Any, device: Any) -> Any:
    constant = cell.dwmin_up if up else cell.dwmin_down
    return device.dw_min_std * (size if device.mult_noise else constant)


def slopes(device: Any, cell: Any, bounds: tuple[Any, Any], gamma: tuple[Any, Any]) -> list[Array]:
    upper, lower = bounds
    reach_up = lower - device.reverse_offset if device.reverse_up else upper
    reach_down = upper + device.reverse_offset if device.reverse_down else lower
    return [-gamma[0] * cell.dwmin_up / reach_up, -gamma[1] * cell.dwmin_down / reach_down]


@pytest.mark.parametrize("mean_reference", [True, False])
@pytest.mark.parametrize("reverse", [(False, False), (True, False), (False, True)])
def test_slopes_without_spread(mean_reference: bool, reverse: tuple[bool, bool]) -> None:
    fields = dict(zip(("reverse_up", "reverse_down"), reverse, strict=True))
    spreads = {"gamma_up_dtod": 0.0, "gamma_down_dtod": 0.0, "gamma_up": 0.7, "gamma_down": 0.2}
    device = build("LinearStep", mean_bound_reference=mean_reference, **spreads, **fields)
    cell = cells_of(tile_of(device, 5, 40))
    bounds = (0.6, -0.6) if mean_reference else (cell.max_bound, cell.min_bound)
    expected = slopes(device, cell, bounds, (0.7, 0.2))
    # Two roundings of float32.
    np.testing.assert_allclose(cell.slope_up, expected[0], rtol=2e-7)
    np.testing.assert_allclose(cell.slope_down, expected[1], rtol=2e-7)


@pytest.mark.parametrize("increasing", [False, True])
def test_spread_of_slopes_is_absolute(increasing: bool) -> None:
    device = build("LinearStep", gamma_up=0.1, gamma_up_dtod=0.2, gamma_down_dtod=0.05)
    device.allow_increasing = increasing
    cell = cells_of(tile_of(device, 200, 200))
    up = -cell.slope_up * 0.6 / cell.dwmin_up
    down = cell.slope_down * 0.6 / cell.dwmin_down
    n = up.size
    if increasing:
        assert abs(up.mean() - 0.1) < 5 * 0.2 / n**0.5
        assert abs(up.std() - 0.2) < 5 * 0.2 / (2 * n) ** 0.5
        return
    assert up.min() >= 0 and down.min() >= 0
    # Mean and deviation of the absolute value of a normal with mean 0.
    mean, std = 0.05 * (2 / np.pi) ** 0.5, 0.05 * (1 - 2 / np.pi) ** 0.5
    assert abs(down.mean() - mean) < 5 * std / n**0.5


def test_steps_may_change_their_sign() -> None:
    device = build("LinearStep", gamma_up=2.0, gamma_up_dtod=0.0, w_max_dtod=0.0, dw_min_std=0.0)
    tile = tile_of(device, 2, 3)
    start = put(tile, np.full((2, 3), 0.5))
    tile.update(-torch.ones(1, 3), torch.ones(1, 2))
    assert (raw(tile) < start).all()
