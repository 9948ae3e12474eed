"""Convolutions: one layer beside that of torch, and LeNet-5 on images of the size of MNIST."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from libraries import Library
from networks import config
from timing import Row, Work, measure

CHANNELS, KERNEL, BATCH = 64, 3, 32
SIZES = (16, 32)
LENET_BATCH = 8
EPOCH_STEPS = 40  # 320 images: an epoch of MNIST has 7500 of such steps


def layer_rows(libraries: list[Library], threads: int) -> Iterator[Row]:
    """Time one convolution for inference, and with its gradients, beside that of torch."""
    for size in SIZES:
        digital = nn.Conv2d(CHANNELS, CHANNELS, KERNEL, padding=1)
        x = torch.randn(BATCH, CHANNELS, size, size)
        layers: dict[str, nn.Module] = {"torch": digital}
        for library in libraries:
            own = config(library, "inference")
            layers[library.name] = library.nn.AnalogConv2d.from_digital(digital, own)
        shape = f"{CHANNELS}x{CHANNELS}x{KERNEL}x{KERNEL}, {size}x{size}, batch {BATCH}"
        for layer in layers.values():
            layer.eval()
        with torch.no_grad():
            seconds = measure({name: _forward(layer, x) for name, layer in layers.items()})
        yield Row(f"convolution, inference, {shape}", threads, seconds, "<= 1.5 torch")
        for layer in layers.values():
            layer.train()
        seconds = measure({name: _both(layer, x) for name, layer in layers.items()})
        yield Row(f"convolution, forward and backward, {shape}", threads, seconds)


def group_rows(libraries: list[Library], threads: int) -> Iterator[Row]:
    """Time a depthwise convolution, which aihwkit does not have."""
    digital = nn.Conv2d(512, 512, KERNEL, padding=1, groups=512)
    x = torch.randn(8, 512, 8, 8)
    layer = (
        libraries[0].nn.AnalogConv2d.from_digital(digital, config(libraries[0], "inference")).eval()
    )
    with torch.no_grad():
        seconds = measure({"torch": _forward(digital, x), "mho": _forward(layer, x)})
    yield Row("depthwise convolution, inference, 512x3x3, 8x8, batch 8", threads, seconds)


def lenet_rows(libraries: list[Library], threads: int) -> Iterator[Row]:
    """Time an epoch of LeNet-5 on few images, and its forward pass."""
    works: dict[str, Work] = {"torch": _epoch(_lenet(None), torch.optim.SGD)}
    for library in libraries:
        works[library.name] = _epoch(_lenet(library), library.optim.AnalogSGD)
    seconds = measure(works)
    name = f"epoch, LeNet-5, ConstantStep, batch {LENET_BATCH}, {EPOCH_STEPS} steps"
    yield Row(name, threads, seconds, ">= 6 aihwkit")


def _forward(layer: nn.Module, x: torch.Tensor) -> Work:
    return lambda: layer(x)


def _both(layer: nn.Module, x: torch.Tensor) -> Work:
    x = x.clone().requires_grad_()
    d = torch.randn_like(layer(x))

    def run() -> None:
        layer.zero_grad()
        x.grad = None
        layer(x).backward(d)

    return run


def _lenet(library: Library | None) -> nn.Sequential:
    settings: dict[str, Any] = {}
    conv, linear = nn.Conv2d, nn.Linear
    if library is not None:
        conv, linear = library.nn.AnalogConv2d, library.nn.AnalogLinear
        settings["rpu_config"] = config(library, "ConstantStep")
    return nn.Sequential(
        conv(1, 16, 5, **settings), nn.Tanh(), nn.MaxPool2d(2),
        conv(16, 32, 5, **settings), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(),
        linear(512, 128, **settings), nn.Tanh(), linear(128, 10, **settings),
    )  # fmt: skip


def _epoch(model: nn.Sequential, optimizer_class: Any) -> Work:
    optimizer = optimizer_class(model.parameters(), lr=0.01)
    x = torch.rand(EPOCH_STEPS, LENET_BATCH, 1, 28, 28)
    target = torch.randint(10, (EPOCH_STEPS, LENET_BATCH))

    def run() -> None:
        for images, labels in zip(x, target, strict=True):
            optimizer.zero_grad()
            cross_entropy(model(images), labels).backward()
            optimizer.step()

    return run
