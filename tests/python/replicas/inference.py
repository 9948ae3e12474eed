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
    AnalogSequential,
    convert_to_analog,
    prepare_for_ddp,
)
from mho.optim import AnalogAdam, AnalogOptimizer, AnalogSGD
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
    state_of,
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


# --- roots and optimizers ---------------------------------------------------------------------


class Net(nn.Module):
    """Any module as root."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.LayerNorm(8))
        self.head = nn.Linear(8, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        return self.head(self.body(x))


def layers() -> list[nn.Module]:
    """Return analog and digital layers, one of them an array of tiles."""
    return [
        AnalogLinear(6, 8, rpu_config=split(InferenceRPUConfig(), 4)),
        nn.Tanh(),
        nn.Linear(8, 8),
        AnalogLinear(8, 3, rpu_config=InferenceRPUConfig()),
    ]


def one_by_one() -> nn.Module:
    """Return a plain root whose layers were prepared by themselves before."""
    root = nn.Sequential(*layers())
    for layer in root:
        if isinstance(layer, AnalogLinear):
            layer.prepare_for_ddp()
    return prepare_for_ddp(root)


ROOTS: dict[str, Callable[[], nn.Module]] = {
    "layer": lambda: AnalogLinear(6, 3, rpu_config=InferenceRPUConfig()),
    "AnalogSequential": lambda: AnalogSequential(*layers()),
    "converted": lambda: convert_to_analog(Net(), InferenceRPUConfig()),
    "Sequential": lambda: nn.Sequential(*layers()),
    "one by one": one_by_one,
    "inner": lambda: nn.Sequential(convert_to_analog(Net(), InferenceRPUConfig())),
}
OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.5),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.01),
    "AnalogSGD": lambda p: AnalogSGD(p, lr=0.1),
    "AnalogAdam": lambda p: AnalogAdam(p, lr=0.01),
    "AnalogOptimizer": lambda p: AnalogOptimizer(torch.optim.RMSprop, p, lr=0.01),
}


def train(root: str, optimizer: str) -> dict[str, Any]:
    """Train for some steps; every parameter moves."""
    ddp = DDP(built(ROOTS[root]))
    x = batches(3, 8, 6)
    start = [p.detach().clone() for p in ddp.parameters() if p.requires_grad]
    by = OPTIMIZERS[optimizer](ddp.parameters())
    with torch.no_grad():
        noise = ddp(x[0]).tolist()  # of the same inputs on both ranks
    for batch in x:
        step(ddp, by, share(batch))
    end = [p.detach() for p in ddp.parameters() if p.requires_grad]
    moved = not any(map(torch.equal, start, end))
    return {"digest": state_of(ddp), "moved": moved, "differs": noise}


for _root, _optimizer in [
    *((root, "SGD") for root in ROOTS),
    *(("AnalogSequential", name) for name in OPTIMIZERS if name != "SGD"),
]:
    CASES[f"root: {_root}, {_optimizer}"] = lambda _root=_root, _by=_optimizer: train(_root, _by)
