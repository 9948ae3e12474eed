"""Decay, diffusion, reset, clipping, remapping and write noise against their closed forms."""

import math
from typing import Any

import pytest
import torch

from devices_for_tests import assert_moments, assert_near, clean, raw, tile_of
from mho.exceptions import ArgumentError, ConfigError, InputError
from mho.nn import AnalogLinear
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    FloatingPointDevice,
    FloatingPointRPUConfig,
    IdealDevice,
    InferenceRPUConfig,
    SingleRPUConfig,
    SoftBoundsDevice,
    TorchInferenceRPUConfig,
    WeightClipParameter,
    WeightRemapParameter,
)
from mho.simulator.parameters.enums import WeightClipType, WeightRemapType
from mho.simulator.tiles import FloatingPointTile

WEIGHT = torch.tensor([[0.3, -0.2, 0.0, 0.1], [0.25, -0.3, 0.05, 0.2], [0.1, 0.1, -0.1, 0.15]])


def ideal(**fields: Any) -> Any:
    return tile_of(IdealDevice(**fields))


def floating(**fields: Any) -> FloatingPointTile:
    return FloatingPointTile(3, 4, FloatingPointRPUConfig(device=FloatingPointDevice(**fields)))


def test_pulsed_decay() -> None:
    """`w_n = b + (w_0 - b) (1 - alpha / lifetime)^n`; beyond the lifetime the deviation flips."""
    tile = tile_of(clean(lifetime=10.0, reset=0.1))
    tile.tile.set_weights(WEIGHT)
    for _ in range(3):
        tile.decay_weights()
    assert_near(raw(tile), 0.1 + (WEIGHT.double() - 0.1) * 0.9**3, 2.4e-7)
    tile.tile.set_weights(WEIGHT)
    tile.decay_weights(2.5)
    # The scale of one call is rounded to 6e-8, which `alpha` multiplies.
    assert_near(raw(tile), 0.1 + (WEIGHT.double() - 0.1) * 0.75, 2.5 * 6e-8 + 1.2e-7)
    tile.tile.set_weights(WEIGHT)
    tile.decay_weights(15.0)
    assert_near(raw(tile), 0.1 - (WEIGHT.double() - 0.1) * 0.5, 15 * 6e-8 + 1.2e-7)


@pytest.mark.parametrize("build", [ideal, floating])
@pytest.mark.parametrize(
    ("lifetime", "alpha", "scale"),
    [(10.0, 1.0, 0.9), (10.0, 4.0, 0.6), (10.0, 11.0, 0.0), (0.5, 1.0, 0.0), (0.0, 1.0, 1.0)],
)
def test_exact_decay(build: Any, lifetime: float, alpha: float, scale: float) -> None:
    """`w *= max(0, 1 - alpha / lifetime)`, full decay where the factor would be negative."""
    tile = build(lifetime=lifetime)
    tile.tile.set_weights(WEIGHT)
    tile.decay_weights(alpha)
    assert_near(raw(tile), WEIGHT.double() * scale)


@pytest.mark.parametrize("kind", ["pulsed", "ideal", "floating"])
def test_diffusion(kind: str) -> None:
    """Without bounds the variance grows by `diffusion^2` per call, the mean stays."""
    if kind == "floating":
        config = FloatingPointRPUConfig(device=FloatingPointDevice(diffusion=0.01))
        tile: Any = FloatingPointTile(200, 200, config)
    else:
        device = clean(diffusion=0.01) if kind == "pulsed" else IdealDevice(diffusion=0.01)
        tile = tile_of(device, 200, 200)
    tile.tile.set_weights(torch.full((200, 200), 0.2))
    for _ in range(4):
        tile.diffuse_weights()
    assert_moments(raw(tile) - 0.2, 0.0, 0.02)


def test_bounds_hold_after_every_operation() -> None:
    """Stuck cells never move; no operation leaves the bounds."""
    device = clean(
        diffusion=0.5, lifetime=2.0, reset=0.9, reset_std=0.5, corrupt_devices_prob=0.3, w_max=0.4
    )
    tile = tile_of(device, 50, 50)
    hidden = tile.get_hidden_parameters()
    upper, lower = hidden["max_bound"], hidden["min_bound"]
    stuck = upper == lower
    assert 500 < int(stuck.sum()) < 1000  # 750 expected, standard deviation 23
    start = raw(tile)
    clip = WeightClipParameter(type=WeightClipType.FIXED_VALUE, fixed_value=0.3)
    for operation in (
        tile.diffuse_weights,
        tile.decay_weights,
        tile.reset,
        lambda: tile.tile.clip_weights(clip),
    ):
        operation()
        assert bool(((raw(tile) <= upper) & (raw(tile) >= lower)).all())
        assert torch.equal(raw(tile)[stuck], start[stuck])
    assert not torch.equal(raw(tile), start)


