"""Layers in the function transforms of torch: those of torch take part, so these do."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, jacfwd, stack_module_state, vmap

from mho.nn import convert_to_analog
from mho.simulator.configs import InferenceRPUConfig, IOParameters, TorchInferenceRPUConfig

CONFIGS = {"core": InferenceRPUConfig, "torch": TorchInferenceRPUConfig}
LAYERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "1d": (lambda: nn.Conv1d(2, 3, 2), (2, 5)),
    "2d": (lambda: nn.Conv2d(2, 3, 2, padding=1, padding_mode="reflect"), (2, 5, 5)),
    "3d": (lambda: nn.Conv3d(2, 2, 2), (2, 3, 3, 3)),
    "groups": (lambda: nn.Conv2d(4, 4, 2, groups=2), (4, 3, 3)),
    "transposed 2d": (lambda: nn.ConvTranspose2d(2, 3, 2), (2, 3, 3)),
    "transposed 3d": (lambda: nn.ConvTranspose3d(2, 3, 2), (2, 2, 2, 2)),
}


def analog_of(digital: nn.Module, kind: str) -> Any:
    config = CONFIGS[kind](forward=IOParameters(is_perfect=True))
    return convert_to_analog(digital, config, ensure_analog_root=False)


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # forward mode of torch
def test_convolutions(name: str, kind: str) -> None:
    make, shape = LAYERS[name]
    digital = make()
    analog = analog_of(digital, kind)
    x = torch.randn(3, 2, *shape)
    functions: list[Any] = [
        lambda layer: vmap(layer)(x),
        lambda layer: vmap(lambda one: layer(one[None])[0])(x[0]),
        lambda layer: vmap(vmap(layer))(x),
        lambda layer: grad(lambda y: vmap(layer)(y).square().sum())(x),
        lambda layer: vmap(grad(lambda y: layer(y).square().sum()))(x),
        lambda layer: jacfwd(layer)(x[0, 0]),
    ]
    for function in functions:
        # Sums of fewer than a hundred products of numbers of order one, in float32.
        torch.testing.assert_close(function(analog), function(digital), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", CONFIGS)
def test_ensembles_of_networks(kind: str) -> None:
    models = [
        analog_of(nn.Sequential(nn.Conv2d(1, 2, 2), nn.Flatten(), nn.Linear(8, 2)), kind)
        for _ in range(3)
    ]
    parameters, buffers = stack_module_state(models)
    x = torch.randn(4, 1, 3, 3)

    def one(parameters: Any, buffers: Any) -> Any:
        trained = {name: parameters[name] for name, _ in models[0].named_parameters()}
        return functional_call(models[0], trained, (x,))

    found = vmap(one)(parameters, buffers)
    expected = torch.stack([model(x) for model in models])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_channels_last_come_out_outside_of_batches() -> None:
    layer = analog_of(nn.Conv2d(2, 3, 2), "torch")
    x = torch.randn(2, 2, 4, 4).to(memory_format=torch.channels_last)
    assert layer(x).is_contiguous(memory_format=torch.channels_last)
