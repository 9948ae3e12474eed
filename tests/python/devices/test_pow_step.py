"""Steps that are a power of the distance to the bound."""

from typing import Any

import numpy as np
import pytest

from pulsed import Array, build, cells_of, tile_of

SETTINGS: list[dict[str, Any]] = [
    {"pow_gamma": 2.5, "pow_up_down": 0.2, "pow_up_down_dtod": 0.1},
    {"pow_gamma": 0.5, "pow_up_down": -0.3, "write_noise_std": 2.0},
    {"pow_gamma": 0.0},
]


def size(w: Array, up: bool, cell: Any, device: Any) -> Any:
    span = cell.max_bound - cell.min_bound
    if up:
        return cell.dwmin_up * (np.maximum(cell.max_bound - w, 0) / span) ** cell.gamma_up
    return cell.dwmin_down * (np.maximum(w - cell.min_bound, 0) / span) ** cell.gamma_down


@pytest.mark.parametrize("up_down", [0.0, 0.2, -0.2])
def test_exponents_have_their_spread(up_down: float) -> None:
    device = build("PowStep", pow_gamma=2.0, pow_up_down=up_down, pow_up_down_dtod=0.05)
    tile = tile_of(device, 200, 200)
    cell = cells_of(tile)
    n, std = 40000, 2.0 * np.hypot(0.1, 0.05)
    for values, mean in (
        (cell.gamma_up, 2.0 * (1 + min(up_down, 0))),
        (cell.gamma_down, 2.0 * (1 - max(up_down, 0))),
    ):
        assert abs(values.mean() - mean) < 5 * std / n**0.5
        assert abs(values.std() - std) < 5 * std / (2 * n) ** 0.5
    correlation = np.corrcoef(cell.gamma_up.ravel(), cell.gamma_down.ravel())[0, 1]
    expected = (0.1**2 - 0.05**2) / (0.1**2 + 0.05**2)
    # Standard error of a correlation: (1 - rho^2) / sqrt(n).
    assert abs(correlation - expected) < 5 * (1 - expected**2) / n**0.5
    assert tile.tile.spec.weight_granularity == device.dw_min / 4
