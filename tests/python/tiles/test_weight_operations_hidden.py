"""Hidden parameters and pulse counters of raw tiles and tiles."""

import copy
import math
import warnings
from collections import OrderedDict
from typing import Any

import pytest
import torch

from devices_for_tests import clean, raw, tile_of
from mho.exceptions import ArgumentError, InputError, TileError
from mho.simulator.configs import IdealDevice, SoftBoundsDevice, UpdateParameters
from mho.simulator.parameters.enums import PulseType

NOISY = {"write_noise_std": 4.0, "lifetime": 10.0, "diffusion": 0.01}


def state(tile: Any) -> dict[str, torch.Tensor]:
    return {n: v.clone() for n, v in tile.state_dict().items() if not n.endswith("calls")}


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert list(first) == list(second)
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


@pytest.mark.parametrize(
    "device", [clean(), SoftBoundsDevice(), SoftBoundsDevice(**NOISY), IdealDevice()]
)
def test_round_trip_changes_nothing(device: Any) -> None:
    """Parameters read and written back leave every bit, also of persistent weights."""
    tile = tile_of(device)
    before = state(tile)
    hidden = tile.get_hidden_parameters()
    assert list(hidden) == tile.tile.get_hidden_parameter_names()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tile.set_hidden_parameters(hidden)
        tile.tile.set_hidden_parameters(tile.tile.get_hidden_parameters())
        tile.set_hidden_parameters(OrderedDict())
    assert_same(before, state(tile))
    for value in hidden.values():
        value.zero_()  # copies
    assert_same(before, state(tile))


def test_names_and_order() -> None:
    base = ["max_bound", "min_bound", "dwmin_up", "dwmin_down", "decay_scales", "diffusion_rates"]
    base += ["reset_bias", "drift_nu"]
    assert list(tile_of(clean()).get_hidden_parameters()) == base
    soft = tile_of(SoftBoundsDevice(**NOISY)).tile
    names = [*base, "persistent_weights", "slope_up", "slope_down"]
    assert soft.get_hidden_parameter_names() == names
    assert soft.get_hidden_parameters().shape == (11, 3, 4)
    assert tile_of(IdealDevice()).tile.get_hidden_parameters().shape == (0,)
    update = UpdateParameters(pulse_type=PulseType.NONE)
    assert tile_of(clean(), update=update).get_hidden_parameters() == {}


def test_new_bounds_clip_the_weights() -> None:
    tile = tile_of(clean())
    tile.tile.set_weights(torch.full((3, 4), 0.5))
    hidden = tile.get_hidden_parameters()
    hidden["max_bound"][0] = 0.3
    tile.set_hidden_parameters(hidden)
    assert torch.equal(raw(tile)[0], torch.full((4,), 0.3))
    assert torch.equal(raw(tile)[1:], torch.full((2, 4), 0.5))
    assert torch.equal(tile.get_hidden_parameters()["max_bound"], hidden["max_bound"])


def test_persistent_weights_are_taken_as_they_are() -> None:
    """They come into the bounds; the visible weights keep their noise."""
    tile = tile_of(SoftBoundsDevice(**NOISY))
    tile.tile.set_weights(torch.full((3, 4), 0.05))
    visible, hidden = raw(tile), tile.get_hidden_parameters()
    hidden["persistent_weights"] = torch.linspace(-2.0, 2.0, 12).reshape(3, 4)
    tile.set_hidden_parameters(hidden)
    found = tile.get_hidden_parameters()["persistent_weights"]
    expected = hidden["persistent_weights"].clamp(hidden["min_bound"], hidden["max_bound"])
    assert torch.equal(found, expected)
    assert torch.equal(raw(tile), visible)
    other = copy.deepcopy(tile)
    fresh = tile_of(SoftBoundsDevice(**NOISY))
    fresh.load_state_dict(tile.state_dict())
    for copied in (other, fresh):
        assert_same(state(copied), state(tile))


def test_exponents_without_drift_are_ignored() -> None:
    tile = tile_of(clean())
    hidden = tile.get_hidden_parameters()
    hidden["drift_nu"] += 0.1
    tile.set_hidden_parameters(hidden)
    assert not bool(tile.get_hidden_parameters()["drift_nu"].any())