def test_reset_values() -> None:
    """Normal around `reset` with `reset_std`; ideal devices reset to zero."""
    tile = tile_of(clean(reset=0.1, reset_std=0.02), 200, 200)
    tile.reset()
    assert_moments(raw(tile), 0.1, 0.02)
    tile = tile_of(IdealDevice(reset_std=0.02), 200, 200)
    tile.reset()
    assert_moments(raw(tile), 0.0, 0.02)
    with pytest.raises(ConfigError, match="reset"):
        floating().reset()


@pytest.mark.parametrize(
    ("start", "num", "columns"),
    [
        (0, 1, [0]),
        (5, 2, [0, 5]),
        (4, 3, [0, 4, 5]),
        (2, -1, [*range(6)]),
        (3, 0, []),
        (1, 9, None),
    ],
)
def test_reset_columns_wrap_around(start: int, num: int, columns: list[int]) -> None:
    tile = tile_of(clean(reset_std=0.0), 3, 6)
    tile.tile.set_weights(torch.full((3, 6), 0.2))
    tile.reset_columns(start, num)
    expected = torch.full((3, 6), 0.2)
    expected[:, columns] = 0.0
    assert torch.equal(raw(tile), expected)


@pytest.mark.parametrize("prob", [0.0, 0.3, 1.0])
def test_reset_probability(prob: float) -> None:
    tile = tile_of(clean(reset_std=0.0), 100, 100)
    tile.tile.set_weights(torch.full((100, 100), 0.2))
    tile.reset_columns(90, 20, prob)
    reset = raw(tile) == 0.0
    assert not bool(reset[:, 10:90].any())
    # 2000 cells: five standard deviations of the binomial.
    limit = 5 * (2000 * prob * (1 - prob)) ** 0.5
    assert abs(int(reset.sum()) - 2000 * prob) <= limit


@pytest.mark.parametrize("fixed", [-1.0, 0.0, 0.15])
def test_clip_fixed(fixed: float) -> None:
    """Zero is a limit, but not for floating-point tiles; negative values leave the device's."""
    clip = WeightClipParameter(type=WeightClipType.FIXED_VALUE, fixed_value=fixed)
    for tile in (tile_of(clean()), ideal(), floating()):
        tile.tile.set_weights(WEIGHT)
        tile.tile.clip_weights(clip)
        unlimited = fixed < 0.0 or (fixed == 0.0 and isinstance(tile, FloatingPointTile))
        assert torch.equal(raw(tile), WEIGHT if unlimited else WEIGHT.clamp(-fixed, fixed))


@pytest.mark.parametrize("build", [ideal, floating])
@pytest.mark.parametrize("fixed", [-1.0, 0.12])
def test_clip_by_statistics(build: Any, fixed: float) -> None:
    tile = build()
    gaussian = 1.5 * float(WEIGHT.double().std())  # unbiased, around the mean
    channels = float(WEIGHT.double().abs().amax(dim=1).mean())
    for kind, limit in (
        (WeightClipType.LAYER_GAUSSIAN, gaussian),
        (WeightClipType.AVERAGE_CHANNEL_MAX, channels),
    ):
        tile.tile.set_weights(WEIGHT)
        tile.tile.clip_weights(WeightClipParameter(type=kind, sigma=1.5, fixed_value=fixed))
        limit = min(limit, fixed) if fixed > 0.0 else limit
        assert_near(raw(tile), WEIGHT.clamp(-limit, limit))


def test_clip_of_pulsed_devices() -> None:
    tile = tile_of(clean())
    tile.tile.set_weights(WEIGHT)
    tile.tile.clip_weights(WeightClipParameter(type=WeightClipType.NONE, fixed_value=0.1))
    for kind in (WeightClipType.LAYER_GAUSSIAN, WeightClipType.AVERAGE_CHANNEL_MAX):
        with pytest.raises(ConfigError, match=r"clip\.type"):
            tile.tile.clip_weights(WeightClipParameter(type=kind))
    with pytest.raises(ConfigError, match=r"clip\.fixed_value"):
        bad: Any = WeightClipParameter(type=WeightClipType.FIXED_VALUE, fixed_value=math.nan)
        tile.tile.clip_weights(bad)
    assert torch.equal(raw(tile), WEIGHT)


