"""Power steps with a reference subtracted."""

from typing import Any

import numpy as np
import pytest

from pulsed import Array, build, cells_of, equal, put, raw, tile_of

SETTINGS: list[dict[str, Any]] = [
    {"reference_mean": -0.1, "reference_std": 0.05, "pow_gamma": 0.6},
    {"subtract_symmetry_point": True, "up_down": 0.3, "pow_gamma": 1.7},
]


def size(w: Array, up: bool, cell: Any, device: Any) -> Any:
    span = cell.max_bound - cell.min_bound
    if up:
        return cell.dwmin_up * (np.maximum(cell.max_bound - w, 0) / span) ** cell.gamma_up
    return cell.dwmin_down * (np.maximum(w - cell.min_bound, 0) / span) ** cell.gamma_down


def test_the_symmetry_point_becomes_zero() -> None:
    device = build(
        "PowStepReference", subtract_symmetry_point=True, up_down=0.3, pow_up_down_dtod=0.1
    )
    cell = cells_of(tile_of(device, 20, 50))
    up, down = (size(cell.reference, up, cell, device) for up in (True, False))
    # The slope of a step is below 1e-2, and a reference is rounded by 3e-8.
    np.testing.assert_allclose(up, down, atol=1e-9)
    assert (cell.reference < cell.max_bound).all() and (cell.reference > cell.min_bound).all()
    np.testing.assert_array_equal(cell.reset_bias, 0.0)


def test_a_number_of_estimation_steps_is_honoured() -> None:
    fields = {"subtract_symmetry_point": True, "up_down": 0.3}
    device = build("PowStepReference", n_estimation_steps=3, **fields)
    cell = cells_of(tile_of(device, 5, 8))
    sp = np.zeros((5, 8))
    for _ in range(3):
        sp = sp + size(sp, True, cell, device) - size(sp, False, cell, device)
    np.testing.assert_allclose(cell.reference, sp, atol=1e-9, rtol=1e-6)


@pytest.mark.parametrize("up", [True, False])
def test_the_edge_of_the_range_gives_no_jump(up: bool) -> None:
    import torch

    device = equal(build("PowStepReference", reference_mean=0.3, pow_gamma=0.5, dw_min_std=0.0))
    tile = tile_of(device, 1, 2)
    for w in (0.3, -0.9, 5.0, -5.0):
        start = put(tile, np.full((1, 2), w))
        tile.update((-1 if up else 1) * torch.ones(1, 2), torch.ones(1, 1))
        assert np.isfinite(raw(tile)).all()
        np.testing.assert_allclose(raw(tile), start, atol=1.01e-3 * 1.5)