@pytest.mark.parametrize("device", [SoftBoundsDevice(), SoftBoundsDevice(**NOISY)])
def test_bad_hidden_parameters(device: Any) -> None:
    tile = tile_of(device)
    before, good = state(tile), tile.get_hidden_parameters()
    crossed = good | {"min_bound": good["max_bound"] + 1.0}
    nan = good["dwmin_up"].clone()
    nan[2, 3] = math.nan
    swapped = OrderedDict(reversed(good.items()))
    cases: list[tuple[Any, type[Exception], str]] = [
        (OrderedDict(list(good.items())[:-1]), TileError, "hidden parameters"),
        (good | {"other": good["max_bound"]}, TileError, "other"),
        (swapped, TileError, "hidden parameters"),
        (good | {"dwmin_up": torch.zeros(3, 5)}, InputError, "dwmin_up"),
        (good | {"dwmin_up": None}, InputError, "dwmin_up"),
        (good | {"dwmin_up": nan}, ArgumentError, "dwmin_up"),
        (crossed, ArgumentError, "min_bound"),
    ]
    for hidden, error, message in cases:
        with pytest.raises(error, match=message):
            tile.set_hidden_parameters(hidden)
    for params in (torch.zeros(2, 3, 4), torch.full((len(good), 3, 4), math.nan), None):
        with pytest.raises((InputError, ArgumentError)):
            tile.tile.set_hidden_parameters(params)  # type: ignore[arg-type]
    with pytest.raises(TileError):
        tile_of(IdealDevice()).set_hidden_parameters(good)
    assert_same(before, state(tile))


@pytest.mark.parametrize("up_down", [0.0, 0.5])
def test_mean_step_is_estimated(up_down: float) -> None:
    """Devices with steps of 0.004 in a tile for 0.001: pulse probabilities follow the former."""
    tile = tile_of(clean(up_down=up_down, dw_min=0.001), 5, 6)
    other = tile_of(clean(up_down=up_down, dw_min=0.004), 5, 6)
    with pytest.warns(UserWarning, match="dw_min: .* 0.004"):
        tile.set_hidden_parameters(other.get_hidden_parameters())
    assert tile.tile.spec.weight_granularity == pytest.approx(0.004, rel=1e-6)
    tile.set_hidden_parameters(tile.get_hidden_parameters())  # no second warning
    tile.tile.set_weights(torch.zeros(5, 6))
    tile.set_learning_rate(0.1)
    # lr x d / 0.004 = 10 pulses of 0.004 down in every cell, halved steps by up_down.
    x, d = torch.ones(1, 6), torch.full((1, 5), 0.4)
    resumed = tile_of(clean(up_down=up_down, dw_min=0.001), 5, 6)
    resumed.load_state_dict(tile.state_dict())
    for t in (tile, copy.deepcopy(tile), resumed):
        t.tile.update(x, d)
        expected = torch.full((5, 6), -0.04 * (1 - up_down))
        torch.testing.assert_close(raw(t), expected, rtol=0, atol=2e-7)


def test_tolerance_of_the_estimate() -> None:
    """Twice `dw_min_dtod`, at least 0.1 %; rounding is no deviation."""
    for dtod, factor, warns in ((0.0, 1.0005, False), (0.0, 1.002, True), (0.1, 1.15, False)):
        device = clean()
        device.dw_min_dtod = dtod
        tile = tile_of(device, 50, 50)  # the mean of 2500 cells is within 0.2 % for dtod = 0.1
        hidden = tile.get_hidden_parameters()
        for name in ("dwmin_up", "dwmin_down"):
            hidden[name] *= factor
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            tile.set_hidden_parameters(hidden)
        assert bool(caught) is warns, (dtod, factor)


def test_update_index_of_single_devices() -> None:
    tile = tile_of(clean())
    tile.set_hidden_update_index(3)
    assert tile.get_hidden_update_index() == 0


STOCHASTIC = (PulseType.STOCHASTIC, PulseType.STOCHASTIC_COMPRESSED)
DENSE = (PulseType.MEAN_COUNT, PulseType.DETERMINISTIC_IMPLICIT)


def counting(pulse_type: PulseType = PulseType.STOCHASTIC_COMPRESSED, **fields: Any) -> Any:
    update = UpdateParameters(pulse_type=pulse_type)
    return tile_of(clean(count_pulses=True, **fields), 2, 3, update=update)


