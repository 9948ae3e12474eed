"""Weights pulse by pulse against the formulas of the devices, and the statistics of their steps."""

import copy

import numpy as np
import pytest
import torch

from mho.exceptions import ArgumentError, ConfigError, CudaError
from mho.simulator.configs import (
    ConstantStepDevice,
    IdealDevice,
    SingleRPUConfig,
    SoftBoundsDevice,
    SoftBoundsPmaxDevice,
    UnitCellRPUConfig,
    UpdateParameters,
    VectorUnitCell,
)
from mho.simulator.tiles import AnalogTile
from mho.utils.visualization import (
    compute_pulse_response,
    compute_pulse_statistics,
    estimate_n_steps,
    get_tile_for_plotting,
)
from mho.utils.visualization.plotting_tile import noise_free_twin, plotting_config, pulse_cycles

EQUAL = {"dw_min_dtod": 0.0, "up_down_dtod": 0.0, "w_max_dtod": 0.0, "w_min_dtod": 0.0}
QUIET = {**EQUAL, "dw_min_std": 0.0}
UP_THEN_DOWN = pulse_cycles(50, 100)
# A weight below 1 is rounded by at most 2**-25 at each of 100 pulses.
ROUNDING = 100 * 2**-25


def response(device: object, direction: np.ndarray, w_init: float | None = None) -> np.ndarray:
    tile = get_tile_for_plotting(SingleRPUConfig(device=device), 2, w_init=w_init)
    return compute_pulse_response(tile, direction)


def test_constant_steps_add_up_and_stop_at_the_bound() -> None:
    device = ConstantStepDevice(dw_min=0.02, w_min=-0.3, w_max=0.4, up_down=0.25, **QUIET)
    trace = response(device, UP_THEN_DOWN)
    up = np.minimum(-0.3 + 0.02 * np.arange(1, 51), 0.4)
    down = np.maximum(0.4 - 0.75 * 0.02 * np.arange(1, 51), -0.3)
    assert trace.shape == (100, 2, 1)
    expected = np.concatenate([up, down])
    for row in range(2):
        np.testing.assert_allclose(trace[:, row, 0], expected, atol=ROUNDING)


def test_soft_bounds_follow_the_geometric_series() -> None:
    device = SoftBoundsDevice(dw_min=0.02, w_min=-0.5, w_max=0.6, **QUIET)
    trace = response(device, UP_THEN_DOWN, w_init=0.1)[:, 0, 0]
    pulses = np.arange(1, 51)
    up = 0.6 - 0.5 * (1 - 0.02 / 0.6) ** pulses
    down = -0.5 + (up[-1] + 0.5) * (1 - 0.02 / 0.5) ** pulses
    np.testing.assert_allclose(trace, np.concatenate([up, down]), atol=ROUNDING)


def test_each_entry_is_one_pulse_with_its_own_noise() -> None:
    device = ConstantStepDevice(dw_min=1e-4, dw_min_std=0.5, **EQUAL)
    tile = get_tile_for_plotting(SingleRPUConfig(device=device), 40, w_init=0.0)
    steps = np.diff(compute_pulse_response(tile, pulse_cycles(50, 50)), axis=0)
    # 1960 normal steps: standard errors of mean and spread, five of them; rounding is below 1e-8.
    size = steps.size**-0.5
    assert abs(steps.mean() / 1e-4 - 1) < 5 * 0.5 * size
    assert abs(steps.std() / 1e-4 - 0.5) < 5 * 0.5 * size / 2**0.5


def test_no_pulse_leaves_the_weight() -> None:
    trace = response(ConstantStepDevice(**QUIET), np.zeros(5), w_init=0.2)
    np.testing.assert_array_equal(trace, np.float64(np.float32(0.2)))


def test_reading_by_the_product_adds_its_noise() -> None:
    config = plotting_config(ConstantStepDevice(**QUIET), 0.05)
    tile = get_tile_for_plotting(config, 30, w_init=0.1)
    exact = compute_pulse_response(copy.deepcopy(tile), np.zeros(100))
    noise = compute_pulse_response(tile, np.zeros(100), use_forward=True) - exact
    # Five standard errors of the spread of 3000 normals.
    assert abs(noise.std() / 0.05 - 1) < 5 / (2 * noise.size) ** 0.5


def test_the_configuration_may_have_any_update() -> None:
    update = UpdateParameters(desired_bl=7, fixed_bl=False)
    device = ConstantStepDevice(dw_min=0.01, **QUIET)
    config = SingleRPUConfig(device=device, update=update)
    tile = get_tile_for_plotting(config, 1, w_init=0.0)
    assert compute_pulse_response(tile, np.ones(1)).item() == pytest.approx(0.01, rel=1e-6)
    assert update.desired_bl == 7


