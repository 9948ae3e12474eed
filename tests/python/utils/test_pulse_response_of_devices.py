"""Every step of every device without noise against the formula of its kind."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from mho.simulator import configs
from mho.simulator.configs import SingleRPUConfig
from mho.simulator.configs.devices import PulsedDevice
from mho.utils.visualization import compute_pulse_response, get_tile_for_plotting
from mho.utils.visualization.plotting_tile import pulse_cycles

Planes = dict[str, np.ndarray]
Step = Callable[[PulsedDevice, np.ndarray, Planes], tuple[np.ndarray, np.ndarray]]


def constant(device: PulsedDevice, w: np.ndarray, cell: Planes) -> tuple[np.ndarray, np.ndarray]:
    return np.ones_like(w), np.ones_like(w)


def soft_bounds(device: PulsedDevice, w: np.ndarray, cell: Planes) -> tuple[np.ndarray, np.ndarray]:
    v = w + cell.get("reference", np.zeros(()))
    return 1 - v / cell["max_bound"], 1 - v / cell["min_bound"]


def linear(device: PulsedDevice, w: np.ndarray, cell: Planes) -> tuple[np.ndarray, np.ndarray]:
    return 1 - 0.3 * w / device.w_max, 1 - 0.7 * w / device.w_min


def exponential(device: PulsedDevice, w: np.ndarray, cell: Planes) -> tuple[np.ndarray, np.ndarray]:
    z = 2 * 0.244 * w / (cell["max_bound"] - cell["min_bound"]) + 0.2425
    up, down = 0.00081 * np.exp(12.44625 * z), 0.36833 * np.exp(-12.78785 * z)
    return np.maximum(1 - up, 0), np.maximum(1 - down, 0)


def power(device: PulsedDevice, w: np.ndarray, cell: Planes) -> tuple[np.ndarray, np.ndarray]:
    v = w + cell.get("reference", np.zeros(()))
    top, bottom = cell["max_bound"], cell["min_bound"]
    x = np.clip((v - bottom) / (top - bottom), 0, 1)
    return (1 - x) ** cell["gamma_up"], x ** cell["gamma_down"]


def piecewise(device: PulsedDevice, w: np.ndarray, cell: Planes) -> tuple[np.ndarray, np.ndarray]:
    x = (w - cell["min_bound"]) / (cell["max_bound"] - cell["min_bound"])
    nodes = np.linspace(0, 1, 3)
    return np.interp(x, nodes, [0.5, 1.5, 0.2]), np.interp(x, nodes, [0.1, 1.0, 2.0])


CASES: dict[str, tuple[Step, dict[str, object]]] = {
    "ConstantStepDevice": (constant, {"up_down": -0.4}),
    "LinearStepDevice": (
        linear,
        {"gamma_up": 0.3, "gamma_down": 0.7, "gamma_up_dtod": 0.0, "gamma_down_dtod": 0.0},
    ),
    "SoftBoundsDevice": (soft_bounds, {"up_down": 0.3}),
    "SoftBoundsReferenceDevice": (soft_bounds, {"reference_mean": 0.1, "reference_std": 0.05}),
    "ExpStepDevice": (exponential, {}),
    "PowStepDevice": (power, {"pow_gamma": 1.6}),
    "PowStepReferenceDevice": (power, {"pow_gamma": 1.6, "reference_mean": 0.1}),
    "PiecewiseStepDevice": (
        piecewise,
        {"piecewise_up": [0.5, 1.5, 0.2], "piecewise_down": [0.1, 1.0, 2.0]},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_steps_follow_the_formula(name: str) -> None:
    step, fields = CASES[name]
    device = getattr(configs, name)(dw_min=0.02, dw_min_std=0.0, **fields)
    tile = get_tile_for_plotting(SingleRPUConfig(device=device), 20)
    planes = tile.get_hidden_parameters().items()
    cell = {n: plane.double().numpy()[:, 0] for n, plane in planes}
    start = tile.tile.get_weights().double().numpy()
    direction = pulse_cycles(60, 240)
    trace = np.concatenate([start[None], compute_pulse_response(tile, direction)])[:, :, 0]
    up, down = step(device, trace[:-1], cell)
    change = np.where(direction[:, None] > 0, up * cell["dwmin_up"], -down * cell["dwmin_down"])
    reference = cell.get("reference", np.zeros(()))
    bounds = cell["min_bound"] - reference, cell["max_bound"] - reference
    # Weights and bounds below 2 and steps below 0.1 are rounded to float32 a few times, and the
    # exponential and the power are accurate to a few units in the last place of float32.
    np.testing.assert_allclose(trace[1:], np.clip(trace[:-1] + change, *bounds), atol=1e-6)
    assert torch.isfinite(tile.tile.get_weights()).all()
    assert (np.ptp(trace, axis=0) > 0.02).all()
