"""Settings that follow from device and size: which, where they are kept, what they reach."""

import copy
import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch

from mho.exceptions import ArgumentError, ConfigError, TileModuleError
from mho.nn import AnalogLinear
from mho.simulator import configs
from mho.simulator.configs import (
    BufferedTransferCompound,
    ChoppedTransferCompound,
    ConstantStepDevice,
    InferenceRPUConfig,
    MappingParameter,
    SingleRPUConfig,
    SoftBoundsDevice,
    TransferCompound,
    TuningParameter,
    UnitCellRPUConfig,
    UpdateParameters,
    build_config,
)
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.presets import devices as presets
from mho.simulator.tiles import AnalogTile
from mho.simulator.tiles.array import TileModuleArray
from mho.simulator.tuning import gains
from mho.utils.tuning import learnable

ALGORITHMS = ("tt", "ttv2", "c-ttv2", "agad", "mp")


def soft(w_max: float = 1.0, w_min: float = -1.0, **fields: Any) -> SoftBoundsDevice:
    """Return a device whose step vanishes at its bounds."""
    return SoftBoundsDevice(w_max=w_max, w_min=w_min, **fields)


# --- settings -------------------------------------------------------------------------------------


def test_settings_of_choppers() -> None:
    """Numbers by hand for soft bounds of one and 500 states, on a tile of 64 columns."""
    device = soft(1.0, -1.0, dw_min=0.004)
    config = learnable(build_config("c-ttv2", device), 64, 10)
    cell = config.device
    leak = 31 * 0.004 * 1.0 * 0.1 * 64
    period = math.ceil(6 / leak)
    assert config.update.desired_bl == 31
    assert cell.fast_lr == pytest.approx(1.0)
    assert cell.auto_scale
    assert not cell.units_in_mbatch
    assert cell.transfer_every == 1.0
    assert math.ceil(1 / cell.in_chop_prob) == period
    assert not cell.in_chop_random
    expected = gains.gain_with_chopper(leak, period)
    assert cell.buffer_granularity == pytest.approx(expected, rel=0.01)
    assert cell.correct_gradient_magnitudes
    assert cell.transfer_update.desired_bl == round(500 / 40)
    assert not cell.forget_buffer


def test_few_states_take_few_pulses() -> None:
    found = learnable(
        build_config("agad", presets.ReRamArrayOMPresetDevice()), 64, 10, explain=True
    )
    assert found.pulses == pytest.approx(1 / (0.0949 * 0.1 * 64), rel=1e-3)
    assert found.leak == pytest.approx(1.0)
    assert found.config.update.desired_bl == 2
    assert found.config.device.fast_lr == pytest.approx(found.pulses / 2)
    assert found.config.device.transfer_update.desired_bl == 1
    assert found.period == 4


def test_reading_the_fast_device_as_well_is_allowed_for() -> None:
    """Transfers are multiplied by the weight of the fast device then, see `gamma`."""
    config = build_config("agad", presets.EcRamPresetDevice())
    alone = learnable(config, 64, 64).device.buffer_granularity
    config.device.gamma = 0.25
    assert learnable(config, 64, 64).device.buffer_granularity == pytest.approx(0.25 * alone)


def test_pulses_of_few_states_are_hardly_seen() -> None:
    fine, coarse = presets.EcRamPresetDevice(), presets.ReRamArrayOMPresetDevice()
    assert learnable(build_config("tt", fine), 64, 64).device.gamma == 0.3
    assert learnable(build_config("tt", coarse), 64, 64).device.gamma * 0.0949 == pytest.approx(
        0.01
    )


def test_rate_divides_the_buffer() -> None:
    config = build_config("agad", presets.EcRamPresetDevice())
    slow, fast = (learnable(config, 64, 64, v=v).device.buffer_granularity for v in (1.0, 3.0))
    assert slow == pytest.approx(3 * fast)


def test_periods_fit_into_the_training() -> None:
    config = build_config("c-ttv2", presets.EcRamMOPresetDevice())
    free = learnable(config, 64, 64, explain=True)
    assert free.period == math.ceil(6 / free.leak)
    short = learnable(config, 64, 64, vectors=30_000, explain=True)
    assert short.period == math.ceil(30_000 / (4 * 64))
    shortest = learnable(config, 64, 64, vectors=5_000, explain=True)
    assert any("4 chopper periods" in text for text in shortest.warnings)
    assert shortest.period == math.ceil(2 / free.leak)


