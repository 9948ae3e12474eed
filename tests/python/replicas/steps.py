"""What ranks have recorded when a step comes."""

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel as DDP

from mho.nn import (
    AnalogLinear,
    AnalogLSTMCell,
    AnalogRNN,
    AnalogSequential,
    prepare_for_ddp,
)
from mho.optim import gathering, replicas
from mho.simulator.configs import (
    ConstantStepDevice,
    SingleRPUConfig,
)
from replicas.support import (
    RANKS,
    analog_bias,
    as_one,
    batches,
    built,
    case,
    digest,
    pulsed,
    rank,
    sgd,
    share,
    step,
    two_layers,
)


@case
def first_step_as_one() -> Any:
    """Digital gradients are those of one process up to rounding, pulses the same."""

    def build() -> nn.Module:
        return nn.Sequential(AnalogLinear(5, 4, rpu_config=pulsed()), nn.Tanh(), nn.Linear(4, 3))

    together, alone = built(build), built(build)
    ddp, x = DDP(together), batches(1, 8, 5)[0]
    digital_part(together, alone)
    step(ddp, sgd(ddp), share(x))
    step(alone, sgd(alone), x)
    weights = [model[0].get_weights()[0] for model in (together, alone)]
    digital = [model[2].weight for model in (together, alone)]
    close = torch.allclose(*digital, rtol=1e-5, atol=1e-7)
    return {"as_one": torch.equal(*weights) and close, "digest": digest(together)}


def digital_part(*models: Any) -> None:
    """Give the digital layers weights whose products have no rounding errors."""
    for model in models:
        with torch.no_grad():
            model[2].weight.copy_(model[2].weight.mul(8).round().div(8))


@case
def accumulation() -> Any:
    """Passes without synchronisation count as well, in their order."""

    def build() -> nn.Module:
        return AnalogSequential(
            AnalogLinear(5, 4, rpu_config=analog_bias(pulsed())), nn.Linear(4, 4)
        )

    together, alone = built(build), built(build)
    ddp = DDP(together)
    optimizers = sgd(ddp, 0.2), sgd(alone, 0.2)
    for model in (together, alone):
        with torch.no_grad():
            model[1].weight.copy_(torch.eye(4))
            model[1].weight.requires_grad_(True)
    x = batches(3, 8, 5)
    for i, batch in enumerate(x):
        with nullcontext() if i == len(x) - 1 else ddp.no_sync():
            ddp(share(batch)).square().mean().backward()
        alone(batch).square().mean().backward()
    for optimizer in optimizers:
        optimizer.step()
    same = torch.equal(together[0].get_weights()[0], alone[0].get_weights()[0])
    return {"digest": digest(together), "as_one": same}


@case
def one_layer_called_twice() -> Any:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = AnalogLinear(4, 4, rpu_config=analog_bias(pulsed()))

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(torch.tanh(self.layer(x)))

    return as_one(Twice, batches(3, 8, 4))


@case
def uneven_shares() -> Any:
    """Each rank takes the mean of its own samples, as torch averages gradients."""
    model = prepare_for_ddp(built(two_layers(pulsed)))
    optimizer = sgd(model)
    for x in batches(2, 8, 5):
        step(model, optimizer, x[:3] if rank == 0 else x[3:])
    alone = built(two_layers(pulsed))
    optimizer = sgd(alone)
    for x in batches(2, 8, 5):
        optimizer.zero_grad()
        errors = (alone(x) - 0.5).square().mean(1)
        (0.5 * (errors[:3].mean() + errors[3:].mean())).backward()
        optimizer.step()
    close = [
        torch.allclose(a.get_weights()[0], b.get_weights()[0], atol=0.03)
        for a, b in ((model[0], alone[0]), (model[2], alone[2]))
    ]
    return {"digest": digest(model), "as_one": all(close)}


