"""Replicas of analog layers beside shards of digital ones."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP

import mho
from replicas.support import (
    RANKS,
    batches,
    case,
    error_of,
    mixed,
    pulsed,
    rank,
    sgd,
    share,
    step,
    two_layers,
)


def partly_sharded(shard: Callable[[nn.Module], nn.Module]) -> dict[str, Any]:
    """Train a model whose digital layers are sharded; its analog layers are replicas."""
    torch.manual_seed(rank)
    model = mixed()
    model[0], model[3] = DDP(model[0]), DDP(model[3])
    with torch.no_grad():
        for value in model[2].parameters():  # nobody copies what is sharded
            value.fill_(0.1)
    sharded = shard(model)
    by = sgd(sharded, 0.2)
    before = [model[i].module.get_weights()[0] for i in (0, 3)]
    for x in batches(3, 8, 5):
        step(sharded, by, share(x))
    after = [model[i].module.get_weights()[0] for i in (0, 3)]
    moved = not any(map(torch.equal, before, after))
    with torch.no_grad(), mho.same_noise(model, 1):
        output = sharded(torch.ones(2, 5))
    return {"digest": [w.tolist() for w in (*after, output)], "moved": moved}


def analog_parameters(model: Any) -> set[nn.Parameter]:
    """Return the parameters that are not sharded."""
    return {*model[0].parameters(), *model[3].parameters()}


@case
def flat_shards() -> Any:
    def shard(model: Any) -> nn.Module:
        from torch.distributed.fsdp import FullyShardedDataParallel

        return FullyShardedDataParallel(
            model, device_id=torch.device("cpu"), ignored_states=analog_parameters(model)
        )

    return partly_sharded(shard)


def mesh() -> Any:
    """Return all ranks as a mesh."""
    from torch.distributed.device_mesh import init_device_mesh

    return init_device_mesh("cpu", (RANKS,))


@case
def flat_shards_of_pulsed_tiles() -> Any:
    from torch.distributed.fsdp import FullyShardedDataParallel

    def shard() -> nn.Module:
        return FullyShardedDataParallel(two_layers(pulsed)(), device_id=torch.device("cpu"))

    return {"error": error_of(shard)}


def shards_of_digital_layers() -> Any:
    def shard(model: Any) -> nn.Module:
        fully_shard(model[2], mesh=mesh())
        return model

    return partly_sharded(shard)


def shards_of_a_model() -> Any:
    def shard(model: Any) -> nn.Module:
        fully_shard(model, mesh=mesh(), ignored_params=analog_parameters(model))
        return model

    return partly_sharded(shard)


def shards_of_pulsed_tiles() -> Any:
    return {"error": error_of(lambda: fully_shard(mixed(), mesh=mesh()))}


try:
    from torch.distributed.fsdp import fully_shard
except ImportError:  # torch before 2.6
    pass
else:
    for _case in (shards_of_digital_layers, shards_of_pulsed_tiles):
        case(_case)
    if "ignored_params" in inspect.signature(fully_shard).parameters:
        case(shards_of_a_model)
