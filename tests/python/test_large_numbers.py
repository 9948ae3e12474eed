"""Configurations with the largest numbers that are accepted keep outputs and weights finite."""

import copy
import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from mho.exceptions import ConfigError
from mho.nn import AnalogLinear
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    ConstantStepDevice,
    ExpStepDevice,
    FloatingPointRPUConfig,
    IdealDevice,
    InferenceRPUConfig,
    LinearStepDevice,
    PiecewiseStepDevice,
    PowStepDevice,
    PowStepReferenceDevice,
    SingleRPUConfig,
    SoftBoundsDevice,
    SoftBoundsReferenceDevice,
    TorchInferenceRPUConfig,
)
from mho.simulator.parameters.io import BOUNDS, LARGEST

DEVICES = [
    ConstantStepDevice, ExpStepDevice, IdealDevice, LinearStepDevice, PiecewiseStepDevice,
    PowStepDevice, PowStepReferenceDevice, SoftBoundsDevice, SoftBoundsReferenceDevice,
]  # fmt: skip
CONFIGS: dict[str, Any] = {
    **{device.__name__: lambda d=device: SingleRPUConfig(device=d()) for device in DEVICES},
    "inference": InferenceRPUConfig,
    "torch": TorchInferenceRPUConfig,
    "floating": FloatingPointRPUConfig,
}
X = torch.full((3, 4), 0.5)


def numbers(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the paths of all floating-point fields that reach a kernel."""
    for field in dataclasses.fields(value):
        child = getattr(value, field.name)
        if dataclasses.is_dataclass(child) and not isinstance(child, type):
            yield from numbers(child, (*path, field.name))
        elif isinstance(child, float):
            yield (*path, field.name)


def changed(config: Any, path: tuple[str, ...], number: float) -> Any:
    config = copy.deepcopy(config)
    holder = config
    for name in path[:-1]:
        holder = getattr(holder, name)
    setattr(holder, path[-1], number)
    return config


def kernel_numbers(kind: str) -> list[tuple[str, ...]]:
    groups = {"forward"} if kind == "torch" else {"forward", "backward", "update", "device"}
    return [path for path in numbers(CONFIGS[kind]()) if path[0] in groups]


@pytest.mark.parametrize("kind", CONFIGS)
def test_accepted_numbers_keep_everything_finite(kind: str) -> None:
    accepted = 0
    for path in kernel_numbers(kind):
        for number in (LARGEST, -LARGEST):
            config = changed(CONFIGS[kind](), path, number)
            try:
                layer = AnalogLinear(4, 3, rpu_config=config)
            except ConfigError:  # by another rule
                continue
            accepted += 1
            optimizer = AnalogSGD(layer.parameters(), lr=0.1)
            for _ in range(2):
                optimizer.zero_grad()
                output = layer(X)
                output.sum().backward()
                optimizer.step()
                assert torch.isfinite(output).all(), (path, number)
                assert torch.isfinite(layer.get_weights()[0]).all(), (path, number)
    assert accepted > 5


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("number", [1.001 * LARGEST, -1.001 * LARGEST, 3e38])
def test_larger_ones_are_refused_by_name(kind: str, number: float) -> None:
    for path in kernel_numbers(kind):
        if path[-1] in BOUNDS or (kind == "torch" and path[0] != "forward"):
            continue
        config = changed(CONFIGS[kind](), path, number)
        with pytest.raises(ConfigError, match=path[-1]):
            AnalogLinear(4, 3, rpu_config=config)


def test_two_of_them() -> None:
    config = SingleRPUConfig(device=SoftBoundsReferenceDevice(dw_min_std=LARGEST, dw_min=0.1))
    config.forward.inp_noise = config.forward.out_scale = LARGEST
    layer = AnalogLinear(4, 3, rpu_config=config)
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    output = layer(X)
    output.sum().backward()
    optimizer.step()
    assert torch.isfinite(output).all() and torch.isfinite(layer.get_weights()[0]).all()


@pytest.mark.parametrize("name", sorted(BOUNDS - {"inp_bound"}))
@pytest.mark.parametrize("number", [3e38, float("inf")])
@pytest.mark.parametrize("kind", ["ConstantStepDevice", "inference", "torch"])
def test_bounds_may_be_larger(kind: str, name: str, number: float) -> None:
    config = changed(CONFIGS[kind](), ("forward", name), number)
    assert torch.isfinite(AnalogLinear(4, 3, rpu_config=config)(X)).all()
