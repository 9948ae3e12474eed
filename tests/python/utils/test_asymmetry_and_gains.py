"""What settings of training algorithms follow from: pull of a device, and gains of transfers."""

import copy
import dataclasses
import math
import warnings
from typing import Any

import pytest
import torch

from mho.exceptions import ConfigError
from mho.simulator import configs
from mho.simulator.configs import (
    ConstantStepDevice,
    ReferenceUnitCell,
    SoftBoundsDevice,
    SoftBoundsReferenceDevice,
    VectorUnitCell,
    VectorUnitCellUpdatePolicy,
)
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.presets import PCMPresetUnitCell
from mho.simulator.presets import devices as presets
from mho.simulator.tuning import gains
from mho.utils.tuning import asymmetry


def soft(w_max: float = 1.0, w_min: float = -1.0, **fields: Any) -> SoftBoundsDevice:
    """Return a device whose asymmetry is `(1 / w_max - 1 / w_min) / 2`."""
    return SoftBoundsDevice(w_max=w_max, w_min=w_min, **fields)


# --- asymmetry ------------------------------------------------------------------------------------


def exp_step_slope(device: configs.ExpStepDevice) -> tuple[float, float]:
    """Return asymmetry and symmetry point by bisection of the published step."""
    half = device.a / (device.w_max - device.w_min) * 2

    def up(w: float) -> float:
        step = 1 - device.A_up * math.exp(device.gamma_up * (half * w + device.b))
        return (1 + min(device.up_down, 0)) * max(step, 0)

    def down(w: float) -> float:
        step = 1 - device.A_down * math.exp(-device.gamma_down * (half * w + device.b))
        return (1 - max(device.up_down, 0)) * max(step, 0)

    low, high = device.w_min, device.w_max
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if down(middle) < up(middle) else (low, middle)
    h = 1e-5
    slope = ((down(low + h) - up(low + h)) - (down(low - h) - up(low - h))) / (4 * h)
    return slope * device.dw_min / device.calc_weight_granularity(), low


@pytest.mark.parametrize(
    ("device", "kappa"),
    [
        (soft(0.6, -0.6), 1 / 0.6),
        (soft(1.25, -0.75), (1 / 1.25 + 1 / 0.75) / 2),
        (SoftBoundsReferenceDevice(), 1 / 0.6),
        (presets.ReRamSBPresetDevice(), (1 / 1.25 + 1 / 0.75) / 2),
        (presets.ReRamArrayOMPresetDevice(), 1.0),
        (presets.CapacitorPresetDevice(), 0.05),
        # Each slope refers to its own bound.
        (presets.EcRamPresetDevice(), (0.1153 / 1.1724 + 0.5085 / 0.8276) / 2),
        (presets.EcRamMOPresetDevice(), (0.4152 / 1.1714 + 0.7342 / 0.8286) / 2),
        # Steps down are smaller by a tenth everywhere.
        (soft(1.0, -1.0, up_down=0.1), (1.0 + 0.9) / 2),
        # One minus and plus the weight over the range, of which the granularity is half.
        (configs.PowStepDevice(w_max=0.6, w_min=-0.6), 2 / 1.2),
        (configs.PowStepReferenceDevice(w_max=0.6, w_min=-0.6), 2 / 1.2),
        (configs.PiecewiseStepDevice(piecewise_up=[1.5, 1, 0.5], piecewise_down=[0.5, 1, 1.5]),
         0.5 / 0.6),
        (ConstantStepDevice(), 0.0),
        (ConstantStepDevice(up_down=0.1), 0.0),
        (ReferenceUnitCell([soft(0.8, -0.8)]), 1 / 0.8),
        (VectorUnitCell([soft(0.8, -0.8)] * 2), 1 / 0.8),
    ],
    ids=lambda value: type(value).__name__ if dataclasses.is_dataclass(value) else None,
)  # fmt: skip
def test_asymmetry_is_that_of_the_mean_steps(device: Any, kappa: float) -> None:
    # Steps are differences of weights in single precision.
    assert asymmetry(device).kappa == pytest.approx(kappa, rel=2e-3, abs=1e-4)


@pytest.mark.parametrize(
    "device", [presets.ReRamESPresetDevice(), configs.ExpStepDevice()], ids=["ReRamES", "default"]
)
def test_asymmetry_of_exponential_steps_is_taken_at_the_symmetry_point(device: Any) -> None:
    kappa, point = exp_step_slope(device)
    found = asymmetry(device)
    assert found.kappa == pytest.approx(kappa, rel=2e-3)
    assert found.symmetry_point == pytest.approx(point, abs=1e-3)


def test_asymmetry_of_a_device_of_p_max() -> None:
    device = configs.SoftBoundsPmaxDevice()
    values = device.soft_bounds_values()
    expected = (1 / values["w_max"] - 1 / values["w_min"]) / 2
    assert asymmetry(device).kappa == pytest.approx(expected, rel=2e-3)


@register_config_class
@dataclasses.dataclass
class SoftInPython(configs.CustomPulsedDevice):
    """Soft bounds as a user would write them."""

    def step(self, weight: Any, up: Any, planes: Any, noise: Any) -> Any:
        """Return the weights after one pulse."""
        rise = planes["dwmin_up"] * (1 - weight / planes["max_bound"])
        fall = planes["dwmin_down"] * (1 - weight / planes["min_bound"])
        return weight + torch.where(up, rise, -fall)


