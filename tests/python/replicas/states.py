"""States, saved and loaded."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel as DDP

import mho
from mho.nn import (
    AnalogLinear,
    prepare_for_ddp,
)
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    InferenceRPUConfig,
    SingleRPUConfig,
    SoftBoundsDevice,
    TorchInferenceRPUConfig,
    WeightModifierParameter,
    WeightModifierType,
)
from replicas.support import (
    batches,
    built,
    case,
    digest,
    folder,
    in_python,
    mixed,
    rank,
    sgd,
    share,
    step,
)


@case
def distributed_checkpoints() -> Any:
    import torch.distributed.checkpoint as checkpoint
    from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

    ddp = DDP(built(mixed))
    optimizer = sgd(ddp)
    data = batches(6, 8, 5)
    for x in data[:2]:
        step(ddp, optimizer, share(x))
    optimizer.zero_grad()
    model, of_optimizer = get_state_dict(ddp.module, optimizer)
    checkpoint.save({"model": model, "optimizer": of_optimizer}, checkpoint_id=folder / "shards")
    runs = []
    for _ in range(2):
        for x in data[2:]:
            step(ddp, optimizer, share(x))
        runs.append(digest(ddp.module))
        optimizer.zero_grad()
        model, of_optimizer = get_state_dict(ddp.module, optimizer)
        state = {"model": model, "optimizer": of_optimizer}
        checkpoint.load(state, checkpoint_id=folder / "shards")
        set_state_dict(
            ddp.module,
            optimizer,
            model_state_dict=state["model"],
            optim_state_dict=state["optimizer"],
        )
    return {"digest": runs[0], "as_one": runs[0] == runs[1]}


@case
def states_of_rank_0() -> Any:
    """The wrapper copies weights, devices, configuration and position of the noise."""
    torch.manual_seed(50 + rank)
    config = SingleRPUConfig(device=SoftBoundsDevice(dw_min=0.01 * (1 + rank)))
    model = nn.Sequential(mixed(config), AnalogLinear(3, 3, rpu_config=TorchInferenceRPUConfig()))
    DDP(model)
    return {"digest": digest(model)}


def resumed(build: Callable[[], nn.Module], optimizer: Callable[[Any], Any]) -> dict[str, Any]:
    """Train on, and from what rank 0 has saved; the ranks have built other models."""
    torch.manual_seed(rank)
    model = build()
    ddp = DDP(model)
    trained = optimizer(ddp.parameters())
    data = batches(4, 8, 5)
    for x in data[:2]:
        step(ddp, trained, share(x))
    file = folder / "checkpoint.pt"
    if rank == 0:
        torch.save((ddp.state_dict(), trained.state_dict()), file)
    distributed.barrier()
    states = torch.load(file, weights_only=True)
    distributed.barrier()
    for x in data[2:]:
        step(ddp, trained, share(x))
    found = [digest(model)]
    for loads_first in (False, True):
        torch.manual_seed(10 + rank)
        model = build()
        if loads_first:
            model.load_state_dict({n.removeprefix("module."): v for n, v in states[0].items()})
        ddp = DDP(model)
        trained = optimizer(ddp.parameters())
        if not loads_first:
            ddp.load_state_dict(states[0])
        trained.load_state_dict(copy.deepcopy(states[1]))  # optimizers go on with the very tensors
        for x in data[2:]:
            step(ddp, trained, share(x))
        found.append(digest(model))
    with torch.no_grad():
        noise = model(torch.ones(2, 5)).tolist()
    return {"digest": found[0], "as_one": len(set(found)) == 1, "differs": noise}


@case
def resumed_pulsed_tiles() -> Any:
    return resumed(lambda: mixed(SingleRPUConfig()), lambda p: AnalogSGD(p, lr=0.5))


@case
def resumed_inference_tiles() -> Any:
    def build() -> nn.Module:
        own = InferenceRPUConfig()
        return nn.Sequential(AnalogLinear(5, 4, rpu_config=own), AnalogLinear(4, 3, rpu_config=own))

    return resumed(build, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9))


@case
def states_of_each_rank() -> Any:
    """With modified weights, each rank goes on from a state of its own."""
    torch.manual_seed(rank)
    model = modified()
    ddp = DDP(model)
    by = torch.optim.SGD(ddp.parameters(), lr=0.1)
    data = batches(4, 8, 5)
    for x in data[:2]:
        step(ddp, by, share(x))
    saved = copy.deepcopy(ddp.state_dict())
    for x in data[2:]:
        step(ddp, by, share(x))
    other = modified()
    again = DDP(other)
    again.load_state_dict(saved)
    by = torch.optim.SGD(again.parameters(), lr=0.1)
    for x in data[2:]:
        step(again, by, share(x))
    noise = model[0].analog_module.get_modified_weights()[0].tolist()
    weights = model[0].get_weights()[0].tolist()
    return {"as_one": digest(model) == digest(other), "differs": noise, "digest": weights}


def modified() -> nn.Module:
    """Return inference tiles whose weights are modified in training."""
    config = InferenceRPUConfig()
    config.modifier = WeightModifierParameter(type=WeightModifierType.ADD_NORMAL, std_dev=0.1)
    return nn.Sequential(AnalogLinear(5, 4, rpu_config=config))


@case
def seeds_in_states() -> Any:
    """Every rank saves the streams of rank 0; copies and other models know nothing of ranks."""
    model = nn.Sequential(mixed(), AnalogLinear(3, 3, rpu_config=in_python(), bias=False))
    DDP(model)
    copied = pickle.loads(pickle.dumps(copy.deepcopy(model)))
    again = copy.deepcopy(copied)
    again.load_state_dict(copied.state_dict())
    fresh = nn.Sequential(mixed(), AnalogLinear(3, 3, rpu_config=in_python(), bias=False))
    fresh.load_state_dict(copied.state_dict())
    x = torch.ones(2, 5)
    with torch.no_grad():
        noise, noise_of_copy, noise_of_fresh = model[0](x), again[0](x), fresh[0](x)
    DDP(copied)  # which has the streams of this rank already
    return {
        "digest": [digest(one) for one in (again, fresh)],
        "as_one": torch.equal(noise, noise_of_copy)
        and torch.equal(noise, noise_of_fresh) == (rank == 0),
        "differs": noise.tolist(),
    }


@case
def comparisons_with_the_same_noise() -> Any:
    layer = prepare_for_ddp(built(lambda: AnalogLinear(5, 4, rpu_config=SingleRPUConfig())))
    with torch.no_grad(), mho.same_noise(layer, 3):
        y = layer(torch.ones(2, 5)).tolist()
    return {"digest": y}