def test_every_period_is_met_by_its_frequency() -> None:
    config = build_config("c-ttv2", soft(1.0, -1.0, dw_min=1e-3))
    for vectors in range(4 * 64 * 40, 4 * 64 * 120, 4 * 64):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = learnable(config, 64, 64, vectors=vectors, rho=0.01, explain=True)
        assert math.ceil(1 / found.config.device.in_chop_prob) == found.period


def test_rows_are_slices_if_rows_are_transferred() -> None:
    config = build_config("agad", presets.EcRamPresetDevice())
    config.device.transfer_columns = False
    assert learnable(config, 64, 10, explain=True).sweep == 10


def test_a_device_that_never_relaxes_gets_no_choppers() -> None:
    config = build_config("c-ttv2", presets.IdealizedPresetDevice())
    with pytest.warns(UserWarning, match="choppers"):
        tuned = learnable(config, 64, 64)
    assert tuned.device.in_chop_prob == 0.0
    agad = learnable(build_config("agad", presets.IdealizedPresetDevice()), 64, 64)
    assert math.ceil(1 / agad.device.in_chop_prob) == 16


def test_remarks_on_a_device_that_never_relaxes() -> None:
    """It has no symmetry point that could spread, and what it remembers does not matter to AGAD."""
    constant = ConstantStepDevice()
    for name in ALGORITHMS:
        found = learnable(build_config(name, constant), 64, 10, vectors=30_000, explain=True)
        assert not any("symmetry points spread" in text for text in found.advice), name
        remembers = any("remembers" in text for text in found.warnings)
        assert remembers == (name in ("tt", "ttv2", "c-ttv2")), name


def test_mixed_precision_collects_several_batches_and_loses_no_count() -> None:
    config = learnable(build_config("mp", presets.ReRamSBPresetDevice()), 64, 64, batch=16, v=2.0)
    assert config.device.transfer_every == 2
    assert config.device.transfer_lr == 2.0
    assert config.update.desired_bl == 1000


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_given_configuration_stays(name: str) -> None:
    config = build_config(name, presets.EcRamPresetDevice())
    before = copy.deepcopy(config)
    tuned = learnable(config, 20, 10)
    assert config == before
    assert tuned != before
    assert type(tuned) is type(config)
    # Products and devices are the user's.
    assert tuned.forward == before.forward
    devices = getattr(config.device, "unit_cell_devices", None) or [config.device.device]
    assert devices == (getattr(tuned.device, "unit_cell_devices", None) or [tuned.device.device])


def test_explanation_is_a_table() -> None:
    found = learnable(
        build_config("c-ttv2", presets.ReRamESPresetDevice()), 64, 10, vectors=1000, explain=True
    )
    text = str(found)
    for part in ("kappa", "leak", "memory", "chopper period", "gain", "effective rate",
                 "speed limit", "signal to read noise", "pulses per vector"):  # fmt: skip
        assert part in text
    assert "warning: the fast device remembers" in text
    assert "advice: symmetry points spread" in text
    assert found.memory == pytest.approx(64 / found.leak)


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("dw_min", [1e-7, 1e-5, 1.9])
def test_devices_of_any_number_of_states_are_built(name: str, dw_min: float) -> None:
    config = build_config(name, soft(1.0, -1.0, dw_min=dw_min), tune=True)
    tile = AnalogTile(3, 4, config)
    tile.update(torch.ones(2, 4), torch.ones(2, 3))
    assert bool(torch.isfinite(tile.tile.get_weights()).all())


def test_devices_without_end() -> None:
    endless = ConstantStepDevice(w_max=1e15, w_min=-1e15)
    assert learnable(build_config("agad", endless), 7, 5).device.transfer_update.desired_bl == 31
    assert learnable(build_config("mp", endless), 7, 5).update.desired_bl == 65535


def test_perfect_reads_have_no_noise() -> None:
    config = build_config("agad", presets.EcRamPresetDevice())
    config.device.transfer_forward.is_perfect = True
    assert learnable(config, 64, 10, explain=True).signal_to_noise == math.inf


def test_a_slow_device_that_cannot_keep_up_is_named() -> None:
    config = build_config("ttv2", soft(1.0, -1.0, dw_min=1e-4))
    with pytest.warns(UserWarning, match="slow device moves"):
        learnable(config, 512, 512, vectors=20_000)


# --- errors ---------------------------------------------------------------------------------------


def three_devices() -> UnitCellRPUConfig:
    """Return a chain for which there are no rules."""
    return UnitCellRPUConfig(device=TransferCompound([soft(), soft(), soft()]))


