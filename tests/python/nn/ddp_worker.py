"""Trains models on inference tiles as one of two ranks; prints what the test compares.

Usage: python ddp_worker.py RANK FILE, where FILE is the meeting point of the ranks.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import distributed, nn

from mho.nn import AnalogLinear, AnalogSequential, convert_to_analog, prepare_for_ddp
from mho.optim import AnalogAdam, AnalogOptimizer, AnalogSGD
from mho.simulator.configs import InferenceRPUConfig

RANKS = 2

OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.5),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.01),
    "AnalogSGD": lambda p: AnalogSGD(p, lr=0.1),
    "AnalogAdam": lambda p: AnalogAdam(p, lr=0.01),
    "AnalogOptimizer": lambda p: AnalogOptimizer(torch.optim.RMSprop, p, lr=0.01),
}


class Net(nn.Module):
    """Any module as root."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.LayerNorm(8))
        self.head = nn.Linear(8, 3, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))


def config(split: int = 512) -> InferenceRPUConfig:
    """Return a configuration whose tiles have at most a number of inputs."""
    made = InferenceRPUConfig()
    made.mapping.max_input_size = split
    return made


def layers() -> list[nn.Module]:
    """Return analog and digital layers, one of them an array of tiles."""
    return [
        AnalogLinear(6, 8, rpu_config=config(4)),
        nn.Tanh(),
        nn.Linear(8, 8),
        AnalogLinear(8, 3, rpu_config=config()),
    ]


def one_by_one() -> nn.Module:
    """Return a plain root whose layers were prepared by themselves before."""
    root = nn.Sequential(*layers())
    for layer in root:
        if isinstance(layer, AnalogLinear):
            layer.prepare_for_ddp()
    return prepare_for_ddp(root)


ROOTS: dict[str, Callable[[], nn.Module]] = {
    "layer": lambda: AnalogLinear(6, 3, rpu_config=config()),
    "AnalogSequential": lambda: AnalogSequential(*layers()),
    "converted": lambda: convert_to_analog(Net(), config()),
    "Sequential": lambda: prepare_for_ddp(nn.Sequential(*layers())),
    "one by one": one_by_one,
    "inner": lambda: prepare_for_ddp(nn.Sequential(convert_to_analog(Net(), config()))),
}


def train(root: str, optimizer: str, rank: int) -> dict[str, Any]:
    """Train for some steps on another share of the data on every rank."""
    torch.manual_seed(5)
    model = ROOTS[root]()
    wrapped = nn.parallel.DistributedDataParallel(model)
    x = torch.randn(RANKS, 4, 6, generator=torch.Generator().manual_seed(1))
    start = state(model)
    steps = OPTIMIZERS[optimizer](wrapped.parameters())
    with torch.no_grad():
        noise = wrapped(x[0]).tolist()  # of the same inputs on both ranks
    for _ in range(3):
        steps.zero_grad()
        wrapped(x[rank]).square().mean().backward()
        steps.step()
    return {"start": start, "end": state(model), "noise": noise}


def state(model: nn.Module) -> list[Any]:
    """Return all logical weights and digital parameters."""
    found = [m.get_weights()[0].tolist() for m in model.modules() if isinstance(m, AnalogLinear)]
    named = [p.tolist() for n, p in model.named_parameters() if "analog_module" not in n]
    biases = [p.tolist() for n, p in model.named_parameters() if n.endswith("analog_module.bias")]
    return [*found, *named, *biases]


def main(rank: int, store: str) -> dict[str, Any]:
    """Return the results of all roots and optimizers."""
    distributed.init_process_group("gloo", f"file://{store}", rank=rank, world_size=RANKS)
    cases = [(root, "SGD") for root in ROOTS] + [("AnalogSequential", name) for name in OPTIMIZERS]
    results = {f"{root}, {optimizer}": train(root, optimizer, rank) for root, optimizer in cases}
    distributed.destroy_process_group()
    return results


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(main(int(sys.argv[1]), sys.argv[2])))