@pytest.mark.parametrize(
    "params",
    [
        WeightRemapParameter(type=WeightRemapType.NONE),
        WeightRemapParameter(type=WeightRemapType.LAYERWISE_SYMMETRIC, remapped_wmax=0.5),
        WeightRemapParameter(type=WeightRemapType.CHANNELWISE_SYMMETRIC, remapped_wmax=0.5),
        WeightRemapParameter(type=WeightRemapType.CHANNELWISE_SYMMETRIC, max_scale_range=1.5),
        WeightRemapParameter(
            type=WeightRemapType.CHANNELWISE_SYMMETRIC, max_scale_range=0.1, max_scale_ref=3.0
        ),
    ],
)
@pytest.mark.parametrize("build", [ideal, floating])
def test_remap(params: Any, build: Any) -> None:
    """Scale times weight stays; the largest weight is where the parameters say."""
    tile = build()
    weight = WEIGHT.clone()
    weight[1] = 0.0
    tile.tile.set_weights(weight)
    scales = torch.tensor([2.0, 0.5, 1.0])
    new = tile.tile.remap_weights(params, scales.clone())
    torch.testing.assert_close(new[:, None] * raw(tile), scales[:, None] * weight)
    largest = weight.abs().amax(dim=1)
    if params.type is WeightRemapType.NONE:
        expected = scales
    elif params.type is WeightRemapType.LAYERWISE_SYMMETRIC:
        expected = scales * 0.3 / 0.5
    else:
        expected = scales * torch.where(largest > 0, largest / params.remapped_wmax, 1.0)
        if params.max_scale_range > 0.0:
            expected = expected.clamp(max=max(0.5, params.max_scale_ref) * params.max_scale_range)
    torch.testing.assert_close(new, expected)


@pytest.mark.parametrize(
    "kind", [WeightRemapType(k) for k in ("LayerwiseSymmetric", "ChannelwiseSymmetric")]
)
@pytest.mark.parametrize("cls", [InferenceRPUConfig, TorchInferenceRPUConfig])
def test_remap_of_learned_scales_beyond_zero(kind: WeightRemapType, cls: Any) -> None:
    """Training may take a scale through zero; the weights take its sign, outputs stay."""
    config = cls(remap=WeightRemapParameter(type=kind))
    config.mapping.learn_out_scaling = config.mapping.out_scaling_columnwise = True
    layer = AnalogLinear(4, 3, bias=False, rpu_config=config)
    tile = layer.analog_module
    layer.set_weights(WEIGHT)
    optimizer = AnalogSGD(layer.parameters(), lr=1.0)
    with torch.no_grad():
        tile.out_scaling_alpha.copy_(torch.tensor([-0.5, 1.0, 0.0]))
    before = tile.get_scales()[:, None] * tile.tile.get_weights()
    layer(torch.zeros(1, 4)).sum().backward()
    optimizer.step()
    torch.testing.assert_close(tile.get_scales()[:, None] * tile.tile.get_weights(), before)
    assert (tile.get_scales() > 0.0).all()


@pytest.mark.parametrize("cls", [InferenceRPUConfig, TorchInferenceRPUConfig])
@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_remap_after_training_diverged(cls: Any, value: float) -> None:
    """A step with infinities goes on as in torch: it does not fail after it changed weights."""
    config = cls(remap=WeightRemapParameter(type=WeightRemapType.CHANNELWISE_SYMMETRIC))
    layer = AnalogLinear(4, 3, bias=False, rpu_config=config)
    optimizer = AnalogSGD(layer.parameters(), lr=1.0)
    (weight,) = layer.parameters()
    weight.grad = torch.zeros(3, 4)
    weight.grad[1, 2] = value
    before = layer.get_weights()[0]
    optimizer.step()
    found = layer.get_weights()[0]
    assert not torch.isfinite(found[1, 2])
    torch.testing.assert_close(found[[0, 2]], before[[0, 2]])


def test_remap_is_refused() -> None:
    layerwise = WeightRemapParameter(type=WeightRemapType.LAYERWISE_SYMMETRIC)
    with pytest.raises(ConfigError, match=r"remap\.type"):
        tile_of(clean()).tile.remap_weights(layerwise, torch.ones(3))
    tile = ideal()
    tile.tile.set_weights(WEIGHT)
    with pytest.raises(InputError, match="scales"):
        tile.tile.remap_weights(layerwise, torch.ones(4))
    both = WeightRemapParameter(
        type=WeightRemapType.CHANNELWISE_SYMMETRIC, max_scale_range=2.0, remapped_wmax=0.5
    )
    with pytest.raises(ConfigError, match=r"remap\.remapped_wmax"):
        tile.tile.remap_weights(both, torch.ones(3))
    assert torch.equal(raw(tile), WEIGHT)


