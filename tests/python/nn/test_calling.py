"""Calls that go past torch's hooks where there are none."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mho.exceptions import InputError
from mho.nn import AnalogLinear
from mho.optim import AnalogSGD
from mho.simulator.configs import InferenceRPUConfig, SingleRPUConfig

CONFIGS: dict[str, Callable[[], Any]] = {"pulsed": SingleRPUConfig, "inference": InferenceRPUConfig}


@pytest.mark.parametrize("grad", [False, True])
def test_hooks_of_the_inner_module_run(grad: bool) -> None:
    """Hooks before and after the call see it, whether it records a gradient or not."""
    layer, seen = AnalogLinear(4, 3), []
    layer.analog_module.register_forward_pre_hook(lambda module, args: seen.append("before"))
    with torch.set_grad_enabled(grad):
        layer(torch.ones(2, 4))
        layer.analog_module.register_forward_hook(lambda module, args, out: out + 100.0)
        assert bool((layer(torch.ones(2, 4)) > 90.0).all())
    assert seen == ["before", "before"]


def test_global_hooks_run() -> None:
    """Hooks for all modules see layer and tile."""
    layer, seen = AnalogLinear(4, 3), []
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, args, out: seen.append(type(module).__name__)
    )
    try:
        with torch.no_grad():
            layer(torch.ones(2, 4))
    finally:
        handle.remove()
    assert seen == ["AnalogTile", "AnalogLinear"]


def test_backward_hooks_run() -> None:
    """A hook on the gradients of the tile is called once per backward pass."""
    layer, seen = AnalogLinear(4, 3), []
    layer.analog_module.register_full_backward_hook(lambda module, gi, go: seen.append(1))
    layer(torch.ones(2, 4, requires_grad=True)).sum().backward()
    assert seen == [1]


def test_hooks_before_backward_run() -> None:
    """A hook on the gradients of the output of the tile is called once per backward pass."""
    layer, seen = AnalogLinear(4, 3), []
    layer.analog_module.register_full_backward_pre_hook(lambda module, go: seen.append(1))
    layer(torch.ones(2, 4, requires_grad=True)).sum().backward()
    assert seen == [1]


@pytest.mark.parametrize("when", ["backward_pre", "backward"])
def test_global_backward_hooks_run(when: str) -> None:
    """Hooks on the gradients of all modules see layer and tile."""
    layer, seen = AnalogLinear(4, 3), []
    handle = getattr(nn.modules.module, f"register_module_full_{when}_hook")(
        lambda module, *_: seen.append(type(module).__name__)
    )
    try:
        layer(torch.ones(2, 4, requires_grad=True)).sum().backward()
    finally:
        handle.remove()
    assert sorted(seen) == ["AnalogLinear", "AnalogTile"]


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("name", CONFIGS)
def test_the_short_way_gives_the_same_bits(name: str, mode: str) -> None:
    """With and without gradients, in a batch or an extra axis, one call number means one output."""
    layer = AnalogLinear(40, 30, rpu_config=CONFIGS[name]())
    tile = layer.analog_module
    layer.train(mode == "train")
    if name == "inference":
        tile.alpha.fill_(1.25)
    x, calls, outputs = torch.randn(5, 40), int(tile.analog_tile_calls), []

    def run(x: Tensor) -> None:
        tile.analog_tile_calls.fill_(calls)
        outputs.append(layer(x).detach().reshape(5, 30).clone())

    run(x)
    with torch.no_grad():
        run(x)
        run(x[None])
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])


def test_bias_is_not_written() -> None:
    """The sum in place goes into the output, which no call shares with another."""
    layer = AnalogLinear(4, 3)
    bias = layer.analog_module.bias.detach().clone()
    with torch.no_grad():
        first = layer(torch.ones(2, 4))
        kept = first.clone()
        layer(torch.ones(2, 4))
    assert torch.equal(first, kept)
    assert torch.equal(layer.analog_module.bias, bias)


def test_gradient_of_a_context() -> None:
    """The shortcut for optimizers returns what torch has stored: nothing."""
    layer = AnalogLinear(4, 3)
    AnalogSGD(layer.parameters(), lr=0.1)
    layer(torch.ones(2, 4)).sum().backward()
    assert layer.analog_module.analog_ctx.grad is None


@pytest.mark.parametrize("kind", list(CONFIGS))
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.filterwarnings("ignore:.*nested tensors:UserWarning")
def test_nested_tensors_are_refused(kind: str, grad: bool) -> None:
    """Also where a pass goes straight to the core."""
    layer = AnalogLinear(4, 3, rpu_config=CONFIGS[kind]()).eval()
    nested = torch.nested.nested_tensor([torch.ones(2, 4), torch.ones(3, 4)])
    with torch.set_grad_enabled(grad), pytest.raises(InputError, match="x_input"):
        layer(nested)
