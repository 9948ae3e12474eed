"""Power-law drift of training devices against its closed form."""

import copy
import io
import math
from typing import Any

import pytest
import torch

from devices_for_tests import assert_moments, assert_near, clean, raw, tile_of
from mho.exceptions import ArgumentError, ConfigError, InputError, TileError
from mho.simulator.configs import (
    DriftParameter,
    FloatingPointDevice,
    FloatingPointRPUConfig,
    IdealDevice,
    SimpleDriftParameter,
    SoftBoundsDevice,
    UpdateParameters,
)
from mho.simulator.parameters.enums import PulseType
from mho.simulator.tiles import AnalogTile, FloatingPointTile

WEIGHT = torch.tensor([[0.3, -0.2, 0.0, 0.1], [0.25, -0.3, 0.05, 0.2], [0.1, 0.1, -0.1, 0.15]])


def pulsed(device: Any, **kwargs: Any) -> AnalogTile:
    tile = tile_of(device, **kwargs)
    tile.tile.set_weights(WEIGHT)
    return tile


def drifting(**drift: Any) -> AnalogTile:
    return pulsed(clean(drift=DriftParameter(**drift)))


def floating(**drift: Any) -> FloatingPointTile:
    device = FloatingPointDevice(drift=SimpleDriftParameter(**drift))
    tile = FloatingPointTile(3, 4, FloatingPointRPUConfig(device=device))
    tile.tile.set_weights(WEIGHT)
    return tile


@pytest.mark.parametrize("build", [drifting, floating])
def test_example(build: Any) -> None:
    """`w = w_0 max(t / t_0, 1)^(-nu)`: the values of a hand calculation, in all cells."""
    tile = build(nu=0.1, t_0=2.0)
    for delta_t, expected in ((1.0, 0.3), (9.0, 0.255402), (10.0, 0.238298)):
        tile.drift_weights(delta_t)
        assert float(raw(tile)[0, 0]) == pytest.approx(expected, abs=5e-7)
    assert_near(raw(tile), WEIGHT.double() * 10.0**-0.1)


def test_parameters_of_devices_drive_weights_without_one() -> None:
    """What weights without a device share with devices acts, and what they have not is refused."""
    drift = DriftParameter(nu=0.1, t_0=2.0)
    tile = FloatingPointTile(3, 4, FloatingPointRPUConfig(device=FloatingPointDevice(drift=drift)))
    tile.tile.set_weights(WEIGHT)
    tile.drift_weights(20.0)
    assert_near(raw(tile), WEIGHT.double() * 10.0**-0.1)
    drift.nu_dtod = 0.1
    with pytest.raises(ConfigError, match=r"^device\.drift\.nu_dtod: .*drift alike"):
        FloatingPointTile(3, 4, FloatingPointRPUConfig(device=FloatingPointDevice(drift=drift)))


def test_exact_updates_keep_the_drift_of_the_device() -> None:
    drift = DriftParameter(nu=0.1, nu_dtod=0.5)
    update = UpdateParameters(pulse_type=PulseType.NONE)
    tile = pulsed(clean(drift=drift), update=update)
    tile.drift_weights(10.0)
    # Without hidden parameters all cells have the mean exponent.
    assert tile.get_hidden_parameters() == {}
    assert_near(raw(tile), WEIGHT.double() * 10.0**-0.1)


@pytest.mark.parametrize("device", [clean(), IdealDevice(), clean(drift=DriftParameter(nu=-0.1))])
def test_without_drift_nothing_happens(device: Any) -> None:
    tile = pulsed(device)
    before = tile.state_dict()
    tile.drift_weights(10.0)
    assert torch.equal(raw(tile), WEIGHT)
    assert list(tile.state_dict()) == list(before)


