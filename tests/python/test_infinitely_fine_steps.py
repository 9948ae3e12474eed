"""Devices with ``dw_min = 0``: weights flow along their response, and nothing counts pulses."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from mho import _core
from mho.exceptions import ArgumentError, ConfigError, StateError, TileModuleError
from mho.simulator.configs import (
    BufferedTransferCompound,
    ChoppedTransferCompound,
    ConstantStepDevice,
    CustomCompound,
    CustomPulsedDevice,
    DigitalRankUpdateRPUConfig,
    DynamicTransferCompound,
    MappingParameter,
    MixedPrecisionCompound,
    OneSidedUnitCell,
    PulseType,
    ReferenceUnitCell,
    SingleRPUConfig,
    SoftBoundsDevice,
    SoftBoundsPmaxDevice,
    TransferCompound,
    UnitCellRPUConfig,
    UpdateMode,
    UpdateParameters,
    VectorUnitCell,
    build_config,
)
from mho.simulator.devices import rules
from mho.simulator.parameters.io import IOParameters
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.presets import ReRamESPresetDevice
from mho.simulator.tiles import AnalogTile
from mho.simulator.tiles.transfer import TorchTransferTile
from mho.utils.visualization import estimate_n_steps, get_tile_for_plotting
from pulsed import PULSED, Array, build, cases, cells_of, formula, put, raw
from test_training_algorithms import device as task_device
from test_training_algorithms import error_of

ROWS, COLUMNS = 5, 17


def tile_of(device: Any, rows: int = ROWS, columns: int = COLUMNS, **config: Any) -> AnalogTile:
    """Tile with a learning rate of one."""
    kind = SingleRPUConfig if hasattr(device, "dw_min") else UnitCellRPUConfig
    tile = AnalogTile(rows, columns, kind(device=device, **config))
    tile.tile.set_learning_rate(1.0)
    return tile


def samples(
    tile: AnalogTile, count: int = 3, size: float = 0.3
) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(count, tile.in_size, generator=generator)
    return x, size * torch.randn(count, tile.out_size, generator=generator)


def start(tile: AnalogTile) -> Array:
    rng = np.random.default_rng(2)
    return put(tile, rng.normal(0.0, 0.3, (tile.out_size, tile.in_size)))


def followed(name: str, device: Any, cell: Any, w: Array, change: Array, steps: int) -> Array:
    """Weights after a change that pulses would make, by steps of the midpoint rule."""
    rule, v, up = formula(name), w + cell.reference, change > 0
    h = np.abs(change) / steps

    def rate(v: Array) -> Array:
        rise, fall = (rule.size(v, way, cell, device) for way in (True, False))
        return np.asarray(np.where(up, rise, -np.asarray(fall)))

    def inside(v: Array) -> Array:
        return np.asarray(np.clip(v, cell.min_bound, cell.max_bound))

    for _ in range(steps):
        if steps == 1:
            v = inside(v + h * rate(v))
        else:
            v = inside(v + h * rate(inside(v + h / 2 * rate(v))))
    return np.asarray(v - cell.reference)


@pytest.mark.parametrize("mode", UpdateMode)
@pytest.mark.parametrize(("name", "at"), cases())
def test_weights_follow_the_response(name: str, at: int, mode: UpdateMode) -> None:
    tile = tile_of(build(name, at, dw_min=0.0), update=UpdateParameters(update_mode=mode))
    device, cell = tile.rpu_config.device, cells_of(tile)
    expected = start(tile)
    # One step across several nodes is no flow, and grows with their slopes.
    x, d = samples(tile, size=0.3 if mode is UpdateMode.FLOW else 0.01)
    many = len(getattr(device, "piecewise_up", ())) > 10
    steps = 1 if mode is UpdateMode.EULER else 30_000 if many else 3000
    for inputs, errors in zip(x, d, strict=True):
        change = -np.outer(errors.double(), inputs.double())
        expected = followed(name, device, cell, expected, change, steps)
    tile.update(x, d)
    # Three roundings of numbers up to 1, and a relative error of 1e-6 of powers and exponentials.
    np.testing.assert_allclose(raw(tile), expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize("name", PULSED)
def test_noise_and_spread_of_steps_have_no_effect(name: str) -> None:
    found = []
    for fields in ({}, {"dw_min_std": 3.0, "dw_min_dtod": 2.0, "dw_min_dtod_log_normal": True}):
        torch.manual_seed(1)
        tile = tile_of(build(name, dw_min=0.0, **fields))
        start(tile)
        tile.update(*samples(tile))
        found.append(torch.cat([tile.tile.get_weights()[None], tile.tile.get_hidden_parameters()]))
    assert torch.equal(found[0], found[1])


def test_factors_of_the_steps() -> None:
    device = ConstantStepDevice(dw_min=0.0, up_down=0.2, up_down_dtod=0.1)
    cell = cells_of(tile_of(device, 100, 100))
    # Five standard errors of the mean of 10^4 draws.
    assert abs(cell.dwmin_up.mean() - 1.0) < 5e-3
    assert abs(cell.dwmin_down.mean() - 0.8) < 5e-3
    assert cell.dwmin_up.std() == pytest.approx(0.1, rel=0.05)
    np.testing.assert_allclose(cell.dwmin_up + cell.dwmin_down, 1.8, atol=1e-6)
    tile = tile_of(ConstantStepDevice(dw_min=0.0))
    assert device.flows() and tile.tile.spec.flows
    assert device.calc_weight_granularity() == 0.0 == tile.tile.spec.weight_granularity
    assert device.calc_num_states() == math.inf


def test_bounds_of_pmax_devices_stay() -> None:
    device = SoftBoundsPmaxDevice(dw_min=0.0, p_max=200, alpha=0.01)
    values = SoftBoundsPmaxDevice(p_max=200, alpha=0.01).soft_bounds_values()
    assert (device.calc_weight_granularity(), device.calc_num_states()) == (0.0, math.inf)
    for field in ("w_max_dtod", "w_min_dtod", "up_down_dtod"):
        setattr(device, field, 0.0)
    cell = cells_of(tile_of(device))
    np.testing.assert_allclose(cell.max_bound, values["w_max"], rtol=1e-6)
    np.testing.assert_allclose(cell.dwmin_down, 1 - max(values["up_down"], 0), atol=1e-6)
    with pytest.raises(ConfigError, match="dw_min"):
        SoftBoundsPmaxDevice(dw_min=0.1).to_wire("device")


def test_write_noise_is_absolute() -> None:
    tile = tile_of(SoftBoundsDevice(dw_min=0.0, write_noise_std=0.05), 60, 60)
    start(tile)
    before = tile.tile.get_weights()
    x, d = samples(tile)
    x[:, 30:] = 0.0
    tile.update(x, d)
    noise = tile.tile.get_weights().double().numpy() - raw(tile)
    assert noise[:, :30].std() == pytest.approx(0.05, rel=0.1)
    assert torch.equal(tile.tile.get_weights()[:, 30:], before[:, 30:])


@pytest.mark.parametrize("name", PULSED)
def test_batches_may_be_cut_anywhere(name: str) -> None:
    found = []
    for size in (1, 7, 100):
        torch.manual_seed(1)
        tile = tile_of(build(name, dw_min=0.0))
        start(tile)
        for x, d in zip(*(part.split(size) for part in samples(tile, 100, 0.05)), strict=True):
            tile.update(x, d)
        found.append(tile.tile.get_weights())
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


@pytest.mark.parametrize("pulse_type", PulseType)
def test_types_of_pulses(pulse_type: PulseType) -> None:
    parameters = UpdateParameters(pulse_type=pulse_type, desired_bl=1)
    tile = tile_of(SoftBoundsDevice(dw_min=0.0), update=parameters)
    x, d = samples(tile)
    start(tile)
    before = tile.tile.get_weights()
    tile.update(x, d)
    if pulse_type is PulseType.NONE:
        torch.testing.assert_close(tile.tile.get_weights(), before - d.T @ x)
        return
    cell = cells_of(tile)
    expected = before.double().numpy()
    for inputs, errors in zip(x, d, strict=True):
        change = -np.outer(errors.double(), inputs.double())
        if pulse_type is PulseType.NONE_WITH_DEVICE:
            expected = np.clip(expected + change, cell.min_bound, cell.max_bound)
        else:
            args = ("SoftBounds", tile.rpu_config.device, cell, expected, change, 3000)
            expected = followed(*args)
    np.testing.assert_allclose(raw(tile), expected, atol=2e-6, rtol=0)


def test_analog_bias() -> None:
    config = SingleRPUConfig(
        device=SoftBoundsDevice(dw_min=0.0), mapping=MappingParameter(digital_bias=False)
    )
    tile = AnalogTile(3, 16, config, True)
    tile.tile.set_learning_rate(1.0)
    before, cell = raw(tile), cells_of(tile)
    x, d = samples(tile, 1)
    tile.update(x, d)
    inputs = torch.cat([x, torch.ones(1, 1)], 1)
    change = -np.outer(d.double(), inputs.double())
    expected = followed("SoftBounds", config.device, cell, before, change, 3000)
    np.testing.assert_allclose(raw(tile), expected, atol=2e-6, rtol=0)


FINE, COARSE = SoftBoundsDevice(dw_min=0.0), SoftBoundsDevice()


@pytest.mark.parametrize(
    ("config", "match"),
    [
        (SingleRPUConfig(device=SoftBoundsDevice(dw_min=-1e-9)), r"device\.dw_min"),
        (SingleRPUConfig(device=SoftBoundsDevice(dw_min=0.0, count_pulses=True)), "count_pulses"),
        (SingleRPUConfig(device=SoftBoundsDevice(dw_min=0.0, write_noise_std=1.3)), "write_noise"),
        (SingleRPUConfig(device=ReRamESPresetDevice(dw_min=0.0)), "write_noise_std"),
        (SingleRPUConfig(device=FINE, update=UpdateParameters(res=0.1)), r"update\.res"),
        (SingleRPUConfig(device=FINE, update=UpdateParameters(sto_round=True)), r"update\.sto_ro"),
        (build_config("ttv2", FINE), "dw_min"),
        (build_config("ttv3", FINE), "dw_min"),
        (build_config("agad", FINE), "dw_min"),
        (build_config("mp", FINE), "dw_min"),
        (build_config("erider", FINE), "dw_min"),
        *(
            (UnitCellRPUConfig(device=cell(unit_cell_devices=devices)), "dw_min")
            for cell, devices in [
                (BufferedTransferCompound, [FINE, FINE]),
                (ChoppedTransferCompound, [COARSE, FINE]),
                (DynamicTransferCompound, [FINE, COARSE]),
                (TransferCompound, [FINE, COARSE]),
                (VectorUnitCell, [COARSE, FINE]),
                (ReferenceUnitCell, [FINE, COARSE]),
            ]
        ),
        (
            UnitCellRPUConfig(
                device=TransferCompound(
                    unit_cell_devices=[FINE, FINE], transfer_update=UpdateParameters(res=0.1)
                )
            ),
            r"transfer_update\.res",
        ),
        (
            UnitCellRPUConfig(
                device=OneSidedUnitCell(
                    unit_cell_devices=[FINE], refresh_update=UpdateParameters(sto_round=True)
                )
            ),
            r"refresh_update\.sto_round",
        ),
        (
            UnitCellRPUConfig(
                device=VectorUnitCell(unit_cell_devices=[FINE]), update=UpdateParameters(res=0.1)
            ),
            r"update\.res",
        ),
        (DigitalRankUpdateRPUConfig(device=MixedPrecisionCompound(device=FINE)), "dw_min"),
        (
            UnitCellRPUConfig(device=CustomCompound(unit_cell_devices=[FINE], rule=rules.ttv1)),
            "dw_min",
        ),
        (
            UnitCellRPUConfig(
                tile_class=TorchTransferTile,
                device=ChoppedTransferCompound(unit_cell_devices=[FINE, FINE]),
            ),
            "dw_min",
        ),
    ],
    ids=str,
)
def test_what_needs_pulses_refuses(config: Any, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        config.tile_class(3, 4, config)


def test_calls_that_need_pulses_refuse() -> None:
    tile = tile_of(SoftBoundsDevice(dw_min=0.0))
    before = tile.state_dict()
    with pytest.raises(ConfigError, match="dw_min"):
        tile.zero_shift(10)
    assert all(torch.equal(before[k], v) for k, v in tile.state_dict().items())
    with pytest.raises(ConfigError, match="dw_min"):
        build_config("tt", FINE, tune=True).for_tile(4, 4)
    config = SingleRPUConfig(device=FINE)
    with pytest.raises(ConfigError, match="dw_min"):
        estimate_n_steps(config)
    with pytest.raises(ConfigError, match="dw_min"):
        get_tile_for_plotting(config, 3)
    counts = torch.zeros(ROWS, COLUMNS, dtype=torch.int64)
    x, d = samples(tile)
    with pytest.raises(ConfigError, match="dw_min"):
        _core.pulse_counts(
            tile.tile.spec, x, d, 0.1, torch.ones(1, dtype=torch.int64), 1, 0, counts, None
        )


def test_states_of_steps_and_of_fine_steps_do_not_mix() -> None:
    fine, coarse = tile_of(SoftBoundsDevice(dw_min=0.0)), tile_of(SoftBoundsDevice())
    for source, target in ((fine, coarse), (coarse, fine)):
        before = {name: value.clone() for name, value in target.state_dict().items()}
        target.set_load_rpu_config_state(False, False)
        with pytest.raises(StateError, match="dw_min = 0"):
            target.load_state_dict(source.state_dict())
        target.set_load_rpu_config_state(True, False)
        assert all(torch.equal(before[k], v) for k, v in target.state_dict().items())
    coarse.load_state_dict(fine.state_dict())
    assert coarse.rpu_config.device.flows()


def test_edits_of_a_living_tile() -> None:
    for before, after in ((0.0, 0.001), (0.001, 0.0)):
        tile = tile_of(SoftBoundsDevice(dw_min=before))
        with pytest.raises(TileModuleError, match="dw_min"):
            tile.rpu_config.device.dw_min = after
        other = SingleRPUConfig(device=SoftBoundsDevice(dw_min=after))
        with pytest.raises(StateError, match="dw_min = 0"):
            tile.replace_with(other)
    tile = tile_of(SoftBoundsDevice(dw_min=0.0))
    tile.rpu_config.update.update_mode = UpdateMode.EULER
    cell, expected = cells_of(tile), start(tile)
    x, d = samples(tile, 1)
    tile.update(x, d)
    change = -np.outer(d.double(), x.double())
    device = tile.rpu_config.device
    expected = followed("SoftBounds", device, cell, expected, change, 1)
    np.testing.assert_allclose(raw(tile), expected, atol=1e-6)


def test_any_factors_can_be_set() -> None:
    tile = tile_of(SoftBoundsDevice(dw_min=0.0))
    hidden = tile.get_hidden_parameters()
    for name in ("dwmin_up", "dwmin_down", "slope_up", "slope_down"):
        hidden[name] = 3.0 * hidden[name]
    tile.set_hidden_parameters(hidden)
    assert tile.tile.spec.weight_granularity == 0.0
    x, d = samples(tile, 1, 0.1)
    before, cell = raw(tile), cells_of(tile)
    tile.update(x, d)
    change = -np.outer(d.double(), x.double())
    expected = followed("SoftBounds", tile.rpu_config.device, cell, before, change, 3000)
    np.testing.assert_allclose(raw(tile), expected, atol=2e-6)


def perfect() -> IOParameters:
    return IOParameters(is_perfect=True)


def one(up_down: float = 0.0, **fields: Any) -> SoftBoundsDevice:
    """Device without spreads."""
    zero = dict.fromkeys(("up_down_dtod", "w_max_dtod", "w_min_dtod", "reset_std"), 0.0)
    return SoftBoundsDevice(**{"dw_min": 0.0, "up_down": up_down, **zero, **fields})


def soft(w: Array, change: Array, up: float = 1.0, down: float = 1.0) -> Array:
    """Weights of soft-bounds devices with bounds of 0.6 after a change."""
    bound = np.where(change > 0, 0.6, -0.6)
    scale = np.where(change > 0, up, down) / 0.6
    return np.asarray(bound + (w - bound) * np.exp(-scale * np.abs(change)))


def test_vector_cells_add_up_flows() -> None:
    cell = VectorUnitCell(unit_cell_devices=[one(), one(0.5)], gamma_vec=[0.5, 1.0])
    tile = tile_of(cell, forward=perfect())
    tile.tile.set_weights(torch.zeros(ROWS, COLUMNS))
    x, d = samples(tile)
    tile.update(x, d)
    a = b = np.zeros((ROWS, COLUMNS))
    for inputs, errors in zip(x, d, strict=True):
        change = -np.outer(errors.double(), inputs.double())
        a, b = soft(a, change), soft(b, change, 1.0, 0.5)
    np.testing.assert_allclose(tile.tile.get_weights(), 0.5 * a + b, atol=2e-6)


def test_pairs_flow_upwards_only() -> None:
    tile = tile_of(OneSidedUnitCell(unit_cell_devices=[one()]), forward=perfect())
    tile.tile.set_weights(torch.zeros(ROWS, COLUMNS))
    x, d = samples(tile)
    tile.update(x, d)
    minus = plus = np.zeros((ROWS, COLUMNS))
    for inputs, errors in zip(x, d, strict=True):
        change = -np.outer(errors.double(), inputs.double())
        plus = soft(plus, np.maximum(change, 0.0))
        minus = soft(minus, np.maximum(-change, 0.0))
    hidden = tile.get_hidden_parameters()
    np.testing.assert_allclose(hidden["hidden_weights_0"], minus, atol=2e-6)
    np.testing.assert_allclose(hidden["hidden_weights_1"], plus, atol=2e-6)
    np.testing.assert_allclose(tile.tile.get_weights(), plus - minus, atol=4e-6)


def test_transfers_are_flows() -> None:
    cell = TransferCompound(
        unit_cell_devices=[one(), one(0.3)],
        transfer_forward=perfect(),
        transfer_every=1.0,
        units_in_mbatch=False,
        fast_lr=0.5,
        scale_fast_lr=True,
        transfer_lr=0.2,
        scale_transfer_lr=True,
    )
    tile = tile_of(cell, forward=perfect())
    tile.tile.set_weights(torch.zeros(ROWS, COLUMNS))
    x, d = samples(tile, 20)
    tile.update(x, d)
    fast = slow = np.zeros((ROWS, COLUMNS))
    for at, (inputs, errors) in enumerate(zip(x, d, strict=True)):
        fast = soft(fast, -0.5 * np.outer(errors.double(), inputs.double()))
        line = at % COLUMNS
        change = np.zeros_like(slow)
        change[:, line] = 0.2 * fast[:, line]
        slow = np.where(change != 0, soft(slow, change, 1.0, 0.7), slow)
    np.testing.assert_allclose(tile.tile.get_weights(), slow, atol=1e-5)


@register_config_class
@dataclass
class FineSoftInPython(CustomPulsedDevice):
    """Soft bounds, written again."""

    def step(self, weight: Any, up: Any, planes: Any, noise: Any) -> Any:
        size = torch.where(up, planes["dwmin_up"], -planes["dwmin_down"])
        bound = torch.where(up, planes["max_bound"], planes["min_bound"])
        size = size * (1.0 - weight / bound)
        return weight + (size if noise is None else size * (1.0 + self.dw_min_std * noise))


@pytest.mark.parametrize("columns", [True, False])
def test_transfers_may_be_cut_anywhere(columns: bool) -> None:
    """Only the lines that are read follow the samples one by one; the others wait for more."""

    def trained(parts: list[int]) -> list[torch.Tensor]:
        torch.manual_seed(1)
        cell = TransferCompound(
            unit_cell_devices=[SoftBoundsDevice(dw_min=0.0), SoftBoundsDevice(dw_min=0.0)],
            transfer_every=1.0,
            units_in_mbatch=False,
            transfer_columns=columns,
            transfer_forward=IOParameters(is_perfect=True),
            gamma=0.5,
            fast_lr=0.1,
        )
        tile = AnalogTile(38, 41, UnitCellRPUConfig(device=cell))
        tile.tile.set_learning_rate(0.1)
        x, d = samples(tile, 30)
        for some in zip(x.split(parts), d.split(parts), strict=True):
            tile.update(*some)
        hidden = tile.get_hidden_parameters()
        return [hidden["hidden_weights_0"], hidden["hidden_weights_1"]]

    whole = trained([30])
    for parts in ([1] * 30, [7, 23]):
        for found, expected in zip(trained(parts), whole, strict=True):
            torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    assert all(weights.abs().max() > 0.01 for weights in whole)


@pytest.mark.parametrize("mode", UpdateMode)
@pytest.mark.parametrize("write_noise_std", [0.0, 0.02])
def test_devices_in_python(mode: UpdateMode, write_noise_std: float) -> None:
    found = []
    for cls in (FineSoftInPython, SoftBoundsDevice):
        torch.manual_seed(3)
        device = cls(dw_min=0.0, construction_seed=4, write_noise_std=write_noise_std)
        tile = tile_of(device, update=UpdateParameters(update_mode=mode))
        start(tile)
        x, d = samples(tile)
        x[:, 3] = 0.0
        tile.update(x, d)
        visible = tile.tile.get_weights().double().numpy() - raw(tile)
        found.append(raw(tile))
        assert visible.std() == pytest.approx(write_noise_std, rel=0.3)
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)


def test_trouble_in_python_changes_nothing() -> None:
    tile = tile_of(FineSoftInPython(dw_min=0.0))
    before = {name: value.clone() for name, value in tile.state_dict().items()}
    x, d = samples(tile)
    x[1, 2] = math.nan
    with pytest.raises(ArgumentError, match="x"):
        tile.update(x, d)
    assert all(torch.equal(before[k], v) for k, v in tile.state_dict().items())


def test_alternating_changes_lead_to_the_symmetry_point() -> None:
    device = one(0.3, w_max=0.6)
    tile = tile_of(device, 1, 1)
    tile.tile.set_weights(torch.full((1, 1), -0.4))
    d = torch.full((4000, 1), 0.01)
    d[1::2] *= -1
    tile.update(torch.ones(4000, 1), d)
    point = (1.0 - 0.7) / (1.0 / 0.6 + 0.7 / 0.6)
    assert float(tile.tile.get_weights()) == pytest.approx(point, abs=0.005)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("name", "lr", "expected"), [("sgd", 0.01, 0.364), ("tt", 0.03, 0.029)])
def test_the_asymmetry_stays(name: str, lr: float, expected: float) -> None:
    """Plain training learns no better than with many states; transfers lose their granularity."""
    config = build_config(name, task_device(dw_min=0.0), perfect())
    found = float(np.median([error_of(config, lr, seed) for seed in range(7)]))
    assert found == pytest.approx(expected, rel=0.2)
