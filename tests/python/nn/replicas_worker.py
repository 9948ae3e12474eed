"""Trains models as one of two ranks, and prints what the test compares.

Usage: python replicas_worker.py RANK FOLDER, where the ranks meet in FOLDER. Each case prints one
line of JSON: its name, and what it has found or the error that it ended with.
"""

import copy
import datetime
import hashlib
import inspect
import itertools
import json
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.algorithms.join import Join
from torch.nn.parallel import DistributedDataParallel as DDP

sys.path.insert(0, str(Path(__file__).parents[1]))

import custom_compounds
import mho
from cells_for_tests import CELLS
from mho.nn import (
    AnalogConv1d,
    AnalogConv2d,
    AnalogConv2dMapped,
    AnalogConv3d,
    AnalogConvTranspose2d,
    AnalogGRUCell,
    AnalogLinear,
    AnalogLinearMapped,
    AnalogLSTMCell,
    AnalogLSTMCellCombinedWeight,
    AnalogRNN,
    AnalogSequential,
    prepare_for_ddp,
)
from mho.optim import AnalogAdam, AnalogOptimizer, AnalogSGD, gathering, replicas
from mho.simulator.configs import (
    ChoppedTransferCompound,
    ConstantStepDevice,
    ExpStepDevice,
    FloatingPointRPUConfig,
    IdealDevice,
    InferenceRPUConfig,
    IOParameters,
    LinearStepDevice,
    MappingParameter,
    PiecewiseStepDevice,
    PowStepDevice,
    PowStepReferenceDevice,
    PulseType,
    SingleRPUConfig,
    SoftBoundsDevice,
    SoftBoundsPmaxDevice,
    SoftBoundsReferenceDevice,
    TorchInferenceRPUConfig,
    UnitCellRPUConfig,
    UpdateParameters,
    WeightModifierParameter,
    WeightModifierType,
)
from mho.simulator.parameters.pre_post import InputRangeParameter, PrePostProcessingParameter
from mho.simulator.tiles.custom import CustomRPUConfig
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


# --- devices and layers -----------------------------------------------------------------------

DEVICES: dict[str, Callable[[], Any]] = {
    kind.__name__: lambda kind=kind: SingleRPUConfig(device=kind())
    for kind in (
        ConstantStepDevice, ExpStepDevice, LinearStepDevice, PiecewiseStepDevice, PowStepDevice,
        PowStepReferenceDevice, SoftBoundsDevice, SoftBoundsPmaxDevice, SoftBoundsReferenceDevice,
    )
}  # fmt: skip


def in_python() -> Any:
    """Return a transfer whose algorithm is written in Python, with noisy reads."""
    cell = ChoppedTransferCompound(
        [SoftBoundsDevice(), SoftBoundsDevice()], in_chop_prob=0.4, transfer_every=8.0
    )
    return UnitCellRPUConfig(device=cell, tile_class=TorchTransferTile)


def swaps(t: Any) -> None:
    """Move the first device by pulses, and the second one to what a noisy read of it gives."""
    t.update(0, t.x, t.d, t.lr)
    t.update(1, t.coin(0.5, 1, t.X), t.read(0, cols=[t.cycle("line", t.X)]), t.lr)


MORE: dict[str, Callable[[], Any]] = {
    "FloatingPoint": FloatingPointRPUConfig,
    "transfer in Python": in_python,
    "rule in Python": lambda: custom_compounds.config(swaps),
    "raw tile in Python": CustomRPUConfig,
    "diffusing": lambda: SingleRPUConfig(
        device=SoftBoundsDevice(diffusion=0.01, lifetime=100.0, count_pulses=True)
    ),
    "write noise": lambda: SingleRPUConfig(device=SoftBoundsDevice(write_noise_std=0.3)),
    "no pulses": lambda: SingleRPUConfig(update=UpdateParameters(pulse_type=PulseType.NONE)),
}


def two_layers(config: Callable[[], Any]) -> Callable[[], nn.Module]:
    """Return how to build two layers of a configuration."""

    def build() -> nn.Module:
        own = perfect(config())
        first = AnalogLinear(5, 4, bias=False, rpu_config=own)
        return nn.Sequential(first, nn.Tanh(), AnalogLinear(4, 3, bias=False, rpu_config=own))

    return build


for _name, _config in (DEVICES | CELLS | MORE).items():
    CASES[f"device: {_name}"] = lambda _config=_config: as_one(
        two_layers(_config), batches(3, 8, 5)
    )


def grouped() -> Any:
    return split(analog_bias(pulsed()), 3)


LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "analog bias": (lambda: AnalogLinear(5, 4, rpu_config=analog_bias(pulsed())), (8, 5)),
    "array": (lambda: AnalogLinear(7, 5, bias=False, rpu_config=grouped()), (8, 7)),
    "mapped": (lambda: AnalogLinearMapped(7, 5, bias=False, rpu_config=grouped()), (8, 7)),
    "three axes": (lambda: AnalogLinear(5, 4, rpu_config=analog_bias(pulsed())), (8, 3, 5)),
    "Conv1d": (
        lambda: AnalogConv1d(2, 3, 3, rpu_config=analog_bias(pulsed())), (4, 2, 7)),
    "Conv2d": (
        lambda: AnalogConv2d(2, 3, 3, padding=1, rpu_config=analog_bias(pulsed())), (4, 2, 5, 5)),
    "Conv2d with index": (
        lambda: AnalogConv2d(
            2, 3, 3, rpu_config=analog_bias(pulsed()), use_indexed=True), (4, 2, 5, 5)),
    "Conv2d groups": (
        lambda: AnalogConv2d(4, 4, 3, groups=2, bias=False, rpu_config=pulsed()), (4, 4, 5, 5)),
    "Conv2dMapped": (
        lambda: AnalogConv2dMapped(2, 3, 3, bias=False, rpu_config=split(pulsed(), 9)),
        (4, 2, 5, 5)),
    "Conv3d": (
        lambda: AnalogConv3d(1, 2, 2, rpu_config=analog_bias(pulsed())), (4, 1, 3, 3, 3)),
    "ConvTranspose2d": (
        lambda: AnalogConvTranspose2d(2, 3, 3, bias=False, rpu_config=pulsed()), (4, 2, 4, 4)),
    "LSTM": (
        lambda: AnalogRNN(
            AnalogLSTMCell, 3, 4, bias=True, rpu_config=analog_bias(pulsed()), num_layers=2,
            bidir=True, batch_first=True), (4, 5, 3)),
    "LSTM, one matrix": (
        lambda: AnalogRNN(
            AnalogLSTMCellCombinedWeight, 3, 4, rpu_config=analog_bias(pulsed()),
            batch_first=True), (4, 5, 3)),
    "GRU": (
        lambda: AnalogRNN(
            AnalogGRUCell, 3, 4, rpu_config=analog_bias(pulsed()), batch_first=True), (4, 5, 3)),
}  # fmt: skip

for _name, (_build, _shape) in LAYERS.items():
    CASES[f"layer: {_name}"] = lambda _build=_build, _shape=_shape: as_one(
        _build, batches(3, *_shape)
    )


# --- wrappers, optimizers, accumulation -------------------------------------------------------


def mixed(config: Any = None) -> nn.Module:
    """Return pulsed, inference and digital layers."""
    own = pulsed() if config is None else config
    return nn.Sequential(
        AnalogLinear(5, 6, rpu_config=own),
        nn.Tanh(),
        nn.Linear(6, 6),
        AnalogLinear(6, 3, rpu_config=InferenceRPUConfig()),
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


def state_of(model: nn.Module) -> str:
    """Return a number that tells weights apart; inference tiles count their own calls."""
    state = {n: v for n, v in model.state_dict().items() if "calls" not in n}
    holder = nn.Module()
    for i, value in enumerate(state.values()):
        holder.register_buffer(f"v{i}", value)
    return digest(holder)


for _name, _options in WRAPPERS.items():
    CASES[f"wrapper: {_name}"] = lambda _options=_options: wrapped(
        _options, lambda p: AnalogSGD(p, lr=0.5)
    )
for _name, _optimizer in OPTIMIZERS.items():
    CASES[f"optimizer: {_name}"] = lambda _optimizer=_optimizer: wrapped({}, _optimizer)


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


# --- precision, clipping, uneven inputs -------------------------------------------------------


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


# --- errors -----------------------------------------------------------------------------------


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


# --- states -----------------------------------------------------------------------------------


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
    copied = copy.deepcopy(model)
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


# --- sharded models ----------------------------------------------------------------------------


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


# --- inference tiles --------------------------------------------------------------------------


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


@contextmanager
def quiet() -> Iterator[None]:
    """Hide warnings of torch about its own wrappers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def main() -> None:
    """Run all cases, or those whose names contain the third argument."""
    distributed.init_process_group(
        "gloo",
        f"file://{folder / 'meeting'}",
        rank=rank,
        world_size=RANKS,
        timeout=datetime.timedelta(seconds=60),
    )
    wanted = sys.argv[3] if len(sys.argv) > 3 else ""
    for name, run in itertools.chain(CASES.items()):
        if wanted not in name:
            continue
        try:
            with quiet():
                found = run()
        except Exception:  # the other cases may be right
            found = {"raised": traceback.format_exc()[-3000:]}
        print(json.dumps([name, found]), flush=True)
    distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