@pytest.mark.parametrize("change", ["set", "update", "decay"])
def test_a_change_restarts_the_clock(change: str) -> None:
    """The call that finds a cell changed does not move it; its time counts from that call."""
    tile = pulsed(clean(lifetime=10.0, drift=DriftParameter(nu=0.2)))
    tile.drift_weights(5.0)
    drifted = WEIGHT.double() * 5.0**-0.2
    if change == "set":
        new = raw(tile)
        new[0, 0] = 0.5
        tile.tile.set_weights(new)
    elif change == "update":
        tile.set_learning_rate(0.01)
        x, d = torch.tensor([[1.0, 0.0, 0.0, 0.0]]), torch.tensor([[-1.0, 0.0, 0.0]])
        tile.tile.update(x, d)  # ten pulses up in one cell
        assert float(raw(tile)[0, 0]) == pytest.approx(float(drifted[0, 0]) + 0.01, abs=1e-6)
    else:
        tile.decay_weights()
    changed = raw(tile).double()
    tile.drift_weights(5.0)
    touched = (changed - drifted).abs() > 1e-6
    first = torch.where(touched, changed, WEIGHT.double() * 10.0**-0.2)
    assert_near(raw(tile), first)
    tile.drift_weights(20.0)
    then = torch.where(touched, changed * 20.0**-0.2, WEIGHT.double() * 30.0**-0.2)
    assert_near(raw(tile), then)


def test_offset_and_dependence_on_the_conductance() -> None:
    """`w = w_0 s + off (s - 1)`, `off = g_offset wg_ratio - w_offset`, the algebra of g s."""
    drift: dict[str, Any] = {"nu": 0.1, "wg_ratio": 0.5, "g_offset": 1.5, "w_offset": 0.2}
    tile = drifting(**drift)
    tile.drift_weights(100.0)
    s = 100.0**-0.1
    conductance = (WEIGHT.double() - 0.2) / 0.5 + 1.5
    expected = (conductance * s - 1.5) * 0.5 + 0.2
    assert_near(raw(tile), expected)
    tile = drifting(**drift, nu_k=0.05, log_g0=-0.5)
    tile.drift_weights(100.0)
    s = 100.0 ** -(0.1 - 0.05 * (conductance.log() + 0.5))  # type: ignore[assignment]
    assert_near(raw(tile), (conductance * s - 1.5) * 0.5 + 0.2, atol=5e-7)


def test_negative_conductance_counts_as_the_smallest() -> None:
    tile = drifting(nu=0.1, nu_k=0.01)
    tile.drift_weights(10.0)
    exponent = 0.1 - 0.01 * math.log(torch.finfo(torch.float32).eps)
    assert float(raw(tile)[0, 1]) == pytest.approx(-0.2 * 10.0**-exponent, abs=1e-6)
    assert bool(torch.isfinite(raw(tile)).all())


def test_spread_of_the_exponent_and_noise() -> None:
    """40 000 cells; means and deviations within five standard errors."""
    shape = (200, 200)
    drift = DriftParameter(nu=0.1, nu_dtod=0.2)
    tile = tile_of(clean(drift=drift), *shape)
    nu = tile.get_hidden_parameters()["drift_nu"].double()
    assert_moments(nu, 0.1, 0.02)
    tile.tile.set_weights(torch.full(shape, 0.5))
    tile.drift_weights(100.0)
    assert_near(raw(tile), 0.5 * 100.0**-nu)

    drift = DriftParameter(nu=0.1, nu_std=0.3, w_noise_std=0.01)
    tile = tile_of(clean(drift=drift), *shape)
    tile.tile.set_weights(torch.zeros(shape))
    tile.drift_weights(100.0)
    assert_moments(raw(tile), 0.0, 0.01)

    drift = DriftParameter(nu=0.1, nu_std=0.3)
    tile = tile_of(clean(drift=drift), *shape)
    tile.tile.set_weights(torch.full(shape, 0.5))
    first = None
    for total in (100.0, 200.0):
        tile.drift_weights(100.0)
        drawn = -(raw(tile).double() / 0.5).log() / math.log(total)
        assert_moments(drawn, 0.1, 0.03)
        assert first is None or not torch.allclose(first, drawn)
        first = drawn


def test_bounds_and_write_noise() -> None:
    """Negative offsets would push weights out of their bounds; noise is around the drifted ones."""
    drift = DriftParameter(nu=0.5, g_offset=3.0)
    tile = pulsed(clean(drift=drift))
    tile.drift_weights(100.0)
    assert torch.equal(raw(tile), torch.full((3, 4), -1.0))
    device = clean(SoftBoundsDevice, drift=DriftParameter(nu=0.1), write_noise_std=5.0)
    tile = tile_of(device, 100, 100)
    tile.tile.set_weights(torch.full((100, 100), 0.5))
    for total in (10.0, 20.0):
        tile.drift_weights(10.0)
        under = tile.get_hidden_parameters()["persistent_weights"]
        assert_near(under, torch.full((100, 100), 0.5 * total**-0.1, dtype=torch.float64))
        assert_moments(raw(tile) - under, 0.0, 0.005)


