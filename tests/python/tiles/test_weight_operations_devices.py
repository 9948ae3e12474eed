"""Weight operations of every pulsed device: bounds, hidden parameters and resumption."""

import copy
import io
import warnings
from typing import Any

import pytest
import torch

from devices_for_tests import raw, tile_of
from mho.simulator import configs
from mho.simulator.configs import DriftParameter, WeightClipParameter
from mho.simulator.parameters.enums import WeightClipType

BASE = [
    "max_bound", "min_bound", "dwmin_up", "dwmin_down", "decay_scales", "diffusion_rates",
    "reset_bias", "drift_nu",
]  # fmt: skip
EXTRA = {
    "ConstantStep": [],
    "ExpStep": [],
    "PiecewiseStep": [],
    "LinearStep": ["slope_up", "slope_down"],
    "SoftBounds": ["slope_up", "slope_down"],
    "SoftBoundsPmax": ["slope_up", "slope_down"],
    "SoftBoundsReference": ["reference"],
    "PowStep": ["gamma_up", "gamma_down"],
    "PowStepReference": ["gamma_up", "gamma_down", "reference"],
}
QUIET = ("ConstantStep", "PowStepReference")  # devices that have no write noise
DEVICES = [
    (name, noisy) for name in EXTRA for noisy in (False, True) if not noisy or name not in QUIET
]


def busy(name: str, noisy: bool) -> Any:
    """Device with everything that time does to a weight."""
    device = getattr(configs, f"{name}Device")(
        diffusion=0.05,
        diffusion_dtod=0.2,
        lifetime=20.0,
        lifetime_dtod=0.1,
        reset=0.1,
        reset_dtod=0.05,
        drift=DriftParameter(nu=0.1, nu_dtod=0.2, nu_std=0.1, w_noise_std=0.01),
        count_pulses=True,
        corrupt_devices_prob=0.1,
    )
    if noisy:
        device.write_noise_std = 3.0
    if "Reference" in name:
        device.reference_mean, device.reference_std = 0.1, 0.05
    return device


def live(tile: Any) -> None:
    """Train and age a tile."""
    tile.set_learning_rate(0.02)
    tile.tile.update(torch.randn(5, 8), torch.randn(5, 6))
    tile.post_update_step()
    tile.drift_weights(3.0)
    tile.reset_columns(6, 3, 0.5)
    tile.drift_weights(2.0)


def acting(tile: Any) -> torch.Tensor:
    """Weights under the write noise."""
    hidden = tile.get_hidden_parameters()
    return hidden.get("persistent_weights", raw(tile))


@pytest.mark.parametrize(("name", "noisy"), DEVICES)
def test_names(name: str, noisy: bool) -> None:
    names = list(tile_of(busy(name, noisy)).get_hidden_parameters())
    assert names == BASE + ["persistent_weights"] * noisy + EXTRA[name]


@pytest.mark.parametrize(("name", "noisy"), DEVICES)
def test_bounds_hold(name: str, noisy: bool) -> None:
    """Bounds of reference devices are those of the weight plus the reference."""
    tile = tile_of(busy(name, noisy), 6, 8)
    hidden = tile.get_hidden_parameters()
    shift = hidden.get("reference", torch.zeros(6, 8))
    low, high = hidden["min_bound"] - shift, hidden["max_bound"] - shift
    clip = WeightClipParameter(type=WeightClipType.FIXED_VALUE, fixed_value=-1.0)
    for value in (9.0, -9.0):
        tile.tile.set_weights(torch.full((6, 8), value))
        assert torch.equal(acting(tile), (low if value < 0 else high))
    for operation in (
        tile.diffuse_weights,
        tile.decay_weights,
        lambda: tile.drift_weights(10.0),
        lambda: tile.drift_weights(10.0),
        tile.reset,
        lambda: live(tile),
        lambda: tile.tile.clip_weights(clip),
    ):
        operation()
        assert bool(((acting(tile) >= low) & (acting(tile) <= high)).all())


def saved(tile: Any) -> Any:
    buffer = io.BytesIO()
    torch.save(tile.state_dict(), buffer)
    buffer.seek(0)
    new = tile_of(copy.deepcopy(tile.rpu_config.device), 6, 8)
    new.load_state_dict(torch.load(buffer, weights_only=True))
    return new


@pytest.mark.parametrize(("name", "noisy"), DEVICES)
@pytest.mark.parametrize("carry", [saved, copy.deepcopy])
def test_resumption(name: str, noisy: bool, carry: Any) -> None:
    """A copy has all of the state and the same future, pulse for pulse."""
    tile = tile_of(busy(name, noisy), 6, 8)
    live(tile)
    other = carry(tile)
    generator = torch.get_rng_state()
    for t in (tile, other):
        torch.set_rng_state(generator)
        live(t)
    first, second = tile.state_dict(), other.state_dict()
    assert list(first) == list(second)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert int(tile.tile.get_pulse_counters().sum()) > 0


@pytest.mark.parametrize(("name", "noisy"), DEVICES)
def test_hidden_parameters_make_a_copy(name: str, noisy: bool) -> None:
    """Another tile with the same parameters has the same devices; its own mean step stays."""
    tile, other = (tile_of(busy(name, noisy), 6, 8) for _ in range(2))
    hidden = tile.get_hidden_parameters()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other.set_hidden_parameters(hidden)
    assert other.tile.spec.weight_granularity == tile.tile.spec.weight_granularity
    found = other.get_hidden_parameters()
    for key, value in hidden.items():
        assert torch.equal(found[key], value), key
