"""Tiles whose weights follow averaged gradients."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel as DDP

from mho.nn import (
    AnalogConv2d,
    AnalogLinear,
    AnalogLSTMCell,
    AnalogRNN,
)
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    IdealDevice,
    InferenceRPUConfig,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
    WeightModifierParameter,
    WeightModifierType,
)
from mho.simulator.parameters.pre_post import InputRangeParameter, PrePostProcessingParameter
from replicas.support import (
    CASES,
    batches,
    built,
    case,
    digest,
    rank,
    share,
    split,
    step,
)


def inference(build: Callable[[], nn.Module], *shape: int) -> dict[str, Any]:
    """Train inference tiles twice; return weights, noise, and whether both runs are equal."""
    runs = []
    for _ in range(2):
        torch.manual_seed(5)
        ddp = DDP(build())
        by = torch.optim.SGD(ddp.parameters(), lr=0.05)
        for x in batches(3, *shape):
            step(ddp, by, share(x))
        with torch.no_grad():
            output = ddp(torch.ones(shape))
        noise = (output[0] if isinstance(output, tuple) else output).tolist()
        runs.append((digest(ddp.module), noise))
    modules = [m for m in ddp.modules() if hasattr(m, "modified_weights")]
    for module in modules:
        module.modified_weights = None
    return {"digest": digest(ddp.module), "differs": runs[0][1], "as_one": runs[0] == runs[1]}


def own() -> InferenceRPUConfig:
    """Return a configuration with noise on inputs, outputs and weights."""
    config = InferenceRPUConfig()
    config.modifier = WeightModifierParameter(type=WeightModifierType.MULT_NORMAL, std_dev=0.1)
    return config


def attention() -> nn.Module:
    """Return attention of analog projections."""

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project = AnalogLinear(4, 12, rpu_config=own())
            self.out = AnalogLinear(4, 4, rpu_config=own())

        def forward(self, x: Tensor) -> Tensor:
            q, k, v = self.project(x).chunk(3, -1)
            return self.out(nn.functional.scaled_dot_product_attention(q, k, v))

    return Attention()


INFERENCE: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "Conv2d": (lambda: AnalogConv2d(2, 3, 3, rpu_config=own()), (4, 2, 5, 5)),
    "array": (lambda: AnalogLinear(7, 5, rpu_config=split(own(), 3)), (4, 7)),
    "LSTM": (
        lambda: AnalogRNN(AnalogLSTMCell, 3, 4, rpu_config=own(), batch_first=True), (4, 5, 3)),
    "attention": (attention, (4, 6, 4)),
}  # fmt: skip
for _name, (_build, _shape) in INFERENCE.items():
    CASES[f"inference: {_name}"] = lambda _build=_build, _shape=_shape: inference(_build, *_shape)


@case
def input_ranges_from_data() -> Any:
    """Ranges that follow the data become those of all ranks, also with optimizers of torch."""
    found = []
    for config in (InferenceRPUConfig(), SingleRPUConfig(), TorchInferenceRPUConfig()):
        config.pre_post = PrePostProcessingParameter(
            input_range=InputRangeParameter(enable=True, init_from_data=3, init_value=1.0)
        )
        layer = nn.Sequential(AnalogLinear(5, 4, rpu_config=config), nn.Linear(4, 2))
        ddp = DDP(layer)
        pulsed_one = isinstance(config, SingleRPUConfig)
        by = (AnalogSGD if pulsed_one else torch.optim.SGD)(ddp.parameters(), lr=0.01)
        tile = layer[0].analog_module
        for i, x in enumerate(batches(5, 8, 5)):
            step(ddp, by, (1 + i) * (1 + rank) * share(x))
            found.append([float(tile.input_range), float(tile.input_range_update_idx)])
    return {"digest": found, "moved": found[0] != found[1] != found[2]}


@case
def diffusing_inference_tiles() -> Any:
    """Diffusion moves the weights of all ranks alike, also after evaluation on one of them."""
    config = InferenceRPUConfig()
    config.device = IdealDevice(diffusion=0.01)
    ddp = DDP(built(lambda: nn.Sequential(AnalogLinear(5, 4, rpu_config=config))))
    by = torch.optim.SGD(ddp.parameters(), lr=0.1)
    for x in batches(2, 8, 5):
        step(ddp, by, share(x))
        if rank == 0:
            with torch.no_grad():
                ddp.module(x)
    return {"digest": ddp.module[0].get_weights()[0].tolist()}
