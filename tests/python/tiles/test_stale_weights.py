"""Weights that change between a forward pass and its backward pass, as with layers of torch."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mho.nn import AnalogLinear
from mho.simulator.configs import (
    InferenceRPUConfig,
    SingleRPUConfig,
    SoftBoundsDevice,
    TorchInferenceRPUConfig,
    WeightClipType,
    WeightRemapType,
)

FOLLOWING: dict[str, Callable[[], Any]] = {
    "inference": InferenceRPUConfig,
    "torch": TorchInferenceRPUConfig,
}


def build(config: Any) -> AnalogLinear:
    """A layer with weights that are known."""
    torch.manual_seed(0)
    config.forward.is_perfect = True
    if hasattr(config, "backward"):
        config.backward.is_perfect = True
    config.mapping.weight_scaling_omega = 0.8
    return AnalogLinear(4, 3, bias=False, rpu_config=config)


def step(layer: AnalogLinear) -> None:
    """A step of an optimizer of torch."""
    layer(torch.rand(2, 4)).sum().backward()
    torch.optim.SGD(layer.parameters(), lr=0.5).step()


def drift(layer: AnalogLinear) -> None:
    """Programming and drift."""
    layer.eval()
    layer.drift_analog_weights(1e5)


def program(layer: AnalogLinear) -> None:
    """Programming alone."""
    layer.eval()
    layer.program_analog_weights()


def clip(layer: AnalogLinear) -> None:
    """Clipping after a step."""
    layer.analog_module.rpu_config.clip.type = WeightClipType.FIXED_VALUE
    layer.analog_module.rpu_config.clip.fixed_value = 0.01
    layer.analog_module.post_update_step()


def remap(layer: AnalogLinear) -> None:
    """Remapping after a step."""
    layer.analog_module.rpu_config.remap.type = WeightRemapType.CHANNELWISE_SYMMETRIC
    layer.analog_module.post_update_step()


def in_place(layer: AnalogLinear) -> None:
    """What scripts do to parameters by hand."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(0.5)


def buffer(layer: AnalogLinear) -> None:
    """A write to the raw weights of the tile."""
    layer.analog_module._get_tile_weights_ref().detach().zero_()


CHANGES: dict[str, Callable[[AnalogLinear], Any]] = {
    "step": step,
    "set": lambda layer: layer.set_weights(torch.zeros(3, 4)),
    "load": lambda layer: layer.load_state_dict(copy.deepcopy(layer.state_dict())),
    "drift": drift,
    "program": program,
    "clip": clip,
    "remap": remap,
    "remap by hand": lambda layer: layer.remap_analog_weights(),
    "in place": in_place,
    "buffer": buffer,
}
# Kernels of the core write through pointers.
CORE_CHANGES: dict[str, Callable[[AnalogLinear], Any]] = {
    "diffuse": lambda layer: layer.analog_module.diffuse_weights(),
    "decay": lambda layer: layer.analog_module.decay_weights(),
    "reset": lambda layer: layer.analog_module.reset(),
    "random": lambda layer: layer.analog_module.tile.set_weights_uniform_random(-0.1, 0.1),
    "drift of devices": lambda layer: layer.analog_module.tile.drift_weights(1.0),
}


def gradient(layer: AnalogLinear, change: Any, call: Any) -> Tensor:
    """Gradient of an input, with a change of the weights in between."""
    x = torch.ones(2, 4, requires_grad=True)
    y = call(layer)(x)
    change(layer)
    y.sum().backward()
    assert x.grad is not None
    return x.grad


def compiled(layer: AnalogLinear) -> Any:
    """The layer in a graph."""
    torch._dynamo.reset()
    return torch.compile(layer, backend="aot_eager", fullgraph=True)


CALLS: dict[str, Callable[[AnalogLinear], Any]] = {"eager": lambda layer: layer, "graph": compiled}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", FOLLOWING)
def test_a_stale_graph_is_refused(kind: str, change: str, call: str) -> None:
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        gradient(build(FOLLOWING[kind]()), CHANGES[change], CALLS[call])


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("change", CORE_CHANGES)
def test_changes_by_kernels_are_noticed(change: str, call: str) -> None:
    config = InferenceRPUConfig()
    config.device = SoftBoundsDevice(diffusion=0.1, lifetime=10.0)
    config.device.drift.nu = 0.1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        gradient(build(config), CORE_CHANGES[change], CALLS[call])


UNCHANGED: dict[str, Callable[[AnalogLinear], Any]] = {
    "read": lambda layer: layer.get_weights(),
    "save": lambda layer: layer.state_dict(),
    "call": lambda layer: layer(torch.rand(2, 4)),
    "eval": lambda layer: layer.eval(),
    "backward": lambda layer: layer(torch.rand(2, 4)).sum().backward(),
    "read by products": lambda layer: layer.analog_module.read_weights(),
    "work after a step": lambda layer: layer.analog_module.post_update_step(),
}


@pytest.mark.parametrize("change", UNCHANGED)
@pytest.mark.parametrize("kind", FOLLOWING)
def test_the_same_weights_are_used(kind: str, change: str) -> None:
    layer = build(FOLLOWING[kind]())
    slope = gradient(layer, UNCHANGED[change], CALLS["eager"])
    torch.testing.assert_close(slope, layer.get_weights()[0].sum(0).expand(2, 4))


def test_gradients_of_weights_need_no_weights() -> None:
    """As in torch: without the gradient of the input the old weights are not asked for."""
    layer = build(InferenceRPUConfig())
    y = layer(torch.ones(2, 4))
    layer.set_weights(torch.zeros(3, 4))
    y.sum().backward()
    assert all(p.grad is not None for p in layer.parameters())


def test_weights_of_inference_mode_have_no_versions() -> None:
    with torch.inference_mode():
        layer = build(InferenceRPUConfig())
    gradient(layer, lambda layer: None, CALLS["eager"])


def test_pulsed_tiles_read_the_conductances_of_the_moment() -> None:
    """There is one array; nobody keeps what it was."""
    layer = build(SingleRPUConfig())
    slope = gradient(layer, CHANGES["set"], CALLS["eager"])
    assert not slope.any()