@case
def layers_without_samples() -> Any:
    """A layer that one rank has not used, and then a rank that has used none."""
    model = prepare_for_ddp(built(two_layers(pulsed)))
    optimizer = sgd(model)
    found = [digest(model)]
    x = batches(1, 8, 5)[0]
    if rank == 0:
        step(model, optimizer, x)
    else:
        model[0](x).sum().backward()
        optimizer.step()
    found.append(digest(model))
    if rank == 0:
        step(model, optimizer, x)
    else:
        optimizer.zero_grad()
        optimizer.step()
    found.append(digest(model))
    optimizer.zero_grad()
    optimizer.step()  # nobody has any
    found.append(digest(model))
    return {"digest": found, "moved": len(set(found[:3])) == 3 and found[2] == found[3]}


@case
def unequal_numbers_of_calls() -> Any:
    """Evaluation on one rank, and sequences of other lengths."""

    def build() -> nn.Module:
        return AnalogRNN(
            AnalogLSTMCell, 3, 4, rpu_config=analog_bias(SingleRPUConfig()), batch_first=True
        )

    model = prepare_for_ddp(built(build))
    optimizer = sgd(model)
    for x in batches(3, 4, 6, 3):
        step(model, optimizer, share(x)[:, : 3 + 3 * rank])
        if rank == 0:
            with torch.no_grad():
                model.eval()(x)
            model.train()
        step(model, optimizer, share(x))
    return {"digest": digest(model)}


@case
def closures() -> Any:
    together, alone = prepare_for_ddp(built(two_layers(pulsed))), built(two_layers(pulsed))
    x = batches(1, 8, 5)[0]
    for model, own in ((together, share(x)), (alone, x)):
        optimizer = sgd(model)

        def closure(model: nn.Module = model, own: Tensor = own, by: Any = optimizer) -> Tensor:
            by.zero_grad()
            loss = (model(own) - 0.5).square().mean()
            loss.backward()
            return loss

        optimizer.step(closure)
    return {"digest": digest(together), "as_one": digest(together) == digest(alone)}


@case
def frozen_layers() -> Any:
    def build() -> nn.Module:
        model = two_layers(pulsed)()
        model[0].requires_grad_(False)
        return model

    return as_one(build, batches(2, 8, 5))


@case
def many_messages() -> Any:
    """Messages and pairs in several parts give what those in one part give."""
    whole = as_one(two_layers(pulsed), batches(2, 8, 5))
    kept = gathering._CHUNK, replicas._FIRST_PART
    gathering._CHUNK, replicas._FIRST_PART = 100, 32
    try:
        parts = as_one(two_layers(pulsed), batches(2, 8, 5))
    finally:
        gathering._CHUNK, replicas._FIRST_PART = kept
    return {"digest": parts["digest"], "as_one": parts == whole and parts["as_one"]}


@case
def groups_of_one() -> Any:
    """Ranks that train models of their own."""
    groups = [distributed.new_group([r]) for r in range(RANKS)]
    model = prepare_for_ddp(built(two_layers(pulsed)), groups[rank])
    alone = built(two_layers(pulsed))
    for one in (model, alone):
        step(one, sgd(one), batches(1, 8, 5)[0] * (rank + 1))
    return {"as_one": digest(model) == digest(alone), "differs": digest(model)}


@case
def noisy_products() -> Any:
    """Noise is that of each rank; the mean of many steps is that of one process."""

    def build() -> nn.Module:
        even = {"dw_min_dtod": 0.0, "up_down_dtod": 0.0}
        config = SingleRPUConfig(device=ConstantStepDevice(dw_min=0.0001, **even))
        config.forward.out_noise = 0.2
        return AnalogLinear(20, 30, bias=False, rpu_config=config)

    model = prepare_for_ddp(built(build))
    x = batches(1, 64, 20)[0].clamp(-1, 1)
    with torch.no_grad():
        noise = model(x[:2]).tolist()
    before = model.get_weights()[0]
    optimizer = sgd(model, 0.1)
    optimizer.zero_grad()
    model(share(x)).mul(torch.linspace(-1, 1, 30)).mean(0).sum().backward()
    optimizer.step()
    change = model.get_weights()[0] - before
    expected = -0.1 * torch.linspace(-1, 1, 30)[:, None] * x.mean(0)
    return {
        "digest": digest(model),
        "differs": noise,
        "mean": float((change - expected).mean()),
        "std": float((change - expected).std()),
        "slope": float((change * expected).sum() / expected.square().sum()),
    }
