"""Steps that vanish linearly at the bound."""

from typing import Any

import numpy as np
import pytest

from pulsed import Array, Sample, apply, build, cells_of, equal, put, raw, tile_of

SETTINGS: list[dict[str, Any]] = [
    {"mult_noise": False},
    {"reverse_up": True, "reverse_down": True, "reverse_offset": 0.05},
    {"up_down": -0.4, "write_noise_std": 3.0},
]


def size(w: Array, up: bool, cell: Any, device: Any) -> Any:
    upper, lower = cell.max_bound, cell.min_bound
    reach_up = lower - device.reverse_offset if device.reverse_up else upper
    reach_down = upper + device.reverse_offset if device.reverse_down else lower
    return cell.dwmin_up * (1 - w / reach_up) if up else cell.dwmin_down * (1 - w / reach_down)


def noise(size: Any, w: Array, up: bool, cell: Any, device: Any) -> Any:
    constant = cell.dwmin_up if up else cell.dwmin_down
    return device.dw_min_std * (size if device.mult_noise else constant)


@pytest.mark.parametrize("p", [1.0, 0.5])
def test_mean_of_a_random_number_of_pulses(p: float) -> None:
    device = equal(build("SoftBounds", dw_min=0.01))
    tile = tile_of(device, 1, 20001)
    put(tile, np.full((1, 20001), 0.2))
    apply(tile, [Sample(True, 18, p)])
    found = raw(tile)[0, 1:]
    expected = 0.6 - 0.4 * (1 - p * 0.01 / 0.6) ** 18
    assert abs(found.mean() - expected) < 5 * found.std() / found.size**0.5


def test_alternating_pulses_settle() -> None:
    device = equal(build("SoftBounds", dw_min=0.01, up_down=0.3, dw_min_std=0.0))
    tile = tile_of(device, 1, 2)
    put(tile, np.full((1, 2), -0.3))
    # Far more than the 34 pairs after which the distance has fallen by e.
    apply(tile, [Sample(at % 2 == 0, 1) for at in range(2000)])
    a, b = 0.01 / 0.6, 0.007 / 0.6
    limit = (0.01 * (1 - b) - 0.007) / (1 - (1 - a) * (1 - b))
    np.testing.assert_allclose(raw(tile), limit, atol=1e-5)


def test_pmax_gives_the_documented_response() -> None:
    from mho.simulator.configs import SoftBoundsPmaxDevice

    device = equal(SoftBoundsPmaxDevice(dw_min_std=0.0))
    tile = tile_of(device, 1, 2)
    total = 2.0 / (1 - np.exp(-0.5))
    for up, start in ((True, -1.0), (False, 1.0)):
        put(tile, np.full((1, 2), start))
        for pulses in (250, 500, 1000):
            put(tile, np.full((1, 2), start))
            apply(tile, [Sample(up, 25)] * (pulses // 25))
            change = total * (1 - np.exp(-0.0005 * pulses))
            # Of second order in alpha: half of alpha per pulse.
            error = total * 0.0005**2 * pulses
            np.testing.assert_allclose(raw(tile), start + change * (1 if up else -1), atol=error)


def test_hidden_slopes_end_at_the_bounds() -> None:
    cell = cells_of(tile_of(build("SoftBounds"), 10, 30))
    np.testing.assert_allclose(cell.slope_up * cell.max_bound, -cell.dwmin_up, rtol=2e-7)
    np.testing.assert_allclose(cell.slope_down * cell.min_bound, -cell.dwmin_down, rtol=2e-7)
