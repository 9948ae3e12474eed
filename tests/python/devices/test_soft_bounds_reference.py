"""Soft bounds with a reference subtracted."""

from typing import Any

import numpy as np
import pytest
import torch

from pulsed import Array, build, cells_of, equal, put, raw, tile_of

SETTINGS: list[dict[str, Any]] = [
    {"mult_noise": True, "reference_mean": 0.1, "reference_std": 0.05},
    {"slope_up_dtod": 0.2, "slope_down_dtod": 0.1, "reference_std": 0.1, "up_down": 0.3},
    {"subtract_symmetry_point": True, "up_down": -0.3, "write_noise_std": 2.0},
]


def size(w: Array, up: bool, cell: Any, device: Any) -> Any:
    return (
        cell.dwmin_up * (1 - w / cell.max_bound)
        if up
        else cell.dwmin_down * (1 - w / cell.min_bound)
    )


def noise(size: Any, w: Array, up: bool, cell: Any, device: Any) -> Any:
    constant = cell.dwmin_up if up else cell.dwmin_down
    return device.dw_min_std * (size if device.mult_noise else constant)


def test_the_symmetry_point_becomes_zero() -> None:
    device = build(
        "SoftBoundsReference", subtract_symmetry_point=True, up_down=0.3, up_down_dtod=0.1
    )
    tile = tile_of(device, 20, 50)
    cell = cells_of(tile)
    v = cell.reference
    up, down = size(v, True, cell, device), size(v, False, cell, device)
    # Steps of 1e-3 in float32, of which the difference is taken.
    np.testing.assert_allclose(up, down, atol=2e-9)
    # A reset leads to the symmetry point, which is weight 0.
    np.testing.assert_array_equal(cell.reset_bias, 0.0)


def test_references_and_bounds_have_their_spread() -> None:
    device = build("SoftBoundsReference", reference_mean=0.05, reference_std=0.1)
    device.slope_up_dtod = 0.2
    device.w_max_dtod = 0.0
    cell = cells_of(tile_of(device, 200, 200))
    n = cell.reference.size
    assert abs(cell.reference.mean() - 0.05) < 5 * 0.1 / n**0.5
    assert abs(cell.reference.std() - 0.1) < 5 * 0.1 / (2 * n) ** 0.5
    # The slope of up steps, relative to the mean, is |1 + 0.2 xi|; five of it are below zero.
    slope = 0.6 / cell.max_bound
    assert abs(slope.mean() - 1) < 5 * 0.2 / n**0.5
    assert abs(slope.std() - 0.2) < 5 * 0.2 / (2 * n) ** 0.5


@pytest.mark.parametrize("name", ["SoftBoundsReference", "PowStepReference"])
def test_weights_fill_the_shifted_range(name: str) -> None:
    """What is set stays where it is: pulses know no other bounds than `set_weights`."""
    device = equal(build(name, reference_mean=0.3, dw_min_std=0.0))
    tile = tile_of(device, 2, 3)
    assert put(tile, np.full((2, 3), 5.0)) == pytest.approx(0.3, abs=1e-7)
    assert put(tile, np.full((2, 3), -5.0)) == pytest.approx(-0.9, abs=1e-7)
    start = put(tile, np.full((2, 3), -0.85))
    tile.update(torch.ones(1, 3), torch.ones(1, 2))
    # A small step: no jump to a bound.
    np.testing.assert_allclose(raw(tile), start, atol=2e-3)
