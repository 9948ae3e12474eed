"""What is said when nobody applies what pulsed layers record, and what is kept then."""

import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from mho.nn import AnalogLinear
from mho.nn.conversion import convert_to_analog
from mho.optim import AnalogOptimizer, AnalogSGD
from mho.simulator.configs import InferenceRPUConfig, SingleRPUConfig


def mlp() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.ReLU(), nn.Linear(4, 3)))
    # Well within the bounds of all devices, of which conversion would warn.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.1)
    return model


def messages_of(model: nn.Module, optimizer: Any, passes: int) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(passes):
            if optimizer is not None:
                optimizer.zero_grad()
            model(torch.randn(2, 4)).sum().backward()
            if optimizer is not None:
                optimizer.step()
    return [str(warning.message) for warning in caught]


def before_conversion(digital: nn.Module) -> tuple[nn.Module, Any]:
    optimizer = AnalogSGD(digital.parameters(), lr=0.1)
    return convert_to_analog(digital, SingleRPUConfig()), optimizer


def with_plain_sgd(digital: nn.Module) -> tuple[nn.Module, Any]:
    model = convert_to_analog(digital, SingleRPUConfig())
    return model, torch.optim.SGD(model.parameters(), lr=0.1)


def forgotten(digital: nn.Module) -> tuple[nn.Module, Any]:
    return convert_to_analog(digital, SingleRPUConfig()), None


@pytest.mark.parametrize("build", [before_conversion, with_plain_sgd, forgotten])
def test_third_backward_pass_warns_and_names_the_layers(build: Callable[..., Any]) -> None:
    model, optimizer = build(mlp())
    assert messages_of(model, optimizer, 2) == []
    found = messages_of(model, optimizer, 1)
    assert {re.match(r"analog layer '([^']*)'", text)[1] for text in found} == {"0", "1.1"}
    assert all("mho.optim" in text for text in found)
    assert messages_of(model, optimizer, 10) == []


def test_memory_is_bounded() -> None:
    model, optimizer = with_plain_sgd(mlp())
    messages_of(model, optimizer, 20)
    assert all(len(m.analog_ctx.pairs()) == 1 for m in model.modules() if hasattr(m, "analog_ctx"))


def test_one_pass_through_a_layer_many_times_is_one_pass() -> None:
    layer = AnalogLinear(4, 4)
    x = torch.randn(2, 4)
    for _ in range(10):
        x = layer(x)
    x.sum().backward()
    assert len(layer.analog_module.analog_ctx.pairs()) == 10


@pytest.mark.parametrize(
    "build",
    [
        lambda parameters: AnalogSGD(parameters, lr=0.1),
        lambda parameters: AnalogOptimizer(torch.optim.RMSprop, parameters, lr=0.1),
    ],
)
def test_accumulated_gradients_of_an_analog_optimizer_are_all_kept(build: Any) -> None:
    layer = AnalogLinear(4, 3)
    optimizer = build(layer.parameters())
    assert messages_of(layer, None, 10) == []
    assert len(layer.analog_module.analog_ctx.pairs()) == 10
    optimizer.step()


def test_a_deleted_optimizer_steps_nothing() -> None:
    layer = AnalogLinear(4, 3)
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    del optimizer
    assert len(messages_of(layer, None, 3)) == 1


def test_any_living_optimizer_keeps_what_is_accumulated() -> None:
    """A second optimizer, such as that of a search for a rate, leaves the first in charge."""
    layer = AnalogLinear(4, 3)
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    other = AnalogSGD(layer.parameters(), lr=0.1)
    other.load_state_dict(optimizer.state_dict())
    del other
    assert messages_of(layer, None, 5) == []
    assert len(layer.analog_module.analog_ctx.pairs()) == 5
    del optimizer
    layer.zero_grad()
    assert len(messages_of(layer, None, 3)) == 1


def test_frozen_and_inference_layers_record_nothing() -> None:
    frozen = AnalogLinear(4, 3)
    for parameter in frozen.parameters():
        parameter.requires_grad_(False)
    model = nn.Sequential(nn.Linear(4, 4), frozen)
    assert messages_of(model, torch.optim.SGD(model[0].parameters(), lr=0.1), 5) == []
    inference = AnalogLinear(4, 3, rpu_config=InferenceRPUConfig())
    assert messages_of(inference, torch.optim.SGD(inference.parameters(), lr=0.1), 5) == []
