"""Convolutions are trained with images and gradients of any layout in memory."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from convolution_cases import MAPPED, PLAIN
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    ConstantStepDevice,
    InferenceRPUConfig,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
)


def _range() -> Any:
    config = InferenceRPUConfig()
    config.pre_post.input_range.enable = True
    return config


CONFIGS: dict[str, Callable[[], Any]] = {
    "inference": InferenceRPUConfig,
    "range": _range,
    "pulsed": lambda: SingleRPUConfig(device=ConstantStepDevice()),
    "torch": TorchInferenceRPUConfig,
}


def _channels_last(*shape: int) -> Tensor:
    return torch.randn(shape[0], *shape[2:], shape[1]).movedim(-1, 1)


def _batch_inside(*shape: int) -> Tensor:
    return torch.randn(shape[1], shape[0], *shape[2:]).transpose(0, 1)


def _strided(*shape: int) -> Tensor:
    return torch.randn(*shape[:-1], 2 * shape[-1])[..., ::2]


def _expanded(*shape: int) -> Tensor:
    return torch.randn(1, 1, *shape[2:]).expand(shape)


def _negated(*shape: int) -> Tensor:
    """Return the imaginary part of a conjugate: its memory holds the negated values."""
    return torch.randn(shape, dtype=torch.complex64).conj().imag


LAYOUTS = [_channels_last, _batch_inside, _strided, _expanded, _negated]


def _step(layer: Any, x: Tensor, d: Tensor) -> list[Tensor]:
    """Return what a step of training makes of images: outputs, their gradient, weights."""
    layer = copy.deepcopy(layer)
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    torch.manual_seed(1)  # torch tiles
    leaf = x.detach().requires_grad_()
    y = layer(leaf)
    y.backward(d)
    assert leaf.grad is not None
    optimizer.step()
    return [y.detach(), leaf.grad, *(value.detach() for value in layer.state_dict().values())]


def _same(found: list[Tensor], expected: list[Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        # torch adds up along the memory, for a bias 250 numbers of order one at most, for a range
        # all 1000 elements of the images; all else has the same bits.
        torch.testing.assert_close(one, other, rtol=1000 * 2.0**-24, atol=250 * 2.0**-24)


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(kind: str, layout: Callable[..., Tensor]) -> None:
    for rank in (1, 2, 3):
        for make in (PLAIN[rank], MAPPED[rank]):
            layer = make(4, 6, 3, padding=1, rpu_config=CONFIGS[kind]())
            sizes = [5] * rank
            x, d = layout(2, 4, *sizes), layout(2, 6, *sizes)
            assert not x.is_contiguous() and not d.is_contiguous()
            plain = [value.clone(memory_format=torch.contiguous_format) for value in (x, d)]
            _same(_step(layer, x, d), _step(layer, *plain))


@pytest.mark.parametrize("kind", CONFIGS)
def test_groups(kind: str) -> None:
    layer = PLAIN[2](4, 6, 3, groups=2, rpu_config=CONFIGS[kind]())
    x, d = _channels_last(2, 4, 5, 5), _channels_last(2, 6, 3, 3)
    _same(_step(layer, x, d), _step(layer, x.contiguous(), d.contiguous()))


def test_a_single_negated_element() -> None:
    """Its view is contiguous, so that no copy would resolve it."""
    layer = PLAIN[2](1, 1, 1, rpu_config=InferenceRPUConfig())
    x, d = _negated(1, 1, 1, 1), _negated(1, 1, 1, 1)
    assert x.is_contiguous() and x.is_neg()
    _same(_step(layer, x, d), _step(layer, x.clone(), d.clone()))
