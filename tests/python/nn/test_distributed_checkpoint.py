"""States through `torch.distributed.checkpoint`, which looks their entries up in the model."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mho.exceptions import ArgumentError
from mho.nn import AnalogLinear, AnalogSequential
from mho.optim import AnalogAdam, AnalogSGD
from mho.simulator.configs import (
    InferenceRPUConfig,
    MappingParameter,
    SingleRPUConfig,
    SoftBoundsDevice,
    TorchInferenceRPUConfig,
)

state_dict = pytest.importorskip("torch.distributed.checkpoint.state_dict")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

VERSION = tuple(int(part) for part in torch.__version__.split(".")[:2])
CONFIGS: dict[str, Callable[[], Any]] = {
    "pulsed": lambda: SingleRPUConfig(device=SoftBoundsDevice(lifetime=20.0, diffusion=0.01)),
    "inference": InferenceRPUConfig,
    "split": lambda: InferenceRPUConfig(
        mapping=MappingParameter(max_input_size=3, max_output_size=2)
    ),
    "torch": TorchInferenceRPUConfig,
}
OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "SGD": lambda p: AnalogSGD(p, lr=0.1),
    "Adam": lambda p: AnalogAdam(p, lr=0.01),
}


def build(kind: str) -> AnalogSequential:
    return AnalogSequential(AnalogLinear(5, 4, rpu_config=CONFIGS[kind]()), nn.Linear(4, 3))


def train(model: nn.Module, optimizer: Any, steps: int = 2) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.linspace(-1.0, 1.0, 20).reshape(4, 5)).square().mean().backward()
        optimizer.step()
    optimizer.zero_grad()


def assert_same(first: nn.Module, second: dict[str, Tensor]) -> None:
    for name, value in first.state_dict().items():
        assert torch.equal(value, second[name]), name


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("kind", CONFIGS)
def test_resumed_training_has_the_same_bits(kind: str, name: str) -> None:
    if (kind, name) == ("pulsed", "Adam") and VERSION < (2, 6):
        pytest.skip("this torch wants moments of all parameters")
    model = build(kind)
    optimizer = OPTIMIZERS[name](model.parameters())
    train(model, optimizer)
    before = copy.deepcopy(model.state_dict())
    saved = copy.deepcopy(state_dict.get_state_dict(model, optimizer))
    assert_same(model, before)  # saving takes a step, which is none for the devices
    resumed = build(kind)
    other = OPTIMIZERS[name](resumed.parameters())
    # Pulsed weights have no moments, which torch misses unless it is told.
    options = state_dict.StateDictOptions(strict=kind != "pulsed")
    state_dict.set_state_dict(
        resumed, other, model_state_dict=saved[0], optim_state_dict=saved[1], options=options
    )
    assert_same(resumed, before)
    generator = torch.get_rng_state()
    train(model, optimizer)
    torch.set_rng_state(generator)
    train(resumed, other)
    assert_same(resumed, model.state_dict())


@pytest.mark.parametrize("kind", ["inference", "split", "torch"])
def test_drifted_models(kind: str) -> None:
    model = build(kind).eval()
    model.drift_analog_weights(100.0)
    saved = copy.deepcopy(state_dict.get_model_state_dict(model))
    resumed = build(kind).eval()
    state_dict.set_model_state_dict(resumed, saved)
    assert_same(resumed, model.state_dict())
    parameters = next(iter(resumed.analog_tiles())).drift_noise_parameters
    assert isinstance(copy.deepcopy(parameters), list)
    with pytest.raises(AttributeError):
        getattr(parameters, str(len(parameters)))


@pytest.mark.parametrize("kind", CONFIGS)
def test_steps_with_a_rate_of_zero_are_steps(kind: str) -> None:
    """As at the begin of a warm-up: devices decay and diffuse, tiles know the rate."""
    model = build(kind)
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    train(model, optimizer)
    before = copy.deepcopy(model.state_dict())
    optimizer.param_groups[0]["lr"] = 0.0
    train(model, optimizer, 1)
    assert all(tile.get_learning_rate() in (0.0, None) for tile in model.analog_tiles())
    name = "0.analog_module.analog_tile_weights"
    if kind == "pulsed":
        assert not torch.equal(model.state_dict()[name], before[name])


def test_gradients_assigned_to_pulsed_weights() -> None:
    """Only zeros mean nothing."""
    model = build("pulsed")
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    train(model, optimizer)
    context = model[0].analog_module.analog_ctx
    before = copy.deepcopy(model.state_dict())
    context.grad = torch.ones(4, 5)
    with pytest.raises(ArgumentError, match=r"analog layer '0'.*have no gradient"):
        optimizer.step()
    assert_same(model, before)
    context.grad = torch.zeros(4, 5)
    model[1].weight.grad = torch.zeros(3, 4)
    optimizer.step()
    changed = model.state_dict()["0.analog_module.analog_tile_weights"]
    assert not torch.equal(changed, before["0.analog_module.analog_tile_weights"])
