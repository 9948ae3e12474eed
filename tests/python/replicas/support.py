"""What all trainings have in common: this process, models, data, and the list of cases."""

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mho.nn import (
    AnalogLinear,
    prepare_for_ddp,
)
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    ChoppedTransferCompound,
    InferenceRPUConfig,
    IOParameters,
    MappingParameter,
    SingleRPUConfig,
    SoftBoundsDevice,
    UnitCellRPUConfig,
)
from mho.simulator.tiles.transfer import TorchTransferTile

RANKS = 2
CASES: dict[str, Callable[[], Any]] = {}

rank = int(sys.argv[1])
folder = Path(sys.argv[2])


def case(function: Callable[[], Any]) -> Callable[[], Any]:
    """Add a case under the name of the function."""
    CASES[function.__name__] = function
    return function


def perfect(config: Any) -> Any:
    """Return the configuration with exact products."""
    for name in ("forward", "backward"):
        if hasattr(config, name):
            setattr(config, name, IOParameters(is_perfect=True))
    return config


def analog_bias(config: Any) -> Any:
    """Return the configuration with a bias in the array."""
    config.mapping.digital_bias = False
    return config


def split(config: Any, size: int) -> Any:
    """Return the configuration with small tiles."""
    config.mapping = MappingParameter(
        digital_bias=config.mapping.digital_bias, max_input_size=size, max_output_size=size
    )
    return config


def pulsed(**device: Any) -> Any:
    """Return the configuration of pulsed tiles with exact products."""
    return perfect(SingleRPUConfig(device=SoftBoundsDevice(dw_min=0.01, **device)))


def digest(model: nn.Module) -> str:
    """Return a number that tells the states of models apart, to the last bit."""
    found = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        found.update(name.removeprefix("module.").encode())
        found.update(value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def batches(steps: int, *shape: int) -> Tensor:
    """Return the batches of a training, the same on all ranks."""
    return torch.randn(steps, *shape, generator=torch.Generator().manual_seed(7))


def share(batch: Tensor) -> Tensor:
    """Return the part of this rank of a batch."""
    return batch.chunk(RANKS)[rank]


def step(model: nn.Module, optimizer: Any, x: Tensor) -> None:
    """Train on a batch."""
    optimizer.zero_grad()
    output = model(x)
    output = output[0] if isinstance(output, tuple) else output
    (output - 0.5).square().mean().backward()
    optimizer.step()


def sgd(model: nn.Module, lr: float = 0.5) -> AnalogSGD:
    """Return the optimizer of most cases."""
    return AnalogSGD(model.parameters(), lr=lr)


def built(build: Callable[[], nn.Module]) -> nn.Module:
    """Return a fresh model, the same whenever it is asked for."""
    torch.manual_seed(5)
    return build()


def as_one(build: Callable[[], nn.Module], x: Tensor) -> dict[str, Any]:
    """Train a model of pulsed tiles together, and the same model in one process."""
    together, alone = prepare_for_ddp(built(build)), built(build)
    optimizers = sgd(together), sgd(alone)
    before = digest(alone)
    for batch in x:
        step(together, optimizers[0], share(batch))
        step(alone, optimizers[1], batch)
    found = {"digest": digest(together), "as_one": digest(together) == digest(alone)}
    return found | {"moved": before != digest(alone)}


def error_of(call: Callable[[], Any]) -> list[str]:
    """Return class and message of the error of a call, empty without one."""
    try:
        call()
    except Exception as error:  # it is what is looked at
        return [type(error).__name__, str(error)]
    return []


def two_layers(config: Callable[[], Any]) -> Callable[[], nn.Module]:
    """Return how to build two layers of a configuration."""

    def build() -> nn.Module:
        own = perfect(config())
        first = AnalogLinear(5, 4, bias=False, rpu_config=own)
        return nn.Sequential(first, nn.Tanh(), AnalogLinear(4, 3, bias=False, rpu_config=own))

    return build


def mixed(config: Any = None) -> nn.Module:
    """Return pulsed, inference and digital layers."""
    own = pulsed() if config is None else config
    return nn.Sequential(
        AnalogLinear(5, 6, rpu_config=own),
        nn.Tanh(),
        nn.Linear(6, 6),
        AnalogLinear(6, 3, rpu_config=InferenceRPUConfig()),
    )


def state_of(model: nn.Module) -> str:
    """Return a number that tells weights apart; inference tiles count their own calls."""
    state = {n: v for n, v in model.state_dict().items() if "calls" not in n}
    holder = nn.Module()
    for i, value in enumerate(state.values()):
        holder.register_buffer(f"v{i}", value)
    return digest(holder)


def in_python() -> Any:
    """Return a transfer whose algorithm is written in Python, with noisy reads."""
    cell = ChoppedTransferCompound(
        [SoftBoundsDevice(), SoftBoundsDevice()], in_chop_prob=0.4, transfer_every=8.0
    )
    return UnitCellRPUConfig(device=cell, tile_class=TorchTransferTile)
