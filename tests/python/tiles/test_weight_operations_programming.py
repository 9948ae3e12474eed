"""Programming of training tiles by write and verify, and programming that training outdates."""

import math
from typing import Any

import pytest
import torch

from devices_for_tests import clean, raw, tile_of
from mho.exceptions import ArgumentError, InputError
from mho.nn import AnalogLinear
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    InferenceRPUConfig,
    IOParameters,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
    WeightClipParameter,
)
from mho.simulator.parameters.enums import WeightClipType

PERFECT = {"forward": IOParameters(is_perfect=True)}


def relative_error(tile: Any, x: torch.Tensor, target: torch.Tensor) -> float:
    """Mean absolute error of the outputs relative to the largest wanted one."""
    wanted = x @ target.t()
    return float((x @ raw(tile).t() - wanted).abs().mean() / wanted.abs().max())


@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize("x_values", [None, torch.randn(20, 7, generator=torch.manual_seed(1))])
def test_error_falls_below_the_tolerance(spread: bool, x_values: Any) -> None:
    device = clean(dw_min_dtod=0.3, dw_min_std=0.3, up_down_dtod=0.01) if spread else clean()
    tile = tile_of(device, 5, 7, **PERFECT)
    target = 0.3 * torch.randn(5, 7)
    tile.set_weights(target)
    tile.set_learning_rate(0.7)
    x = torch.eye(7) if x_values is None else x_values
    rate = 0.1 if x_values is None else 0.02
    tile.program_weights(x_values=x_values, tolerance=0.02, learning_rate=rate)
    assert not torch.equal(raw(tile), target)
    assert relative_error(tile, x, target) < 0.02
    assert tile.get_learning_rate() == pytest.approx(0.7)
    # Again, from the reference, starting anywhere.
    tile.program_weights(tolerance=0.01, w_init=torch.full((5, 7), 0.1))
    assert relative_error(tile, torch.eye(7), target) < 0.01


def test_analog_bias_is_programmed() -> None:
    config = SingleRPUConfig(device=clean(), **PERFECT)
    config.mapping.digital_bias = False
    layer = AnalogLinear(4, 3, rpu_config=config)
    tile = next(layer.analog_tiles())
    target = raw(tile)
    tile.program_weights()
    assert raw(tile).shape == (3, 5)
    assert relative_error(tile, torch.eye(5), target) < 0.01


def test_zero_target_and_no_tolerance() -> None:
    """Errors of zero outputs are absolute; without a tolerance all iterations are made."""
    tile = tile_of(clean(count_pulses=True), **PERFECT)
    tile.tile.set_weights(torch.zeros(3, 4))
    tile.program_weights(w_init=0.5, tolerance=0.001)
    assert float(raw(tile).abs().mean()) < 0.001
    calls = tile.dump_extra()["calls"][0]  # type: ignore[index]
    tile.program_weights(max_iter=5, tolerance=None)
    # Start: two calls (draw, clip); then a product and an update each.
    assert tile.dump_extra()["calls"][0] == calls + 2 + 5 * 2  # type: ignore[index]


def test_reference() -> None:
    tile = tile_of(clean(), **PERFECT)
    first, second = torch.full((3, 4), 0.2), torch.full((3, 4), -0.3)
    tile.tile.set_weights(first)
    tile.program_weights()
    tile.tile.set_weights(second)  # of the bare array: the reference stays
    tile.program_weights()
    assert relative_error(tile, torch.eye(4), first) < 0.01
    tile.tile.set_weights(second)
    tile.program_weights(from_reference=False)
    assert relative_error(tile, torch.eye(4), second) < 0.01
    for edit in (
        lambda: tile.set_weights(first),
        lambda: tile.reset(),
        lambda: tile.update(torch.ones(1, 4), torch.ones(1, 3)),
        tile.decay_weights,
        tile.diffuse_weights,
        tile.post_update_step,
    ):
        tile.program_weights(max_iter=1)
        assert tile.reference_combined_weights is not None
        edit()
        assert tile.reference_combined_weights is None