@pytest.mark.parametrize("on_set", [True, False])
def test_write_noise(on_set: bool) -> None:
    """`w - w_p` has deviation `write_noise_std dw_min`; an update redraws only touched cells."""
    device = clean(
        SoftBoundsDevice,
        write_noise_std=4.0,
        apply_write_noise_on_set=on_set,
        lifetime=10.0,
        diffusion=1e-9,
    )
    tile = tile_of(device, 100, 100)

    def under() -> torch.Tensor:
        return tile.get_hidden_parameters()["persistent_weights"]

    tile.tile.set_weights(torch.full((100, 100), 0.5))
    assert torch.equal(under(), torch.full((100, 100), 0.5))
    if on_set:
        assert_moments(raw(tile) - 0.5, 0.0, 0.004)
    else:
        assert torch.equal(raw(tile), under())
    clip = WeightClipParameter(type=WeightClipType.FIXED_VALUE, fixed_value=0.9)
    for operation in (
        tile.decay_weights,
        tile.diffuse_weights,
        lambda: tile.tile.clip_weights(clip),
        tile.reset,
    ):
        before = raw(tile)
        operation()
        assert int((raw(tile) == before).sum()) < 50  # equal draws of float32 are rare
        assert_moments(raw(tile) - under(), 0.0, 0.004)
    before, below = raw(tile), under()
    x, d = torch.zeros(1, 100), torch.zeros(1, 100)
    x[0, 3], d[0, 7] = 1.0, 1.0
    tile.tile.update(x, d)
    changed = raw(tile) != before
    assert changed.nonzero().tolist() == [[7, 3]]
    assert (under() != below).nonzero().tolist() == [[7, 3]]


def test_post_update_step_diffuses_then_decays() -> None:
    """Each optimizer step, also with a rate of zero; the order shows in the variance."""
    device = clean(lifetime=2.0, diffusion=0.01)
    layer = AnalogLinear(100, 100, bias=False, rpu_config=SingleRPUConfig(device=device))
    tile = next(layer.analog_tiles())
    optimizer = AnalogSGD(layer.parameters(), lr=0.0)
    tile.tile.set_weights(torch.full((100, 100), 0.4))
    layer(torch.ones(1, 100)).sum().backward()
    optimizer.step()
    # Diffusion first: its noise is halved with the weight. Decay first would leave 0.01.
    assert_moments(raw(tile), 0.2, 0.005)


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf, "1", None, True])
def test_bad_alpha(bad: Any) -> None:
    for tile in (tile_of(clean(lifetime=10.0)), ideal(lifetime=10.0), floating(lifetime=10.0)):
        before = raw(tile)
        for decay in (tile.decay_weights, tile.tile.decay_weights):
            with pytest.raises(ArgumentError, match="alpha"):
                decay(bad)
        assert torch.equal(raw(tile), before)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((4, 1, 1.0), "start_column_idx"),
        ((-1, 1, 1.0), "start_column_idx"),
        ((0.5, 1, 1.0), "start_column_idx"),
        ((0, 1.5, 1.0), "num_columns"),
        ((0, True, 1.0), "num_columns"),
        ((0, 1, 1.5), "reset_prob"),
        ((0, 1, -0.1), "reset_prob"),
        ((0, 1, math.nan), "reset_prob"),
    ],
)
def test_bad_reset(arguments: Any, name: str) -> None:
    tile = tile_of(clean())
    before = raw(tile)
    with pytest.raises(ArgumentError, match=name):
        tile.reset_columns(*arguments)
    assert torch.equal(raw(tile), before)


@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf, "0.1", True])
def test_bad_learning_rate_leaves_the_old_one(bad: Any) -> None:
    tile = tile_of(clean())
    tile.set_learning_rate(0.3)
    layer = AnalogLinear(4, 3, rpu_config=SingleRPUConfig(device=clean()))
    optimizer = AnalogSGD(layer.parameters(), lr=0.3)
    for call in (tile.set_learning_rate, tile.tile.set_learning_rate, optimizer.set_learning_rate):
        with pytest.raises(ArgumentError, match=r"lr|learning_rate"):
            call(bad)
    assert tile.get_learning_rate() == 0.3
    assert all(group["lr"] == 0.3 for group in optimizer.param_groups)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    optimizer.param_groups[0]["lr"] = bad
    with pytest.raises(ArgumentError, match="lr"):
        optimizer.step()
    assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())
