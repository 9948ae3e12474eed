"""Layers with presets train."""

from typing import Any

import pytest
import torch

from mho.nn import AnalogLinear
from mho.optim import AnalogSGD
from mho.simulator import presets
from mho.simulator.configs import (
    MixedPrecisionCompound,
    OneSidedUnitCell,
    SingleRPUConfig,
    TransferCompound,
    UnitCellRPUConfig,
    WeightModifierParameter,
)
from mho.simulator.configs.configs import DigitalRankUpdateRPUConfig, InferenceRPUConfig
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.presets import web

ALL = [cls for name in presets.__all__ if issubclass(cls := getattr(presets, name), RPUConfigBase)]
SINGLE = [cls for cls in ALL if issubclass(cls, SingleRPUConfig)]
CELLS = [cls for cls in ALL if issubclass(cls, UnitCellRPUConfig | DigitalRankUpdateRPUConfig)]
INFERENCE = [
    *(cls for cls in ALL if issubclass(cls, InferenceRPUConfig)),
    web.WebComposerInferenceRPUConfig,
    web.OldWebComposerInferenceRPUConfig,
]
# Two devices have no configuration of their own.
DEVICES = {cls.__name__: cls() for cls in SINGLE} | {
    cls.__name__: SingleRPUConfig(device=cls())
    for cls in (presets.ReRamArrayOMPresetDevice, presets.ReRamArrayHfO2PresetDevice)
}
SIZE = 20


def push(layer: AnalogLinear, sign: float) -> torch.Tensor:
    """Drive all weights alike with the longest pulse trains, and return their change."""
    optimizer = AnalogSGD(layer.parameters(), lr=100.0)
    before = layer.get_weights()[0].clone()
    for _ in range(5):
        optimizer.zero_grad()
        out = layer(torch.ones(1, layer.in_features))
        out.backward(torch.full_like(out, -sign))
        optimizer.step()
    return layer.get_weights()[0] - before


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("device", DEVICES)
def test_single_devices_follow_the_gradient(device: Any, sign: float) -> None:
    config = DEVICES[device]
    layer = AnalogLinear(SIZE, SIZE, bias=False, rpu_config=config)
    layer.set_weights(torch.zeros(SIZE, SIZE))
    change = sign * push(layer, sign)
    assert change.isfinite().all()
    # At this learning rate every pulse happens, so the devices differ independently: their mean is
    # away from zero by five standard errors.
    assert change.mean() > 5 * change.std() / SIZE


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("cls", CELLS)
def test_cells_follow_the_gradient(cls: Any, sign: float) -> None:
    layer = AnalogLinear(SIZE, SIZE, bias=False, rpu_config=cls())
    layer.set_weights(torch.zeros(SIZE, SIZE))
    tile = layer.analog_module
    first = next((n for n in tile.get_hidden_parameters() if n.startswith("hidden_w")), None)
    assert push(layer, sign).isfinite().all()
    moved = tile.get_hidden_parameters()
    # What updates reach: the fast device, the accumulator, or devices side by side.
    if isinstance(tile.rpu_config.device, OneSidedUnitCell):
        change = moved["hidden_weights_1"] - moved["hidden_weights_0"]
    elif isinstance(tile.rpu_config.device, MixedPrecisionCompound):
        change = tile.tile.get_weights() - moved["hidden_weights_chi"]
    elif isinstance(tile.rpu_config.device, TransferCompound):
        assert first == "hidden_weights_0"
        change = moved[first]
        extra = tile.tile.dump_extra()
        if "in_chopper" in extra:
            # Written with the signs of the moment; the first columns have flipped at most once.
            change = change * torch.tensor(extra["in_chopper"], dtype=torch.float32)
    else:
        change = tile.tile.get_weights()
    change = sign * change
    assert change.mean() > 5 * change.std() / SIZE


@pytest.mark.parametrize("cls", INFERENCE)
def test_inference_presets_train(cls: Any) -> None:
    config = cls()
    # Training with noise on the weights has its own tests, and converges no faster.
    config.modifier = WeightModifierParameter()
    layer = AnalogLinear(4, 3, rpu_config=config)
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    x, losses = torch.rand(16, 4), []
    for _ in range(30):
        optimizer.zero_grad()
        loss = (layer(x) - 0.3).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_every_preset_is_trained() -> None:
    assert (len(SINGLE), len(CELLS), len(INFERENCE)) == (7, 45, 4)
