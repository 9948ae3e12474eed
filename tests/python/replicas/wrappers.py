"""The wrapper of torch, and optimizers."""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel as DDP

from mho.optim import AnalogAdam, AnalogOptimizer, AnalogSGD
from replicas.support import (
    CASES,
    batches,
    digest,
    mixed,
    rank,
    share,
    state_of,
    step,
)

WRAPPERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "find_unused_parameters": {"find_unused_parameters": True},
    "static_graph": {"static_graph": True},
    "gradient_as_bucket_view": {"gradient_as_bucket_view": True},
    "no buffers": {"broadcast_buffers": False},
}
OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "AnalogAdam": lambda p: AnalogAdam(p, lr=0.05),
    "RMSprop": lambda p: AnalogOptimizer(torch.optim.RMSprop, p, lr=0.05),
    "regrouped": lambda p: regrouped(AnalogSGD(p, lr=0.05)),
}


def regrouped(optimizer: AnalogSGD) -> AnalogSGD:
    """Return the optimizer with a group for each tile."""
    optimizer.regroup_param_groups()
    return optimizer


def wrapped(
    options: dict[str, Any], optimizer: Callable[[Any], Any] = lambda p: AnalogSGD(p, lr=0.5)
) -> dict[str, Any]:
    """Train a model with all kinds of layers in the wrapper of torch."""
    torch.manual_seed(100 + rank)  # the wrapper copies what rank 0 has
    model = mixed()
    ddp = DDP(model, **options)
    trained = optimizer(ddp.parameters())
    start = digest(model)
    for x in batches(3, 8, 5):
        step(ddp, trained, share(x))
    return {"digest": state_of(model), "moved": start != digest(model)}


for _name, _options in WRAPPERS.items():
    CASES[f"wrapper: {_name}"] = lambda _options=_options: wrapped(
        _options, lambda p: AnalogSGD(p, lr=0.5)
    )
for _name, _optimizer in OPTIMIZERS.items():
    CASES[f"optimizer: {_name}"] = lambda _optimizer=_optimizer: wrapped({}, _optimizer)
