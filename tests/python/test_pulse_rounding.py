"""Single precision takes nothing from steps of a few units in the last place of the weight."""

from typing import Any

import numpy as np
import pytest
import torch

from adapters import needed_adapter
from mho.simulator.configs import UpdateParameters
from mho.simulator.tiles import AnalogTile
from pulsed import PULSED, build, cells_of, equal, formula, pulse, tile_of

ROWS, COLUMNS, PULSES = 256, 1024, 31
SPREAD = 5.0
START = float(np.float32(0.55))
ULP = float(np.spacing(np.float32(START)))


def device_of(name: str, dw_min: float, dw_min_std: float) -> Any:
    """Return a device with equal cells and bounds off the start."""
    return equal(build(name, w_max=0.8, w_min=-0.8, dw_min=dw_min, dw_min_std=dw_min_std))


def moments(name: str, device: Any, tile: AnalogTile) -> tuple[float, float]:
    """Return mean and deviation of one pulse up from the start."""
    cell = cells_of(tile)
    w = np.full((tile.out_size, tile.in_size), START)
    mean, one = (pulse(formula(name), device, cell, w, True, xi)[0, 0] - START for xi in (0.0, 1.0))
    return float(mean), abs(float(one - mean))


@pytest.mark.parametrize("kernel", ["added up", "exact", "wgpu", "wgpu exact"])
@pytest.mark.parametrize("name", PULSED)
def test_mean_of_small_steps(name: str, kernel: str) -> None:
    """The mean step is 5 1/4 units: by itself it would be rounded to 5, at every pulse."""
    trial = device_of(name, 1e-3, 1.0)
    unit = [moment / 1e-3 for moment in moments(name, trial, tile_of(trial, 1, 1))]
    device = device_of(name, 5.25 * ULP / unit[0], SPREAD * unit[0] / unit[1])
    exact = kernel.endswith("exact")
    update = UpdateParameters(
        update_bl_management=False, update_management=False, exact_pulses=exact
    )
    torch.manual_seed(3)
    tile = tile_of(device, ROWS, COLUMNS, update=update)
    mean, deviation = moments(name, device, tile)
    tile.tile.set_weights(torch.full((ROWS, COLUMNS), START))
    if kernel.startswith("wgpu"):
        tile.to_backend("wgpu", needed_adapter())
    tile.tile.set_learning_rate(PULSES * tile.tile.spec.weight_granularity)
    tile.update(torch.ones(1, COLUMNS), -torch.ones(1, ROWS))
    found = float((tile.tile.get_weights().double() - START).mean())
    error = 5 * deviation * (PULSES / (ROWS * COLUMNS)) ** 0.5
    # What rounding the mean would have added is far outside.
    assert 0.25 * ULP * PULSES > 3 * error
    assert abs(found - PULSES * mean) < error
