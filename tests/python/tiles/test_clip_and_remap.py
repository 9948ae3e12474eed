"""Clipping and remapping after a step, on tiles of the core and on those that compute in torch."""

from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import Tensor

from mho.exceptions import ConfigError
from mho.simulator.configs import InferenceRPUConfig, TorchInferenceRPUConfig
from mho.simulator.parameters.enums import WeightClipType, WeightRemapType
from mho.simulator.parameters.inference import WeightClipParameter, WeightRemapParameter

CONFIGS = [InferenceRPUConfig, TorchInferenceRPUConfig]
FIXED, GAUSSIAN, CHANNELS = (
    WeightClipType.FIXED_VALUE,
    WeightClipType.LAYER_GAUSSIAN,
    WeightClipType.AVERAGE_CHANNEL_MAX,
)
LAYER, CHANNEL = WeightRemapType.LAYERWISE_SYMMETRIC, WeightRemapType.CHANNELWISE_SYMMETRIC
W = torch.tensor([[0.5, -0.4, 1.0], [0.1, -0.25, 0.2]])
V = torch.tensor([[2.0, -1.6, 4.0], [0.4, -1.0, 0.8]])


def clipped(cls: Any, weight: Tensor = W, **changes: Any) -> Tensor:
    """Return raw weights after a step."""
    config = cls(clip=WeightClipParameter(**changes))
    tile = config.create_tile(*weight.shape)
    tile.tile.set_weights(weight)
    tile.post_update_step()
    result: Tensor = tile.get_weights(False)[0]
    return result


def remapped(
    cls: Any, weight: Tensor = V, scales: Any = (3.0, 3.0), learned: Any = None, **changes: Any
) -> tuple[Tensor, Tensor]:
    """Return raw weights and scales after a step."""
    config = cls(remap=WeightRemapParameter(**changes))
    config.mapping.learn_out_scaling = learned is not None
    config.mapping.out_scaling_columnwise = True
    tile = config.create_tile(*weight.shape)
    tile.tile.set_weights(weight)
    tile.set_mapping_scales(torch.tensor(scales))
    if learned is not None:
        tile.set_learned_out_scales(torch.tensor(learned))
    before = tile.get_weights()[0]
    tile.post_update_step()
    torch.testing.assert_close(tile.get_weights()[0], before)  # the logical weights stay
    if learned is not None:
        assert tile.get_learned_out_scales().tolist() == [1.0, 1.0]
    return tile.get_weights(False)[0], tile.get_scales().detach()


@pytest.mark.parametrize("cls", CONFIGS)
@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({"type": FIXED, "fixed_value": 0.3}, 0.3),
        ({"type": FIXED, "fixed_value": 0.0}, 0.0),
        ({"type": FIXED}, None),
        ({"type": FIXED, "fixed_value": -0.3}, None),
        ({"type": GAUSSIAN, "sigma": 1.0}, 0.510310),
        ({"type": GAUSSIAN, "sigma": 1.0, "fixed_value": 0.2}, 0.2),
        ({"type": GAUSSIAN, "sigma": 1.0, "fixed_value": 5.0}, 0.510310),
        ({"type": GAUSSIAN, "sigma": 1.0, "fixed_value": 0.0}, 0.510310),
        ({"type": GAUSSIAN, "sigma": 0.0}, None),
        ({"type": GAUSSIAN, "sigma": -1.0}, None),
        ({"type": CHANNELS}, 0.625),
        ({"type": CHANNELS, "fixed_value": 0.1}, 0.1),
        ({"type": CHANNELS, "fixed_value": 5.0}, 0.625),
        ({"type": WeightClipType.NONE, "fixed_value": 0.1, "sigma": 0.1}, None),
    ],
)
def test_clipping(cls: Any, changes: dict[str, Any], limit: float | None) -> None:
    expected = W if limit is None else W.clamp(-limit, limit)
    torch.testing.assert_close(clipped(cls, **changes), expected, rtol=1e-5, atol=0.0)


@pytest.mark.parametrize("cls", CONFIGS)
def test_clipping_of_one_weight(cls: Any) -> None:
    """One weight has no standard deviation, so nothing limits it."""
    one = torch.tensor([[0.7]])
    assert torch.equal(clipped(cls, one, type=GAUSSIAN, sigma=0.1), one)
    assert torch.equal(clipped(cls, one, type=CHANNELS), one)


@pytest.mark.parametrize("cls", CONFIGS)
def test_remapping_of_each_output(cls: Any) -> None:
    weight, scales = remapped(cls, type=CHANNEL)
    torch.testing.assert_close(weight, torch.tensor([[0.5, -0.4, 1.0], [0.4, -1.0, 0.8]]))
    assert scales.tolist() == [12.0, 3.0]
    weight, scales = remapped(cls, type=CHANNEL, remapped_wmax=0.5)
    torch.testing.assert_close(weight, torch.tensor([[0.25, -0.2, 0.5], [0.2, -0.5, 0.4]]))
    assert scales.tolist() == [24.0, 6.0]


@pytest.mark.parametrize("cls", CONFIGS)
def test_remapping_with_limited_scales(cls: Any) -> None:
    """The example has the scales 1 and learned ones of 3."""
    changes = {"scales": (1.0, 1.0), "learned": (3.0, 3.0), "type": CHANNEL, "max_scale_range": 2.0}
    weight, scales = remapped(cls, **changes)
    torch.testing.assert_close(weight, torch.tensor([[1.0, -0.8, 2.0], [0.4, -1.0, 0.8]]))
    assert scales.tolist() == [6.0, 3.0]
    # A reference above the smallest scale takes its place, one below does nothing.
    assert remapped(cls, max_scale_ref=5.0, **changes)[1].tolist() == [10.0, 3.0]
    assert remapped(cls, max_scale_ref=2.0, **changes)[1].tolist() == [6.0, 3.0]
    # Where training has taken a scale to zero there is no smallest one.
    params = WeightRemapParameter(type=CHANNEL, max_scale_range=2.0)
    tile = cls(remap=params).create_tile(2, 3)
    tile.tile.set_weights(V)
    assert tile.tile.remap_weights(params, torch.tensor([3.0, 0.0])).tolist() == [12.0, 1.0]