def test_the_twin_has_the_same_devices_without_noise() -> None:
    device = SoftBoundsDevice(dw_min=0.02, write_noise_std=3.0)
    tile = get_tile_for_plotting(plotting_config(device, 0.1), 3)
    twin = noise_free_twin(tile, None)
    hidden = {name: plane.double() for name, plane in tile.get_hidden_parameters().items()}
    up, bound, start = (hidden[n].numpy() for n in ("dwmin_up", "max_bound", "min_bound"))
    start = np.maximum(start, -0.6)
    pulses = np.arange(1, 31).reshape(-1, 1, 1)
    expected = bound - (bound - start) * (1 - up / bound) ** pulses
    trace = compute_pulse_response(twin, np.ones(30), use_forward=True)
    np.testing.assert_allclose(trace, expected, atol=ROUNDING)


@pytest.mark.parametrize(
    "device", [ConstantStepDevice(w_min=-0.3, **EQUAL), SoftBoundsPmaxDevice()]
)
def test_tiles_start_at_the_lower_bound(device: ConstantStepDevice) -> None:
    device.w_min_dtod = 0.0
    tile = get_tile_for_plotting(SingleRPUConfig(device=device), 2)
    assert torch.equal(tile.tile.get_weights(), tile.get_hidden_parameters()["min_bound"])


def test_statistics_recover_the_step_of_soft_bounds() -> None:
    device = SoftBoundsDevice(dw_min=0.002, w_min=-0.5, w_max=0.5, **QUIET)
    direction = pulse_cycles(600, 2400)
    trace = response(device, direction)
    nodes = np.linspace(-0.4, 0.3, 15)
    for up_direction, expected in (
        (True, 0.002 * (1 - nodes / 0.5)),
        (False, -0.002 * (1 + nodes / 0.5)),
    ):
        mean, std = compute_pulse_statistics(nodes, trace, direction, up_direction, 0.2)
        # The step is linear in the weight, so only the uneven density of the pulses within the
        # width of 0.005 moves the mean, by less than a tenth of that width times the slope.
        np.testing.assert_allclose(mean[:, 0, 0], expected, atol=0.1 * 0.005 * 0.004)
        assert np.nanmax(std) < 3 * 0.005 * 0.004


def test_statistics_are_nan_where_no_steps_are() -> None:
    trace = np.arange(10.0).reshape(-1, 1, 1)
    nodes = np.array([4.0, 34.0])
    mean, std = compute_pulse_statistics(nodes, trace, np.ones(10), True, 0.2)
    assert mean[0, 0, 0] == pytest.approx(1.0, abs=1e-12)
    assert std[0, 0, 0] == pytest.approx(0.0, abs=1e-12)
    assert np.isnan(mean[1]).all()
    assert np.isnan(compute_pulse_statistics(nodes, trace, np.ones(10), False, 1.0)[0]).all()


def test_number_of_steps() -> None:
    assert estimate_n_steps(SingleRPUConfig(device=ConstantStepDevice())) == 1200
    # Bounds at a distance of 1 / alpha steps on both sides of zero.
    assert estimate_n_steps(SingleRPUConfig(device=SoftBoundsPmaxDevice())) == 4000
    cell = VectorUnitCell(unit_cell_devices=[ConstantStepDevice()])
    assert estimate_n_steps(UnitCellRPUConfig(device=cell)) == 1000


def test_errors() -> None:
    config = SingleRPUConfig(device=ConstantStepDevice())
    tile = get_tile_for_plotting(config, 1)
    before = tile.tile.get_weights()
    for direction in (np.ones((2, 2)), np.array([0.5]), np.array([np.nan])):
        with pytest.raises(ArgumentError, match="direction"):
            compute_pulse_response(tile, direction)
    assert torch.equal(tile.tile.get_weights(), before)
    with pytest.raises(ArgumentError, match="bias"):
        compute_pulse_response(AnalogTile(1, 1, config, bias=True), np.ones(1))
    with pytest.raises(ArgumentError, match="w_trace"):
        compute_pulse_statistics(np.arange(3.0), np.ones((4, 1, 1)), np.ones(5), True)
    with pytest.raises(ArgumentError, match="w_nodes"):
        compute_pulse_statistics(np.arange(1.0), np.ones((5, 1, 1)), np.ones(5), True)
    with pytest.raises(ArgumentError, match="smoothness"):
        compute_pulse_statistics(np.arange(3.0), np.ones((5, 1, 1)), np.ones(5), True, 0.0)
    with pytest.raises(ConfigError, match="w_min"):
        estimate_n_steps(SingleRPUConfig(device=IdealDevice()))
    with pytest.raises(CudaError):
        get_tile_for_plotting(config, 1, use_cuda=True)
