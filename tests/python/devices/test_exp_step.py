"""Steps that fall exponentially with the weight."""

from typing import Any

import numpy as np
import pytest

from mho.simulator.configs import ExpStepDevice
from mho.simulator.presets import PCMPresetDevice, ReRamESPresetDevice
from pulsed import Array, build, tile_of

SETTINGS: list[dict[str, Any]] = [
    {"dw_min_std_add": 5e-4, "dw_min_std_slope": 3e-3},
    {"A_up": -1.18, "A_down": -0.08, "gamma_up": 5.0, "gamma_down": 5.0, "a": -0.5, "b": -0.5},
    {"A_up": 0.3, "A_down": 0.5, "gamma_up": 2.0, "gamma_down": 3.0, "write_noise_std": 2.0},
]


def size(w: Array, up: bool, cell: Any, device: Any) -> Any:
    z = 2 * device.a * w / (cell.max_bound - cell.min_bound) + device.b
    if up:
        return cell.dwmin_up * np.maximum(1 - device.A_up * np.exp(device.gamma_up * z), 0)
    return cell.dwmin_down * np.maximum(1 - device.A_down * np.exp(-device.gamma_down * z), 0)


def noise(size: Any, w: Array, up: bool, cell: Any, device: Any) -> Any:
    if device.dw_min_std_add == 0 and device.dw_min_std_slope == 0:
        return device.dw_min_std * size
    rest = device.dw_min_std_add + device.dw_min_std_slope * np.abs(w)
    return device.dw_min_std * (np.abs(size) + rest)


@pytest.mark.parametrize("device", [ExpStepDevice(), ReRamESPresetDevice(), PCMPresetDevice()])
def test_granularity_is_the_mean_step_at_zero(device: Any) -> None:
    up = max(1 - device.A_up * np.exp(device.gamma_up * device.b), 0)
    down = max(1 - device.A_down * np.exp(-device.gamma_down * device.b), 0)
    up, down = up * (1 + min(device.up_down, 0)), down * (1 - max(device.up_down, 0))
    expected = device.dw_min * (up + down) / 2
    granularity = tile_of(device, 1, 1).tile.spec.weight_granularity
    assert granularity == pytest.approx(expected, rel=1e-12)
    assert device.calc_weight_granularity() == pytest.approx(expected, rel=1e-12)


def test_without_any_step_at_zero_the_granularity_is_dw_min() -> None:
    device = build("ExpStep", A_up=1e9, A_down=1e9)
    assert tile_of(device, 1, 1).tile.spec.weight_granularity == 0.001
