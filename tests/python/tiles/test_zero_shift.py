"""Zero-shifting: what pulses up and down leave of the distance to the symmetry point."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from mho.exceptions import ArgumentError, ConfigError
from mho.simulator.configs import (
    ChoppedTransferCompound,
    ConstantStepDevice,
    CustomCompound,
    DigitalRankUpdateRPUConfig,
    IdealDevice,
    LinearStepDevice,
    MixedPrecisionCompound,
    OneSidedUnitCell,
    ReferenceUnitCell,
    SingleRPUConfig,
    SoftBoundsDevice,
    SoftBoundsPmaxDevice,
    SoftBoundsReferenceDevice,
    UnitCellRPUConfig,
)
from mho.simulator.devices import rules
from mho.simulator.parts.zero_shift import pulses_needed
from mho.simulator.presets import PCMPresetDevice, PCMPresetUnitCell
from mho.simulator.tiles import AnalogTile
from test_training_algorithms import COLUMNS, ROWS, SCALED, error_of, named, symmetry_point
from test_training_algorithms import device as task_device

NONE = dict.fromkeys(("dw_min_dtod", "dw_min_std", "up_down_dtod", "w_max_dtod", "w_min_dtod"), 0.0)


def soft(**fields: Any) -> SoftBoundsDevice:
    return SoftBoundsDevice(**{"dw_min": 0.01, "w_max": 1.0, "w_min": -1.0, **NONE, **fields})


@pytest.mark.parametrize("n", [100, 200, 400])
def test_the_distance_falls_exponentially(n: int) -> None:
    tile = AnalogTile(2, 3, SingleRPUConfig(device=soft()))
    tile.tile.set_weights(torch.full((2, 3), 0.5))
    assert tile.zero_shift(n) == n
    expected = 0.5 * math.exp(-n * 0.01)
    # The steps of a pair are not equal: that leaves half a step.
    torch.testing.assert_close(
        tile.tile.get_weights(), torch.full((2, 3), expected), atol=0.006, rtol=0
    )


def test_pulses_that_are_needed() -> None:
    assert pulses_needed(soft(), 0.01) == pytest.approx(math.log(100) / 0.01, rel=0.02)
    assert pulses_needed(soft(w_max=0.5, w_min=-0.5), 0.1) == pytest.approx(
        math.log(10) / 0.02, rel=0.02
    )
    linear = LinearStepDevice(dw_min=0.002, gamma_up=0.4, gamma_down=0.8, mult_noise=False, **NONE)
    slope = (0.4 + 0.8) / 2 / linear.w_max
    assert pulses_needed(linear, 0.05) == pytest.approx(math.log(20) / 0.002 / slope, rel=0.02)
    assert pulses_needed(ReferenceUnitCell([soft(), soft()]), 0.01) == pulses_needed(soft(), 0.01)


def with_offset(**fields: Any) -> SoftBoundsReferenceDevice:
    return task_device(0.3, dw_min_std=0.0, dw_min_dtod=0.0, **fields)


@pytest.mark.parametrize("mode", ["alternate", "random"])
def test_references_take_the_symmetry_point(mode: str) -> None:
    torch.manual_seed(0)
    tile = AnalogTile(ROWS, COLUMNS, SingleRPUConfig(device=with_offset(count_pulses=True)))
    assert float(symmetry_point(tile.get_hidden_parameters()).std()) > 0.2
    number = tile.zero_shift(mode=mode)
    assert number == pytest.approx(math.log(100) / 0.01, rel=0.05)
    left = symmetry_point(tile.get_hidden_parameters())
    # Random pulses leave sqrt(g / (2 kappa)) = 0.07.
    assert float(left.square().mean().sqrt()) < (0.02 if mode == "alternate" else 0.1)
    assert torch.equal(tile.tile.get_weights(), torch.zeros(ROWS, COLUMNS))
    counts = tile.get_pulse_counters()
    assert bool((counts.sum(0) == number).all())


def in_core() -> Any:
    cell = ReferenceUnitCell([with_offset(), soft(w_max=2.0, w_min=-2.0)])
    return ChoppedTransferCompound(unit_cell_devices=[cell, soft()])


def in_python() -> Any:
    cell = ReferenceUnitCell([with_offset(), soft(w_max=2.0, w_min=-2.0)])
    params = {"fast_lr": 0.5, "bl": 5, "n": 1, "forget": True}
    return CustomCompound(unit_cell_devices=[cell, soft()], rule=rules.ttv2, params=params)


@pytest.mark.parametrize("make", [in_core, in_python])
def test_fast_devices_of_cells(make: Any) -> None:
    torch.manual_seed(0)
    tile = AnalogTile(ROWS, COLUMNS, UnitCellRPUConfig(device=make()))
    before = tile.get_hidden_parameters()
    tile.zero_shift()
    planes = tile.get_hidden_parameters()
    expected = symmetry_point(planes, "_0_0")
    torch.testing.assert_close(planes["hidden_weights_1_0"], expected, atol=0.02, rtol=0)
    torch.testing.assert_close(planes["hidden_weights_0"], torch.zeros(ROWS, COLUMNS))
    assert torch.equal(planes["hidden_weights_1"], before["hidden_weights_1"])
    assert torch.equal(planes["max_bound_0_0"], before["max_bound_0_0"])


def test_reference_cells_alone() -> None:
    torch.manual_seed(0)
    cell = ReferenceUnitCell([with_offset(), soft(w_max=2.0, w_min=-2.0)])
    tile = AnalogTile(ROWS, COLUMNS, UnitCellRPUConfig(device=cell))
    tile.zero_shift()
    planes = tile.get_hidden_parameters()
    assert torch.equal(planes["hidden_weights_0"], planes["hidden_weights_1"])
    torch.testing.assert_close(tile.tile.get_weights(), torch.zeros(ROWS, COLUMNS))


def test_shifts_are_repeated_from_a_state() -> None:
    torch.manual_seed(0)
    tile = AnalogTile(ROWS, COLUMNS, SingleRPUConfig(device=task_device(0.3)))
    other = AnalogTile(ROWS, COLUMNS, SingleRPUConfig(device=task_device(0.3)))
    other.load_state_dict(tile.state_dict())
    for mode in ("random", "alternate"):
        for current in (tile, other):
            current.zero_shift(50, mode=mode)
        assert torch.equal(tile.tile.get_hidden_parameters(), other.tile.get_hidden_parameters())


@pytest.mark.parametrize(
    ("config", "arguments", "error", "match"),
    [
        (SingleRPUConfig(device=soft()), {"n": 0}, ArgumentError, "n"),
        (SingleRPUConfig(device=soft()), {"delta": 1.0}, ArgumentError, "delta"),
        (SingleRPUConfig(device=soft()), {"mode": "both"}, ArgumentError, "mode"),
        (SingleRPUConfig(device=soft()), {"device": 1}, ArgumentError, "device"),
        (UnitCellRPUConfig(device=in_core()), {"device": 2}, ArgumentError, "0 to 1"),
        (SingleRPUConfig(device=IdealDevice()), {}, ConfigError, "IdealDevice takes no pulses"),
    ],
)
def test_bad_arguments_change_nothing(
    config: Any, arguments: dict[str, Any], error: type[Exception], match: str
) -> None:
    tile = AnalogTile(2, 3, config)
    before = {name: value.clone() for name, value in tile.state_dict().items()}
    with pytest.raises(error, match=match):
        tile.zero_shift(**arguments)
    assert all(torch.equal(tile.state_dict()[name], value) for name, value in before.items())


def test_devices_of_mixed_precision() -> None:
    """The device that holds the weight, as if it were alone."""
    for device in (with_offset(), ReferenceUnitCell([with_offset(), soft(w_max=2.0, w_min=-2.0)])):
        torch.manual_seed(0)
        cell = MixedPrecisionCompound(device=device)
        tile = AnalogTile(ROWS, COLUMNS, DigitalRankUpdateRPUConfig(device=cell))
        before = tile.get_hidden_parameters()
        tile.update(torch.full((1, COLUMNS), 0.001), torch.full((1, ROWS), 0.001))
        collected = tile.get_hidden_parameters()["hidden_weights_chi"]
        assert tile.zero_shift() == pytest.approx(math.log(100) / 0.01, rel=0.05)
        planes = tile.get_hidden_parameters()
        assert torch.equal(tile.tile.get_weights(), torch.zeros(ROWS, COLUMNS))
        assert torch.equal(planes["hidden_weights_chi"], collected)
        name = "hidden_weights_1" if "hidden_weights_1" in planes else "reference"
        assert float((planes[name] - before[name]).abs().max()) > 0.2
        if name == "reference":
            assert float(symmetry_point(planes).square().mean().sqrt()) < 0.02


@pytest.mark.parametrize(
    "device",
    [SoftBoundsDevice(w_min=0.0, w_max=1.0), PCMPresetDevice(), SoftBoundsPmaxDevice()],
    ids=lambda device: type(device).__name__,
)
def test_bounds_of_all_kinds(device: Any) -> None:
    """At zero, or not configured but derived."""
    tile = AnalogTile(2, 3, SingleRPUConfig(device=device))
    assert tile.zero_shift() > 0


def one_sided() -> Any:
    return OneSidedUnitCell([soft(w_min=0.0)])


@pytest.mark.parametrize(
    ("config", "match"),
    [
        (UnitCellRPUConfig(device=one_sided()), "OneSidedUnitCell .* up only"),
        (UnitCellRPUConfig(device=PCMPresetUnitCell()), "PCMPresetUnitCell .* up only"),
        (
            UnitCellRPUConfig(device=ChoppedTransferCompound([one_sided(), soft()])),
            "OneSidedUnitCell .* up only",
        ),
        (
            DigitalRankUpdateRPUConfig(device=MixedPrecisionCompound(device=one_sided())),
            "OneSidedUnitCell .* up only",
        ),
        (SingleRPUConfig(device=ConstantStepDevice()), "ConstantStepDevice has steps .* give n"),
    ],
)
def test_devices_without_a_symmetry_point(config: Any, match: str) -> None:
    tile = AnalogTile(2, 3, config)
    before = {name: value.clone() for name, value in tile.state_dict().items()}
    with pytest.raises(ConfigError, match=match):
        tile.zero_shift()
    assert all(torch.equal(tile.state_dict()[name], value) for name, value in before.items())


def test_any_device_takes_a_number_of_pulses() -> None:
    tile = AnalogTile(2, 3, SingleRPUConfig(device=ConstantStepDevice(count_pulses=True, **NONE)))
    assert tile.zero_shift(5000) == 5000
    assert bool((tile.get_pulse_counters() == 2500).all())


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("n", "expected"), [(0, 0.864), (2000, 0.058)])
def test_training_after_zero_shifting(n: int, expected: float) -> None:
    """Tiki-taka with a buffer, whose fast device is off by 0.3 unless it is shifted."""
    config = named("ttv2", **SCALED)(0.0)
    config.device.unit_cell_devices[0] = ReferenceUnitCell([task_device(0.3), task_device()])

    def prepare(tile: AnalogTile) -> None:
        if n:
            tile.zero_shift(n)

    errors = [error_of(config, 0.01, seed, prepare=prepare) for seed in range(5)]
    assert float(np.median(errors)) == pytest.approx(expected, rel=0.3)
