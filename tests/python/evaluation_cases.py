"""Models, data and metrics of the tests of evaluation; workers import them from here."""

import os
import signal
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mho.inference import GlobalDriftCompensation, PCMLikeNoiseModel
from mho.nn import convert_to_analog
from mho.simulator.configs import InferenceRPUConfig

Batches = list[tuple[Tensor, Tensor]]


def inference_config(perfect: bool = False, **forward: Any) -> InferenceRPUConfig:
    """A configuration whose raw weights fill the range of the conductances."""
    config = InferenceRPUConfig(
        noise_model=PCMLikeNoiseModel(g_max=25.0), drift_compensation=GlobalDriftCompensation()
    )
    config.mapping.weight_scaling_omega = 1.0
    config.forward.is_perfect = perfect
    for name, value in forward.items():
        setattr(config.forward, name, value)
    return config


def two_layers(config: InferenceRPUConfig | None = None) -> nn.Module:
    """A network whose first layer is an array of 2x2 tiles."""
    torch.manual_seed(3)
    if config is None:
        config = inference_config()
        config.mapping.max_input_size = config.mapping.max_output_size = 8
    network = nn.Sequential(nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 4))
    return convert_to_analog(network, config)


def batches(number: int = 2, size: int = 6) -> Batches:
    """Batches for `two_layers`."""
    generator = torch.Generator().manual_seed(5)
    return [
        (
            torch.randn(size, 12, generator=generator),
            torch.randint(0, 4, (size,), generator=generator),
        )
        for _ in range(number)
    ]


def one_layer(weight: Tensor, config: InferenceRPUConfig) -> nn.Module:
    """A layer with given weights and no bias."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    with torch.no_grad():
        linear.weight.copy_(weight)
    return convert_to_analog(nn.Sequential(linear), config)


def mean_output(model: nn.Module, data: Any) -> float:
    """Mean over everything that comes out, and what is drawn from torch beside it."""
    total = sum(float(model(x).double().mean()) for x, _ in data)
    return total + float(torch.rand(()))


def outputs(model: nn.Module, data: Any) -> float:
    """Mean over everything that comes out."""
    return sum(float(model(x).double().mean()) for x, _ in data)


class FailsOn:
    """A metric that fails, or ends its process, once the mean output is in some range."""

    def __init__(self, path: Path, how: str) -> None:
        self.path, self.how = path, how

    def __call__(self, model: nn.Module, data: Any) -> float:
        value = outputs(model, data)
        count = len(self.path.read_text()) if self.path.exists() else 0
        with self.path.open("a") as file:
            file.write(".")
        if count == 2 and self.how == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "always die":
            os.kill(os.getpid(), signal.SIGKILL)
        if count == 2 and self.how == "raise":
            raise FloatingPointError("as the test wants it")
        return value