@pytest.mark.parametrize(
    ("arguments", "error", "name"),
    [
        ({"x_values": torch.zeros(2, 5)}, InputError, "x_values"),
        ({"x_values": torch.zeros(4)}, InputError, "x_values"),
        ({"x_values": torch.zeros(0, 4)}, InputError, "x_values"),
        ({"x_values": torch.full((1, 4), math.nan)}, ArgumentError, "x_values"),
        ({"x_values": [1.0]}, InputError, "x_values"),
        ({"learning_rate": -0.1}, ArgumentError, "learning_rate"),
        ({"learning_rate": math.nan}, ArgumentError, "learning_rate"),
        ({"max_iter": 0}, ArgumentError, "max_iter"),
        ({"max_iter": 1.5}, ArgumentError, "max_iter"),
        ({"tolerance": -0.1}, ArgumentError, "tolerance"),
        ({"tolerance": math.nan}, ArgumentError, "tolerance"),
        ({"w_init": torch.zeros(3, 5)}, InputError, "w_init"),
        ({"w_init": torch.full((3, 4), math.inf)}, ArgumentError, "w_init"),
        ({"w_init": -0.1}, ArgumentError, "w_init"),
        ({"w_init": math.nan}, ArgumentError, "w_init"),
    ],
)
def test_bad_arguments(arguments: Any, error: type[Exception], name: str) -> None:
    tile = tile_of(clean())
    before = raw(tile)
    with pytest.raises(error, match=name):
        tile.program_weights(**arguments)
    assert torch.equal(raw(tile), before)
    assert tile.reference_combined_weights is None


def trained_after_programming(config: Any, frozen: bool) -> tuple[Any, torch.Tensor, Any]:
    """Layer that was programmed, drifted and then trained (if not frozen); its weights."""
    layer = AnalogLinear(6, 5, bias=False, rpu_config=config)
    tile = next(layer.analog_tiles())
    layer.eval()
    layer.program_analog_weights()
    layer.drift_analog_weights(1e5)
    if frozen:
        layer.requires_grad_(False)
    layer.train()
    optimizer = AnalogSGD(layer.parameters(), lr=1.0)
    x = torch.ones(1, 6, requires_grad=True)
    layer(x).sum().backward()
    optimizer.step()
    return layer.eval(), raw(tile), tile


@pytest.mark.parametrize("cls", [InferenceRPUConfig, TorchInferenceRPUConfig])
def test_training_outdates_the_programming(cls: Any) -> None:
    """Programming again aims at the trained weights, not at those from before the training."""
    layer, trained, tile = trained_after_programming(cls(), frozen=False)
    assert tile.programmed_weights is None and float(tile.alpha) == 1.0
    layer.program_analog_weights()
    assert torch.equal(tile.reference_combined_weights, trained)
    # Programming errors are of a few per cent of the largest weight; training moved them by one.
    assert float((raw(tile) - trained).abs().mean()) < 0.1


@pytest.mark.parametrize("cls", [InferenceRPUConfig, TorchInferenceRPUConfig])
def test_frozen_tiles_stay_programmed(cls: Any) -> None:
    _, weights, tile = trained_after_programming(cls(), frozen=True)
    assert tile.programmed_weights is not None and tile.reference_combined_weights is not None
    assert float(tile.alpha) != 1.0
    assert torch.equal(raw(tile), weights)


def test_clipping_outdates_the_programming_of_frozen_tiles() -> None:
    clip = WeightClipParameter(type=WeightClipType.FIXED_VALUE, fixed_value=0.01)
    config = InferenceRPUConfig(clip=clip)
    *_, tile = trained_after_programming(config, frozen=True)
    assert tile.programmed_weights is None
    assert float(raw(tile).abs().max()) <= 0.01
