"""What a user meets: steps of training with operations of torch between layers, default layers."""

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import nn
from torch.nn.functional import cross_entropy

import mho
from libraries import Library
from timing import Row, Work, measure

SIZES, BATCH = (784, 512, 512, 10), 64
STEPS = {"ConstantStep": "<= 1.6 torch", "SoftBounds": "<= 2.5 torch", "inference": "<= 1.3 torch"}
SMALL_SIZES, SMALL_BATCH = (64, 256, 128, 10), 50
BLOCK = 20  # steps with one number of threads, before threads of torch start and end again


def config(library: Library, kind: str) -> object:
    """Return the configuration of one of the networks."""
    configs = library.configs
    if kind == "inference":
        return configs.InferenceRPUConfig()
    return configs.SingleRPUConfig(device=getattr(configs, f"{kind}Device")())


def network(
    library: Library | None, kind: str, layer_sizes: tuple[int, ...] = SIZES
) -> nn.Sequential:
    """Return a network for handwritten digits; of digital layers without a library."""
    layers: list[nn.Module] = []
    for sizes in pairwise(layer_sizes):
        if library is None:
            layers += [nn.Linear(*sizes), nn.Sigmoid()]
        else:
            layer = library.nn.AnalogLinear(*sizes, rpu_config=config(library, kind))
            layers += [layer, nn.Sigmoid()]
    return nn.Sequential(*layers[:-1])


def step(model: nn.Sequential, optimizer: torch.optim.Optimizer, batch: int = BATCH) -> Work:
    """Return a function that trains with one batch."""
    x, target = torch.rand(batch, model[0].in_features), torch.randint(10, (batch,))

    def run() -> None:
        optimizer.zero_grad()
        cross_entropy(model(x), target).backward()
        optimizer.step()

    return run


def step_rows(libraries: list[Library], threads: int) -> Iterator[Row]:
    """Time steps of training beside those of digital layers."""
    for sizes, batch in ((SIZES, BATCH), (SMALL_SIZES, SMALL_BATCH)):
        for kind, target in STEPS.items():
            digital = network(None, kind, sizes)
            optimizer = torch.optim.SGD(digital.parameters(), lr=0.01)
            works = {"torch": step(digital, optimizer, batch)}
            for library in libraries:
                model = network(library, kind, sizes)
                optimizer = library.optim.AnalogSGD(model.parameters(), lr=0.01)
                works[library.name] = step(model, optimizer, batch)
            name = f"step, {kind}, {'-'.join(map(str, sizes))}, batch {batch}"
            target = target if sizes == SIZES else "<= 1.5 torch"
            yield Row(name, threads, measure(works), target)


def gain_rows(library: Library, threads: int) -> Iterator[Row]:
    """Time loops of steps with one thread and with all, in turn; torch's loop is beside them."""
    if threads == 1:
        return
    for kind in STEPS:
        model, digital = network(library, kind), network(None, kind)
        analog = step(model, library.optim.AnalogSGD(model.parameters(), lr=0.01))
        plain = step(digital, torch.optim.SGD(digital.parameters(), lr=0.01))
        seconds = measure(
            {
                "mho, 1 thread": _loop(analog, 1),
                "mho": _loop(analog, threads),
                "torch, 1 thread": _loop(plain, 1),
                "torch": _loop(plain, threads),
            }
        )
        seconds = {name: value / BLOCK for name, value in seconds.items()}
        notes = {
            "gain": seconds["mho, 1 thread"] / seconds["mho"],
            "gain of torch": seconds["torch, 1 thread"] / seconds["torch"],
        }
        yield Row(f"{threads} threads, loop of steps, {kind}", threads, seconds, ">= 1.7", notes)


def _loop(work: Work, threads: int) -> Work:
    def run() -> None:
        torch.set_num_threads(threads)
        mho.set_num_threads(threads)
        for _ in range(BLOCK):
            work()

    return run


def layer_rows(libraries: list[Library], threads: int) -> Iterator[Row]:
    """Time the forward pass of a layer that is cut into tiles, as by default."""
    size, batch = 1024, 256
    x, digital = torch.rand(batch, size), nn.Linear(size, size)
    works: dict[str, Work] = {"torch": lambda: digital(x)}
    for library in libraries:
        layer = library.nn.AnalogLinear(size, size, rpu_config=config(library, "inference"))
        works[library.name] = lambda layer=layer: layer(x)
    with torch.no_grad():
        seconds = measure(works)
    yield Row(
        f"layer as by default, {size}x{size}, batch {batch}", threads, seconds, "<= 1.25 torch"
    )