@pytest.mark.parametrize("pulse_type", [*STOCHASTIC, *DENSE])
@pytest.mark.parametrize("cls", [None, SoftBoundsDevice])
def test_pulses_are_counted(pulse_type: PulseType, cls: Any) -> None:
    """`x d > 0` counts as down, index 0. k = 8 = BL: the largest cell fires in every slot."""
    device = clean(count_pulses=True) if cls is None else clean(cls, count_pulses=True)
    tile = tile_of(device, 2, 3, update=UpdateParameters(pulse_type=pulse_type))
    tile.set_learning_rate(0.02)
    x, d = torch.tensor([[0.8, -0.8, 0.0]]), torch.tensor([[0.5, -0.5]])
    tile.tile.update(x, d)
    counts = tile.tile.get_pulse_counters()
    assert counts.dtype is torch.int64 and counts.shape == (2, 2, 3)
    assert counts[0].tolist() == [[8, 0, 0], [0, 8, 0]]
    assert counts[1].tolist() == [[0, 8, 0], [8, 0, 0]]
    tile.tile.update(x, d)
    assert torch.equal(tile.tile.get_pulse_counters(), 2 * counts)
    counts.zero_()  # a copy
    assert int(tile.tile.get_pulse_counters().sum()) == 64


def test_counts_explain_the_weights() -> None:
    """Constant steps without noise: `w = w_0 + dw_min (up - down)`, whatever the trains were."""
    tile = counting()
    start = raw(tile).double()
    tile.set_learning_rate(0.01)
    tile.tile.update(torch.randn(50, 3), torch.randn(50, 2))
    down, up = tile.tile.get_pulse_counters().double()
    assert float(up.sum()) > 0 and float(down.sum()) > 0
    # 50 samples, each rounded to float32 once per pulse at most.
    torch.testing.assert_close(raw(tile).double(), start + 0.001 * (up - down), rtol=0, atol=1e-5)


def test_stuck_devices_are_counted() -> None:
    tile = counting(corrupt_devices_prob=1.0)
    before = raw(tile)
    tile.set_learning_rate(0.02)
    tile.tile.update(torch.full((1, 3), 0.8), torch.full((1, 2), 0.5))
    assert torch.equal(raw(tile), before)
    assert torch.equal(tile.tile.get_pulse_counters()[0], torch.full((2, 3), 8))


def test_counters_are_saved() -> None:
    tile = counting()
    tile.set_learning_rate(0.1)
    tile.tile.update(torch.ones(1, 3), torch.ones(1, 2))
    counts = tile.tile.get_pulse_counters()
    other = counting()
    other.load_state_dict(tile.state_dict())
    for t in (other, copy.deepcopy(tile)):
        assert torch.equal(t.tile.get_pulse_counters(), counts)
        t.tile.update(torch.ones(1, 3), torch.ones(1, 2))
        assert torch.equal(t.tile.get_pulse_counters(), 2 * counts)
    other.load_extra(tile.dump_extra())
    assert torch.equal(other.tile.get_pulse_counters(), counts)
    name = "analog_tile_pulse_counters"
    for bad in (counts.float(), counts[0], -counts):
        with pytest.raises(InputError, match=name):
            other.load_state_dict(tile.state_dict() | {name: bad})
    with pytest.raises(InputError, match=name):
        other.load_state_dict({n: v for n, v in tile.state_dict().items() if n != name})
    assert torch.equal(other.tile.get_pulse_counters(), counts)


def test_counters_follow_the_configuration() -> None:
    tile = counting()
    tile.tile.update(torch.ones(1, 3), torch.ones(1, 2))
    counts = tile.tile.get_pulse_counters()
    off, on = copy.deepcopy(tile.rpu_config), copy.deepcopy(tile.rpu_config)
    off.device.count_pulses, on.device.dw_min_std = False, 0.1
    tile.replace_with(on)
    assert torch.equal(tile.tile.get_pulse_counters(), counts)
    tile.replace_with(off)
    assert tile.tile.get_pulse_counters().shape == (0,)
    assert not any("pulse_counters" in name for name in tile.state_dict())
    tile.replace_with(on)
    assert tile.tile.get_pulse_counters().sum() == 0


@pytest.mark.parametrize(
    "bad",
    [
        {"unknown": [1.0]},
        {"learning_rate": [math.nan]},
        {"learning_rate": [-1.0]},
        {"learning_rate": []},
        {"calls": [1, 2]},
        {"seed": ["1"]},
        {"seed": 1},
        {"pulse_counters": [1]},
        {"dw_min": [-1.0]},
    ],
)
def test_bad_extra(bad: Any) -> None:
    tile = counting()
    before = tile.dump_extra()
    with pytest.raises(TileError, match="extra"):
        tile.load_extra(before | bad)
    with pytest.raises(TileError, match="extra"):
        tile.load_extra({"calls": [5]}, strict=True)
    assert tile.dump_extra() == before
    tile.load_extra({"calls": [5]})
    assert tile.dump_extra() == before | {"calls": [5]}
