"""Counters of 64 bits at the end of their range: refused before anything changes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from mho.exceptions import TileError
from mho.nn import AnalogLinear
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    ConstantStepDevice,
    InferenceRPUConfig,
    PowStepDevice,
    SingleRPUConfig,
)
from mho.simulator.devices import CustomPulsedDevice
from mho.simulator.parameters.registry import register_config_class
from unchanged import differences, everything

LAST = 2**63 - 1


@register_config_class
@dataclass
class CountedSteps(CustomPulsedDevice):
    """Constant steps, in Python."""

    def step(self, weight: Tensor, up: Tensor, planes: dict[str, Tensor], noise: Any) -> Tensor:
        """Return the weights after one pulse."""
        return torch.where(up, weight + planes["dwmin_up"], weight - planes["dwmin_down"])


def drifting() -> PowStepDevice:
    device = PowStepDevice(write_noise_std=0.5, lifetime=100.0, diffusion=0.01)
    device.drift.nu = 0.1
    return device


X, D = torch.ones(2, 4), torch.ones(2, 3)
CALLS: dict[str, Callable[[Any], object]] = {
    "forward": lambda tile: tile(X),
    "backward": lambda tile: tile.backward(D),
    "update": lambda tile: tile.update(X, D),
    "set_weights": lambda tile: tile.set_weights(torch.zeros(3, 4)),
    "uniform": lambda tile: tile.tile.set_weights_uniform_random(-0.1, 0.1),
    "decay": lambda tile: tile.tile.decay_weights(),
    "diffuse": lambda tile: tile.tile.diffuse_weights(),
    "drift": lambda tile: tile.tile.drift_weights(2.0),
    "reset": lambda tile: tile.tile.reset_columns(0, 2),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("device", [drifting(), CountedSteps()], ids=["core", "python"])
def test_calls(name: str, device: Any) -> None:
    layer = AnalogLinear(4, 3, bias=False, rpu_config=SingleRPUConfig(device=device))
    tile = layer.analog_module
    with torch.no_grad():
        CALLS[name](tile)
        tile.analog_tile_calls.fill_(LAST)
        before = everything(layer)
        if (name, type(device)) == ("drift", CountedSteps):
            CALLS[name](tile)  # without drift it is no call
        else:
            with pytest.raises(TileError, match=r"2\^63 - 1 calls"):
                CALLS[name](tile)
    assert not differences(before, everything(layer))


def test_the_last_call_is_made() -> None:
    layer = AnalogLinear(4, 3, rpu_config=InferenceRPUConfig())
    layer.analog_module.analog_tile_calls.fill_(LAST - 1)
    layer(X)
    with pytest.raises(TileError, match=r"2\^63 - 1 calls"):
        layer(X)
    assert layer.analog_module.analog_tile_calls.item() == LAST


@pytest.mark.parametrize("device", [ConstantStepDevice, PowStepDevice, CountedSteps])
@pytest.mark.parametrize("index", [0, 1])
def test_pulse_counters(device: Any, index: int) -> None:
    config = SingleRPUConfig(device=device(count_pulses=True))
    layer = AnalogLinear(4, 3, bias=False, rpu_config=config)
    tile, error = layer.analog_module, D if index == 0 else -D
    tile.analog_tile_pulse_counters[index, 1, 2] = LAST
    before = everything(layer)
    with pytest.raises(TileError, match="end of its range"):
        tile.update(X, error)
    assert not differences(before, everything(layer))
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    (layer(X) * error).sum().backward()
    with pytest.raises(TileError, match="end of its range"):
        optimizer.step()
    tile.analog_tile_pulse_counters.zero_()
    tile.update(X, error)
    assert int(tile.get_pulse_counters().sum()) > 0
