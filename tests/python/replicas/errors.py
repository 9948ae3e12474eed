"""What all ranks refuse together."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP

from mho.nn import (
    AnalogLinear,
    prepare_for_ddp,
)
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    InferenceRPUConfig,
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


def refused(change: Callable[[nn.Module, AnalogSGD], Any]) -> dict[str, Any]:
    """Return the error of a step after rank 1 has done something, and go on."""
    model = prepare_for_ddp(built(two_layers(pulsed)))
    optimizer = sgd(model)
    optimizer.zero_grad()
    (model(share(batches(1, 8, 5)[0])) - 0.5).square().mean().backward()
    weights = [part.get_weights()[0] for part in (model[0], model[2])]
    undo = change(model, optimizer) if rank == 1 else None
    error = error_of(optimizer.step)
    if undo is not None:
        undo()
    after = [part.get_weights()[0] for part in (model[0], model[2])]
    unchanged = all(map(torch.equal, weights, after))
    step(model, optimizer, share(batches(1, 8, 5)[0]))
    return {"error": error, "unchanged": unchanged, "digest": digest(model)}


@case
def not_finite_on_one_rank() -> Any:
    def change(model: Any, optimizer: AnalogSGD) -> None:
        model[0](torch.full((1, 5), torch.nan)).sum().backward()

    return refused(change)


@case
def other_learning_rate() -> Any:
    def change(model: Any, optimizer: AnalogSGD) -> Callable[[], None]:
        optimizer.set_learning_rate(0.25)
        return lambda: optimizer.set_learning_rate(0.5)

    return refused(change)


@case
def impossible_learning_rate() -> Any:
    def change(model: Any, optimizer: AnalogSGD) -> Callable[[], None]:
        optimizer.param_groups[0]["lr"] = -1.0
        return lambda: optimizer.set_learning_rate(0.5)

    return refused(change)


@case
def other_weights() -> Any:
    def change(model: Any, optimizer: AnalogSGD) -> Callable[[], None]:
        weights = model[2].get_weights()[0]
        model[2].set_weights(weights + 0.01)
        return lambda: model[2].set_weights(weights)

    return refused(change)


@case
def frozen_on_one_rank() -> Any:
    def change(model: Any, optimizer: AnalogSGD) -> Callable[[], None]:
        model[0].requires_grad_(False)
        return lambda: model[0].requires_grad_(True)

    return refused(change)


@case
def digital_parameters_that_nobody_averages() -> Any:
    model = prepare_for_ddp(built(lambda: AnalogLinear(5, 4, rpu_config=pulsed())))
    optimizer = sgd(model)
    x = batches(2, 8, 5)
    step(model, optimizer, share(x[0]))
    return {"error": error_of(lambda: step(model, optimizer, share(x[1])))}


@case
def layers_that_were_not_prepared() -> Any:
    model = two_layers(pulsed)()
    prepare_for_ddp(model[0])
    return {"error": error_of(sgd(model).step)}


@case
def other_optimizer() -> Any:
    model = prepare_for_ddp(built(two_layers(pulsed)))
    trained = model if rank == 0 else model[0]
    return {"error": error_of(sgd(trained).step)}


@case
def other_models() -> Any:
    wide = AnalogLinear(5 + rank, 4, rpu_config=pulsed())
    return {"error": error_of(lambda: prepare_for_ddp(wide))}


@case
def pulsed_tiles_alone_in_the_wrapper() -> Any:
    return {"error": error_of(lambda: DDP(two_layers(pulsed)()))}


@case
def contexts_in_the_wrapper() -> Any:
    parameters = nn.ParameterList(two_layers(pulsed)().parameters())
    return {"error": error_of(lambda: DDP(parameters))}


@case
def split_optimizers() -> Any:
    from torch.distributed.optim import ZeroRedundancyOptimizer as Zero

    found = []
    for kind in (AnalogSGD, torch.optim.SGD):
        config = pulsed() if kind is AnalogSGD else InferenceRPUConfig()
        ddp = DDP(nn.Sequential(AnalogLinear(5, 4, rpu_config=config), nn.Linear(4, 3)))
        optimizer = Zero(ddp.parameters(), optimizer_class=kind, lr=0.1)
        found += error_of(lambda by=optimizer, on=ddp: step(on, by, share(batches(1, 8, 5)[0])))
    return {"error": found}


@case
def prepared_again() -> Any:
    """That lets ranks go on whose weights have come apart."""
    ddp = DDP(built(mixed))
    optimizer = sgd(ddp)
    ddp.module[0].set_weights(torch.full((6, 5), 0.1 * rank))
    x = batches(2, 8, 5)
    errors = error_of(lambda: step(ddp, optimizer, share(x[0])))
    prepare_for_ddp(ddp.module)
    step(ddp, optimizer, share(x[1]))
    joined = error_of(lambda: joining(ddp, optimizer))  # it is the same wrapper still
    return {"error": errors + joined, "digest": state_of(ddp)}


def joining(ddp: DDP, optimizer: AnalogSGD) -> None:
    """Train with uneven inputs, of the model only."""
    with ddp.join():
        for x in batches(1, 8, 5):
            step(ddp, optimizer, x)
