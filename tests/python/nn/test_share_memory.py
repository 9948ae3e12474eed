"""`share_memory()`: several processes train one analog model."""

import multiprocessing
import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mho.exceptions import TileModuleError
from mho.nn import AnalogLinear, AnalogSequential
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    ConstantStepDevice,
    FloatingPointRPUConfig,
    InferenceRPUConfig,
    SingleRPUConfig,
    SoftBoundsDevice,
    TorchInferenceRPUConfig,
    WeightRemapType,
)


def pulsed() -> SingleRPUConfig:
    return SingleRPUConfig(device=ConstantStepDevice(count_pulses=True))


def drifting() -> SingleRPUConfig:
    device = SoftBoundsDevice()
    device.drift.nu = 0.1
    return SingleRPUConfig(device=device)


def remapped() -> InferenceRPUConfig:
    config = InferenceRPUConfig()
    config.remap.type = WeightRemapType.CHANNELWISE_SYMMETRIC
    config.pre_post.input_range.enable = True
    return config


def split() -> InferenceRPUConfig:
    config = InferenceRPUConfig()
    config.mapping.max_input_size = 3
    return config


CONFIGS: dict[str, Callable[[], Any]] = {
    "pulsed": pulsed,
    "drifting": drifting,
    "inference": InferenceRPUConfig,
    "remapped": remapped,
    "torch": TorchInferenceRPUConfig,
    "floating": FloatingPointRPUConfig,
    "array": split,
}


def model_of(kind: str) -> AnalogSequential:
    torch.manual_seed(0)
    first = AnalogLinear(6, 4, rpu_config=CONFIGS[kind]())
    second = AnalogLinear(4, 3, rpu_config=CONFIGS[kind]())
    return AnalogSequential(first, nn.Tanh(), second)


def train(model: nn.Module, steps: int = 3) -> None:
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        (model(torch.full((5, 6), 0.5)) - 1.0).square().mean().backward()
        optimizer.step()


def weights(model: AnalogSequential) -> list[Tensor]:
    return [value for layer in model.analog_layers() for value in layer.get_weights()]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def child(model: AnalogSequential, queue: Any, seen: list[Tensor]) -> None:
    # By values: sent tensors would be shared memory of a process that has ended.
    is_same = same(weights(model), seen)
    train(model)
    queue.put((is_same, [value.tolist() for value in weights(model)]))


@pytest.mark.parametrize("kind", CONFIGS)
def test_everything_is_shared(kind: str) -> None:
    model = model_of(kind)
    for layer in model.analog_layers():
        if kind == "drifting":
            layer.eval()
            layer.drift_analog_weights(10.0)
            layer.train()
    before = weights(model)
    parameters = dict(model.named_parameters())
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    assert model.share_memory() is model
    entries = {k: v for k, v in model.state_dict().items() if not k.endswith("config")}
    assert len(entries) > 2
    assert [name for name, value in entries.items() if not value.is_shared()] == []
    for name, parameter in model.named_parameters():
        assert parameter is parameters[name] and parameter.is_shared(), name
    assert same(weights(model), before)
    # The context, by which the optimizer from before finds the tile, follows.
    model(torch.full((5, 6), 0.5)).sum().backward()
    optimizer.step()
    assert not same(weights(model), before)
    entries = {k: v for k, v in model.state_dict().items() if not k.endswith("config")}
    assert [name for name, value in entries.items() if not value.is_shared()] == []


@pytest.mark.skipif(os.name != "posix", reason="fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("kind", CONFIGS)
def test_two_processes_train_one_model(kind: str) -> None:
    before_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # torch's threads do not survive the fork
    try:
        model = model_of(kind)
        model.share_memory()
        train(model, 1)
        seen = weights(model)
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        process = context.Process(target=child, args=(model, queue, seen))
        process.start()
        is_same, result = queue.get(timeout=60)
        process.join(60)
        assert process.exitcode == 0 and is_same
        mine = weights(model)
        assert [value.tolist() for value in mine] == result
        assert not same(mine, seen)
        train(model, 1)
        assert not same(weights(model), mine)
        if kind == "torch":  # draws from the generators of the processes
            return
        # The child went on where the parent was in the random stream, and the other way round.
        alone = model_of(kind)
        for steps in (1, 3, 1):
            train(alone, steps)
        assert same(weights(alone), weights(model))
        if kind == "pulsed":
            for one, other in zip(model.analog_tiles(), alone.analog_tiles(), strict=True):
                assert torch.equal(one.get_pulse_counters(), other.get_pulse_counters())
    finally:
        torch.set_num_threads(before_threads)


def test_types_stay() -> None:
    """Tiles of the core stay float32 inside; sharing is no cast."""
    layer = AnalogLinear(6, 4, rpu_config=InferenceRPUConfig()).bfloat16()
    layer.share_memory()
    assert layer(torch.ones(2, 6, dtype=torch.bfloat16)).dtype is torch.bfloat16
    assert layer.state_dict()["analog_module.analog_tile_weights"].dtype is torch.float32


def test_graphics_processors_share_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = AnalogLinear(6, 4, rpu_config=SingleRPUConfig())
    monkeypatch.setattr(layer.analog_module.tile, "backend", "wgpu")
    with pytest.raises(TileModuleError, match=r"to_backend\('cpu'\)"):
        layer.share_memory()
    assert not layer.state_dict()["analog_module.analog_tile_weights"].is_shared()
