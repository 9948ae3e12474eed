"""Whole models learn: pulsed and hardware-aware, eager and compiled, alone and resumed."""

import copy
import io
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mho.nn import AnalogLinear, AnalogSequential
from mho.nn.conversion import convert_to_analog
from mho.optim import AnalogAdam, AnalogOptimizer, AnalogSGD
from mho.optim.context import AnalogContext
from mho.simulator.configs import (
    ConstantStepDevice,
    InferenceRPUConfig,
    SingleRPUConfig,
    SoftBoundsDevice,
)

CONFIGS = {
    "ConstantStep": SingleRPUConfig(device=ConstantStepDevice()),
    "SoftBounds": SingleRPUConfig(device=SoftBoundsDevice()),
    "Inference": InferenceRPUConfig(),
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Compute in one thread: at these sizes torch's threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def build(name: str) -> AnalogSequential:
    config = CONFIGS[name]
    return AnalogSequential(
        AnalogLinear(6, 16, rpu_config=config), nn.Tanh(), AnalogLinear(16, 2, rpu_config=config)
    )


def data() -> tuple[Tensor, Tensor]:
    """Return two classes that a line through the origin separates."""
    x = torch.randn(128, 6, generator=torch.Generator().manual_seed(0))
    return x, (x[:, 0] > x[:, 1]).long()


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
    x, y = data()
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        rows = slice(16 * (step % 8), 16 * (step % 8) + 16)
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def accuracy(model: nn.Module) -> float:
    x, y = data()
    with torch.no_grad():
        return (model.eval()(x).argmax(1) == y).double().mean().item()


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(
    "optimizer_class",
    [AnalogSGD, AnalogAdam, lambda p, lr: AnalogOptimizer(torch.optim.SGD, p, lr)],
)
def test_training_improves(name: str, optimizer_class: Any) -> None:
    model = build(name)
    adam_on_weights = optimizer_class is AnalogAdam and name == "Inference"
    losses = train(
        model, optimizer_class(model.parameters(), lr=0.02 if adam_on_weights else 0.1), 200
    )
    # Guessing costs ln 2 = 0.69 and is right in half of the cases.
    assert sum(losses[-8:]) / 8 < 0.45
    assert accuracy(model) > 0.85


def test_fine_tuning_a_converted_model() -> None:
    torch.manual_seed(1)
    digital = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 2))
    model = convert_to_analog(digital, InferenceRPUConfig())
    train(model, AnalogSGD(model.parameters(), lr=0.1), 200)
    assert accuracy(model) > 0.85


def test_a_layer_shared_over_time() -> None:
    """Every use records a pair, and one step applies all of them."""
    layer = AnalogLinear(4, 4, rpu_config=CONFIGS["ConstantStep"])
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    state = torch.zeros(3, 4)
    for _ in range(5):
        state = torch.tanh(layer(state) + torch.randn(3, 4))
    before = layer.get_weights()[0]
    state.sum().backward()
    assert len(layer.analog_module.analog_ctx.analog_input) == 5
    optimizer.step()
    assert not torch.equal(layer.get_weights()[0], before)
    assert not layer.analog_module.analog_ctx.has_gradient()


def test_nothing_is_left_behind_by_evaluation_without_gradients() -> None:
    model = build("ConstantStep")
    with torch.no_grad():
        model(torch.randn(2, 6))
    model(torch.randn(2, 6))
    assert not any(tile.analog_ctx.has_gradient() for tile in model.analog_tiles())


def with_momentum(model: nn.Module) -> list[dict[str, Any]]:
    """Momentum for the digital parameters, none for the pulsed weights."""
    analog = [p for p in model.parameters() if isinstance(p, AnalogContext)]
    digital = [p for p in model.parameters() if not isinstance(p, AnalogContext)]
    return [{"params": digital, "momentum": 0.5}, {"params": analog}]


@pytest.mark.parametrize("name", CONFIGS)
def test_resumed_training_has_the_same_bits(name: str) -> None:
    model = build(name)
    optimizer = AnalogSGD(with_momentum(model), lr=0.1)
    train(model, optimizer, 5)
    buffer = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, buffer)
    buffer.seek(0)
    straight = train(model, optimizer, 10)

    torch.manual_seed(99)  # a fresh process would have another state of the generator
    resumed = build(name)
    resumed_optimizer = AnalogSGD(with_momentum(resumed), lr=0.3)
    checkpoint = torch.load(buffer, weights_only=True)
    resumed.load_state_dict(checkpoint["model"])
    resumed_optimizer.load_state_dict(checkpoint["optimizer"])
    assert train(resumed, resumed_optimizer, 10) == straight


@pytest.mark.parametrize("name", CONFIGS)
def test_copied_training_has_the_same_bits(name: str) -> None:
    model = build(name)
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    train(model, optimizer, 3)
    new_model, new_optimizer = copy.deepcopy((model, optimizer))
    assert train(new_model, new_optimizer, 10) == train(model, optimizer, 10)


@pytest.mark.parametrize("name", CONFIGS)
def test_compiled_training(name: str) -> None:
    model = build(name)
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    losses = train(compiled, optimizer, 100)
    assert sum(losses[-8:]) / 8 < 0.5
    assert accuracy(model) > 0.85


@pytest.mark.parametrize("name", CONFIGS)
def test_compiled_training_equals_eager_training(name: str) -> None:
    results = []
    for is_compiled in (False, True):
        torch.manual_seed(5)
        model = build(name)
        optimizer = AnalogSGD(model.parameters(), lr=0.1)
        called = torch.compile(model, fullgraph=True, backend="aot_eager") if is_compiled else model
        results.append(train(called, optimizer, 4))
    # Same draws; what remains is the rounding of torch's own operations, some units of 2^-24 that
    # pulses can turn into a whole step of a device (0.001), each of which moves the loss by less
    # than that.
    assert results[0] == pytest.approx(results[1], abs=2e-3)