def serialised(tile: Any) -> Any:
    buffer = io.BytesIO()
    torch.save(tile.state_dict(), buffer)
    buffer.seek(0)
    new = type(tile)(3, 4, copy.deepcopy(tile.rpu_config))
    new.load_state_dict(torch.load(buffer, weights_only=True))
    return new


@pytest.mark.parametrize("carry", [copy.deepcopy, serialised])
@pytest.mark.parametrize("started", [False, True])
def test_state_is_resumed(carry: Any, started: bool) -> None:
    tile = drifting(nu=0.1, nu_dtod=0.2, nu_std=0.3, w_noise_std=0.01)
    other = tile
    if started:
        tile.drift_weights(7.0)
    other = carry(tile)
    for t in (tile, other):
        t.drift_weights(30.0)
    assert torch.equal(raw(tile), raw(other))
    assert not torch.equal(raw(tile), WEIGHT)
    # A state from before the first call takes the clock away.
    fresh = drifting(nu=0.1, nu_dtod=0.2, nu_std=0.3, w_noise_std=0.01)
    tile.load_state_dict(fresh.state_dict())
    assert not any("drift." in name for name in tile.state_dict())


def test_extra_has_the_state() -> None:
    tile, other = drifting(nu=0.1), drifting(nu=0.1)
    tile.drift_weights(7.0)
    extra = tile.dump_extra()
    assert extra is not None and extra["drift.current_t"] == [7.0]
    other.tile.set_weights(raw(tile))
    other.load_extra(extra)
    for t in (tile, other):
        t.drift_weights(30.0)
    assert torch.equal(raw(tile), raw(other))
    with pytest.raises(TileError, match="drift needs all"):
        other.load_extra({"drift.current_t": [1.0]})


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf, "1", None, True])
def test_bad_time(bad: Any) -> None:
    for tile in (drifting(nu=0.1), floating(nu=0.1), pulsed(IdealDevice())):
        before = list(tile.state_dict())
        for drift in (tile.drift_weights, tile.tile.drift_weights):
            with pytest.raises(ArgumentError, match="delta_t"):
                drift(bad)
        assert torch.equal(raw(tile), WEIGHT) and list(tile.state_dict()) == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("t_0", 0.0),
        ("t_0", -1.0),
        ("reset_tol", -1e-7),
        ("wg_ratio", 0.0),
        ("nu", math.inf),
        ("nu_std", math.nan),
        ("w_noise_std", "0.1"),
    ],
)
def test_bad_field(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"drift\.{field}|{field}"):
        drifting(**({"nu": 0.1} | {field: value}))


def test_damaged_state_is_refused() -> None:
    tile = drifting(nu=0.1)
    tile.drift_weights(7.0)
    good = tile.state_dict()
    name = "analog_tile_drift.w0"
    for value, error in (
        (torch.zeros(3, 5), InputError),
        (torch.zeros(3, 4).double(), InputError),
        (torch.full((3, 4), math.nan), TileError),
    ):
        with pytest.raises(error, match="w0"):
            tile.load_state_dict(good | {name: value})
    with pytest.raises(TileError, match="expected entries"):
        tile.load_state_dict({k: v for k, v in good.items() if k != name})


def test_arguments_may_be_named_on_tile_and_raw_tile() -> None:
    """The standard names the time differently in the two; a tile hands it on whatever its name."""
    drifts = [pulsed(clean(SoftBoundsDevice, drift=DriftParameter(nu=0.1))) for _ in range(2)]
    for _ in range(2):
        drifts[0].drift_weights(delta_t=10.0)
        drifts[1].tile.drift_weights(time_since_last_call=10.0)
    assert torch.equal(raw(drifts[0]), raw(drifts[1]))
    assert not torch.equal(raw(drifts[0]), WEIGHT)
    with pytest.raises(TypeError):
        drifts[0].drift_weights(time=10.0)