def test_remapping_of_the_whole_tile() -> None:
    """By the largest raw weight in the core, by the largest logical one in torch tiles."""
    weight, scales = remapped(InferenceRPUConfig, scales=(1.0, 10.0), type=LAYER)
    torch.testing.assert_close(weight, V / 4.0)
    assert scales.tolist() == [4.0, 40.0]
    weight, scales = remapped(InferenceRPUConfig, type=LAYER, remapped_wmax=0.5)
    torch.testing.assert_close(weight, V / 8.0)
    assert scales.tolist() == [24.0, 24.0]
    weight, scales = remapped(TorchInferenceRPUConfig, scales=(1.0, 10.0), type=LAYER)
    torch.testing.assert_close(weight, V * torch.tensor([[0.1], [1.0]]))
    assert scales.tolist() == [10.0, 10.0]
    weight, scales = remapped(TorchInferenceRPUConfig, type=LAYER, remapped_wmax=0.5)
    torch.testing.assert_close(weight, V / 8.0)
    assert scales.tolist() == [24.0, 24.0]


@pytest.mark.parametrize("cls", CONFIGS)
@pytest.mark.parametrize("kind", [LAYER, CHANNEL])
def test_the_largest_weight_becomes_exactly_one(cls: Any, kind: WeightRemapType) -> None:
    """Without a rounding, which a limit of one would clip and a converter would saturate by."""
    generator = torch.Generator().manual_seed(5)
    weight = torch.randn(200, 50, generator=generator)
    for sign in (1.0, -1.0):
        tile = cls(remap=WeightRemapParameter(type=kind)).create_tile(200, 50)
        tile.tile.set_weights(weight)
        scales = sign * (torch.rand(200, generator=generator) + 0.1)
        new = tile.tile.remap_weights(tile.rpu_config.remap, scales)
        raw = tile.tile.get_weights()
        largest = raw.abs().amax(dim=1)
        assert float(largest.max()) == 1.0
        if kind is CHANNEL:
            assert largest.tolist() == [1.0] * 200
        assert float(new.min()) > 0.0
        logical = new[:, None] * raw
        torch.testing.assert_close(logical, scales[:, None] * weight, rtol=3e-7, atol=0.0)


@pytest.mark.parametrize("cls", CONFIGS)
@pytest.mark.parametrize("kind", [LAYER, CHANNEL])
def test_remapping_of_zeros(cls: Any, kind: WeightRemapType) -> None:
    zeros = torch.zeros(2, 3)
    weight, scales = remapped(cls, zeros, type=kind)
    assert torch.equal(weight, zeros) and scales.tolist() == [3.0, 3.0]
    row = V.clone()
    row[0] = 0.0
    weight, _ = remapped(cls, row, type=kind)
    assert torch.isfinite(weight).all() and torch.equal(weight[0], zeros[0])


CLIP_FIELDS = {
    "fixed_value": ({"type": FIXED, "fixed_value": 0.3}, 0.2),
    "sigma": ({"type": GAUSSIAN, "sigma": 1.0}, 0.5),
    "type": ({"type": GAUSSIAN, "sigma": 1.0}, CHANNELS),
}
REMAP_FIELDS = {
    "remapped_wmax": ({"type": CHANNEL}, 0.5),
    "max_scale_range": ({"type": CHANNEL}, 2.0),
    "max_scale_ref": ({"type": CHANNEL, "max_scale_range": 2.0}, 5.0),
    "type": ({"type": CHANNEL}, LAYER),
}


@pytest.mark.parametrize("cls", CONFIGS)
def test_every_field_acts(cls: Any) -> None:
    assert {field.name for field in fields(WeightClipParameter)} == CLIP_FIELDS.keys()
    for name, (base, value) in CLIP_FIELDS.items():
        changed = clipped(cls, **{**base, name: value})
        assert not torch.equal(changed, clipped(cls, **base)), name
    assert {field.name for field in fields(WeightRemapParameter)} == REMAP_FIELDS.keys()
    for name, (base, value) in REMAP_FIELDS.items():
        changed = remapped(cls, **{**base, name: value})[0]
        assert not torch.equal(changed, remapped(cls, **base)[0]), name


@pytest.mark.parametrize("cls", CONFIGS)
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"remapped_wmax": 0.0}, "remapped_wmax"),
        ({"remapped_wmax": -1.0}, "remapped_wmax"),
        ({"remapped_wmax": float("inf")}, "remapped_wmax"),
        ({"remapped_wmax": 0.5, "max_scale_range": 2.0}, "remapped_wmax"),
    ],
)
def test_impossible_limits_are_refused(cls: Any, changes: dict[str, float], field: str) -> None:
    """Before any step, when a tile is built, and in a living one, which stays as it is."""
    config = cls(remap=WeightRemapParameter(type=CHANNEL, **changes))
    with pytest.raises(ConfigError, match=rf"^remap\.{field}"):
        config.create_tile(2, 3)
    tile = cls(remap=WeightRemapParameter(type=CHANNEL)).create_tile(2, 3)
    with pytest.raises(ConfigError, match=rf"^remap\.{field}"):
        tile.rpu_config.remap = WeightRemapParameter(type=CHANNEL, **changes)
    assert tile.rpu_config.remap == WeightRemapParameter(type=CHANNEL)
