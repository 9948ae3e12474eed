"""Clipping, loss scales, and ranks that run out of data."""

from typing import Any

import torch
from torch.distributed.algorithms.join import Join
from torch.nn.parallel import DistributedDataParallel as DDP

from mho.nn import (
    prepare_for_ddp,
)
from replicas.support import (
    batches,
    built,
    case,
    digest,
    error_of,
    mixed,
    pulsed,
    rank,
    sgd,
    share,
    state_of,
    step,
    two_layers,
)


@case
def clipping() -> Any:
    together, alone = prepare_for_ddp(built(two_layers(pulsed))), built(two_layers(pulsed))
    x, norms = 10 * batches(1, 8, 5)[0], []
    for model, own in ((together, share(x)), (alone, x)):
        optimizer = sgd(model)
        (model(own) - 0.5).square().mean().backward()
        norms.append(float(optimizer.clip_analog_norm(0.05)))
        optimizer.step()
    return {
        "digest": digest(together),
        "as_one": digest(together) == digest(alone) and norms[0] == norms[1] > 0.05,
    }


@case
def loss_scales() -> Any:
    """Infinities on one rank let all of them skip the step, and keep one scale."""
    model = prepare_for_ddp(built(two_layers(pulsed)))
    optimizer, scaler = sgd(model), torch.amp.GradScaler("cpu", init_scale=1024.0)
    found, scales = [model[0].get_weights()[0].tolist()], []
    for i, x in enumerate(batches(3, 8, 5)):
        optimizer.zero_grad()
        loss = (model(share(x)) - 0.5).square().mean()
        if i == 1 and rank == 1:
            loss = loss * torch.tensor(float("inf"))
        scaler.scale(loss).backward()
        if i == 2:
            scaler.unscale_(optimizer)
            optimizer.unscale_analog(scaler)
            optimizer.clip_analog_norm(100.0)
        scaler.step(optimizer)
        scaler.update()
        found.append(model[0].get_weights()[0].tolist())
        scales.append(scaler.get_scale())
    moved = found[0] != found[1] == found[2] != found[3]
    return {"digest": found, "moved": moved, "scales": scales}


@case
def uneven_inputs() -> Any:
    """Ranks that have run out of data follow the steps of the others."""
    torch.manual_seed(rank)
    model = mixed()
    ddp = DDP(model)
    optimizer = sgd(ddp, 0.1)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    for _ in range(2):
        with Join([ddp, optimizer]):
            for x in batches(2 + 2 * rank, 8, 5):
                step(ddp, optimizer, x)
        scheduler.step()
    return {"digest": state_of(model)}


@case
def uneven_inputs_of_pulsed_tiles_alone() -> Any:
    model = prepare_for_ddp(built(two_layers(pulsed)))
    optimizer = sgd(model, 0.1)
    with Join([optimizer], divide_by_initial_world_size=False):
        for x in batches(1 + 2 * rank, 4, 5):
            step(model, optimizer, x)
    alone = built(two_layers(pulsed))
    by = sgd(alone, 0.1)
    data = batches(3, 4, 5)
    first = batches(1, 4, 5)[0]
    for x in (torch.cat([first, data[0]]), data[1], data[2]):
        step(alone, by, x)
    return {"digest": digest(model), "as_one": state_of(model) == state_of(alone)}


@case
def joining_the_model_only() -> Any:
    ddp = DDP(mixed())
    optimizer = sgd(ddp)

    def train() -> None:
        with ddp.join():
            for x in batches(1 + rank, 8, 5):
                step(ddp, optimizer, x)

    return {"error": error_of(train)}