def test_asymmetry_of_a_device_in_python() -> None:
    assert asymmetry(SoftInPython(w_max=0.8, w_min=-0.5)).kappa == pytest.approx(
        (1 / 0.8 + 1 / 0.5) / 2, rel=2e-3
    )


def test_a_cell_that_chooses_devices_has_the_mean_of_their_pulls() -> None:
    policy = VectorUnitCellUpdatePolicy.SINGLE_SEQUENTIAL
    cell = VectorUnitCell([soft(0.5, -0.5), soft(1.0, -1.0)], update_policy=policy)
    # One of two equal steps acts, with half of the weight: half of the mean of the slopes 2 and 1.
    assert asymmetry(cell).kappa == pytest.approx(1.5 / 2, rel=5e-3)


def test_asymmetry_of_pairs_that_only_go_up() -> None:
    """A step down is one up of the other device, which is at the lower bound at zero."""
    pair = configs.OneSidedUnitCell([soft(0.8, 0.0, dw_min=0.001)])
    found = asymmetry(pair)
    assert found.kappa == pytest.approx(1 / 0.8 / 2, rel=0.01)
    assert found.symmetry_point == pytest.approx(0.0, abs=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = asymmetry(PCMPresetUnitCell())
    # Steps of 0.01 (1 + 27.235 exp(-2.5 w)); the fit is of the third power over a tenth.
    step = PCMPresetUnitCell().calc_weight_granularity()
    assert found.kappa == pytest.approx(0.01 * 27.235 * 2.5 / 2 / step, rel=0.2)
    assert found.symmetry_point == pytest.approx(0.0, abs=0.01)


def test_symmetry_point_of_a_device_that_is_off() -> None:
    device = soft(1.0, -1.0, up_down=0.2)
    # 1 - w = 0.8 (1 + w)
    assert asymmetry(device).symmetry_point == pytest.approx(0.2 / 1.8, abs=1e-4)
    assert asymmetry(ConstantStepDevice()).symmetry_point == 0.0


def test_asymmetry_leaves_device_and_generator_alone() -> None:
    device = presets.ReRamESPresetDevice()
    before, state = copy.deepcopy(device), torch.get_rng_state()
    asymmetry(device)
    assert device == before
    assert torch.equal(torch.get_rng_state(), state)


def test_a_device_without_pulses_is_refused() -> None:
    with pytest.raises((ConfigError, NotImplementedError)):
        asymmetry(configs.IdealDevice())


# --- gains ----------------------------------------------------------------------------------------


def recursion(leak: float, period: int, weight: float | None) -> float:
    """Return the mean of what is read per gradient of a sweep, by going through many periods."""
    left = math.exp(-leak)
    held, sign, mean, reference, flipped = 0.0, 1, 0.0, 0.0, False
    total, count = 0.0, 0
    periods = 4 + 2 * math.ceil(25 / (leak * period))
    for sweep in range(2 * periods * period):
        held = held * left + sign * (1 - left) / leak
        if flipped and weight is not None:
            reference = mean
        if sweep >= periods * period:
            total, count = total + sign * (held - reference), count + 1
        mean = (1 - (weight or 0.0)) * mean + (weight or 0.0) * held
        flipped = sweep % period + 1 == period
        sign = -sign if flipped else sign
    return total / count


# Leak, period; gains with chopper and with reference.
FIGURES = [
    (0.1, 57, 6.69, 16.16),
    (0.33, 19, 2.22, 5.16),
    (1.0, 6, 0.81, 1.80),
    (0.05, 20, 1.97, 9.28),
]


@pytest.mark.parametrize(("leak", "period", "chopped", "dynamic"), FIGURES)
def test_gains_are_those_of_the_recursion(
    leak: float, period: int, chopped: float, dynamic: float
) -> None:
    own = gains.gain_with_chopper(leak, period), gains.gain_with_reference(leak, period, 5.0)
    assert own[0] == pytest.approx(recursion(leak, period, None), rel=1e-9)
    assert own[1] == pytest.approx(recursion(leak, period, min(5.0 / period, 1.0)), rel=1e-9)
    assert own == pytest.approx((chopped, dynamic), abs=0.005)


@pytest.mark.parametrize(
    ("leak", "period", "chopped", "dynamic"),
    [(0.1, 57, 6.51, 16.45), (0.33, 19, 2.07, 5.09), (1.0, 6, 0.67, 1.66), (0.05, 20, 1.52, 10.76)],
)
def test_gains_of_continuous_readings_are_near(
    leak: float, period: int, chopped: float, dynamic: float
) -> None:
    z = leak * period
    end = math.exp(-z)
    assert (1 - 2 / z * math.tanh(z / 2)) / leak == pytest.approx(chopped, abs=0.005)
    assert 2 / (1 + end) * (1 - (1 - end) / z) / leak == pytest.approx(dynamic, abs=0.005)
    near = 0.1 if z >= 5 and leak < 1 else 0.3
    assert gains.gain_with_chopper(leak, period) == pytest.approx(chopped, rel=near)
    assert gains.gain_with_reference(leak, period, 5.0) == pytest.approx(dynamic, rel=near)


def test_gains_of_endless_memories() -> None:
    assert gains.gain_without_chopper(0.25) == 4.0
    assert gains.gain_with_chopper(1e-3, 10) < 1.0
    assert gains.gain_with_reference(1e-6, 16, 1e9) == pytest.approx(8.0 + 0.5, rel=1e-3)
