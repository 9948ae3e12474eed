"""Programming and drift of models whose root is not analog."""

from typing import Any

import pytest
import torch
from torch import nn

from mho.exceptions import ArgumentError, ModuleError
from mho.inference import (
    PCMLikeNoiseModel,
    ReRamWan2022NoiseModel,
    drift_analog_weights,
    program_analog_weights,
)
from mho.nn import AnalogLinear
from mho.nn.modules.base import AnalogLayerBase
from mho.simulator.configs import InferenceRPUConfig, TorchInferenceRPUConfig
from unchanged import differences, everything


class Layer(AnalogLayerBase, nn.Module):
    """Records what it is asked to do."""

    def __init__(self, child: nn.Module | None = None) -> None:
        super().__init__()
        self.child = child
        self.calls: list[Any] = []

    def program_analog_weights(self, noise_model: Any = None) -> None:
        self.calls.append(noise_model)

    def drift_analog_weights(self, t_inference: float = 0.0) -> None:
        self.calls.append(t_inference)


def build() -> tuple[nn.Module, Layer, Layer, Layer]:
    """Return a model in which one layer is used twice and one lies inside another."""
    inner = Layer()
    outer, single = Layer(inner), Layer()
    return (
        nn.ModuleList([outer, nn.Sequential(single, single), nn.Linear(2, 2)]),
        outer,
        single,
        inner,
    )


def test_every_layer_is_visited_once() -> None:
    model, outer, single, inner = build()
    model.eval()
    noise_model = PCMLikeNoiseModel()
    program_analog_weights(model, noise_model)
    program_analog_weights(model)
    drift_analog_weights(model, 3.0)
    drift_analog_weights(model)
    # The outer layer reaches the tiles of the inner one by itself.
    assert outer.calls == single.calls == [noise_model, None, 3.0, 0.0]
    assert inner.calls == []


def test_analog_root() -> None:
    layer = Layer().eval()
    drift_analog_weights(layer, 2.0)
    assert layer.calls == [2.0]


@pytest.mark.parametrize("function", [program_analog_weights, drift_analog_weights])
def test_training_mode_is_refused_before_anything_changes(function: Any) -> None:
    model, outer, single, _ = build()
    with pytest.raises(ModuleError, match=function.__name__):
        function(model.train())
    model.eval()
    single.train()
    with pytest.raises(ModuleError, match="training mode"):
        function(model)
    assert outer.calls == single.calls == []


@pytest.mark.parametrize("function", [program_analog_weights, drift_analog_weights])
def test_model_without_analog_layers(function: Any) -> None:
    """As one has it whose conversion was called, but not used."""
    model = nn.Linear(2, 2).eval()
    before = model.weight.clone()
    with pytest.warns(UserWarning, match=f"^{function.__name__}: .*no analog layers"):
        function(model)
    assert torch.equal(model.weight, before)


class Failing(PCMLikeNoiseModel):
    """Fails at the second layer, of three inputs."""

    def apply_programming_noise_to_conductance(self, g_target: torch.Tensor) -> torch.Tensor:
        if g_target.shape[1] == 3:
            raise RuntimeError("broken device")
        return super().apply_programming_noise_to_conductance(g_target)


@pytest.mark.parametrize("cls", [InferenceRPUConfig, TorchInferenceRPUConfig])
@pytest.mark.filterwarnings("ignore:.*register_config_class")
def test_a_layer_that_fails_leaves_all_layers_as_they_were(cls: Any) -> None:
    """Below a root of torch as below an analog one."""
    model = nn.Sequential(
        AnalogLinear(4, 3, rpu_config=cls()),
        nn.Tanh(),
        AnalogLinear(3, 2, rpu_config=cls(noise_model=ReRamWan2022NoiseModel())),
    ).eval()
    program_analog_weights(model)
    drift_analog_weights(model, 1.0)
    before = everything(model)
    with pytest.raises(ArgumentError, match="no coefficients for 3600"):
        drift_analog_weights(model, 3600.0)
    assert differences(before, everything(model)) == []
    with pytest.raises(RuntimeError, match="broken device"):
        program_analog_weights(model, Failing())
    assert differences(before, everything(model)) == []