@pytest.mark.parametrize(("states", "number"), [(2, 8), (4, 4), (10, 3), (16, 2), (1000, 2)])
def test_residual_learning_has_as_many_devices_as_a_byte_needs(states: int, number: int) -> None:
    given = build_config("residual", soft(dw_min=2.0 / states), n_devices=3)
    config = learnable(given, 7, 5, v=3.0)
    cell, gamma = config.device, min(max(2.5 / states, 0.1), 0.5)
    assert len(cell.unit_cell_devices) == number
    assert cell.gamma_vec == pytest.approx([gamma ** (number - 1 - k) for k in range(number)])
    assert cell.params == {
        "period": 1, "base": 5, "rate": 0.1, "growth": 1.2, "warm_start": True, "fast": 3.0,
    }  # fmt: skip
    tile = AnalogTile(5, 7, config)
    tile.update(torch.rand(3, 7), torch.rand(3, 5))


def test_residual_learning_keeps_devices_that_differ() -> None:
    given = build_config("residual", soft(dw_min=0.5), n_devices=3)
    given.device.unit_cell_devices[2] = soft(dw_min=0.1)
    assert learnable(given, 7, 5).device.unit_cell_devices == given.device.unit_cell_devices


@pytest.mark.parametrize(
    ("call", "error", "named"),
    [
        (lambda: learnable(build_config("erider", soft()), 3, 2), ConfigError, "device.rule"),
        (lambda: learnable(None, 3, 2), ArgumentError, "config"),  # type: ignore[call-overload]
        (lambda: learnable(SingleRPUConfig(), 3, 2), ConfigError, "device: .*ConstantStepDevice"),
        (lambda: learnable(InferenceRPUConfig(), 3, 2), ConfigError, "device"),
        (lambda: learnable(three_devices(), 3, 2), ConfigError, "unit_cell_devices"),
        (lambda: learnable(build_config("tt", soft()), 0, 2), ArgumentError, "in_size"),
        (lambda: learnable(build_config("tt", soft()), 3, -2), ArgumentError, "out_size"),
        (lambda: learnable(build_config("tt", soft()), 3, 2, v=0.0), ArgumentError, "v:"),
        (lambda: learnable(build_config("tt", soft()), 3, 2, rho=2.0), ArgumentError, "rho"),
        (lambda: learnable(build_config("tt", soft()), 3, 2, batch=0), ArgumentError, "batch"),
        (lambda: learnable(build_config("tt", soft()), 3, 2, vectors=0), ArgumentError, "vectors"),
        (lambda: learnable(build_config("tt", soft(dw_min=-1)), 3, 2), ConfigError, "dw_min"),
        (lambda: build_config("sgd", soft(), tune=True), ArgumentError, "tune"),
        (lambda: build_config("erider", soft(), tune=True), ArgumentError, "tune: erider"),
        (lambda: build_config("low-rank", soft(), tune=True), ArgumentError, "tune"),
        (lambda: build_config("tt", soft(), tune="quick"), ArgumentError, "tune"),
        (lambda: build_config("tt", soft(), n_devices=3), ArgumentError, "n_devices: tt"),
        (lambda: build_config("mp", soft(), n_devices=2), ArgumentError, "n_devices"),
        (lambda: build_config("erider", soft(), n_devices=3), ArgumentError, "n_devices"),
        (lambda: build_config("sgd", soft(), n_devices=0), ArgumentError, "n_devices"),
        (lambda: built("tt", tune=TuningParameter(v=-1.0)), ConfigError, "tuning.v"),
        (lambda: built("tt", tune=TuningParameter(rho=0.0)), ConfigError, "tuning.rho"),
        (lambda: built("tt", tune=TuningParameter(batch=0)), ConfigError, "tuning.batch"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(call: Callable[[], Any], error: type, named: str) -> None:
    with pytest.raises(error, match=named):
        call()


# --- tiles ----------------------------------------------------------------------------------------


def built(name: str, rows: int = 5, columns: int = 7, **kwargs: Any) -> AnalogTile:
    """Return a tile that derives its settings."""
    options = {"tune": True} | kwargs
    return AnalogTile(rows, columns, build_config(name, presets.EcRamPresetDevice(), **options))


@pytest.mark.parametrize("name", ["sgd", *ALGORITHMS])
def test_nothing_changes_unless_asked(name: str) -> None:
    config = build_config(name, presets.EcRamPresetDevice())
    assert getattr(config, "tuning", None) is None
    assert AnalogTile(5, 7, config).rpu_config == config


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_tile_has_the_settings_of_its_size(name: str) -> None:
    plain = build_config(name, presets.EcRamPresetDevice())
    tile = built(name)
    assert tile.rpu_config == learnable(plain, 7, 5)
    assert tile.rpu_config.tuning is None
    assert built(name, tune="fast").rpu_config == learnable(plain, 7, 5, v=3.0)
    given = TuningParameter(v=2.0, batch=32, rho=0.2)
    expected = learnable(plain, 7, 5, v=2.0, batch=32, rho=0.2)
    assert built(name, tune=given).rpu_config == expected


def test_the_marker_survives() -> None:
    config = build_config("agad", presets.EcRamPresetDevice(), tune=TuningParameter(vectors=99))
    assert "vectors=99" in str(config)
    assert copy.deepcopy(config) == config
    again = RPUConfigBase.from_json(config.to_json())
    assert again == config
    assert again.tuning == TuningParameter(vectors=99)
    assert config != build_config("agad", presets.EcRamPresetDevice())


def test_the_given_configuration_keeps_its_marker() -> None:
    config = build_config("agad", presets.EcRamPresetDevice(), tune=True)
    before = copy.deepcopy(config)
    AnalogTile(5, 7, config)
    assert config == before


def test_an_analog_bias_is_a_column() -> None:
    mapping = MappingParameter(digital_bias=False)
    plain = build_config("agad", presets.EcRamPresetDevice(), mapping=mapping)
    config = build_config("agad", presets.EcRamPresetDevice(), mapping=mapping, tune=True)
    assert AnalogTile(5, 7, config, bias=True).rpu_config == learnable(plain, 8, 5)


def test_tiles_of_an_array_have_their_own_settings() -> None:
    mapping = MappingParameter(max_input_size=40, max_output_size=40)
    device = presets.ReRamESPresetDevice()
    array = TileModuleArray(30, 61, build_config("agad", device, mapping=mapping, tune=True))
    plain = build_config("agad", device, mapping=mapping)
    assert array.in_sizes == [31, 30]
    for tiles, columns in zip(array.array, array.in_sizes, strict=True):
        assert tiles[0].rpu_config == learnable(plain, columns, 30)
    first, second = (tiles[0].rpu_config.device for tiles in array.array)
    assert first.buffer_granularity != second.buffer_granularity


def test_a_saved_tile_has_its_settings() -> None:
    torch.manual_seed(0)
    layer = AnalogLinear(7, 5, rpu_config=built("agad").rpu_config)
    tile = next(iter(layer.analog_tiles()))
    own = copy.deepcopy(tile.rpu_config)
    plain = AnalogLinear(7, 5, rpu_config=build_config("agad", presets.EcRamPresetDevice()))
    plain.load_state_dict(layer.state_dict())
    assert next(iter(plain.analog_tiles())).rpu_config == own
    tuned = AnalogLinear(
        7, 5, rpu_config=build_config("agad", presets.EcRamPresetDevice(), tune=True)
    )
    tuned.load_state_dict(plain.state_dict())
    assert next(iter(copy.deepcopy(tuned).analog_tiles())).rpu_config == own


def test_replacing_a_configuration_derives_settings_as_well() -> None:
    tile = AnalogTile(5, 7, build_config("agad", presets.EcRamPresetDevice()))
    tile.replace_with(build_config("agad", presets.EcRamPresetDevice(), tune=True))
    assert tile.rpu_config == built("agad").rpu_config


def test_a_living_tile_refuses_the_marker() -> None:
    tile = AnalogTile(5, 7, build_config("agad", presets.EcRamPresetDevice()))
    with pytest.raises(TileModuleError, match="learnable"):
        tile.rpu_config.tuning = TuningParameter()
    assert tile.rpu_config.tuning is None


def test_tuning_takes_nothing_from_the_generator() -> None:
    seeds = []
    for tune in (False, True):
        torch.manual_seed(3)
        built("agad", tune=tune)
        seeds.append(torch.rand(1))
    assert torch.equal(*seeds)


def test_a_tile_warns_at_the_line_that_builds_it() -> None:
    config = build_config("c-ttv2", presets.IdealizedPresetDevice(), tune=True)
    with pytest.warns(UserWarning, match="tuning of ChoppedTransferCompound") as caught:
        AnalogTile(5, 7, config)
    assert caught[0].filename == __file__


# --- rate -----------------------------------------------------------------------------------------

COLUMNS, ROWS, RATE, ERROR = 10, 6, 0.1, 1e-3


def rate_of(config: Any, sweeps: int, warm_up: int) -> float:
    """Return how fast the slow device follows a constant gradient, in learning rates."""
    torch.manual_seed(1)
    tile = AnalogTile(ROWS, COLUMNS, config)
    tile.tile.set_weights(torch.zeros(ROWS, COLUMNS))
    tile.tile.set_learning_rate(RATE)
    x, d = torch.ones(COLUMNS, COLUMNS), torch.full((COLUMNS, ROWS), ERROR)
    weights = []
    for sweep in range(warm_up + sweeps):
        if sweep == warm_up:
            weights.append(tile.get_hidden_parameters()["hidden_weights_1"].mean())
        tile.update(x, d)  # one vector per column
    weights.append(tile.get_hidden_parameters()["hidden_weights_1"].mean())
    return float((weights[0] - weights[1]) / (RATE * ERROR * COLUMNS * sweeps))


def pair(leak: float) -> list[Any]:
    """Return a fast device of a given leak at 31 pulses per vector, and a slow one of equal steps.

    All vectors are as large as the largest, so that inputs and errors have a rho of one. Pulses of
    one direction then pull the fast device linearly towards its bound.
    """
    quiet = dict.fromkeys(("dw_min_dtod", "dw_min_std", "w_max_dtod", "w_min_dtod"), 0.0)
    quiet["up_down_dtod"] = 0.0
    fast = SoftBoundsDevice(w_max=1.0, w_min=-1.0, dw_min=leak / (31 * COLUMNS), **quiet)
    return [fast, ConstantStepDevice(dw_min=5e-4, w_max=1e3, w_min=-1e3, **quiet)]


def exact_reads(name: str, leak: float) -> UnitCellRPUConfig:
    """Return the default configuration of an algorithm with that pair, read exactly."""
    config: Any = build_config(name, soft())
    config.device.unit_cell_devices = pair(leak)
    config.device.transfer_forward.is_perfect = True
    return config  # type: ignore[no-any-return]


@pytest.mark.parametrize("memories", [3, 6])
@pytest.mark.parametrize("leak", [0.1, 0.33, 1.0])
@pytest.mark.parametrize("name", ["c-ttv2", "agad"])
def test_the_weight_follows_at_the_rate_that_was_asked_for(
    name: str, leak: float, memories: int
) -> None:
    found = learnable(exact_reads(name, leak), COLUMNS, ROWS, rho=1.0, v=2.0, explain=True)
    assert found.leak == pytest.approx(min(leak, 1.0), rel=5e-3)
    cell = found.config.device
    period = max(4, math.ceil(memories / leak))
    cell.in_chop_prob = 1 / (period - 0.5)
    if name == "agad":
        gain = gains.gain_with_reference(found.leak, period, cell.tail_weightening)
    else:
        gain = gains.gain_with_chopper(found.leak, period)
    cell.buffer_granularity = gain / 2.0
    measured = rate_of(found.config, 8 * period, 4 * period)
    assert measured == pytest.approx(2.0, rel=0.25)


@pytest.mark.parametrize("name", ["tt", "buffered", "ttv2", "c-ttv2", "agad"])
def test_the_derived_settings_have_the_rate_that_was_asked_for(name: str) -> None:
    leak = 0.2
    if name == "buffered":
        config: Any = exact_reads("tt", leak)
        fields = {
            "unit_cell_devices": pair(leak),
            "transfer_forward": config.device.transfer_forward,
        }
        config.device = BufferedTransferCompound(**fields)
    else:
        config = exact_reads(name, leak)
    # What is assumed of the gradient is true for this batch.
    found = learnable(config, COLUMNS, ROWS, rho=1.0, batch=round(0.2 / ERROR), explain=True)
    assert found.rate == pytest.approx(1.0)
    period = 2 * (found.period or 20)
    assert rate_of(found.config, 6 * period, 4 * period) == pytest.approx(1.0, rel=0.25)


def test_update_parameters_of_transfers_are_kept_otherwise() -> None:
    update = UpdateParameters(pulse_type=configs.PulseType.MEAN_COUNT)
    config = build_config("agad", soft(), up_parameters=update)
    assert isinstance(config.device, ChoppedTransferCompound)
    tuned: Any = learnable(config, 7, 5)
    assert tuned.device.transfer_update.pulse_type is configs.PulseType.MEAN_COUNT
